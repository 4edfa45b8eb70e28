"""Checks of a config's training batches: pairs, negatives, batch norm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import pyarrow.compute as pc
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.nn.modules.batchnorm import _BatchNorm

from igcl_lightning.data.kept_rows import STATING_SIDES, needs
from igcl_lightning.data.splits import draw_patients
from igcl_lightning.data.store import states
from igcl_lightning.data.study import wanted_views
from igcl_lightning.doctor.config import Config
from igcl_lightning.doctor.findings import Finding, number, share
from igcl_lightning.doctor.opened import OpenedStore
from igcl_lightning.doctor.report_checks import MANY_EMPTY, graph_keys
from igcl_lightning.doctor.speed import cores
from igcl_lightning.modules.contrastive import ContrastiveModule
from igcl_lightning.training.monitors import recall_says_nothing


def viewed_rows(config: Config, store: OpenedStore, split: str = "train") -> pd.DataFrame:
    """Return ids, graph keys and `pair` of the rows of a split, of the views that the config keeps.

    `pair` is whether a row states something on each side that the model contrasts, and has the arrays of the config.
    """
    rows = store.ids.assign(key=graph_keys(store), pair=True)
    rows = rows[rows["split"] == split].copy()
    if len(rows):
        for side in _stating_sides(config):
            rows["pair"] &= states(store.column("graph", split), side).to_numpy()
        for name in config.option("data.arrays") or []:
            known = name in store.tables[split].column_names
            rows["pair"] &= pc.is_valid(store.column(name, split)).to_numpy() if known else False
    views = config.option("data.views")
    return rows[rows["view"].isin(wanted_views(views))] if views else rows


def kept_rows(config: Config, store: OpenedStore, split: str = "train") -> pd.DataFrame:
    """Return the rows of a split that the config keeps (see `viewed_rows`)."""
    rows = viewed_rows(config, store, split)
    rows = rows if config.option("data.keep_empty") else rows[rows["pair"]]
    fraction = config.option("data.fraction", 1.0)
    if split == "train" and 0 < fraction < 1 and isinstance(config.model, ContrastiveModule):
        return rows[draw_patients(rows["patient"].tolist(), fraction)]
    return rows


def check_pairs(config: Config, store: OpenedStore) -> Iterator[Finding]:
    """Count training rows that state nothing on the sides that the model contrasts."""
    sides, arrays = _stating_sides(config), config.option("data.arrays") or []
    if not sides and not arrays:
        return
    rows = viewed_rows(config, store)
    empty = int((~rows["pair"]).sum())
    text = f"{share(empty, len(rows))} training rows lack {needs(arrays, sides)}"
    numbers = {"empty": empty, "rows": len(rows)}
    many = len(rows) > 0 and empty >= MANY_EMPTY * len(rows)
    if empty and config.option("data.keep_empty"):
        text += ": kept, with equal embeddings and as each other's negatives; leave out data.keep_empty"
    elif empty:
        text += ": pretraining leaves them out, probes use their images"
    yield Finding("warning" if many else "ok", "pairs", text, numbers=numbers)


def _stating_sides(config: Config) -> list[str]:
    sides = config.model.sides if isinstance(config.model, ContrastiveModule) else ()
    return [side for side in sides if side in STATING_SIDES]


def processes(config: Config) -> int:
    """Return the number of training processes."""
    return config.trainer.num_devices * config.trainer.num_nodes if config.trainer is not None else 1


def check_batches(config: Config, store: OpenedStore) -> Iterator[Finding]:
    """Compare the batch size with the training rows, and the workers with the cores."""
    size = config.option("data.batch_size")
    if isinstance(size, int):
        rows, contrasts = len(kept_rows(config, store)), isinstance(config.model, ContrastiveModule)
        yield _batch_size_finding(size, processes(config), rows, contrasts)
    workers = config.option("data.num_workers")
    if isinstance(workers, int) and workers > cores():
        yield Finding("warning", "workers", f"data.num_workers is {workers}, this machine has {cores()} cores")


def _batch_size_finding(size: int, world_size: int, rows: int, contrasts: bool) -> Finding:
    step = size * world_size
    if size < 1:
        return Finding("error", "batch size", f"data.batch_size is {size}, not at least 1")
    if contrasts and min(size, rows // world_size) * world_size == 1:
        return Finding("error", "batch size", "a batch of one pair has no negatives: its loss is always 0")
    if step > rows:
        each = f" on each of {world_size} processes" if world_size > 1 else ""
        return Finding("warning", "batch size", f"data.batch_size is {size:,}{each}, there are {rows:,} training rows")
    left_over = f", {number(rows % step, 'row')} of each left over" if rows % step else ""
    each = f"{world_size} x {size:,}" if world_size > 1 else f"{size:,}"
    batches = f"{rows // step:,} batch{'es' * (rows // step != 1)}"
    return Finding("ok", "batch size", f"{batches} of {each} an epoch{left_over}")


def check_monitors(config: Config, store: OpenedStore) -> Iterator[Finding]:
    """Find callbacks that monitor recall at k among so few validation pairs that a random model does well too."""
    pairs = len(kept_rows(config, store, "valid"))
    callbacks: Any = config.trainer.callbacks if config.trainer is not None else []  # type: ignore[attr-defined]
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None)
        if recall_says_nothing(monitor, pairs):
            todo = "monitor val/loss, with mode min"
            if isinstance(callback, ModelCheckpoint):
                todo = "a fit chooses the best checkpoint by val/loss instead"
            text = f"{type(callback).__name__} monitors {monitor}, which says little among {pairs} validation pairs"
            yield Finding("warning", "monitor", f"{text}: {todo}", numbers={"pairs": pairs})


def check_accumulation(config: Config, store: OpenedStore) -> Iterator[Finding]:
    """Report the negatives of a contrastive loss with accumulated gradients: those of one batch."""
    batches = config.trainer.accumulate_grad_batches if config.trainer is not None else 1
    size = config.option("data.batch_size")
    if batches == 1 or not isinstance(config.model, ContrastiveModule) or not isinstance(size, int):
        return
    together = min(size, len(kept_rows(config, store)) // processes(config)) * processes(config)
    if together < 2:  # reported by `check_batches`
        return
    text = (
        f"trainer.accumulate_grad_batches {batches} adds no negatives: a pair has {together - 1:,}, from its own "
        f"batch, not from all {batches * together:,} pairs; for more, increase data.batch_size"
    )
    yield Finding("warning", "accumulation", text, numbers={"others": together - 1})


def check_batch_norm(config: Config) -> Iterator[Finding]:
    """Find batch norms that see only the rows of one process."""
    if config.model is None or config.trainer is None or processes(config) == 1:
        return
    if not any(isinstance(layer, _BatchNorm) for layer in config.model.modules()):
        return
    rows, together = config.option("data.batch_size"), bool(config.option("trainer.sync_batchnorm"))
    yield batch_norm_finding(rows, processes(config), together, config.trainer.strategy.root_device.type)


def batch_norm_finding(rows: int, world_size: int, synchronised: bool, device: str) -> Finding:
    """Return a finding on batch norm of several processes with `rows` each on a device, "cpu" or "cuda"."""
    if synchronised and device == "cpu":
        return Finding("error", "batch norm", "trainer.sync_batchnorm works on GPUs only: leave it out")
    if synchronised:
        return Finding("ok", "batch norm", "sees the rows of all processes")
    todo = "; torch synchronises it on GPUs only" if device == "cpu" else ": add --trainer.sync_batchnorm true"
    seen = f"sees the {rows} rows of its own process only, of {world_size} processes"
    return Finding("warning", "batch norm", seen + todo)
