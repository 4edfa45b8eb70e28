"""Hashes of the inputs of studies, images and reports, and the rows of an existing store by these hashes.

Rows with the same hash of inputs are the same: `--update` takes their images and graphs from the store.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np

from igcl_lightning.data.store import NODE_TEXT
from igcl_lightning.data.study import SPLITS

PLAIN = frozenset({str, int, float, bool, type(None)})

NOTES = "notes"
"""Folder of a store with one file of notes per chunk of studies."""


class RowNote(NamedTuple):
    """Inputs of a row, and results of decoding its image.

    Attributes:
        row: id of the row.
        image: hash of the inputs of its image.
        shape: height and width of the image at full size.
        flags: flags of the decoder.
        header: values of a DICOM header.
        text: hash of the inputs of its graph.
    """

    row: str
    image: str
    shape: tuple[int, int]
    flags: tuple[str, ...]
    header: Mapping[str, str]
    text: str = ""


class EarlierRows:
    """Rows of the store at `path` by id, opened in each process on first use."""

    def __init__(self, path: Path, node_text: bool) -> None:
        self.path = path
        self.columns = ("graph", NODE_TEXT) if node_text else ("graph",)

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened_once, (self.path, NODE_TEXT in self.columns)

    def image(self, row: str, identity: str) -> tuple[RowNote, bytes] | None:
        """Return note and bytes of the image made from the same inputs, or None."""
        note = self._notes.get(row)
        return (note, self._cell(row, "image")["bytes"]) if note and note.image == identity else None

    def text(self, row: str, identity: str) -> dict[str, Any] | None:
        """Return the columns made from the same report, or None."""
        note = self._notes.get(row)
        if note is None or note.text != identity:
            return None
        cells = {name: self._cell(row, name) for name in self.columns}
        if NODE_TEXT in cells:  # float16 [N, D], as it was before it was stored
            cells[NODE_TEXT] = np.array(cells[NODE_TEXT], np.float16).reshape(len(cells["graph"]["tokens"]), -1)
        return cells

    def _cell(self, row: str, column: str) -> Any:
        split, index = self._positions[row]
        return self._tables[split].data.column(column)[index].as_py()

    @cached_property
    def _notes(self) -> dict[str, RowNote]:
        notes: dict[str, RowNote] = {}
        for file in sorted((self.path / NOTES).glob("*.json")):
            # Rows of a damaged file, or of another version, are rebuilt.
            with suppress(ValueError, KeyError, TypeError):
                rows = json.loads(file.read_text("utf-8"))["rows"]
                notes |= {
                    row: RowNote(row, i, (h, w), tuple(flags), head, t) for row, i, (h, w), flags, head, t in rows
                }
        return {row: note for row, note in notes.items() if row in self._positions}

    @cached_property
    def _tables(self) -> dict[str, datasets.Dataset]:
        tables = {}
        for split in SPLITS:
            # The rows of a missing or damaged split are rebuilt.
            with suppress(OSError, ValueError):
                tables[split] = datasets.load_from_disk(str(self.path / split))
        return tables

    @cached_property
    def _positions(self) -> dict[str, tuple[str, int]]:
        return {
            row: (split, index)
            for split, table in self._tables.items()
            for index, row in enumerate(table.data.column("row").to_pylist())
        }


@cache
def _opened_once(path: Path, node_text: bool) -> EarlierRows:
    """Return the earlier rows of this worker process, shared by its tasks."""
    return EarlierRows(path, node_text)


def identity(*values: Any) -> str:
    """Return a hash of plain values, dataclasses, arrays, partial calls, and files by path, size and time."""
    parts: list[bytes] = []
    for value in values:
        _add(value, parts)
    return hashlib.sha256(b"".join(parts)).hexdigest()[:32]


def _add(value: Any, parts: list[bytes]) -> None:
    """Append bytes that are unique to a value."""
    kind = type(value)
    if isinstance(value, list | tuple):
        parts.append(b"list %d " % len(value))
        for item in value:
            if type(item) in PLAIN:  # most are: not worth a call each
                parts.append(f"{type(item).__name__} {item!r} ".encode("utf-8", "surrogatepass"))
            else:
                _add(item, parts)
    elif isinstance(value, Mapping):
        parts.append(b"list %d " % len(value))
        for item in value.items():
            _add(item, parts)
    elif isinstance(value, Path):
        parts.append(f"file {_encodable(value)} {_seen(value)} ".encode("utf-8", "surrogateescape"))
    elif isinstance(value, np.ndarray):
        parts += (f"array {value.dtype} {value.shape} ".encode(), np.ascontiguousarray(value).tobytes())
    elif isinstance(value, partial):
        parts.append(f"call {value.func.__module__}.{value.func.__qualname__} ".encode())
        _add((value.args, value.keywords), parts)
    elif names := _field_names(kind):  # type: ignore[arg-type]  # mypy does not see that classes are hashable
        _add([getattr(value, name) for name in names], parts)
    else:
        parts.append(f"{kind.__name__} {value!r} ".encode("utf-8", "surrogatepass"))


def _encodable(path: Path) -> str:
    """Return a path as text; half a surrogate pair, which JSON may have and no file's name, is escaped."""
    text = str(path)
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return repr(text)
    return text


def _seen(path: Path) -> str:
    """Return size and time of a file, or why they are not known."""
    try:
        status = path.stat()
        return f"{status.st_size} {status.st_mtime_ns}"
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        return type(error).__name__


@cache
def _field_names(kind: type) -> tuple[str, ...]:
    """Return the fields of a dataclass; none of another type."""
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else ()
