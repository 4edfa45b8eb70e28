"""Projection heads into the space that both sides share."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ProjectionHead(nn.Sequential):
    """A small perceptron followed by L2 normalisation.

    Args:
        in_channels: channels of the encoder's pooled vector.
        out_channels: channels of the shared space.
        num_layers: 1 is CLIP's head, a bias-free linear map with weights drawn from N(0, 1 / in_channels); each further
            layer puts Linear + ReLU before it, and the weights are PyTorch's own.

    Raises:
        ValueError: fewer than one layer.
    """

    def __init__(self, in_channels: int, out_channels: int = 128, num_layers: int = 2) -> None:
        if num_layers < 1:
            raise ValueError(f"num_layers is {num_layers}, not at least 1")
        layers: list[nn.Module] = []
        for _ in range(num_layers - 1):
            layers += [nn.Linear(in_channels, in_channels), nn.ReLU()]
        last = nn.Linear(in_channels, out_channels, bias=False)
        if num_layers == 1:
            nn.init.normal_(last.weight, std=in_channels**-0.5)
        super().__init__(*layers, last)
        self.out_channels = out_channels

    def forward(self, pooled: Tensor) -> Tensor:
        """Map [B, in_channels] to unit vectors [B, out_channels]."""
        return F.normalize(self.project(pooled), dim=-1)

    def project(self, pooled: Tensor) -> Tensor:
        """Map [B, in_channels] to [B, out_channels], not normalised."""
        for layer in self:
            pooled = layer(pooled)
        return pooled
