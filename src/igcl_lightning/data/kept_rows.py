"""Pairs of a store: rows that state something on each side that a model contrasts.

All rows without a report have the same encoding. In a batch they would be negatives of each other, in evaluation
candidates that no image can distinguish.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray

from igcl_lightning.data.store import Store
from igcl_lightning.data.streaming import StreamedStore
from igcl_lightning.errors import IgclError

STATING_SIDES = ("graph", "report")
"""Sides on which a row may state nothing."""

SPLITS_OF_STAGE = {"fit": ("train", "valid"), "validate": ("valid",), "test": ("test",)}
"""Splits that a stage contrasts; `predict` embeds all rows."""

_NEEDS = {"graph": "a report with entities", "report": "a report with words"}


def is_pair(store: Store, split: str, arrays: Sequence[str], stating: Sequence[str] = ()) -> NDArray[np.bool_]:
    """Return which rows of a split have these array columns and state something on these sides, bool [N]."""
    pair = np.ones(len(store.row_indices(split)), dtype=bool)
    for name in arrays:
        pair &= store.known(split, name)
    for side in stating:
        pair &= store.stating(split, side)
    return pair


def needs(arrays: Sequence[str], sides: Sequence[str]) -> str:
    """Describe the requirements of a pair, such as "a report with entities and ecg"."""
    return " and ".join([*(_NEEDS[side] for side in sides), *arrays])


def refuse_no_pairs(store: Store | StreamedStore, arrays: Sequence[str], sides: Sequence[str]) -> None:
    """Raise `IgclError` if no training row states anything on one of the sides, or has all array columns."""
    if isinstance(store, StreamedStore):
        empty, rows = store.empty_rows
        found = not sides or empty < rows
    else:
        found = bool(is_pair(store, "train", arrays, sides).any())
    if not found:
        raise IgclError(f"{store.path}: no training row has {needs(arrays, sides)}; nothing to contrast")


def refuse_no_validation(store: Store | StreamedStore, arrays: Sequence[str], stating: Sequence[str]) -> None:
    """Raise `IgclError` if there are no pairs to validate on; rows of a stream are not checked."""
    instead = "or set trainer.limit_val_batches to 0"
    if "valid" not in store.splits:
        raise IgclError(f"{store.path}: no split 'valid' to validate on; prepare the store with one, {instead}")
    if isinstance(store, Store) and not is_pair(store, "valid", arrays, stating).any():
        keeps = "; --data.keep_empty true keeps such rows" if stating else ""
        raise IgclError(f"{store.path}: no row of valid has {needs(arrays, stating)}{keeps}, {instead}")


def say_left_out(store: Store | StreamedStore, stage: str, arrays: Sequence[str], stating: Sequence[str]) -> None:
    """Log how many rows of the splits of a stage are left out, in one line and on one process."""
    splits = [split for split in SPLITS_OF_STAGE.get(stage, ()) if split in store.splits]
    if isinstance(store, StreamedStore):
        empty, rows = store.empty_rows
        counts = [f"{empty:,} of {rows:,} rows (all splits)"] if splits and stating and empty else []
    else:
        pairs = {split: is_pair(store, split, arrays, stating) for split in splits}
        counts = [f"{(~pair).sum():,} of {len(pair):,} {split} rows" for split, pair in pairs.items() if not pair.all()]
    if counts:
        keep = " (--data.keep_empty true keeps those without a report)" if stating else ""
        rank_zero_info(f"{store.path}: left out {' and '.join(counts)}, which lack {needs(arrays, stating)}{keep}")
