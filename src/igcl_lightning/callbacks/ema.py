"""Averaged weights, used in validation and saved in checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

from igcl_lightning.modules.sharding import reshard, whole

CURRENT = "current_model_state"


class EMA(Callback):
    """An exponential moving average of the weights, for every module of this package and every strategy.

    Validation uses the averaged weights. They are the `state_dict` of a checkpoint, which probes and
    `load_from_checkpoint` read; the current weights, for resuming, are saved beside it.

    Lightning's own `WeightAveraging` cannot copy sharded modules, averages integer buffers, such as the position tables
    of transformers, copies the module before `setup` builds heads, and tests a checkpoint after `fit` with the weights
    that are not averaged.

    Args:
        decay: weight of the past at each optimiser step. The average covers about 1 / (1 - decay) steps, which should
            be a small part of the run.
    """

    def __init__(self, decay: float = 0.999) -> None:
        self.decay = decay
        self._average: list[Tensor] = []
        self._steps = 0  # optimiser steps at the last update
        self._exchanged = False

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Forget an earlier fit."""
        if stage == "fit":
            self._average, self._steps, self._exchanged = [], 0, False

    @torch.no_grad()
    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Start at the current weights, unless the average of a checkpoint was restored."""
        current = [*_tensors(pl_module)]
        self._average = [value.to(now.device) for value, now in zip(self._average, current, strict=bool(self._average))]
        self._average = self._average or [value.detach().clone() for value in current]

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *args: Any) -> None:
        """Update the average after an optimiser step; the first one replaces it, integers are never averaged."""
        if trainer.global_step == self._steps:
            return
        weight = 1 - self.decay if self._steps else 1.0
        for average, now in zip(self._average, _tensors(pl_module), strict=True):
            average.lerp_(now, weight) if average.is_floating_point() else average.copy_(now)
        self._steps = trainer.global_step

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Use the averaged weights during fit."""
        if trainer.state.fn == TrainerFn.FITTING and self._average:
            self._exchange(pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Put the current weights back."""
        if self._exchanged:
            self._exchange(pl_module)

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """Put the current weights back if a validation was interrupted, before a checkpoint is saved."""
        self.on_validation_epoch_end(trainer, pl_module)

    @torch.no_grad()
    def on_fit_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Leave the module with the averaged weights; not earlier, since a checkpoint may be saved at the end."""
        for average, now in zip(self._average, _tensors(pl_module), strict=bool(self._average)):
            now.copy_(average)
        self._average = []

    def on_save_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Store the average as the `state_dict`, and the current weights beside it. All processes take part."""
        if not self._average:
            return
        checkpoint[CURRENT] = checkpoint["state_dict"]
        averages = dict(zip(map(id, _tensors(pl_module)), self._average, strict=True))
        named = pl_module.state_dict(keep_vars=True).items()
        gathered = ((name, whole(averages.get(id(value), value))) for name, value in named)
        # Only the first process writes, and others need not hold a whole copy.
        checkpoint["state_dict"] = {name: value for name, value in gathered if trainer.is_global_zero}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Resume with both; the module has the averaged weights already, which are those of other jobs."""
        if trainer.state.fn == TrainerFn.FITTING and CURRENT in checkpoint:
            self._average = [value.detach().clone() for value in _tensors(pl_module)]
            set_model_state_dict(pl_module, checkpoint[CURRENT], options=StateDictOptions(full_state_dict=True))

    def state_dict(self) -> dict[str, Any]:
        """Return the number of optimiser steps, for the checkpoint."""
        return {"latest_update_step": self._steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue at the step of a checkpoint."""
        self._steps = state_dict["latest_update_step"]

    @torch.no_grad()
    def _exchange(self, module: nn.Module) -> None:
        """Exchange averaged and current weights."""
        self._exchanged = not self._exchanged
        for average, now in zip(self._average, _tensors(module), strict=True):
            kept = now.clone()
            now.copy_(average)
            average.copy_(kept)


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    """Yield the parameters and buffers, this process's share of them if the module is sharded."""
    reshard(module)
    return chain(module.parameters(), module.buffers())
