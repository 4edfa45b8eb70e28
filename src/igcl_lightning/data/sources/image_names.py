"""Names of files in a table as paths: of Windows, with "./", without suffix."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path, PurePosixPath, PureWindowsPath

import pandas as pd

from igcl_lightning.data.images import SUFFIXES
from igcl_lightning.data.sources.checks import refuse
from igcl_lightning.errors import IgclError
from igcl_lightning.texts import plain_id


def plain_name(name: str) -> str:
    r"""Return a name with "/" between folders, without "./" and "//": "x/a.png" for "./x/a.png" and "x\a.png"."""
    return PureWindowsPath(name).as_posix() if "\\" in name else str(PurePosixPath(name))


def image_paths(table: Path, names: pd.Series, folder: Path, counts: Counter[str]) -> pd.Series:
    """Return the path of each image of a table, by `plain_name`.

    A name without suffix is that of the one image in its folder which begins so; such names are counted.

    Raises:
        IgclError: a name without suffix could be two images, or two rows name the same file.
    """
    listed = cache(_listed)
    paths = pd.Series([folder / name for name in names], index=names.index, dtype=object)
    bare = ~names.map(lambda name: PurePosixPath(name).suffix.lower() in SUFFIXES).astype(bool)
    for row in paths.index[bare]:
        try:
            paths[row] = _completed(paths[row], listed)
        except IgclError as error:
            refuse(table, pd.Series(names.index == row, names.index), str(error))
    counts["images named without suffix"] += int((paths[bare] != [folder / name for name in names[bare]]).sum())
    real = paths.map(os.path.abspath)
    if (twice := real.duplicated()).any():
        first = real.index[real == real[twice].iloc[0]][0]
        refuse(table, twice, f"column {names.name!r}: {names[twice].iloc[0]!r} is the file of row {first + 2}")
    counts.update(same_pictures(paths))
    return paths


def same_pictures(paths: Iterable[Path]) -> dict[str, int]:
    """Return a count of the files that symbolic links make the same as an earlier one, for the notes of a source.

    They are kept: content-addressed stores link equal pictures of two patients to one file.
    """
    folder_of = cache(os.path.realpath)
    seen: set[str] = set()
    links = 0
    for path in paths:
        try:
            real = os.path.join(folder_of(path.parent), path.name)
            real = os.path.realpath(real) if os.path.islink(real) else real
        except (OSError, ValueError):  # a name that no file can have
            continue
        links += real in seen
        seen.add(real)
    return {"images that are links to an earlier one": links}


def _completed(path: Path, listed: Callable[[Path], tuple[set[str], dict[str, list[str]]]]) -> Path:
    """Return the path with the suffix of the image that it names, or unchanged."""
    names, images = listed(path.parent)
    found = [] if path.name in names else images.get(path.name) or images.get(plain_id(path.name) or "", [])
    if len(found) > 1:
        raise IgclError(f"{path.name!r} could be {' or '.join(found)}; name images with their suffix")
    return path.with_name(found[0]) if found else path


def _listed(folder: Path) -> tuple[set[str], dict[str, list[str]]]:
    """Return the names in a folder, and those of images by name without suffix; none if it cannot be read."""
    try:
        names = sorted(os.listdir(folder))
    except (OSError, ValueError):
        return set(), {}
    images: dict[str, list[str]] = {}
    for name in names:
        stem, suffix = os.path.splitext(name)
        if suffix.lower() in SUFFIXES:
            images.setdefault(stem, []).append(name)
    return {*names}, images
