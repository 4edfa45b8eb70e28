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
    """Recall at k and median rank in both directions over all pairs seen.

    A report hits when it is the image's own or states the same (equal graph key). An empty graph states nothing: only
    its own image hits it. A row counts once however often it comes.

    Args:
        k: numbers of candidates looked at.
        kwargs: for `torchmetrics.Metric`.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    image: list[Tensor]
    graph: list[Tensor]
    graph_key: list[Tensor]
    row: list[Tensor]

    def __init__(self, k: Sequence[int] = (1, 5, 10), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not k or min(k) < 1:
            raise ValueError(f"k must name at least one number of candidates, each at least 1, not {list(k)}")
        self.k = tuple(k)
        for state in ("image", "graph", "graph_key", "row"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    def update(self, image: Tensor, graph: Tensor, graph_key: Tensor, row: Tensor) -> None:
        """Add a batch of pairs.

        Args:
            image: normalised embeddings [B, D].
            graph: normalised embeddings [B, D].
            graph_key: int64 [B], equal where two graphs state the same, negative for an empty graph.
            row: int64 [B], the id of the pair.
        """
        self.image.append(image.detach().float())
        self.graph.append(graph.detach().float())
        self.graph_key.append(graph_key.detach())
        self.row.append(row.detach())

    def compute(self) -> dict[str, Tensor]:
        """Return scalars by name, such as `image_to_graph_recall@5` and `graph_to_image_median_rank`."""
        row = dim_zero_cat(self.row)
        first = torch.from_numpy(np.unique(row.cpu().numpy(), return_index=True)[1]).to(row.device)
        image, graph, key = (dim_zero_cat(state)[first] for state in (self.image, self.graph, self.graph_key))
        return {
            **self._direction("image_to_graph", image, graph, key),
            **self._direction("graph_to_image", graph, image, key),
        }

    def _direction(self, name: str, query: Tensor, candidate: Tensor, key: Tensor) -> dict[str, Tensor]:
        pairs = torch.arange(len(query), device=query.device)
        chunks = torch.split(pairs, CHUNK_QUERIES)
        rank = torch.cat([hit_rank(query[at] @ candidate.T, _same_statement(key, pairs, at)) for at in chunks])
        recall = {f"{name}_recall@{k}": (rank <= k).float().mean() for k in self.k}
        return {**recall, f"{name}_median_rank": rank.float().quantile(0.5)}


def _same_statement(key: Tensor, pairs: Tensor, queries: Tensor) -> Tensor:
    """Bool [Q, N]: candidate is the query's own pair, or its graph is not empty and states the same."""
    stated = key[queries, None] >= 0
    return (pairs[queries, None] == pairs) | (stated & (key[queries, None] == key))
