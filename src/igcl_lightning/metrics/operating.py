"""Answers of yes and no: sensitivity, specificity, F1 and MCC from counts, and thresholds for scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from igcl_lightning.nn.checks import check_choice

Floats = NDArray[np.float64]

COUNTS = "true positives", "false positives", "false negatives", "true negatives"


def patient_counts(answer: ArrayLike, target: ArrayLike, patient: ArrayLike, patients: int) -> Floats:
    """Return the rows of each patient by `COUNTS`, [P, 4].

    Args:
        answer: whether each of N rows is said to be positive, [N].
        target: [N], 1 present, 0 absent.
        patient: number of each row's patient, int [N] in 0..P-1.
        patients: number of patients, P.
    """
    said, present = np.asarray(answer, dtype=bool), np.asarray(target) == 1
    kinds = said & present, said & ~present, ~said & present, ~said & ~present
    return np.stack([np.bincount(np.asarray(patient), kind, patients) for kind in kinds], axis=1)


def share(part: Floats, whole: Floats) -> Floats:
    """Return part / whole, NaN where there is nothing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.where(whole == 0, np.nan, part / whole)
    return found


def sensitivity(counts: Floats) -> Floats:
    """Return the share of positive rows that are said to be, from counts [..., 4]; NaN without a positive row."""
    found, _, missed, _ = np.moveaxis(counts, -1, 0)
    return share(found, found + missed)


def specificity(counts: Floats) -> Floats:
    """Return the share of negative rows that are said to be, from counts [..., 4]; NaN without a negative row."""
    _, wrong, _, right = np.moveaxis(counts, -1, 0)
    return share(right, right + wrong)


def f1(counts: Floats) -> Floats:
    """Return the harmonic mean of sensitivity and precision, from counts [..., 4]; NaN without a positive row."""
    found, wrong, missed, _ = np.moveaxis(counts, -1, 0)
    return np.where(found + missed > 0, share(2 * found, 2 * found + wrong + missed), np.nan)


def mcc(counts: Floats) -> Floats:
    """Return Matthews' correlation of answers and targets, from counts [..., 4].

    It is 0 where all answers are the same, and NaN where all targets are.
    """
    found, wrong, missed, right = np.moveaxis(counts, -1, 0)
    said, targets = (found + wrong) * (missed + right), (found + missed) * (wrong + right)
    value = share(found * right - wrong * missed, np.sqrt(said) * np.sqrt(targets))
    return np.where((said == 0) & (targets > 0), 0.0, value)


OPERATING: Mapping[str, Callable[[Floats], Floats]] = {
    each.__name__: each for each in (sensitivity, specificity, f1, mcc)
}
"""Statistics of counts by name."""

SCALE = {"mcc": "signed"}
"""Scale of the intervals (`evaluation.intervals`) of those that are not shares."""

CLASSES = {"sensitivity": (1,), "specificity": (0,)}
"""Classes of targets that those depend on which do not depend on both."""


def youden(counts: Floats) -> Floats:
    """Return sensitivity + specificity - 1 (Youden, Cancer 1950), from counts [..., 4]."""
    return sensitivity(counts) + specificity(counts) - 1


CRITERIA = {"f1": f1, "mcc": mcc, "youden": youden}


def choose_threshold(score: ArrayLike, target: ArrayLike, by: str = "youden") -> float:
    """Return the threshold with the best value of a criterion; rows at or above it are said to be positive.

    It lies midway between the lowest score that is positive and the next below, so that it suits other rows as well;
    among equals, the one that says positive of the fewest rows. Infinite if it is best to say so of none.

    Args:
        score: float [N]; choose on validation rows, never on those that are evaluated.
        target: [N], 1 present, 0 absent.
        by: "f1", "mcc" or "youden".

    Raises:
        ValueError: `by` is another name, or the rows are of one class.
    """
    check_choice("by", by, CRITERIA)
    score, present = np.asarray(score, dtype=float), np.asarray(target) == 1
    if present.all() or not present.any():
        raise ValueError("no threshold can be chosen on rows of one class")
    levels, level = np.unique(score, return_inverse=True)
    found, wrong = (
        np.append(np.cumsum(np.bincount(level[kind], minlength=len(levels))[::-1])[::-1], 0).astype(float)
        for kind in (present, ~present)
    )
    counts = np.stack([found, wrong, present.sum() - found, (~present).sum() - wrong], axis=1)
    value = CRITERIA[by](counts)
    best = len(value) - 1 - int(np.argmax(value[::-1]))
    if best == len(levels):
        return float("inf")
    return float(levels[best] if best == 0 else (levels[best - 1] + levels[best]) / 2)
