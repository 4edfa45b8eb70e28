"""SimCLR: contrastive learning of two views of each image, without reports (Chen et al., ICML 2020)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from igcl_lightning.data.augment import Augment
from igcl_lightning.data.samples import PairBatch
from igcl_lightning.errors import IgclError
from igcl_lightning.losses.nt_xent import NTXentLoss, NTXentOptions
from igcl_lightning.modules.contrastive import ContrastiveModule, PairEmbedding, PretrainOptimOptions
from igcl_lightning.nn.encoded import Encoded
from igcl_lightning.nn.image_encoder import ImageEncoder, ImageOptions
from igcl_lightning.nn.projection import ProjectionHead, ProjectionOptions


@dataclass(frozen=True)
class ViewOptions:
    """Random views of an image.

    Args:
        crop_area: smallest share of the image that a view shows, in (0, 1].
        degrees: largest rotation of a view either way.
        contrast: largest relative change of contrast either way.
        brightness: largest change of brightness either way, on the scale 0-1.
        gamma: largest change of log gamma either way.
        blur: largest standard deviation of a Gaussian blur, as a share of the side.
    """

    crop_area: float = 0.3
    degrees: float = 15.0
    contrast: float = 0.3
    brightness: float = 0.1
    gamma: float = 0.3
    blur: float = 0.01


class SimCLR(ContrastiveModule):
    """Contrast two augmented views of each image: the image-only baseline.

    The views are made here, on the device; set `data.augment` to false. In training both sides are views. In evaluation
    the first side is the image itself, which probes read, and the second a view of it that is the same in each epoch.
    There are no flips: the heart is on the left.

    Args:
        image: image encoder and preprocessing.
        projection: projection of the views into their shared space.
        loss: NT-Xent loss.
        view: random views.
        optim: optimiser and learning-rate schedule.
    """

    sides: tuple[str, str] = ("image", "view")
    loss: NTXentLoss

    def __init__(
        self,
        image: ImageOptions = ImageOptions(),
        projection: ProjectionOptions = ProjectionOptions(),
        loss: NTXentOptions = NTXentOptions(),
        view: ViewOptions = ViewOptions(),
        optim: PretrainOptimOptions = PretrainOptimOptions(),
    ) -> None:
        super().__init__(optim)
        view = self.group("view", view)
        if not 0 < view.crop_area <= 1:
            raise IgclError(f"model.view.crop_area is {view.crop_area}, not in (0, 1]")
        self.save_hyperparameters()
        self.augment = Augment(scale=0.0, shift=0.0, **asdict(view))
        self.image_encoder = ImageEncoder(self.group("image", image))
        self.image_projection = ProjectionHead(self.image_encoder.out_channels, self.group("projection", projection))
        self.loss = NTXentLoss(self.group("loss", loss))

    @property
    def view_encoder(self) -> ImageEncoder:
        """The one encoder of both sides."""
        return self.image_encoder

    @property
    def view_projection(self) -> ProjectionHead:
        """The one projection of both sides."""
        return self.image_projection

    @property
    def reads_units(self) -> bool:
        """No: views are contrasted as wholes."""
        return False

    def side_input(self, side: str, batch: PairBatch) -> Any:
        """Return a view of the images; in evaluation, the images themselves for the first side."""
        if self.training:
            return self.augment(batch.image)
        if side == "image":
            return batch.image
        return self.augment.apply(batch.image, self.augment.draw_rows(batch.row, batch.image.device))

    def statement(self, batch: PairBatch) -> Tensor:
        """Return -1 for all rows: an image matches only its own view, whatever its report states."""
        return torch.full_like(batch.graph_key, -1)

    def contrast(self, first: Encoded, second: Encoded, embedding: PairEmbedding, batch: PairBatch) -> Tensor:
        """Return NT-Xent of the views of a batch, which also contrasts views of one side."""
        loss: Tensor = self.loss(embedding.first, embedding.second, batch.row)
        return loss
