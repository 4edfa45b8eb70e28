"""The run folder, `runs/NAME/version_K`; resuming into it loses nothing."""

from __future__ import annotations

from pathlib import Path

from lightning.fabric.utilities import rank_zero_only
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger


def run_folder(trainer: Trainer) -> Path:
    """Return the folder of this run, or the trainer's root without a logger; every process must call this function.

    `trainer.log_dir` is the same for the CSV logger, but with W&B it is the folder of all runs.
    """
    folder = Path(trainer.default_root_dir)
    if (logger := trainer.logger) is not None:
        version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
        folder = Path(logger.save_dir or folder) / str(logger.name or "") / version
    return Path(trainer.strategy.broadcast(str(folder)))


class RunConfig(SaveConfigCallback):
    """Writes the whole configuration into the run folder: config.yaml, config-resume-1.yaml when resumed there, ..."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the file once, on the first rank; without a logger nothing is written."""
        folder = run_folder(trainer)
        if trainer.logger and trainer.is_global_zero and not self.already_saved:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / "config.yaml"
            path = free_path(folder, "config-resume", ".yaml") if path.exists() else path
            self.parser.save(self.config, str(path), skip_none=False)
        self.already_saved = True


@rank_zero_only
def keep_metrics(trainer: Trainer) -> None:
    """Rename the metrics.csv of a run that is resumed in its own folder, since the CSV logger would delete it."""
    for logger in trainer.loggers:
        metrics = Path(logger.log_dir, "metrics.csv") if isinstance(logger, CSVLogger) else None
        if metrics and metrics.exists():
            metrics.rename(free_path(metrics.parent, "metrics-before-resume", ".csv"))


def free_path(folder: Path, stem: str, suffix: str) -> Path:
    """Return the first of stem-1, stem-2, ... that does not exist in `folder`."""
    number = 1
    while (path := folder / f"{stem}-{number}{suffix}").exists():
        number += 1
    return path
