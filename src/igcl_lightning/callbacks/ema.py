"""Averaged weights, used in validation and saved in checkpoints."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor


class EMA(WeightAveraging):
    """Lightning's weight averaging with an exponential moving average, for every module of this package.

    Validation uses the averaged weights. They are the `state_dict` of a checkpoint, which probes and
    `load_from_checkpoint` read; the current weights, for resuming, are saved beside it.

    Lightning's own `EMAWeightAveraging` averages integer buffers, such as the position tables of transformers, copies
    the module before `setup` builds heads, and tests a checkpoint after `fit` with the weights that are not averaged.

    Args:
        decay: weight of the past at each optimiser step. The average covers about 1 / (1 - decay) steps, which should
            be a small part of the run.
    """

    def __init__(self, decay: float = 0.999) -> None:
        def average(averaged: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
            return torch.lerp(averaged, current, 1 - decay) if averaged.is_floating_point() else current

        super().__init__(avg_fn=average)
        self._restored = False
        self._exchanged = False

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Do not copy the module yet, since its own `setup`, which may build layers, runs later."""
        self._restored = False

    def on_load_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Resume with averaged and current weights; outside of fit, the module has the averaged ones already."""
        if trainer.state.fn == TrainerFn.FITTING:
            super().setup(trainer, pl_module, "fit")
            super().on_load_checkpoint(trainer, pl_module, checkpoint)
            self._restored = True

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Copy the complete module."""
        if not self._restored:
            super().setup(trainer, pl_module, "fit")

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Use the averaged weights during fit."""
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_validation_epoch_start(trainer, pl_module)
            self._exchanged = True

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Put the current weights back."""
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_validation_epoch_end(trainer, pl_module)
            self._exchanged = False

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """Put the current weights back if a validation was interrupted, before a checkpoint is saved."""
        if self._exchanged:
            self.on_validation_epoch_end(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Keep the current weights, since a checkpoint may still be saved."""

    def on_fit_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Leave the module with the averaged weights."""
        super().on_train_end(trainer, pl_module)
