"""The probe of the authors' code against softmax, cross-entropy and Adam written in NumPy."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from igcl_lightning.data.samples import FeatureBatch
from igcl_lightning.modules.softmax_probe import SoftmaxOptions, fit_softmax

OPTIONS = SoftmaxOptions(learning_rate=0.05, eps=1e-3, epochs=6, batch_size=8, seed=4)


@pytest.fixture
def rows():
    """Features of 30 training and 20 validation rows and their three labels, of which some are unknown."""
    generator = np.random.default_rng(0)
    feature = generator.normal(size=(50, 4))
    target = (feature[:, :3] + generator.normal(0, 1.5, (50, 3)) > 0.4).astype(float)
    target[generator.random(target.shape) < 0.1] = np.nan
    target[:4] = 0  # no label at all
    x, y, row = torch.tensor(feature).float(), torch.tensor(target).float(), torch.arange(50)
    return [FeatureBatch(x[part], y[part], row[part]) for part in (slice(30), slice(30, 50))]


def mean_auroc(logit, target):
    known = [~np.isnan(column) for column in target.T]
    return np.mean([roc_auc_score(target[each, at], logit[each, at]) for at, each in enumerate(known)])


def by_hand(train, valid, options):
    """Return weight, bias and AUROC of the best epoch, by NumPy but for the random numbers."""
    generator = torch.Generator().manual_seed(options.seed)
    draw = [torch.empty(shape).uniform_(-0.5, 0.5, generator=generator).double().numpy() for shape in ((3, 4), (3,))]
    first, second = [np.zeros_like(each) for each in draw], [np.zeros_like(each) for each in draw]
    x, y = train.feature.double().numpy(), np.nan_to_num(train.target.double().numpy())
    step, best = 0, (-1.0, None, None)
    for _ in range(options.epochs):
        order = torch.randperm(30, generator=generator).numpy()
        for start in range(0, 30, options.batch_size):
            rows = order[start : start + options.batch_size]
            logit = x[rows] @ draw[0].T + draw[1]
            softmax = np.exp(logit) / np.exp(logit).sum(axis=1, keepdims=True)
            # d/dlogit of -sum_l y_l log softmax_l, whose targets sum to anything
            slope = (softmax * y[rows].sum(axis=1, keepdims=True) - y[rows]) / len(rows)
            step += 1
            for at, gradient in enumerate((slope.T @ x[rows], slope.sum(axis=0))):
                first[at] = 0.9 * first[at] + 0.1 * gradient
                second[at] = 0.999 * second[at] + 0.001 * gradient**2
                size = np.sqrt(second[at] / (1 - 0.999**step)) + options.eps
                draw[at] = draw[at] - options.learning_rate * first[at] / (1 - 0.9**step) / size
        value = mean_auroc(valid.feature.double().numpy() @ draw[0].T + draw[1], valid.target.double().numpy())
        if value > best[0] + 1e-9:
            best = (value, draw[0].copy(), draw[1].copy())
    return best[1], best[2], best[0]


@pytest.mark.parametrize("seed", [4, 5, 6])
def test_it_is_softmax_regression_by_adam_and_keeps_its_best_epoch(rows, seed):
    options = SoftmaxOptions(**{**vars(OPTIONS), "seed": seed})
    weight, bias, best = fit_softmax(*rows, options)
    expected = by_hand(*rows, options)
    np.testing.assert_allclose(weight.numpy(), expected[0], atol=2e-4)
    np.testing.assert_allclose(bias.numpy(), expected[1], atol=2e-4)
    assert best == pytest.approx(expected[2], abs=1e-6)


def test_the_best_epoch_is_not_always_the_last(rows):
    long = SoftmaxOptions(**{**vars(OPTIONS), "epochs": 12})
    values = [fit_softmax(*rows, SoftmaxOptions(**{**vars(OPTIONS), "epochs": each}))[2] for each in range(1, 13)]
    assert values == sorted(values)
    assert len(set(values)) < 12, "some epochs are no better than those before"
    assert fit_softmax(*rows, long)[2] == max(values)


def test_of_equal_epochs_it_keeps_the_first():
    """Validation rows that every epoch ranks perfectly choose no later one."""
    feature = torch.tensor([[3.0, 0.0], [0.0, 3.0], [2.0, 0.1], [0.1, 2.0]])
    rows = FeatureBatch(feature, (feature > 1).float(), torch.arange(4))
    first, later = (fit_softmax(rows, rows, SoftmaxOptions(0.5, epochs=epochs, batch_size=4)) for epochs in (3, 9))
    assert first[2] == later[2] == 1
    torch.testing.assert_close(first[0], later[0])
