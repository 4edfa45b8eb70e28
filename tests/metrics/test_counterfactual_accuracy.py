import torch

from igcl_lightning.metrics.counterfactual import CounterfactualAccuracy


def test_shares_of_valid_rows_each_once():
    metric = CounterfactualAccuracy()
    right, blind = torch.tensor([True, False, True]), torch.tensor([False, False, True])
    metric.update(right, blind, torch.tensor([True, True, False]), torch.tensor([7, 3, 5]))
    metric.update(right[:2], blind[1:], torch.tensor([True, True]), torch.tensor([7, 9]))  # row 7 again
    shares = {"counterfactual_accuracy": 1 / 3, "counterfactual_blind": 1 / 3}
    assert metric.compute() == {**shares, "counterfactual_rows": 3}


def test_without_a_counterfactual_there_is_no_number():
    metric = CounterfactualAccuracy()
    assert metric.compute() == {}
    one = torch.tensor([True])
    metric.update(one, one, ~one, torch.tensor([1]))
    assert metric.compute() == {}
