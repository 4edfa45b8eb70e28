"""All checks of a store or a config, in order."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import datasets

from igcl_lightning import __version__
from igcl_lightning.atomic import replacing
from igcl_lightning.data.features import FeatureModel
from igcl_lightning.data.modules import PairedDataModule
from igcl_lightning.data.store_path import MANIFEST
from igcl_lightning.doctor import batch_checks, config_checks, store_checks
from igcl_lightning.doctor.config import Config
from igcl_lightning.doctor.findings import LEVELS, Finding, worst_first
from igcl_lightning.doctor.id_checks import check_ids
from igcl_lightning.doctor.image_bytes import check_bytes, check_duplicates, duplicate_groups
from igcl_lightning.doctor.label_checks import check_labels
from igcl_lightning.doctor.likeness import check_near_duplicates, check_orientation
from igcl_lightning.doctor.looks import Looks, check_looks, evenly, look_at
from igcl_lightning.doctor.opened import OpenedStore
from igcl_lightning.doctor.report_checks import check_graphs, check_reports
from igcl_lightning.doctor.shortcut_checks import check_shortcuts
from igcl_lightning.doctor.speed import cores, limit_finding, loader_finding, loader_rate, model_rate
from igcl_lightning.errors import IgclError, UsageError, message_of

TABLE_CHECKS = (
    store_checks.check_manifest,
    store_checks.check_splits,
    store_checks.check_row_ids,
    store_checks.check_patients,
    check_ids,
    store_checks.check_views,
    store_checks.check_people,
    check_reports,
    check_graphs,
    check_labels,
    store_checks.check_node_text,
    store_checks.check_flags,
)
CONFIG_CHECKS = (
    config_checks.check_store_path,
    config_checks.check_length,
    batch_checks.check_batch_norm,
    config_checks.check_wandb,
)
CHECKS_OF_BOTH = (
    config_checks.check_selection,
    batch_checks.check_pairs,
    batch_checks.check_batches,
    batch_checks.check_accumulation,
    batch_checks.check_monitors,
    config_checks.check_image_size,
    config_checks.check_targets,
    config_checks.check_shared_texts,
)
BATCH_SIZE = 64
MOST_WORKERS = 8
"""Batch size and largest number of workers for measuring the loader of a store."""

NO_SPEED = Finding("not examined", "speed", "left out with --no-speed")
FAILED = Finding("not examined", "speed", "a training with errors cannot be measured")
CONFIG_SUFFIXES = (".yaml", ".yml")


@dataclass
class Examination:
    """Findings on a store or a config, worst first; the opened store and its decoded images, if there is one."""

    target: str
    findings: list[Finding] = field(default_factory=list)
    store: OpenedStore | None = None
    looks: Looks | None = None

    @property
    def failed(self) -> bool:
        """Whether there is an error."""
        return any(finding.level == "error" for finding in self.findings)

    def write_record(self, path: Path) -> None:
        """Write the findings as JSON."""
        record = {
            "target": self.target,
            "igcl_lightning": __version__,
            "rows": self.store.sizes if self.store else {},
            "images_decoded": len(self.looks.number) + len(self.looks.undecodable) if self.looks else 0,
            "counts": {level: sum(finding.level == level for finding in self.findings) for level in LEVELS},
            "findings": [finding.record() for finding in self.findings],
        }
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def examine(target: str, words: list[str], rows: int, speed: bool) -> Examination:
    """Examine a store, or a config and its store.

    Args:
        target: folder of a store, or name of a config as for `igcl fit --config`.
        words: options that override the config's, such as ["--data.store", "stores/mimic"]; an error for a store.
        rows: number of images to decode, evenly drawn; 0 for all.
        speed: whether to measure loader and model.
    """
    datasets.disable_progress_bars()
    done, path = Examination(target), Path(target)
    if path.is_dir():
        if not (path / MANIFEST).is_file():
            _refuse_unfinished(path)
            raise IgclError(f"{target}: not a store (no {MANIFEST}), and no config")
        if words:
            raise UsageError(f"doctor: {words[0]}: overrides a config's option; {target} is a store")
        _examine_store(done, path, rows)
        done.findings.append(_measured(lambda: _speed_of_store(path)) if speed else NO_SPEED)
    elif path.suffix not in CONFIG_SUFFIXES:
        _refuse_unfinished(path)
        raise IgclError(f"{target}: no such store; a config ends in {' or '.join(CONFIG_SUFFIXES)}")
    else:
        config = Config(["--config", target, *words])
        done.findings += config.findings
        if config.options:
            _examine_config(done, config, rows)
            if not speed or done.failed:
                done.findings.append(FAILED if speed else NO_SPEED)
            else:
                done.findings.append(_measured(lambda: _speed_of_config(config)))
    done.findings = worst_first([*done.findings, *config_checks.check_command()])
    return done


def _refuse_unfinished(path: Path) -> None:
    """Raise `IgclError` if a store is not finished."""
    partial = path if path.suffix == ".partial" else path.parent / f"{path.name}.partial"
    if partial.is_dir():
        advice = "run the same igcl prepare with --resume"
        raise IgclError(f"{path}: not a finished store; {partial} is left by an interrupted run: {advice}")


def _examine_store(done: Examination, path: Path, rows: int) -> None:
    store = done.store = OpenedStore(path)
    done.findings += store.faults
    if not store.num_rows:
        done.findings.append(Finding("error", "splits", "the store has no readable rows"))
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
    done.findings += check_shortcuts(store, looks)


def _examine_config(done: Examination, config: Config, rows: int) -> None:
    for check in CONFIG_CHECKS:
        done.findings += check(config)
    path = config.store_path
    if path is not None and path.is_dir():
        _examine_store(done, path, rows)
    if done.store is not None and done.store.num_rows:
        for check_both in CHECKS_OF_BOTH:
            done.findings += check_both(config, done.store)
        if done.looks is not None:
            done.findings += config_checks.check_normalisation(config, done.looks)
        done.findings += config.connect()
    if not done.failed:
        done.findings.append(Finding("ok", "config", "parses, and model, data and trainer can be built"))


def _measured(measure: Callable[[], Finding]) -> Finding:
    try:
        return measure()
    except Exception as error:  # an error here would also stop training
        text = message_of(error)[:300] or type(error).__name__
        return Finding("error", "speed", f"the first batches of training fail: {text}")


def _speed_of_store(path: Path) -> Finding:
    workers = min(cores(), MOST_WORKERS)
    loader = PairedDataModule(str(path), BATCH_SIZE, workers, keep_empty=True).train_dataloader()
    return loader_finding(loader_rate(loader)[0], workers)


def _speed_of_config(config: Config) -> Finding:
    model: object = config.model
    if isinstance(model, FeatureModel):
        return Finding("not examined", "speed", "the features of a frozen encoder are computed once")
    assert config.data is not None
    assert config.model is not None
    assert config.trainer is not None
    given, batch = loader_rate(config.data.train_dataloader())
    taken = model_rate(config.model, config.trainer, batch)
    workers = int(config.option("data.num_workers", 0))
    return limit_finding(given, taken, workers, config.trainer.strategy.root_device.type, cores())
