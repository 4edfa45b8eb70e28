"""Stop of a training that diverges, before its weights are lost."""

from __future__ import annotations

import csv
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import ParallelStrategy
from torch import Tensor, distributed
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from igcl_lightning.atomic import replacing
from igcl_lightning.errors import IgclError
from igcl_lightning.run_folder import free_path, run_folder

COLUMNS = ("process", "loss", "row", "study", "patient")


class StopIfDiverged(Callback):
    """Stops before an optimiser step whose loss or gradient is not finite, and names the rows of its batch.

    Part of every command-line run. Rows and losses of all processes, and of all batches accumulated for the step, are
    written to `diverged-K.csv` in the run folder. With a gradient scaler (`precision: 16-mixed`) only the loss counts,
    since the scaler itself skips steps with infinite gradients.
    """

    def __init__(self) -> None:
        self._batches: list[tuple[Tensor | None, Tensor]] = []
        """Rows and loss of each batch since the last step."""
        self._row: Tensor | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the batches of an earlier fit."""
        self._batches = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Note the rows of a batch."""
        row = getattr(batch, "row", None)
        self._row = row if isinstance(row, Tensor) else None

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Note the loss of a batch."""
        self._batches.append((self._row, loss.detach()))

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Stop all processes if a loss or a gradient of one of them is not finite.

        Raises:
            IgclError: it is not finite; the weights are those before the step.
        """
        batches, self._batches = self._batches, []
        found = {"loss": torch.stack([loss.float() for _, loss in batches])} if batches else {}
        if getattr(trainer.precision_plugin, "scaler", None) is None:
            found["gradient"] = _largest(pl_module)
        wrong = [name for name, value in found.items() if not value.isfinite().all()]
        if trainer.strategy.reduce_boolean_decision(bool(wrong), all=False):
            self._stop(trainer, wrong, batches)

    def _stop(self, trainer: Trainer, wrong: list[str], batches: list[tuple[Tensor | None, Tensor]]) -> None:
        """Write the rows of all processes and raise."""
        own = [(loss.item(), [] if row is None else row.tolist()) for row, loss in batches]
        processes: list[Any] = [own]
        if isinstance(trainer.strategy, ParallelStrategy) and trainer.world_size > 1:
            processes = [None] * trainer.world_size
            distributed.all_gather_object(processes, own)
        path = free_path(run_folder(trainer), "diverged", ".csv")
        ids = getattr(trainer.datamodule, "row_ids", lambda row: (row, "", ""))  # type: ignore[attr-defined]
        lines = [
            (process, loss, *ids(row))
            for process, found in enumerate(processes)
            for loss, rows in found
            for row in rows
        ]
        if trainer.is_global_zero:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([COLUMNS, *lines])
        raise IgclError(
            f"{path}: the {' and the '.join(wrong) or 'loss of another process'} of step {trainer.global_step} is not "
            "finite; the file names the rows of its batch. Earlier checkpoints are kept; lower "
            "model.optim.learning_rate, or set trainer.gradient_clip_val"
        )


def _largest(module: LightningModule) -> Tensor:
    """Return the largest absolute gradient, a scalar; its sum of squares could overflow."""
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    return get_total_norm(gradients, norm_type=float("inf"))
