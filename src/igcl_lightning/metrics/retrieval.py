"""Retrieval between images and report graphs: is the right report among the k nearest?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

CHUNK_QUERIES = 1024
"""Queries compared with all candidates at once, so that memory grows with N and not with its square."""


def hit_rank(similarity: Tensor, positives: Tensor) -> Tensor:
    """Return at which rank each query meets its first positive; 1 is best.

    Wrong candidates as similar as the best positive are ranked before it, so that equal embeddings earn nothing.

    Args:
        similarity: float [N, M], of N queries and M candidates; NaN is ranked last.
        positives: bool [N, M], at least one in every row.

    Returns:
        int64 [N], in 1..M.

    Raises:
        ValueError: shapes differ, or a query has no positive.
    """
    if similarity.shape != positives.shape or similarity.ndim != 2:
        raise ValueError(f"similarity {tuple(similarity.shape)} and positives {tuple(positives.shape)} do not fit")
    if not positives.any(dim=1).all():
        raise ValueError("a query has no positive candidate: leave it out or mark its own row")
    best = similarity.masked_fill(~positives, -torch.inf).amax(dim=1, keepdim=True)
    # Written as "not lower" because a NaN compares false: a diverged model must not rank first.
    not_lower = ~(similarity < best)
    return (not_lower & ~positives).sum(dim=1) + 1


def recall_at_k(similarity: Tensor, positives: Tensor, k: int) -> Tensor:
    """Return the share of queries with a positive among their k most similar candidates (arguments of `hit_rank`).

    Ties count against the model; k may exceed the number of candidates.
    """
    return (hit_rank(similarity, positives) <= k).float().mean()


def median_rank(similarity: Tensor, positives: Tensor) -> Tensor:
    """Return the median over queries of the rank of the first positive (arguments of `hit_rank`)."""
    return hit_rank(similarity, positives).float().quantile(0.5)


class PairRetrieval(Metric):
    """Retrieval in both directions over all pairs seen: recall at k, median rank, and choice within a patient.

    A report hits when it is the image's own or states the same (equal graph key). An empty graph states nothing: only
    its own image hits it. A row counts once however often it comes.

    Args:
        sides: names of the two sides, for the names of the results.
        k: numbers of candidates looked at.
        kwargs: for `torchmetrics.Metric`.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    first: list[Tensor]
    second: list[Tensor]
    graph_key: list[Tensor]
    patient: list[Tensor]
    row: list[Tensor]

    def __init__(
        self, sides: tuple[str, str] = ("image", "graph"), k: Sequence[int] = (1, 5, 10), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if not k or min(k) < 1:
            raise ValueError(f"k must name at least one number of candidates, each at least 1, not {list(k)}")
        self.sides = sides
        self.k = tuple(k)
        for state in ("first", "second", "graph_key", "patient", "row"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    def update(self, first: Tensor, second: Tensor, graph_key: Tensor, patient: Tensor, row: Tensor) -> None:
        """Add a batch of pairs.

        Args:
            first: normalised embeddings [B, D].
            second: normalised embeddings [B, D].
            graph_key: int64 [B], equal where two graphs state the same, negative for an empty graph.
            patient: int64 [B].
            row: int64 [B], the id of the pair.
        """
        self.first.append(first.detach().float())
        self.second.append(second.detach().float())
        self.graph_key.append(graph_key.detach())
        self.patient.append(patient.detach())
        self.row.append(row.detach())

    def compute(self) -> dict[str, Tensor]:
        """Return scalars by name, such as `image_to_graph_recall@5` and `graph_to_image_median_rank`.

        `within_patient_accuracy` is left out where no patient has two reports that state different things.
        """
        row = dim_zero_cat(self.row)
        once = torch.from_numpy(np.unique(row.cpu().numpy(), return_index=True)[1]).to(row.device)
        states = (self.first, self.second, self.graph_key, self.patient)
        first, second, key, patient = (dim_zero_cat(state)[once] for state in states)
        one, other = self.sides
        right, asked = (count.sum() for count in within_patient_choices(first, second, key, patient))
        return {
            **self._direction(f"{one}_to_{other}", first, second, key),
            **self._direction(f"{other}_to_{one}", second, first, key),
            **({"within_patient_accuracy": right / asked} if asked else {}),
        }

    def _direction(self, name: str, query: Tensor, candidate: Tensor, key: Tensor) -> dict[str, Tensor]:
        pairs = torch.arange(len(query), device=query.device)
        chunks = torch.split(pairs, CHUNK_QUERIES)
        rank = torch.cat([hit_rank(query[at] @ candidate.T, _same_statement(key, pairs, at)) for at in chunks])
        recall = {f"{name}_recall@{k}": (rank <= k).float().mean() for k in self.k}
        return {**recall, f"{name}_median_rank": rank.float().quantile(0.5)}


def within_patient_choices(first: Tensor, second: Tensor, graph_key: Tensor, patient: Tensor) -> tuple[Tensor, Tensor]:
    """Ask of each image whether it is nearer to its own report than to another of the same patient.

    All pairs of reports of one patient that state different things are asked about, so that neither the patient nor
    words in common give the answer away; chance is one half. A tie counts against the model.

    Args:
        first: normalised embeddings [N, D].
        second: normalised embeddings [N, D].
        graph_key: int64 [N], negative for an empty graph, which is not asked about.
        patient: int64 [N].

    Returns:
        How many questions each image answered right, and how many it was asked; int64 [N] both.
    """
    right, asked = [], []
    stated = graph_key >= 0
    for at in torch.split(torch.arange(len(first), device=first.device), CHUNK_QUERIES):
        similarity = first[at] @ second.T
        # Read from the product, not computed apart: equal embeddings must compare equal to the last bit.
        own = similarity.gather(1, at[:, None])
        ask = (patient[at, None] == patient) & (graph_key[at, None] != graph_key) & stated[at, None] & stated
        right.append(((own > similarity) & ask).sum(dim=1))
        asked.append(ask.sum(dim=1))
    return torch.cat(right), torch.cat(asked)


def _same_statement(key: Tensor, pairs: Tensor, queries: Tensor) -> Tensor:
    """Bool [Q, N]: candidate is the query's own pair, or its graph is not empty and states the same."""
    stated = key[queries, None] >= 0
    return (pairs[queries, None] == pairs) | (stated & (key[queries, None] == key))
