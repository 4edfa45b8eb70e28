"""Supervised training of an encoder and a head, from random or pretrained weights."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from igcl_lightning.data.samples import LabeledBatch
from igcl_lightning.errors import IgclError
from igcl_lightning.losses.classification import masked_cross_entropy
from igcl_lightning.metrics.clinical import KnownMean
from igcl_lightning.modules.classifier import ClassifierModule, Scores
from igcl_lightning.modules.optim import OptimOptions
from igcl_lightning.modules.pretrained import NO_ENCODER, PretrainedEncoder
from igcl_lightning.nn.checks import check_choice
from igcl_lightning.nn.external_encoder import ExternalOptions
from igcl_lightning.nn.scoring import at_least_single
from igcl_lightning.nn.tuning import FULL, TUNINGS, LoraOptions, check_lora


class FineTune(ClassifierModule):
    """Train the image encoder and a linear head on labelled images.

    With `image.backbone` and random weights this is the supervised baseline, with `checkpoint` fine-tuning. The
    loss is the binary cross-entropy, averaged over all known labels: of a step for `train/loss`, of the whole split for
    `val/loss` and `test/loss`.

    Args:
        checkpoint: pretraining checkpoint whose image encoder is trained further.
        image: image encoder by name, instead of a checkpoint.
        features: input of the head: "pooled", or "projected" by the checkpoint's projection, not normalised.
        tune: weights of the encoder that are trained: "full", all of them; "last_block", the last block of its backbone
            and what follows it; "lora", low-rank adapters of the attention of a transformer.
        lora: adapters, for `tune` "lora".
        name: name of the results; "supervised" or "METHOD_fine_tuned" by default.
        optim: optimiser and learning-rate schedule.
        encoder: arguments that rebuild the encoder; written into checkpoints.
        label_names: names of the labels; taken from the data module when None.
        origin: how the head was trained; written into checkpoints.

    Raises:
        IgclError: not exactly one of checkpoint, image.backbone and encoder is given, the features are unavailable, or
            the encoder cannot be tuned like that.
    """

    encoder: PretrainedEncoder

    def __init__(
        self,
        checkpoint: str | None = None,
        image: ExternalOptions = ExternalOptions(),
        features: str = "pooled",
        tune: str = FULL,
        lora: LoraOptions = LoraOptions(),
        name: str | None = None,
        optim: OptimOptions = OptimOptions(),
        encoder: dict[str, Any] | None = None,
        label_names: list[str] | None = None,
        origin: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(name, label_names, origin, optim)
        self.save_hyperparameters()
        check_choice("model.tune", tune, TUNINGS)
        adapters: LoraOptions = self.group("lora", lora)
        check_lora(tune, adapters)
        found = PretrainedEncoder.find(checkpoint, self.group("image", image), encoder, features, frozen=False)
        if found is None:
            raise IgclError(NO_ENCODER)
        found.tune(tune, adapters)
        self.encoder = found
        self.losses: Any = nn.ModuleDict({stage: KnownMean() for stage in ("val", "test")})
        if label_names is not None:
            self.build_head(len(label_names))

    def logged_metrics(self, data: Any) -> set[str] | None:
        """Return the names of the AUROCs and of the losses."""
        evaluated = super().logged_metrics(data)
        return evaluated and evaluated | {"train/loss", "val/loss", "test/loss"}

    def build_head(self, num_labels: int) -> None:
        """Create the linear head."""
        super().build_head(num_labels)
        self.head = nn.Linear(self.encoder.out_channels, num_labels)

    def default_name(self) -> str:
        """Return "supervised" for random weights, otherwise the method that trained the encoder and "_fine_tuned"."""
        return "supervised" if self.encoder.method == "random" else f"{self.encoder.method}_fine_tuned"

    def forward(self, image: Tensor) -> Tensor:
        """Map grey values 0-255 [B, 1, H, W] to logits [B, L]."""
        feature = self.encoder(image)
        with torch.autocast(feature.device.type, enabled=False):  # many scores would be equal in half precision
            parts = (at_least_single(part) for part in (feature, self.head.weight, self.head.bias))
            return F.linear(*parts)

    def score_image(self, image: Tensor) -> Tensor:
        """Return logits [B, L] of grey values 0-255 [B, 1, H, W]."""
        logits: Tensor = self(image)
        return logits

    def score(self, batch: LabeledBatch) -> Tensor:
        """Return logits [B, L]."""
        return self.score_image(batch.image)

    def training_step(self, batch: LabeledBatch, batch_idx: int) -> Tensor:
        """Return the binary cross-entropy over known labels."""
        loss = masked_cross_entropy(self.score(batch), self.trained_target(batch.target))
        size = len(batch.row)
        self.log("train/loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=size, sync_dist=True)
        return loss

    def update_metrics(self, scores: Scores, stage: str) -> None:
        """Add a batch to the AUROC and to the loss."""
        super().update_metrics(scores, stage)
        loss = F.binary_cross_entropy_with_logits(scores.score, scores.target.nan_to_num(), reduction="none")
        self.losses[stage].update(loss.masked_fill(scores.target.isnan(), torch.nan), scores.row)

    def log_metrics(self, stage: str) -> None:
        """Log the AUROC of each label, and the loss."""
        super().log_metrics(stage)
        self.log(f"{stage}/loss", self.losses[stage].compute(), prog_bar=True, sync_dist=True)
        self.losses[stage].reset()
