"""The mean over known labels, on one process and on two whose labels are known unequally."""

import pytest
import torch
import torch.distributed as dist
from sklearn.metrics import log_loss
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from igcl_lightning.losses.classification import masked_cross_entropy
from two_processes import WORLD, call_on_two

CASES = ("unequal", "one rank knows nothing", "nothing is known", "everything is known")


def made(case):
    """Inputs [6, 3] and targets [6, 2] of the global batch; each rank has three rows."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    target = torch.randint(0, 2, (6, 2), generator=generator).double()
    if case == "unequal":
        target[0] = target[1] = torch.nan
        target[5, 0] = torch.nan
    elif case == "one rank knows nothing":
        target[:3] = torch.nan
    elif case == "nothing is known":
        target[:] = torch.nan
    return x, target


def model():
    torch.manual_seed(1)
    return nn.Linear(3, 2, dtype=torch.float64)


def run_rank(rank, folder):
    results = {}
    for case in CASES:
        x, target = (value.chunk(WORLD)[rank] for value in made(case))
        parallel = DistributedDataParallel(model())
        loss = masked_cross_entropy(parallel(x), target)
        loss.backward()
        dist.all_reduce(loss.detach_())
        results[case] = (loss / WORLD, parallel.module.weight.grad, parallel.module.bias.grad)
    torch.save(results, folder / f"{rank}.pt")


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    call_on_two(run_rank, folder, folder=folder)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(WORLD)]


@pytest.mark.parametrize("case", CASES)
def test_the_mean_over_ranks_is_the_mean_over_the_known_labels_of_the_global_batch(two_processes, case):
    whole, (x, target) = model(), made(case)
    known = ~target.isnan()
    terms = nn.functional.binary_cross_entropy_with_logits(whole(x)[known], target[known], reduction="sum")
    expected = terms / max(1, int(known.sum()))
    expected.backward()
    for results in two_processes:
        loss, weight, bias = results[case]
        torch.testing.assert_close(loss, expected.detach(), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(weight, whole.weight.grad, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(bias, whole.bias.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", CASES[:2])
def test_one_process_has_the_mean_of_scikit_learn(case):
    x, target = made(case)
    logits = model()(x).detach()
    known = ~target.isnan()
    expected = log_loss(target[known], logits[known].sigmoid(), labels=[0, 1])
    assert masked_cross_entropy(logits, target).item() == pytest.approx(expected)
