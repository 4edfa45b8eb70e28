"""NT-Xent against the paper's double loop."""

import math

import pytest
import torch
import torch.nn.functional as F

from igcl_lightning.losses.nt_xent import NTXentLoss, NTXentOptions


def views(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, size, 6, generator=generator, dtype=torch.float64)


def nt_xent_by_loops(first, second, temperature):
    """Algorithm 1 of the paper: views 2k-1 and 2k belong to one image."""
    view = [value for pair in zip(first, second, strict=True) for value in pair]
    count = len(view)
    similarity = [[float(a @ b / (a.norm() * b.norm())) for b in view] for a in view]

    def term(i, j):
        others = sum(math.exp(similarity[i][k] / temperature) for k in range(count) if k != i)
        return -math.log(math.exp(similarity[i][j] / temperature) / others)

    return sum(term(i, i + 1) + term(i + 1, i) for i in range(0, count, 2)) / count


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_loss_is_the_papers_double_loop(temperature):
    first, second = views(5)
    value = NTXentLoss(NTXentOptions(temperature))(
        F.normalize(first, dim=1), F.normalize(second, dim=1), torch.arange(len(first))
    )
    assert value.item() == pytest.approx(nt_xent_by_loops(first, second, temperature), rel=1e-9)


def test_identical_embeddings_give_log_of_the_other_views():
    same = F.normalize(torch.ones(8, 4), dim=1)
    assert NTXentLoss()(same, same, torch.arange(8)).item() == pytest.approx(math.log(2 * 8 - 1), rel=1e-5)


def test_an_image_that_is_repeated_counts_once():
    first, second = F.normalize(views(5), dim=-1)
    again = torch.tensor([0, 1, 2, 3, 4, 4, 4])
    expected = NTXentLoss()(first, second, torch.arange(5))
    torch.testing.assert_close(NTXentLoss()(first[again], second[again], again), expected)


def test_gradient_is_finite_and_reaches_both_views():
    first, second = (value.requires_grad_() for value in views(4))
    NTXentLoss()(F.normalize(first, dim=1), F.normalize(second, dim=1), torch.arange(len(first))).backward()
    for value in (first, second):
        assert value.grad.isfinite().all()
        assert value.grad.abs().sum() > 0


def test_half_precision_embeddings_are_compared_in_single():
    first, second = F.normalize(views(4), dim=-1).to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        value = NTXentLoss()(first, second, torch.arange(4))
    torch.testing.assert_close(value, NTXentLoss()(first.float(), second.float(), torch.arange(4)))
