"""A look at decoded images: which are broken, blank or of another size, and a thumbnail of each for comparison."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from igcl_lightning.data.images import decode_grey
from igcl_lightning.doctor.findings import Finding, share, such_as
from igcl_lightning.doctor.opened import OpenedStore

THUMBNAIL = 16
CHUNK = 256
BLACK = 3
FLAT = 8
SHOWN = 0.9


class Look(NamedTuple):
    """What is kept of one image.

    Attributes:
        thumbnail: uint8 [THUMBNAIL, THUMBNAIL].
        size: height and width in pixels.
        blank: whether nothing is on it.
        mean: grey mean on the scale 0-1.
        square: mean of the squared grey values on that scale.
    """

    thumbnail: np.ndarray
    size: tuple[int, int]
    blank: bool
    mean: float
    square: float


@dataclass(frozen=True)
class Looks:
    """What is kept of the decoded images, N of them.

    Attributes:
        number: number of each row in the store's `ids`, int64 [N].
        thumbnail: uint8 [N, THUMBNAIL, THUMBNAIL].
        size: height and width, int64 [N, 2].
        blank: whether nothing is on it, bool [N].
        mean: grey mean of all pixels on the scale 0-1.
        std: grey standard deviation of all pixels on that scale.
        undecodable: what the decoder said, by the number of the row.
    """

    number: np.ndarray
    thumbnail: np.ndarray
    size: np.ndarray
    blank: np.ndarray
    mean: float
    std: float
    undecodable: dict[int, str]


def evenly(total: int, wanted: int) -> np.ndarray:
    """Return the numbers of so many of the rows, the same ones each time and evenly spread; all for 0."""
    if wanted <= 0 or wanted >= total:
        return np.arange(total)
    return np.linspace(0, total - 1, wanted).round().astype(np.int64)


def look_at(store: OpenedStore, numbers: np.ndarray, threads: int) -> Looks:
    """Decode the images of rows, given by their number in the store's `ids`."""
    seen: list[tuple[int, Look]] = []
    failed: dict[int, str] = {}
    with ThreadPoolExecutor(threads) as pool, tqdm(total=len(numbers), desc="images", unit="image", leave=False) as bar:
        for begin in range(0, len(numbers), CHUNK):
            part = numbers[begin : begin + CHUNK]
            for number, look in zip(part, pool.map(partial(_look, store), part), strict=True):
                if isinstance(look, Look):
                    seen.append((int(number), look))
                elif look:
                    failed[int(number)] = look
            bar.update(len(part))
    return _gathered(seen, failed)


def _gathered(seen: Sequence[tuple[int, Look]], failed: dict[int, str]) -> Looks:
    looks = [look for _, look in seen]
    mean = float(np.mean([look.mean for look in looks])) if looks else 0.0
    square = float(np.mean([look.square for look in looks])) if looks else 0.0
    side = THUMBNAIL
    return Looks(
        number=np.array([number for number, _ in seen], np.int64),
        thumbnail=np.array([look.thumbnail for look in looks], np.uint8).reshape(-1, side, side),
        size=np.array([look.size for look in looks], np.int64).reshape(-1, 2),
        blank=np.array([look.blank for look in looks], bool),
        mean=mean,
        std=float(np.sqrt(max(square - mean**2, 0.0))),
        undecodable=failed,
    )


def _look(store: OpenedStore, number: int) -> Look | str:
    """Return the look of a row, or what the decoder said; nothing for a row whose bytes are missing."""
    data = store.image_bytes(int(number)).as_py()
    if not data:
        return ""
    try:
        pixels = decode_grey(data)
    except Exception as error:  # whatever a decoder raises on broken bytes is what is looked for
        return str(error) or type(error).__name__
    thumbnail = Image.fromarray(pixels).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    counts = np.bincount(pixels.ravel(), minlength=256)
    grey = np.arange(256) / 255
    mean, square = (float(np.average(values, weights=counts)) for values in (grey, grey**2))
    return Look(np.asarray(thumbnail), pixels.shape, _is_blank(counts), mean, square)


def _is_blank(counts: np.ndarray) -> bool:
    """Return whether nearly all pixels of a histogram, black borders left out, are of one grey."""
    inner = counts.copy()
    inner[:BLACK] = 0
    total = int(inner.sum())
    if total < 0.01 * counts.sum():
        return True
    low, high = np.searchsorted(np.cumsum(inner), [(1 - SHOWN) / 2 * total, (1 + SHOWN) / 2 * total])
    return bool(high - low < FLAT)


def check_looks(store: OpenedStore, looks: Looks) -> Iterator[Finding]:
    """Say which of the images that were looked at are broken, blank, or of another size than the manifest's."""
    total = len(looks.number) + len(looks.undecodable)
    if looks.undecodable:
        places = store.places(list(looks.undecodable))
        broken, why = len(looks.undecodable), next(iter(looks.undecodable.values()))
        named = such_as(place.row for place in places)
        message = f"{share(broken, total)} images cannot be decoded{named} ({why}); prepare again"
        yield Finding("error", "images", message, places, {"undecodable": broken})
    blank = looks.number[looks.blank]
    if len(blank):
        places = store.places(blank)
        message = f"{share(len(blank), total)} images are blank{such_as(place.row for place in places)}"
        yield Finding("warning", "images", message, places, {"blank": len(blank)})
    yield from _check_size(store, looks)
    if not looks.undecodable and not len(blank):
        yield Finding("ok", "images", f"{share(total, store.num_rows)} images decoded, none is broken or blank")


def _check_size(store: OpenedStore, looks: Looks) -> Iterator[Finding]:
    size = store.manifest.get("size")
    other = (looks.size != size).any(axis=1).nonzero()[0] if size else np.zeros(0, np.int64)
    if len(other):
        places = store.places(looks.number[other])
        height, width = looks.size[other[0]]
        message = (
            f"{share(len(other), len(looks.size))} images are not {size} x {size} pixels as the manifest says"
            f"{such_as(place.row for place in places)} ({height} x {width}): they cannot be batched; prepare again"
        )
        yield Finding("error", "images", message, places, {"other_size": len(other)})
