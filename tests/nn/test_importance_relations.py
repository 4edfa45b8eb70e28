import pytest
import torch
from matching_cases import SIZES, sides

from igcl_lightning.nn.importance_relations import ImportanceRelationOptions, ImportanceRelations, masked_quantile


@pytest.mark.parametrize("share", [0, 0.1, 0.37, 0.9, 1])
def test_quantile_is_that_of_torch_without_padding(share):
    _, units = sides()
    garbage = units.importance.where(units.mask, -9.0)
    found = masked_quantile(garbage, units.mask, share)
    for row, size in enumerate(SIZES):
        torch.testing.assert_close(found[row], torch.quantile(units.importance[row, :size], share))


def pooled(importance, **options):
    """Pool the scores 0 and 1 of two units."""
    module = ImportanceRelations(1, ImportanceRelationOptions("attention", **options))
    score = torch.tensor([[[0.0, 1.0]]])
    return module(score, score[..., None], torch.ones(1, 1, 2, dtype=torch.bool), importance[None, None])


def test_a_report_without_importance_is_pooled_evenly():
    # All of it may be at nodes that a join added.
    assert pooled(torch.zeros(2)).item() == 0.5


def test_small_importance_counts_in_proportion():
    # A word of a long report has little of it.
    assert pooled(torch.tensor([1e-4, 3e-4])).item() == pytest.approx(0.75)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_gradients_of_units_without_importance_are_finite(temperature):
    importance = torch.tensor([0.0, 1.0], requires_grad=True)
    pooled(importance, temperature=temperature, detach=False).sum().backward()
    assert importance.grad.isfinite().all()


def test_importance_has_a_gradient_only_if_it_is_not_detached():
    importance = torch.tensor([0.4, 0.6], requires_grad=True)
    assert not pooled(importance).requires_grad
    pooled(importance, detach=False).sum().backward()
    torch.testing.assert_close(importance.grad, torch.tensor([-0.6, 0.4]))


def test_padding_never_has_the_highest_score():
    module = ImportanceRelations(1, ImportanceRelationOptions("max"))
    score, mask = torch.tensor([[[-0.4, -0.2, 0.0]]]), torch.tensor([[[True, True, False]]])
    assert module(score, score[..., None], mask, score).item() == pytest.approx(-0.2)
    assert module.weight(score, score[..., None], mask, score).flatten().tolist() == [0, 1, 0]
