"""95 % intervals of estimates (`metrics.influence`) over patients, and p-values of differences.

docs/statistics.md has their coverage in simulations, and that of other intervals.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, stdtr, stdtrit

from igcl_lightning.metrics.influence import Estimate

LEVEL = 0.95

FEW_PATIENTS = 10
"""A class with fewer patients has an interval that is rather too wide than too narrow, and is marked as "few"."""

ROUNDING = 1e-24
"""Less variance is none: influences that cancel leave as much."""

LIMITS = {"difference": 1.0, "signed difference": 2.0, "any": np.inf}
"""How far statistics of a scale are from 0 at most, of those whose intervals are symmetric."""

SCALES = "unit", "signed", *LIMITS

APART = {"unit": "difference", "signed": "signed difference", "any": "any"}
"""Scale of the difference of two statistics, by their own."""

Interval = tuple[float | None, float | None]


def interval(estimate: Estimate, smallest: int | None = None, scale: str = "any") -> Interval:
    """Return the 95 % interval of an estimate [1 + P]; None twice if it is undefined, or tells nothing of patients.

    It is symmetric on the scale of the logit for statistics between 0 and 1, and uses Student's t (`_freedom`).
    Wilson's interval for as many cases as the smaller class has patients is the widest, and the interval where nothing
    varies, as when all positives are ranked first: a share varies most if all rows of a patient are alike.
    A mean over labels varies as they do, not as a share: it has no widest interval, and none where nothing varies.

    Args:
        estimate: value and influences; differences, and means of them, are no exception.
        smallest: number of patients of the smaller class, or of all patients where there are no classes; if None,
            taken to be enough.
        scale: "unit" for statistics between 0 and 1, "signed" between -1 and 1, "difference" or "signed difference"
            for differences of these, "any" for others.

    Raises:
        ValueError: there is no such scale.
    """
    if scale not in SCALES:
        raise ValueError(f"scale {scale!r} is not one of {', '.join(SCALES)}")
    value, influence = float(estimate[0]), estimate[1:]
    if _tells_nothing(estimate, smallest):
        return None, None
    quantile = float(stdtrit(_freedom(influence, smallest, scale), (1 + LEVEL) / 2))
    if scale in LIMITS:
        half, limit = quantile * float(np.sqrt(influence @ influence)), LIMITS[scale]
        return max(value - half, -limit), min(value + half, limit)
    if scale == "signed":
        value, influence = (1 + value) / 2, influence / 2
    low, high = _unit(value, float(influence @ influence), quantile, smallest)
    if low is None or high is None:
        return None, None
    return (2 * low - 1, 2 * high - 1) if scale == "signed" else (low, high)


def _freedom(influence: NDArray[np.float64], smallest: int | None, scale: str) -> float:
    """Return the degrees of freedom of Student's t for influences [P], at least 1.

    They are those of a variance that is the sum of squared influences (Satterthwaite, Biometrics 1946, from the fourth
    moment), twice as many for a difference, and with few patients no more than these minus 1: so chosen by coverage.
    """
    square = float(influence @ influence)
    spread = float((influence**4).sum()) - square**2 / max(1, len(influence))
    freedom = 2 * square**2 / spread if spread > 0 else float(len(influence) - 1)
    freedom *= 2 if scale in LIMITS else 1
    if smallest is not None and smallest < FEW_PATIENTS:
        freedom = min(freedom, smallest - 1)
    return max(1.0, freedom)


def p_value(difference: Estimate, smallest: int | None = None) -> float | None:
    """Return the two-sided p-value of a difference, by the t-test that its interval inverts; None if undefined."""
    if _tells_nothing(difference, smallest):
        return None
    value, spread = abs(float(difference[0])), float(np.sqrt(difference[1:] @ difference[1:]))
    if spread**2 < ROUNDING:
        return 1.0 if value**2 < ROUNDING else None
    return float(2 * stdtr(_freedom(difference[1:], smallest, "any"), -value / spread))


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Return p-values corrected for their number (Holm, Scandinavian Journal of Statistics 1979); None stays None."""
    order = sorted((each, place) for place, each in enumerate(p) if each is not None)
    corrected: list[float | None] = [None] * len(p)
    highest = 0.0
    for rank, (each, place) in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * each))
        corrected[place] = highest
    return corrected


def widening(smallest: int) -> float:
    """Return by what the influences on a label are multiplied before a mean over labels is taken: 1 unless few.

    It is NaN for a class of one patient: the mean then has no interval either.
    """
    if smallest >= FEW_PATIENTS:
        return 1.0
    most, enough = (float(stdtrit(freedom, (1 + LEVEL) / 2)) for freedom in (max(1, smallest - 1), 1e9))
    return most / enough if smallest > 1 else float("nan")


def _tells_nothing(estimate: Estimate, smallest: int | None) -> bool:
    """Return whether an estimate is undefined, without influences, or of a class of one patient."""
    return len(estimate) < 2 or bool(np.isnan(estimate).any()) or (smallest is not None and smallest < 2)


def _unit(value: float, variance: float, quantile: float, cases: int | None) -> Interval:
    """Return the interval of a value in [0, 1]; `cases` are those of the widest, None if there is none."""
    widest: Interval = (None, None)
    if cases is not None:
        widest = low, high = _wilson(value, cases, float(stdtrit(max(1, cases - 1), (1 + LEVEL) / 2)))
    if variance < ROUNDING or not 0 < value < 1:
        return widest
    half = quantile * np.sqrt(variance) / (value * (1 - value))
    ends = float(expit(logit(value) - half)), float(expit(logit(value) + half))
    return ends if cases is None else (max(ends[0], low), min(ends[1], high))


def _wilson(value: float, cases: float, quantile: float) -> tuple[float, float]:
    """Return Wilson's interval (Journal of the American Statistical Association 1927) of a share of some cases."""
    ratio = quantile**2 / cases
    middle = (value + ratio / 2) / (1 + ratio)
    half = np.sqrt(ratio * value * (1 - value) + ratio**2 / 4) / (1 + ratio)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))
