"""Averaged weights: what is validated, and what a checkpoint holds."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor


class EMA(WeightAveraging):
    """Lightning's weight averaging with an exponential moving average, safe for every module of this package.

    Validation uses the averaged weights. A checkpoint's `state_dict` holds them, so that probes and
    `load_from_checkpoint` read them; what resuming needs lies beside it.

    Lightning's own `EMAWeightAveraging` averages integer buffers and rounds them down, which spoils the position tables
    of transformers; it copies the module before `setup` builds heads; and `test` of a checkpoint, after `fit` with the
    same trainer, takes the weights that were not averaged.

    Args:
        decay: weight of the past at each optimiser step. The average looks back over about 1 / (1 - decay) steps, which
            should be a small part of the run.
    """

    def __init__(self, decay: float = 0.999) -> None:
        def average(averaged: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
            return torch.lerp(averaged, current, 1 - decay) if averaged.is_floating_point() else current

        super().__init__(avg_fn=average)
        self._restored = False
        self._exchanged = False

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Wait: the module's own `setup`, which may build layers, comes after this one."""
        self._restored = False

    def on_load_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Resume with the averaged and the current weights; elsewhere the module has the averaged ones already."""
        if trainer.state.fn == TrainerFn.FITTING:
            super().setup(trainer, pl_module, "fit")
            super().on_load_checkpoint(trainer, pl_module, checkpoint)
            self._restored = True

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Copy the module, now that it is complete."""
        if not self._restored:
            super().setup(trainer, pl_module, "fit")

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Put the averaged weights in place during fit."""
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_validation_epoch_start(trainer, pl_module)
            self._exchanged = True

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Put the current weights back."""
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_validation_epoch_end(trainer, pl_module)
            self._exchanged = False

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """Put the current weights back where a validation was interrupted, before a checkpoint is saved."""
        if self._exchanged:
            self.on_validation_epoch_end(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Wait: a checkpoint may still be saved, which needs the current weights too."""

    def on_fit_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Leave the module with the averaged weights."""
        super().on_train_end(trainer, pl_module)
