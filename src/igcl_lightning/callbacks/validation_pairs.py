"""Base class of callbacks that draw validation pairs."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from igcl_lightning.callbacks.figures import ValidationPicture, save_figure
from igcl_lightning.modules.contrastive import PairEmbedding
from igcl_lightning.run_folder import run_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ValidationPairs(NamedTuple):
    """Embedded pairs on the CPU.

    `pixels` are grey values 0-255 of the first row of each of the first P patients, [P, 1, H, W]; `first` and `second`
    unit vectors of the two sides, float32 [N, D]. `graph_key` is equal where two graphs state the same, negative for an
    empty graph; it and the hashed ids are int64 [N].
    """

    pixels: Tensor
    first: Tensor
    second: Tensor
    graph_key: Tensor
    study: Tensor
    patient: Tensor
    row: Tensor


class ValidationPairsCallback(ValidationPicture):
    """Draws `plots/{picture}.png` from the first validation pairs: every few epochs, after fit and after validate.

    Works with modules whose `validation_step` returns a `PairEmbedding`; others are ignored. With several processes,
    the picture shows the pairs of rank zero.

    Args:
        max_pairs: number of pairs.
        num_images: number of patients of whom the pixels of an image are kept.
        every_n_epochs: epochs between drawings during fit.
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
        """Return the picture, or None if the run has no data for it."""

    def publish(self, pairs: ValidationPairs, folder: Path, trainer: Trainer) -> None:
        """Write the picture into `folder`; runs on rank zero only."""
        figure = self.draw(pairs, trainer)
        if figure is not None:
            save_figure(figure, folder / f"{self.picture}.png", trainer)

    def look_at(self, rows: list[int], batch: Any, trainer: Trainer, pl_module: Any) -> None:
        """Look further at the rows of a batch whose pixels are kept; not at all by default."""

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Drop the pairs of the previous epoch."""
        self._batches, self._patients = [], set()

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Keep the batch while there are fewer than `max_pairs`."""
        if trainer.sanity_checking or not trainer.is_global_zero or dataloader_idx > 0:
            return
        missing = self.max_pairs - sum(len(pairs.row) for pairs in self._batches)
        if missing <= 0 or not isinstance(outputs, PairEmbedding):
            return
        new = self._new_patients(batch.patient[:missing].tolist())
        if new:
            self.look_at(new, batch, trainer, pl_module)
        pixels = batch.image[new]
        fields = (outputs.first.float(), outputs.second.float(), batch.graph_key, batch.study, batch.patient, batch.row)
        self._batches.append(ValidationPairs(pixels.cpu(), *(field[:missing].cpu() for field in fields)))

    def _new_patients(self, patients: list[int]) -> list[int]:
        """Return the indices of new patients, until there are `num_images`."""
        new = []
        for index, patient in enumerate(patients):
            if patient not in self._patients and len(self._patients) < self.num_images:
                self._patients.add(patient)
                new.append(index)
        return new

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Draw the last validation, if not drawn yet."""
        folder = run_folder(trainer) / "plots"
        if self._batches:
            pairs = ValidationPairs(*(torch.cat(field) for field in zip(*self._batches, strict=True)))
            self._batches = []
            self.publish(pairs, folder, trainer)
