"""The validation pairs that a picture of the embeddings is drawn from."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from igcl_lightning.callbacks.figures import plots_folder, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ValidationPairs(NamedTuple):
    """Embedded pairs on the CPU.

    Attributes:
        pixels: grey values 0-255 of the first images, [P, 1, H, W].
        image: unit vectors float32 [N, D].
        graph: unit vectors float32 [N, D].
        graph_key: int64 [N], equal where two graphs state the same, negative for an empty graph.
        row: hash of the row's id, int64 [N].
    """

    pixels: Tensor
    image: Tensor
    graph: Tensor
    graph_key: Tensor
    row: Tensor


class ValidationPairsCallback(Callback):
    """Draws `plots/{picture}.png` from the first validation pairs: every few epochs, after fit and after validate.

    It listens to modules whose `validation_step` returns unit vectors `image` and `graph`, and leaves others alone.
    With several processes the picture shows the share of rank zero.

    Args:
        max_pairs: how many pairs the picture rests on.
        num_images: of how many of them the pixels are needed.
        every_n_epochs: how often to draw during fit.
    """

    picture: str

    def __init__(self, max_pairs: int, num_images: int, every_n_epochs: int) -> None:
        self.max_pairs = max_pairs
        self.num_images = num_images
        self.every_n_epochs = every_n_epochs
        self._batches: list[ValidationPairs] = []

    @abstractmethod
    def draw(self, pairs: ValidationPairs, trainer: Trainer) -> Figure | None:
        """Return the picture, or None where the run lacks what it shows."""

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the pairs of the epoch before."""
        self._batches = []

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
        if room <= 0 or not (hasattr(outputs, "image") and hasattr(outputs, "graph")):
            return
        wanted_images = max(0, self.num_images - (self.max_pairs - room))
        self._batches.append(
            ValidationPairs(
                pixels=batch.image[:wanted_images].cpu(),
                image=outputs.image[:room].float().cpu(),
                graph=outputs.graph[:room].float().cpu(),
                graph_key=batch.graph_key[:room].cpu(),
                row=batch.row[:room].cpu(),
            )
        )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw where this epoch is due."""
        fitting = trainer.state.fn == TrainerFn.FITTING
        if not fitting or (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the last validation, where that was not due."""
        self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        folder = plots_folder(trainer)
        if not self._batches:
            return
        pairs = ValidationPairs(*(torch.cat(field) for field in zip(*self._batches, strict=True)))
        self._batches = []
        figure = self.draw(pairs, trainer)
        if figure is not None:
            save_figure(figure, folder / f"{self.picture}.png", trainer)
