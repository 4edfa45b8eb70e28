"""The files below a folder, for readers that look for images by themselves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from igcl_lightning.errors import IgclError

NOT_DATA = ("__MACOSX",)


def walk_folders(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield each folder from `root` down with the sorted names of its files.

    Links are followed, and a folder that is reached twice is read once, so that links in a circle end. Hidden files and
    folders, and those that macOS adds to archives, are left out.

    Raises:
        IgclError: a folder cannot be read.
    """
    seen: set[tuple[int, int]] = set()
    _is_new(root, seen)
    for parent, folders, names in os.walk(root, followlinks=True, onerror=_refuse):
        folders[:] = sorted(name for name in folders if _is_data(name) and _is_new(Path(parent, name), seen))
        yield Path(parent), sorted(filter(_is_data, names))


def _is_data(name: str) -> bool:
    return not name.startswith(".") and name not in NOT_DATA


def _is_new(folder: Path, seen: set[tuple[int, int]]) -> bool:
    status = folder.stat()
    key = (status.st_dev, status.st_ino)
    if key in seen:
        return False
    seen.add(key)
    return True


def _refuse(error: OSError) -> None:
    raise IgclError(f"{error.filename}: {(error.strerror or str(error)).lower()}") from error
