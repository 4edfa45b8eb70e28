"""Contrastive loss of paired samples in both directions, over the batch of all processes (IGCL eq. 1-3; ConVIRT; CLIP).

The printed equations of IGCL have no temperature; the authors' code and CLIP learn one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from igcl_lightning.errors import IgclError, suggestion
from igcl_lightning.losses.gather import gather, gather_units, rank, repeats, world_size
from igcl_lightning.nn.scoring import Scorer

TARGETS = ("identity", "study", "graph", "soft")
MAX_LOGIT_SCALE = 100.0  # upper bound of 1 / temperature, as in CLIP


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


class PairIds(NamedTuple):
    """Ids of B pairs, from which positive and negative pairs follow.

    Attributes:
        row: int64 [B]; a row that is repeated counts once.
        study: int64 [B].
        patient: int64 [B].
        graph_key: int64 [B]; -1 for an empty graph.
        graph_facts: hashes of the graph's facts, each once, -1 where there are fewer, int64 [B, F].
    """

    row: Tensor
    study: Tensor
    patient: Tensor
    graph_key: Tensor
    graph_facts: Tensor


@dataclass(frozen=True)
class ContrastiveOptions:
    """Contrastive loss.

    Args:
        temperature: initial temperature; logits are similarities divided by it.
        targets: which pairs are positive:
            "identity": only the row's own pair (CLIP);
            "study": pairs of one study; other studies of the same patient are neither positive nor negative;
            "graph": pairs whose report graphs are identical; an empty graph equals no other;
            "soft": in proportion to the squared cosine overlap of the graphs' facts.
        image_weight: weight of the direction from the first side (the image) to the second (lambda of ConVIRT, eq. 4).
        learn_temperature: whether the temperature is trained.
    """

    temperature: float = 0.07
    targets: str = "graph"
    image_weight: float = 0.5
    learn_temperature: bool = True


class ContrastiveLoss(nn.Module):
    """InfoNCE in both directions, with a bounded temperature.

    Args:
        options: temperature, positive pairs and weights.

    Attributes:
        logit_scale: log of 1 / temperature, [1]; sharded training refuses parameters without a dimension.

    Raises:
        IgclError: unknown targets, temperature is not above 0, or image_weight not in [0, 1].
    """

    logit_scale: Tensor

    def __init__(self, options: ContrastiveOptions = ContrastiveOptions()) -> None:
        super().__init__()
        if options.targets not in TARGETS:
            near = suggestion(options.targets, TARGETS)
            raise IgclError(f"model.loss.targets {options.targets!r} is not one of {', '.join(TARGETS)}{near}")
        if options.temperature <= 0:
            raise IgclError(f"model.loss.temperature is {options.temperature}, not above 0")
        if not 0 <= options.image_weight <= 1:
            raise IgclError(f"model.loss.image_weight is {options.image_weight}, not in [0, 1]")
        self.targets = options.targets
        self.image_weight = options.image_weight
        log_scale = torch.tensor([-math.log(options.temperature)])
        if options.learn_temperature:
            self.logit_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("logit_scale", log_scale)
        self.clamp_logit_scale()

    @torch.no_grad()
    def clamp_logit_scale(self) -> None:
        """Clamp the temperature to its lower bound; called after each optimiser step."""
        # In `forward`, a clamped value has no gradient, and a clamped parameter is lost in sharded training.
        self.logit_scale.clamp_(max=math.log(MAX_LOGIT_SCALE))

    def forward(self, similarity: Similarity, ids: PairIds) -> Tensor:
        """Return this process's share of the loss, a scalar.

        The mean of the shares, and of their gradients, over processes is that of the global batch, as distributed data
        parallel training needs.

        Args:
            similarity: similarities of this process's B pairs with the N pairs of all processes.
            ids: ids of the B pairs.
        """
        scale = self.logit_scale.exp()
        all_ids = PairIds(*(gather(value) for value in ids))
        weight, keep = contrastive_targets(self.targets, ids, all_ids, rank() * len(ids.row))
        # In single precision at least, like the scale.
        first_to_second, second_to_first = (cross_entropy(scale * matrix, weight, keep) for matrix in similarity)
        loss = self.image_weight * first_to_second + (1 - self.image_weight) * second_to_first
        return mean_over_counted(loss, ~repeats(all_ids.row))


def cross_entropy(logits: Tensor, weight: Tensor, keep: Tensor) -> Tensor:
    """Return -sum_j weight_ij log softmax_j(logits_ij) of each row i, [B]; the softmax runs over kept columns only.

    Args:
        logits: [B, N].
        weight: target distribution, zero where not kept, [B, N].
        keep: True where the column takes part in the row's softmax, bool [B, N].
    """
    log_probability = F.log_softmax(logits.masked_fill(~keep, -torch.inf), dim=1)
    return -(weight * log_probability.masked_fill(~keep, 0)).sum(dim=1)


def mean_over_counted(loss: Tensor, counted: Tensor) -> Tensor:
    """Return this process's share of the mean over all counted rows; the mean of the shares is that mean.

    Args:
        loss: loss of this process's rows, [B].
        counted: True for rows of all processes that count, bool [N].
    """
    first_row = rank() * len(loss)
    own = counted[first_row : first_row + len(loss)]
    return world_size() * loss.masked_fill(~own, 0).sum() / counted.sum()


def contrastive_targets(kind: str, rows: PairIds, columns: PairIds, first_row: int = 0) -> tuple[Tensor, Tensor]:
    """Return target weights, and the pairs that take part, for some rows against all columns.

    Args:
        kind: one of `TARGETS`.
        rows: ids of B consecutive pairs of `columns`, such as a process's share of a batch.
        columns: ids of the N pairs of all processes, by rank.
        first_row: index of the first of the B pairs among the N.

    Returns:
        weight: float [B, N]; rows sum to one, or to zero for a repeated row without positives.
        keep: bool [B, N], True for positives and negatives, False for pairs left out.
    """
    own = torch.zeros(len(rows.row), len(columns.row), dtype=torch.bool, device=rows.row.device)
    own.diagonal(first_row).fill_(True)
    keep = ~repeats(columns.row).expand_as(own)
    if kind == "soft":
        weight = fact_overlap(rows.graph_facts, columns.graph_facts).square().masked_fill(own, 1)
        return _distribution(weight, keep), keep
    positive = own
    if kind == "study":
        positive = own | (rows.study[:, None] == columns.study)
        keep = keep & (positive | (rows.patient[:, None] != columns.patient))
    elif kind == "graph":
        positive = own | ((rows.graph_key[:, None] == columns.graph_key) & (rows.graph_key[:, None] >= 0))
    return _distribution(positive.float(), keep), keep


def _distribution(weight: Tensor, keep: Tensor) -> Tensor:
    """Return weights [B, N] that sum to one over the kept columns of each row that has any."""
    weight = weight.masked_fill(~keep, 0)
    total = weight.sum(dim=1, keepdim=True)
    return weight / total.masked_fill(total == 0, 1)


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
