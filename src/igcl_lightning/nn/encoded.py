"""The output of every encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch.nn import functional as F


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

    def without_units(self) -> Self:
        """Return what is pooled alone: rows without any unit."""
        return self._replace(
            units=self.units[:, :0], mask=self.mask[:, :0], importance=self.importance[:, :0], relation=None, grid=None
        )

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the rows of several encodings as one; units are padded to the most of a part."""
        first, most = parts[0], max(part.mask.shape[1] for part in parts)

        def padded(part: Self, name: str) -> Tensor:
            value: Tensor = getattr(part, name)
            return F.pad(value, [0, 0] * (value.dim() - 2) + [0, most - value.shape[1]])

        values = {name: torch.cat([padded(part, name) for part in parts]) for name in ("units", "mask", "importance")}
        pooled = torch.cat([part.pooled for part in parts])
        return cls(pooled, **values, relation=_joined_relations(parts, most), grid=first.grid, layer=first.layer)


def _joined_relations(parts: Sequence[Encoded], most: int) -> UnitRelations | None:
    """Return the relations of joined parts, in which each row has `most` units; None if a part has none."""
    edge_index, edge_type, rows = [], [], 0
    for part in parts:
        if part.relation is None:
            return None
        units = max(1, part.mask.shape[1])
        edge_index.append(part.relation.edge_index + (part.relation.edge_index // units) * (most - units) + rows * most)
        edge_type.append(part.relation.edge_type)
        rows += len(part.mask)
    return UnitRelations(torch.cat(edge_index, dim=1), torch.cat(edge_type))
