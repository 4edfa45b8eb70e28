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

from igcl_lightning.errors import IgclError
from igcl_lightning.losses.gather import gather, gather_units, rank, repeats, world_size
from igcl_lightning.losses.semantic import fact_overlap, label_similarity, word_similarity
from igcl_lightning.nn.checks import check_choice, check_positive
from igcl_lightning.nn.scoring import Scorer

TARGETS = ("identity", "study", "graph", "soft")
SEMANTIC_SOURCES = ("labels", "graph", "text")
MAX_LOGIT_SCALE = 100.0  # upper bound of 1 / temperature, as in CLIP


class Similarity(NamedTuple):
    """Similarities of the B pairs of this process with the N pairs of all processes, by rank.

    Attributes:
        first_to_second: this process's first sides with all second sides, [B, N].
        second_to_first: this process's second sides with all first sides, [B, N].
    """

    first_to_second: Tensor
    second_to_first: Tensor


def batch_similarity(score: Scorer, first: Any, second: Any, exchange: str = "sides") -> Similarity:
    """Score the pairs of a batch over all processes, with gradients.

    Args:
        score: maps Q first sides and C second sides to [Q, C].
        first: the first sides of B pairs, as `score` reads them.
        second: the second sides of the same pairs.
        exchange: what processes send each other: "sides", both of them, each process scores its rows and its columns of
            the matrix; "scores", second sides and rows of scores, so that each pair is scored once. The second is
            cheaper where scoring costs more than sending.

    Raises:
        ValueError: unknown exchange.
    """
    if exchange not in ("sides", "scores"):
        raise ValueError(f"exchange {exchange!r} is not one of sides, scores")
    if world_size() == 1:
        matrix = score(first, second)
        return Similarity(matrix, matrix.T)
    rows = score(first, gather_units(second))
    if exchange == "sides":
        return Similarity(rows, score(gather_units(first), second).T)
    return Similarity(rows, gather(rows).chunk(world_size(), dim=1)[rank()].T)


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
        semantic_weight: share e of the target that is spread over pairs that are alike: (1 - e) times the target above,
            plus e times the softmax of similarity / `semantic_temperature`. Reports that say nothing keep the target
            above. 0 switches it off. Our reading of RECLF's semantic contrastive loss, whose equation is unknown, after
            MedCLIP's.
        semantic_source: similarity of two pairs: "labels", the cosine of their labels (present 1, absent -1, unknown
            0); "graph", the overlap of their graphs' facts; "text", the cosine of tf-idf in the global batch.
        semantic_temperature: 1 spreads the target almost evenly: in a batch of 48 a pair that resembles no other keeps
            .055 of it; .1 leaves it .998.
    """

    temperature: float = 0.07
    targets: str = "graph"
    image_weight: float = 0.5
    learn_temperature: bool = True
    semantic_weight: float = 0.0
    semantic_source: str = "labels"
    semantic_temperature: float = 0.1


class ContrastiveLoss(nn.Module):
    """InfoNCE in both directions, with a bounded temperature.

    Args:
        options: temperature, positive pairs and weights.

    Attributes:
        logit_scale: log of 1 / temperature, [1]; sharded training refuses parameters without a dimension.
        semantic: the source of semantic targets, None without.

    Raises:
        IgclError: unknown targets or source, a temperature is not above 0, or a weight not in [0, 1].
    """

    logit_scale: Tensor

    def __init__(self, options: ContrastiveOptions = ContrastiveOptions()) -> None:
        super().__init__()
        _check(options)
        self.targets = options.targets
        self.image_weight = options.image_weight
        self.semantic = options.semantic_source if options.semantic_weight else None
        self.semantic_weight = options.semantic_weight
        self.semantic_temperature = options.semantic_temperature
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

        Raises:
            IgclError: semantic targets need what the batch lacks.
        """
        scale = self.logit_scale.exp()
        ids = _needed(ids, self.semantic)
        all_ids = ids._replace(**{name: gather(value) for name, value in ids._asdict().items() if value is not None})
        first_row = rank() * len(ids.row)
        weight, keep = contrastive_targets(self.targets, ids, all_ids, first_row)
        if self.semantic:
            alike = semantic_similarity(self.semantic, ids, all_ids)
            weight = soften(weight, keep, alike, self.semantic_weight, self.semantic_temperature, first_row)
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


def _check(options: ContrastiveOptions) -> None:
    check_choice("model.loss.targets", options.targets, TARGETS)
    check_choice("model.loss.semantic_source", options.semantic_source, SEMANTIC_SOURCES)
    check_positive("model.loss.temperature", options.temperature)
    check_positive("model.loss.semantic_temperature", options.semantic_temperature)
    for name in ("image_weight", "semantic_weight"):
        if not 0 <= (value := getattr(options, name)) <= 1:
            raise IgclError(f"model.loss.{name} is {value}, not in [0, 1]")


def _needed(ids: PairIds, source: str | None) -> PairIds:
    """Return the ids without labels and words, unless they are the source of semantic targets."""
    needed: dict[str, Any] = {"labels": None, "words": None}
    if name := {"labels": "labels", "text": "words"}.get(source or ""):
        needed[name] = value = getattr(ids, name)
        if value is None or not value.shape[1]:
            raise IgclError(f"model.loss.semantic_source is {source!r}, but the batches have no {name}; use 'graph'")
    return ids._replace(**needed)


def _distribution(weight: Tensor, keep: Tensor) -> Tensor:
    """Return weights [B, N] that sum to one over the kept columns of each row that has any."""
    weight = weight.masked_fill(~keep, 0)
    total = weight.sum(dim=1, keepdim=True)
    return weight / total.masked_fill(total == 0, 1)
