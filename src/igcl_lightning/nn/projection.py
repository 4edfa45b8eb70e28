"""Projection heads into the space that both sides share."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ProjectionHead(nn.Sequential):
    """A small perceptron followed by L2 normalisation.

    Args:
        in_channels: channels of the encoder's pooled vector.
        out_channels: channels of the shared space.
        num_layers: 1 is a bias-free linear map, as in CLIP; each further layer puts Linear + ReLU before it.
    """

    def __init__(self, in_channels: int, out_channels: int = 128, num_layers: int = 2) -> None:
        layers: list[nn.Module] = []
        for _ in range(num_layers - 1):
            layers += [nn.Linear(in_channels, in_channels), nn.ReLU()]
        super().__init__(*layers, nn.Linear(in_channels, out_channels, bias=False))

    def forward(self, pooled: Tensor) -> Tensor:
        """Map [B, in_channels] to unit vectors [B, out_channels]."""
        for layer in self:
            pooled = layer(pooled)
        return F.normalize(pooled, dim=-1)
