"""NT-Xent against the paper's double loop, and on two processes against one."""

import math
import os
import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from igcl_lightning.losses.nt_xent import NTXentLoss

WORLD = 2
PER_RANK = 3


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
    value = NTXentLoss(temperature)(F.normalize(first, dim=1), F.normalize(second, dim=1))
    assert value.item() == pytest.approx(nt_xent_by_loops(first, second, temperature), rel=1e-9)


def test_identical_embeddings_give_log_of_the_other_views():
    same = F.normalize(torch.ones(8, 4), dim=1)
    assert NTXentLoss()(same, same).item() == pytest.approx(math.log(2 * 8 - 1), rel=1e-5)


def test_gradient_is_finite_and_reaches_both_views():
    first, second = (value.requires_grad_() for value in views(4))
    NTXentLoss()(F.normalize(first, dim=1), F.normalize(second, dim=1)).backward()
    for value in (first, second):
        assert value.grad.isfinite().all()
        assert value.grad.abs().sum() > 0


def test_half_precision_embeddings_are_compared_in_single():
    first, second = F.normalize(views(4), dim=-1).to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        value = NTXentLoss()(first, second)
    torch.testing.assert_close(value, NTXentLoss()(first.float(), second.float()))


class Embedder(nn.Module):
    """A linear encoder of both views and the loss, as one module that DDP can wrap."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Linear(6, 4).double()
        self.loss = NTXentLoss()

    def forward(self, first, second):
        return self.loss(*(F.normalize(self.encoder(view), dim=1) for view in (first, second)))


def run_rank(rank, port, folder):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=WORLD)
    model = DistributedDataParallel(Embedder())
    loss = model(*views(WORLD * PER_RANK)[:, rank * PER_RANK : (rank + 1) * PER_RANK])
    loss.backward()
    dist.all_reduce(loss.detach_())
    torch.save((loss / WORLD, model.module.encoder.weight.grad), folder / f"{rank}.pt")
    dist.destroy_process_group()


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def test_two_processes_equal_one(tmp_path):
    mp.spawn(run_rank, (free_port(), tmp_path), nprocs=WORLD)
    whole = Embedder()
    loss = whole(*views(WORLD * PER_RANK))
    loss.backward()
    for rank in range(WORLD):
        got, gradient = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(got, loss.detach())
        torch.testing.assert_close(gradient, whole.encoder.weight.grad)
