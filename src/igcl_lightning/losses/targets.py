"""Which pairs of a batch are positive, which are negative, and which are neither, from ids and graphs."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from igcl_lightning.errors import IgclError
from igcl_lightning.losses.gather import Shares, gather, repeats, world_size
from igcl_lightning.losses.semantic import fact_overlap, label_similarity, word_similarity

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

    def gathered(self, shares: Shares) -> PairIds:
        """Return the ids of the N pairs of all processes."""
        present = {name: value for name, value in self._asdict().items() if value is not None}
        return self._replace(**{name: gather(value, shares) for name, value in present.items()})


def contrastive_targets(kind: str, rows: PairIds, columns: PairIds, first_row: int = 0) -> tuple[Tensor, Tensor]:
    """Return how positive pairs are, and which take part, for some rows against all columns.

    Args:
        kind: one of `TARGETS`.
        rows: ids of B consecutive pairs of `columns`, such as a process's share of a batch.
        columns: ids of the N pairs of all processes, by rank.
        first_row: index of the first of the B pairs among the N.

    Returns:
        positive: float32 [B, N]; 1 for positive pairs, in between for soft ones, 0 for negatives and pairs left out.
        keep: bool [B, N], True for positives and negatives, False for pairs left out.
    """
    own = torch.zeros(len(rows.row), len(columns.row), dtype=torch.bool, device=rows.row.device)
    own.diagonal(first_row).fill_(True)
    keep = ~repeats(columns.row).expand_as(own)
    if kind == "soft":
        overlap = fact_overlap(rows.graph_facts, columns.graph_facts).square()
        return overlap.masked_fill(own, 1).masked_fill(~keep, 0), keep
    positive = own
    if kind == "study":
        positive = own | (rows.study[:, None] == columns.study)
        keep = keep & (positive | (rows.patient[:, None] != columns.patient))
    elif kind == "graph":
        positive = own | same_graph(rows, columns)
    return (positive & keep).float(), keep


def same_graph(rows: PairIds, columns: PairIds) -> Tensor:
    """Return whether the graphs of two pairs state the same, bool [B, N]; an empty graph equals none."""
    return (rows.graph_key[:, None] == columns.graph_key) & (rows.graph_key[:, None] >= 0)


def distribution(positive: Tensor) -> Tensor:
    """Return the targets [B, N] of a softmax: rows sum to one, or to zero for a repeated row without positives."""
    total = positive.sum(dim=1, keepdim=True)
    return positive / total.masked_fill(total == 0, 1)


def false_negative_rate(positive: Tensor, keep: Tensor, rows: PairIds, columns: PairIds, first_row: int = 0) -> Tensor:
    """Return the share of the negative pairs of all processes whose graphs state the same, float32, a scalar.

    The negative pairs are the ordered pairs (i, j) of two rows, each row counted once, that take part in the loss with
    a target of 0. The rate is 0 if there are none. Every process must call this.

    Args:
        positive: how positive pairs are, [B, N], as from `contrastive_targets`.
        keep: which pairs take part, bool [B, N].
        rows: ids of this process's B pairs.
        columns: ids of the N pairs of all processes.
        first_row: index of the first of the B pairs among the N.
    """
    counted = ~repeats(columns.row)[first_row : first_row + len(rows.row), None]
    negative = counted & keep & (positive == 0)
    counts = torch.stack([(negative & same_graph(rows, columns)).sum(), negative.sum()])
    if world_size() > 1:
        dist.all_reduce(counts)
    return counts[0] / counts[1].clamp(min=1)


def semantic_similarity(source: str, rows: PairIds, columns: PairIds) -> Tensor:
    """Return how alike some pairs are with all pairs, float32 [B, N]; a pair that says nothing has 0 with all.

    Args:
        source: one of `SEMANTIC_SOURCES`.
        rows: ids of B pairs, with what the source reads.
        columns: ids of the N pairs of all processes; a repeated row counts once.
    """
    with torch.autocast(rows.row.device.type, enabled=False):
        if source == "graph":
            return fact_overlap(rows.graph_facts, columns.graph_facts)
        if source == "labels" and rows.labels is not None and columns.labels is not None:
            return label_similarity(rows.labels, columns.labels)
        if source == "text" and rows.words is not None and columns.words is not None:
            return word_similarity(rows.words, columns.words, ~repeats(columns.row))
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
