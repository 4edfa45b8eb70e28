"""The unfinished file of an interrupted `igcl graphs`, which the same command resumes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from igcl_lightning.reports.files import resumable

AGAIN = "run the same command again"


class PartialFile:
    """Lines written so far: `.NAME.partial`, and what they were made from: `.NAME.partial.json`.

    Lines of the same work are kept up to the last complete one; those of other work are discarded.

    Args:
        out: path of the finished file.
        work: everything the lines depend on, as JSON.
        warn: called with a message when lines are discarded.

    Attributes:
        lines: number of complete lines.

    Raises:
        IgclError: the disk is full, or the folder is not writable.
    """

    def __init__(self, out: Path, work: dict[str, Any], warn: Callable[[str], object]) -> None:
        self._out = out
        self._path = out.with_name(f".{out.name}.partial")
        self._note = out.with_name(f".{out.name}.partial.json")
        with resumable(self._path, AGAIN):
            if self._path.exists() and not self._is_of(work):
                warn(f"{self._path}: made from other reports, or with other options or another parser; starting over")
                self._path.unlink()
            if not self._path.exists():
                self._note.write_text(json.dumps(work, indent=1) + "\n", encoding="utf-8")
            # Unbuffered, so that nothing remains to be flushed when the disk is full.
            self._file = self._path.open("a+b", buffering=0)
            with self._path.open("rb") as written:
                complete = [len(line) for line in written if line.endswith(b"\n")]
            self._file.truncate(sum(complete))
        self.lines = len(complete)

    def __enter__(self) -> PartialFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, content: bytes) -> None:
        """Write lines; raises `IgclError` if the disk is full."""
        rest = memoryview(content)
        with resumable(self._path, AGAIN):
            while rest:
                rest = rest[self._file.write(rest) :]
        self.lines += content.count(b"\n")

    def finish(self) -> None:
        """Rename the file to `out`; raises `IgclError` if it cannot be renamed."""
        with resumable(self._path, AGAIN):
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._path, self._out)
            self._note.unlink(missing_ok=True)

    def _is_of(self, work: dict[str, Any]) -> bool:
        try:
            return bool(json.loads(self._note.read_text("utf-8")) == work)
        except (OSError, ValueError):
            return False
