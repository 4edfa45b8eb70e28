"""Retrieval between the two sides of pairs, compared by a scorer (see `nn.scoring`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from igcl_lightning.metrics.ranking import backwards, chunks, hit_rank, matches, numbered
from igcl_lightning.metrics.rows import RowMetric, first_of_each
from igcl_lightning.nn.scoring import Scorer, concatenate, cosine_similarity


class PairRetrieval(RowMetric):
    """Retrieval in both directions over all pairs: recall at k, median rank, and choice within a patient.

    A report is a match if it is the image's own or states the same (equal graph key). An empty graph matches only its
    own image. A repeated row counts once. All pairs are searched, not only the batch.

    Args:
        sides: names of the two sides, for the names of the results.
        k: the values of k for recall at k.
        score: the scorer, called with some of one side (`ranking.chunks`) and all of the other.
        kwargs: arguments of `torchmetrics.Metric`.
    """

    higher_is_better = True
    collected = ("graph_key", "patient")
    graph_key: list[Tensor]
    patient: list[Tensor]

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
        """Each side's named tuple with all fields None; None for a side that is one tensor."""

    @property
    def names(self) -> set[str]:
        """Names of the results."""
        directions = ("_to_".join(sides) for sides in (self.sides, self.sides[::-1]))
        results = (*(f"recall@{k}" for k in self.k), "median_rank")
        return {f"{direction}_{result}" for direction in directions for result in results} | {"within_patient_accuracy"}

    def update(self, first: Any, second: Any, graph_key: Tensor, patient: Tensor, row: Tensor) -> None:
        """Add a batch of B pairs.

        Args:
            first: first sides as the scorer reads them; floating point tensors are kept in single precision.
            second: second sides.
            graph_key: int64 [B]; equal for graphs that state the same, negative for an empty graph.
            patient: id of the patient, int64 [B].
            row: id of the pair, int64 [B].
        """
        for index, side in enumerate((first, second)):
            if not isinstance(side, Tensor):
                self._blank[index] = side._replace(**dict.fromkeys(side._fields))
            for name, part in _parts(side).items():
                self._state(index, name).append(part.detach().float() if part.is_floating_point() else part.detach())
        self.graph_key.append(graph_key.detach())
        self.patient.append(patient.detach())
        self.row.append(row.detach())

    def _state(self, index: int, name: str) -> list[Tensor]:
        """Return the list that collects one tensor of a side; created with the first batch."""
        state = f"side{index}_{name}"
        if state not in self._defaults:
            # Embeddings have one length; the number of units differs between batches and processes.
            self.add_state(state, default=[], dist_reduce_fx=concatenate if name else "cat")
        states: list[Tensor] = getattr(self, state)
        return states

    def _collected(self, index: int, rows: Tensor) -> Any:
        """Return some rows of one side of all pairs, as the scorer reads it."""
        prefix = f"side{index}_"
        names = [state.removeprefix(prefix) for state in self._defaults if state.startswith(prefix)]
        parts = {name: _whole(getattr(self, prefix + name))[rows] for name in names}
        blank = self._blank[index]
        return parts[""] if blank is None else blank._replace(**parts)

    def _sync_dist(self, *args: Any, **kwargs: Any) -> None:
        """Exchange the states of all processes."""
        # torchmetrics exchanges a list as one tensor only if it concatenates the list itself. Otherwise it collects the
        # first batch of every process first, and units lose the order of their rows.
        for state, reduction in self._reductions.items():
            if reduction is concatenate and getattr(self, state):
                setattr(self, state, [concatenate(getattr(self, state))])
        super()._sync_dist(*args, **kwargs)

    def compute(self) -> dict[str, Tensor]:
        """Return scalars by name, such as `image_to_graph_recall@5` and `graph_to_image_median_rank`.

        `within_patient_accuracy` is missing if no patient has two reports that state different things. The result is
        empty without pairs.
        """
        if not len(self.row):
            return {}
        key, patient = self.each_row_once("graph_key"), self.each_row_once("patient")
        once = first_of_each(dim_zero_cat(self.row)).to(key.device)
        first, second = self._collected(0, once), self._collected(1, once)
        one, other = self.sides
        right, asked = (count.sum() for count in within_patient_choices(first, second, key, patient, self.score))
        return {
            **self._direction(f"{one}_to_{other}", first, second, key, self.score),
            **self._direction(f"{other}_to_{one}", second, first, key, backwards(self.score)),
            **({"within_patient_accuracy": right / asked} if asked else {}),
        }

    def _direction(self, name: str, query: Any, candidate: Any, key: Tensor, score: Scorer) -> dict[str, Tensor]:
        number = numbered(key)
        parts = [
            hit_rank(score(take_rows(query, at), candidate), matches(number, at)) for at in chunks(len(key), key.device)
        ]
        rank = torch.cat(parts)
        recall = {f"{name}_recall@{k}": (rank <= k).float().mean() for k in self.k}
        return {**recall, f"{name}_median_rank": rank.float().quantile(0.5)}


def within_patient_choices(
    first: Any, second: Any, graph_key: Tensor, patient: Tensor, score: Scorer = cosine_similarity
) -> tuple[Tensor, Tensor]:
    """Count for each image how often it is closer to its own report than to another report of the same patient.

    All pairs of reports of one patient that state different things are compared, so that neither the patient nor common
    words reveal the answer; chance is one half. A tie counts against the model.

    The sides are N each, as the scorer reads them; `graph_key` and `patient` are int64 [N], the key is negative for an
    empty graph, which is not compared.

    Returns:
        Number of correct choices and number of choices of each image, both int64 [N].
    """
    right, asked = [], []
    stated = graph_key >= 0
    for at in chunks(len(graph_key), graph_key.device):
        similarity = score(take_rows(first, at), second)
        # Taken from the table, not computed again: equal embeddings must compare equal to the last bit.
        own = similarity.gather(1, at[:, None])
        ask = (patient[at, None] == patient) & (graph_key[at, None] != graph_key) & stated[at, None] & stated
        right.append(((own > similarity) & ask).sum(dim=1))
        asked.append(ask.sum(dim=1))
    return torch.cat(right), torch.cat(asked)


def _parts(side: Any) -> dict[str, Tensor]:
    """Return the tensors of a side by name; a side that is one tensor has the name ""."""
    if isinstance(side, Tensor):
        return {"": side}
    return {name: part for name, part in side._asdict().items() if part is not None}


def take_rows(side: Any, rows: Tensor) -> Any:
    """Return some rows of a side, as the scorer reads it (see `nn.scoring`)."""
    if isinstance(side, Tensor):
        return side[rows]
    return side._replace(**{name: part[rows] for name, part in _parts(side).items()})


def _whole(state: Any) -> Tensor:
    """Return a state as one tensor; after the exchange between processes it already is one."""
    return state if isinstance(state, Tensor) else concatenate(state)
