"""Rows of a store that was prepared before: what was made from the same files in the same way is taken over."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np

from igcl_lightning.data.store import NODE_TEXT
from igcl_lightning.data.study import SPLITS

NOTES = "notes"
"""Folder of a store with one file of notes for each chunk of studies."""


class RowNote(NamedTuple):
    """How to know a row again.

    Attributes:
        row: its id.
        image: hash of what its image was made from.
        shape: height and width of the image at full size.
        flags: what the decoder saw.
        header: what the header of a DICOM file says.
        text: hash of what its graph was made from.
    """

    row: str
    image: str
    shape: tuple[int, int]
    flags: tuple[str, ...]
    header: Mapping[str, str]
    text: str


class EarlierRows:
    """The rows of a store by their ids, opened in each process when first asked for.

    Args:
        path: the store's folder.
        columns: those that depend on the report alone.
    """

    def __init__(self, path: Path, columns: tuple[str, ...]) -> None:
        self.path = path
        self.columns = columns

    def image(self, row: str, identity: str) -> tuple[RowNote, bytes] | None:
        """Return note and bytes of the image that was made from the same, None where there is none."""
        note = self._notes.get(row)
        if note is None or note.image != identity or row not in self._places:
            return None
        return note, self._cell(row, "image")["bytes"]

    def text(self, row: str, identity: str) -> dict[str, Any] | None:
        """Return the columns of the report that was read from the same, None where there are none."""
        note = self._notes.get(row)
        if note is None or note.text != identity or row not in self._places:
            return None
        cells = {name: self._cell(row, name) for name in self.columns}
        if NODE_TEXT in cells:  # float16 [N, D], as it was before it was stored
            cells[NODE_TEXT] = np.array(cells[NODE_TEXT], np.float16).reshape(len(cells["graph"]["tokens"]), -1)
        return cells

    def _cell(self, row: str, column: str) -> Any:
        split, index = self._places[row]
        return self._tables[split].data.column(column)[index].as_py()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "columns": self.columns}

    @cached_property
    def _notes(self) -> dict[str, RowNote]:
        notes: dict[str, RowNote] = {}
        for file in sorted((self.path / NOTES).glob("*.json")):
            try:
                rows = json.loads(file.read_text("utf-8"))["rows"]
                notes |= {
                    row: RowNote(row, i, (h, w), tuple(flags), head, t) for row, i, (h, w), flags, head, t in rows
                }
            except (ValueError, KeyError, TypeError):  # damaged, or of another version: its rows are made anew
                continue
        return notes

    @cached_property
    def _tables(self) -> dict[str, datasets.Dataset]:
        tables = {}
        for split in SPLITS:
            # A split that is missing or damaged is made anew.
            with suppress(OSError, ValueError):
                tables[split] = datasets.load_from_disk(str(self.path / split))
        return tables

    @cached_property
    def _places(self) -> dict[str, tuple[str, int]]:
        return {
            row: (split, index)
            for split, table in self._tables.items()
            for index, row in enumerate(table.data.column("row").to_pylist())
        }
