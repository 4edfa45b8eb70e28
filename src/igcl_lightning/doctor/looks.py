"""Decoded images: broken, blank and wrongly sized ones, and a thumbnail of each for comparison."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from PIL import Image

from igcl_lightning.data.images import decode_grey
from igcl_lightning.doctor.findings import Finding, share
from igcl_lightning.doctor.opened import OpenedStore
from igcl_lightning.metrics.border import KINDS, PLACES, border_marks
from igcl_lightning.quiet import progress_bar

THUMBNAIL = 16
"""Side of a thumbnail, in pixels."""

CHUNK = 256
"""Images per update of the progress bar."""

BLACK = 3
"""Grey levels of 255 below which a pixel is black."""

FLAT = 8
"""Range of grey levels, of 255, that contains the pixels of a blank image, except for the share 1 - `SHOWN`."""

SHOWN = 0.9


class Look(NamedTuple):
    """One decoded image (see `Looks`); `square` is the mean of the squared grey values, scale 0-1."""

    thumbnail: np.ndarray
    marks: np.ndarray
    size: tuple[int, int]
    blank: bool
    mean: float
    square: float


@dataclass(frozen=True)
class Looks:
    """N decoded images, and those that cannot be decoded.

    Attributes:
        number: number of each row in the store's `ids`, int64 [N].
        thumbnail: uint8 [N, THUMBNAIL, THUMBNAIL].
        marks: small things at the border, uint8 [N, 2, W] (`metrics.border`).
        size: height and width in pixels, int64 [N, 2].
        blank: bool [N].
        mean: mean grey value of all pixels, scale 0-1; `std` is their standard deviation.
        undecodable: message of the decoder, by number of the row.
    """

    number: np.ndarray
    thumbnail: np.ndarray
    marks: np.ndarray
    size: np.ndarray
    blank: np.ndarray
    mean: float
    std: float
    undecodable: dict[int, str]


def evenly(total: int, wanted: int) -> np.ndarray:
    """Return `wanted` of the numbers below `total`, evenly spaced; all if `wanted` is 0."""
    if wanted <= 0 or wanted >= total:
        return np.arange(total)
    return np.linspace(0, total - 1, wanted).round().astype(np.int64)


def look_at(store: OpenedStore, numbers: np.ndarray, threads: int) -> Looks:
    """Decode the images of the rows in `numbers`, which index the store's `ids`."""
    seen: dict[int, Look] = {}
    failed: dict[int, str] = {}
    with (
        ThreadPoolExecutor(threads) as pool,
        progress_bar(total=len(numbers), desc="images", unit="image", leave=False) as bar,
    ):
        for begin in range(0, len(numbers), CHUNK):
            part = numbers[begin : begin + CHUNK]
            for number, look in zip(part, pool.map(partial(_look, store.images), part), strict=True):
                if isinstance(look, Look):
                    seen[int(number)] = look
                elif look:
                    failed[int(number)] = look
            bar.update(len(part))
    looks = list(seen.values())
    mean, square = np.mean([(look.mean, look.square) for look in looks] or [(0.0, 0.0)], axis=0).tolist()
    return Looks(
        number=np.array(list(seen), np.int64),
        thumbnail=np.array([look.thumbnail for look in looks], np.uint8).reshape(-1, THUMBNAIL, THUMBNAIL),
        marks=np.array([look.marks for look in looks], np.uint8).reshape(-1, len(KINDS), len(PLACES)),
        size=np.array([look.size for look in looks], np.int64).reshape(-1, 2),
        blank=np.array([look.blank for look in looks], bool),
        mean=mean,
        std=max(square - mean**2, 0.0) ** 0.5,
        undecodable=failed,
    )


def _look(images: pa.ChunkedArray, number: int) -> Look | str:
    """Return the `Look` of a row, or the message of the decoder; "" if the row has no bytes."""
    data = images[int(number)].as_py()
    if not data:
        return ""
    try:
        pixels = decode_grey(data)
    except Exception as error:  # any exception of a decoder is a finding
        return str(error) or type(error).__name__
    thumbnail = Image.fromarray(pixels).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    counts = np.bincount(pixels.ravel(), minlength=256)
    grey = np.arange(256) / 255
    mean, square = (float(np.average(values, weights=counts)) for values in (grey, grey**2))
    return Look(np.asarray(thumbnail), border_marks(pixels), pixels.shape, _is_blank(counts), mean, square)


def _is_blank(counts: np.ndarray) -> bool:
    """Return whether nearly all pixels of a histogram, black borders excepted, have one grey value."""
    inner = counts.copy()
    inner[:BLACK] = 0
    total = int(inner.sum())
    if total < 0.01 * counts.sum():
        return True
    low, high = np.searchsorted(np.cumsum(inner), [(1 - SHOWN) / 2 * total, (1 + SHOWN) / 2 * total])
    return bool(high - low < FLAT)


def check_looks(store: OpenedStore, looks: Looks) -> Iterator[Finding]:
    """Find broken and blank images, and images of another size than the manifest's."""
    total = len(looks.number) + len(looks.undecodable)
    broken, blank = list(looks.undecodable), looks.number[looks.blank]
    text = f"{share(len(broken), total)} images cannot be decoded"
    why = f" ({next(iter(looks.undecodable.values()), '')}); prepare again"
    yield from store.suspects("error", "images", broken, text, why, undecodable=len(broken))
    text = f"{share(len(blank), total)} images are blank"
    yield from store.suspects("warning", "images", blank, text, blank=len(blank))
    size = store.manifest.get("size")
    other = (looks.size != size).any(axis=1).nonzero()[0] if size else []
    if len(other):
        height, width = looks.size[other[0]]
        text = f"{share(len(other), len(looks.size))} images are not {size} x {size} pixels as the manifest says"
        more = f" ({height} x {width}): they cannot be batched; prepare again"
        yield from store.suspects("error", "images", looks.number[other], text, more, other_size=len(other))
    if total < store.num_rows:
        text = f"{share(store.num_rows - total, store.num_rows)} images were not decoded; --rows 0 decodes all"
        yield Finding("not examined", "images", text)
    if not broken and not len(blank):
        yield Finding("ok", "images", f"{share(total, store.num_rows)} images decoded, none is broken or blank")
