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

LAST_LAYER = "last"
"""Stands for a backbone's final feature map, which is not always the output of one of its stages."""


class ImageEncoder(nn.Module):
    """Encode grey images with a timm backbone.

    Resizing and normalisation happen here, on the device, so that a checkpoint carries them. The units are the patches
    of one feature map; `pooled` always comes from the last.

    Args:
        name: any name that `timm.list_models()` knows.
        size: side of the square the backbone sees, in pixels.
        weights: "none" for random weights, "hub" for timm's pretrained ones, or the path of a local weights file.
        mean: grey mean on the scale 0-1; the default is ImageNet's.
        std: grey standard deviation on the scale 0-1.
        interpolation: "bilinear" or "bicubic", how images of another size are resized; always with antialiasing.
        unit_layer: which feature map the units are taken from, as timm counts them (a ResNet has 0 to 4), from the end
            where negative; the final one by default.

    Attributes:
        out_channels: length of `pooled`.
        unit_channels: length of a unit.

    Raises:
        IgclError: timm does not know the name, the weights or the feature map are not available, or the interpolation
            is another.
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
        unit_layer: int | None = None,
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
        self.unit_layer = unit_layer
        self.layer, self.unit_channels = _unit_source(name, backbone, unit_layer)
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def extra_repr(self) -> str:
        """Name what the weights do not show; cached features are keyed by it."""
        units = "" if self.unit_layer is None else f", units of {self.layer}"
        return f"{self.name}, size={self.size}, interpolation={self.interpolation}{units}"

    def preprocess(self, image: Tensor) -> Tensor:
        """Resize and normalise grey values 0-255 [B, 1, H, W] to [B, 1, size, size]."""
        image = image.to(self.mean.dtype)
        if image.shape[-2:] != (self.size, self.size):
            image = F.interpolate(image, (self.size, self.size), mode=self.interpolation, antialias=True)
        return (image / 255 - self.mean) / self.std

    def forward(self, image: Tensor) -> Encoded:
        """Encode grey values 0-255, uint8 or float [B, 1, H, W]."""
        features, unit_map = self._feature_maps(self.preprocess(image))
        pooled = self.backbone.forward_head(features, pre_logits=True)
        units, grid = self._units(unit_map)
        mask = units.new_ones(units.shape[:2], dtype=torch.bool)
        importance = units.new_full(units.shape[:2], 1 / units.shape[1])
        return Encoded(pooled, units, mask, importance, grid=grid, layer=self.layer)

    def _feature_maps(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the final feature map, and that of the units."""
        if self.unit_layer is None:
            features = self.backbone.forward_features(image)
            return features, features
        features, (unit_map,) = self.backbone.forward_intermediates(image, indices=[self.unit_layer])
        return features, unit_map

    def _units(self, features: Tensor) -> tuple[Tensor, tuple[int, int] | None]:
        """Return patches [B, U, D] and their grid, of a feature map or of tokens [B, T, D] without prefix tokens."""
        if features.ndim == 3:
            units = features[:, getattr(self.backbone, "num_prefix_tokens", 0) :]
            return units, _token_grid(self.backbone, units.shape[1])
        # Swin transformers put channels last, but not in their intermediate maps.
        last = self.unit_layer is None and getattr(self.backbone, "output_fmt", "NCHW") == "NHWC"
        patches = features if last else features.permute(0, 2, 3, 1)
        return patches.flatten(1, 2), (patches.shape[1], patches.shape[2])


def _token_grid(backbone: Any, num_tokens: int) -> tuple[int, int] | None:
    """Return rows and columns of a transformer's patches, None where its tokens are not those of its grid."""
    rows, columns = getattr(getattr(backbone, "patch_embed", None), "grid_size", None) or (0, 0)
    return (rows, columns) if rows * columns == num_tokens else None


def _unit_source(name: str, backbone: Any, unit_layer: int | None) -> tuple[str, int]:
    """Return the module that units come from, and their length.

    Raises:
        IgclError: the backbone has no such feature map.
    """
    if unit_layer is None:
        return LAST_LAYER, backbone.num_features
    known = list(getattr(backbone, "feature_info", None) or []) if hasattr(backbone, "forward_intermediates") else []
    if not -len(known) <= unit_layer < len(known):
        maps = ", ".join(f"{place} {stage['module']}" for place, stage in enumerate(known)) or "none"
        raise IgclError(f"{name}: no feature map {unit_layer}; it has {maps}")
    return str(known[unit_layer]["module"]), int(known[unit_layer]["num_chs"])


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
