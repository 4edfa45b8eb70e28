"""Supervised training of encoder and head, from random weights or from a pretrained encoder."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from igcl_lightning.data.samples import LabeledBatch
from igcl_lightning.errors import IgclError
from igcl_lightning.modules.classifier import NO_ENCODER, ClassifierModule


class FineTune(ClassifierModule):
    """Train the image encoder and a linear head on labelled images.

    With `backbone` and random weights this is the supervised baseline; with `checkpoint` it is full fine-tuning.

    Args:
        checkpoint: pretraining checkpoint whose image encoder is trained further.
        backbone: name of an encoder instead of a checkpoint: a timm name, "timm:NAME" or "xrv:NAME".
        image_size: side of the square that backbone sees, in pixels; by default what its published weights took.
        image_weights: weights of that backbone: "none", "hub" or a file.
        features: what the head reads: "pooled", or "projected" by the checkpoint's projection, not normalised.
        name: the name results are reported under; "supervised" or "METHOD_fine_tuned" by default.
        learning_rate: see `BaseModule`.
        weight_decay: see `BaseModule`.
        warmup_fraction: see `BaseModule`.
        encoder: arguments that rebuild the encoder; written into checkpoints.
        label_names: names of the labels; taken from the data module when None.
        origin: how the head was trained; written into checkpoints.

    Raises:
        IgclError: not exactly one of checkpoint, backbone and encoder is given, or the features are not to be had.
    """

    def __init__(
        self,
        checkpoint: str | None = None,
        backbone: str | None = None,
        image_size: int | None = None,
        image_weights: str = "none",
        features: str = "pooled",
        name: str | None = None,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.05,
        warmup_fraction: float = 0.05,
        encoder: dict[str, Any] | None = None,
        label_names: list[str] | None = None,
        origin: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            checkpoint,
            backbone,
            image_size,
            image_weights,
            features,
            name,
            encoder,
            label_names,
            origin,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            warmup_fraction=warmup_fraction,
        )
        if self.image_encoder is None:
            raise IgclError(NO_ENCODER)
        self.save_hyperparameters()
        if label_names is not None:
            self.build_head(len(label_names))

    def build_head(self, num_labels: int) -> None:
        """Create the linear head."""
        super().build_head(num_labels)
        self.head = nn.Linear(self.feature_channels, num_labels)

    def _name_method(self) -> str:
        encoder = super()._name_method()
        return "supervised" if encoder == "random" else f"{encoder}_fine_tuned"

    def forward(self, image: Tensor) -> Tensor:
        """Map grey values 0-255 [B, 1, H, W] to logits [B, L]."""
        logits: Tensor = self.head(self.image_features(image))
        return logits

    def score(self, batch: LabeledBatch) -> Tensor:
        """Return logits [B, L]."""
        logits: Tensor = self(batch.image)
        return logits

    def training_step(self, batch: LabeledBatch, batch_idx: int) -> Tensor:
        """Return the binary cross-entropy over known labels."""
        return self._loss(self.score(batch), batch, "train")

    def update_metrics(self, scores: Any, stage: str) -> None:
        """Add a batch to the AUROC, and its loss to the stage's mean."""
        super().update_metrics(scores, stage)
        self._loss(scores.score.masked_fill(~self.trained, 0), scores, stage)

    def _loss(self, logits: Tensor, batch: Any, stage: str) -> Tensor:
        loss = masked_cross_entropy(logits, batch.target.masked_fill(~self.trained, torch.nan))
        size = len(batch.row)
        self.log(f"{stage}/loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=size, sync_dist=True)
        return loss


def masked_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of logits [B, L] over the entries of target [B, L] that are not nan.

    A batch without any known label gives zero.
    """
    known = ~target.isnan()
    loss = F.binary_cross_entropy_with_logits(
        logits, target.nan_to_num(), weight=known.to(logits.dtype), reduction="sum"
    )
    return loss / known.sum().clamp(min=1)
