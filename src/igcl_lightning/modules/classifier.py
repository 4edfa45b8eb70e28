"""The base of all modules that score labels of an image: heads on frozen features and supervised training."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from igcl_lightning.errors import IgclError
from igcl_lightning.metrics.clinical import MultilabelAuroc, macro_mean
from igcl_lightning.modules.base import BaseModule, read_checkpoint, rebuild
from igcl_lightning.nn.external_encoder import create_image_encoder
from igcl_lightning.nn.logistic import trainable_labels
from igcl_lightning.nn.projection import ProjectionHead

FEATURES = ("pooled", "projected")
NO_ENCODER = "give either model.checkpoint (a pretrained encoder) or model.backbone (timm:NAME or xrv:NAME)"


class Scores(NamedTuple):
    """Scores of a batch.

    Attributes:
        score: logits, [B, L], or [B, R, L] of R heads; nan for a label that was not trained.
        target: float [B, L]; 1, 0 or nan.
        row: hash of the row's id, int64 [B].
    """

    score: Tensor
    target: Tensor
    row: Tensor


class ClassifierModule(BaseModule):
    """Score L labels of an image; log the AUROC of each and their mean.

    The image encoder comes from a pretraining checkpoint, or is one of timm or torchxrayvision; without either,
    `image_encoder` is None. Checkpoints of this module hold what rebuilds the encoder, not the path it came from.

    Args:
        checkpoint: pretraining checkpoint whose image encoder is taken.
        backbone: name of an encoder instead of a checkpoint (see `create_image_encoder`).
        image_size: side of the square that backbone sees, in pixels; None is its own default.
        image_weights: weights of that backbone: "none", "hub" or a file.
        features: what a head reads: "pooled", the encoder's vector, or "projected", the checkpoint's projection of it
            before normalisation.
        name: the name results are reported under; that of the method behind the encoder when None.
        encoder: arguments that rebuild the encoder; written into checkpoints.
        label_names: names of the labels; taken from the data module when None.
        origin: how the head was trained; written into checkpoints.
        base: arguments of `BaseModule`.

    Raises:
        IgclError: more than one of checkpoint, backbone and encoder is given, or the features are not to be had.
    """

    def __init__(
        self,
        checkpoint: str | None,
        backbone: str | None,
        image_size: int | None,
        image_weights: str,
        features: str,
        name: str | None,
        encoder: dict[str, Any] | None,
        label_names: list[str] | None,
        origin: dict[str, Any] | None,
        **base: Any,
    ) -> None:
        super().__init__(**base)
        if [checkpoint, backbone, encoder].count(None) < 2:
            raise IgclError(f"{NO_ENCODER}, not both")
        if features not in FEATURES:
            raise IgclError(f"model.features {features!r} is not one of {', '.join(FEATURES)}")
        self.name = name
        self.label_names = label_names
        self.image_encoder: Any = None
        self.image_projection: Any = None
        self.trained: Tensor
        if checkpoint is not None:
            # Read from the file: under the command line, `hparams` of a module made in here would be this module's.
            encoder = read_checkpoint(checkpoint)["hyper_parameters"]
            self._take_encoder(BaseModule.load_from_checkpoint(checkpoint, map_location="cpu"), features)
        elif encoder is not None:
            self._take_encoder(rebuild(encoder), features)
        elif features == "projected":
            raise IgclError("model.features projected: only a pretrained model projects; give model.checkpoint")
        elif backbone is not None:
            self.image_encoder = create_image_encoder(backbone, image_size, image_weights)
        self.encoder_hyperparameters = encoder
        self.origin = origin
        self.metrics: Any = nn.ModuleDict({stage: MultilabelAuroc() for stage in ("val", "test")})

    def _take_encoder(self, pretrained: BaseModule, features: str) -> None:
        self.image_encoder = part_of(pretrained, "image_encoder", nn.Module)
        if features == "projected":
            self.image_projection = part_of(pretrained, "image_projection", ProjectionHead)

    @property
    def feature_channels(self) -> int:
        """Length of the features that the encoder gives."""
        last = self.image_encoder if self.image_projection is None else self.image_projection
        channels: int = last.out_channels
        return channels

    def image_features(self, image: Tensor) -> Tensor:
        """Map grey values 0-255 [B, 1, H, W] to features [B, D]."""
        return image_features(self.image_encoder, self.image_projection, image)

    def portable_hyperparameters(self) -> dict[str, Any]:
        """Return the arguments that rebuild this module without the pretraining checkpoint."""
        return super().portable_hyperparameters() | {
            "checkpoint": None,
            "encoder": self.encoder_hyperparameters,
            "label_names": self.label_names,
            "origin": self.origin,
        }

    def setup(self, stage: str) -> None:
        """Take the label names from the data module, and check them when they are known.

        Raises:
            IgclError: nothing was trained, or the checkpoint scores other labels than the data module serves.
        """
        if stage != "fit" and self.label_names is None:
            raise IgclError("this head was never trained: give --ckpt_path with the checkpoint of its fit")
        names: list[str] = self.trainer.datamodule.label_names  # type: ignore[attr-defined]  # Lightning types the base
        if self.label_names is None:
            self.label_names = names
            self.build_head(len(names))
        elif self.label_names != names:
            raise IgclError(f"the module scores {', '.join(self.label_names)}; data.labels gives {', '.join(names)}")

    def build_head(self, num_labels: int) -> None:
        """Create what scores `num_labels` labels; called once the labels are known."""
        self.register_buffer("trained", torch.ones(num_labels, dtype=torch.bool))

    @abstractmethod
    def score(self, batch: Any) -> Tensor:
        """Return logits [B, L], or [B, R, L] of R heads."""

    @property
    def method_name(self) -> str:
        """The name results are reported under: `name`, or the method that trained the encoder, or "random"."""
        if self.name is not None:
            return self.name
        return self._name_method() if self.origin is None else str(self.origin["method"])

    def _name_method(self) -> str:
        if self.encoder_hyperparameters is None:
            backbone = str(self.hparams["backbone"])
            named = backbone if ":" in backbone else f"timm:{backbone}"
            return "random" if self.hparams["image_weights"] == "none" else named
        return str(self.encoder_hyperparameters["_class_path"]).rpartition(".")[2].lower()

    def on_fit_start(self) -> None:
        """Note what is trained on; leave out, and name, labels of which the training rows show one class only.

        Raises:
            IgclError: no label is left.
        """
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]  # as in setup
        draws: list[Tensor] = data.drawn_targets()
        self.origin = {"method": self.name or self._name_method(), **data.drawn_setting()}
        self.trained.copy_(torch.stack([trainable_labels(target) for target in draws]).all(dim=0))
        missing = [name for name, known in zip(self.label_names or [], self.trained, strict=True) if not known]
        if not self.trained.any():
            raise IgclError("the training rows show one class only of every label; use more labels, shots or rows")
        if missing:
            rank_zero_warn(f"the training rows show one class only of {', '.join(missing)}: not trained, not scored")

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        """Score a batch, and return its `Scores`."""
        return self._evaluate(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> Any:
        """Score a batch, and return its `Scores`."""
        return self._evaluate(batch, "test")

    def predict_step(self, batch: Any, batch_idx: int) -> Scores:
        """Score a batch."""
        return Scores(self.score(batch).masked_fill(~self.trained, torch.nan), batch.target, batch.row)

    def on_validation_epoch_end(self) -> None:
        """Log AUROC over the whole validation split."""
        self._log_auroc("val")

    def on_test_epoch_end(self) -> None:
        """Log AUROC over the whole test split."""
        self._log_auroc("test")

    def _evaluate(self, batch: Any, stage: str) -> Scores:
        scores = self.predict_step(batch, 0)
        self.update_metrics(scores, stage)
        return scores

    def update_metrics(self, scores: Scores, stage: str) -> None:
        """Add a batch to the stage's metrics; a label that was not trained has no AUROC."""
        target = scores.target.masked_fill(~self.trained, torch.nan)
        heads = scores.score.masked_fill(~self.trained, 0).reshape(len(target), -1)
        self.metrics[stage].update(heads, target.repeat(1, heads.shape[1] // target.shape[1]), scores.row)

    def _log_auroc(self, stage: str) -> None:
        """Log the AUROC of each label, its mean over heads, and the mean over the labels that have one."""
        assert self.label_names is not None
        values = self.metrics[stage].compute().view(-1, len(self.label_names)).mean(dim=0)
        self.metrics[stage].reset()
        undefined = [name for name, value in zip(self.label_names, values, strict=True) if value.isnan()]
        if undefined:
            rank_zero_warn(f"{stage}: no AUROC for {', '.join(undefined)}; left out of the mean")
        mean, count = macro_mean(values)
        logged = {name: value for name, value in zip(self.label_names, values, strict=True) if name not in undefined}
        self.log_dict({f"{stage}/auroc_{name}": value for name, value in logged.items()}, sync_dist=True)
        self.log_dict(
            {f"{stage}/auroc_mean": mean, f"{stage}/auroc_labels": float(count)}, prog_bar=True, sync_dist=True
        )


def image_features(encoder: nn.Module, projection: ProjectionHead | None, image: Tensor) -> Tensor:
    """Return the pooled vectors of an encoder, [B, D], or their projection, not normalised."""
    pooled: Tensor = encoder(image).pooled
    return pooled if projection is None else projection.project(pooled)


def part_of(module: BaseModule, name: str, kind: type[nn.Module]) -> nn.Module:
    """Return a part of a pretrained module.

    Raises:
        IgclError: it has none.
    """
    part = getattr(module, name, None)
    if not isinstance(part, kind):
        raise IgclError(f"{type(module).__name__} has no {name} to take")
    return part
