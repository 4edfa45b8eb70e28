"""What every encoder returns, whatever it encodes."""

from __future__ import annotations

from typing import NamedTuple

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

    A unit is a patch of an image, an entity of a graph, a word of a text.

    Attributes:
        pooled: one vector per sample, [B, D].
        units: one vector per unit, [B, U, D]; zero where there is no unit.
        mask: True where there is a unit, bool [B, U].
        importance: share of each unit in `pooled`, [B, U]; sums to one over the units of a sample, or to less where
            `pooled` also reads nodes that are no units, which a join of components added.
        relation: relations between units, or None.
        grid: rows and columns of the units of an image, whose unit u is the patch in row u // columns and column
            u % columns; None where units lie on no grid.
        layer: name of the backbone's module that an image's units come from, "last" for its final feature map; None
            where units come from no feature map.
    """

    pooled: Tensor
    units: Tensor
    mask: Tensor
    importance: Tensor
    relation: UnitRelations | None = None
    grid: tuple[int, int] | None = None
    layer: str | None = None
