"""Image encoder: any timm backbone on one grey channel, with its own normalisation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from igcl_lightning.errors import IgclError
from igcl_lightning.nn.encoded import Encoded

INTERPOLATIONS = ("bilinear", "bicubic")


class ImageEncoder(nn.Module):
    """Encode grey images with a timm backbone.

    Resizing and normalisation happen here, on the device, so that a checkpoint carries them.

    Args:
        name: any name that `timm.list_models()` knows.
        size: side of the square the backbone sees, in pixels.
        weights: "none" for random weights, "hub" for timm's pretrained ones, or the path of a local weights file.
        mean: grey mean on the scale 0-1; the default is ImageNet's.
        std: grey standard deviation on the scale 0-1.
        interpolation: "bilinear" or "bicubic", how images of another size are resized; always with antialiasing.

    Raises:
        IgclError: timm does not know the name, the weights cannot be had, or the interpolation is another.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: str = "resnet18",
        size: int = 224,
        weights: str = "none",
        mean: float = 0.449,
        std: float = 0.226,
        interpolation: str = "bilinear",
    ) -> None:
        super().__init__()
        if interpolation not in INTERPOLATIONS:
            raise IgclError(f"image interpolation {interpolation!r} is not one of {', '.join(INTERPOLATIONS)}")
        self.name = name
        self.size = size
        self.interpolation = interpolation
        # Convolutions are faster with channels last, on CPUs and under mixed precision; transformers do not care.
        backbone: Any = create_backbone(name, size, weights).to(memory_format=torch.channels_last)
        self.backbone = backbone
        self.out_channels: int = backbone.num_features
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def extra_repr(self) -> str:
        """Name what the weights do not show; cached features are keyed by it."""
        return f"{self.name}, size={self.size}, interpolation={self.interpolation}"

    def preprocess(self, image: Tensor) -> Tensor:
        """Resize and normalise grey values 0-255 [B, 1, H, W] to [B, 1, size, size]."""
        image = image.to(self.mean.dtype)
        if image.shape[-2:] != (self.size, self.size):
            image = F.interpolate(image, (self.size, self.size), mode=self.interpolation, antialias=True)
        return (image / 255 - self.mean) / self.std

    def forward(self, image: Tensor) -> Encoded:
        """Encode grey values 0-255, uint8 or float [B, 1, H, W]; the units are the patches of the last feature map."""
        features = self.backbone.forward_features(self.preprocess(image))
        pooled = self.backbone.forward_head(features, pre_logits=True)
        units = self._units(features)
        mask = units.new_ones(units.shape[:2], dtype=torch.bool)
        importance = units.new_full(units.shape[:2], 1 / units.shape[1])
        return Encoded(pooled, units, mask, importance)

    def _units(self, features: Tensor) -> Tensor:
        """Return patches [B, U, D] of a feature map [B, D, h, w] or of tokens [B, T, D], leaving out prefix tokens."""
        if features.ndim == 4:
            return features.flatten(2).transpose(1, 2)
        return features[:, getattr(self.backbone, "num_prefix_tokens", 0) :]


def create_backbone(name: str, size: int, weights: str) -> nn.Module:
    """Create a timm backbone without classifier on one channel.

    Raises:
        IgclError: timm does not know the name, or the weights cannot be had.
    """
    if not timm.is_model(name):
        similar = timm.list_models(f"*{name}*")[:5]
        raise IgclError(f"timm knows no model {name!r}" + (f"; did you mean {', '.join(similar)}?" if similar else ""))
    options: dict[str, Any] = {"in_chans": 1, "num_classes": 0}
    if weights not in ("none", "hub"):
        if not Path(weights).is_file():
            raise IgclError(f'image weights {weights!r}: no such file (give "none", "hub" or a file)')
        options["pretrained_cfg_overlay"] = {"file": weights}
    try:
        return _create(name, size, pretrained=weights != "none", **options)
    except (OSError, RuntimeError) as error:
        raise IgclError(f"weights {weights!r} for {name} could not be loaded: {_first_line(error)}") from error


def _create(name: str, size: int, **options: Any) -> nn.Module:
    """Create the model, telling its size to the architectures that fix it (transformers) and only to them."""
    try:
        return timm.create_model(name, img_size=size, **options)
    except TypeError:
        return timm.create_model(name, **options)


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]
