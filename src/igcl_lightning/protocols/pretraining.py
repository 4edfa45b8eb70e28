"""Pretraining as a part of a cell: once, as `igcl fit` does it, and again only if its settings change."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from lightning.pytorch import Callback, Trainer

from igcl_lightning.protocols.cells import read_json, tell, write_json
from igcl_lightning.training.lightning_cli import run as run_training

PRETRAINED = "pretrained.json"
"""The file that says that pretraining ended, with its settings and seconds per epoch."""

SECONDS = "train/epoch_seconds"


class EpochSeconds(Callback):
    """Logs `train/epoch_seconds`, the time of the training steps of an epoch, and tells the epoch in a cell's folder.

    Validation and plots are not timed.

    Args:
        cell: folder of the cell.
    """

    def __init__(self, cell: str) -> None:
        self.cell = Path(cell)

    def logged_metrics(self, module: Any, data: Any) -> set[str]:
        """Return the name of the logged metric."""
        return {SECONDS}

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Start the clock."""
        self._start = time.perf_counter()
        if self.cell.is_dir():
            tell(self.cell, f"pretraining, epoch {trainer.current_epoch + 1} of {trainer.max_epochs}")

    def on_train_batch_end(self, *args: Any) -> None:
        """Read the clock; validation follows the last batch."""
        self._seconds = time.perf_counter() - self._start

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Log the time up to the last batch."""
        pl_module.log(SECONDS, self._seconds)


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
        seconds = pd.read_csv(run / "version_0" / "metrics.csv")[SECONDS].median()
        note = {"settings": settings, "seconds_per_epoch": float(seconds)}
        write_json(note, cell / PRETRAINED)
    return note
