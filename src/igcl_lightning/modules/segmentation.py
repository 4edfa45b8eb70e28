"""Segmentation: a decoder of masks on a pretrained image encoder."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from igcl_lightning.data.interfaces import MaskedRows, masked_rows
from igcl_lightning.data.samples import MaskedBatch
from igcl_lightning.errors import IgclError
from igcl_lightning.losses.segmentation import LOSSES
from igcl_lightning.metrics.segmentation import MaskOverlap, overlap
from igcl_lightning.modules.head import HeadModule
from igcl_lightning.modules.optim import OptimOptions
from igcl_lightning.modules.pretrained import NO_ENCODER, PretrainedEncoder
from igcl_lightning.nn.checks import check_choice
from igcl_lightning.nn.external_encoder import ExternalOptions
from igcl_lightning.nn.scoring import at_least_single
from igcl_lightning.nn.segmentation import DecoderOptions, create_decoder, freeze_unread

METRICS = ("dice", "iou", "dice_positives")
"""Metrics that are logged; "dice_positives" is over the images that have the mask."""


class Overlaps(NamedTuple):
    """How predicted masks fit the known ones.

    Attributes:
        pixels: those in both, in the prediction and in the mask, int64 [B, M, 3].
        known: whether a mask is known, bool [B, M].
        row: hash of the row's id, int64 [B].
    """

    pixels: Tensor
    known: Tensor
    row: Tensor


class Segmented(NamedTuple):
    """Predicted masks of a batch, bool [B, M, H, W] in stored pixels, and how they fit the known ones."""

    mask: Tensor
    overlaps: Overlaps


class Segmentation(HeadModule):
    """Train a decoder of masks on an image encoder, which is frozen or trained with it.

    A pixel is in a mask if its probability is above one half. Dice and IoU are of each image in the pixels of the
    store, then averaged over the images whose mask is known, and over masks; where mask and prediction are empty, both
    are 1.

    Args:
        checkpoint: pretraining checkpoint whose image encoder is used.
        image: image encoder by name, instead of a checkpoint.
        decoder: the decoder.
        frozen: whether the encoder keeps its weights.
        loss: "bce_dice" (cross-entropy and soft Dice) or "focal_dice" (that of GLoRIA).
        name: name of the results; by default that of the method.
        optim: optimiser and learning-rate schedule.
        encoder: arguments that rebuild the encoder; written into checkpoints.
        mask_names: names of the M masks; taken from the data module when None.
        origin: how the decoder was trained; written into checkpoints.

    Raises:
        IgclError: not exactly one of checkpoint, image.backbone and encoder is given, the encoder has no feature map,
            or an option is unknown.
    """

    encoder: PretrainedEncoder

    def __init__(
        self,
        checkpoint: str | None = None,
        image: ExternalOptions = ExternalOptions(),
        decoder: DecoderOptions = DecoderOptions(),
        frozen: bool = True,
        loss: str = "bce_dice",
        name: str | None = None,
        optim: OptimOptions = OptimOptions(),
        encoder: dict[str, Any] | None = None,
        mask_names: list[str] | None = None,
        origin: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(name, origin, optim)
        self.save_hyperparameters()
        check_choice("model.loss", loss, LOSSES)
        self.loss = LOSSES[loss]
        found = PretrainedEncoder.find(checkpoint, self.group("image", image), encoder, "pooled", frozen)
        if found is None:
            raise IgclError(NO_ENCODER)
        self.encoder = found
        self.options: DecoderOptions = self.group("decoder", decoder)
        create_decoder(found.image_encoder, 1, self.options)  # fail now, not when the masks are known
        self.mask_names = mask_names
        self.overlaps: Any = nn.ModuleDict({stage: MaskOverlap() for stage in ("val", "test")})
        if mask_names is not None:
            self.build_decoder(len(mask_names))

    @property
    def data(self) -> MaskedRows:
        """The data module of the run; `IgclError` if it does not serve masks."""
        return masked_rows(self.trainer, type(self).__name__)

    def default_name(self) -> str:
        """Return the method that trained the encoder."""
        return self.encoder.method

    def logged_metrics(self, data: Any) -> set[str] | None:
        """Return the names of the loss, and of the metrics of each mask and their means."""
        names = self.mask_names or getattr(data, "mask_names", None)
        if names is None:
            return None
        ends = [f"{metric}{end}" for metric in METRICS for end in ("", *(f"_{name}" for name in names))]
        return {"train/loss", *(f"{stage}/{end}" for stage in ("val", "test") for end in ends)}

    def portable_hyperparameters(self) -> dict[str, Any]:
        """Return the arguments that rebuild this module, with its masks and without the pretraining checkpoint."""
        return super().portable_hyperparameters() | {"mask_names": self.mask_names}

    def setup(self, stage: str) -> None:
        """Take the names of the masks from the data module; `IgclError` if it was trained on others, or never."""
        names = self.agreed_names(stage, self.mask_names, "data.masks", self.data.mask_names)
        if self.mask_names is None:
            self.mask_names = names
            self.build_decoder(len(names))

    def build_decoder(self, num_masks: int) -> None:
        """Create the decoder for `num_masks` masks; called once they are known."""
        self.decoder = create_decoder(self.encoder.image_encoder, num_masks, self.options)
        if not self.encoder.frozen:
            freeze_unread(self.encoder.image_encoder, self.decoder)

    def on_fit_start(self) -> None:
        """Record the training data."""
        self.warn_of_other_images()
        self.origin = {"method": self.name or self.default_name(), **self.data.drawn_setting()}

    def forward(self, image: Tensor) -> Tensor:
        """Map grey values 0-255 [B, 1, H, W] to logits [B, M, H, W], in single precision at least."""
        logits = self.decoder(self.decoder.features(self.encoder.image_encoder, image))
        return F.interpolate(at_least_single(logits), image.shape[2:], mode="bilinear")

    def masks(self, image: Tensor) -> Tensor:
        """Map grey values 0-255 [B, 1, H, W] to masks, bool [B, M, H, W]; `IgclError` if a logit is not finite."""
        logits = self(image)
        if not logits.isfinite().all():  # a comparison would make empty masks of them, which images may have
            raise IgclError("the masks are not finite numbers: training diverged, or weights are damaged")
        found: Tensor = logits > 0
        return found

    def training_step(self, batch: MaskedBatch, batch_idx: int) -> Tensor:
        """Return the loss over known masks."""
        loss = self.loss(self(batch.image), batch.mask, batch.known)
        size = len(batch.row)
        self.log("train/loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=size, sync_dist=True)
        return loss

    def validation_step(self, batch: MaskedBatch, batch_idx: int) -> Any:
        """Segment a batch, and return it as `Segmented`."""
        return self._evaluate(batch, "val")

    def test_step(self, batch: MaskedBatch, batch_idx: int) -> Any:
        """Segment a batch, and return it as `Segmented`."""
        return self._evaluate(batch, "test")

    def predict_step(self, batch: MaskedBatch, batch_idx: int) -> Segmented:
        """Segment a batch."""
        mask = self.masks(batch.image)
        return Segmented(mask, Overlaps(overlap(mask, batch.mask), batch.known, batch.row))

    def segment_images(self, images: Any, batch_size: int = 16) -> NDArray[np.bool_]:
        """Return the masks of images, bool [N, M, size, size] in the square that the training store has.

        Args:
            images: one or many paths, opened images (`PIL.Image.Image`) or grey arrays [H, W]; read batch by batch and
                resized like the training store.
            batch_size: images on the device at once.

        Raises:
            IgclError: an image cannot be read, the module is untrained, or its preprocessing is unknown.
        """
        if self.mask_names is None:
            raise IgclError(f"this {type(self).__name__} was never trained")
        with self.evaluating():
            parts = [
                self.masks(image.to(self.device)).cpu()
                for image in self.input_reader().batches("image", images, batch_size)
            ]
        none = torch.zeros(0, len(self.mask_names), 0, 0, dtype=torch.bool)
        masks: NDArray[np.bool_] = (torch.cat(parts) if parts else none).numpy()
        return masks

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of the whole validation split."""
        self._log_overlaps("val")

    def on_test_epoch_end(self) -> None:
        """Log the metrics of the whole test split."""
        self._log_overlaps("test")

    def _evaluate(self, batch: MaskedBatch, stage: str) -> Segmented:
        segmented = self.predict_step(batch, 0)
        self.overlaps[stage].update(*segmented.overlaps)
        return segmented

    def _log_overlaps(self, stage: str) -> None:
        for metric, values in self.overlaps[stage].compute().items():
            by_mask = values.reshape(-1)  # torchmetrics makes scalars of single values
            named = dict(zip(self.mask_names or [], by_mask, strict=True))
            known = {f"{stage}/{metric}_{name}": value for name, value in named.items() if not value.isnan()}
            self.log_dict(known, sync_dist=True)
            self.log(f"{stage}/{metric}", by_mask.nanmean(), prog_bar=metric == "dice", sync_dist=True)
        self.overlaps[stage].reset()
