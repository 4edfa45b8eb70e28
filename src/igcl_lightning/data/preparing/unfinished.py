"""A store while it is written: chunks of studies, each there as a whole or not at all, so that work can go on.

    STORE.partial/work.json                  what the rows depend on
    STORE.partial/train/data-00012.arrow     the rows of a chunk of one split
    STORE.partial/notes/00012.json           written last: the chunk is complete; what it was made from, and its counts

Every file is written under another name and renamed. What `finish` adds is what `datasets.load_from_disk` reads.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import astuple
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from datasets.arrow_writer import ArrowWriter

from igcl_lightning.data.preparing.earlier import NOTES
from igcl_lightning.data.preparing.study_rows import Drop, Rows
from igcl_lightning.data.store import MANIFEST, NODE_TEXT
from igcl_lightning.data.study import SPLITS
from igcl_lightning.errors import IgclError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

WORK = "work.json"
ROWS_PER_BATCH = 256
"""Rows of an Arrow record batch: few, so that a reader touches little; not too few, so that opening is quick."""


class UnfinishedStore:
    """The folder of a store that is being written.

    Args:
        path: the folder.
        features: the columns of its rows.
    """

    def __init__(self, path: Path, features: datasets.Features) -> None:
        self.path = path
        self.features = features
        self._locked: int | None = None
        self._ours = False

    def begin(self, work: Mapping[str, Any]) -> None:
        """Make the folder, empty of what an earlier run left.

        Raises:
            IgclError: it holds what no such run left, another run works there, the disk is full, or the folder cannot
                be written to.
        """
        with self.complaints():
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock()
            if any(self.path.iterdir()) and not (self.path / NOTES).is_dir():
                raise IgclError(f"{self.path}: is not left of an interrupted run; move it away")
            # The notes go last: without them the folder would not be known again.
            for path in sorted(self.path.iterdir(), key=lambda path: path.name == NOTES):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            (self.path / NOTES).mkdir()
            write_text(self.path / WORK, json.dumps(work, indent=1))
        self._ours = True

    def go_on(self, work: Mapping[str, Any]) -> None:
        """Check that the folder was begun for the same work, or begin it where nothing was done.

        Raises:
            IgclError: it was begun for other work, and the message names what differs; or as for `begin`.
        """
        begun = read_record(self.path / WORK)
        if begun is None and not any((self.path / NOTES).glob("*.json")):
            self.begin(work)
            return
        with self.complaints():
            self._lock()
            for left in [*self.path.rglob("*.tmp")]:
                left.unlink()
        if begun is None:
            raise IgclError(f"{self.path}: its {WORK} is missing or damaged; --overwrite starts over")
        if (difference := _difference(begun, json.loads(json.dumps(work)))) is not None:
            raise IgclError(
                f"{self.path}: was begun with other {difference}; give the command it was begun with, "
                "or --overwrite to start over"
            )
        self._ours = True

    def _lock(self) -> None:
        """Refuse to work where another process does; the lock goes with the process."""
        if fcntl is None or self._locked is not None:
            return
        self._locked = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(self._locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise IgclError(f"{self.path}: another run is at work there") from None
        except OSError:  # a file system without locks
            self.close()

    def close(self) -> None:
        """Let others work there."""
        if self._locked is not None:
            os.close(self._locked)
            self._locked = None

    def notes(self, number: int) -> dict[str, Any] | None:
        """Return the notes of a chunk, None where it is not complete."""
        return read_record(self.path / NOTES / f"{number:05d}.json")

    def cut(self, chunks: int) -> None:
        """Remove what lies beyond so many chunks: the source had more studies before."""
        for path in [*self.path.glob(f"{NOTES}/*.json"), *self.path.glob("*/data-*.arrow")]:
            if int(path.stem.removeprefix("data-")) >= chunks:
                path.unlink()

    def discard_if_empty(self) -> None:
        """Remove the folder if this run works there and no chunk is complete."""
        if self._ours and not any((self.path / NOTES).glob("*.json")):
            shutil.rmtree(self.path, ignore_errors=True)

    def finish(self, manifest: Mapping[str, Any], out: Path) -> None:
        """Make a store of the chunks, and give it its name in place of what has it.

        Raises:
            IgclError: the disk is full, or the folder cannot be written to.
        """
        with self.complaints():
            for split in SPLITS:
                if files := sorted((self.path / split).glob("data-*.arrow")):
                    self._describe(split, [file.name for file in files], manifest["fingerprint"])
            write_text(self.path / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False))
            if is_store(_old(out)):
                shutil.rmtree(_old(out))
            if out.exists():
                out.rename(_old(out))
            self.path.rename(out)
            tidy(out)

    def _describe(self, split: str, names: list[str], fingerprint: str) -> None:
        """Write beside the Arrow files of a split what `datasets.load_from_disk` wants to know of them."""
        empty = self.path / f".{split}"
        table = datasets.Dataset.from_dict({name: [] for name in self.features}, features=self.features)
        datasets.disable_progress_bars()  # of saving no rows
        table.save_to_disk(str(empty))
        state = json.loads((empty / "state.json").read_text("utf-8"))
        state |= {"_data_files": [{"filename": name} for name in names], "_fingerprint": fingerprint[:16]}
        write_text(self.path / split / "state.json", json.dumps(state, indent=2, sort_keys=True))
        write_text(self.path / split / "dataset_info.json", (empty / "dataset_info.json").read_text("utf-8"))
        shutil.rmtree(empty)

    @contextmanager
    def complaints(self) -> Iterator[None]:
        """Say what stays when a write fails."""
        try:
            yield
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise IgclError(
                f"{self.path}: {reason}; what is done is kept: mend it and give the same command with --resume"
            ) from error


def tidy(out: Path) -> None:
    """Remove what a run leaves that is killed just after the store got its name."""
    (out / WORK).unlink(missing_ok=True)
    if is_store(_old(out)):
        shutil.rmtree(_old(out), ignore_errors=True)


def is_store(path: Path) -> bool:
    """Return whether a folder is a store, of whatever version, damaged or not; nothing else is ever removed."""
    manifest = read_record(path / MANIFEST)
    described = manifest is not None and {"format_version", "fingerprint"} <= manifest.keys()
    opened = any((path / split / "state.json").is_file() for split in SPLITS)
    return described or ((path / MANIFEST).is_file() and opened)


def _old(out: Path) -> Path:
    """Return where the store that is replaced stands for a moment."""
    return out.with_name(f".{out.name}.old")


class Chunk:
    """The rows of one chunk on their way to disk; complete when it is committed.

    Args:
        store: where it belongs.
        number: its place in the order of the source.
        shapes: of the columns of numbers, known from the chunks before; new ones are added.
    """

    def __init__(self, store: UnfinishedStore, number: int, shapes: dict[str, list[int]]) -> None:
        self.store = store
        self.number = number
        self.shapes = shapes
        self.writers: dict[str, ArrowWriter] = {}
        self.content = hashlib.sha256()
        self.identities: list[str] = []
        self.counts: dict[str, Counter[str]] = {name: Counter() for name in ("splits", "reports", "flags")}
        self.empty_graphs = 0
        self.rows: list[tuple[Any, ...]] = []
        self.flagged: list[tuple[str, list[str]]] = []
        self.drops: list[Drop] = []
        self.patients: dict[str, str] = {}
        self.studies: set[str] = set()

    def add(self, study: Rows) -> None:
        """Write the rows of a study.

        Raises:
            IgclError: an array has another shape than those before it, or the disk is full.
        """
        self.identities.append(study.identity)
        self.drops += study.drops
        self.rows += [tuple(note) for note in study.notes]
        for row in study.rows:
            self.counts["splits"][study.split] += 1
            self.counts["reports"][study.report] += 1
            self.counts["flags"].update(row["flags"])
            self.flagged += [(row["row"], row["flags"])] if row["flags"] else []
            self.empty_graphs += row["graph"]["key"] == -1
            self.patients[row["patient"]] = study.split
            self.studies.add(row["study"])
            self.content.update(repr((study.split, {name: _hashable(cell) for name, cell in row.items()})).encode())
            with self.store.complaints():
                self._writer(study.split).write(self._flat(row))

    def commit(self) -> dict[str, Any]:
        """Give the chunk's files their names and return its notes.

        Raises:
            IgclError: the disk is full.
        """
        notes = {
            "identity": chunk_identity(self.identities),
            "content": self.content.hexdigest(),
            **{name: dict(sorted(counts.items())) for name, counts in self.counts.items()},
            "read": len(self.identities),
            "empty_graphs": self.empty_graphs,
            "shapes": self.shapes,
            "flagged": self.flagged,
            "drops": [astuple(drop) for drop in self.drops],
            "patients": self.patients,
            "studies": sorted(self.studies),
            "rows": self.rows,
        }
        text = json.dumps(notes, ensure_ascii=False)
        with self.store.complaints():
            for split in SPLITS:
                final = self.store.path / split / f"data-{self.number:05d}.arrow"
                if split in self.writers:
                    self.writers[split].finalize()
                    os.replace(final.with_suffix(".tmp"), final)
                else:
                    final.unlink(missing_ok=True)  # of an earlier reading of the source
            write_text(self.store.path / NOTES / f"{self.number:05d}.json", text)
            self.writers = {}
        return json.loads(text)  # type: ignore[no-any-return]  # as a later run will read it

    def close(self) -> None:
        """Let go of the files of a chunk that is not to be committed."""
        for split, writer in self.writers.items():
            with suppress(OSError):  # the disk is full, which was said already
                writer.close()
            (self.store.path / split / f"data-{self.number:05d}.tmp").unlink(missing_ok=True)

    def _writer(self, split: str) -> ArrowWriter:
        if split not in self.writers:
            path = self.store.path / split / f"data-{self.number:05d}.tmp"
            path.parent.mkdir(exist_ok=True)
            self.writers[split] = ArrowWriter(
                features=self.store.features, path=str(path), writer_batch_size=ROWS_PER_BATCH
            )
        return self.writers[split]

    def _flat(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the row with its arrays flat, as a store keeps them."""
        arrays = {name: value for name, value in row.items() if isinstance(value, np.ndarray)}
        for name, array in arrays.items():
            shape = self.shapes.setdefault(name, list(array.shape)) if name != NODE_TEXT else None
            if shape not in (None, list(array.shape)):
                raise IgclError(f"row {row['row']!r}: {name} has shape {list(array.shape)}, rows before it {shape}")
        return {**row, **{name: array.ravel() for name, array in arrays.items()}}


def chunk_identity(identities: list[str]) -> str:
    """Return the hash of the identities of a chunk's studies."""
    return hashlib.sha256("\n".join(identities).encode()).hexdigest()[:32]


def _hashable(value: Any) -> Any:
    """Return what stands for a cell in the content hash; the text of an array leaves numbers out, of bytes is slow."""
    if isinstance(value, np.ndarray):
        return value.shape, hashlib.sha256(value.tobytes()).hexdigest()
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, dict):
        return {name: _hashable(part) for name, part in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], bytes):
        return [_hashable(part) for part in value]
    return value


def write_text(path: Path, text: str) -> None:
    """Write a file that is there as a whole or not at all."""
    unfinished = path.with_name(f".{path.name}.tmp")
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)


def read_record(path: Path) -> dict[str, Any] | None:
    """Return the JSON object of a file, None where there is no such file or it is damaged."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _difference(begun: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    """Return the first name under which two records differ, with both values where they are short."""
    for name in sorted({*begun, *wanted}):
        first, second = begun.get(name), wanted.get(name)
        if isinstance(first, dict) and isinstance(second, dict) and first != second:
            return _difference(first, second)
        if first != second:
            short = max(len(repr(first)), len(repr(second))) < 60
            return f"{name} ({first!r}, now {second!r})" if short else name
    return None
