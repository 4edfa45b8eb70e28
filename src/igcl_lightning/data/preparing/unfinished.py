"""A store that is being written: chunks of studies, each complete or absent, so that the run can resume.

    STORE.partial/work.json                  everything the rows depend on
    STORE.partial/train/data-00012.arrow     rows of a chunk in one split
    STORE.partial/notes/00012.json           written last: the chunk is complete; its identity and counts

Every file is written under another name and renamed. `finish` adds the files that `datasets.load_from_disk` reads.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Container, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa

from igcl_lightning.atomic import locked
from igcl_lightning.data.preparing.earlier import NOTES
from igcl_lightning.data.store_path import MANIFEST
from igcl_lightning.data.study import SPLITS
from igcl_lightning.errors import IgclError, one_line
from igcl_lightning.reports.files import resumable

WORK = "work.json"
ARROW_END = b"\xff\xff\xff\xff\0\0\0\0"


class UnfinishedStore:
    """A store that is being written.

    Args:
        out: folder of the complete store.
        features: its columns.
        path: folder until then; `OUT.partial` by default.
        again: how to continue after an error, for messages.
    """

    def __init__(
        self,
        out: Path,
        features: datasets.Features,
        path: Path | None = None,
        again: str = "run the same command with --resume",
    ) -> None:
        self.out = out
        self.path = path or out.with_name(f"{out.name}.partial")
        self.features = features
        self.again = again

    @contextmanager
    def open(self, work: Mapping[str, Any], *, resume: bool) -> Iterator[None]:
        """Lock the folder while the block writes chunks; remove the folder if the block fails before the first chunk.

        Args:
            work: everything the rows depend on, as JSON.
            resume: keep the chunks of an interrupted run, which must have the same settings.

        Raises:
            IgclError: the folder is not from an interrupted run or has other settings, another run uses it, the disk is
                full, or the folder is not writable.
        """
        with ExitStack() as until_exit:
            with self.resumable():
                self.path.mkdir(parents=True, exist_ok=True)
                until_exit.enter_context(locked(self.path))
                if resume and (self._has_chunks() or read_record(self.path / WORK) is not None):
                    self._resume(work)
                else:
                    self._begin(work)
            try:
                yield
            except BaseException:
                if not self._has_chunks():
                    shutil.rmtree(self.path, ignore_errors=True)
                raise

    def _begin(self, work: Mapping[str, Any]) -> None:
        """Empty the folder, perhaps that of an interrupted run."""
        if any(self.path.iterdir()) and not (self.path / NOTES).is_dir():
            raise IgclError(f"{self.path}: not left by an interrupted run; move it away")
        # The notes go last: without them the folder would not be recognised.
        for path in sorted(self.path.iterdir(), key=lambda path: path.name == NOTES):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        (self.path / NOTES).mkdir()
        write_text(self.path / WORK, json.dumps(work, indent=1))

    def _resume(self, work: Mapping[str, Any]) -> None:
        """Check that the folder has the same settings."""
        for left in [*self.path.rglob("*.tmp")]:
            left.unlink()
        begun = read_record(self.path / WORK)
        if begun is None:
            raise IgclError(f"{self.path}: its {WORK} is missing or damaged; --overwrite starts over")
        if (apart := difference(begun, work)) is not None:
            raise IgclError(
                f"{self.path}: was started with different {apart}; run the original command, "
                "or --overwrite to start over"
            )

    def _has_chunks(self) -> bool:
        return any((self.path / NOTES).glob("*.json"))

    def resumable(self) -> AbstractContextManager[None]:
        """Return a context that raises a failed write, such as on a full disk, as an `IgclError`."""
        return resumable(self.path, self.again)

    def notes_path(self, number: int) -> Path:
        """Return the file that completes a chunk."""
        return self.path / NOTES / f"{number:05d}.json"

    def notes(self, number: int) -> dict[str, Any] | None:
        """Return the notes of a chunk, None if it is incomplete or damaged."""
        notes = read_record(self.notes_path(number))
        return None if notes is None or damage(self.path, number, notes) else notes

    def cut(self, chunks: Container[int]) -> None:
        """Remove all other chunks, for a source that had more studies earlier."""
        for path in [*self.path.glob(f"{NOTES}/*.json"), *self.path.glob("[!.]*/data-*.arrow")]:
            if int(path.stem.removeprefix("data-")) not in chunks:
                path.unlink()

    def finish(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Complete the store, move it to `out`, and return the manifest; raises `IgclError` if the disk is full."""
        with self.resumable():
            for split in SPLITS:
                if files := sorted((self.path / split).glob("data-*.arrow")):
                    self._describe(split, [file.name for file in files], manifest["fingerprint"])
            write_text(self.path / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False))
            if is_store(_old(self.out)):
                shutil.rmtree(_old(self.out))
            if self.out.exists():
                self.out.rename(_old(self.out))
            self.path.rename(self.out)
            tidy(self.out)
        return manifest

    def _describe(self, split: str, names: list[str], fingerprint: str) -> None:
        """Write the files that `datasets.load_from_disk` expects beside the Arrow files of a split."""
        empty = self.path / f".{split}"
        table = datasets.Dataset.from_dict({name: [] for name in self.features}, features=self.features)
        datasets.disable_progress_bars()  # when no rows are saved
        table.save_to_disk(str(empty), num_shards=1)  # datasets before 5.2 fail to compute the size of no rows
        state = json.loads((empty / "state.json").read_text("utf-8"))
        state |= {"_data_files": [{"filename": name} for name in names], "_fingerprint": fingerprint[:16]}
        write_text(self.path / split / "state.json", json.dumps(state, indent=2, sort_keys=True))
        write_text(self.path / split / "dataset_info.json", (empty / "dataset_info.json").read_text("utf-8"))
        shutil.rmtree(empty)


def tidy(out: Path) -> None:
    """Remove leftovers of a run that was killed right after it renamed the store."""
    (out / WORK).unlink(missing_ok=True)
    if is_store(_old(out)):
        shutil.rmtree(_old(out), ignore_errors=True)


def is_store(path: Path) -> bool:
    """Return whether a folder is a store of any version, damaged or not; nothing else is ever removed."""
    manifest = read_record(path / MANIFEST)
    described = manifest is not None and {"format_version", "fingerprint"} <= manifest.keys()
    opened = any((path / split / "state.json").is_file() for split in SPLITS)
    return described or ((path / MANIFEST).is_file() and opened)


def named(out: Path) -> Path:
    """Return the folder under its own name, resolving "." and links."""
    path = out.resolve() if out.is_symlink() or not out.name else out
    if not path.name:
        raise IgclError(f"--out {out}: name a folder")
    return path


def _old(out: Path) -> Path:
    """Return the temporary place of a store that is being replaced."""
    return out.with_name(f".{out.name}.old")


def write_text(path: Path, text: str) -> None:
    """Write a file atomically, even in case of a power failure."""
    unfinished = path.with_name(f".{path.name}.tmp")
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)


def read_record(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file, None if the file is missing or damaged."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def damage(folder: Path, number: int, notes: Mapping[str, Any]) -> str | None:
    """Return which Arrow file of a chunk is missing or damaged, such as half copied, and how; None if they are whole.

    Args:
        folder: the folder of a store or shard.
        number: number of the chunk.
        notes: its notes, which count its rows. The content of the rows is not read.
    """
    for split, rows in notes["splits"].items():
        path = folder / split / f"data-{number:05d}.arrow"
        try:
            with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as batches:
                found = sum(batch.num_rows for batch in batches)
                file.seek(-len(ARROW_END), os.SEEK_END)
                ended = file.read() == ARROW_END
        except FileNotFoundError:
            return f"{path}: missing"
        except (OSError, pa.ArrowException) as error:
            return f"{path}: damaged ({one_line(error)})"
        if found != rows or not ended:
            return f"{path}: damaged ({found} of {rows} rows{'' if ended else ', no end'})"
    return None


def difference(begun: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    """Return the first name under which two records differ, with both values if they are short, None if they agree.

    A name within a record follows that of the record: "labels.Edema".
    """
    for name in sorted({*begun, *wanted}):
        first, second = begun.get(name), wanted.get(name)
        if isinstance(first, dict) and isinstance(second, dict) and first != second:
            return f"{name}.{difference(first, second)}"
        if first != second:
            short = max(len(repr(first)), len(repr(second))) < 60
            return f"{name} ({first!r}, now {second!r})" if short else name
    return None
