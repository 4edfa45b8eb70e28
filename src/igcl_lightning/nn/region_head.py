"""Head that maps the regions of an image to unit vectors of the space they share with the units of a report."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from igcl_lightning.nn.scoring import at_least_single

POSITIONS = 16  # learned rows and columns, interpolated to the grid


class GridPosition(nn.Module):
    """Learned embeddings of rows and columns, of a fixed number that is interpolated to the size of the grid.

    Args:
        channels: length of an embedding.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.row = nn.Parameter(torch.randn(POSITIONS, channels) * 0.02)
        self.column = nn.Parameter(torch.randn(POSITIONS, channels) * 0.02)

    def forward(self, grid: tuple[int, int]) -> Tensor:
        """Return the embedding of each place of a grid of rows and columns, row by row, [rows * columns, channels]."""
        rows, columns = _interpolate(self.row, grid[0]), _interpolate(self.column, grid[1])
        return (rows[:, None] + columns).flatten(0, 1)


class RegionHead(nn.Module):
    """Map regions to unit vectors: LayerNorm, position, Linear, GELU, Linear, L2 normalisation.

    The position is added after the LayerNorm, so that its share does not depend on the scale of the feature map.

    Args:
        in_channels: length of a region in the feature map.
        out_channels: length of a unit vector.
        position: whether regions know their row and column.
    """

    def __init__(self, in_channels: int, out_channels: int, position: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(in_channels)
        self.position = GridPosition(in_channels) if position else None
        self.layers = nn.Sequential(
            nn.Linear(in_channels, out_channels), nn.GELU(), nn.Linear(out_channels, out_channels)
        )

    def forward(self, region: Tensor, grid: tuple[int, int]) -> Tensor:
        """Map regions [B, rows * columns, in_channels] to unit vectors [B, rows * columns, out_channels]."""
        region = self.norm(region)
        if self.position is not None:
            region = region + self.position(grid)
        return F.normalize(at_least_single(self.layers(region)), dim=-1)


def _interpolate(table: Tensor, size: int) -> Tensor:
    """Return [size, channels] of [POSITIONS, channels], interpolated linearly."""
    if size == len(table):
        return table
    return F.interpolate(table.T[None], size, mode="linear")[0].T
