"""Image encoder: any timm backbone on one grey channel, with its own normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from igcl_lightning.errors import IgclError, suggestion
from igcl_lightning.nn.checks import check_choice
from igcl_lightning.nn.encoded import Encoded

INTERPOLATIONS = ("bilinear", "bicubic")
LAST_LAYER = "last"  # the final feature map, which is not always the output of a backbone's stage


@dataclass(frozen=True)
class ImageOptions:
    """Image encoder and its preprocessing.

    Args:
        backbone: name of a timm model (`timm.list_models()`).
        size: side of the square that the backbone sees, in pixels.
        weights: "none" (random), "hub" (timm's pretrained weights) or the path of a local weights file.
        mean: mean grey value on the scale 0-1; ImageNet's by default.
        std: standard deviation of grey values on the scale 0-1.
        interpolation: interpolation of resizing, "bilinear" or "bicubic"; always antialiased.
    """

    backbone: str = "resnet18"
    size: int = 224
    weights: str = "none"
    mean: float = 0.449
    std: float = 0.226
    interpolation: str = "bilinear"


class ImageEncoder(nn.Module):
    """Encode grey images with a timm backbone.

    Resizing and normalisation happen here, on the device, so that a checkpoint carries them. The units are the patches
    of one feature map; `pooled` always comes from the last.

    Args:
        options: backbone and preprocessing.
        unit_layer: feature map that the units come from, as timm counts them (a ResNet has 0 to 4), from the end if
            negative; the final one by default.

    Attributes:
        out_channels: length of `pooled`.
        unit_channels: length of a unit.

    Raises:
        IgclError: unknown backbone, feature map or interpolation, or weights that are unavailable.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, options: ImageOptions = ImageOptions(), unit_layer: int | None = None) -> None:
        super().__init__()
        check_choice("model.image.interpolation", options.interpolation, INTERPOLATIONS)
        self.name = options.backbone
        self.size = options.size
        self.interpolation = options.interpolation
        # Convolutions are faster with channels last, on CPUs and in mixed precision; transformers are unaffected.
        backbone: Any = create_backbone(self.name, self.size, options.weights).to(memory_format=torch.channels_last)
        self.backbone = backbone
        self.out_channels: int = backbone.num_features
        self.unit_layer = unit_layer
        self.layer, self.unit_channels = _unit_source(self.name, backbone, unit_layer)
        self.register_buffer("mean", torch.tensor(options.mean))
        self.register_buffer("std", torch.tensor(options.std))

    def extra_repr(self) -> str:
        """Return the settings that the weights do not determine; part of the key of cached features."""
        units = "" if self.unit_layer is None else f", units of {self.layer}"
        return f"{self.name}, size={self.size}, interpolation={self.interpolation}{units}"

    def preprocess(self, image: Tensor) -> Tensor:
        """Resize and normalise grey values 0-255 [B, 1, H, W] to [B, 1, size, size]."""
        image = resize(image.to(self.mean.dtype), self.size, self.interpolation)
        return (image / 255 - self.mean) / self.std

    def forward(self, image: Tensor) -> Encoded:
        """Encode grey values 0-255, uint8 or float [B, 1, H, W]."""
        if self.unit_layer is None:
            features = self.last_map(image)
            units, grid = self._units(features, last=True)
        else:
            # The last map, too, in one pass.
            taken = self.backbone.forward_intermediates(self.preprocess(image), indices=[self.unit_layer])
            features, (unit_map,) = taken
            units, grid = self._units(unit_map, last=False)
        return Encoded.of_patches(self.pool(features), units, grid, self.layer)

    def last_map(self, image: Tensor) -> Tensor:
        """Return the final feature map of grey values [B, 1, H, W], in the backbone's own layout."""
        features: Tensor = self.backbone.forward_features(self.preprocess(image))
        return features

    def pool(self, features: Tensor) -> Tensor:
        """Return the pooled vectors [B, D] of a final feature map."""
        pooled: Tensor = self.backbone.forward_head(features, pre_logits=True)
        return pooled

    def on_grid(self, features: Tensor) -> Tensor | None:
        """Return the patches of a final map, or of tokens like it, on their grid, [B, D, R, C]; None without one."""
        units, grid = self._units(features, last=True)
        return None if grid is None else units.transpose(1, 2).unflatten(2, grid)

    def pool_each(self, features: Tensor) -> Tensor:
        """Return what `pool` makes of an image that is like one patch throughout, for each of U patches, [B, U, D]."""
        units, _ = self._units(features, last=True)
        patch = units.flatten(0, 1)
        if features.ndim == 3:
            alone = patch[:, None].expand(-1, 1 + getattr(self.backbone, "num_prefix_tokens", 0), -1)
        else:
            alone = patch[:, None, None] if self._channels_last else patch[:, :, None, None]
        pooled: Tensor = self.pool(alone).unflatten(0, units.shape[:2])
        return pooled

    @property
    def cam_layer(self) -> nn.Module | None:
        """The last module whose patches reach `pool`, if that is not the final map: it may read a class token only."""
        if getattr(self.backbone, "global_pool", "") != "token" or not hasattr(self.backbone, "blocks"):
            return None
        layer: nn.Module = self.backbone.blocks[-1].norm1
        return layer

    @property
    def _channels_last(self) -> bool:
        return bool(getattr(self.backbone, "output_fmt", "NCHW") == "NHWC")

    def _units(self, features: Tensor, last: bool) -> tuple[Tensor, tuple[int, int] | None]:
        """Return patches [B, U, D] and their grid, of a feature map or of tokens [B, T, D] without prefix tokens."""
        if features.ndim == 3:
            units = features[:, getattr(self.backbone, "num_prefix_tokens", 0) :]
            rows, columns = getattr(getattr(self.backbone, "patch_embed", None), "grid_size", None) or (0, 0)
            return units, (rows, columns) if rows * columns == units.shape[1] else None
        # Swin transformers put channels last, but not in their intermediate maps.
        patches = features if last and self._channels_last else features.permute(0, 2, 3, 1)
        return patches.flatten(1, 2), (patches.shape[1], patches.shape[2])


def resize(image: Tensor, size: int, interpolation: str) -> Tensor:
    """Resize images [B, 1, H, W] to [B, 1, size, size], antialiased."""
    if image.shape[-2:] == (size, size):
        return image
    return F.interpolate(image, (size, size), mode=interpolation, antialias=True)


def _unit_source(name: str, backbone: Any, unit_layer: int | None) -> tuple[str, int]:
    """Return the name of the module that units come from, and the length of a unit."""
    if unit_layer is None:
        return LAST_LAYER, backbone.num_features
    known = list(getattr(backbone, "feature_info", None) or []) if hasattr(backbone, "forward_intermediates") else []
    if not -len(known) <= unit_layer < len(known):
        maps = ", ".join(f"{place} {stage['module']}" for place, stage in enumerate(known)) or "none"
        raise IgclError(f"{name}: no feature map {unit_layer}; it has {maps}")
    return str(known[unit_layer]["module"]), int(known[unit_layer]["num_chs"])


def refuse_unknown_backbone(name: str) -> None:
    """Raise `IgclError` for the name of no timm model."""
    if not timm.is_model(name):
        raise IgclError(f"timm has no model {name!r}{suggestion(name, timm.list_models())}")


def create_backbone(name: str, size: int, weights: str) -> nn.Module:
    """Create a timm backbone without classifier on one channel; `IgclError` if it or its weights are unavailable."""
    refuse_unknown_backbone(name)
    options: dict[str, Any] = {"in_chans": 1, "num_classes": 0}
    if weights not in ("none", "hub"):
        if not Path(weights).is_file():
            raise IgclError(f'image weights {weights!r}: no such file (give "none", "hub" or a file)')
        options["pretrained_cfg_overlay"] = {"file": weights}
    create = partial(timm.create_model, name, pretrained=weights != "none", **options)
    try:
        try:
            return create(img_size=size)
        except TypeError:  # only architectures with a fixed size (transformers) take it
            return create()
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise IgclError(f"weights {weights!r} for {name} could not be loaded: {reason}") from error
