"""Checkpoints of `igcl fit`: written atomically, read as plain data, and a last.ckpt for every run that ends."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from igcl_lightning.atomic import replacing
from igcl_lightning.data.store_path import is_address
from igcl_lightning.errors import IgclError, one_line
from igcl_lightning.modules.checkpoint import read_checkpoint
from igcl_lightning.run_folder import free_path, run_folder
from igcl_lightning.training.monitors import choose_by_loss_among_few
from igcl_lightning.training.resume import ExactResume

LAST = "last.ckpt"
LIGHTNING_VERSION = "pytorch-lightning_version"


class PlainCheckpointIO(TorchCheckpointIO):
    """Local checkpoints, written atomically (Lightning can leave half a file when killed), and read as plain data."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint to a temporary file in the same folder, and rename it."""
        if is_address(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with replacing(target) as partial:
                torch.save(checkpoint, partial)
        except (OSError, RuntimeError) as error:  # torch raises the latter if the disk is full
            raise IgclError(
                f"{target}: cannot be written; is the disk full? The checkpoint before it is kept "
                f"({one_line(error)[:200]})"
            ) from error

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        """Read a checkpoint as plain data; `IgclError` if the file is no checkpoint of Lightning's trainer."""
        if is_address(path):
            return super().load_checkpoint(path, map_location, weights_only)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as parts:
                if damaged := parts.testzip():  # torch reads it without a word
                    raise IgclError(f"{path}: damaged, its part {damaged} is not what was written; use an earlier one")
        # Not memory-mapped, since a resumed run replaces the file.
        checkpoint = read_checkpoint(path, map_location, mmap=False)
        if not isinstance(checkpoint.get(LIGHTNING_VERSION), str):
            raise IgclError(f"{path}: does not say which version of Lightning wrote it; load it from Python instead")
        return checkpoint


class LastCheckpoint(Callback):
    """Writes `last.ckpt` when a fit ends or is interrupted, beside the checkpoints of the config.

    Part of every command-line run that keeps checkpoints. An earlier run's `last.ckpt` in the same folder is renamed to
    `earlier-1.ckpt`, unless this run resumes from it.
    """

    def __init__(self) -> None:
        self._path: Path | str | None = None
        self._training = False
        self.saved: Path | str | None = None
        """The checkpoint of an interruption or an error."""

    @property
    def path(self) -> Path | str | None:
        """The file, known when a fit has started; None for a run that keeps no checkpoints."""
        return self._path

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Reset: nothing is saved before training has started; choose no best checkpoint by what says nothing."""
        self._path, self._training, self.saved = None, False, None
        if stage == "fit":
            choose_by_loss_among_few(trainer, pl_module)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the path, on every process."""
        if trainer.fast_dev_run or not trainer.checkpoint_callbacks:  # type: ignore[attr-defined]  # set, but not declared
            return
        folder = getattr(trainer.checkpoint_callbacks[0], "dirpath", None) or run_folder(trainer) / "checkpoints"
        self._path = f"{folder}/{LAST}" if is_address(folder) else Path(folder) / LAST

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start saving, after weights, optimiser and progress are restored, and rename the file of another run."""
        self._training = True
        # Not earlier, since a fit with nothing left to train keeps the file.
        continues = trainer.ckpt_path is not None and _is_same(str(trainer.ckpt_path), self._path)
        if trainer.is_global_zero and isinstance(self._path, Path) and self._path.exists() and not continues:
            self._path.rename(free_path(self._path.parent, "earlier", ".ckpt"))
        if trainer.strategy.broadcast(continues):  # processes must agree, even if their disks differ
            _claim(trainer, self._path)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the final state. All processes take part."""
        if self._path is not None and not trainer.strategy.broadcast(_is_saved(trainer, self._path)):
            _claim(trainer, self._path)
            trainer.save_checkpoint(self._path, weights_only=False)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save the state before an interruption or an error; if that fails too, warn."""
        together = any(isinstance(each, ExactResume) and each.together for each in trainer.callbacks)  # type: ignore[attr-defined]
        trained = self._training and self._path is not None and trainer.global_step > 0 and _is_finite(pl_module)
        if not trained or not (together or _holds_everything(trainer)):
            return
        if _is_saved(trainer, self._path):
            self.saved = self._path
            return
        _claim(trainer, self._path)
        try:
            # As `trainer.save_checkpoint`, without its barrier: other processes may be in any state, unless all stop
            # together.
            trainer.strategy.save_checkpoint(trainer._checkpoint_connector.dump_checkpoint(False), str(self._path))
        except Exception as error:  # the error that ended training must not be hidden
            rank_zero_warn(f"{self._path}: could not be written ({one_line(error)[:300]})")
        else:
            self.saved = self._path
            rank_zero_info(f"stopped after step {trainer.global_step}")


def use_plain_checkpoints(trainer: Trainer) -> None:
    """Make a trainer use `PlainCheckpointIO`, unless it has a checkpoint plugin of its own."""
    try:
        usual = type(trainer.strategy.checkpoint_io) is TorchCheckpointIO
    except NotImplementedError:  # strategies that write their own files
        return
    if usual:
        trainer.strategy.checkpoint_io = PlainCheckpointIO()


def _is_saved(trainer: Trainer, path: Path | str | None) -> bool:
    """Return whether a callback of the config has just saved this step there."""
    return any(
        getattr(callback, "_last_global_step_saved", None) == trainer.global_step
        and _is_same(getattr(callback, "_last_checkpoint_saved", ""), path)
        for callback in trainer.checkpoint_callbacks
    )


def _claim(trainer: Trainer, path: Path | str | None) -> None:
    """Register the file with callbacks that write one of this name, which would otherwise write last-v1.ckpt next."""
    for callback in trainer.checkpoint_callbacks:
        if not isinstance(callback, ModelCheckpoint):
            continue
        last, usual = (callback.format_checkpoint_name({}, name) for name in (callback.CHECKPOINT_NAME_LAST, None))
        if callback.save_last and _is_same(last, path):
            callback.last_model_path = last
        if callback.monitor is None and _is_same(usual, path):
            callback.best_model_path = usual


def _is_finite(module: LightningModule) -> bool:
    """Return whether all weights and buffers are finite; a step that diverged may leave means that are not."""
    return all(bool(value.isfinite().all()) for value in module.state_dict().values() if value.is_floating_point())


def _is_same(first: str, second: Path | str | None) -> bool:
    return second is not None and os.path.realpath(first) == os.path.realpath(second)


def _holds_everything(trainer: Trainer) -> bool:
    """Return whether this process alone holds the whole state."""
    if trainer.world_size == 1:
        return True
    scattered = any(hasattr(optimizer, "consolidate_state_dict") for optimizer in trainer.optimizers)
    return trainer.is_global_zero and type(trainer.strategy) is DDPStrategy and not scattered
