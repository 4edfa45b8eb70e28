"""Checks of all stored images without decoding: missing images, Git-LFS pointers, and equal bytes.

Images are read from the memory-mapped file. Equal images have equal length and equal bytes in the middle; nothing else
is read of most images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from igcl_lightning.doctor.findings import Finding, Level, number
from igcl_lightning.doctor.opened import OpenedStore
from igcl_lightning.reports.files import LFS_POINTER

SAMPLE = 32
"""Number of bytes in the middle of an image that are compared first; a multiple of 8."""


def check_bytes(store: OpenedStore) -> Iterator[Finding]:
    """Find images without bytes, and Git-LFS pointers."""
    missing = pc.equal(pc.fill_null(pc.binary_length(store.images), 0), 0)
    pointers = pc.fill_null(pc.starts_with(store.images, LFS_POINTER.decode()), False)
    for flags, fault, todo in (
        (missing, "without bytes", "prepare the store again"),
        (pointers, "replaced by a Git-LFS pointer", "run git lfs pull and prepare again"),
    ):
        rows = flags.to_numpy().nonzero()[0]
        text = f"{number(len(rows), 'image')} {fault}"
        yield from store.suspects("error", "images", rows, text, f"; {todo}", rows=len(rows))


def check_duplicates(store: OpenedStore, group: np.ndarray) -> Iterator[Finding]:
    """Find rows with equal images, across splits and within a split; `group` is that of `duplicate_groups`."""
    rows = np.flatnonzero(group >= 0)
    if not len(rows):
        yield Finding("ok", "duplicates", f"no two of {store.num_rows:,} stored images are equal, byte by byte")
        return
    table = pd.DataFrame({"row": rows, "group": group[rows], "split": store.ids["split"].to_numpy()[rows]})
    splits = table.groupby("group")["split"].nunique()
    crossing = table["group"].map(splits) > 1
    kinds: tuple[tuple[Level, pd.Series[bool], str, str], ...] = (
        ("error", crossing, "in several splits", "; keep each in one"),
        ("warning", ~crossing, "more than once within a split", ""),
    )
    for level, chosen, fault, todo in kinds:
        found = table[chosen].sort_values(["group", "row"])
        if len(found):
            pictures = int(found["group"].nunique())
            first = found[found["group"] == found["group"].iloc[0]]
            two = (first.drop_duplicates("split") if level == "error" else first)["row"].head(2)
            pair = " and ".join(f"{place.row!r} ({place.split})" for place in store.places(two.to_numpy()))
            message = f"{number(pictures, 'picture')} {fault}, {len(found):,} rows, such as {pair}{todo}"
            places = store.places(found["row"].to_numpy())
            yield Finding(level, "duplicates", message, places, {"pictures": pictures, "rows": len(found)})


def duplicate_groups(store: OpenedStore) -> np.ndarray:
    """Return a number for each set of rows with equal image bytes, -1 for a row without equals, int64 [N]."""
    sampled = np.concatenate([_samples(chunk) for chunk in store.images.chunks])
    _, inverse, counts = np.unique(sampled, axis=0, return_inverse=True, return_counts=True)
    alike = (counts[inverse.ravel()] > 1) & (sampled[:, 0] > 0)
    rows = alike.nonzero()[0]
    digests = pd.Series([hashlib.sha256(image).digest() for image in _images(store, alike)], dtype=object)
    repeated = digests.duplicated(keep=False).to_numpy(dtype=bool)
    group = np.full(len(sampled), -1, np.int64)
    group[rows[repeated]] = pd.factorize(digests[repeated])[0]
    return group


def _samples(chunk: pa.Array) -> np.ndarray:
    """Return length and middle bytes of each image, int64 [N, 1 + SAMPLE / 8]."""
    starts, ends, data = _layout(chunk)
    lengths = ends - starts
    middle = starts + np.maximum(lengths - SAMPLE, 0) // 2
    at = middle[:, None] + np.minimum(np.arange(SAMPLE), np.maximum(lengths - 1, 0)[:, None])
    words = data[np.minimum(at, max(len(data) - 1, 0))] if len(data) else np.zeros(at.shape, np.uint8)
    return np.concatenate([lengths[:, None], np.ascontiguousarray(words).view(np.int64)], axis=1)


def _layout(chunk: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return start and end of each image in the bytes of a chunk, and the bytes, without a copy."""
    _, offsets, data = chunk.buffers()
    kind = np.int64 if pa.types.is_large_binary(chunk.type) else np.int32
    bounds = np.frombuffer(offsets, kind)[chunk.offset : chunk.offset + len(chunk) + 1].astype(np.int64)
    return bounds[:-1], bounds[1:], np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)


def _images(store: OpenedStore, wanted: np.ndarray) -> Iterator[memoryview]:
    """Yield the bytes of the rows in `wanted`, bool [N], without a copy."""
    before = 0
    for chunk in store.images.chunks:
        starts, ends, data = _layout(chunk)
        for index in wanted[before : before + len(chunk)].nonzero()[0]:
            yield memoryview(data[starts[index] : ends[index]])  # type: ignore[arg-type]  # arrays are buffers
        before += len(chunk)
