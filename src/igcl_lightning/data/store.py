"""The prepared store: one Arrow table per split, memory-mapped by `datasets`, and a manifest that says how it was made.

    STORE/manifest.json
    STORE/{train,valid,test}/     `datasets.load_from_disk` opens each

One row is one image with its study's report and graph. An opened store gives `datasets.Dataset` objects, so that
filtering, concatenating and pushing are theirs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute

from igcl_lightning.data.study import REPORT_SECTIONS, SPLITS, VIEWS
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.identity import graph_key, stated_facts
from igcl_lightning.graphs.schema import HEDGE_ID, LABEL_ID, RELATION_ID, ReportGraph, stable_hash

MANIFEST = "manifest.json"
FORMAT_VERSION = 2

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
"""A graph as flat lists, so that tensors are made from it without Python per node or edge.

`label`, `hedge` and `type` are numbered as in `graphs.schema`; `key` is -1 for a graph that
states nothing; `facts` are stable hashes.
"""

FIXED_COLUMNS = ("row", "study", "patient", "view", "age", "sex", "image", "report", "graph", "labels", "node_text")


NODE_TEXT = "node_text"
"""Column of the frozen language-model features of a graph's nodes, float16 [N * D], where a store has them."""


def store_features(
    labels: Sequence[str], extra: Sequence[str] = (), arrays: Sequence[str] = (), node_text: bool = False
) -> datasets.Features:
    """Return the columns of a store row; arrays are flat, their shape is in the manifest."""
    return datasets.Features(
        {
            "row": datasets.Value("string"),
            "study": datasets.Value("string"),
            "patient": datasets.Value("string"),
            "view": datasets.Value("string"),
            "age": datasets.Value("float32"),
            "sex": datasets.Value("string"),
            "image": datasets.Image(),
            "report": {section: datasets.Value("string") for section in REPORT_SECTIONS},
            "graph": GRAPH_FEATURES,
            # Arrow cannot store a struct without fields.
            **({"labels": {label: datasets.Value("float32") for label in labels}} if labels else {}),
            **{column: datasets.Value("string") for column in extra},
            **{column: datasets.List(datasets.Value("float32")) for column in arrays},
            **({NODE_TEXT: datasets.List(datasets.Value("float16"))} if node_text else {}),
        }
    )


def graph_columns(graph: ReportGraph) -> dict[str, Any]:
    """Return the store's form of a graph."""
    key = graph_key(graph)
    return {
        "text": graph.text,
        "tokens": [entity.tokens for entity in graph.entities],
        "label": [LABEL_ID[entity.label] for entity in graph.entities],
        "hedge": [HEDGE_ID[entity.hedge] for entity in graph.entities],
        "start": [entity.start for entity in graph.entities],
        "end": [entity.end for entity in graph.entities],
        "head": [relation.head for relation in graph.relations],
        "tail": [relation.tail for relation in graph.relations],
        "type": [RELATION_ID[relation.type] for relation in graph.relations],
        "key": -1 if key is None else key,
        "facts": sorted({stable_hash(fact) for fact in stated_facts(graph)}),
    }


class Store:
    """An opened store.

    Args:
        path: the folder that `igcl prepare` wrote.
        views: projections (`VIEWS`) of the images to keep; all by default.

    Raises:
        IgclError: there is no readable store, it was written by a newer version, a patient stands in two splits, or a
            view is unknown.
    """

    def __init__(self, path: str | Path, views: Sequence[str] | None = None) -> None:
        self.path = Path(path)
        self.views = views
        for view in views or ():
            if view not in VIEWS:
                raise IgclError(f"data.views: {view!r} is not one of {', '.join(VIEWS)}")
        self.manifest = _read_manifest(self.path)
        self.splits = tuple(split for split in SPLITS if (self.path / split).is_dir())
        self._tables: dict[str, datasets.Dataset] = {}
        self._columns: dict[tuple[str, str], pa.ChunkedArray] = {}
        self._assert_patients_apart()

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels, in the order of `targets`."""
        return tuple(self.manifest["labels"])

    @property
    def fingerprint(self) -> str:
        """Hash of the rows' content, and of which of them are kept."""
        kept = "" if self.views is None else f" views {sorted(self.views)}"
        return f"{self.manifest['fingerprint']}{kept}"

    @property
    def array_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each array column."""
        return {name: tuple(shape) for name, shape in self.manifest.get("arrays", {}).items()}

    @property
    def node_text_channels(self) -> int:
        """Width of the language-model features of graph nodes; 0 where the store has none."""
        return int((self.manifest.get("node_text") or {}).get("channels", 0))

    def table(self, split: str) -> datasets.Dataset:
        """Return the rows of a split.

        Raises:
            IgclError: the store has no such split, or none of its rows has a wanted view.
        """
        if split not in self.splits:
            raise IgclError(f"{self.path}: no split {split!r}, only {', '.join(self.splits)}")
        if split not in self._tables:
            self._tables[split] = self._of_wanted_views(datasets.load_from_disk(str(self.path / split)), split)
        return self._tables[split]

    def _of_wanted_views(self, table: datasets.Dataset, split: str) -> datasets.Dataset:
        if self.views is None:
            return table
        kept = np.flatnonzero(np.isin(table.data.column("view").to_pylist(), list(self.views)))
        if not len(kept):
            raise IgclError(f"{self.path}: no {split} row has a view of {', '.join(self.views)}")
        return table.select(kept)

    def _arrow(self, split: str, name: str) -> pa.ChunkedArray:
        """Return one column of the rows that are kept; mapped from the file where that is all of them."""
        if (split, name) not in self._columns:
            table = self.table(split).select_columns([name]).with_format("arrow")
            self._columns[split, name] = table[:].column(name)
        return self._columns[split, name]

    def column(self, split: str, name: str) -> list[Any]:
        """Return one column of a split."""
        values: list[Any] = self._arrow(split, name).to_pylist()
        return values

    def known(self, split: str, name: str) -> np.ndarray:
        """Return which rows of a split have a value in a column, bool [N]."""
        valid: np.ndarray = pa.compute.is_valid(self._arrow(split, name)).to_numpy()
        return valid

    def targets(self, split: str, labels: Sequence[str] | None = None) -> np.ndarray:
        """Return the labels of a split, float32 [N, L]; nan where unknown.

        Raises:
            IgclError: the store has no such label.
        """
        names = self.labels if labels is None else labels
        unknown = [name for name in names if name not in self.labels]
        if unknown:
            raise IgclError(f"{self.path}: no label {unknown[0]!r}; it has {', '.join(self.labels) or 'none'}")
        table = self.table(split)
        if not names:
            return np.zeros((len(table), 0), np.float32)
        struct = self._arrow(split, "labels").combine_chunks()
        columns = [pa.compute.struct_field(struct, name).to_numpy(zero_copy_only=False) for name in names]
        return np.stack(columns, axis=1).astype(np.float32)

    def has_graphs(self, split: str) -> bool:
        """Return whether any row of a split has a graph with entities."""
        keys = (pa.compute.struct_field(chunk, "key") for chunk in self._arrow(split, "graph").chunks)
        return any(pa.compute.any(pa.compute.not_equal(chunk, -1)).as_py() for chunk in keys)

    @cached_property
    def rows(self) -> dict[int, tuple[str, int]]:
        """Split and index of each row by the hash of its id."""
        return {
            stable_hash(row): (split, index)
            for split in self.splits
            for index, row in enumerate(self.column(split, "row"))
        }

    def ids(self, row: int) -> tuple[str, str, str]:
        """Return row, study and patient id of a hashed row id."""
        return self._cell(row, "row"), self._cell(row, "study"), self._cell(row, "patient")

    def report_text(self, row: int) -> str:
        """Return the report of a hashed row id: the sections that were parsed, or all of it, joined by line breaks."""
        report = self._cell(row, "report")
        parsed = [report[section] for section in self.manifest["sections"] if report.get(section)]
        return "\n".join(parsed or [text for text in report.values() if text])

    def row_labels(self, row: int) -> dict[str, float | None]:
        """Return the labels of a hashed row id."""
        labels: dict[str, float | None] = self._cell(row, "labels") if self.labels else {}
        return labels

    def _cell(self, row: int, column: str) -> Any:
        split, index = self.rows[row]
        return self._arrow(split, column)[index].as_py()

    def _assert_patients_apart(self) -> None:
        patients = {split: set(self.column(split, "patient")) for split in self.splits}
        for first, second in combinations(self.splits, 2):
            shared = patients[first] & patients[second]
            if shared:
                raise IgclError(f"{self.path}: patient {min(shared)!r} stands in {first} and in {second}")


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text())
    except FileNotFoundError:
        raise IgclError(f"{path}: not a store (no {MANIFEST}); make one with `igcl prepare`") from None
    except json.JSONDecodeError as error:
        raise IgclError(f"{path / MANIFEST}: not valid JSON ({error})") from None
    if manifest.get("format_version") != FORMAT_VERSION:
        raise IgclError(
            f"{path}: store format {manifest.get('format_version')}, expected {FORMAT_VERSION}; prepare it again"
        )
    return manifest
