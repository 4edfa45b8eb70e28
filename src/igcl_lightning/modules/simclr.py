"""SimCLR: contrast of two views of each image, without reports (Chen et al., ICML 2020)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from igcl_lightning.data.augment import Augment
from igcl_lightning.data.samples import PairBatch
from igcl_lightning.errors import IgclError
from igcl_lightning.losses.nt_xent import NTXentLoss
from igcl_lightning.modules.contrastive import ContrastiveModule, PairEmbedding
from igcl_lightning.nn.encoded import Encoded
from igcl_lightning.nn.image_encoder import ImageEncoder
from igcl_lightning.nn.projection import ProjectionHead


class SimCLR(ContrastiveModule):
    """Contrast two augmented views of each image: what images alone teach, at the budget of the other methods.

    The views are made here, on the device; set `data.augment` to false. In training both sides are views. In evaluation
    the first side is the image as it is, which is what probes read, and the second is a view of it, the same one each
    time, so that epochs compare. There are no flips: the heart is on the left.

    Args:
        backbone: timm name of the image encoder.
        image_size: side of the square the image encoder sees, in pixels.
        image_weights: "none", "hub" or the path of a local weights file (see `ImageEncoder`).
        image_mean: grey mean on the scale 0-1, of the images or of what the weights were trained on.
        image_std: grey standard deviation on the scale 0-1, likewise.
        image_interpolation: "bilinear" or "bicubic".
        embedding_channels: width of the space the views share.
        temperature: of the loss.
        crop_area: smallest share of the image that a view shows, in (0, 1].
        degrees: largest rotation of a view either way.
        contrast: see `Augment`.
        brightness: see `Augment`.
        gamma: see `Augment`.
        blur: see `Augment`.
        learning_rate: see `BaseModule`.
        weight_decay: see `BaseModule`.
        warmup_fraction: see `BaseModule`.
        schedule: see `BaseModule`.
        image_freeze_steps: see `ContrastiveModule`.
    """

    sides: ClassVar[tuple[str, str]] = ("image", "view")
    loss: NTXentLoss

    def __init__(
        self,
        backbone: str = "resnet18",
        image_size: int = 224,
        image_weights: str = "none",
        image_mean: float = 0.449,
        image_std: float = 0.226,
        image_interpolation: str = "bilinear",
        embedding_channels: int = 128,
        temperature: float = 0.1,
        crop_area: float = 0.3,
        degrees: float = 15.0,
        contrast: float = 0.3,
        brightness: float = 0.1,
        gamma: float = 0.3,
        blur: float = 0.01,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.05,
        warmup_fraction: float = 0.05,
        schedule: str = "cosine",
        image_freeze_steps: int = 0,
    ) -> None:
        super().__init__(learning_rate, weight_decay, warmup_fraction, schedule, image_freeze_steps)
        if temperature <= 0:
            raise IgclError(f"model.temperature is {temperature}, not above 0")
        if not 0 < crop_area <= 1:
            raise IgclError(f"model.crop_area is {crop_area}, not in (0, 1]")
        self.save_hyperparameters()
        self.augment = Augment(degrees, 0.0, 0.0, contrast, brightness, gamma, crop_area, blur)
        self.image_encoder = ImageEncoder(
            backbone, image_size, image_weights, image_mean, image_std, image_interpolation
        )
        self.image_projection = ProjectionHead(self.image_encoder.out_channels, embedding_channels)
        self.loss = NTXentLoss(temperature)

    @property
    def view_encoder(self) -> ImageEncoder:
        """The one encoder of both sides."""
        return self.image_encoder

    @property
    def view_projection(self) -> ProjectionHead:
        """The one projection of both sides."""
        return self.image_projection

    def side_input(self, side: str, batch: PairBatch) -> Any:
        """Return a new view of the images; in evaluation, the images themselves for the first side."""
        if self.training:
            return self.augment(batch.image)
        if side == "image":
            return batch.image
        return self.augment.apply(batch.image, self.augment.draw_rows(batch.row, batch.image.device))

    def statement(self, batch: PairBatch) -> Tensor:
        """Return that views state nothing: an image is found by its own view, whatever the reports say."""
        return torch.full_like(batch.graph_key, -1)

    def contrast(self, first: Encoded, second: Encoded, embedding: PairEmbedding, batch: PairBatch) -> Tensor:
        """Return NT-Xent of the views of a batch, which contrasts views of one side too."""
        loss: Tensor = self.loss(embedding.first, embedding.second, batch.row)
        return loss
