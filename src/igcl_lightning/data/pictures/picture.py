"""Result of all image readers, the size limit, and the mapping of deep values to grey levels."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from igcl_lightning.errors import IgclError, one_line

MAX_PIXELS = 2**26  # 8192 x 8192, four times the pixels of the largest detectors
COUNTED = 2**18  # pixels counted at a time: they fit in the processor's cache
STRETCH_SHARE = 0.005  # share of the pixels, at each end of the range


class Picture(NamedTuple):
    """A decoded image.

    Attributes:
        pixels: grey values, uint8 [H, W], upright; H and W may be reduced.
        shape: height and width at full size, upright; boxes and masks are in these pixels.
        flags: applied changes and anomalies, as short fixed phrases.
        header: values of `dicom.HEADER` in a DICOM file.
    """

    pixels: np.ndarray
    shape: tuple[int, int]
    flags: tuple[str, ...] = ()
    header: Mapping[str, str] = {}  # never changed


def refuse_size(width: int, height: int) -> None:
    """Raise `IgclError` for more than `MAX_PIXELS` pixels, before they are allocated."""
    if width * height > MAX_PIXELS:
        raise IgclError(f"claims {width} x {height} pixels, more than the limit of {MAX_PIXELS:,}")


@contextmanager
def muted() -> Iterator[None]:
    """Discard output of C libraries such as libtiff to the process's stderr, and with it that of other threads."""
    kept = os.dup(2)
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def printable_line(text: str) -> str:
    """Return a text from a library or a file for a message: printable, one line, at most 300 characters."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text[:2000])
    return one_line(printable)[:300]


def count_levels(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the levels of whole numbers with a small range, so that each step is done once a level, not once a pixel.

    Args:
        values: int [H, W].

    Returns:
        All levels from the lowest to the highest value, int64 [V]; the index of each pixel's level, int [H, W]; pixels
        by level, int64 [V].
    """
    first, count = values.min(), int(values.max()) - int(values.min()) + 1
    index = values - first
    if index.dtype.kind == "i":
        index = index.view(index.dtype.str.replace("i", "u"))  # a difference may exceed a signed type
    flat, counts = index.ravel(), np.zeros(count, np.int64)
    for start in range(0, flat.size, COUNTED):
        counts += np.bincount(flat[start : start + COUNTED].astype(np.intp), minlength=count)
    return np.arange(count) + int(first), index, counts


def stretch_range(levels: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """Return the range of deep values that is mapped to 0-255 if the file does not define one.

    Excludes `STRETCH_SHARE` of the pixels at each end, at least one, since a hot pixel or a burned-in letter would
    leave the rest nearly black. If that leaves no range, returns the full one.

    Args:
        levels: possible values, number [V], in any order.
        counts: pixels per value, int [V].

    Returns:
        The values mapped to 0 and 255; equal if all pixels have one value, or if there are none.
    """
    order = np.argsort(levels)
    ascending, reached = levels[order], np.cumsum(counts[order])
    total = int(reached[-1])
    if total == 0:
        return 0.0, 0.0
    share = min(int(np.ceil(STRETCH_SHARE * total)), (total - 1) // 2)
    inner, full = (np.searchsorted(reached, [left_out, total - 1 - left_out], side="right") for left_out in (share, 0))
    low, high = ascending[inner if inner[0] < inner[1] else full]
    return float(low), float(high)


def to_bytes(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map `low`..`high` linearly to 0..255, uint8 of the same shape; NaN becomes 0, as does all if `low` is `high`."""
    if low == high:
        return np.zeros(values.shape, np.uint8)
    share = (values.astype(np.float64) - low) / (high - low)
    return np.round(255 * np.clip(np.nan_to_num(share), 0, 1)).astype(np.uint8)
