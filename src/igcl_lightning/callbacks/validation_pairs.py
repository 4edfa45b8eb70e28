"""The validation pairs that a picture of the embeddings is drawn from."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from igcl_lightning.callbacks.figures import plots_folder, save_figure
from igcl_lightning.modules.contrastive import PairEmbedding

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ValidationPairs(NamedTuple):
    """Embedded pairs on the CPU.

    Attributes:
        pixels: grey values 0-255, [P, 1, H, W], of the first row of each of the first P patients.
        first: unit vectors of the first side, float32 [N, D].
        second: unit vectors of the second side, float32 [N, D].
        graph_key: int64 [N], equal where two graphs state the same, negative for an empty graph.
        study: hash of the study's id, int64 [N].
        patient: hash of the patient's id, int64 [N].
        row: hash of the row's id, int64 [N].
    """

    pixels: Tensor
    first: Tensor
    second: Tensor
    graph_key: Tensor
    study: Tensor
    patient: Tensor
    row: Tensor


class ValidationPairsCallback(Callback):
    """Draws `plots/{picture}.png` from the first validation pairs: every few epochs, after fit and after validate.

    It listens to modules whose `validation_step` returns a `PairEmbedding`, and leaves others alone. With several
    processes the picture shows the share of rank zero.

    Args:
        max_pairs: how many pairs the picture rests on.
        num_images: of how many patients the pixels of an image are needed.
        every_n_epochs: how often to draw during fit.
    """

    picture: str

    def __init__(self, max_pairs: int, num_images: int, every_n_epochs: int) -> None:
        self.max_pairs = max_pairs
        self.num_images = num_images
        self.every_n_epochs = every_n_epochs
        self._batches: list[ValidationPairs] = []
        self._patients: set[int] = set()

    @abstractmethod
    def draw(self, pairs: ValidationPairs, trainer: Trainer) -> Figure | None:
        """Return the picture, or None where the run lacks what it shows."""

    def publish(self, pairs: ValidationPairs, folder: Path, trainer: Trainer) -> None:
        """Write the picture into `folder`; runs on rank zero only."""
        figure = self.draw(pairs, trainer)
        if figure is not None:
            save_figure(figure, folder / f"{self.picture}.png", trainer)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the pairs of the epoch before."""
        self._batches, self._patients = [], set()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the batch while there are fewer pairs than wanted."""
        if trainer.sanity_checking or not trainer.is_global_zero or dataloader_idx > 0:
            return
        room = self.max_pairs - sum(len(pairs.row) for pairs in self._batches)
        if room <= 0 or not isinstance(outputs, PairEmbedding):
            return
        self._batches.append(
            ValidationPairs(
                pixels=batch.image[self._new_patients(batch.patient[:room].tolist())].cpu(),
                first=outputs.first[:room].float().cpu(),
                second=outputs.second[:room].float().cpu(),
                graph_key=batch.graph_key[:room].cpu(),
                study=batch.study[:room].cpu(),
                patient=batch.patient[:room].cpu(),
                row=batch.row[:room].cpu(),
            )
        )

    def _new_patients(self, patients: list[int]) -> list[int]:
        """Return the places of patients not seen before, while images are wanted: one patient's look much alike."""
        places = []
        for place, patient in enumerate(patients):
            if patient not in self._patients and len(self._patients) < self.num_images:
                self._patients.add(patient)
                places.append(place)
        return places

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw where this epoch is due."""
        fitting = trainer.state.fn == TrainerFn.FITTING
        if not fitting or (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._finish(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the last validation, where that was not due."""
        self._finish(trainer)

    def _finish(self, trainer: Trainer) -> None:
        folder = plots_folder(trainer)
        if self._batches:
            pairs = ValidationPairs(*(torch.cat(field) for field in zip(*self._batches, strict=True)))
            self._batches = []
            self.publish(pairs, folder, trainer)
