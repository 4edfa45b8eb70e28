"""Checks of all stored images without decoding them: missing ones, pointers, and bytes that stand twice.

Images are read where they lie in the mapped file. Two images can only be equal if length and a few words from their
middle are, so that of nearly all images these words are all that is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from igcl_lightning.doctor.findings import Finding, number, such_as
from igcl_lightning.doctor.opened import OpenedStore
from igcl_lightning.reports.files import LFS_POINTER

SAMPLE = 32
"""Bytes that are read of an image."""


def check_bytes(store: OpenedStore) -> Iterator[Finding]:
    """Look for images without bytes and for Git-LFS pointers."""
    missing = np.concatenate([_flags(store, split, _is_missing) for split in store.tables])
    pointers = np.concatenate([_flags(store, split, _is_pointer) for split in store.tables])
    for flags, what, todo in (
        (missing, "without bytes", "prepare the store again"),
        (pointers, "replaced by a Git-LFS pointer", "run git lfs pull and prepare again"),
    ):
        rows = flags.nonzero()[0]
        if len(rows):
            places = store.places(rows)
            message = f"{number(len(rows), 'image')} {what}{such_as(place.row for place in places)}; {todo}"
            yield Finding("error", "images", message, places, {"rows": len(rows)})


def check_duplicates(store: OpenedStore, group: np.ndarray) -> Iterator[Finding]:
    """Say which pictures stand twice, those that cross splits apart.

    Args:
        store: the opened store.
        group: of each row, see `duplicate_groups`.
    """
    rows = np.flatnonzero(group >= 0)
    if not len(rows):
        yield Finding("ok", "duplicates", f"no two of {store.num_rows:,} stored images are equal, byte by byte")
        return
    table = pd.DataFrame({"row": rows, "group": group[rows], "split": store.ids["split"].to_numpy()[rows]})
    splits = table.groupby("group")["split"].nunique()
    crossing = table["group"].map(splits) > 1
    for found, level in ((table[crossing], "error"), (table[~crossing], "warning")):
        if len(found):
            yield _duplicates(store, found.sort_values(["group", "row"]), level == "error")


def _duplicates(store: OpenedStore, found: pd.DataFrame, crossing: bool) -> Finding:
    places = store.places(found["row"].to_numpy())
    pair = " and ".join(f"{place.row!r} ({place.split})" for place in store.places(_first_pair(found)))
    pictures = int(found["group"].nunique())
    which = number(pictures, "picture")
    numbers = {"pictures": pictures, "rows": len(found)}
    if crossing:
        message = f"{which} in several splits, {len(found):,} rows, such as {pair}; keep each in one"
        return Finding("error", "duplicates", message, places, numbers)
    message = f"{which} more than once within a split, {len(found):,} rows, such as {pair}"
    return Finding("warning", "duplicates", message, places, numbers)


def _first_pair(found: pd.DataFrame) -> list[int]:
    """Return the numbers of two rows of the first picture, from two splits if it stands in two."""
    group = found[found["group"] == found["group"].iloc[0]]
    other = int((group["split"] != group["split"].iloc[0]).to_numpy().argmax()) or 1
    return [int(group["row"].iloc[place]) for place in (0, other)]


def duplicate_groups(store: OpenedStore) -> np.ndarray:
    """Return a number that rows with the same image bytes share, and no others; -1 for a row of its own, int64 [N]."""
    sampled = np.concatenate([_samples(chunk) for split in store.tables for chunk in _chunks(store, split)])
    _, inverse, counts = np.unique(sampled, axis=0, return_inverse=True, return_counts=True)
    alike = (counts[inverse.ravel()] > 1) & (sampled[:, 0] > 0)
    rows = alike.nonzero()[0]
    digests = pd.Series([hashlib.sha256(image).digest() for image in _images(store, alike)], dtype=object)
    repeated = digests.duplicated(keep=False).to_numpy(dtype=bool)
    group = np.full(len(sampled), -1, np.int64)
    group[rows[repeated]] = pd.factorize(digests[repeated])[0]
    return group


def _samples(chunk: pa.Array) -> np.ndarray:
    """Return length and a few words of each image, int64 [N, 1 + SAMPLE / 8]."""
    starts, ends, data = _layout(chunk)
    lengths = ends - starts
    middle = starts + np.maximum(lengths - SAMPLE, 0) // 2
    places = middle[:, None] + np.minimum(np.arange(SAMPLE), np.maximum(lengths - 1, 0)[:, None])
    words = data[np.minimum(places, max(len(data) - 1, 0))] if len(data) else np.zeros(places.shape, np.uint8)
    return np.concatenate([lengths[:, None], np.ascontiguousarray(words).view(np.int64)], axis=1)


def _layout(chunk: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where each image begins and ends in the bytes of a chunk, and the bytes, without copying them."""
    _, offsets, data = chunk.buffers()
    kind = np.int64 if pa.types.is_large_binary(chunk.type) else np.int32
    bounds = np.frombuffer(offsets, kind)[chunk.offset : chunk.offset + len(chunk) + 1].astype(np.int64)
    return bounds[:-1], bounds[1:], np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)


def _images(store: OpenedStore, wanted: np.ndarray) -> Iterator[memoryview]:
    """Yield the bytes of the wanted rows (bool [N]) where they lie."""
    before = 0
    for split in store.tables:
        for chunk in _chunks(store, split):
            starts, ends, data = _layout(chunk)
            for index in wanted[before : before + len(chunk)].nonzero()[0]:
                yield memoryview(data[starts[index] : ends[index]])  # type: ignore[arg-type]  # arrays are buffers
            before += len(chunk)


def _chunks(store: OpenedStore, split: str) -> Iterator[pa.Array]:
    """Yield the image bytes of a split, chunk by chunk."""
    for chunk in store.column(split, "image").chunks:
        yield pc.struct_field(chunk, "bytes")


def _flags(store: OpenedStore, split: str, kind: Callable[[pa.Array], pa.Array]) -> np.ndarray:
    parts = [kind(chunk).to_numpy(zero_copy_only=False) for chunk in _chunks(store, split)]
    return np.concatenate([np.zeros(0, bool), *parts]).astype(bool)


def _is_missing(chunk: pa.Array) -> pa.Array:
    return pc.equal(pc.fill_null(pc.binary_length(chunk), 0), 0)


def _is_pointer(chunk: pa.Array) -> pa.Array:
    return pc.fill_null(pc.starts_with(chunk, LFS_POINTER.decode()), False)
