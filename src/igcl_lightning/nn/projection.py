"""Projection heads into the space that both sides share."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class ProjectionOptions:
    """Projection of each side into the shared space.

    Args:
        channels: channels of the shared space.
        layers: 1 is CLIP's head, a bias-free linear map with weights drawn from N(0, 1 / in_channels); each further
            layer adds Linear + ReLU before it, with PyTorch's own initial weights.
    """

    channels: int = 128
    layers: int = 2


class ProjectionHead(nn.Sequential):
    """A small perceptron followed by L2 normalisation.

    Args:
        in_channels: length of the encoder's pooled vector.
        options: layers and channels.

    Raises:
        ValueError: fewer than one layer.
    """

    def __init__(self, in_channels: int, options: ProjectionOptions = ProjectionOptions()) -> None:
        if options.layers < 1:
            raise ValueError(f"model.projection.layers is {options.layers}, not at least 1")
        layers: list[nn.Module] = []
        for _ in range(options.layers - 1):
            layers += [nn.Linear(in_channels, in_channels), nn.ReLU()]
        last = nn.Linear(in_channels, options.channels, bias=False)
        if options.layers == 1:
            nn.init.normal_(last.weight, std=in_channels**-0.5)
        super().__init__(*layers, last)
        self.out_channels = options.channels

    def forward(self, pooled: Tensor) -> Tensor:
        """Map [B, in_channels] to unit vectors [B, out_channels]."""
        return F.normalize(self.project(pooled), dim=-1)

    def project(self, pooled: Tensor) -> Tensor:
        """Map [B, in_channels] to [B, out_channels], not normalised."""
        for layer in self:
            pooled = layer(pooled)
        return pooled
