"""Bytes of text files that may be packed; what would only fill the memory is refused."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from igcl_lightning.errors import IgclError
from igcl_lightning.reports.files import NOT_DATA

MOST_UNPACKED = 2**26
MOST_EXPANDED = 50
"""A packed file may hold so many bytes, or so many times its own. Tables expand 4 to 30 times; a file that expands a
thousand times was made to fill the memory."""

MOST_LINE = 2**26
"""Bytes of the longest line."""

PACKED = (".gz", ".bz2", ".xz", ".zip")
"""Suffixes of packed files."""

_BLOCK = 1 << 20
_ZIP = b"PK\x03\x04"
_OPENERS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}


@contextmanager
def unpacked(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, with gzip, bzip2 or xz, or the only member of a zip archive, as its content says.

    Raises:
        IgclError: the archive has several members. Reading raises it when the file turns out to be absurdly large.
    """
    with path.open("rb") as raw:
        magic = raw.read(6)
        raw.seek(0)
        if magic.startswith(_ZIP):
            with zipfile.ZipFile(raw) as archive, archive.open(_only_member(path, archive)) as file:
                yield io.BufferedReader(_Bounded(path, file, packed=True), _BLOCK)
            return
        opener = next((opener for start, opener in _OPENERS.items() if magic.startswith(start)), None)
        with raw if opener is None else opener(raw) as file:
            yield io.BufferedReader(_Bounded(path, file, packed=opener is not None), _BLOCK)


def refuse_expansion(path: Path, size: int) -> None:
    """Raise `IgclError` if a packed file holds so many bytes or cells that it would only fill the memory."""
    if size > max(MOST_UNPACKED, MOST_EXPANDED * path.stat().st_size):
        said = f"more than {MOST_EXPANDED} times its size when unpacked, as no real table is"
        raise IgclError(f"{path}: {said}; if it is one, unpack it and give the unpacked file")


class _Bounded(io.RawIOBase):
    """The bytes of a file, up to a limit of all and of one line."""

    def __init__(self, path: Path, file: IO[bytes], *, packed: bool) -> None:
        self.path, self.file, self.packed = path, file, packed
        self.total, self.line = 0, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.file.read(len(buffer))
        self.total += len(data)
        if self.packed:
            refuse_expansion(self.path, self.total)
        end = max(data.rfind(b"\n"), data.rfind(b"\r"))
        self.line = len(data) - end - 1 + (self.line if end < 0 else 0)
        if self.line > MOST_LINE:
            raise IgclError(f"{self.path}: not a table (a line of more than {MOST_LINE / 1e6:.0f} MB)")
        buffer[: len(data)] = data
        return len(data)


def _only_member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = [member for member in archive.infolist() if not member.is_dir() and _is_data(member.filename)]
    if len(members) != 1:
        raise IgclError(f"{path}: holds {len(members)} files instead of one table; unpack it and give the table")
    return members[0]


def _is_data(name: str) -> bool:
    parts = name.split("/")
    return parts[0] not in NOT_DATA and not parts[-1].startswith(".")
