"""Pairs of a store: rows that state something on each side that a model contrasts.

All rows without a report have the same encoding. In a batch they would be negatives of each other, in evaluation
candidates that no image can distinguish.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray

from igcl_lightning.data.splits import draw_patients
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


def pair_rows(
    store: Store, splits: Sequence[str], arrays: Sequence[str], stating: Sequence[str] = (), fraction: float = 1.0
) -> NDArray[np.int64]:
    """Return the indices of the pairs among the rows of splits, those of a share of the patients who have pairs."""
    pairs: NDArray[np.int64]
    pairs = np.flatnonzero(np.concatenate([is_pair(store, name, arrays, stating) for name in splits]))
    return pairs if fraction == 1 else pairs[draw_patients(_patients(store, splits, pairs), fraction)]


def _patients(store: Store, splits: Sequence[str], rows: NDArray[np.int64]) -> list[str]:
    """Return the patients of some of the rows of splits."""
    patients = np.array([patient for name in splits for patient in store.column(name, "patient")], object)
    named: list[str] = patients[rows].tolist()
    return named


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


def refuse_few_pairs(
    store: Store, arrays: Sequence[str], stating: Sequence[str], fraction: float, processes: int, batch_size: int
) -> None:
    """Raise `IgclError` if a share of the patients has fewer pairs than a batch of all processes."""
    if fraction == 1:
        return
    pairs = pair_rows(store, ["train"], arrays, stating, fraction)
    if len(pairs) < processes * batch_size:
        patients = len({*_patients(store, ["train"], pairs)})
        raise IgclError(
            f"{store.path}: data.fraction {fraction} leaves {_count(len(pairs), 'training pair')} of "
            f"{_count(patients, 'patient')}, less than a batch of {processes * batch_size}; raise it, or set "
            f"data.batch_size to at most {len(pairs) // processes}"
        )


def say_left_out(
    store: Store | StreamedStore, stage: str, arrays: Sequence[str], stating: Sequence[str], fraction: float = 1.0
) -> None:
    """Log how many rows of the splits of a stage are left out, in one line and on one process."""
    splits = [split for split in SPLITS_OF_STAGE.get(stage, ()) if split in store.splits]
    if isinstance(store, StreamedStore):
        empty, rows = store.empty_rows
        counts = [f"{empty:,} of {rows:,} rows (all splits)"] if splits and stating and empty else []
    else:
        pairs = {split: is_pair(store, split, arrays, stating) for split in splits}
        counts = [f"{(~pair).sum():,} of {len(pair):,} {split} rows" for split, pair in pairs.items() if not pair.all()]
    said = []
    if counts:
        keep = " (--data.keep_empty true keeps those without a report)" if stating else ""
        said = [f"left out {' and '.join(counts)}, which lack {needs(arrays, stating)}{keep}"]
    if isinstance(store, Store) and "train" in splits and fraction < 1:
        said.append(_drawn_share(store, arrays, stating, fraction))
    if said:
        rank_zero_info(f"{store.path}: {'; '.join(said)}")


def _drawn_share(store: Store, arrays: Sequence[str], stating: Sequence[str], fraction: float) -> str:
    """Return how many training patients and pairs are left out by a share of the patients."""
    rows = [pair_rows(store, ["train"], arrays, stating, share) for share in (fraction, 1.0)]
    kept, known = (len({*_patients(store, ["train"], pairs)}) for pairs in rows)
    left_out = (
        f"{known - kept:,} of {known:,} training patients, {len(rows[1]) - len(rows[0]):,} of {len(rows[1]):,} pairs"
    )
    return f"data.fraction {fraction} leaves out {left_out}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"
