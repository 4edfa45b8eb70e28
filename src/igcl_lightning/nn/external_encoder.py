"""Image encoders by name: any of timm, and the chest X-ray models of torchxrayvision."""

from __future__ import annotations

import pickle
import re
import warnings
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from torch import Tensor, nn

from igcl_lightning.errors import IgclError
from igcl_lightning.nn.encoded import Encoded
from igcl_lightning.nn.image_encoder import INTERPOLATIONS, LAST_LAYER, ImageEncoder, ImageOptions, resize


@dataclass(frozen=True)
class ExternalOptions:
    """Image encoder by name, instead of one from a checkpoint.

    Args:
        backbone: "NAME" or "timm:NAME" for a timm model, "xrv:NAME" for one of torchxrayvision.
        size: side of the square that the encoder sees, in pixels; by default that of its published weights, 224 if it
            has none.
        weights: "none" (random), "hub" (the published ones) or the path of a local weights file.
    """

    backbone: str | None = None
    size: int | None = None
    weights: str = "none"


def create_image_encoder(options: ExternalOptions) -> ImageEncoder | XrvEncoder:
    """Create an image encoder by name.

    Args:
        options: name, size and weights.

    Raises:
        IgclError: the name is unknown, or its package or weights are unavailable.
    """
    name = options.backbone or ""
    library, colon, model = name.partition(":")
    if not colon or library == "timm":
        return _timm_encoder(model if colon else name, options)
    if library == "xrv":
        return XrvEncoder(model, options.size, options.weights)
    raise IgclError(f"backbone {name!r}: encoders are called timm:NAME or xrv:NAME")


def _timm_encoder(name: str, options: ExternalOptions) -> ImageEncoder:
    """Create a timm encoder with the preprocessing of its published weights, which random weights get too."""
    published: Any = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    if published is None:
        return ImageEncoder(ImageOptions(name, options.size or ImageOptions.size, options.weights))
    mean, std = (sum(values) / len(values) for values in (published.mean, published.std))
    interpolation = published.interpolation if published.interpolation in INTERPOLATIONS else "bilinear"
    size = options.size or published.input_size[-1]
    return ImageEncoder(ImageOptions(name, size, options.weights, mean, std, interpolation))


class XrvEncoder(nn.Module):
    """Encode grey images with a network of torchxrayvision (Cohen et al., MIDL 2022), up to its classifier.

    The network expects grey values from -1024 to 1024. The units are the patches of its last feature map, and `pooled`
    is their mean, which torchxrayvision calls features.

    Args:
        name: torchxrayvision's name of the weights, such as "densenet121-res224-all".
        size: side of the square that the network sees, in pixels (default: that of its training).
        weights: "none" for random weights, "hub" for the published ones, or the path of a state dict.

    Attributes:
        last_block: name of the module in `backbone` that is its last block (see `nn.tuning`).

    Raises:
        IgclError: torchxrayvision is not installed or has no such network, or the weights are unavailable.
    """

    def __init__(self, name: str, size: int | None = None, weights: str = "none") -> None:
        super().__init__()
        models = _torchxrayvision_models()
        published = {known: about for known, about in models.model_urls.items() if known.startswith(("dense", "res"))}
        if name not in published:
            raise IgclError(f"torchxrayvision has no network {name!r}, only {', '.join(sorted(published))}")
        self.name = name
        self.size: int = size or published[name]["input_resolution"]
        is_densenet = name.startswith("densenet")
        backbone, self.out_channels = _densenet(models) if is_densenet else _resnet()
        self.last_block = "features.denseblock4" if is_densenet else "layer4"
        if weights != "none":
            _load(backbone, _hub_file(models, name) if weights == "hub" else Path(weights))
        self.backbone: Any = backbone.to(memory_format=torch.channels_last)

    def extra_repr(self) -> str:
        """Return the settings that the weights do not determine; part of the key of cached features."""
        return f"{self.name}, size={self.size}"

    def preprocess(self, image: Tensor) -> Tensor:
        """Resize grey values 0-255 [B, 1, H, W], and bring them to -1024 to 1024, [B, 1, size, size]."""
        image = resize(image.to(next(self.backbone.parameters()).dtype), self.size, "bilinear")
        return (2 * image / 255 - 1) * 1024

    cam_layer: nn.Module | None = None  # as `pool` reads all of the last map

    def forward(self, image: Tensor) -> Encoded:
        """Encode grey values 0-255, uint8 or float [B, 1, H, W]."""
        features = self.last_map(image)
        units = features.flatten(2).transpose(1, 2)
        return Encoded.of_patches(self.pool(features), units, (features.shape[2], features.shape[3]), LAST_LAYER)

    def last_map(self, image: Tensor) -> Tensor:
        """Return the last feature map of grey values [B, 1, H, W], [B, D, R, C]."""
        features: Tensor = self.backbone(self.preprocess(image))
        return features

    def pool(self, features: Tensor) -> Tensor:
        """Return the pooled vectors [B, D] of a last feature map."""
        return features.flatten(2).transpose(1, 2).mean(dim=1)

    def on_grid(self, features: Tensor) -> Tensor:
        """Return a last feature map, [B, D, R, C]."""
        return features

    def pool_each(self, features: Tensor) -> Tensor:
        """Return what `pool` makes of an image that is like one patch throughout, for each of U patches, [B, U, D]."""
        return features.flatten(2).transpose(1, 2)


def _torchxrayvision_models() -> Any:
    """Import torchxrayvision's networks; restores warnings, which the import silences in the whole process."""
    try:
        with warnings.catch_warnings():
            from torchxrayvision import models
    except ImportError as error:
        raise IgclError("xrv: backbones need torchxrayvision: pip install 'igcl-lightning[xrv]'") from error
    return models


def _densenet(models: Any) -> tuple[nn.Sequential, int]:
    return nn.Sequential(OrderedDict(features=models.DenseNet().features, relu=nn.ReLU())), 1024


def _resnet() -> tuple[nn.Sequential, int]:
    """Create the network of torchxrayvision's `ResNet`, which itself always loads its weights."""
    network = torchvision.models.resnet50()
    network.conv1 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
    parts = [(name, part) for name, part in network.named_children() if name not in ("avgpool", "fc")]
    return nn.Sequential(OrderedDict(parts)), 2048


def _hub_file(models: Any, name: str) -> Path:
    """Return the path of the published weights, downloaded to torchxrayvision's cache."""
    if name.startswith("densenet"):
        convert = f"torch.save(torchxrayvision.models.DenseNet(weights='{name}').state_dict(), 'FILE.pt')"
        raise IgclError(
            f"xrv:{name}: the published weights are a pickle, which can run code as it loads; if you trust them, write "
            f"them once as plain data with {convert}, and give --model.image.weights FILE.pt, or xrv:{name}@FILE.pt to "
            "igcl compare"
        )
    try:
        return Path(models.get_weights(name))
    except OSError as error:
        raise IgclError(f"weights 'hub' for xrv:{name} could not be downloaded: {error}") from error


def _load(backbone: nn.Sequential, path: Path) -> None:
    """Load a state dict as plain data, without its classifier and thresholds."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        # torchxrayvision keeps its ResNet in an attribute `model`; the file it publishes has none.
        state = {re.sub(r"^model\.", "", name): value for name, value in state.items()}
        missing, _ = backbone.load_state_dict(state, strict=False)
    except FileNotFoundError:
        raise IgclError(f'image weights {str(path)!r}: no such file (give "none", "hub" or a file)') from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, AttributeError) as error:
        raise IgclError(f"{path}: not a state dict of this backbone that loads as plain data") from error
    if missing:
        raise IgclError(f"{path}: lacks {len(missing)} weights of the backbone (first: {missing[0]})")
