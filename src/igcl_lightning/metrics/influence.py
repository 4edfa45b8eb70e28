"""Statistics with what each patient adds to them, from which intervals follow without resampling.

An estimate is float64 [1 + P]: the value, and the influence of each of P patients on it. The squares of the influences
sum to the variance of the value under sampling of patients. Means and differences of estimates are estimates of means
and differences, since rows of one patient stand in one column whatever the run or label (Obuchowski, Biometrics 1997).
An undefined estimate is NaN throughout.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

NORMAL = 1.96
"""Standard deviations of the normal distribution between which 95 % lie, to either side."""

Estimate = NDArray[np.float64]
Floats = NDArray[np.float64]


def auroc_estimate(score: ArrayLike, target: ArrayLike, patient: ArrayLike, patients: int) -> Estimate:
    """Return the area under the ROC curve of N rows with the influence of each patient, [1 + P]; ties count half.

    The influences are the placement values of DeLong et al. (Biometrics 1988), summed by patient (Obuchowski 1997).

    Args:
        score: float [N]; higher means more likely present.
        target: [N], 1 present, 0 absent.
        patient: number of each row's patient, int [N] in 0..P-1.
        patients: number of patients, P; those without rows have no influence.
    """
    score, present, patient = np.asarray(score, dtype=float), np.asarray(target) == 1, np.asarray(patient)
    if present.all() or not present.any():
        return np.full(1 + patients, np.nan)
    positive, negative = score[present], score[~present]
    above, below = _share_below(np.sort(negative), positive), _share_below(np.sort(positive), negative)
    value = above.mean()
    row = np.empty(len(score))
    row[present], row[~present] = (above - value) / len(positive), (1 - below - value) / len(negative)
    return _summed(value, row, present, patient, patients)


def average_precision_estimate(score: ArrayLike, target: ArrayLike, patient: ArrayLike, patients: int) -> Estimate:
    """Return the average precision, without interpolation, with the influence of each patient, [1 + P].

    The arguments are those of `auroc_estimate`. Influences are derivatives by the weights of rows.
    """
    score, present, patient = np.asarray(score, dtype=float), np.asarray(target) == 1, np.asarray(patient)
    positives = int(present.sum())
    if not positives or positives == len(present):
        return np.full(1 + patients, np.nan)
    levels, level = np.unique(score, return_inverse=True)
    true, false = (np.bincount(level[has], minlength=len(levels)) for has in (present, ~present))
    found, wrong = (np.cumsum(each[::-1])[::-1].astype(float) for each in (true, false))  # at this level or above
    shown = found + wrong
    precision = found / shown
    value = float(precision @ true) / positives
    # A row counts in the precision at its own level and at all below.
    gain, loss = (np.cumsum(true * each / shown**2) for each in (wrong, found))
    row = np.where(present, precision[level] - value + gain[level], -loss[level]) / positives
    return _summed(value, row, present, patient, patients)


def mean_estimate(value: ArrayLike, patient: ArrayLike, patients: int) -> Estimate:
    """Return the mean of N numbers with the influence of each patient, [1 + P].

    Args:
        value: float [N].
        patient: number of each row's patient, int [N] in 0..P-1.
        patients: number of patients, P.
    """
    value, patient = np.asarray(value, dtype=float), np.asarray(patient)
    if not len(value):
        return np.full(1 + patients, np.nan)
    mean = value.mean()
    return _summed(mean, (value - mean) / len(value), np.ones(len(value), dtype=bool), patient, patients)


def median_estimate(value: ArrayLike, patient: ArrayLike, patients: int) -> Estimate:
    """Return the median of N numbers with the influence of each patient, [1 + P].

    The spread of the share of numbers up to the median becomes that of the median by the slope of the quantiles between
    the ends of the share's 95 % interval (Woodruff, Journal of the American Statistical Association 1952).

    The arguments are those of `mean_estimate`.
    """
    value = np.asarray(value, dtype=float)
    if not len(value):
        return np.full(1 + patients, np.nan)
    median = float(np.median(value))
    share = mean_estimate((value < median) + (value == median) / 2, patient, patients)
    half = max(NORMAL * float(np.sqrt(share[1:] @ share[1:])), 1 / len(value))
    low, high = np.quantile(value, [max(0, 0.5 - half), min(1, 0.5 + half)])
    share[1:] *= -(high - low) / (2 * half)
    share[0] = median
    return share


def jackknife_estimate(statistic: Callable[[Floats], Floats], sums: Floats) -> Estimate:
    """Return a statistic of sums with the influence of each patient, [1 + P], by leaving out one patient at a time.

    Args:
        statistic: maps K sums over all patients, [..., K], to [...], such as the F1 of counts; NaN where undefined.
        sums: what each patient adds to the sums, [P, K]; a patient with zeros only is none of the sample.
    """
    total = sums.sum(axis=0)
    value = float(statistic(total))
    counted = sums.any(axis=1)
    number = int(counted.sum())
    if np.isnan(value):
        return np.full(1 + len(sums), np.nan)
    without = statistic(total - sums[counted])
    apart = np.where(np.isnan(without), 0, np.nanmean(without) - without) if not np.isnan(without).all() else 0
    estimate = np.zeros(1 + len(sums))
    estimate[0], estimate[1:][counted] = value, np.sqrt((number - 1) / number) * apart
    return estimate


def _share_below(ordered: Floats, score: Floats) -> Floats:
    """Return the share of ascending scores that are below each score, half of those that are equal."""
    below, not_above = (np.searchsorted(ordered, score, side) for side in ("left", "right"))
    return (below + not_above) / (2 * len(ordered))


def _summed(
    value: float, row: Floats, present: NDArray[np.bool_], patient: NDArray[np.intp], patients: int
) -> Estimate:
    """Return the estimate of a value with influences of rows [N], corrected in each class for its number of patients.

    The influences are measured from the value of the sample itself: without the correction they were too small.
    """
    estimate = np.zeros(1 + patients)
    estimate[0] = value
    for of_class in (present, ~present):
        number = np.count_nonzero(np.bincount(patient[of_class], minlength=1))
        widen = np.sqrt(number / (number - 1)) if number > 1 else 1.0
        estimate[1:] += widen * np.bincount(patient[of_class], row[of_class], patients)
    return estimate
