"""Which pairs of a batch are positive, which are negative, and which are neither, from ids and graphs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import torch
from torch import Tensor

from igcl_lightning.errors import IgclError
from igcl_lightning.losses.gather import Shares, gather
from igcl_lightning.losses.semantic import FactLikeness, Likeness, fact_overlap, label_likeness, word_likeness

TARGETS = ("identity", "study", "graph", "soft")
SEMANTIC_SOURCES = ("labels", "graph", "text")


class PairIds(NamedTuple):
    """Ids of B pairs, from which positive and negative pairs follow.

    Attributes:
        row: int64 [B]; a row that is repeated counts once.
        study: int64 [B].
        patient: int64 [B].
        graph_key: int64 [B]; -1 for an empty graph.
        graph_facts: hashes of the graph's facts, each once, -1 where there are fewer, int64 [B, F].
        labels: 1 present, 0 absent, nan unknown, float [B, L]; None if no loss reads them.
        words: counts of the report's words, float [B, W]; None if no loss reads them.
    """

    row: Tensor
    study: Tensor
    patient: Tensor
    graph_key: Tensor
    graph_facts: Tensor
    labels: Tensor | None = None
    words: Tensor | None = None

    def needed(self, source: str | None) -> PairIds:
        """Return the ids without labels and words, unless they are the source of semantic targets.

        Raises:
            IgclError: the batch lacks the source.
        """
        needed: dict[str, Any] = {"labels": None, "words": None}
        if name := {"labels": "labels", "text": "words"}.get(source or ""):
            needed[name] = value = getattr(self, name)
            if value is None or not value.shape[1]:
                option = f"model.loss.semantic_source is {source!r}"
                raise IgclError(f"{option}, but the batches have no {name}; use 'graph'")
        return self._replace(**needed)

    def part(self, which: slice | Tensor) -> PairIds:
        """Return the ids of some pairs: a slice, or bool [B]."""
        return self._replace(**{name: value[which] for name, value in self._present().items()})

    def gathered(self, shares: Shares) -> PairIds:
        """Return the ids of the N pairs of all processes."""
        return self._replace(**{name: gather(value, shares) for name, value in self._present().items()})

    def _present(self) -> dict[str, Tensor]:
        return {name: value for name, value in self._asdict().items() if value is not None}


def contrastive_targets(
    kind: str, rows: PairIds, columns: PairIds, first_row: int = 0, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """Return how positive pairs are, and which take part, for some rows against some columns.

    Args:
        kind: one of `TARGETS`.
        rows: ids of B consecutive pairs, each row once.
        columns: ids of N consecutive pairs, each row once.
        first_row: number of the first of the B pairs, less that of the first of the N.
        dtype: that of the first result.

    Returns:
        positive: [B, N]; 1 for positive pairs, in between for soft ones, 0 for negatives and pairs left out.
        keep: bool [B, N], True for positives and negatives, False for pairs left out.
    """
    if kind == "soft":
        own = own_pairs(len(rows.row), len(columns.row), first_row, rows.row.device)
        overlap = fact_overlap(rows.graph_facts, columns.graph_facts, dtype)
        return overlap.square_().masked_fill_(own, 1), torch.ones_like(own)
    positive, keep = hard_targets(kind, rows, columns, first_row)
    return positive.to(dtype), torch.ones_like(positive) if keep is None else keep


def hard_targets(kind: str, rows: PairIds, columns: PairIds, first_row: int) -> tuple[Tensor, Tensor | None]:
    """Return what `contrastive_targets` does for all targets but soft ones, as bool [B, N]; None if all take part."""
    own = own_pairs(len(rows.row), len(columns.row), first_row, rows.row.device)
    if kind == "study":
        positive = own | (rows.study[:, None] == columns.study)
        return positive, positive | (rows.patient[:, None] != columns.patient)
    return own | same_graph(rows, columns) if kind == "graph" else own, None


def own_pairs(num_rows: int, num_columns: int, first_row: int, device: torch.device) -> Tensor:
    """Return whether row and column are of one pair, bool [B, N]; `first_row` as for `contrastive_targets`."""
    return torch.arange(num_rows, device=device)[:, None] + first_row == torch.arange(num_columns, device=device)


def same_graph(rows: PairIds, columns: PairIds) -> Tensor:
    """Return whether the graphs of two pairs state the same, bool [B, N]; an empty graph equals none."""
    return (rows.graph_key[:, None] == columns.graph_key) & (rows.graph_key[:, None] >= 0)


def distribution(positive: Tensor) -> Tensor:
    """Return the targets [B, N] of a softmax, rows that sum to one."""
    return positive / positive.sum(dim=1, keepdim=True)


def false_negative_rate(kind: str, ids: PairIds) -> Tensor:
    """Return the share of the negative pairs whose graphs state the same, float32, a scalar.

    The negative pairs are the ordered pairs (i, j) of two rows that take part in the loss with a target of 0. The rate
    is 0 if there are none, and for targets that follow from what graphs state.

    Args:
        kind: one of `TARGETS`.
        ids: ids of the N pairs of all processes, each row once.
    """
    if kind in ("graph", "soft"):
        return torch.zeros((), device=ids.row.device)
    # A pair of rows takes part with a target of 0 if it differs in each of these ids.
    apart = (ids.patient, ids.study) if kind == "study" else (ids.row,)
    stated = ids.graph_key >= 0
    same = _num_apart([each[stated] for each in (ids.graph_key, *apart)])
    return same / _num_apart([torch.zeros_like(ids.row), *apart]).clamp(min=1)


def _num_apart(ids: Sequence[Tensor]) -> Tensor:
    """Return the number of ordered pairs that agree in the first of some ids [N] and in no other, a scalar."""
    group, *others = ids
    total = torch.zeros((), dtype=torch.int64, device=group.device)
    # Inclusion and exclusion: the pairs of a group, less those that agree in another id, plus those in two others, ...
    for size in range(len(ids)):
        for chosen in combinations(others, size):
            counts = torch.stack([group, *chosen]).unique(dim=1, return_counts=True)[1]
            total += (-1) ** size * counts.square().sum()
    return total


def likeness(source: str, rows: PairIds, columns: PairIds, dtype: torch.dtype = torch.float32) -> Likeness:
    """Return how alike some pairs are with all pairs; a pair that says nothing has 0 with all.

    Args:
        source: one of `SEMANTIC_SOURCES`.
        rows: ids of B pairs, with what the source reads.
        columns: ids of the N pairs of all processes, each row once.
        dtype: that of the similarities.
    """
    if source == "graph":
        return FactLikeness(rows.graph_facts, columns.graph_facts, dtype)
    if source == "labels" and rows.labels is not None and columns.labels is not None:
        return label_likeness(rows.labels, columns.labels, dtype)
    if source == "text" and rows.words is not None and columns.words is not None:
        return word_likeness(rows.words, columns.words, dtype)
    raise ValueError(f"no {source} among the ids of the pairs")


def soften(weight: Tensor, keep: Tensor, alike: Tensor, share: float, temperature: float, first_row: int = 0) -> Tensor:
    """Return targets of which a share is spread over pairs that are alike (MedCLIP's semantic matching, softened).

    Args:
        weight: hard targets of B consecutive pairs, float [B, N].
        keep: pairs that take part, bool [B, N].
        alike: similarities, [B, N]; a row whose own similarity is 0 says nothing and keeps its hard target.
        share: part of the target that is spread, in [0, 1].
        temperature: temperature of the softmax over similarities.
        first_row: index of the first of the B pairs among the N.
    """
    # Not a number only in a row that keeps no column.
    spread = (alike / temperature).masked_fill(~keep, -torch.inf).softmax(dim=1).masked_fill(~keep, 0)
    silent = alike.diagonal(first_row)[:, None] == 0
    return torch.where(silent, weight, (1 - share) * weight + share * spread)
