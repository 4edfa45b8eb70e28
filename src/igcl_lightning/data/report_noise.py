"""Errors in report graphs, in doses: what do dropped entities, wrong assertions and exchanged reports cost?

An error is drawn by seed, epoch and row alone, and a larger dose has the errors of a smaller one. Reports are exchanged
in `data.exchanged_reports`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from igcl_lightning.data.random_numbers import uniform
from igcl_lightning.data.store import NODE_TEXT, graph_of
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.batching import Ids, lengths, numbers, part_and_place, starts
from igcl_lightning.graphs.identity import graph_identity
from igcl_lightning.graphs.schema import HEDGE_ID, HEDGES, LABEL_ID

SHARES = ("entities", "assertions", "relations", "reports")
"""Kinds of errors; their index is a key of their random numbers."""

ENTITY_FIELDS = ("tokens", "label", "hedge", "start", "end")
RELATION_FIELDS = ("head", "tail", "type")

_OPPOSITES = {"OBS-DP": "OBS-DA", "OBS-DA": "OBS-DP"}
OPPOSITE = np.array([LABEL_ID[_OPPOSITES.get(label, label)] for label in LABEL_ID], np.uint8)
"""Label of the opposite assertion: present or absent. Doubts stay doubts, and anatomy and measurements have none."""

_OTHER_HEDGES = {"unlikely": "probable", "probable": "unlikely"}
OPPOSITE_HEDGE = np.array([HEDGE_ID[_OTHER_HEDGES.get(hedge, hedge)] for hedge in HEDGES], np.uint8)
"""Opposite of the strength of a doubt: what is probable becomes unlikely; "possible" and "" stay."""


@dataclass(frozen=True)
class NoiseOptions:
    """Errors in the reports of the training split; each is a share from 0 to 1.

    Args:
        entities: entities that are dropped, with their relations.
        assertions: observations whose assertion is turned into its opposite.
        relations: relations that are dropped.
        reports: patients whose reports are exchanged for those of other patients.
        every_epoch: whether errors are drawn anew in each epoch, instead of once.
    """

    entities: float = 0.0
    assertions: float = 0.0
    relations: float = 0.0
    reports: float = 0.0
    every_epoch: bool = False

    @property
    def wanted(self) -> list[str]:
        """Kinds of errors whose share is not 0."""
        return [name for name in SHARES if getattr(self, name)]

    @property
    def in_graphs(self) -> list[str]:
        """Kinds of errors within a graph whose share is not 0."""
        return [name for name in self.wanted if name != "reports"]


def check_noise(noise: NoiseOptions) -> None:
    """Raise `IgclError` for a share out of range, or if nothing would be drawn in every epoch."""
    for name in SHARES:
        if not 0 <= (share := getattr(noise, name)) <= 1:
            raise IgclError(f"data.noise.{name} is {share}, not from 0 to 1")
    if noise.every_epoch and not noise.wanted:
        raise IgclError(f"data.noise.every_epoch draws nothing: {', '.join(SHARES)} of data.noise are all 0")


def refuse_noise(noise: NoiseOptions, reads: Collection[str], twins: bool, unread: Mapping[str, str]) -> None:
    """Raise `IgclError` if noise does nothing for a model, or nothing that is right.

    Args:
        noise: the noise.
        reads: inputs that the model reads, "graph" and "report" among others.
        twins: whether the model asks for counterfactuals.
        unread: what it reads of no graph, "assertions" or "relations", and the options that say so.
    """
    for name in noise.in_graphs if "graph" not in reads else ():
        raise IgclError(
            f"data.noise.{name}: this model reads no graphs; leave it out (data.noise.reports changes texts)"
        )
    for name in (name for name in noise.in_graphs if name in unread):
        raise IgclError(f"data.noise.{name}: with {unread[name]}, training reads no {name}; leave it out")
    if noise.reports and not {"graph", "report"} & set(reads):
        raise IgclError("data.noise.reports: this model reads no reports; leave it out")
    if noise.wanted and twins:
        raise IgclError(
            f"data.noise.{noise.wanted[0]}: counterfactuals are edits of reports without errors; leave it out, or "
            "model.counterfactual.kinds"
        )


class GraphNoise:
    """Drops entities and relations of graphs and turns assertions, by seed, epoch and row.

    Args:
        options: the shares.
        seed: seed of the draws.
    """

    def __init__(self, options: NoiseOptions, seed: int = 0) -> None:
        self.options = options
        self.seed = seed

    def __call__(self, graphs: Mapping[str, pa.Array], row: Ids, epoch: Ids) -> dict[str, pa.Array]:
        """Return the graphs of B rows with errors; identity and node features are those of the graphs with errors.

        Args:
            graphs: the fields of their graphs as a store keeps them, with `node_text` if it is read.
            row: hashes of their ids, [B].
            epoch: epochs that errors are drawn for, [B].
        """
        epoch = epoch * self.options.every_epoch
        entity, place = part_and_place(lengths(graphs["label"]))
        kept = ~self._drawn("entities", epoch, row, entity, place)
        turned = self._drawn("assertions", epoch, row, entity, place)
        noisy = dict(graphs) | self._relations(graphs, kept, row, epoch) | _turned(graphs, turned)
        noisy |= {name: _filtered(noisy[name], kept) for name in ENTITY_FIELDS}
        if NODE_TEXT in graphs:
            channels = len(graphs[NODE_TEXT].flatten()) // max(1, len(kept))
            noisy[NODE_TEXT] = _filtered(graphs[NODE_TEXT], np.repeat(kept, channels))
        return noisy | _identities(noisy)

    def _relations(
        self, graphs: Mapping[str, pa.Array], kept: NDArray[np.bool_], row: Ids, epoch: Ids
    ) -> dict[str, pa.Array]:
        """Return the relations between entities that are kept [N], but for those that are dropped themselves."""
        graph, place = part_and_place(lengths(graphs["head"]))
        first = starts(lengths(graphs["label"]))[graph]
        ends = {name: numbers(graphs[name]) + first for name in ("head", "tail")}
        stay = kept[ends["head"]] & kept[ends["tail"]] & ~self._drawn("relations", epoch, row, graph, place)
        before = starts(kept.astype(np.int64))  # entities that are kept before each entity of the batch
        moved = {name: _like(graphs[name], before[end] - before[first]) for name, end in ends.items()}
        return {name: _filtered(column, stay) for name, column in ({"type": graphs["type"]} | moved).items()}

    def _drawn(self, kind: str, epoch: Ids, row: Ids, part: Ids, place: Ids) -> NDArray[np.bool_]:
        """Return which of N entities or relations get an error, by their graph and their place in it, both [N]."""
        share: float = getattr(self.options, kind)
        drawn: NDArray[np.bool_] = uniform(self.seed, SHARES.index(kind), epoch[part], row[part], place) < share
        return drawn


def _turned(graphs: Mapping[str, pa.Array], turned: NDArray[np.bool_]) -> dict[str, pa.Array]:
    """Return labels and hedges of N entities, some of them turned into their opposite."""
    label, hedge = numbers(graphs["label"]), numbers(graphs["hedge"])
    doubted = turned & (label == LABEL_ID["OBS-U"])
    return {
        "label": _like(graphs["label"], np.where(turned, OPPOSITE[label], label)),
        "hedge": _like(graphs["hedge"], np.where(doubted, OPPOSITE_HEDGE[hedge], hedge)),
    }


def _like(lists: pa.ListArray, values: Ids) -> pa.ListArray:
    """Return lists of the same lengths and type with other values."""
    return _lists(pa.array(values, lists.type.value_type), lengths(lists))


def _filtered(lists: pa.ListArray, kept: NDArray[np.bool_]) -> pa.ListArray:
    """Return lists with some of their elements; `kept` is that of all lists end to end."""
    count = lengths(lists)
    part, _ = part_and_place(count)
    return _lists(lists.flatten().filter(pa.array(kept)), np.bincount(part[kept], minlength=len(count)))


def _lists(values: pa.Array, count: Ids) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(starts(count), pa.int32()), values)


def _identities(graphs: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
    """Return key and facts of graphs as a store keeps them."""
    fields = ("text", *ENTITY_FIELDS, *RELATION_FIELDS)
    rows = zip(*(graphs[name].to_pylist() for name in fields), strict=True)
    keys, facts = zip(*(graph_identity(graph_of(dict(zip(fields, row, strict=True)))) for row in rows), strict=True)
    return {
        "key": pa.array([-1 if key is None else key for key in keys], pa.int64()),
        "facts": pa.array(facts, pa.list_(pa.int64())),
    }
