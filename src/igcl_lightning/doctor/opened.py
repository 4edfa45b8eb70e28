"""A store opened for inspection: problems become findings, where `Store` would raise errors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from igcl_lightning.data.store import FORMAT_VERSION
from igcl_lightning.data.store_path import MANIFEST
from igcl_lightning.data.study import SPLITS
from igcl_lightning.doctor.findings import MAX_NAMED_ROWS, Finding, Level, Place, such_as

IDS = ("row", "study", "patient", "view", "age", "sex")
REQUIRED_COLUMNS = (*IDS, "image", "report", "graph")


class OpenedStore:
    """Manifest and memory-mapped tables of a store; `faults` are the reasons why others are unreadable."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.faults: list[Finding] = []
        self.manifest = self._read_manifest()
        self.tables = {split: table for split in SPLITS if (table := self._read_table(split)) is not None}

    @cached_property
    def ids(self) -> pd.DataFrame:
        """Row, study, patient, view, age, sex, split and index (within the split) of all rows."""
        places = [(split, index) for split, size in self.sizes.items() for index in range(size)]
        columns = {name: self.column(name).to_pandas() for name in IDS if self.num_rows}
        return pd.DataFrame(columns, columns=list(IDS)).join(pd.DataFrame(places, columns=["split", "index"]))

    @cached_property
    def images(self) -> pa.ChunkedArray:
        """Stored bytes of the image of each row, in the order of `ids`."""
        return pc.struct_field(self.column("image"), "bytes")

    @property
    def sizes(self) -> dict[str, int]:
        """Number of rows of each split."""
        return {split: len(table) for split, table in self.tables.items()}

    @property
    def num_rows(self) -> int:
        """Number of rows of all splits."""
        return sum(self.sizes.values())

    @property
    def labels(self) -> list[str]:
        """Names of the labels in the manifest."""
        return list(self.manifest.get("labels", []))

    @cached_property
    def has_reports(self) -> bool:
        """Whether a row has a report or a graph, by the manifest's counts and the graphs; True if they do not say."""
        if set(self.manifest.get("rows_by_report", ["unknown"])) != {"none"}:
            return True
        entities = pc.list_value_length(pc.struct_field(self.column("graph"), "label"))
        return bool(pc.any(pc.greater(entities, 0)).as_py())

    @property
    def is_new(self) -> bool:
        """Whether the rows have neither reports nor labels, as images to predict."""
        return not self.has_reports and not self.labels

    def column(self, name: str, split: str | None = None) -> pa.ChunkedArray:
        """Return a column of all rows, in the order of `ids`, or of one split; memory-mapped."""
        columns = [table.data.column(name) for part, table in self.tables.items() if split in (None, part)]
        kind = columns[0].type
        return pa.chunked_array([chunk for column in columns for chunk in column.cast(kind).chunks], kind)

    def places(self, numbers: Sequence[int] | np.ndarray, most: int = MAX_NAMED_ROWS) -> tuple[Place, ...]:
        """Return the places of the first rows in `numbers`, which index `ids`."""
        rows = self.ids.iloc[list(numbers[:most])]
        return tuple(Place(*values) for values in zip(rows["split"], rows["index"], rows["row"], strict=True))

    def suspects(
        self, level: Level, check: str, numbers: Sequence[int] | np.ndarray, text: str, more: str = "", **counts: int
    ) -> Iterator[Finding]:
        """Yield a finding on the rows in `numbers`, if there are any: text, some row ids, more text."""
        if len(numbers):
            places = self.places(numbers)
            named = such_as(dict.fromkeys(place.row for place in places))
            yield Finding(level, check, f"{text}{named}{more}", places, counts)

    def record(self, place: Place) -> dict[str, Any]:
        """Return a row, its image as bytes."""
        record: dict[str, Any] = self.tables[place.split].with_format("arrow")[place.number].to_pylist()[0]
        return record

    def _read_manifest(self) -> dict[str, Any]:
        file = self.path / MANIFEST
        try:
            manifest = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            self._fault(f"{file}: unreadable ({error})")
            return {}
        if not isinstance(manifest, dict):
            self._fault(f"{file}: not the manifest of a store")
            return {}
        if (found := manifest.get("format_version")) != FORMAT_VERSION:
            self._fault(f"store format {found}, this version reads {FORMAT_VERSION}")
        return manifest

    def _read_table(self, split: str) -> datasets.Dataset | None:
        folder = self.path / split
        if not folder.is_dir():
            return None
        try:
            table = datasets.load_from_disk(str(folder))
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            self._fault(f"{folder}: unreadable ({error})")
            return None
        missing = [name for name in REQUIRED_COLUMNS if name not in table.column_names]
        if missing:
            self._fault(f"{folder}: has no column {missing[0]!r}")
            return None
        return table

    def _fault(self, message: str) -> None:
        self.faults.append(Finding("error", "store", f"{message}; prepare the store again"))
