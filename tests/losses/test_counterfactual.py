"""The two-way loss against a loop, and on two processes against one."""

import math

import numpy as np
import pytest
import torch

from igcl_lightning.errors import IgclError
from igcl_lightning.losses.counterfactual import CounterfactualOptions, counterfactual_loss
from two_processes import call_on_two


def scores(rows, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(2, rows))).requires_grad_()


def slow(own, twin, valid, scale, counted):
    """Cross-entropy of the choice between own report and twin, row by row."""
    rows = [row for row in range(len(own)) if valid[row] and counted[row]]
    chosen = [math.exp(scale * own[row]) / (math.exp(scale * own[row]) + math.exp(scale * twin[row])) for row in rows]
    return -sum(map(math.log, chosen)) / len(rows)


def test_the_loss_is_the_cross_entropy_of_two_choices():
    both = scores(6)
    valid = torch.tensor([True, False, True, True, False, True])
    counted = torch.tensor([True, True, True, False, True, True])
    loss = counterfactual_loss(*both, valid, torch.tensor([7.0]), counted)
    assert loss.shape == ()
    assert math.isclose(loss.item(), slow(*both.tolist(), valid, 7.0, counted), rel_tol=1e-12)
    loss.backward()
    assert (both.grad != 0).tolist() == [(valid & counted).tolist()] * 2
    assert (both.grad[0] <= 0).all()
    assert (both.grad[1] >= 0).all()


def test_half_precision_is_summed_in_single():
    own, twin = (value.bfloat16() for value in scores(6).detach())
    ones = torch.ones(6, dtype=torch.bool)
    loss = counterfactual_loss(own, twin, ones, 5.0, ones)
    assert loss.dtype == torch.float32
    assert math.isclose(loss.item(), slow(own.tolist(), twin.tolist(), ones, 5.0, ones), rel_tol=1e-5)


def test_without_a_valid_row_it_is_zero_and_has_gradients():
    both = scores(4)
    loss = counterfactual_loss(*both, torch.zeros(4, dtype=torch.bool), 10.0, torch.ones(4, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert both.grad.tolist() == [[0] * 4] * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": -1.0}, "model.counterfactual.weight is -1.0, not at least 0"),
        ({"weight": math.nan}, "model.counterfactual.weight is nan"),
        ({"temperature": 0.0}, "model.counterfactual.temperature is 0.0, not above 0"),
    ],
)
def test_options_out_of_range_are_named(options, message):
    with pytest.raises(IgclError, match=message):
        CounterfactualOptions(**options)


VALID = [[True, True, False, True, False, False, False, False], [False] * 8]
COUNTED = torch.tensor([True, False, True, True, True, True, True, False])


def on_one_of_two(rank, folder):
    results = []
    for valid in VALID:
        own, twin = (value.detach()[4 * rank : 4 * rank + 4].requires_grad_() for value in scores(8))
        loss = counterfactual_loss(own, twin, torch.tensor(valid)[4 * rank : 4 * rank + 4], 3.0, COUNTED)
        loss.backward()
        results.append((loss.item(), own.grad, twin.grad))
    torch.save(results, folder / f"{rank}.pt")


def test_two_processes_have_shares_of_the_loss_of_one(tmp_path):
    call_on_two(on_one_of_two, tmp_path, folder=tmp_path)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for number, valid in enumerate(VALID):  # all valid rows are on one process, then there are none
        both = scores(8)
        whole = counterfactual_loss(*both, torch.tensor(valid), 3.0, COUNTED)
        whole.backward()
        assert math.isclose(sum(rank[number][0] for rank in ranks) / 2, whole.item(), rel_tol=1e-12)
        for side, gradient in enumerate(both.grad):
            shares = torch.cat([rank[number][1 + side] for rank in ranks])
            torch.testing.assert_close(shares / 2, gradient)
