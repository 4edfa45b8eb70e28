"""Features that anyone has without a model: age, sex and view, the view alone, and a few pixels.

A model that is not better than a probe on these has not been shown to see anything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from PIL import Image

from igcl_lightning.data.features import write_features
from igcl_lightning.data.images import decode_grey
from igcl_lightning.data.store import Store
from igcl_lightning.data.study import VIEWS
from igcl_lightning.protocols.contestants import METADATA, PIXELS, VIEW

SIDE = 32
"""Side of the images that a probe on pixels reads."""

SEXES = "F", "M"
CENTURY = 100

Floats = NDArray[np.float32]


def write_floor(name: str, store: Store, splits: Sequence[str], folder: Path) -> Path:
    """Write the features of a floor for some splits, and return their file in a folder (see `read_features`)."""
    path = folder / f"{name}.parquet"
    rows = [row for split in splits for row in store.column(split, "row")]
    write_features(path, rows, np.concatenate([floor_features(name, store, split) for split in splits]))
    return path


def floor_features(name: str, store: Store, split: str) -> Floats:
    """Return features of the rows of a split, float32 [N, D].

    Args:
        name: "view", a 1 for the view of each row; "metadata", the same with age in centuries (0 if unknown), whether
            it is unknown, and a 1 for the sex or for none; or "pixels", the means of `SIDE` x `SIDE` areas, 0 to 1.
        store: the store.
        split: the split.
    """
    if name == PIXELS:
        return _pixels(store, split)
    view = _one_hot(store.column(split, "view"), VIEWS)
    if name == VIEW:
        return view
    assert name == METADATA
    age = np.array([np.nan if value is None else value for value in store.column(split, "age")], np.float32)
    unknown = np.isnan(age)
    sex = _one_hot(store.column(split, "sex"), (*SEXES, None))
    return np.column_stack([np.where(unknown, 0, age) / CENTURY, unknown, sex, view]).astype(np.float32)


def _one_hot(values: Sequence[str | None], known: Sequence[str | None]) -> Floats:
    """Return a 1 in the column of each value, the last one for others, float32 [N, K]."""
    place = {value: number for number, value in enumerate(known)}
    found: Floats = np.eye(len(known), dtype=np.float32)[[place.get(value, len(known) - 1) for value in values]]
    return found


def _pixels(store: Store, split: str) -> Floats:
    images: pa.ChunkedArray = store.files(split).data.column("image").take(store.row_indices(split))
    found = np.empty((len(images), SIDE * SIDE), np.float32)
    for number, data in enumerate(pc.struct_field(images, "bytes")):
        small = Image.fromarray(decode_grey(data.as_py())).resize((SIDE, SIDE), Image.Resampling.BOX)
        found[number] = np.asarray(small, np.float32).ravel() / 255
    return found
