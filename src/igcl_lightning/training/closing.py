"""The last lines of fit, validate, test and predict."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from igcl_lightning.closing import command, write_closing
from igcl_lightning.modules.head import HeadModule
from igcl_lightning.run_folder import run_folder_here
from igcl_lightning.training.checkpoints import LastCheckpoint

OUTPUTS = (
    *("results.json", "predictions.csv", "predictions.parquet", "prompts.csv"),
    *("embeddings.parquet", "matchings.parquet", "segmentation.parquet", "masks.parquet"),
)
RECORDS = ("metrics.csv", "config.yaml", "plots")
UNUSED = {"config.yaml", "hparams.yaml", "metrics.csv"}
"""Files of a run that exist before its first batch."""

KEPT = ("--config", "-c", "--import", "--model", "--data")
"""Options that the next command needs too; a checkpoint has those of the model."""


class Started(Callback):
    """Notes where a run writes, and whether its first batch has begun.

    Attributes:
        new: the first folder of the path of the run folder that did not exist; None if all did.
        batch: whether the first batch has begun.
    """

    def __init__(self) -> None:
        self.new: Path | None = None
        self.batch = False

    def look(self, trainer: Trainer) -> None:
        """Note what exists, before a logger makes its folder."""
        folder = run_folder_here(trainer)
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        self.new = missing[-1] if missing else None

    def on_train_batch_start(self, *given: Any, **named: Any) -> None:
        """Note that a batch begins."""
        self.batch = True

    on_validation_batch_start = on_train_batch_start
    on_test_batch_start = on_train_batch_start
    on_predict_batch_start = on_train_batch_start


def forget_unused(started: Started) -> None:
    """Remove the run folder of a command that ended before its first batch, unless it was there before."""
    if started.batch or started.new is None:
        return
    if {path.name for path in started.new.rglob("*") if path.is_file()} <= UNUSED:
        shutil.rmtree(started.new, ignore_errors=True)


def say_end(words: Sequence[str], trainer: Trainer, module: Any, started: Started) -> None:
    """Say where the run wrote, what it found and what comes next, on the first process."""
    stage, folder = words[0], run_folder_here(trainer)
    if not trainer.is_global_zero:
        return
    if trainer.fast_dev_run:  # type: ignore[attr-defined]  # set, but not declared
        write_closing({"note": "a trial run: nothing was written"})
        return
    checkpoints = [*_checkpoints(trainer)] if stage == "fit" else []
    files = [*checkpoints, *(folder / name for name in (*OUTPUTS, *RECORDS))]
    written = [
        str(path.relative_to(folder) if path.is_relative_to(folder) else path) for path in files if path.exists()
    ]
    write_closing(
        {
            "folder": str(folder) if written else "",
            "note": "" if started.batch else "nothing was left to do",
            "best": _best(trainer) if stage == "fit" else "",
            "files": ", ".join(written),
            "next": _next(words, trainer, module, checkpoints),
        }
    )


def say_resume(words: Sequence[str], trainer: Trainer, checkpoint: Path | str | None) -> None:
    """Say how an interrupted fit goes on, in its folder."""
    if checkpoint is None:
        return
    stage, *options = words
    again = [stage, *_without(options, ("--ckpt_path",)), "--ckpt_path", str(checkpoint)]
    if isinstance(trainer.logger, CSVLogger) and not [*_only(options, ("--trainer.logger.version",))]:
        again += ["--trainer.logger.version", str(trainer.logger.version)]
    write_closing({"continue": command(again)})


def _checkpoints(trainer: Trainer) -> Iterator[Path]:
    """Yield the best checkpoint first, then the last one."""
    paths = []
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint):
            paths += [callback.best_model_path, callback.last_model_path]
    callbacks = trainer.callbacks  # type: ignore[attr-defined]  # set, but not declared
    paths += [str(each.path) for each in callbacks if isinstance(each, LastCheckpoint) and each.path]
    yield from dict.fromkeys(Path(path) for path in paths if path and Path(path).exists())


def _best(trainer: Trainer) -> str:
    """Return the best value of what the checkpoints are chosen by, nothing if they are not chosen."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor and callback.best_model_score is not None:
            return f"{callback.monitor} {callback.best_model_score:.4g}"
    return ""


def _next(words: Sequence[str], trainer: Trainer, module: Any, checkpoints: Sequence[Path]) -> str:
    """Return the command that usually follows."""
    stage, *options = words
    given = " ".join(_only(options, ("--ckpt_path",))).removeprefix("--ckpt_path")[1:]
    used = str(checkpoints[0]) if checkpoints else given
    if not used or stage == "predict":
        return ""
    kept = [*_only(options, KEPT), "--ckpt_path", used]
    if isinstance(module, HeadModule):
        if stage != "test":
            return command(["test", *kept])
        return f"{command(['predict', *_without(kept, ('--data.store',))])} --data.store NEW_STORE"
    if not getattr(getattr(trainer.datamodule, "store", None), "labels", ()):  # type: ignore[attr-defined]
        return command(["predict", *kept])
    data = [*_only(options, ("--data.store",))]
    return command(["fit", "--config", "probe/linear.yaml", *data, "--model.checkpoint", used])


def _only(words: Sequence[str], names: Sequence[str]) -> Iterator[str]:
    """Yield the options of these names, or below them, with their values."""
    yield from (word for option in _options(words) if _is_one(option[0], names) for word in option)


def _without(words: Iterable[str], names: Sequence[str]) -> Iterator[str]:
    """Yield all other options, with their values."""
    yield from (word for option in _options(words) if not _is_one(option[0], names) for word in option)


def _options(words: Iterable[str]) -> list[list[str]]:
    """Return each option with its values."""
    options: list[list[str]] = []
    for word in words:
        if word.startswith("-") or not options:
            options.append([word])
        else:
            options[-1].append(word)
    return options


def _is_one(word: str, names: Sequence[str]) -> bool:
    option = word.partition("=")[0]
    return any(option == name or option.startswith(f"{name}.") for name in names if name != "--model") or (
        "--model" in names and option in ("--model", "--model.class_path")
    )
