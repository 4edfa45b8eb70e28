import numpy as np
import pytest
from scipy.special import expit
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss

from igcl_lightning.metrics.calibration import (
    BINS,
    calibration_error,
    choose_temperature,
    probabilities,
    reliability,
    squared_errors,
)


def sample(seed=0, rows=4000, temperature=1.0):
    """Logits that are `temperature` times as large as those of the true probabilities."""
    generator = np.random.default_rng(seed)
    logit = generator.normal(-1, 1.5, rows)
    return logit * temperature, (generator.random(rows) < expit(logit)).astype(float)


def test_brier_score_equals_scikit_learn():
    score, target = sample()
    assert squared_errors(expit(score), target).mean() == pytest.approx(brier_score_loss(target, expit(score)))


def test_reliability_equals_scikit_learn_and_gives_the_calibration_error():
    score, target = sample(temperature=3)
    said, found, rows = reliability(expit(score), target)
    share, mean = calibration_curve(target, expit(score), n_bins=BINS)
    np.testing.assert_allclose(found, share)
    np.testing.assert_allclose(said, mean)
    assert rows.sum() == len(score)
    loop = sum(count / len(score) * abs(one - other) for one, other, count in zip(said, found, rows, strict=True))
    assert calibration_error(expit(score), target) == pytest.approx(loop, abs=1e-6)


def test_a_bin_without_rows_is_left_out():
    said, found, rows = reliability([0.05, 0.06, 1.0], [0, 1, 1])
    assert (said.tolist(), found.tolist(), rows.tolist()) == (pytest.approx([0.055, 1.0]), [0.5, 1], [2, 1])


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_is_found_and_calibrates(temperature):
    score, target = sample(temperature=temperature)
    chosen = choose_temperature(score, target)
    assert chosen == pytest.approx(temperature, rel=0.1)
    slope = LogisticRegression(C=1e9, fit_intercept=False).fit(score[:, None], target).coef_[0, 0]
    assert chosen == pytest.approx(1 / slope, rel=1e-3)
    near = [log_loss(target, probabilities(score, chosen * factor)) for factor in (0.9, 1, 1.1)]
    assert min(near) == near[1]
    assert calibration_error(probabilities(score, chosen), target) < 0.025


def test_each_score_may_have_its_temperature():
    np.testing.assert_allclose(probabilities([1.0, 1.0], [1.0, 2.0]), expit([1.0, 0.5]))


def test_one_class_has_no_temperature():
    with pytest.raises(ValueError, match="rows of one class"):
        choose_temperature([0.1, 0.2], [1, 1])
