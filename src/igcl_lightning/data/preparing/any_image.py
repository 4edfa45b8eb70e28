"""Whether a data set has any of its images: a wrong folder is named at once, with the place where they seem to be."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from igcl_lightning.data.preparing.manifest import NoRowsError
from igcl_lightning.reports.files import entries

MOST_FOLDERS = 200
"""Folders that are looked through for an image."""


class AnyImage:
    """Looks for images until one exists, which is usually the first."""

    def __init__(self) -> None:
        self.found = False
        self.number = 0
        self._first: Path | None = None

    def add(self, source: Path | np.ndarray) -> None:
        """Add an image of the source."""
        if not self.found:
            self.number += 1
            self.found = not isinstance(source, Path) or os.path.exists(source)
            self._first = self._first or (source if isinstance(source, Path) else None)

    def refuse_none(self, tables: Sequence[Path], options: str) -> None:
        """Raise `NoRowsError` if there are images and none exists; they may be near the first of these tables.

        `options` are those that name the folder of the images.
        """
        if self._first is not None and not self.found:
            which = f"none of its {self.number:,} images exists, such as" if self.number > 1 else "no such image file:"
            where = _elsewhere(self._first, [table.parent for table in tables[:1]])
            advice = f"; there is {where}" if where else ""
            said = f"name their folder with {options}, or mend the paths in the table"
            if where and any(self._first == table.parent / where for table in tables[:1]):
                said = "paths are relative to the folder of the table, these to the current one: give --root ."
            raise NoRowsError(f"the source has no usable row: {which} {self._first}{advice}; {said}")


def _elsewhere(path: Path, others: Sequence[Path]) -> Path | None:
    """Return the image in a folder beside or below, or in others, or the nearest name where the path ends."""
    folder = next((parent for parent in path.parents if os.path.isdir(parent)), None)
    if folder is None:
        return None
    missing = path.relative_to(folder).parts
    tails = [Path(*missing[start:]) for start in range(len(missing))]
    near = [base for base in dict.fromkeys((*others, folder, folder.parent)) if str(base) != path.anchor]
    for parent in chain.from_iterable(map(_folders, near)):
        for tail in tails:
            if os.path.exists(parent / tail):
                return parent / tail
    names = entries(folder)
    same_stem = [name for name in names if os.path.splitext(name)[0] == os.path.splitext(missing[0])[0]]
    alike = same_stem or [name for name in names if name.casefold() == missing[0].casefold()]
    alike = alike or difflib.get_close_matches(missing[0], names, n=1)
    return folder / alike[0] if alike else None


def _folders(folder: Path) -> Iterator[Path]:
    """Yield a folder, then those in it and in them, up to a number."""
    inner = [folder / name for name in entries(folder) if os.path.isdir(folder / name)]
    yield folder
    yield from inner[:MOST_FOLDERS]
    for parent in inner[: MOST_FOLDERS // 10]:
        yield from [parent / name for name in entries(parent) if os.path.isdir(parent / name)][: MOST_FOLDERS // 10]
