"""Where a run keeps its files."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch import Trainer


def run_folder(trainer: Trainer) -> Path:
    """Return the folder of this run: config, checkpoints, metrics, plots, predictions.

    `trainer.log_dir` is the same for the CSV logger, but for W&B the folder of all runs. Without a logger it is the
    trainer's root folder. Every process must call this: the first one's answer is sent to all.
    """
    folder = Path(trainer.default_root_dir)
    if (logger := trainer.logger) is not None:
        version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
        folder = Path(logger.save_dir or folder) / str(logger.name or "") / version
    return Path(trainer.strategy.broadcast(str(folder)))
