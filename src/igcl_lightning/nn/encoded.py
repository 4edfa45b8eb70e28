"""The output of every encoder."""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor


class UnitRelations(NamedTuple):
    """Typed relations between the units of a batch.

    Attributes:
        edge_index: int64 [2, E], head and tail; unit u of sample b is numbered b * U + u.
        edge_type: int64 [E], numbered as `graphs.schema.RELATION_TYPES`, inverses after them.
    """

    edge_index: Tensor
    edge_type: Tensor


class Encoded(NamedTuple):
    """A batch of B encoded samples of at most U units each, D channels.

    A unit is a patch of an image, an entity of a graph or a word of a text.

    Attributes:
        pooled: one vector per sample, [B, D].
        units: one vector per unit, [B, U, D]; zero for padding.
        mask: True where there is a unit, bool [B, U].
        importance: share of each unit in `pooled`, [B, U]; sums to one over the units of a sample, or to less if
            `pooled` also includes nodes added by a join of components, which are not units.
        relation: relations between units, or None.
        grid: rows and columns of an image's units; unit u is the patch in row u // columns and column u % columns. None
            if units are not on a grid.
        layer: name of the backbone's module that an image's units come from, "last" for its final feature map; None
            if they are not from a feature map.
    """

    pooled: Tensor
    units: Tensor
    mask: Tensor
    importance: Tensor
    relation: UnitRelations | None = None
    grid: tuple[int, int] | None = None
    layer: str | None = None

    @classmethod
    def of_patches(cls, pooled: Tensor, units: Tensor, grid: tuple[int, int] | None, layer: str) -> Self:
        """Return encoded images: all U patches [B, U, D] are units and share `pooled` equally."""
        mask = units.new_ones(units.shape[:2], dtype=torch.bool)
        importance = units.new_full(units.shape[:2], 1 / units.shape[1])
        return cls(pooled, units, mask, importance, grid=grid, layer=layer)
