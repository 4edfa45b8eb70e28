"""The prepared store: a `datasets.Dataset` on disk for each split, and a manifest of how they were made.

    STORE/manifest.json
    STORE/{train,valid,test}/

One row is one image with the report and graph of its study. Tables are memory-mapped; use `datasets` to filter,
concatenate and push them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import accumulate, chain, combinations
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute

from igcl_lightning.data.preparing.options import Columns
from igcl_lightning.data.store_path import MANIFEST, is_address, read_manifest
from igcl_lightning.data.study import CLASS, REPORT_SECTIONS, SPLITS, VIEWS, wanted_views
from igcl_lightning.errors import IgclError, suggestion
from igcl_lightning.graphs.identity import graph_identity, joined_identity
from igcl_lightning.graphs.schema import (
    HEDGE_ID,
    HEDGES,
    LABEL_ID,
    RELATION_ID,
    RELATION_TYPES,
    Entity,
    Relation,
    ReportGraph,
    stable_hash,
)

FORMAT_VERSION = 3

GRAPH_FEATURES = {
    "text": datasets.Value("string"),
    "tokens": datasets.List(datasets.Value("string")),
    "label": datasets.List(datasets.Value("uint8")),
    "hedge": datasets.List(datasets.Value("uint8")),
    "start": datasets.List(datasets.Value("int32")),
    "end": datasets.List(datasets.Value("int32")),
    "head": datasets.List(datasets.Value("int32")),
    "tail": datasets.List(datasets.Value("int32")),
    "type": datasets.List(datasets.Value("uint8")),
    "key": datasets.Value("int64"),
    "facts": datasets.List(datasets.Value("int64")),
}
"""A graph as flat lists, which become tensors without Python loops over nodes or edges.

`label`, `hedge` and `type` are numbered as in `graphs.schema`; `key` is -1 for a graph that states nothing; `facts` are
stable hashes.
"""

FIXED_COLUMNS = (
    *("row", "study", "patient", "view", "source_view", "age", "sex", "height", "width", "flags", "image"),
    *("report", "graph", "labels", "boxes", "masks", "node_text"),
)

NODE_TEXT = "node_text"
"""Optional column with frozen language-model features of a graph's nodes, float16 [N * D]."""

BOX_FEATURES = {
    "label": datasets.List(datasets.Value("string")),
    **{edge: datasets.List(datasets.Value("float32")) for edge in ("x_min", "y_min", "x_max", "y_max")},
}
"""Boxes of an image, in stored pixels from the outer edge of the first."""

MASK_FEATURES = {"label": datasets.List(datasets.Value("string")), "png": datasets.List(datasets.Value("binary"))}
"""Masks of an image, each a 1-bit PNG of the stored size."""


def store_features(columns: Columns, node_text: bool = False) -> datasets.Features:
    """Return the columns of a store; arrays are flat, their shape is in the manifest."""
    texts = ("row", "study", "patient", "view", "source_view")
    return datasets.Features(
        {
            **{name: datasets.Value("string") for name in texts},
            "age": datasets.Value("float32"),
            "sex": datasets.Value("string"),
            "height": datasets.Value("int32"),
            "width": datasets.Value("int32"),
            "flags": datasets.List(datasets.Value("string")),
            "image": datasets.Image(),
            "report": {section: datasets.Value("string") for section in REPORT_SECTIONS},
            "graph": GRAPH_FEATURES,
            # Arrow cannot store a struct without fields.
            **({"labels": {label: datasets.Value("float32") for label in columns.labels}} if columns.labels else {}),
            **({"boxes": BOX_FEATURES} if columns.boxes else {}),
            **({"masks": MASK_FEATURES} if columns.masks else {}),
            **{column: datasets.Value("string") for column in columns.extra},
            **{column: datasets.List(datasets.Value("float32")) for column in columns.arrays},
            **({NODE_TEXT: datasets.List(datasets.Value("float16"))} if node_text else {}),
        }
    )


def graph_columns(*sentences: ReportGraph) -> dict[str, Any]:
    """Return the graph of a report as stored: a graph, or those of its sentences, which are joined (`join_graphs`)."""
    sentences = sentences or (ReportGraph(""),)
    several = len(sentences) > 1
    parts = map(_cached_lists if several else _lists, sentences)
    texts, tokens, labels, hedges, types, starts, ends, heads, tails, lengths = zip(*parts, strict=True)
    words = [*accumulate(lengths[:-1], initial=0)]
    nodes = [*accumulate(map(len, tokens[:-1]), initial=0)]
    key, facts = joined_identity(sentences) if several else graph_identity(sentences[0])
    return {
        "text": " ".join(texts),
        "tokens": [*chain(*tokens)],
        "label": [*chain(*labels)],
        "hedge": [*chain(*hedges)],
        "start": _moved(starts, words),
        "end": _moved(ends, words),
        "head": _moved(heads, nodes),
        "tail": _moved(tails, nodes),
        "type": [*chain(*types)],
        "key": -1 if key is None else key,
        "facts": facts,
    }


def _lists(graph: ReportGraph) -> tuple[Any, ...]:
    """Return the text of a graph, the lists of its entities and relations, and its number of words."""
    entities, relations = graph.entities, graph.relations
    return (
        graph.text,
        [entity.tokens for entity in entities],
        [LABEL_ID[entity.label] for entity in entities],
        [HEDGE_ID[entity.hedge] for entity in entities],
        [RELATION_ID[relation.type] for relation in relations],
        [entity.start for entity in entities],
        [entity.end for entity in entities],
        [relation.head for relation in relations],
        [relation.tail for relation in relations],
        graph.text.count(" ") + 1,
    )


_cached_lists = lru_cache(16_384)(_lists)  # reports repeat their sentences


def _moved(places: Iterable[list[int]], by: Iterable[int]) -> list[int]:
    """Return the numbers of all lists, those of each list moved by one number."""
    return [place + first for own, first in zip(places, by, strict=True) for place in own]


def graph_of(columns: dict[str, Any]) -> ReportGraph:
    """Return the graph of a row's flat lists; a `ValueError` or `IndexError` says that they do not fit."""
    labels = list(LABEL_ID)
    spans = zip(*(columns[name] for name in ("tokens", "label", "start", "end", "hedge")), strict=True)
    edges = zip(*(columns[name] for name in ("head", "type", "tail")), strict=True)
    entities = [Entity(words, labels[label], start, end, HEDGES[hedge]) for words, label, start, end, hedge in spans]
    relations = [Relation(head, RELATION_TYPES[kind], tail) for head, kind, tail in edges]
    return ReportGraph(columns["text"], tuple(entities), tuple(relations))


class StoreDescription:
    """A store as described by its manifest, and look-up of rows by the hash of their id.

    Args:
        path: folder or URL of the store.
        manifest: content of its manifest.
        views: projections (`VIEWS`) of the images to keep (default: all).
    """

    splits: tuple[str, ...]

    def __init__(self, path: str | Path, manifest: bytes, views: Sequence[str] | None = None) -> None:
        self.path = path
        self.views = None if views is None else wanted_views(views)
        for view in views or ():
            if view not in VIEWS:
                raise IgclError(f"data.views: {view!r} is not one of {', '.join(VIEWS)}{suggestion(view, VIEWS)}")
        self.manifest = _checked_manifest(path, manifest)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels, in the order of `targets`."""
        return tuple(self.manifest["labels"])

    @property
    def fingerprint(self) -> str:
        """Hash of the rows' content, and the views that are kept."""
        kept = "" if self.views is None else f" views {sorted(self.views)}"
        return f"{self.manifest['fingerprint']}{kept}"

    @property
    def array_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each array column."""
        return {name: tuple(shape) for name, shape in self.manifest.get("arrays", {}).items()}

    @property
    def node_text_channels(self) -> int:
        """Width of the language-model features of graph nodes; 0 if the store has none."""
        return int((self.manifest.get("node_text") or {}).get("channels", 0))

    def num_rows(self, split: str) -> int:
        """Return the number of rows of a split."""
        return int(self.manifest["rows"][split])

    def record(self, row: int, *columns: str) -> tuple[str, Mapping[str, Any]]:
        """Return the split and some columns of a hashed row id."""
        raise NotImplementedError

    def split_of(self, row: int) -> str:
        """Return the split of a hashed row id."""
        return self.record(row)[0]

    def ids(self, row: int) -> tuple[str, str, str]:
        """Return row, study and patient id of a hashed row id."""
        _, record = self.record(row, "row", "study", "patient")
        return record["row"], record["study"], record["patient"]

    def report_text(self, row: int) -> str:
        """Return the parsed sections of a hashed row id's report, or all sections if these are empty, one per line."""
        report = self.record(row, "report")[1]["report"]
        parsed = [report[section] for section in self.manifest["sections"] if report.get(section)]
        return "\n".join(parsed or [text for text in report.values() if text])

    def report_graph(self, row: int) -> ReportGraph:
        """Return the graph of a hashed row id's report."""
        return graph_of(self.record(row, "graph")[1]["graph"])

    def row_labels(self, row: int) -> dict[str, float | None]:
        """Return the labels of a hashed row id."""
        labels: dict[str, float | None] = self.record(row, "labels")[1]["labels"] if self.labels else {}
        return labels


class Store(StoreDescription):
    """A store in a local folder.

    Args:
        path: folder that `igcl prepare` wrote.
        views: projections (`VIEWS`) of the images to keep (default: all).

    Raises:
        IgclError: there is no readable store, it has another format version, a patient is in two splits, or a view is
            unknown.
    """

    path: Path

    def __init__(self, path: str | Path, views: Sequence[str] | None = None) -> None:
        if is_address(path):
            raise IgclError(f"{path}: rows of a remote store can only be streamed; copy it to a local folder for this")
        path = Path(path)
        super().__init__(path, read_manifest(path), views)
        self.splits = tuple(split for split in SPLITS if (path / split).is_dir())
        self._files: dict[str, datasets.Dataset] = {}
        self._row_indices: dict[str, np.ndarray] = {}
        self._assert_patients_apart()

    def table(self, split: str) -> datasets.Dataset:
        """Return the kept rows of a split (see `row_indices`)."""
        files = self.files(split)
        return files if self.views is None else files.select(self.row_indices(split))

    def files(self, split: str) -> datasets.Dataset:
        """Return all rows of a split, memory-mapped; raises `IgclError` if it does not exist or is damaged."""
        if split not in self.splits:
            raise IgclError(f"{self.path}: no split {split!r}, only {', '.join(self.splits)}")
        if split not in self._files:
            try:
                self._files[split] = datasets.load_from_disk(str(self.path / split))
            except (OSError, ValueError, KeyError, pa.ArrowException) as error:
                reason = " ".join(str(error).split())
                raise IgclError(f"{self.path / split}: damaged ({reason}); prepare it again with --update") from error
        return self._files[split]

    def row_indices(self, split: str) -> np.ndarray:
        """Return the indices of the kept rows among all rows of a split (see `files`), int64 [N].

        Raises:
            IgclError: the store has no such split, or none of its rows has a kept view.
        """
        if split not in self._row_indices:
            files = self.files(split)
            indices = np.arange(len(files))
            if self.views is not None:
                kept = pa.compute.is_in(files.data.column("view"), pa.array(self.views, pa.string()))
                indices = indices[kept.to_numpy()]
                if not len(indices):
                    raise IgclError(f"{self.path}: no {split} row has a view of {', '.join(self.views)}")
            self._row_indices[split] = indices
        return self._row_indices[split]

    def num_rows(self, split: str) -> int:
        """Return the number of kept rows of a split."""
        return len(self.row_indices(split))

    def _arrow(self, split: str, name: str) -> pa.ChunkedArray:
        """Return one column of the kept rows; memory-mapped if all rows are kept."""
        column = self.files(split).data.column(name)
        return column if self.views is None else column.take(self.row_indices(split))

    def column(self, split: str, name: str) -> list[Any]:
        """Return one column of the kept rows of a split."""
        values: list[Any] = self._arrow(split, name).to_pylist()
        return values

    def known(self, split: str, name: str) -> np.ndarray:
        """Return which rows of a split have a value in a column, bool [N]."""
        valid: np.ndarray = pa.compute.is_valid(self._arrow(split, name)).to_numpy()
        return valid

    def targets(self, split: str, labels: Sequence[str] | None = None, may_lack: bool = False) -> np.ndarray:
        """Return the labels of a split, float32 [N, L]; NaN where unknown.

        Args:
            split: name of the split.
            labels: names of the labels (default: all).
            may_lack: whether a label that the store lacks is unknown, and not an error.

        Raises:
            IgclError: the store has no such label.
        """
        names = self.labels if labels is None else labels
        if not may_lack:
            self.refuse_unknown_labels(names)
        here = [name in self.labels for name in names]
        target = np.full((self.num_rows(split), len(names)), np.nan, np.float32)
        if any(here):  # a store without labels has no column of them
            target[:, here] = label_array(self._arrow(split, "labels"), [n for n in names if n in self.labels])
        return target

    def refuse_unknown_labels(self, labels: Sequence[str]) -> None:
        """Raise an `IgclError` if the store has no such label."""
        if unknown := [name for name in labels if name not in self.labels]:
            there = f"it has {', '.join(self.labels) or 'none'}{suggestion(unknown[0], self.labels)}"
            raise IgclError(f"{self.path}: no label {unknown[0]!r}; {there}")

    def classes(self, split: str) -> dict[str, str]:
        """Return the one label of each row of a split by the row's id, as in a 5x200 set; rows of none are left out.

        A column `class` with other words than labels gives no classes.
        """
        if CLASS not in self.files(split).column_names:
            return {}
        of_row = dict(zip(self.column(split, "row"), self.column(split, CLASS), strict=True))
        known = {row: name for row, name in of_row.items() if name}
        return known if set(known.values()) <= set(self.labels) else {}

    def stating(self, split: str, side: str) -> np.ndarray:
        """Return which rows of a split state something on a side (see `states`), bool [N]."""
        stated: np.ndarray = states(self.files(split).data.column("graph"), side).to_numpy()[self.row_indices(split)]
        return stated

    @cached_property
    def rows(self) -> dict[int, tuple[str, int]]:
        """Split and index of each kept row by the hash of its id."""
        return {
            stable_hash(row): (split, index)
            for split in self.splits
            for index, row in enumerate(self.column(split, "row"))
        }

    def record(self, row: int, *columns: str) -> tuple[str, Mapping[str, Any]]:
        """Return the split and some columns of a hashed row id; other columns are not read."""
        split, index = self.rows[row]
        index = int(self.row_indices(split)[index])
        return split, {name: self.files(split).data.column(name)[index].as_py() for name in columns}

    def _assert_patients_apart(self) -> None:
        patients = {split: self._arrow(split, "patient").unique() for split in self.splits}
        for first, second in combinations(self.splits, 2):
            shared = patients[first].filter(pa.compute.is_in(patients[first], patients[second]))
            if len(shared):
                patient = pa.compute.min(shared).as_py()
                raise IgclError(f"{self.path}: patient {patient!r} is in {first} and in {second}")


def label_array(labels: Sequence[Any] | pa.ChunkedArray, names: Sequence[str]) -> np.ndarray:
    """Return some fields of N rows of a column `labels` as float32 [N, L]; NaN where unknown."""
    columns = [pa.compute.struct_field(labels, name).to_numpy() for name in names]
    return np.stack(columns, axis=1).astype(np.float32) if names else np.zeros((len(labels), 0), np.float32)


def states(graph: pa.ChunkedArray, side: str) -> pa.ChunkedArray:
    """Return which rows of a column `graph` state something, bool [N]: an observation ("graph"), a word ("report")."""
    if side == "graph":
        stated = pa.compute.not_equal(pa.compute.struct_field(graph, "key"), -1)
    else:
        stated = pa.compute.match_substring_regex(pa.compute.struct_field(graph, "text"), r"[\pL\pN]")
    return pa.compute.fill_null(stated, False)


def _checked_manifest(path: str | Path, text: bytes) -> dict[str, Any]:
    try:
        manifest: Any = json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise IgclError(f"{path}/{MANIFEST}: not valid JSON ({error})") from None
    if not isinstance(manifest, dict):
        raise IgclError(f"{path}/{MANIFEST}: not the manifest of a store; make one with `igcl prepare`")
    if manifest.get("format_version") != FORMAT_VERSION:
        raise IgclError(
            f"{path}: store format {manifest.get('format_version')}, expected {FORMAT_VERSION}; prepare it again"
        )
    checked: dict[str, Any] = manifest
    return checked
