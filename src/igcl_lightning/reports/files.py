"""Files of data sets: folders, JSON lines, Git LFS pointers, write errors."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from igcl_lightning.errors import IgclError

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
"""First bytes of a Git LFS pointer, the placeholder of a file that was not downloaded."""

MAX_POINTER_BYTES = 1024
NOT_DATA = ("__MACOSX",)


def reason(error: OSError) -> str:
    """Return the system's message, such as "no space left on device"."""
    return (error.strerror or str(error)).lower()


def is_lfs_pointer(path: Path) -> bool:
    """Return whether a file is a Git LFS pointer; raises `OSError` if the file cannot be read."""
    return path.stat().st_size <= MAX_POINTER_BYTES and path.read_bytes().startswith(LFS_POINTER)


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


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield number and bytes of each line that is not blank; the first line is 1."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.isspace():
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
