"""Twins of the graphs and reports of a batch, drawn by seed, epoch and row alone (see `graphs.counterfactuals`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from igcl_lightning.data.random_numbers import random_numbers
from igcl_lightning.data.store import graph_of
from igcl_lightning.graphs.batching import Ids, lengths, part_and_place
from igcl_lightning.graphs.counterfactuals import KINDS, Edit, edits
from igcl_lightning.graphs.featurizer import subword_ids
from igcl_lightning.graphs.schema import LABEL_ID, NODE_TYPE, ReportGraph
from igcl_lightning.graphs.sides import exchanged_words
from igcl_lightning.graphs.tokens import ReportTokenizer

FIELDS = ("text", "tokens", "label", "hedge", "start", "end", "head", "tail", "type")
"""Fields of a stored graph that a twin is made from."""

KNOWN_TWINS = 262_144
"""Twins that a process keeps, about 150 MB, before it starts anew: those of one kind for as many reports."""


class TwinEdit(NamedTuple):
    """An edit of one row.

    Attributes:
        edit: the edit.
        nodes: entities that it changes: index, words in lower case, type of the node.
    """

    edit: Edit
    nodes: tuple[tuple[int, str, int], ...]


class TwinDraw:
    """Draws a twin for each row: one of the kinds that give one, then one of its edits.

    Args:
        kinds: kinds to draw from.
        seed: seed of the draws.
    """

    def __init__(self, kinds: Sequence[str], seed: int = 0) -> None:
        self.kinds = tuple(kinds)
        self.seed = seed
        self._known: dict[tuple[int, str], tuple[TwinEdit, ...]] = {}
        self._kept = 0

    def __call__(self, columns: Mapping[str, pa.Array], row: Ids, epoch: Ids) -> tuple[list[TwinEdit | None], Ids]:
        """Return the twins of B rows, None where there is none, and the index of their kinds in `KINDS`, int64 [B].

        Args:
            columns: the `FIELDS` of their graphs.
            row: hashes of their ids, [B].
            epoch: epochs that they are drawn for, [B].
        """
        pairs = enumerate(zip(row.tolist(), random_numbers(self.seed, epoch, row).tolist(), strict=True))
        drawn = [self._drawn(columns, place, row_id, number) for place, (row_id, number) in pairs]
        return [twin for _, twin in drawn], np.array([KINDS.index(kind) for kind, _ in drawn], np.int64)

    def _drawn(self, columns: Mapping[str, pa.Array], place: int, row: int, number: int) -> tuple[str, TwinEdit | None]:
        """Return kind and twin of one row; no twin if no kind gives one."""
        kinds = list(self.kinds)
        while kinds:
            number, at = divmod(number, len(kinds))
            kind = kinds.pop(at)
            if found := self._twins(columns, place, row, kind):
                return kind, found[number % len(found)]
        return self.kinds[0], None

    def _twins(self, columns: Mapping[str, pa.Array], place: int, row: int, kind: str) -> tuple[TwinEdit, ...]:
        """Return all twins of a kind of one row, which later epochs find known."""
        key = row, kind
        if key not in self._known:
            graph = _graph(columns, place)
            found = tuple(TwinEdit(edit, _changed_nodes(graph, edit)) for edit in edits(graph, kind))
            if self._kept > KNOWN_TWINS:
                self._known.clear()
                self._kept = 0
            self._known[key] = found
            self._kept += max(1, len(found))
        return self._known[key]


def same_words(tokens: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Return which of N graphs name the same words, some of them sides, when left and right are exchanged, bool [N].

    Args:
        tokens: words of the entities of each graph.
    """
    joined = tokens.combine_chunks()
    graph, _ = part_and_place(lengths(joined))
    names = joined.flatten().dictionary_encode()
    known: dict[str, int] = {}
    number = [known.setdefault(name.lower(), len(known)) for name in names.dictionary.to_pylist()]
    other = np.array([known.setdefault(each, len(known)) for each in map(exchanged_words, tuple(known))], np.int64)
    word = np.array(number, np.int64)[names.indices.to_numpy()]
    sided = other[word] != word
    graph, word = graph[sided], word[sided]
    named = np.isin(graph * len(known) + other[word], graph * len(known) + word)
    lacking = np.bincount(graph[~named], minlength=len(joined))
    same: NDArray[np.bool_] = (np.bincount(graph, minlength=len(joined)) > 0) & (lacking == 0)
    return same


def _graph(columns: Mapping[str, pa.Array], place: int) -> ReportGraph:
    """Return the graph of one row."""
    return graph_of({name: columns[name][place].as_py() for name in FIELDS})


def _changed_nodes(graph: ReportGraph, edit: Edit) -> tuple[tuple[int, str, int], ...]:
    pairs = zip(graph.entities, edit.graph(graph).entities, strict=True)
    return tuple(
        (index, new.name, NODE_TYPE[LABEL_ID[new.label]]) for index, (old, new) in enumerate(pairs) if old != new
    )


def edited_graphs(graph: Mapping[str, Ids], twins: Sequence[TwinEdit | None]) -> dict[str, Ids]:
    """Return the arrays of B graphs (see `graph_arrays`) as those of their twins; all but the nodes are shared."""
    first = graph["ptr"].tolist()
    nodes = [(first[row] + index, *node) for row, twin in enumerate(twins) if twin for index, *node in twin.nodes]
    x = _replaced(graph["x"], [node for node, _, _ in nodes], [name for _, name, _ in nodes])
    node_type = graph["node_type"].copy()
    if nodes:
        node_type[[node for node, _, _ in nodes]] = [kind for _, _, kind in nodes]
    return {**graph, "x": x, "node_type": node_type}


def edited_reports(
    report: Mapping[str, Ids], texts: pa.StringArray, tokenizer: ReportTokenizer, twins: Sequence[TwinEdit | None]
) -> dict[str, Ids]:
    """Return the arrays of B reports (see `ReportTokenizer.arrays`) with these texts as those of their twins."""
    if tokenizer.wordpieces is not None:
        pairs = zip(texts.to_pylist(), twins, strict=True)
        return tokenizer.arrays(pa.array([twin.edit.text(text) if twin else text for text, twin in pairs], pa.string()))
    # A token is a word, so that only the edited ones are looked up.
    ptr = report["ptr"].tolist()
    words = [
        (ptr[row] + index, word.lower())
        for row, twin in enumerate(twins)
        if twin
        for index, word in twin.edit.words
        if ptr[row] + index < ptr[row + 1]
    ]
    return {**report, "x": _replaced(report["x"], [token for token, _ in words], [word for _, word in words])}


def _replaced(x: Ids, rows: Sequence[int], names: Sequence[str]) -> Ids:
    """Return subword buckets [N, S] with those of some rows replaced by those of these names."""
    x = x.copy()
    if rows:
        x[rows] = np.stack([subword_ids(name, x.shape[1]) for name in names])
    return x
