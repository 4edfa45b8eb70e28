"""Which masks of a store are known, and which rows have them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError, suggestion

COLUMN = "masks"


def mask_names(store: Store) -> list[str]:
    """Return the names of the masks in a store, the most frequent first; none if it has no masks."""
    counts: Counter[str] = Counter()
    for split in store.splits:
        for labels in _labels(store, split):
            counts.update(labels)
    return sorted(counts, key=lambda name: (-counts[name], name))


def check_masks(store: Store, names: Sequence[str] | None) -> list[str]:
    """Return the names of masks to use, all of the store's by default.

    Raises:
        IgclError: the store has no masks, lacks one of the names, or no name or one name twice is given.
    """
    known = mask_names(store)
    if not known:
        raise IgclError(f"{store.path}: the store has no masks; prepare a data set that has some, with its masks")
    if names is not None and (not names or len(set(names)) < len(names)):
        raise IgclError(f"masks are [{', '.join(names)}]: {'one is given twice' if names else 'name at least one'}")
    for name in names or ():
        if name not in known:
            raise IgclError(f"{store.path}: no mask {name!r}; it has {', '.join(known)}{suggestion(name, known)}")
    return known if names is None else list(names)


def mask_targets(store: Store, split: str, names: Sequence[str]) -> NDArray[np.float32]:
    """Return which masks the rows of a split have, float32 [N, M]; 1 has one, 0 has none, NaN is unknown.

    A row without a mask is known to have none if a label of this name is absent, as in SIIM-ACR, where images without
    pneumothorax have no mask. It is unknown if the label is present or unknown, or if there is no such label, as for
    lungs that nobody has drawn.
    """
    has = np.array([[name in labels for name in names] for labels in _labels(store, split)], bool)
    absent = store.targets(split, names, may_lack=True) == 0
    return np.where(has.reshape(-1, len(names)), 1.0, np.where(absent, 0.0, np.nan)).astype(np.float32)


def _labels(store: Store, split: str) -> list[list[str]]:
    """Return the names of the masks of each row of a split."""
    files = store.files(split)
    if COLUMN not in files.column_names:
        return [[] for _ in range(store.num_rows(split))]
    labels = pc.struct_field(files.data.column(COLUMN), "label").to_pylist()
    return [labels[index] or [] for index in store.row_indices(split)]
