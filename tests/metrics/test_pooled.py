"""The statistics of the authors' code against index loops over resamples, scikit-learn and sorted lists."""

import numpy as np
import pytest
from sklearn.metrics import matthews_corrcoef, roc_auc_score

from igcl_lightning.metrics.pooled import percentile_interval, pooled_statistics


@pytest.fixture
def runs():
    """Scores of three runs of two labels on 40 rows, with ties, offsets between runs, and unknown targets."""
    generator = np.random.default_rng(3)
    target = (generator.random((2, 40)) < [[0.4], [0.15]]).astype(float)
    score = np.round(target + generator.normal(0, 1, (3, 2, 40)), 1) + np.array([0.0, 1.0, 3.0])[:, None, None]
    target[0, :5] = np.nan
    return score, target


def by_loops(score, target):
    """AUROC, and MCC of a threshold that is the P-th largest score of P positives."""
    positives = int(sum(target))
    if positives in (0, len(target)):
        return np.nan, np.nan
    threshold = sorted(score, reverse=True)[positives - 1]
    answer = [int(each >= threshold) for each in score]
    return roc_auc_score(target, score), matthews_corrcoef(target, answer)


def test_every_resample_is_that_of_the_slow_loop(runs):
    score, target = runs
    values = pooled_statistics(score, target, resamples=30, seed=5)
    generator = np.random.default_rng(5)
    for number in range(31):
        drawn = np.arange(120) if number == 0 else generator.integers(120, size=120)
        for label in range(2):
            pairs = [(score[row // 40, label, row % 40], target[label, row % 40]) for row in drawn]
            known = [(each, truth) for each, truth in pairs if not np.isnan(truth)]
            expected = by_loops(*map(np.array, zip(*known, strict=True)))
            assert (values.auroc[label, number], values.mcc[label, number]) == pytest.approx(expected)


def test_a_resample_without_a_class_has_no_value():
    target = np.array([[1.0, *[0.0] * 9]])
    values = pooled_statistics(np.arange(10.0)[None, None], target, resamples=200)
    lacking = np.isnan(values.auroc[0])
    assert 0 < lacking.sum() < 150
    assert (lacking == np.isnan(values.mcc[0])).all()
    assert np.isnan(pooled_statistics(np.zeros((2, 1, 4)), np.zeros((1, 4)), 3).auroc).all()


def test_the_interval_is_of_the_percentiles_of_the_resamples():
    values = np.array([9.0, *np.random.default_rng(0).permutation(101), np.nan])
    assert percentile_interval(values) == (2.5, 97.5)
    assert percentile_interval(np.array([1.0, np.nan])) == (None, None)


def test_pooling_narrows_the_interval_by_the_root_of_the_runs_and_lowers_the_auroc():
    generator = np.random.default_rng(0)
    target = (generator.random((1, 300)) < 0.3).astype(float)
    one = target + generator.normal(0, 1.5, (1, 1, 300))
    widths = []
    for runs in (1, 9):
        drawn = pooled_statistics(np.repeat(one, runs, axis=0), target, 300).auroc[0]
        low, high = percentile_interval(drawn)
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(3, rel=0.2)
    offsets = np.arange(10.0)[:, None, None]
    single, pooled = (pooled_statistics(each, target, 1).auroc[0, 0] for each in (one, one + offsets))
    assert pooled < single - 0.05
