"""Contrastive loss of paired samples over the batch of all processes: InfoNCE (IGCL eq. 1-3; ConVIRT; CLIP) or SigLIP.

The printed equations of IGCL have no temperature; the authors' code and CLIP learn one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from igcl_lightning.errors import IgclError
from igcl_lightning.losses.gather import Shares, gather, gather_units, repeats, shares_of, world_size
from igcl_lightning.losses.siglip import sigmoid_cross_entropy
from igcl_lightning.losses.targets import (
    SEMANTIC_SOURCES,
    TARGETS,
    PairIds,
    contrastive_targets,
    distribution,
    false_negative_rate,
    likeness,
    soften,
)
from igcl_lightning.losses.tile_targets import TileTargets
from igcl_lightning.losses.tiled import Cosines, tiled_cross_entropy, tiled_sigmoid_cross_entropy
from igcl_lightning.nn.checks import check_choice, check_positive
from igcl_lightning.nn.scoring import Scorer, cosine_similarity

KINDS = ("infonce", "siglip")
MAX_LOGIT_SCALE = 100.0  # upper bound of 1 / temperature, as in CLIP


class Similarity(NamedTuple):
    """Similarities of the B pairs of this process with the N pairs of all processes, by rank.

    Attributes:
        first_to_second: this process's first sides with all second sides, [B, N].
        second_to_first: this process's second sides with all first sides, [B, N].
    """

    first_to_second: Tensor
    second_to_first: Tensor

    def kept(self, own: Tensor, every: Tensor) -> Similarity:
        """Return the similarities among some pairs: `own` of this process, bool [B], of `every` of all, bool [N]."""
        return Similarity(*(matrix[own][:, every] for matrix in self))


def batch_similarity(score: Scorer, first: Any, second: Any, exchange: str = "sides") -> Similarity | Cosines:
    """Score the pairs of a batch over all processes, with gradients.

    For `cosine_similarity` that is left to the loss, which never holds the matrix.

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
    if score is cosine_similarity:
        return Cosines(first, second)
    if world_size() == 1:
        matrix = score(first, second)
        return Similarity(matrix, matrix.T)
    rows = score(first, gather_units(second))
    if exchange == "sides":
        return Similarity(rows, score(gather_units(first), second).T)
    shares = shares_of(rows)
    return Similarity(rows, gather(rows, shares)[:, shares.own].T)


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
        image_weight: weight of the direction from the first side (the image) to the second (lambda of ConVIRT, eq. 4),
            for "infonce"; a sigmoid has no direction.
        learn_temperature: whether the temperature is trained.
        semantic_weight: share e of the target that is spread over pairs that are alike: (1 - e) times the target above,
            plus e times the softmax of similarity / `semantic_temperature`. Reports that say nothing keep the target
            above. 0 switches it off. Our reading of RECLF's semantic contrastive loss, whose equation is unknown, after
            MedCLIP's.
        semantic_source: similarity of two pairs: "labels", the cosine of their labels (present 1, absent -1, unknown
            0); "graph", the overlap of their graphs' facts; "text", the cosine of tf-idf in the global batch.
        semantic_temperature: 1 spreads the target almost evenly: in a batch of 48 a pair that resembles no other keeps
            .055 of it; .1 leaves it .998.
        kind: "infonce", a softmax over the batch in each direction; or "siglip", a sigmoid for each pair (Zhai et al.
            2023), without semantic targets.
        bias: initial bias of the logits, for "siglip"; it is trained. A good start is -log(N - 1) for N pairs of all
            processes, the odds that a pair is positive: -4.1 for 64, -4.8 for 128. The paper's -10 is for 32,768; it
            first pulls all pairs of a small batch together.
    """

    temperature: float = 0.07
    targets: str = "graph"
    image_weight: float = 0.5
    learn_temperature: bool = True
    semantic_weight: float = 0.0
    semantic_source: str = "labels"
    semantic_temperature: float = 0.1
    kind: str = "infonce"
    bias: float = -5.0


class ContrastiveLoss(nn.Module):
    """InfoNCE in both directions or SigLIP, with a bounded temperature.

    Args:
        options: kind, temperature, positive pairs and weights.

    Attributes:
        logit_scale: log of 1 / temperature, [1]; sharded training refuses parameters without a dimension.
        logit_bias: bias of SigLIP's logits, [1]; None for InfoNCE.
        semantic: the source of semantic targets, None without.
        false_negative_rate: that of the last training batch of all processes (see `targets`), a scalar.

    Raises:
        IgclError: unknown kind, targets or source, a temperature is not above 0, a weight not in [0, 1], or semantic
            targets for SigLIP.
    """

    logit_scale: Tensor
    logit_bias: Tensor | None

    def __init__(self, options: ContrastiveOptions = ContrastiveOptions()) -> None:
        super().__init__()
        _check(options)
        self.targets = options.targets
        self.image_weight = options.image_weight
        self.semantic = options.semantic_source if options.semantic_weight else None
        self.semantic_weight = options.semantic_weight
        self.semantic_temperature = options.semantic_temperature
        self.false_negative_rate = torch.zeros(())
        log_scale = torch.tensor([-math.log(options.temperature)])
        if options.learn_temperature:
            self.logit_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("logit_scale", log_scale)
        siglip = options.kind == "siglip"
        self.register_parameter("logit_bias", nn.Parameter(torch.tensor([float(options.bias)])) if siglip else None)
        self.clamp_logit_scale()

    @torch.no_grad()
    def clamp_logit_scale(self) -> None:
        """Clamp the temperature to its lower bound; called after each optimiser step."""
        # In `forward`, a clamped value has no gradient, and a clamped parameter is lost in sharded training.
        self.logit_scale.clamp_(max=math.log(MAX_LOGIT_SCALE))

    @property
    def learned(self) -> dict[str, Tensor]:
        """The temperature, as `logit_scale` 1 / temperature, and SigLIP's `logit_bias`, [1] each."""
        bias = {} if self.logit_bias is None else {"logit_bias": self.logit_bias}
        return {"logit_scale": self.logit_scale.exp(), **bias}

    @property
    def reads_graphs(self) -> bool:
        """Whether positive pairs follow from what graphs state."""
        return self.targets in ("graph", "soft") or self.semantic == "graph"

    def forward(self, similarity: Similarity | Cosines, ids: PairIds) -> Tensor:
        """Return this process's share of the loss, a scalar.

        The mean of the shares, and of their gradients, over processes is that of the global batch, as distributed data
        parallel training needs. Processes may have different numbers of pairs.

        Args:
            similarity: similarities of this process's B pairs with the N pairs of all processes.
            ids: ids of the B pairs.

        Raises:
            IgclError: semantic targets need what the batch lacks.
        """
        ids, shares = ids.needed(self.semantic), shares_of(ids.row)
        every = ids.gathered(shares)
        if (repeated := repeats(every.row)).any():  # pairs that take no part at all
            own = ~repeated[shares.own]
            similarity, ids, every = similarity.kept(own, ~repeated), ids.part(own), every.part(~repeated)
            shares = Shares(tuple(int((~part).sum()) for part in repeated.split(shares.counts)))
        if self.training:
            self.false_negative_rate = false_negative_rate(self.targets, every)
        if isinstance(similarity, Cosines):
            total = self._of_cosines(similarity, ids, every, shares)
        else:
            total = self._of_matrices(similarity, ids, every, shares)
        return world_size() * total / sum(shares.counts)

    def _of_matrices(self, similarity: Similarity, rows: PairIds, columns: PairIds, shares: Shares) -> Tensor:
        """Return the sum of the losses of this process's pairs, a scalar."""
        # In single precision at least, like the scale.
        logits = Similarity(*(self.logit_scale.exp() * matrix for matrix in similarity))
        pairs, dtype = (rows, columns), logits.first_to_second.dtype
        positive, keep = contrastive_targets(self.targets, *pairs, shares.own.start, dtype)
        if self.logit_bias is not None:  # the rows of all processes hold each pair once
            return sigmoid_cross_entropy(logits.first_to_second + self.logit_bias, positive, keep).sum()
        weight = distribution(positive)
        if self.semantic:
            alike = likeness(self.semantic, *pairs, dtype).tile()
            weight = soften(weight, keep, alike, self.semantic_weight, self.semantic_temperature, shares.own.start)
        first_to_second, second_to_first = (cross_entropy(matrix, weight, keep).sum() for matrix in logits)
        return self.image_weight * first_to_second + (1 - self.image_weight) * second_to_first

    def _of_cosines(self, cosines: Cosines, rows: PairIds, columns: PairIds, shares: Shares) -> Tensor:
        """Return this process's part of the sum of the losses of all pairs, a scalar."""
        scale = self.logit_scale.exp()
        # In single precision at least.
        dtype = reduce(torch.promote_types, (value.dtype for value in (*cosines, scale)), torch.float32)
        first, second, scale = (value.to(dtype) for value in (*cosines, scale))
        sides = first, gather(second, shares), scale
        start = shares.own.start
        if self.logit_bias is not None:
            targets = TileTargets(self.targets, rows, columns, start, dtype)
            return tiled_sigmoid_cross_entropy(*sides, self.logit_bias.to(dtype), targets)
        spread = self.semantic, self.semantic_weight, self.semantic_temperature
        targets = TileTargets(self.targets, rows, columns, start, dtype, *spread)
        return tiled_cross_entropy(*sides, targets, self.image_weight, shares)


def cross_entropy(logits: Tensor, weight: Tensor, keep: Tensor) -> Tensor:
    """Return -sum_j weight_ij log softmax_j(logits_ij) of each row i, [B]; the softmax runs over kept columns only.

    Args:
        logits: [B, N].
        weight: target distribution, zero where not kept, [B, N].
        keep: True where the column takes part in the row's softmax, bool [B, N].
    """
    log_probability = F.log_softmax(logits.masked_fill(~keep, -torch.inf), dim=1)
    return -(weight * log_probability.masked_fill(~keep, 0)).sum(dim=1)


def _check(options: ContrastiveOptions) -> None:
    check_choice("model.loss.kind", options.kind, KINDS)
    check_choice("model.loss.targets", options.targets, TARGETS)
    check_choice("model.loss.semantic_source", options.semantic_source, SEMANTIC_SOURCES)
    check_positive("model.loss.temperature", options.temperature)
    check_positive("model.loss.semantic_temperature", options.semantic_temperature)
    for name in ("image_weight", "semantic_weight"):
        if not 0 <= (value := getattr(options, name)) <= 1:
            raise IgclError(f"model.loss.{name} is {value}, not in [0, 1]")
    if options.kind != "siglip" and options.bias != ContrastiveOptions.bias:
        raise IgclError(f"model.loss.bias is {options.bias}, but {options.kind} has none: set model.loss.kind siglip")
    if options.kind == "siglip" and options.semantic_weight:
        raise IgclError(
            f"model.loss.semantic_weight is {options.semantic_weight}, but siglip has no semantic targets: set it to "
            "0, and model.loss.targets to soft for positives that share facts"
        )
