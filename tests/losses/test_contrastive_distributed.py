"""Two gloo processes give the loss and the gradients of one process on the whole batch."""

import os
import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import Subset
from torch_geometric.loader import DataLoader

from igcl_lightning.data.row_datasets import PairDataset
from igcl_lightning.data.store import Store
from igcl_lightning.losses.contrastive import TARGETS
from igcl_lightning.modules.igcl import IGCL

WORLD = 2
PER_RANK = 4


class Loss(nn.Module):
    """The whole path from batch to loss, as one module that DDP can wrap."""

    def __init__(self, targets):
        super().__init__()
        torch.manual_seed(0)
        self.module = IGCL("test_resnet", 32, graph_channels=16, targets=targets).double()
        self.module.eval()  # batch norm and dropout differ between one batch and its halves by design

    def forward(self, batch):
        embedding = self.module(batch)
        return self.module.contrast(embedding, batch)


def batches(store, size):
    pairs = Subset(PairDataset(Store(store), "train"), range(WORLD * PER_RANK))
    return [double(batch) for batch in DataLoader(pairs, batch_size=size)]


def double(batch):
    return batch._replace(image=batch.image.double())


def gradients(model):
    return {name: value.grad for name, value in model.named_parameters() if value.grad is not None}


def run_rank(rank, port, store, results):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=WORLD)
    batch = batches(store, PER_RANK)[rank]
    for targets in TARGETS:
        model = DistributedDataParallel(Loss(targets))
        loss = model(batch)
        loss.backward()
        dist.all_reduce(loss.detach_())
        results[targets, rank] = (loss / WORLD, gradients(model.module))
    dist.destroy_process_group()


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@pytest.fixture(scope="module")
def two_processes(phantom_store):
    with mp.get_context("spawn").Manager() as manager:
        results = manager.dict()
        mp.spawn(run_rank, (free_port(), str(phantom_store), results), nprocs=WORLD)
        return dict(results)


@pytest.mark.parametrize("targets", TARGETS)
def test_two_processes_equal_one(two_processes, phantom_store, targets):
    (batch,) = batches(phantom_store, WORLD * PER_RANK)
    whole = Loss(targets)
    loss = whole(batch)
    loss.backward()
    expected = gradients(whole)
    for rank in range(WORLD):
        got, got_gradients = two_processes[targets, rank]
        torch.testing.assert_close(got, loss.detach(), atol=1e-6, rtol=0)
        assert got_gradients.keys() == expected.keys()
        for name, gradient in expected.items():
            torch.testing.assert_close(got_gradients[name], gradient, atol=1e-6, rtol=0)
