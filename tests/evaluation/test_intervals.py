"""Intervals against SciPy and hand-written formulas, what they do with few patients, and their coverage."""

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import binomtest, norm, t, ttest_1samp

from igcl_lightning.evaluation.intervals import FEW_PATIENTS, holm, interval, p_value, widening
from igcl_lightning.metrics.influence import auroc_estimate, mean_estimate


def estimate(value, deviation, patients=10_000):
    """An estimate with influences of equal size, so that t is normal."""
    signs = np.where(np.arange(patients) % 2, 1, -1)
    return np.append(value, deviation / np.sqrt(patients) * signs)


def test_with_many_patients_each_scale_is_normal():
    assert interval(estimate(5.0, 2.0)) == pytest.approx((5 - 1.96 * 2, 5 + 1.96 * 2), rel=1e-3)
    half = 1.96 * 0.02 / (0.8 * 0.2)
    ends = expit(logit(0.8) - half), expit(logit(0.8) + half)
    assert interval(estimate(0.8, 0.02), 300, "unit") == pytest.approx(ends, rel=1e-3)
    fisher = np.arctanh(0.6) + np.array([-1, 1]) * 1.96 * 0.05 / (1 - 0.6**2)
    assert interval(estimate(0.6, 0.05), 200, "signed") == pytest.approx(tuple(np.tanh(fisher)), rel=1e-3)


def test_influences_of_a_few_patients_widen_by_students_t():
    few = np.zeros(1001)
    few[0], few[1:4] = 1.0, 0.1
    wide = np.diff(interval(few))[0]
    even = np.diff(interval(estimate(1.0, np.sqrt(3) * 0.1)))[0]
    assert 1.1 < wide / even < 1.5


@pytest.mark.parametrize(("scale", "times"), [("any", 2), ("difference", 2), ("unit", 1)])
def test_degrees_of_freedom_are_those_of_satterthwaite_and_twice_as_many_for_differences(scale, times):
    influence = np.random.default_rng(0).normal(size=12) / 200
    square, fourth = sum(each**2 for each in influence), sum(each**4 for each in influence)
    quantile = t.ppf(0.975, times * 2 * square**2 / (fourth - square**2 / 12))
    half = quantile * np.sqrt(square) / (0.21 if scale == "unit" else 1)
    ends = logit(0.7) + np.array([-1, 1]) * half if scale == "unit" else 0.7 + np.array([-1, 1]) * half
    assert interval(np.append(0.7, influence), 12, scale) == pytest.approx(
        tuple(expit(ends) if scale == "unit" else ends)
    )


def wilson(value, cases, z=1.96):
    """The two shares from which `value` is `z` standard errors away, by search."""
    grid = np.linspace(0, 1, 200_001)
    inside = np.abs(grid - value) <= z * np.sqrt(grid * (1 - grid) / cases)
    return grid[inside][0], grid[inside][-1]


def test_a_perfect_ranking_is_not_certain():
    score, target = np.arange(300.0), (np.arange(300) >= 297).astype(float)
    perfect = auroc_estimate(score, target, np.arange(300), 300)
    assert perfect[0] == 1
    low, high = interval(perfect, 3, "unit")
    assert high == 1
    assert low == pytest.approx(wilson(1, 3, 4.303)[0], abs=1e-3)
    assert interval(estimate(0.0, 0.0), 50, "unit") == pytest.approx(wilson(0, 50, 2.01), abs=1e-3)


def test_influences_that_cancel_leave_no_variance():
    almost = np.append(0.5, np.where(np.arange(40) % 2, 1, -1) * 1e-17)
    assert interval(almost, 40, "unit") == pytest.approx(wilson(0.5, 40, 2.023), abs=1e-3)
    assert p_value(np.append(1e-17, almost[1:])) == 1


def test_with_few_patients_an_interval_is_at_least_as_wide_as_with_enough():
    for value in (0.5, 0.7, 0.9, 0.99):
        few, enough = (interval(estimate(value, 0.05), number, "unit") for number in (FEW_PATIENTS - 1, FEW_PATIENTS))
        assert few[0] < enough[0] < value < enough[1] < few[1]


def test_no_interval_is_wider_than_that_of_as_many_independent_patients():
    shares = mean_estimate((np.arange(23) == 5).astype(float), np.arange(23), 23)
    low, high = interval(shares, 23, "unit")
    assert high <= wilson(1 / 23, 23, 2.08)[1] < 0.3
    assert 0 < low < 1 / 23


@pytest.mark.parametrize("scale", ["unit", "signed"])
def test_ends_stay_in_range(scale):
    for value in (-1.0, -0.99, 0.0, 0.5, 0.999, 1.0):
        if scale == "signed" or value >= 0:
            low, high = interval(estimate(value, 0.3), 4, scale)
            assert (-1 if scale == "signed" else 0) <= low <= value <= high <= 1


@pytest.mark.parametrize(("scale", "limit"), [("difference", 1), ("signed difference", 2), ("any", np.inf)])
def test_a_difference_stays_in_its_range(scale, limit):
    low, high = interval(estimate(-0.9, 0.7), 5, scale)
    assert (low == -limit) == (limit < np.inf)
    assert high == pytest.approx(min(limit, interval(estimate(-0.9, 0.7), 5)[1]))
    assert interval(estimate(0.9, 0.7), 5, scale)[1] <= limit


def test_a_mean_of_labels_without_any_spread_has_no_interval():
    assert interval(estimate(1.0, 0.0), None, "unit") == (None, None)
    low, high = interval(estimate(0.7, 0.2), None, "unit")
    assert high - low > 0.5, "it varies as its labels do, not as a share of all patients"


@pytest.mark.parametrize("smallest", [0, 1])
def test_one_patient_tells_nothing(smallest):
    assert interval(estimate(0.7, 0.1), smallest, "unit") == (None, None)
    assert p_value(estimate(0.7, 0.1), smallest) is None


def test_what_is_undefined_or_has_no_influences_has_no_interval():
    for undefined in (np.full(5, np.nan), np.array([0.3]), np.append(0.3, np.full(4, np.nan))):
        assert interval(undefined) == (None, None)
        assert p_value(undefined) is None
    with pytest.raises(ValueError, match="scale 'units' is not one of"):
        interval(estimate(0.5, 0.1), scale="units")


def test_a_p_value_is_below_a_twentieth_where_the_interval_excludes_zero():
    generator = np.random.default_rng(0)
    for number in range(200):
        value = np.append(generator.normal(), generator.normal(size=30) / 10)
        smallest = [None, 4, 30][number % 3]
        low, high = interval(value, smallest)
        assert (p_value(value, smallest) < 0.05) == (not low <= 0 <= high)


def test_a_p_value_of_a_mean_is_about_that_of_the_t_test():
    sample = np.random.default_rng(1).normal(0.2, 1, 200)
    found = p_value(mean_estimate(sample, np.arange(200), 200))
    assert found == pytest.approx(ttest_1samp(sample, 0).pvalue, rel=0.05)


def test_p_values_at_the_ends():
    assert p_value(estimate(0.0, 0.0)) == 1
    assert p_value(estimate(0.2, 0.0)) is None


def test_holm_equals_a_hand_loop():
    p = [0.01, None, 0.04, 0.03, 0.005]
    assert holm(p) == [pytest.approx(0.03), None, pytest.approx(0.06), pytest.approx(0.06), pytest.approx(0.02)]
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_labels_of_few_patients_count_more_in_the_spread_of_a_mean():
    assert widening(FEW_PATIENTS) == 1
    assert widening(9) == pytest.approx(2.306 / 1.96, rel=1e-3)
    assert widening(2) == pytest.approx(12.706 / 1.96, rel=1e-3)
    assert np.isnan(widening(1))


def covered(patients, prevalence, area, images, samples, enough):
    """The share of intervals that hold the true AUROC, and the true difference 0 of two such models."""
    generator, held = np.random.default_rng(0), []
    while len(held) < samples:
        ill = generator.random(patients) < prevalence
        if (ill.sum() >= FEW_PATIENTS) != enough or ill.sum() < 2:
            continue
        target, patient = np.repeat(ill, images) * 1.0, np.repeat(np.arange(patients), images)
        shared = generator.normal(size=patients)[patient] + generator.normal(size=len(patient))
        own = [generator.normal(size=patients)[patient] + generator.normal(size=len(patient)) for _ in range(2)]
        scores = [np.sqrt(2) * norm.ppf(area) * target + (shared + each) / 2 for each in own]
        first, second = (auroc_estimate(score, target, patient, patients) for score in scores)
        size = int(ill.sum())
        low, high = interval(first, size, "unit")
        below, above = interval(first - second, size)
        held.append([low <= area <= high, below <= 0 <= above])
    return np.mean(held, axis=0)


@pytest.mark.parametrize(
    ("patients", "prevalence", "area", "images", "enough"),
    [(60, 0.2, 0.7, 3, True), (400, 0.05, 0.9, 1, True), (60, 0.05, 0.9, 3, False)],
)
def test_nineteen_of_twenty_intervals_hold_the_truth(patients, prevalence, area, images, enough):
    share = covered(patients, prevalence, area, images, 300, enough)
    error = 3 * np.sqrt(0.95 * 0.05 / 300)
    assert (share > 0.93 - error).all()
    assert (share < 0.97 + error).all() or not enough
    assert binomtest(int(share[0] * 300), 300, 0.8, "greater").pvalue < 1e-6
