"""A store opened in order to be looked at: whatever is wrong with it is a finding, where `Store` would refuse it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa

from igcl_lightning.data.store import FORMAT_VERSION, MANIFEST
from igcl_lightning.data.study import SPLITS
from igcl_lightning.doctor.findings import MAX_NAMED_ROWS, Finding, Place
from igcl_lightning.graphs.schema import HEDGES, LABEL_ID, RELATION_TYPES, Entity, Relation, ReportGraph

REQUIRED_COLUMNS = ("row", "study", "patient", "view", "age", "sex", "image", "report", "graph")


class OpenedStore:
    """The tables of a store, memory-mapped, and its manifest.

    Args:
        path: folder that `igcl prepare` wrote.

    Attributes:
        manifest: what the manifest says, empty where it cannot be read.
        tables: the rows of each split that can be opened, in the order of `SPLITS`.
        faults: what stood in the way of opening it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.faults: list[Finding] = []
        self.manifest = self._read_manifest()
        self.tables = {split: table for split in SPLITS if (table := self._read_table(split)) is not None}

    @cached_property
    def ids(self) -> pd.DataFrame:
        """Row, study, patient, view, age, sex, split and index (within the split) of all rows."""
        names = ["row", "study", "patient", "view", "age", "sex"]
        parts = [
            pd.DataFrame({name: self.column(split, name).to_pandas() for name in names}).assign(
                split=split, index=np.arange(len(table))
            )
            for split, table in self.tables.items()
        ]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*names, "split", "index"])

    @property
    def num_rows(self) -> int:
        """Number of rows of all splits."""
        return sum(len(table) for table in self.tables.values())

    @property
    def labels(self) -> list[str]:
        """Names of the labels in the manifest."""
        return list(self.manifest.get("labels", []))

    def column(self, split: str, name: str) -> pa.ChunkedArray:
        """Return a column of a split as it lies in the file."""
        return self.tables[split].data.column(name)

    def places(self, numbers: Sequence[int] | np.ndarray, most: int = MAX_NAMED_ROWS) -> tuple[Place, ...]:
        """Return where the first rows stand that are given by their number in `ids`."""
        rows = self.ids.iloc[list(numbers[:most])]
        return tuple(Place(*values) for values in zip(rows["split"], rows["index"], rows["row"], strict=True))

    def image_bytes(self, number: int) -> pa.BinaryScalar:
        """Return the stored image of a row that is given by its number in `ids`."""
        for split, table in self.tables.items():
            if number < len(table):
                return self.column(split, "image")[number]["bytes"]
            number -= len(table)
        raise IndexError(number)

    def record(self, place: Place) -> dict[str, Any]:
        """Return a row, its image as bytes."""
        record: dict[str, Any] = self.tables[place.split].with_format("arrow")[place.number].to_pylist()[0]
        return record

    def _read_manifest(self) -> dict[str, Any]:
        file = self.path / MANIFEST
        try:
            manifest = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            self._fault(f"{file}: cannot be read ({error}); prepare the store again")
            return {}
        if not isinstance(manifest, dict):
            self._fault(f"{file}: is no manifest of a store; prepare the store again")
            return {}
        if manifest.get("format_version") != FORMAT_VERSION:
            found = manifest.get("format_version")
            self._fault(f"store format {found}, this version reads {FORMAT_VERSION}; prepare the store again")
        return manifest

    def _read_table(self, split: str) -> datasets.Dataset | None:
        folder = self.path / split
        if not folder.is_dir():
            return None
        try:
            table = datasets.load_from_disk(str(folder))
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            self._fault(f"{folder}: cannot be opened ({error}); prepare the store again")
            return None
        missing = [name for name in REQUIRED_COLUMNS if name not in table.column_names]
        if missing:
            self._fault(f"{folder}: has no column {missing[0]!r}; prepare the store again")
            return None
        return table

    def _fault(self, message: str) -> None:
        self.faults.append(Finding("error", "store", message))


def graph_of(columns: dict[str, Any]) -> ReportGraph:
    """Return the graph that a store row holds as flat lists.

    Raises:
        ValueError: the lists do not fit the text.
        IndexError: a label, hedge or relation has a number that does not exist.
    """
    labels = list(LABEL_ID)
    spans = zip(*(columns[name] for name in ("tokens", "label", "start", "end", "hedge")), strict=True)
    edges = zip(*(columns[name] for name in ("head", "type", "tail")), strict=True)
    entities = [Entity(words, labels[label], start, end, HEDGES[hedge]) for words, label, start, end, hedge in spans]
    relations = [Relation(head, RELATION_TYPES[kind], tail) for head, kind, tail in edges]
    return ReportGraph(columns["text"], tuple(entities), tuple(relations))
