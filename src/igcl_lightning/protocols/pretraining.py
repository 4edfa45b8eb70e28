"""Pretraining as a part of a cell: once, as `igcl fit` does it, and again only if its settings change."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
from lightning.pytorch import Callback, Trainer
from torch import nn

from igcl_lightning.modules.base import BaseModule
from igcl_lightning.protocols.cells import read_json, tell, write_json
from igcl_lightning.training.lightning_cli import run as run_training

PRETRAINED = "pretrained.json"
"""The file that says that pretraining ended, with its settings and its cost."""

SECONDS, STEP_SECONDS = "train/epoch_seconds", "train/step_seconds"


class EpochSeconds(Callback):
    """Logs the time of an epoch and of one of its steps, and tells the epoch in a cell's folder.

    Validation and plots are not timed. The first step of an epoch, which starts the loader, counts for the epoch only.

    Args:
        cell: folder of the cell.
    """

    def __init__(self, cell: str) -> None:
        self.cell = Path(cell)
        self._start, self._ends = 0.0, list[float]()

    def logged_metrics(self, module: Any, data: Any) -> set[str]:
        """Return the names of the logged metrics."""
        return {SECONDS, STEP_SECONDS}

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Start the clock."""
        self._start, self._ends = time.perf_counter(), []
        if self.cell.is_dir():
            tell(self.cell, f"pretraining, epoch {trainer.current_epoch + 1} of {trainer.max_epochs}")

    def on_train_batch_end(self, *args: Any) -> None:
        """Read the clock; validation follows the last batch."""
        self._ends.append(time.perf_counter() - self._start)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Log the time up to the last batch."""
        pl_module.log(SECONDS, self._ends[-1])
        later = [after - before for before, after in pairwise(self._ends)]
        pl_module.log(STEP_SECONDS, median(later or self._ends))


def epoch_words(epochs: int | None) -> list[str]:
    """Return the options of `igcl fit` for a number of epochs; none for those of the config."""
    each = f"--trainer.check_val_every_n_epoch={epochs}"
    return [] if epochs is None else [f"--trainer.max_epochs={epochs}", each]


def folder_words(cell: Path, run: Path, store: str) -> list[str]:
    """Return the options of `igcl fit` that say where it reads and writes, and that its epochs are told and timed.

    Args:
        cell: folder of the cell.
        run: folder of the runs, which gets `version_0`.
        store: the store to pretrain on.
    """
    words = [f"--data.store={store}", "--trainer.devices=1", "--trainer.enable_progress_bar=false"]
    words += ["--trainer.logger=CSVLogger", f"--trainer.logger.save_dir={run.parent}"]
    words += [f"--trainer.logger.name={run.name}"]
    timer = f"{EpochSeconds.__module__}.{EpochSeconds.__name__}"
    return [*words, f"--trainer.callbacks+={timer}", f"--trainer.callbacks.cell={cell}"]


def checkpoint_of(run: Path) -> Path:
    """Return the checkpoint of a finished pretraining."""
    return run / "version_0" / "checkpoints" / "last.ckpt"


def _cost(run: Path) -> dict[str, float | int]:
    """Return the medians of the time of an epoch and of a step, and the numbers of parameters."""
    logged = pd.read_csv(run / "version_0" / "metrics.csv")
    module = BaseModule.load_from_checkpoint(checkpoint_of(run), map_location="cpu")
    sides = [getattr(module, f"{side}_encoder", None) for side in ("graph", "text")]
    return {
        "seconds_per_epoch": float(logged[SECONDS].median()),
        "seconds_per_step": float(logged[STEP_SECONDS].median()),
        "parameters": _parameters(module),
        "parameters_of_reports": sum(_parameters(side) for side in sides if side is not None),
    }


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def pretrained(
    cell: Path, run: Path, words: Sequence[str], store: str, settings: str, stale: Sequence[str] = ()
) -> Any:
    """Return the note of a finished pretraining, after it if need be; a half-trained one starts again.

    Args:
        cell: folder of the cell.
        run: folder of the runs.
        words: options of `igcl fit`, without folders.
        store: the store to pretrain on.
        settings: a hash of everything that the weights depend on.
        stale: files of the cell that depend on the weights; removed before pretraining.
    """
    note = read_json(cell / PRETRAINED)
    if note.get("settings") != settings or not checkpoint_of(run).is_file():
        for name in (PRETRAINED, *stale):
            (cell / name).unlink(missing_ok=True)
        shutil.rmtree(run / "version_0", ignore_errors=True)
        run_training(["fit", *words, *folder_words(cell, run, store)], closing=False)
        note = {"settings": settings, **_cost(run)}
        write_json(note, cell / PRETRAINED)
    return note
