"""Outputs of all batches and all processes, collected for one file."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer

from igcl_lightning.run_folder import run_folder


class GatheringCallback(Callback):
    """Collects named tuples of tensors, with a field `row`, from the batches of `test` and `predict`.

    Args:
        output_type: outputs of another type are left alone.
    """

    def __init__(self, output_type: type) -> None:
        self.output_type = output_type
        self._batches: list[Any] = []

    @abstractmethod
    def write(self, outputs: Any, folder: Path, trainer: Trainer, pl_module: Any, job: str) -> None:
        """Write the outputs of all rows, each row once, in the order in which one process would meet them.

        It runs on the first process only, so it must not call anything that all processes take part in.

        Args:
            outputs: of the type asked for.
            folder: the run folder; it may not exist yet.
            trainer: what ran.
            pl_module: what put them out.
            job: "test" or "predict".
        """

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start anew."""
        self._batches = []

    def on_predict_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start anew."""
        self._batches = []

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *rest: Any) -> None:
        """Keep the outputs of a batch."""
        self._keep(outputs)

    def on_predict_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *rest: Any) -> None:
        """Keep the outputs of a batch."""
        self._keep(outputs)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write, once for all processes."""
        self._finish(trainer, pl_module, "test")

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write, once for all processes."""
        self._finish(trainer, pl_module, "predict")

    def _keep(self, outputs: Any) -> None:
        if isinstance(outputs, tuple) and type(outputs) is self.output_type:
            self._batches.append(self.output_type(*(value.detach().cpu() for value in outputs)))

    def _finish(self, trainer: Trainer, pl_module: LightningModule, job: str) -> None:
        folder = run_folder(trainer)
        parts = [part for part in _from_all_processes(self._joined()) if part is not None]
        self._batches = []
        if trainer.is_global_zero and parts:
            self.write(_each_row_once(_taken_in_turn(parts)), folder, trainer, pl_module, job)

    def _joined(self) -> Any:
        """Return the outputs of all batches of this process as one, None where there are none."""
        if not self._batches:
            return None
        return self.output_type(*(torch.cat(field) for field in zip(*self._batches, strict=True)))


def _from_all_processes(outputs: Any) -> list[Any]:
    if not (dist.is_available() and dist.is_initialized()):
        return [outputs]
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, outputs)
    return parts


def _taken_in_turn(parts: list[Any]) -> Any:
    """Return the outputs of all processes in the order of one: samplers deal the rows out to the processes in turn."""
    place = torch.cat([torch.arange(len(part.row)) * len(parts) + rank for rank, part in enumerate(parts)])
    order = place.argsort()
    return type(parts[0])(*(torch.cat(field)[order] for field in zip(*parts, strict=True)))


def _each_row_once(outputs: Any) -> Any:
    """Drop the rows that a distributed sampler repeats."""
    place = {row: index for index, row in reversed(list(enumerate(outputs.row.tolist())))}
    first = torch.tensor(sorted(place.values()))
    return type(outputs)(*(value[first] for value in outputs))
