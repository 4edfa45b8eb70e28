"""Statistics as in the code of IGCL's authors, to show how they differ from ours; never for conclusions.

The scores of all runs are pooled as if they were of different images, rows are resampled as if each were of another
patient, and the threshold of the MCC is chosen on the very rows that are evaluated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from igcl_lightning.metrics.operating import mcc

Floats = NDArray[np.float64]


class PooledStatistics(NamedTuple):
    """Statistics of each label, [L, 1 + B]: as observed, then in B resamples; NaN where a class is missing."""

    auroc: Floats
    mcc: Floats


def pooled_statistics(score: Floats, target: Floats, resamples: int, seed: int = 0) -> PooledStatistics:
    """Return AUROC and MCC of the pooled scores of R runs on N rows of L labels, and in resamples of the R * N scores.

    The MCC is at the P-th largest score, P being the number of positives of the sample or resample itself.

    Args:
        score: float [R, L, N].
        target: [L, N]; 1, 0 or NaN for unknown, which is left out.
        resamples: number of bootstrap resamples, B.
        seed: seed of the bootstrap.
    """
    labels = [_Label(score[:, label].ravel(), np.tile(each, len(score))) for label, each in enumerate(target)]
    values = np.full((2, len(labels), 1 + resamples), np.nan)
    for number, times in enumerate(_weights(score.shape[0] * score.shape[2], resamples, seed)):
        values[:, :, number] = np.transpose([label.auroc_and_mcc(times) for label in labels])
    return PooledStatistics(*values)


def _weights(rows: int, resamples: int, seed: int) -> Iterator[NDArray[np.intp]]:
    """Yield how often each row counts, [rows]: once, then as often as it is drawn in each resample."""
    yield np.ones(rows, dtype=np.intp)
    generator = np.random.default_rng(seed)
    for _ in range(resamples):
        yield np.bincount(generator.integers(rows, size=rows), minlength=rows)


class _Label:
    """Pooled scores of one label, sorted once for all resamples.

    Args:
        score: float [N].
        target: [N]; 1, 0 or NaN for unknown.
    """

    def __init__(self, score: Floats, target: Floats) -> None:
        self.known = ~np.isnan(target)
        self.positive = target[self.known]
        levels, self.level = np.unique(score[self.known], return_inverse=True)
        self.levels = len(levels)

    def auroc_and_mcc(self, times: NDArray[np.intp]) -> tuple[float, float]:
        """Return both statistics where each row counts `times` [N]; NaN where a class is missing."""
        weight = times[self.known]
        # Positives and negatives by score, the highest first.
        classes = self.positive, 1 - self.positive
        yes, no = (np.bincount(self.level, weight * each, self.levels)[::-1] for each in classes)
        positives, negatives = yes.sum(), no.sum()
        if not positives or not negatives:
            return np.nan, np.nan
        found, wrong = np.cumsum(yes), np.cumsum(no)
        area = yes @ (negatives - wrong + no / 2) / (positives * negatives)
        at = int(np.argmax(found + wrong >= positives))  # level of the P-th largest score
        counts = np.array([found[at], wrong[at], positives - found[at], negatives - wrong[at]])
        return float(area), float(mcc(counts))


def percentile_interval(values: Floats) -> tuple[float | None, float | None]:
    """Return the 95 % percentile interval of values [1 + B], of which the first is as observed; None if there is none.

    Resamples without a value are left out.
    """
    drawn = values[1:][~np.isnan(values[1:])]
    if not len(drawn):
        return None, None
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)
