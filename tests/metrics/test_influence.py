"""Estimates against scikit-learn, loops over pairs of rows, and leaving out one patient at a time."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from igcl_lightning.metrics.influence import (
    auroc_estimate,
    average_precision_estimate,
    jackknife_estimate,
    mean_estimate,
    median_estimate,
)
from igcl_lightning.metrics.operating import f1, patient_counts

PATIENTS = 40


def sample(seed, decimals=1):
    """Rows of up to six images of a patient, with ties, and patients who have images of both classes or none."""
    generator = np.random.default_rng(seed)
    patient = np.repeat(np.arange(PATIENTS), generator.integers(0, 7, PATIENTS))
    target = (generator.random(len(patient)) < generator.beta(0.6, 1.4, PATIENTS)[patient]).astype(float)
    score = generator.normal(size=PATIENTS)[patient] + generator.normal(size=len(patient)) + target
    return np.round(score, decimals), target, patient


def deviation(estimate):
    return np.sqrt((estimate[1:] ** 2).sum())


def left_out(statistic, patient, *columns):
    """The standard deviation of a statistic by leaving out one patient at a time (Tukey)."""
    values = np.array([statistic(*(column[patient != one] for column in columns)) for one in np.unique(patient)])
    return np.sqrt((len(values) - 1) * values.var())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("estimate", "scikit"),
    [(auroc_estimate, roc_auc_score), (average_precision_estimate, average_precision_score)],
)
def test_values_equal_scikit_learn_and_spread_is_that_of_leaving_out_patients(estimate, scikit, seed):
    score, target, patient = sample(seed)
    found = estimate(score, target, patient, PATIENTS)
    assert found.shape == (1 + PATIENTS,)
    assert found[0] == pytest.approx(scikit(target, score))
    assert deviation(found) == pytest.approx(left_out(lambda t, s: scikit(t, s), patient, target, score), rel=0.12)
    none = np.setdiff1d(np.arange(PATIENTS), patient)
    assert (found[1:][none] == 0).all()


def test_auroc_of_single_rows_has_the_variance_of_delong():
    """The sums over pairs of DeLong et al. (1988), one pair at a time."""
    score, target, _ = sample(0)
    rows = np.arange(len(score))
    positive, negative = score[target == 1], score[target == 0]
    won = np.array([[(p > n) + (p == n) / 2 for n in negative] for p in positive])
    variance = won.mean(axis=1).var(ddof=1) / len(positive) + won.mean(axis=0).var(ddof=1) / len(negative)
    assert deviation(auroc_estimate(score, target, rows, len(rows))) ** 2 == pytest.approx(variance)


def test_auroc_of_patients_has_the_variance_of_obuchowski():
    """The sums over clusters of Obuchowski (1997), with the covariance of both classes of a patient."""
    score, target, patient = sample(1)
    positive, negative = np.flatnonzero(target == 1), np.flatnonzero(target == 0)
    won = np.array([[(score[p] > score[n]) + (score[p] == score[n]) / 2 for n in negative] for p in positive])
    area = won.mean()
    ill = np.array([(won.mean(axis=1) - area)[patient[positive] == one].sum() for one in range(PATIENTS)])
    well = np.array([(won.mean(axis=0) - area)[patient[negative] == one].sum() for one in range(PATIENTS)])
    with_ill, with_well = len(set(patient[positive])), len(set(patient[negative]))
    wide_ill, wide_well = with_ill / (with_ill - 1), with_well / (with_well - 1)
    variance = (
        wide_ill * (ill**2).sum() / len(positive) ** 2
        + wide_well * (well**2).sum() / len(negative) ** 2
        + 2 * np.sqrt(wide_ill * wide_well) * (ill * well).sum() / (len(positive) * len(negative))
    )
    assert deviation(auroc_estimate(score, target, patient, PATIENTS)) ** 2 == pytest.approx(variance)


def test_a_difference_and_a_mean_have_the_spread_of_paired_values():
    score, target, patient = sample(2)
    other = score + np.random.default_rng(0).normal(size=len(score))
    first, second = (auroc_estimate(each, target, patient, PATIENTS) for each in (score, other))

    def apart(truth, one, two):
        return roc_auc_score(truth, one) - roc_auc_score(truth, two)

    def together(truth, one, two):
        return (roc_auc_score(truth, one) + roc_auc_score(truth, two)) / 2

    for found, statistic in ((first - second, apart), ((first + second) / 2, together)):
        assert found[0] == pytest.approx(statistic(target, score, other))
        assert deviation(found) == pytest.approx(left_out(statistic, patient, target, score, other), rel=0.07)


@pytest.mark.parametrize("estimate", [auroc_estimate, average_precision_estimate])
def test_neither_the_order_of_rows_nor_a_monotone_score_matters(estimate):
    score, target, patient = sample(3)
    order = np.random.default_rng(0).permutation(len(score))
    usual = estimate(score, target, patient, PATIENTS)
    np.testing.assert_allclose(estimate(score[order], target[order], patient[order], PATIENTS), usual)
    np.testing.assert_allclose(estimate(np.exp(score), target, patient, PATIENTS), usual)


@pytest.mark.parametrize("estimate", [auroc_estimate, average_precision_estimate])
@pytest.mark.parametrize("target", [[0, 0, 0], [1, 1, 1]])
def test_one_class_is_undefined_throughout(estimate, target):
    assert np.isnan(estimate([0.1, 0.2, 0.3], target, [0, 1, 1], 2)).all()


def test_a_mean_has_the_spread_of_leaving_out_patients():
    score, _, patient = sample(4)
    found = mean_estimate(score, patient, PATIENTS)
    assert found[0] == pytest.approx(score.mean())
    assert deviation(found) == pytest.approx(left_out(np.mean, patient, score), rel=0.05)
    rows = np.arange(len(score))
    assert deviation(mean_estimate(score, rows, len(rows))) == pytest.approx(score.std(ddof=1) / np.sqrt(len(score)))
    assert np.isnan(mean_estimate([], [], 3)).all()


def test_a_median_is_as_uncertain_as_theory_and_resamples_say():
    generator = np.random.default_rng(0)
    value = generator.normal(size=4000)
    found = median_estimate(value, np.arange(4000), 4000)
    assert found[0] == np.median(value)
    assert deviation(found) == pytest.approx(1 / (2 * norm.pdf(0) * np.sqrt(4000)), rel=0.1)
    ranks, patient = np.round(np.exp(generator.normal(3, 1, 300)) + 1), np.repeat(np.arange(150), 2)
    found = median_estimate(ranks, patient, 150)
    drawn = [np.median(ranks.reshape(150, 2)[generator.integers(150, size=150)]) for _ in range(1000)]
    assert deviation(found) == pytest.approx(np.std(drawn), rel=0.2)
    higher = ranks + 10.0 * (patient == 0)
    assert median_estimate(-ranks, patient, 150)[1:] == pytest.approx(-found[1:])
    assert median_estimate(higher, patient, 150)[0] >= found[0]


def test_a_patient_with_high_values_raises_the_median():
    found = median_estimate([1.0, 2.0, 3.0, 4.0, 50.0, 60.0], [0, 0, 1, 1, 2, 2], 3)
    assert found[1] < 0 < found[3]


def test_a_jackknife_leaves_out_one_patient_at_a_time():
    score, target, patient = sample(5)
    counts = patient_counts(score > 0.5, target, patient, PATIENTS)
    found = jackknife_estimate(f1, counts)
    assert found[0] == pytest.approx(f1_score(target, score > 0.5))
    spread = left_out(lambda t, s: f1_score(t, s > 0.5), patient, target, score)
    assert deviation(found) == pytest.approx(spread)
    assert (found[1:][np.setdiff1d(np.arange(PATIENTS), patient)] == 0).all()


def test_a_jackknife_copes_with_a_patient_without_whom_there_is_no_value():
    counts = np.array([[2.0, 0, 1, 0], [0, 1, 0, 3], [0, 0, 0, 2]])
    found = jackknife_estimate(f1, counts)
    assert found[0] == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert found[1] == 0, "nothing is known of how F1 varies without its only positive patient"
    assert np.isfinite(found).all()
    assert np.isnan(jackknife_estimate(f1, np.zeros((3, 4)))).all()
