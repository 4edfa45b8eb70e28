"""Files of data sets: folders, JSON lines, Git LFS pointers, write errors."""

from __future__ import annotations

import difflib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from igcl_lightning.errors import IgclError

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
"""First bytes of a Git LFS pointer, the placeholder of a file that was not downloaded."""

MAX_POINTER_BYTES = 1024
MOST_ENTRIES = 5000
"""Entries of a folder that are looked through for a near name."""

MAX_BYTES = 2**29  # of an image or array; 8192 x 8192 pixels of uncompressed 16-bit colour
NOT_DATA = ("__MACOSX",)


def reason(error: OSError) -> str:
    """Return the system's message, such as "no space left on device"."""
    return (error.strerror or str(error)).lower()


def read_bytes(path: Path) -> bytes:
    """Return the content of a file that may be anything.

    Raises:
        IgclError: it is missing, not a regular file, larger than `MAX_BYTES`, or cannot be read: no permission, a name
            that is too long or has a NUL byte, an error of the disk.
    """
    text = str(path)
    name = text if len(text) < 400 else f"{text[:200]} ... {text[-100:]}"
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe would block forever
            raise IgclError(f"{name}: not a regular file")
        if status.st_size > MAX_BYTES:
            raise IgclError(f"{name}: larger than {MAX_BYTES:,} bytes, the limit for a file of one row")
        with path.open("rb", buffering=0) as file:
            return file.readall()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise IgclError(f"{name}: no such file") from error
    except OSError as error:
        raise IgclError(f"{name}: cannot be read ({reason(error)})") from error
    except ValueError as error:  # a name that no file can have
        raise IgclError(f"{name!r}: cannot be read ({error})") from error


def is_lfs_pointer(path: Path) -> bool:
    """Return whether a path is a Git LFS pointer; raises `OSError` or `ValueError` if that cannot be seen."""
    status = path.stat()
    small = stat.S_ISREG(status.st_mode) and status.st_size <= MAX_POINTER_BYTES
    return small and path.read_bytes().startswith(LFS_POINTER)


def entries(folder: Path) -> list[str]:
    """Return names in a folder that are not hidden, at most `MOST_ENTRIES`; none if it cannot be read."""
    try:
        with os.scandir(folder) as found:
            return sorted(entry.name for entry in islice(found, MOST_ENTRIES) if _is_data(entry.name))
    except (OSError, ValueError):
        return []


def near_path(path: Path) -> str:
    """Return ", did you mean X?" for a path that does not exist, or nothing when no name in its folder is close."""
    others = (name for name in reversed(entries(path.parent)) if name != path.name)  # it may be a link to nowhere
    by_stem = {name.partition(".")[0]: name for name in others}  # suffixes are all alike
    near = difflib.get_close_matches(path.name.partition(".")[0], by_stem, n=1)
    return f", did you mean {path.with_name(by_stem[near[0]])}?" if near else ""


def walk_folders(root: Path, unread: list[str] | None = None) -> Iterator[tuple[Path, list[str]]]:
    """Yield each folder from `root` down with the sorted names of its files.

    Follows symbolic links and reads each folder once, so circular links end. Skips hidden files and folders, and
    those that macOS adds to archives. Subfolders that cannot be read are added to `unread`, if given.

    Raises:
        IgclError: `root` cannot be read, or a subfolder without `unread`.
    """
    seen: set[tuple[int, int]] = set()

    def refuse(error: OSError) -> None:
        if unread is None or os.fspath(error.filename) == os.fspath(root):
            raise IgclError(f"{error.filename}: {reason(error)}") from error
        unread.append(os.fspath(error.filename))

    def is_new(folder: Path) -> bool:
        try:
            status = folder.stat()
        except OSError as error:
            refuse(error)
            return False
        before = len(seen)
        seen.add((status.st_dev, status.st_ino))
        return len(seen) > before

    is_new(root)
    for parent, folders, names in os.walk(root, followlinks=True, onerror=refuse):
        folders[:] = sorted(name for name in folders if _is_data(name) and is_new(Path(parent, name)))
        yield Path(parent), sorted(filter(_is_data, names))


def _is_data(name: str) -> bool:
    return not name.startswith(".") and name not in NOT_DATA


def numbered_lines(path: Path, *, blank: bool = False) -> Iterator[tuple[int, bytes]]:
    """Yield number and bytes of each line, without `blank` of those that are not; the first line is 1."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if blank or not line.isspace():
                yield number, line


def json_object(line: bytes) -> dict[str, Any]:
    """Return the JSON object on a line; raises `ValueError` if it is not UTF-8, not JSON or not an object."""
    try:
        record = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: {error.reason}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")
    return record


@contextmanager
def resumable(path: Path, again: str) -> Iterator[None]:
    """Convert an `OSError` of the block to an `IgclError` that says how to resume, such as "run the same command"."""
    try:
        yield
    except OSError as error:
        raise IgclError(f"{path}: {reason(error)}; finished work is kept: fix it and {again}") from error
