"""How alike the reports of a batch are: by labels, by facts, by words. Symmetric, 1 for equal reports.

The similarity of a report that says nothing is 0 with all, itself included.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def label_similarity(rows: Tensor, columns: Tensor) -> Tensor:
    """Return the cosines of label vectors with 1 for positive, -1 for negative and 0 for unknown, float32 [B, N].

    Labels that both lack make two reports alike. After MedCLIP (Wang et al. 2022, section 3.3), whose code takes the
    dot product.

    Args:
        rows: 1 present, 0 absent, nan unknown, [B, L].
        columns: the same for all columns, [N, L].
    """
    return _cosines(*((2 * label.float() - 1).nan_to_num(0) for label in (rows, columns)))


def word_similarity(rows: Tensor, columns: Tensor, counted: Tensor) -> Tensor:
    """Return the cosines of tf-idf vectors, float32 [B, N].

    The weight of a word in n reports of which d contain it is its count times ln((1 + n) / (1 + d)) + 1.

    Args:
        rows: counts of words, [B, W].
        columns: the same for all columns, [N, W].
        counted: True for the columns among which d and n are counted, bool [N].
    """
    documents = (columns[counted] > 0).sum(dim=0)
    weight = ((1 + counted.sum()) / (1 + documents)).log() + 1
    return _cosines(rows.float() * weight, columns.float() * weight)


def _cosines(rows: Tensor, columns: Tensor) -> Tensor:
    return F.normalize(rows, dim=1) @ F.normalize(columns, dim=1).T


def fact_overlap(rows: Tensor, columns: Tensor) -> Tensor:
    """Return the cosine overlap of sets of facts: shared facts over the geometric mean of the sizes, float32 [B, N].

    A graph without facts overlaps with none. Memory grows with the distinct facts of `rows`, not with all.

    Args:
        rows: hashes of facts, each once in a row, padded with negative numbers, int64 [B, F].
        columns: the same for all columns, int64 [N, F].
    """
    facts = rows[rows >= 0].unique()
    shared = _multi_hot(rows, facts) @ _multi_hot(columns, facts).T
    sizes = (rows >= 0).sum(dim=1)[:, None] * (columns >= 0).sum(dim=1)
    return shared / sizes.clamp(min=1).sqrt()


def _multi_hot(lists: Tensor, facts: Tensor) -> Tensor:
    """Return 1 for each of the U facts, ascending int64 [U], in a row's list, 0 otherwise, float32 [B, U]."""
    place = torch.searchsorted(facts, lists.contiguous())
    # Column U collects everything that is not one of the facts.
    found = torch.cat([facts, facts.new_full((1,), -2)])[place] == lists
    hot = torch.zeros(len(lists), len(facts) + 1, device=lists.device)
    return hot.scatter_(1, place.where(found, len(facts)), 1)[:, :-1]
