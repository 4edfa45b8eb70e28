"""Decoders from the feature maps of an image encoder to masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from igcl_lightning.errors import IgclError
from igcl_lightning.nn.checks import check_at_least, check_choice

UNET, SETR_PUP = "unet", "setr_pup"
KINDS = ("auto", UNET, SETR_PUP)
UNET_CHANNELS = (256, 128, 64, 32, 16)
SETR_CHANNELS = (512, 256, 128, 64)


@dataclass(frozen=True)
class DecoderOptions:
    """Decoder of a segmentation.

    Args:
        kind: "unet", which reads the feature maps of a CNN at all scales; "setr_pup", which reads the last one, or the
            tokens of a transformer; "auto" for a U-Net where the backbone has maps of several scales.
        channels: channels of its blocks, the coarsest first (default: 256, 128, 64, 32, 16, fewer for a backbone of
            fewer scales, or 512, 256, 128, 64 for setr_pup).
    """

    kind: str = "auto"
    channels: list[int] | None = None


class FeatureMap(NamedTuple):
    """A feature map of a backbone: pixels of the image to one of its own, and its channels."""

    reduction: int
    channels: int


def scales(encoder: Any) -> list[FeatureMap]:
    """Return the feature maps of an image encoder's backbone, one of each scale, the finest first.

    Empty if there are none, if all are of one scale, as the layers of a transformer, or if a scale is no power of two.
    """
    backbone = getattr(encoder, "backbone", None)
    known = list(getattr(backbone, "feature_info", None) or []) if hasattr(backbone, "forward_intermediates") else []
    maps = [FeatureMap(int(each["reduction"]), int(each["num_chs"])) for each in known]
    doubling = all(math.log2(each.reduction).is_integer() for each in maps)
    rising = all(one.reduction < other.reduction for one, other in pairwise(maps))
    return maps if len(maps) > 1 and doubling and rising and maps[0].reduction > 1 else []


class UNetDecoder(nn.Module):
    """The decoder of a U-Net (Ronneberger et al., MICCAI 2015), as in segmentation-models-pytorch.

    Args:
        encoder: image encoder whose backbone has feature maps of several scales.
        num_masks: number of masks M.
        channels: channels of a block for each halving of the image, the coarsest first.

    Raises:
        IgclError: the backbone has no such maps, the number of channels is wrong, or the package is not installed.
    """

    def __init__(self, encoder: nn.Module, num_masks: int, channels: Sequence[int] | None = None) -> None:
        super().__init__()
        maps = scales(encoder)
        if not maps:
            raise IgclError(f"{_name(encoder)}: no feature maps of several scales for a U-Net; use {SETR_PUP}")
        depth = int(math.log2(maps[-1].reduction))
        channels = UNET_CHANNELS[-depth:] if channels is None else channels
        if len(channels) != depth:
            raise IgclError(f"model.decoder.channels are {len(channels)} numbers; {_name(encoder)} needs {depth}")
        by_scale = {each.reduction: each.channels for each in maps}
        # A backbone whose first map is at a quarter of the image lacks one: a map without channels takes its place.
        self.widths = [by_scale.get(2**level, 0) for level in range(1, depth + 1)]
        self.blocks = _smp_unet((1, *self.widths), list(channels))
        self.head = nn.Conv2d(channels[-1], num_masks, 3, padding=1)

    def features(self, encoder: Any, image: Tensor) -> list[Tensor]:
        """Return what the decoder reads of grey values 0-255 [B, 1, H, W]: the image, then maps, halved each time."""
        image = encoder.preprocess(image)
        maps = iter(encoder.backbone.forward_intermediates(image, intermediates_only=True))
        sides = [[side // 2**level for side in image.shape[2:]] for level in range(1, len(self.widths) + 1)]
        pairs = zip(self.widths, sides, strict=True)
        return [image, *(next(maps) if width else image.new_zeros(len(image), 0, *side) for width, side in pairs)]

    def forward(self, features: list[Tensor]) -> Tensor:
        """Return logits [B, M, H, W] of the encoder's input size."""
        logits: Tensor = self.head(self.blocks(features))
        return logits


class ProgressiveUpsampling(nn.Module):
    """The decoder SETR-PUP (Zheng et al., CVPR 2021, section 3.3): convolutions, each enlarged twofold.

    Reads the units of any encoder that gives them on a grid: the tokens of a transformer, or the last map of a CNN.

    Args:
        encoder: image encoder.
        num_masks: number of masks M.
        channels: channels of the convolutions.

    Raises:
        IgclError: the encoder gives no units on a grid.
    """

    def __init__(self, encoder: nn.Module, num_masks: int, channels: Sequence[int] | None = None) -> None:
        super().__init__()
        channels = SETR_CHANNELS if channels is None else channels
        if not channels:
            raise IgclError("model.decoder.channels is empty")
        widths = [_unit_channels(encoder), *channels]
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU())
            for before, after in pairwise(widths)
        )
        self.head = nn.Conv2d(widths[-1], num_masks, 3, padding=1)

    def features(self, encoder: nn.Module, image: Tensor) -> list[Tensor]:
        """Return what the decoder reads of grey values 0-255 [B, 1, H, W]: a map [B, C, rows, columns]."""
        encoded = encoder(image)
        return [encoded.units.transpose(1, 2).unflatten(2, encoded.grid)]

    def forward(self, features: list[Tensor]) -> Tensor:
        """Return logits [B, M, rows * 2 ** blocks, columns * 2 ** blocks]."""
        (feature,) = features
        for block in self.blocks:
            feature = F.interpolate(block(feature), scale_factor=2, mode="bilinear")
        logits: Tensor = self.head(feature)
        return logits


def create_decoder(encoder: nn.Module, num_masks: int, options: DecoderOptions) -> UNetDecoder | ProgressiveUpsampling:
    """Return a decoder for an image encoder; `IgclError` for options or an encoder that do not fit."""
    check_choice("model.decoder.kind", options.kind, KINDS)
    for channels in options.channels or ():
        check_at_least("model.decoder.channels", channels, 1)
    unet = options.kind == UNET or (options.kind == "auto" and bool(scales(encoder)))
    return (UNetDecoder if unet else ProgressiveUpsampling)(encoder, num_masks, options.channels)


def freeze_unread(encoder: nn.Module, decoder: UNetDecoder | ProgressiveUpsampling) -> None:
    """Freeze weights of an encoder that no feature map depends on, such as those of its pooling.

    Distributed training waits for a gradient of each weight that is not frozen.
    """
    weights = [weight for weight in encoder.parameters() if weight.requires_grad]
    training = encoder.training
    encoder.eval()
    with torch.enable_grad():
        read = torch.stack([each.sum() for each in decoder.features(encoder, _blank(encoder))]).sum()
        gradients = torch.autograd.grad(read, weights, allow_unused=True)
    encoder.train(training)
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.requires_grad_(gradient is not None)


def _smp_unet(encoder_channels: Sequence[int], channels: list[int]) -> nn.Module:
    try:
        from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
    except ImportError as error:
        raise IgclError(
            "a U-Net needs segmentation-models-pytorch: pip install 'igcl-lightning[segmentation]'"
        ) from error
    blocks: nn.Module = UnetDecoder(encoder_channels, channels, n_blocks=len(channels))
    return blocks


def _unit_channels(encoder: nn.Module) -> int:
    """Return the channels of an encoder's units; `IgclError` if they are on no grid."""
    training = encoder.training
    with torch.no_grad():
        encoded = encoder.eval()(_blank(encoder))
    encoder.train(training)
    if encoded.grid is None:
        raise IgclError(f"{_name(encoder)}: gives no feature map, so that no masks can be made of it")
    return int(encoded.units.shape[2])


def _blank(encoder: nn.Module) -> Tensor:
    """Return a black image on the device of an encoder, which resizes it."""
    device = next((weight.device for weight in encoder.parameters()), torch.device("cpu"))
    side = getattr(encoder, "size", 224)
    return torch.zeros(1, 1, side, side, device=device)


def _name(encoder: nn.Module) -> str:
    return str(getattr(encoder, "name", type(encoder).__name__))
