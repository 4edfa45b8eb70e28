"""Regions of images and units of reports, as local matching reads them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from igcl_lightning.nn.encoded import UnitRelations
from igcl_lightning.nn.scoring import at_least_single


class Regions(NamedTuple):
    """Regions of B images.

    Attributes:
        feature: unit vectors of M regions per image, row by row, [B, M, D].
        pooled: unit vector of each image, [B, D], for a global node; None without.
    """

    feature: Tensor
    pooled: Tensor | None


class Units(NamedTuple):
    """Units of B reports.

    Attributes:
        feature: unit vectors of at most L units per report, [B, L, D]; zero for padding.
        mask: True where there is a unit, bool [B, L]; at least one in each report.
        importance: importance of each unit, [B, L]; 0 for padding.
        relation: [b, t, h] is 0, or 1 + the type of an edge from unit h to unit t of report b, the highest if there are
            several, int8 [B, L, L]; None where it is not used.
        pooled: unit vector of each report, [B, D], for a global node; None without.
    """

    feature: Tensor
    mask: Tensor
    importance: Tensor
    relation: Tensor | None
    pooled: Tensor | None


def relation_matrix(relation: UnitRelations, batch_size: int, num_units: int) -> Tensor:
    """Return 1 + the type of the edge from unit h to unit t of report b in [b, t, h], int8 [B, L, L]; 0 without edge.

    Of several edges between two units the highest type counts, in any order of the edges.
    """
    head, tail = relation.edge_index
    # The report of an edge is part of the number of its tail.
    place = tail * num_units + head % num_units
    flat = torch.zeros(batch_size * num_units**2, dtype=torch.long, device=head.device)
    flat.scatter_reduce_(0, place, relation.edge_type + 1, "amax")
    return flat.view(batch_size, num_units, num_units).to(torch.int8)


def without_padding(units: Units) -> Units:
    """Return units in single precision at least, with zeros in place of the features that padding holds.

    Products of huge features overflow, and masks cannot undo that; everything else is masked where it is used.
    """
    feature = at_least_single(units.feature).masked_fill(~units.mask[..., None], 0)
    pooled = None if units.pooled is None else at_least_single(units.pooled)
    return Units(feature, units.mask, at_least_single(units.importance), units.relation, pooled)


def one_per_image(units: Units) -> Units:
    """Return the units of B reports, one for each of B images, [B, 1, ...]."""
    return Units._make(None if value is None else value[:, None] for value in without_padding(units))


def groups_of_similar_length(units: Units, size: int) -> Iterator[tuple[Tensor, Units]]:
    """Yield all reports in groups, shortest first, each without the places that are padding in the whole group.

    Reports differ in length several times over, so that most places of a batch are padding.

    Args:
        units: units of J reports.
        size: reports of a group; the last one may be smaller.

    Yields:
        rows of the group's reports, int64 [G], and their units, which come before any padding.
    """
    count = units.mask.sum(dim=1)
    place = (~units.mask).byte().argsort(dim=1, stable=True)
    groups = count.argsort().split(size)
    for rows, width in zip(groups, torch.stack([count[rows[-1]] for rows in groups]).tolist(), strict=True):
        yield rows, _select(units, rows, place[rows, :width])


def _select(units: Units, rows: Tensor, place: Tensor) -> Units:
    """Return the units in the given places [G, W] of the reports in the given rows [G]."""
    feature = units.feature[rows].take_along_dim(place[..., None], dim=1)
    mask, importance = (value[rows].take_along_dim(place, dim=1) for value in (units.mask, units.importance))
    relation = units.relation
    if relation is not None:
        relation = relation[rows[:, None, None], place[:, :, None], place[:, None, :]]
    return Units(feature, mask, importance, relation, None if units.pooled is None else units.pooled[rows])
