"""Retrieval between images and report graphs: is the right report among the k nearest?

What is near, a scorer says: it maps Q queries and C candidates to similarities [Q, C]. Queries and candidates are what
the scorer reads, a tensor [N, ...] or a named tuple of tensors [N, ...] and None; cosines of unit vectors are one case.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from igcl_lightning.nn.ragged import concatenate
from igcl_lightning.nn.scoring import Scorer, cosine_similarity

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
    its own image hits it. A row counts once however often it comes. The whole pool is searched, whatever the batches.

    Args:
        sides: names of the two sides, for the names of the results.
        k: numbers of candidates looked at.
        score: maps Q first sides and C second sides to similarities [Q, C]; at most `CHUNK_QUERIES` of one side, and
            all of the other, at once.
        kwargs: for `torchmetrics.Metric`.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    graph_key: list[Tensor]
    patient: list[Tensor]
    row: list[Tensor]

    def __init__(
        self,
        sides: tuple[str, str] = ("image", "graph"),
        k: Sequence[int] = (1, 5, 10),
        score: Scorer = cosine_similarity,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not k or min(k) < 1:
            raise ValueError(f"k must name at least one number of candidates, each at least 1, not {list(k)}")
        self.sides = sides
        self.k = tuple(k)
        self.score = score
        self._blank: list[Any] = [None, None]
        """Of each side, the named tuple it comes as with nothing in it; None for a tensor alone."""
        for state in ("graph_key", "patient", "row"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    @property
    def names(self) -> set[str]:
        """Names of the results."""
        directions = ("_to_".join(sides) for sides in (self.sides, self.sides[::-1]))
        results = (*(f"recall@{k}" for k in self.k), "median_rank")
        return {f"{direction}_{result}" for direction in directions for result in results} | {"within_patient_accuracy"}

    def update(self, first: Any, second: Any, graph_key: Tensor, patient: Tensor, row: Tensor) -> None:
        """Add a batch of pairs.

        Args:
            first: what the scorer reads of B first sides; floating point tensors are kept in single precision.
            second: what it reads of their second sides.
            graph_key: int64 [B], equal where two graphs state the same, negative for an empty graph.
            patient: int64 [B].
            row: int64 [B], the id of the pair.
        """
        for place, side in enumerate((first, second)):
            if not isinstance(side, Tensor):
                self._blank[place] = side._replace(**dict.fromkeys(side._fields))
            for name, part in _parts(side).items():
                self._state(place, name).append(part.detach().float() if part.is_floating_point() else part.detach())
        self.graph_key.append(graph_key.detach())
        self.patient.append(patient.detach())
        self.row.append(row.detach())

    def _state(self, place: int, name: str) -> list[Tensor]:
        """Return the list that collects one tensor of a side; the first batch tells which there are."""
        state = f"side{place}_{name}"
        if state not in self._defaults:
            # Embeddings are all of one length; units differ in number between batches and processes.
            self.add_state(state, default=[], dist_reduce_fx=concatenate if name else "cat")
        states: list[Tensor] = getattr(self, state)
        return states

    def _collected(self, place: int, rows: Tensor) -> Any:
        """Return some rows of a side of all pairs seen, as the scorer reads it."""
        prefix = f"side{place}_"
        names = [state.removeprefix(prefix) for state in self._defaults if state.startswith(prefix)]
        parts = {name: _whole(getattr(self, prefix + name))[rows] for name in names}
        blank = self._blank[place]
        return parts[""] if blank is None else blank._replace(**parts)

    def _sync_dist(self, *args: Any, **kwargs: Any) -> None:
        """Exchange the states of all processes.

        torchmetrics exchanges a list as one tensor only where it concatenates it itself. Otherwise it takes first
        batches first, and units would no longer stand in the order of the rows they belong to.
        """
        for state, reduction in self._reductions.items():
            if reduction is concatenate and getattr(self, state):
                setattr(self, state, [concatenate(getattr(self, state))])
        super()._sync_dist(*args, **kwargs)

    def compute(self) -> dict[str, Tensor]:
        """Return scalars by name, such as `image_to_graph_recall@5` and `graph_to_image_median_rank`.

        `within_patient_accuracy` is left out where no patient has two reports that state different things. Nothing is
        returned where no pair was seen.
        """
        if not len(self.row):
            return {}
        row = dim_zero_cat(self.row)
        once = torch.from_numpy(np.unique(row.cpu().numpy(), return_index=True)[1]).to(row.device)
        first, second = self._collected(0, once), self._collected(1, once)
        key, patient = dim_zero_cat(self.graph_key)[once], dim_zero_cat(self.patient)[once]
        one, other = self.sides
        right, asked = (count.sum() for count in within_patient_choices(first, second, key, patient, self.score))
        return {
            **self._direction(f"{one}_to_{other}", first, second, key, self.score),
            **self._direction(f"{other}_to_{one}", second, first, key, _reversed(self.score)),
            **({"within_patient_accuracy": right / asked} if asked else {}),
        }

    def _direction(self, name: str, query: Any, candidate: Any, key: Tensor, score: Scorer) -> dict[str, Tensor]:
        pairs = torch.arange(len(key), device=key.device)
        chunks = torch.split(pairs, CHUNK_QUERIES)
        ranks = [hit_rank(score(_taken(query, at), candidate), _same_statement(key, pairs, at)) for at in chunks]
        rank = torch.cat(ranks)
        recall = {f"{name}_recall@{k}": (rank <= k).float().mean() for k in self.k}
        return {**recall, f"{name}_median_rank": rank.float().quantile(0.5)}


def within_patient_choices(
    first: Any, second: Any, graph_key: Tensor, patient: Tensor, score: Scorer = cosine_similarity
) -> tuple[Tensor, Tensor]:
    """Ask of each image whether it is nearer to its own report than to another of the same patient.

    All pairs of reports of one patient that state different things are asked about, so that neither the patient nor
    words in common give the answer away; chance is one half. A tie counts against the model.

    Args:
        first: what the scorer reads of N first sides.
        second: what it reads of their second sides.
        graph_key: int64 [N], negative for an empty graph, which is not asked about.
        patient: int64 [N].
        score: maps Q first sides and C second sides to similarities [Q, C].

    Returns:
        How many questions each image answered right, and how many it was asked; int64 [N] both.
    """
    right, asked = [], []
    stated = graph_key >= 0
    for at in torch.split(torch.arange(len(graph_key), device=graph_key.device), CHUNK_QUERIES):
        similarity = score(_taken(first, at), second)
        # Read from the scores, not computed apart: equal embeddings must compare equal to the last bit.
        own = similarity.gather(1, at[:, None])
        ask = (patient[at, None] == patient) & (graph_key[at, None] != graph_key) & stated[at, None] & stated
        right.append(((own > similarity) & ask).sum(dim=1))
        asked.append(ask.sum(dim=1))
    return torch.cat(right), torch.cat(asked)


def _reversed(score: Scorer) -> Scorer:
    def reverse(query: Any, candidate: Any) -> Tensor:
        return score(candidate, query).T

    return reverse


def _parts(side: Any) -> dict[str, Tensor]:
    """Return the tensors of what a scorer reads, by name; a tensor alone has none."""
    if isinstance(side, Tensor):
        return {"": side}
    return {name: part for name, part in side._asdict().items() if part is not None}


def _taken(side: Any, rows: Tensor) -> Any:
    """Return some rows of what a scorer reads."""
    if isinstance(side, Tensor):
        return side[rows]
    return side._replace(**{name: part[rows] for name, part in _parts(side).items()})


def _whole(state: Any) -> Tensor:
    """Return a state as one tensor; after the exchange between processes it is one already."""
    return state if isinstance(state, Tensor) else concatenate(state)


def _same_statement(key: Tensor, pairs: Tensor, queries: Tensor) -> Tensor:
    """Bool [Q, N]: candidate is the query's own pair, or its graph is not empty and states the same."""
    stated = key[queries, None] >= 0
    return (pairs[queries, None] == pairs) | (stated & (key[queries, None] == key))
