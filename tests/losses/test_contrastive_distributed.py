"""Two gloo processes give the losses and the gradients of one process on the whole batch."""

from typing import NamedTuple

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from igcl_lightning.data.row_datasets import PairDataset
from igcl_lightning.data.store import Store
from igcl_lightning.losses.contrastive import (
    SEMANTIC_SOURCES,
    TARGETS,
    ContrastiveLoss,
    ContrastiveOptions,
    PairIds,
    batch_similarity,
)
from igcl_lightning.losses.gather import gather, gather_units
from igcl_lightning.losses.nt_xent import NTXentLoss
from igcl_lightning.metrics.retrieval import PairRetrieval
from igcl_lightning.modules.igcl import IGCL
from igcl_lightning.nn.scoring import concatenate
from two_processes import WORLD, call_on_two

EXCHANGES = ("sides", "scores")
PER_RANK = 4
LENGTHS = (3, 1, 2, 3, 5, 0, 2, 4)
"""Units of each pair: the longest of the two processes have 3 and 5."""


class Units(NamedTuple):
    embedding: Tensor
    units: Tensor
    mask: Tensor
    relation: Tensor | None = None


class WholeMethod(nn.Module):
    """The whole path from batch to loss, as one module that DDP can wrap."""

    def __init__(self, **loss):
        super().__init__()
        torch.manual_seed(0)
        self.module = IGCL(image={"backbone": "test_resnet", "size": 32}, graph={"channels": 16}, loss=loss).double()
        self.module.eval()  # batch norm and dropout differ between one batch and its halves by design

    def forward(self, batch):
        return self.module.contrast_batch(batch)[0]


class Views(nn.Module):
    """A linear encoder of both views, and NT-Xent."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Linear(6, 4).double()
        self.loss = NTXentLoss()

    def forward(self, batch):
        first, second, row = batch
        return self.loss(*(F.normalize(self.encoder(view), dim=1) for view in (first, second)), row)


class LocalMatching(nn.Module):
    """A scorer that reads units: the mean over them of the best match among three regions."""

    def __init__(self, exchange):
        super().__init__()
        torch.manual_seed(0)
        self.exchange = exchange
        self.words, self.regions = nn.Linear(6, 4).double(), nn.Linear(6, 12).double()
        self.loss = ContrastiveLoss(ContrastiveOptions(0.5, targets="study")).double()

    def forward(self, batch):
        image, units, mask, row = batch
        first = self.regions(image).view(-1, 3, 4)
        second = Units(image, self.words(units), mask)
        similarity = batch_similarity(score, first, second, self.exchange)
        return self.loss(similarity, PairIds(row, row // 3, row // 5, row, row[:, None]))


def score(regions, report):
    match = torch.einsum("qrd,cud->qcur", regions, report.units).amax(dim=3) * report.mask
    return match.sum(dim=2) / report.mask.sum(dim=1).clamp(min=1)


def repeating(rank, size):
    """The rows of a rank where an odd number of rows is shared out: the last one is repeated."""
    rows = [*range(size), *[size - 1] * (size % WORLD)]
    return torch.tensor(rows if rank is None else rows[rank::WORLD])


def pair_batches(store, rank=None):
    first, size = (0, WORLD * PER_RANK) if rank is None else (rank * PER_RANK, PER_RANK)
    batch = PairDataset(Store(store), "train").batch(range(first, first + size))
    return batch._replace(image=batch.image.double())


def view_batch(rank=None):
    rows = repeating(rank, 7)
    first, second = torch.randn(2, 8, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)[:, rows]
    return first, second, rows


def unit_batch(rank=None):
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(8, 6, generator=generator, dtype=torch.float64)
    reports = [torch.randn(1, length, 6, generator=generator, dtype=torch.float64) for length in LENGTHS]
    rows = torch.arange(8) if rank is None else torch.arange(8)[rank * PER_RANK :][:PER_RANK]
    mask = concatenate([torch.ones(1, LENGTHS[row], dtype=torch.bool) for row in rows])
    return image[rows], concatenate([reports[row] for row in rows]), mask, rows


def cases(store, rank=None):
    """Name, module and batch of everything that is compared."""
    for targets in TARGETS:
        yield targets, WholeMethod(targets=targets), pair_batches(store, rank)
    for source in SEMANTIC_SOURCES:
        yield f"alike by {source}", WholeMethod(semantic_weight=0.5, semantic_source=source), pair_batches(store, rank)
    yield "views, one repeated", Views(), view_batch(rank)
    for exchange in EXCHANGES:
        yield f"units of different numbers, {exchange} sent", LocalMatching(exchange), unit_batch(rank)


def gradients(model):
    return {name: value.grad for name, value in model.named_parameters() if value.grad is not None}


def run_rank(rank, store, folder):
    results = {}
    for name, model, batch in cases(store, rank):
        model = DistributedDataParallel(model)
        loss = model(batch)
        loss.backward()
        dist.all_reduce(loss.detach_())
        results[name, rank] = (loss / WORLD, gradients(model.module))
    results["retrieval", rank] = retrieval([rank]).compute()
    results["shared gradient", rank] = shared_gradient()
    _, units, mask, _ = unit_batch(rank)
    results["gathered", rank] = tuple(gather_units(Units(units[:, :1], units, mask)))
    torch.save(results, folder / f"{rank}.pt")


def retrieval(ranks):
    """Retrieval by a scorer that reads units, of two batches of each rank."""
    metric = PairRetrieval(k=(1, 2), score=score)
    for rank in ranks:
        image, units, mask, row = unit_batch(rank)
        regions = torch.stack([image[:, :4], image[:, 1:5], image[:, 2:]], dim=1)
        for at in (slice(0, 2), slice(2, 4)):
            longest = int(mask[at].sum(dim=1).max())
            report = Units(image[at], units[at, :longest, :4], mask[at, :longest])
            metric.update(regions[at], report, row[at] // 2, row[at] // 3, row[at])
    return metric


def shared_gradient():
    """Gradients of a tensor that is gathered and of one that is not, where autograd hands both the same tensor."""
    own, other = torch.zeros(2, requires_grad=True), torch.zeros(2 * WORLD, requires_grad=True)
    before = 1 * other  # what is computed first has its gradient last
    (gather(own) + before).backward(torch.ones(2 * WORLD))
    return own.grad, other.grad


@pytest.fixture(scope="module")
def two_processes(phantom_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    call_on_two(run_rank, str(phantom_store), folder, folder=folder)
    return torch.load(folder / "0.pt") | torch.load(folder / "1.pt")


@pytest.mark.parametrize(
    "name",
    [
        *TARGETS,
        *(f"alike by {source}" for source in SEMANTIC_SOURCES),
        "views, one repeated",
        *(f"units of different numbers, {exchange} sent" for exchange in EXCHANGES),
    ],
)
def test_two_processes_equal_one(two_processes, phantom_store, name):
    whole, batch = next((model, batch) for case, model, batch in cases(phantom_store) if case == name)
    loss = whole(batch)
    loss.backward()
    expected = gradients(whole)
    for rank in range(WORLD):
        got, got_gradients = two_processes[name, rank]
        torch.testing.assert_close(got, loss.detach(), atol=1e-6, rtol=0)
        assert got_gradients.keys() == expected.keys()
        for parameter, gradient in expected.items():
            torch.testing.assert_close(got_gradients[parameter], gradient, atol=1e-6, rtol=0)


def test_units_of_all_processes_stay_with_their_rows(two_processes):
    expected = retrieval(range(WORLD)).compute()
    assert len(set(map(float, expected.values()))) > 2
    for rank in range(WORLD):
        assert two_processes["retrieval", rank] == expected


def test_gathering_leaves_the_gradients_of_others_alone(two_processes):
    for rank in range(WORLD):
        own, other = two_processes["shared gradient", rank]
        assert own.tolist() == [WORLD] * 2
        assert other.tolist() == [1] * 2 * WORLD


def test_units_of_all_processes_are_padded_to_the_longest(two_processes):
    _, units, mask, _ = unit_batch()
    for rank in range(WORLD):
        _, gathered, gathered_mask, relation = two_processes["gathered", rank]
        torch.testing.assert_close(gathered, units)
        assert torch.equal(gathered_mask, mask)
        assert relation is None
