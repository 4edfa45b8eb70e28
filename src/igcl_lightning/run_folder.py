"""The run folder, `runs/NAME/version_K`; resuming into it loses nothing."""

from __future__ import annotations

import csv
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml
from lightning.fabric.utilities import rank_zero_only
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, WandbLogger

from igcl_lightning.atomic import locked, replacing
from igcl_lightning.errors import IgclError


def run_folder(trainer: Trainer) -> Path:
    """Return the folder of this run, or the trainer's root without a logger; every process must call this function.

    `trainer.log_dir` is the same for the CSV logger, but with W&B it is the folder of all runs.
    """
    return Path(trainer.strategy.broadcast(str(run_folder_here(trainer))))


def run_folder_here(trainer: Trainer) -> Path:
    """Return the folder as this process would name it, before processes can talk; the first one's is the run's."""
    folder = Path(trainer.default_root_dir)
    if (logger := trainer.logger) is not None:
        version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
        folder = Path(logger.save_dir or folder) / str(logger.name or "") / version
    return folder


class RunConfig(SaveConfigCallback):
    """Writes the whole configuration into the run folder: config.yaml, config-resume-1.yaml when resumed there, ...

    A run of Weights & Biases gets the classes and the options of data, trainer and seed, as they stand in the file.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._locks = ExitStack()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the file once, on the first rank; without a logger nothing is written.

        Raises:
            IgclError: another process trains into the folder.
        """
        folder = run_folder(trainer)
        writing = trainer.logger and trainer.is_global_zero and not self.already_saved
        refused = self._lock(folder) if writing and stage == "fit" else None
        if refused := trainer.strategy.broadcast(refused):  # all processes end
            raise IgclError(refused)
        if writing:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / "config.yaml"
            path = free_path(folder, "config-resume", ".yaml") if path.exists() else path
            self.parser.save(self.config, str(path), skip_none=False)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_hyperparams(self._searchable())
        self.already_saved = True

    def _lock(self, folder: Path) -> str | None:
        """Lock the run folder until the fit ends; return the message if another process has locked it."""
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._locks.enter_context(locked(folder))
        except IgclError as error:
            return str(error)
        return None

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Release the folder."""
        self._locks.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Release the folder."""
        self._locks.close()

    def _searchable(self) -> dict[str, Any]:
        """Return what the run of W&B lacks otherwise: Lightning logs the arguments of the model only."""
        options = yaml.safe_load(self.parser.dump(self.config, skip_none=False))
        trainer = {name: value for name, value in options["trainer"].items() if name not in ("callbacks", "logger")}
        kept = {name: options[name] for name in ("data", "seed_everything")}
        return {"model": {"class_path": options["model"]["class_path"]}, **kept, "trainer": trainer}


def metrics_file(logger: CSVLogger) -> Path:
    """Return the file that a logger writes."""
    return Path(logger.log_dir, "metrics.csv")


@rank_zero_only
def keep_metrics(trainer: Trainer) -> None:
    """Rename the metrics.csv of a run that is resumed in its own folder, since the CSV logger would delete it."""
    for logger in _csv_loggers(trainer):
        if (metrics := metrics_file(logger)).exists():
            metrics.rename(free_path(metrics.parent, "metrics-before-resume", ".csv"))


def logged_rows(trainer: Trainer) -> list[list[Any]]:
    """Return name, version and number of rows, all written, of each metrics.csv of this run."""
    rows = []
    for logger in _csv_loggers(trainer):
        if trainer.is_global_zero:
            logger.save()
            rows.append([logger.name, str(logger.version), len(_read_rows(metrics_file(logger))[1])])
    return rows


@rank_zero_only
def continue_rows(trainer: Trainer, logged: list[list[Any]]) -> None:
    """Write the rows before a checkpoint (see `logged_rows`) to the metrics.csv of a run resumed in its own folder.

    The renamed file of `keep_metrics` is removed if it holds no further rows.
    """
    for logger in _csv_loggers(trainer):
        counts = [count for name, version, count in logged if [name, version] == [logger.name, str(logger.version)]]
        path = metrics_file(logger)
        kept = last_path(path.parent, "metrics-before-resume", ".csv")
        if not counts or kept is None or path.exists():
            continue
        header, rows = _read_rows(kept)
        if len(rows) < counts[0] or not header:
            continue
        logger.experiment.metrics_keys = header
        with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows[: counts[0]]])
        if len(rows) == counts[0]:
            kept.unlink()


def _csv_loggers(trainer: Trainer) -> list[CSVLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, CSVLogger)]


def _read_rows(path: Path) -> tuple[list[str], list[list[str]]]:
    """Return header and whole rows of a CSV file; no rows if it does not exist."""
    if not path.exists():
        return [], []
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    return header, rows


def last_path(folder: Path, stem: str, suffix: str) -> Path | None:
    """Return the last of stem-1, stem-2, ... that exists in `folder`, None if there is none."""
    number = int(free_path(folder, stem, suffix).stem.rpartition("-")[2]) - 1
    return folder / f"{stem}-{number}{suffix}" if number else None


def free_path(folder: Path, stem: str, suffix: str) -> Path:
    """Return the first of stem-1, stem-2, ... that does not exist in `folder`."""
    number = 1
    while (path := folder / f"{stem}-{number}{suffix}").exists():
        number += 1
    return path
