"""The whole examination of a store or a config, in order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets

from igcl_lightning import __version__
from igcl_lightning.atomic import replacing
from igcl_lightning.data.features import FeatureModel
from igcl_lightning.data.modules import PairedDataModule
from igcl_lightning.data.store import MANIFEST
from igcl_lightning.doctor.batch_checks import check_accumulation, check_batch_norm, check_batches, check_pairs
from igcl_lightning.doctor.command_owner import check_command
from igcl_lightning.doctor.config import Config
from igcl_lightning.doctor.config_checks import (
    check_image_size,
    check_length,
    check_normalisation,
    check_selection,
    check_store_path,
    check_targets,
    check_wandb,
)
from igcl_lightning.doctor.findings import LEVELS, Finding, worst_first
from igcl_lightning.doctor.image_bytes import check_bytes, check_duplicates, duplicate_groups
from igcl_lightning.doctor.label_checks import check_labels
from igcl_lightning.doctor.likeness import check_near_duplicates, check_orientation
from igcl_lightning.doctor.looks import Looks, check_looks, evenly, look_at
from igcl_lightning.doctor.opened import OpenedStore
from igcl_lightning.doctor.report_checks import check_graphs, check_reports
from igcl_lightning.doctor.speed import cores, limit_finding, loader_finding, loader_rate, model_rate
from igcl_lightning.doctor.store_checks import (
    check_flags,
    check_manifest,
    check_node_text,
    check_patients,
    check_people,
    check_row_ids,
    check_splits,
    check_views,
)
from igcl_lightning.errors import IgclError, UsageError, message_of

TABLE_CHECKS = (
    check_manifest,
    check_splits,
    check_row_ids,
    check_patients,
    check_views,
    check_people,
    check_reports,
    check_graphs,
    check_labels,
    check_node_text,
    check_flags,
)
BATCH_SIZE = 64
CONFIG_SUFFIXES = (".yaml", ".yml")
MOST_WORKERS = 8


@dataclass
class Examination:
    """What was found.

    Attributes:
        target: what was examined, as it was given.
        findings: worst first, once examined.
        store: the opened store, where there is one.
        looks: of the images that were decoded.
    """

    target: str
    findings: list[Finding] = field(default_factory=list)
    store: OpenedStore | None = None
    looks: Looks | None = None

    @property
    def failed(self) -> bool:
        """Whether there is an error."""
        return any(finding.level == "error" for finding in self.findings)

    def record(self) -> dict[str, Any]:
        """Return the findings as data."""
        counts = {level: sum(finding.level == level for finding in self.findings) for level in LEVELS}
        return {
            "target": self.target,
            "igcl_lightning": __version__,
            "rows": {split: len(table) for split, table in self.store.tables.items()} if self.store else {},
            "images_decoded": len(self.looks.number) + len(self.looks.undecodable) if self.looks else 0,
            "counts": counts,
            "findings": [finding.record() for finding in self.findings],
        }


def examine(target: str, words: list[str], rows: int, speed: bool) -> Examination:
    """Examine a store, or a config and its store.

    Args:
        target: folder of a store, or name of a config as for `igcl fit --config`.
        words: options that override the config's, such as ["--data.store", "stores/mimic"].
        rows: images to decode, evenly drawn; 0 for all.
        speed: whether to measure loader and model.

    Raises:
        UsageError: options to override are given for a store.
        IgclError: the target is neither a store nor a config.
    """
    datasets.disable_progress_bars()
    done = Examination(target)
    if Path(target).is_dir():
        if not (Path(target) / MANIFEST).is_file():
            raise IgclError(f"{target}: not a store (no {MANIFEST}), and no config")
        if words:
            raise UsageError(f"doctor: {words[0]}: overrides a config's option; {target} is a store")
        _examine_store(done, Path(target), rows)
        if speed:
            done.findings += _speed_of_store(Path(target))
    elif Path(target).suffix not in CONFIG_SUFFIXES:
        raise IgclError(f"{target}: no such store; a config ends in {' or '.join(CONFIG_SUFFIXES)}")
    else:
        _examine_config(done, words, rows, speed)
    done.findings += check_command()
    done.findings = worst_first(done.findings)
    return done


def write_record(examination: Examination, path: Path) -> None:
    """Write the findings as JSON."""
    with replacing(path) as temporary:
        text = json.dumps(examination.record(), indent=1, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def _examine_store(done: Examination, path: Path, rows: int) -> None:
    store = done.store = OpenedStore(path)
    done.findings += store.faults
    if not store.num_rows:
        done.findings.append(Finding("error", "splits", "the store has no rows that can be read"))
        return
    for check in TABLE_CHECKS:
        done.findings += check(store)
    done.findings += check_bytes(store)
    group = duplicate_groups(store)
    done.findings += check_duplicates(store, group)
    looks = done.looks = look_at(store, evenly(store.num_rows, rows), cores())
    done.findings += check_looks(store, looks)
    done.findings += check_near_duplicates(store, looks, group)
    done.findings += check_orientation(store, looks)


def _examine_config(done: Examination, words: list[str], rows: int, speed: bool) -> None:
    config = Config(["--config", done.target, *words])
    done.findings += config.findings
    if not config.parsed:
        return
    done.findings += [*check_store_path(config), *check_length(config), *check_batch_norm(config), *check_wandb(config)]
    path = config.store_path
    if path is not None and path.is_dir():
        _examine_store(done, path, rows)
    if done.store is not None and done.store.num_rows:
        for check in (check_selection, check_pairs, check_batches, check_accumulation, check_image_size, check_targets):
            done.findings += check(config, done.store)
        if done.looks is not None:
            done.findings += check_normalisation(config, done.looks)
        done.findings += config.connect()
    if not done.failed:
        done.findings.append(Finding("ok", "config", "parses, and model, data and trainer can be built"))
        if speed:
            done.findings += _speed_of_config(config)


def _speed_of_store(path: Path) -> Iterator[Finding]:
    workers = min(cores(), MOST_WORKERS)
    try:
        loader = PairedDataModule(str(path), BATCH_SIZE, workers, keep_empty=True).train_dataloader()
        rate, _ = loader_rate(loader)
    except Exception as error:  # whatever stops a loader would stop the training
        yield _unmeasured(error)
        return
    yield loader_finding(rate, workers)


def _speed_of_config(config: Config) -> Iterator[Finding]:
    model: object = config.model
    if isinstance(model, FeatureModel):
        yield Finding("ok", "speed", "not measured: the features of a frozen encoder are computed once")
        return
    if config.data is None or config.model is None or config.trainer is None:
        return
    workers = int(config.option("data.num_workers", 0))
    try:
        given, batch = loader_rate(config.data.train_dataloader())
        taken = model_rate(config.model, config.trainer, batch)
    except Exception as error:  # whatever stops the first step would stop the training
        yield _unmeasured(error)
        return
    yield limit_finding(given, taken, workers, config.trainer.strategy.root_device.type, cores())


def _unmeasured(error: Exception) -> Finding:
    text = message_of(error)[:300] or type(error).__name__
    return Finding("error", "speed", f"the first batches of training fail: {text}")
