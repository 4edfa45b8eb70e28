"""Which rows of a store are pairs: those that state something on each side that a model contrasts.

A row without a report has nothing to be contrasted with. All such rows encode alike, so that in a batch each would be a
negative of the others, and in evaluation a candidate that no image can be told from.
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
"""Sides that a row may have and yet state nothing on."""

SPLITS_OF_STAGE = {"fit": ("train", "valid"), "validate": ("valid",), "test": ("test",)}
"""The splits whose pairs a stage contrasts; `predict` embeds rows, pairs or not."""

_NEEDS = {"graph": "a report with entities", "report": "a report with words"}


def known_rows(store: Store, split: str, arrays: Sequence[str], stating: Sequence[str] = ()) -> NDArray[np.int64]:
    """Return the indices of the rows of a split that have these array columns and state something on these sides."""
    known = np.ones(len(store.row_indices(split)), dtype=bool)
    for name in arrays:
        known &= store.known(split, name)
    for side in stating:
        known &= store.stating(split, side)
    return np.flatnonzero(known)


def needs(arrays: Sequence[str], sides: Sequence[str]) -> str:
    """Return what makes a row a pair, such as "a report with entities and ecg"."""
    return " and ".join([*(_NEEDS[side] for side in sides), *arrays])


def refuse_no_pairs(store: Store | StreamedStore, arrays: Sequence[str], sides: Sequence[str]) -> None:
    """Check that there is something to contrast.

    Raises:
        IgclError: no training row states anything on one of the sides, or has all array columns.
    """
    if isinstance(store, StreamedStore):
        empty, rows = store.empty_rows
        some = not sides or empty < rows
    else:
        some = bool(len(known_rows(store, "train", arrays, sides)))
    if not some:
        raise IgclError(f"{store.path}: no training row has {needs(arrays, sides)}; nothing to contrast with")


def refuse_no_validation(store: Store | StreamedStore, arrays: Sequence[str], stating: Sequence[str]) -> None:
    """Check, before epochs are spent, that there are pairs to validate on.

    Raises:
        IgclError: the store has no split "valid", or no row of it is a pair. Rows of a stream are not known before.
    """
    instead = "or set trainer.limit_val_batches to 0"
    if "valid" not in store.splits:
        raise IgclError(f"{store.path}: no split 'valid' to validate on; prepare the store with one, {instead}")
    if isinstance(store, Store) and not len(known_rows(store, "valid", arrays, stating)):
        keeps = "; --data.keep_empty true keeps such rows" if stating else ""
        raise IgclError(f"{store.path}: no row of valid has {needs(arrays, stating)}{keeps}, {instead}")


def say_left_out(store: Store | StreamedStore, stage: str, arrays: Sequence[str], stating: Sequence[str]) -> None:
    """Say in one line, in one process, how many rows of the splits of a stage are left out."""
    splits = [split for split in SPLITS_OF_STAGE.get(stage, ()) if split in store.splits]
    if isinstance(store, StreamedStore):
        empty, rows = store.empty_rows
        counts = [f"{empty:,} of {rows:,} rows (all splits)"] if splits and stating and empty else []
    else:
        kept = {split: len(known_rows(store, split, arrays, stating)) for split in splits}
        rows_of = {split: len(store.row_indices(split)) for split in splits}
        counts = [f"{rows_of[name] - kept[name]:,} of {rows_of[name]:,} {name} rows" for name in splits]
        counts = [count for count, name in zip(counts, splits, strict=True) if kept[name] < rows_of[name]]
    if counts:
        keep = " (--data.keep_empty true keeps those without a report)" if stating else ""
        rank_zero_info(f"{store.path}: left out {' and '.join(counts)}, which lack {needs(arrays, stating)}{keep}")
