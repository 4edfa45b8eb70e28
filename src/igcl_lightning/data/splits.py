"""Splits by patient, and draws of labelled training rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from igcl_lightning.data.study import SPLITS
from igcl_lightning.errors import IgclError, suggestion
from igcl_lightning.graphs.schema import stable_hash

DEFAULT_FRACTIONS: Mapping[str, float] = {"train": 0.8, "valid": 0.1, "test": 0.1}

VALID_SHARE: Mapping[str, float] = {"train": 0.9, "valid": 0.1}

_SPLIT_NAMES = {
    **{split: split for split in SPLITS},
    **dict.fromkeys(("val", "validate", "validation", "dev"), "valid"),
}


def split_name(value: str) -> str:
    """Return the split named by a source; raise an `IgclError` if the name is unknown."""
    name = _SPLIT_NAMES.get(value.strip().lower())
    if name is None:
        raise IgclError(f"split {value!r} is not one of {', '.join(SPLITS)}")
    return name


def refuse_unknown_splits(wanted: Sequence[str], known: Sequence[str]) -> None:
    """Raise an `IgclError` if `data.predict_splits` is empty or names a split that the store lacks."""
    if not wanted:
        raise IgclError(f"data.predict_splits names no split; the store has {', '.join(known)}")
    for split in wanted:
        if split not in known:
            only = f"only {', '.join(known)}{suggestion(split, known)}"
            raise IgclError(f"data.predict_splits: no split {split!r}, {only}")


def split_of_patient(patient: str, fractions: Mapping[str, float] = DEFAULT_FRACTIONS, seed: int = 0) -> str:
    """Draw the split of a patient, the same on every machine and independent of other patients."""
    position = stable_hash(f"split/{seed}/{patient}") / 2**63 * sum(fractions.values())
    for name, fraction in fractions.items():
        position -= fraction
        if position < 0:
            return name
    return name


def lend_validation(splits: Sequence[str], patients: Sequence[str], seed: int = 0) -> list[str]:
    """Return the splits, with a tenth of the training patients moved to "valid" if no row is valid.

    The test rows of a data set with only train and test stay unchanged.
    """
    if "valid" in splits:
        return list(splits)
    return [
        split_of_patient(patient, VALID_SHARE, seed) if split == "train" else split
        for split, patient in zip(splits, patients, strict=True)
    ]


def check_fraction(option: str, fraction: float) -> None:
    """Raise `IgclError` unless the value of an option is a share of rows, in (0, 1]."""
    if not 0 < fraction <= 1:
        raise IgclError(f"{option} is {fraction}, not in (0, 1]")


def draw_fraction(target: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Draw a fraction of the training rows, with a positive and a negative row of each label that has them.

    Rows that represent a class are drawn first, the rest uniformly; the fraction is exceeded only if these rows alone
    exceed it. Returns sorted row indices, int64.

    Args:
        target: [N, L]; 1, 0 or nan.
        fraction: in (0, 1].
        seed: seed of the draw.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(target))
    secured: list[int] = []
    for label in range(target.shape[1]):
        for value in (1, 0):
            if not (target[secured, label] == value).any():
                secured.extend(order[target[order, label] == value][:1].tolist())
    wanted = max(round(fraction * len(target)), len(secured))
    rest = order[~np.isin(order, secured)]
    return np.sort(np.concatenate([np.array(secured, dtype=np.int64), rest[: wanted - len(secured)]]))


def draw_patients(patients: Sequence[str], fraction: float) -> NDArray[np.bool_]:
    """Return which rows are of a share of the patients, of at least one, bool [N].

    The draw is a hash of the patient: the same in every run, and a smaller share is part of a larger one.

    Args:
        patients: patient of each row.
        fraction: share of the patients, in (0, 1].
    """
    order = sorted({*patients}, key=lambda patient: (stable_hash(f"pairs/{patient}"), patient))
    drawn = {*order[: max(1, round(fraction * len(order)))]}
    return np.array([patient in drawn for patient in patients], bool)


def describe_draws(targets: Sequence[np.ndarray], patients: Sequence[np.ndarray], labels: Sequence[str]) -> str:
    """Return the numbers of labelled rows, patients and positives of draws, as text.

    Args:
        targets: labels of the rows of each draw, [N, L]; 1, 0 or nan. Rows without a known label do not count.
        patients: patient of each of these rows, [N].
        labels: names of the L labels.
    """
    known = [~np.isnan(target).all(axis=1) for target in targets]
    rows = _range([int(each.sum()) for each in known])
    people = _range([len(set(patient[each])) for patient, each in zip(patients, known, strict=True)])
    positives = np.array([(target == 1).sum(axis=0) for target in targets])
    fewest, most = positives.min(axis=0), positives.max(axis=0)
    few, many = int(fewest.argmin()), int(most.argmax())
    draws = f"{len(targets)} draws, each of " if len(targets) > 1 else ""
    ends = f"positives per label: {fewest[few]:,} ({labels[few]}) to {most[many]:,} ({labels[many]})"
    if fewest[few] == most[many]:
        ends = f"positives per label: {fewest[few]:,}"
    if len(labels) == 1:
        ends = f"positives: {_range(positives[:, 0].tolist())}"
    return f"{draws}{rows} labelled rows of {people} patients; {ends}"


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def draw_shots(target: np.ndarray, shots: int, seed: int) -> np.ndarray:
    """Draw `shots` positive rows per label without reusing a row (few-shot protocol of IGCL).

    All positives of a label are drawn if it has fewer. The other labels of the drawn rows supply negatives. An
    uncertain label does not count as positive. Returns sorted row indices, int64, at most shots * L.

    Args:
        target: [N, L]; 1, 0 or nan.
        shots: number of positive rows per label.
        seed: seed of the draw.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(target))
    drawn: list[int] = []
    for label in range(target.shape[1]):
        positive = order[(target[order, label] == 1) & ~np.isin(order, drawn)]
        drawn.extend(positive[:shots].tolist())
    return np.sort(np.array(drawn, dtype=np.int64))
