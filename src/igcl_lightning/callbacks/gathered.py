"""Outputs of all batches and processes, gathered for one file."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from igcl_lightning.data.interfaces import RowLookup
from igcl_lightning.metrics.rows import first_of_each
from igcl_lightning.run_folder import run_folder


class GatheringCallback(Callback):
    """Gathers the outputs of the batches of `test` and `predict`.

    Args:
        output_type: named tuple of tensors with a field `row`; outputs of other types are ignored.
    """

    def __init__(self, output_type: type) -> None:
        self.output_type = output_type
        self._batches: list[Any] = []

    @abstractmethod
    def write(self, outputs: Any, folder: Path, trainer: Trainer, pl_module: Any, job: str) -> None:
        """Write the outputs of all rows, each row once, in the order of a single process.

        Called on the first process only: it must not call collective operations.

        Args:
            outputs: gathered outputs, of `output_type`.
            folder: the run folder; it may not exist yet.
            trainer: the trainer.
            pl_module: the module.
            job: "test" or "predict".
        """

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Drop earlier outputs."""
        self._batches = []

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *rest: Any) -> None:
        """Keep the outputs of a batch."""
        if isinstance(outputs, tuple) and type(outputs) is self.output_type:
            self._batches.append(self.output_type(*(value.detach().cpu() for value in outputs)))

    def on_predict_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *rest: Any) -> None:
        """Keep the outputs of a batch."""
        self.on_test_batch_end(trainer, pl_module, outputs)

    on_predict_epoch_start = on_test_epoch_start

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write, once for all processes."""
        self._finish(trainer, pl_module, "test")

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write, once for all processes."""
        self._finish(trainer, pl_module, "predict")

    def _finish(self, trainer: Trainer, pl_module: LightningModule, job: str) -> None:
        folder = run_folder(trainer)
        own = [torch.cat(field) for field in zip(*self._batches, strict=True)]
        parts = [self.output_type(*fields) for fields in _from_all_processes(own) if fields]
        self._batches = []
        if trainer.is_global_zero and parts:
            self.write(_in_order(parts), folder, trainer, pl_module, job)


def _from_all_processes(outputs: Any) -> list[Any]:
    if not (dist.is_available() and dist.is_initialized()):
        return [outputs]
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, outputs)
    return parts


def _in_order(parts: list[Any]) -> Any:
    """Return the outputs of all processes in the order of a single process, without repeated rows.

    Samplers deal the rows out to the processes in turn, and repeat rows to fill every process.
    """
    index = torch.cat([torch.arange(len(part.row)) * len(parts) + rank for rank, part in enumerate(parts)])
    order = index.argsort()
    row = torch.cat([part.row for part in parts])[order]
    order = order[first_of_each(row).sort().values]
    return type(parts[0])(*(torch.cat(field)[order] for field in zip(*parts, strict=True)))


def ids_of(row: Tensor, data: RowLookup) -> pd.DataFrame:
    """Return the columns `row`, `study`, `patient` and `split` of hashed row ids [N]."""
    rows = row.tolist()
    ids = pd.DataFrame([data.row_ids(row) for row in rows], columns=["row", "study", "patient"])
    return ids.assign(split=[data.row_split(row) for row in rows])
