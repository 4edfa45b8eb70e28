"""One chunk of a store: Arrow files of its rows and notes about them, written atomically."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from igcl_lightning.data.preparing.earlier import PLAIN
from igcl_lightning.data.preparing.study_rows import Rows
from igcl_lightning.data.preparing.unfinished import UnfinishedStore, write_text
from igcl_lightning.data.store import NODE_TEXT
from igcl_lightning.data.study import SPLITS
from igcl_lightning.errors import IgclError

COUNTED = ("splits", "reports", "flags", "views", "known", "positive")
"""What is counted: rows by split, state of the report, flag, known and positive label; images by unknown view."""

ROWS_PER_BATCH = 256
"""Rows of an Arrow record batch: few for fast random access, but enough for fast opening."""


class Chunk:
    """Rows of chunk `number` of a store, complete after `commit`; `shapes` are those of arrays in earlier chunks.

    The files depend on these rows only, so that it does not matter which chunks a run writes.
    """

    def __init__(self, store: UnfinishedStore, number: int, shapes: Mapping[str, list[int]]) -> None:
        self.store, self.number, self.shapes = store, number, shapes
        self.files: dict[str, _RowFile] = {}
        self.content = hashlib.sha256()
        self.identities: list[str] = []
        self.counts: dict[str, Counter[str]] = {name: Counter() for name in COUNTED}
        self.notes: dict[str, Any] = {"empty_graphs": 0, "shapes": {}, "flagged": [], "drops": [], "patients": {}}
        self.notes |= {"studies": set(), "rows": []}

    def add(self, study: Rows) -> None:
        """Write the rows of a study whose arrays have the shape of earlier ones; raises `IgclError` on a full disk."""
        self.identities.append(study.identity)
        self.notes["drops"] += study.drops
        self.counts["views"].update(study.odd_views)
        for row, note in zip(study.rows, study.notes, strict=True):
            if odd := self._other_shape(row):
                self.notes["drops"].append((row["row"], "array of another shape", odd))
                continue
            self.notes["rows"].append(note)
            self.counts["splits"][study.split] += 1
            self.counts["reports"][study.report] += 1
            self.counts["flags"].update(row["flags"])
            known = {name: value for name, value in row.get("labels", {}).items() if value is not None}
            self.counts["known"].update(known.keys())
            self.counts["positive"].update(name for name, value in known.items() if value == 1)
            self.notes["flagged"] += [(row["row"], row["flags"])] if row["flags"] else []
            self.notes["empty_graphs"] += row["graph"]["key"] == -1
            self.notes["patients"][row["patient"]] = study.split
            self.notes["studies"].add(row["study"])
            self.content.update(repr((study.split, _hashable(row))).encode())
            with self.store.resumable():
                self._file(study.split).add(self._flat(row))

    def commit(self) -> dict[str, Any]:
        """Rename the chunk's files to their final names and return its notes; raises `IgclError` on a full disk."""
        notes = {
            "identity": chunk_identity(self.identities),
            "content": self.content.hexdigest(),
            **{name: dict(sorted(counts.items())) for name, counts in self.counts.items()},
            "read": len(self.identities),
            **self.notes,
            "studies": sorted(self.notes["studies"]),
        }
        text = json.dumps(notes, ensure_ascii=False)
        with self.store.resumable():
            for split in SPLITS:
                final = self._path(split, ".arrow")
                if split in self.files:
                    self.files[split].finish()
                    os.replace(self._path(split, ".tmp"), final)
                else:
                    final.unlink(missing_ok=True)  # from an earlier state of the source
            write_text(self.store.notes_path(self.number), text)
            self.files = {}
        return json.loads(text)  # type: ignore[no-any-return]  # as a later run reads it

    def close(self) -> None:
        """Remove the files of a chunk that was not committed."""
        for split, file in self.files.items():
            with suppress(OSError):  # the disk is full, which was reported already
                file.close()
            self._path(split, ".tmp").unlink(missing_ok=True)

    def _path(self, split: str, suffix: str) -> Path:
        return self.store.path / split / f"data-{self.number:05d}{suffix}"

    def _file(self, split: str) -> _RowFile:
        if split not in self.files:
            path = self._path(split, ".tmp")
            path.parent.mkdir(exist_ok=True)
            self.files[split] = _RowFile(path, self.store.features.arrow_schema)
        return self.files[split]

    def _other_shape(self, row: Mapping[str, Any]) -> str:
        """Return how an array of a row differs in shape from those of earlier rows, "" if none does."""
        arrays = ((name, each) for name, each in row.items() if isinstance(each, np.ndarray) and name != NODE_TEXT)
        found = {name: list(array.shape) for name, array in arrays}
        known = {**self.shapes, **self.notes["shapes"]}
        for name, shape in found.items():
            if known.get(name, shape) != shape:
                return f"{name} has shape {shape}, earlier rows have {known[name]}"
        self.notes["shapes"] |= found
        return ""

    def _flat(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the row with flat arrays, as a store keeps them."""
        arrays = {name: value.ravel() for name, value in row.items() if isinstance(value, np.ndarray)}
        return {**row, **arrays}


class _RowFile:
    """An Arrow stream of rows at `path`, as `datasets` writes and reads it."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.schema = schema
        self.waiting: list[dict[str, Any]] = []
        self._sink = path.open("wb")
        self._stream = pa.ipc.new_stream(self._sink, schema)

    def add(self, row: dict[str, Any]) -> None:
        self.waiting.append(row)
        if len(self.waiting) == ROWS_PER_BATCH:
            self._write()

    def finish(self) -> None:
        if self.waiting:
            self._write()
        self._stream.close()
        self.close()

    def close(self) -> None:
        self._sink.close()

    def _write(self) -> None:
        try:
            batch = pa.RecordBatch.from_pylist(self.waiting, schema=self.schema)
        except UnicodeEncodeError as error:
            first = self.waiting[0]["row"]
            raise IgclError(f"a row from {first!r} on has {error.object!r}, which UTF-8 cannot encode") from error
        self._stream.write_batch(batch)
        self.waiting = []


def chunk_identity(identities: list[str]) -> str:
    """Return the hash of the identities of a chunk's studies."""
    return hashlib.sha256("\n".join(identities).encode()).hexdigest()[:32]


def _hashable(value: Any) -> Any:
    """Return a cell for the content hash: arrays as hashes, since NumPy abbreviates them; bytes as hashes for speed."""
    if isinstance(value, dict):
        return {name: part if type(part) in PLAIN else _hashable(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_hashable(part) for part in value] if value and isinstance(value[0], bytes) else value
    if isinstance(value, np.ndarray):
        return value.shape, hashlib.sha256(value.tobytes()).hexdigest()
    return hashlib.sha256(value).hexdigest() if isinstance(value, bytes) else value
