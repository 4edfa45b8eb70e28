"""How alike the reports of a batch are: by labels, by facts, by words. Symmetric, 1 for equal reports.

The similarity of a report that says nothing is 0 with all, itself included.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

ALL = slice(None)


class Likeness(Protocol):
    """Similarities of B rows with N columns, computed where they are read."""

    @property
    def says_something(self) -> Tensor:
        """Whether a row is alike with itself, bool [B]."""

    def tile(self, rows: slice = ALL, columns: slice = ALL) -> Tensor:
        """Return the similarities of R rows with C columns, [R, C]."""


class VectorLikeness:
    """Cosines.

    Args:
        rows: vectors, floating point [B, K].
        columns: vectors, [N, K].
    """

    def __init__(self, rows: Tensor, columns: Tensor) -> None:
        self._rows, self._columns = F.normalize(rows, dim=1), F.normalize(columns, dim=1)

    @property
    def says_something(self) -> Tensor:
        """Whether a row is not zero, bool [B]."""
        return self._rows.any(dim=1)

    def tile(self, rows: slice = ALL, columns: slice = ALL) -> Tensor:
        """Return the similarities of R rows with C columns, [R, C]."""
        with torch.autocast(self._rows.device.type, enabled=False):
            return self._rows[rows] @ self._columns[columns].T


class FactLikeness:
    """Cosine overlap of sets of facts: shared facts over the geometric mean of the sizes.

    A graph without facts overlaps with none. Memory grows with the distinct facts of the rows of a tile, time with the
    number of facts of a row.

    Args:
        rows: hashes of facts, each once in a row, padded with negative numbers, int64 [B, F].
        columns: the same for all columns, int64 [N, F].
        dtype: that of the similarities.
    """

    def __init__(self, rows: Tensor, columns: Tensor, dtype: torch.dtype = torch.float32) -> None:
        self._dtype = dtype
        self._sizes = (rows >= 0).sum(dim=1), (columns >= 0).sum(dim=1)
        facts = rows[rows >= 0].unique()
        self._num_facts = len(facts)
        self._rows, self._columns = (_numbered(side, facts) for side in (rows, columns))

    @property
    def says_something(self) -> Tensor:
        """Whether a row has facts, bool [B]."""
        return self._sizes[0] > 0

    def tile(self, rows: slice = ALL, columns: slice = ALL) -> Tensor:
        """Return the overlaps of R rows with C columns, [R, C]."""
        row, column = self._rows[rows], self._columns[columns]
        # The facts of these rows are numbered anew; the last number stands for all others, and for padding.
        present = torch.zeros(self._num_facts + 1, dtype=torch.bool, device=row.device)
        present[row] = True
        present[-1] = False
        last = int(present.sum())
        number = (present.cumsum(dim=0) - 1).where(present, last)
        hot = torch.zeros(last + 1, len(column), device=row.device).scatter_(0, number[column].T, 1)
        shared = F.embedding_bag(number[row], hot, mode="sum", padding_idx=last).to(self._dtype)
        sizes = self._sizes[0][rows, None] * self._sizes[1][columns]
        return shared.div_(sizes.clamp_(min=1).to(self._dtype).sqrt_())


def label_likeness(rows: Tensor, columns: Tensor, dtype: torch.dtype = torch.float32) -> VectorLikeness:
    """Return the cosines of label vectors with 1 for positive, -1 for negative and 0 for unknown.

    Labels that both lack make two reports alike. After MedCLIP (Wang et al. 2022, section 3.3), whose code takes the
    dot product.

    Args:
        rows: 1 present, 0 absent, nan unknown, [B, L].
        columns: the same for all columns, [N, L].
        dtype: that of the similarities.
    """
    return VectorLikeness(*((2 * label.to(dtype) - 1).nan_to_num(0) for label in (rows, columns)))


def word_likeness(rows: Tensor, columns: Tensor, dtype: torch.dtype = torch.float32) -> VectorLikeness:
    """Return the cosines of tf-idf vectors.

    The weight of a word in n reports of which d contain it is its count times ln((1 + n) / (1 + d)) + 1.

    Args:
        rows: counts of words, [B, W].
        columns: the same for the n reports, [N, W].
        dtype: that of the similarities.
    """
    documents = (columns > 0).sum(dim=0).to(dtype)
    weight = ((1 + len(columns)) / (1 + documents)).log() + 1
    return VectorLikeness(rows.to(dtype) * weight, columns.to(dtype) * weight)


def fact_overlap(rows: Tensor, columns: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the cosine overlap of all sets of facts, [B, N] (see `FactLikeness`)."""
    return FactLikeness(rows, columns, dtype).tile()


def _numbered(lists: Tensor, facts: Tensor) -> Tensor:
    """Return the place of each fact among U facts, ascending int64 [U], and U for others; as short as the longest."""
    place = torch.searchsorted(facts, lists.contiguous())
    found = torch.cat([facts, facts.new_full((1,), -2)])[place] == lists
    # What is no fact of the rows moves to the end, where most lists have nothing else.
    place = place.where(found, len(facts)).sort(dim=1)[0]
    longest = int(found.sum(dim=1).max()) if len(lists) else 0
    return place[:, : max(longest, 1)]
