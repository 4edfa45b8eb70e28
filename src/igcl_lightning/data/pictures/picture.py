"""What every reader of image files gives, the sizes it refuses, and how deep values become grey levels."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from igcl_lightning.errors import IgclError

MAX_PIXELS = 2**26  # 8192 x 8192, four times what the largest detectors have
STRETCH_SHARE = 0.005  # of the pixels, at each end of the values


class Picture(NamedTuple):
    """One image as it came out of its file.

    Attributes:
        pixels: uint8 [H, W] grey, upright as the file says, possibly decoded at reduced size.
        shape: Height and width at full size, upright: what boxes and masks count in.
        flags: What was done to it, and what looks wrong, in short fixed phrases.
        header: Of a DICOM file, the values of `dicom.HEADER` that it gives; empty otherwise.
    """

    pixels: np.ndarray
    shape: tuple[int, int]
    flags: tuple[str, ...] = ()
    header: Mapping[str, str] = {}  # never changed


def refuse_size(width: int, height: int) -> None:
    """Refuse an image before its pixels are allocated.

    Raises:
        IgclError: it has more than `MAX_PIXELS` pixels.
    """
    if width * height > MAX_PIXELS:
        raise IgclError(f"claims {width} x {height} pixels, more than the {MAX_PIXELS:,} that an image may have")


@contextmanager
def muted() -> Iterator[None]:
    """Keep a C library from writing to the process's own stderr, past Python, as libtiff does.

    What other threads write there meanwhile is lost too, so it is held around the decoding of such files only.
    """
    kept = os.dup(2)
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def one_line(text: str) -> str:
    """What a library or a broken file says, fit to be shown: printable, in one line of bounded length."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text[:2000])
    return " ".join(printable.split())[:300]


def stretch_range(levels: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """The range of deep values that 0-255 stands for, where the file does not say.

    It leaves out `STRETCH_SHARE` of the pixels at each end, at least one: one hot pixel, or a letter burned in at the
    largest value, would otherwise leave the rest nearly black. Where that leaves no range, it is the full one.

    Args:
        levels: The values that may occur, number [V], in any order.
        counts: How many pixels have each, int [V].

    Returns:
        The values that become 0 and 255, both the same where all pixels have one value, or where there are none.
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
    """Map `low` to 0, `high` to 255 and what lies between linearly, uint8 of the same shape.

    What is no number becomes 0, and everything where `low` and `high` are one.
    """
    if low == high:
        return np.zeros(values.shape, np.uint8)
    share = (values.astype(np.float64) - low) / (high - low)
    return np.round(255 * np.clip(np.nan_to_num(share), 0, 1)).astype(np.uint8)
