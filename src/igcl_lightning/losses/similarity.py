"""Similarities of the two sides of a batch, over the pairs of all processes: a matrix for each direction."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from igcl_lightning.losses.gather import gather_units, world_size
from igcl_lightning.nn.scoring import Scorer


class Similarity(NamedTuple):
    """Similarities of the B pairs of this process with the N pairs of all processes, by rank.

    Attributes:
        first_to_second: this process's first sides with all second sides, [B, N].
        second_to_first: this process's second sides with all first sides, [B, N].
    """

    first_to_second: Tensor
    second_to_first: Tensor


def batch_similarity(score: Scorer, first: Any, second: Any) -> Similarity:
    """Score the pairs of a batch over all processes, with gradients.

    Each process scores its rows and its columns of the matrix. If scoring costs more than sending scores, `gather` the
    rows scored by each process instead.

    Args:
        score: maps Q first sides and C second sides to [Q, C].
        first: the first sides of B pairs, as `score` reads them.
        second: the second sides of the same pairs.
    """
    if world_size() == 1:
        matrix = score(first, second)
        return Similarity(matrix, matrix.T)
    return Similarity(score(first, gather_units(second)), score(gather_units(first), second).T)
