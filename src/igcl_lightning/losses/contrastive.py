"""The contrastive loss of paired embeddings, both ways, over the batch of all ranks (IGCL eq. 1-3; ConVIRT; CLIP).

The printed equations of IGCL have no temperature; the authors' code and CLIP learn one. Which pairs count as positive
and which as negative follows from the rows' ids (`contrastive_targets`), and is the same on one rank and on many.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

TARGETS = ("identity", "study", "graph", "soft")


class PairIds(NamedTuple):
    """What is known of each pair besides its embeddings.

    Attributes:
        study: int64 [B].
        patient: int64 [B].
        graph_key: int64 [B]; -1 for an empty graph.
        graph_facts: hashes of the graph's facts, each once, -1 where there are fewer, int64 [B, F].
    """

    study: Tensor
    patient: Tensor
    graph_key: Tensor
    graph_facts: Tensor


class ContrastiveLoss(nn.Module):
    """InfoNCE both ways, with a clamped temperature.

    Args:
        temperature: initial temperature; logits are cosines divided by it.
        max_logit_scale: upper clamp of 1 / temperature (CLIP uses 100).
        targets: which pairs are positive:
            "identity": only the row's own pair (CLIP);
            "study": pairs of one study; other studies of the same patient are neither positive nor negative;
            "graph": pairs whose report graphs are identical; an empty graph equals no other;
            "soft": in proportion to the squared cosine overlap of the graphs' facts.
        first_weight: share of the direction from the first side to the second (lambda of ConVIRT, eq. 4).
        learn_temperature: whether the temperature is trained.

    Raises:
        ValueError: unknown targets.
    """

    logit_scale: Tensor

    def __init__(
        self,
        temperature: float = 0.07,
        max_logit_scale: float = 100.0,
        targets: str = "study",
        first_weight: float = 0.5,
        learn_temperature: bool = True,
    ) -> None:
        super().__init__()
        if targets not in TARGETS:
            raise ValueError(f"targets {targets!r} is not one of {', '.join(TARGETS)}")
        self.targets = targets
        self.max_log_scale = math.log(max_logit_scale)
        self.first_weight = first_weight
        log_scale = torch.tensor(-math.log(temperature))
        if learn_temperature:
            self.logit_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("logit_scale", log_scale)

    def scale(self) -> Tensor:
        """Return the factor on the cosines, 1 / temperature, after clamping the parameter in place.

        Clamping the value instead of the parameter would leave a parameter beyond the bound without gradient.
        """
        with torch.no_grad():
            self.logit_scale.clamp_(max=self.max_log_scale)
        return self.logit_scale.exp()

    def forward(self, first: Tensor, second: Tensor, ids: PairIds) -> Tensor:
        """Return this rank's share of the loss, a scalar.

        The mean of the shares over ranks is the loss of the global batch, and so is the mean of their gradients, which
        is what distributed data parallel training takes.

        Args:
            first: unit vectors of the first side, [B, D].
            second: unit vectors of the second side, [B, D].
            ids: what is known of the B pairs.
        """
        with torch.autocast(first.device.type, enabled=False):
            first, second = at_least_single(first), at_least_single(second)
            scale, all_first, all_second = self.scale(), gather(first), gather(second)
            all_ids = PairIds(*(gather(value) for value in ids))
            weight, keep = contrastive_targets(self.targets, ids, all_ids)
            first_to_second = cross_entropy(scale * first @ all_second.T, weight, keep)
            second_to_first = cross_entropy(scale * second @ all_first.T, weight, keep)
            return self.first_weight * first_to_second + (1 - self.first_weight) * second_to_first


def cross_entropy(logits: Tensor, weight: Tensor, keep: Tensor) -> Tensor:
    """Return the mean over rows of -sum_j weight_ij log softmax_j(logits_ij), the softmax over kept columns only.

    Args:
        logits: [B, N].
        weight: target distribution, rows sum to one, zero where not kept, [B, N].
        keep: True where the column takes part in the row's softmax, bool [B, N].
    """
    log_probability = F.log_softmax(logits.masked_fill(~keep, -torch.inf), dim=1)
    return -(weight * log_probability.masked_fill(~keep, 0)).sum(dim=1).mean()


def contrastive_targets(kind: str, rows: PairIds, columns: PairIds) -> tuple[Tensor, Tensor]:
    """Return target weights and the pairs that take part, for this rank's rows against all ranks' columns.

    Args:
        kind: one of `TARGETS`.
        rows: ids of the B pairs of this rank.
        columns: ids of the N pairs of all ranks, in rank order.

    Returns:
        weight: float [B, N], rows sum to one.
        keep: bool [B, N], True for positives and negatives, False for pairs left out.
    """
    num_rows, num_columns = len(rows.study), len(columns.study)
    own = torch.zeros(num_rows, num_columns, dtype=torch.bool, device=rows.study.device)
    own.diagonal(rank() * num_rows).fill_(True)
    keep = torch.ones_like(own)
    if kind == "soft":
        weight = fact_overlap(rows.graph_facts, columns.graph_facts).square().masked_fill(own, 1)
        return weight / weight.sum(dim=1, keepdim=True), keep
    positive = own
    if kind == "study":
        positive = own | (rows.study[:, None] == columns.study)
        keep = positive | (rows.patient[:, None] != columns.patient)
    elif kind == "graph":
        positive = own | ((rows.graph_key[:, None] == columns.graph_key) & (rows.graph_key[:, None] >= 0))
    weight = positive.float()
    return weight / weight.sum(dim=1, keepdim=True), keep


def fact_overlap(rows: Tensor, columns: Tensor) -> Tensor:
    """Return the cosine overlap of sets of facts: shared facts over the geometric mean of the sizes, float32 [B, N].

    A graph without facts overlaps with none. Memory grows with the distinct facts of `rows`, not with all.

    Args:
        rows: hashes of facts, each once in a row, negative where there are fewer, int64 [B, F].
        columns: likewise, int64 [N, F].
    """
    facts = rows[rows >= 0].unique()
    shared = _multi_hot(rows, facts) @ _multi_hot(columns, facts).T
    sizes = (rows >= 0).sum(dim=1)[:, None] * (columns >= 0).sum(dim=1)
    return shared / sizes.clamp(min=1).sqrt()


def _multi_hot(lists: Tensor, facts: Tensor) -> Tensor:
    """Return which of U facts, ascending int64 [U], each of B lists holds, float32 [B, U] of 0 and 1."""
    place = torch.searchsorted(facts, lists.contiguous())
    # Column U takes what is none of the facts.
    found = torch.cat([facts, facts.new_full((1,), -2)])[place] == lists
    hot = torch.zeros(len(lists), len(facts) + 1, device=lists.device)
    return hot.scatter_(1, place.where(found, len(facts)), 1)[:, :-1]


def gather(value: Tensor) -> Tensor:
    """Concatenate `value` [B, ...] of all ranks in rank order, with gradient; every rank must hold the same B."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return value
    gathered: Tensor = _Gather.apply(value)
    return gathered


class _Gather(torch.autograd.Function):
    """All-gather whose backward pass sums the gradients that all ranks have for this rank's rows."""

    @staticmethod
    def forward(ctx: FunctionCtx, value: Tensor) -> Tensor:
        parts = [torch.empty_like(value) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, value.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient.chunk(dist.get_world_size())[dist.get_rank()]


def rank() -> int:
    """Return this process's rank, 0 without distributed training."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def at_least_single(value: Tensor) -> Tensor:
    """Return `value` in single precision, or in double when it is double."""
    return value if value.dtype == torch.float64 else value.float()
