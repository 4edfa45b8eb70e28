import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from igcl_lightning.nn.logistic import fit_logistic, trainable_labels


@pytest.fixture
def problem():
    generator = torch.Generator().manual_seed(0)
    feature = torch.randn(200, 12, generator=generator)
    logits = feature @ torch.randn(12, 3, generator=generator) + torch.randn(200, 3, generator=generator)
    target = (logits > 0.5).float()
    target[::5, 1] = torch.nan
    return feature, target


@pytest.mark.parametrize("inverse_penalty", [1e-3, 1e-1, 1.0, 30.0])
def test_optimum_is_scikit_learns(problem, inverse_penalty):
    feature, target = problem
    weight, bias = fit_logistic(feature, target, inverse_penalty)
    for label in range(3):
        known = ~target[:, label].isnan()
        reference = LogisticRegression(C=inverse_penalty, tol=1e-10, max_iter=10_000)
        reference.fit(feature[known].double().numpy(), target[known, label].numpy())
        np.testing.assert_allclose(weight[label], reference.coef_[0], atol=1e-3)
        np.testing.assert_allclose(bias[label], reference.intercept_[0], atol=1e-3)


def test_a_warm_start_ends_at_the_same_place(problem):
    feature, target = problem
    cold = fit_logistic(feature, target, 1.0)
    warm = fit_logistic(feature, target, 1.0, initial=fit_logistic(feature, target, 0.01))
    torch.testing.assert_close(warm, cold, atol=1e-4, rtol=1e-4)


def test_a_label_of_one_class_gets_zero_and_disturbs_nothing(problem):
    feature, target = problem
    spoiled = torch.cat([target, torch.ones(len(target), 1)], dim=1)
    weight, bias = fit_logistic(feature, spoiled, 1.0)
    assert (weight[3] == 0).all()
    assert bias[3] == 0
    torch.testing.assert_close(weight[:3], fit_logistic(feature, target, 1.0)[0], atol=1e-4, rtol=1e-4)


def test_separable_data_stay_finite():
    feature = torch.tensor([[-1.0], [1.0]])
    weight, bias = fit_logistic(feature, torch.tensor([[0.0], [1.0]]), 1e3)
    assert weight.isfinite().all()
    assert bias.isfinite().all()


def test_trainable_labels_have_both_classes():
    target = torch.tensor([[1.0, 1.0, torch.nan], [0.0, 1.0, 0.0]])
    assert trainable_labels(target).tolist() == [True, False, False]
