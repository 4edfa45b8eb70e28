"""Comparison of thumbnails: near duplicates, and images that look rotated.

Both use the correlation of two thumbnails. For 817 radiographs of NIH ChestX-ray14 it stays above 0.9998 when JPEG
quality, size or brightness change; two different images reach 0.974 at most.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from igcl_lightning.data.study import FRONTAL
from igcl_lightning.doctor.findings import Finding, number, share
from igcl_lightning.doctor.looks import Looks
from igcl_lightning.doctor.opened import OpenedStore

SAME = 0.995
"""Correlation above which two thumbnails show the same image."""

BANDS = 8
NEIGHBOURS = 8
TURNED = 0.1
"""Gain of correlation with the rotated mean above which an image looks rotated: 98 to 99 % of images rotated on
purpose, 0.5 % of upright ones."""

MIN_IMAGES = 20
"""Minimum number of frontal images for a mean."""

TURNS = {1: "a quarter to the left", 2: "upside down", 3: "a quarter to the right"}


def check_near_duplicates(store: OpenedStore, looks: Looks, group: np.ndarray) -> Iterator[Finding]:
    """Find images that look the same but differ in bytes (others: `duplicate_groups`); blank ones are ignored."""
    kept = np.flatnonzero(~looks.blank)
    pairs = looks.number[kept][similar_pairs(looks.thumbnail[kept])]
    equal = (group[pairs[:, 0]] == group[pairs[:, 1]]) & (group[pairs[:, 0]] >= 0)
    pairs = pairs[~equal]
    if not len(pairs):
        yield Finding("ok", "duplicates", f"none of {len(kept):,} images looks the same as another with other bytes")
        return
    split = store.ids["split"].to_numpy()
    crossing = split[pairs[:, 0]] != split[pairs[:, 1]]
    pairs = pairs[np.argsort(~crossing, kind="stable")]
    places = store.places(pairs.ravel())
    message = (
        f"{number(len(pairs), 'pair')} among {len(kept):,} images look the same but have different bytes, "
        f"{int(crossing.sum()):,} across splits, such as {places[0].row!r} ({places[0].split}) and "
        f"{places[1].row!r} ({places[1].split})"
    )
    yield Finding("warning", "duplicates", message, places, {"pairs": len(pairs), "crossing": int(crossing.sum())})


def similar_pairs(thumbnail: np.ndarray) -> np.ndarray:
    """Return the pairs of thumbnails uint8 [N, S, S] that show the same image, int64 [P, 2], in ascending order.

    The sign of the difference of neighbouring pixels gives the bits of a hash. Pairs that agree in all bits of one of
    several bands, found by sorting, are compared by correlation, in time that grows little faster than N.
    """
    if len(thumbnail) < 2:
        return np.zeros((0, 2), np.int64)
    bits = thumbnail[:, :, 1:] > thumbnail[:, :, :-1]
    found: list[np.ndarray] = [np.zeros((0, 2), np.int64)]
    for band in range(BANDS):
        rows = np.packbits(bits[:, band::BANDS].reshape(len(bits), -1), axis=1)
        _, key = np.unique(rows, axis=0, return_inverse=True)
        key = key.ravel()
        order = np.argsort(key, kind="stable")
        for shift in range(1, NEIGHBOURS + 1):
            first, second = order[:-shift], order[shift:]
            agree = key[first] == key[second]
            found.append(np.sort(np.stack([first[agree], second[agree]], axis=1), axis=1))
    pairs = np.unique(np.concatenate(found), axis=0)
    unit = _unit(thumbnail)
    return np.asarray(pairs[np.einsum("pd,pd->p", unit[pairs[:, 0]], unit[pairs[:, 1]]) > SAME])


def check_orientation(store: OpenedStore, looks: Looks) -> Iterator[Finding]:
    """Find frontal images that correlate much better with the rotated mean image."""
    view = store.ids["view"].to_numpy()[looks.number]
    kept = np.flatnonzero(np.isin(view, FRONTAL) & ~looks.blank)
    if len(kept) < MIN_IMAGES:
        yield Finding(
            "not examined", "orientation", f"{number(len(kept), 'image')} known to be frontal, fewer than {MIN_IMAGES}"
        )
        return
    turn = turns(looks.thumbnail[kept])
    suspects = looks.number[kept[turn > 0]]
    if not len(suspects):
        yield Finding("ok", "orientation", f"none of {len(kept):,} frontal images looks rotated")
        return
    places = store.places(suspects)
    shown = ", ".join(f"{place.row!r} ({TURNS[kind]})" for place, kind in zip(places[:3], turn[turn > 0], strict=False))
    message = f"{share(len(suspects), len(kept))} frontal images look rotated: {shown}; check them, none was changed"
    yield Finding("warning", "orientation", message, places, {"turned": len(suspects), "frontal": len(kept)})


def turns(thumbnail: np.ndarray) -> np.ndarray:
    """Return the apparent rotation of thumbnails uint8 [N, S, S] in counter-clockwise quarter turns, int64 [N].

    The mean is computed twice, the second time over the images that fit the first mean best when upright.
    """
    unit = _unit(thumbnail)
    upright = np.ones(len(unit), bool)
    for _ in range(2):
        mean = unit[upright].mean(axis=0).reshape(thumbnail.shape[1:])
        fit = np.stack([unit @ np.rot90(mean, quarter).ravel() for quarter in range(4)], axis=1) / np.linalg.norm(mean)
        gain = fit[:, 1:].max(axis=1) - fit[:, 0]
        upright = gain <= 0
    return np.asarray(np.where(gain > TURNED, fit[:, 1:].argmax(axis=1) + 1, 0))


def _unit(thumbnail: np.ndarray) -> np.ndarray:
    """Return thumbnails as vectors of mean 0 and length 1, float32 [N, S * S]."""
    values = thumbnail.reshape(len(thumbnail), -1).astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.maximum(length, 1e-6))
