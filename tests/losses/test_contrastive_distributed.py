"""Two gloo processes give the losses, gradients and weights of one process on the whole batch.

They share it out unevenly; one row is empty, one is repeated, and some belong to one study, patient or graph. The two
contrast cosines in tiles of two rows and columns, the one in a single tile.
"""

from typing import NamedTuple

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from graph_cases import EMPTY, GRAPHS, RICH, SWITCHES, encoder
from graph_cases import batch as graph_batch
from igcl_lightning.data.row_datasets import PairDataset
from igcl_lightning.data.store import Store
from igcl_lightning.losses import tiled
from igcl_lightning.losses.contrastive import KINDS, ContrastiveLoss, ContrastiveOptions, batch_similarity
from igcl_lightning.losses.gather import gather, gather_units
from igcl_lightning.losses.nt_xent import NTXentLoss
from igcl_lightning.losses.targets import SEMANTIC_SOURCES, TARGETS, PairIds
from igcl_lightning.metrics.retrieval import PairRetrieval
from igcl_lightning.modules.igcl import IGCL
from igcl_lightning.nn.scoring import concatenate, cosine_similarity
from two_processes import WORLD, call_on_two

EXCHANGES = ("sides", "scores")
SHARES = (slice(0, 5), slice(5, 8))
"""Rows of each process."""

EVERY = slice(None)
STEPS = 2
LENGTHS = (3, 1, 2, 3, 5, 0, 2, 4)
"""Units of each pair: the longest of the two processes have 3 and 5."""


class Units(NamedTuple):
    embedding: Tensor
    units: Tensor
    mask: Tensor
    relation: Tensor | None = None


class Steady(IGCL):
    """IGCL in eval mode but for its losses: batch norm and dropout differ between a batch and its parts by design."""

    def train(self, mode=True):
        super().train(False)
        for loss in self.trained_losses.values():
            loss.train(mode)
        return self


def steady(local=0.0, **loss):
    torch.manual_seed(0)
    matching = {"weight": local, "channels": 8, "region_layer": 3}
    image = {"backbone": "test_resnet", "size": 32}
    return Steady(image, {"channels": 16}, matching=matching, loss=loss).double().train()


class WholeMethod(nn.Module):
    """The whole path from batch to loss, as one module that DDP can wrap."""

    def __init__(self, **options):
        super().__init__()
        self.module = steady(**options)

    def forward(self, batch):
        return self.module.contrast_batch(batch)[0]


class GraphsAlone(nn.Module):
    """A graph encoder on graphs that are all empty on the second process; the loss is a mean over the graphs of all."""

    def __init__(self, name):
        super().__init__()
        self.encoder = encoder(**SWITCHES[name]).double()

    def forward(self, graphs):
        pooled = self.encoder(graphs).pooled
        world = dist.get_world_size() if dist.is_initialized() else 1
        return world * pooled.square().sum() / 8


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


def pair_batch(store, share=EVERY, step=0):
    """Rows 5 and 7 of a batch are equal, row 3 is empty; rows 0, 1 and 6 and rows 2 and 4 have graphs in common."""
    states = Store(store).stating("test", "graph")
    full, empty = np.flatnonzero(states)[6 * step :], np.flatnonzero(~states)
    rows = np.array([*full[:3], empty[0], *full[3:6], full[4]])
    batch = PairDataset(Store(store), "test").batch(rows[share].tolist())
    study, patient, key = torch.tensor(
        [[0, 1, 2, 3, 4, 5, 0, 5], [0, 0, 2, 3, 0, 5, 0, 5], [7, 7, 8, -1, 8, 9, 7, 9]],
    )[:, share]
    facts = torch.tensor([[1, 2], [1, 2], [2, 3], [-1, -1], [2, 3], [5, -1], [1, 2], [5, -1]])[share]
    return batch._replace(image=batch.image.double(), study=study, patient=patient, graph_key=key, graph_facts=facts)


def view_batch(share=EVERY):
    rows = torch.tensor([0, 1, 2, 3, 4, 5, 6, 6])[share]
    first, second = torch.randn(2, 8, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)[:, rows]
    return first, second, rows


def unit_batch(share=EVERY):
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(8, 6, generator=generator, dtype=torch.float64)
    reports = [torch.randn(1, length, 6, generator=generator, dtype=torch.float64) for length in LENGTHS]
    rows = torch.arange(8)[share]
    mask = concatenate([torch.ones(1, LENGTHS[row], dtype=torch.bool) for row in rows])
    return image[rows], concatenate([reports[row] for row in rows]), mask, rows


METHODS = {f"{kind}, {targets}": {"kind": kind, "targets": targets} for kind in KINDS for targets in TARGETS}
METHODS = {
    name: options | {"temperature": 0.2} | ({"bias": -3.0} if options["kind"] == "siglip" else {})
    for name, options in METHODS.items()
}
LOCAL = {f"both branches, {kind}": {"local": 1.0, "kind": kind, "targets": "study"} for kind in KINDS}
ALIKE = {f"alike by {source}": {"semantic_weight": 0.5, "semantic_source": source} for source in SEMANTIC_SOURCES}
WHOLE = {**METHODS, **LOCAL, **ALIKE}
ENCODERS = {f"graph encoder: {name}": name for name in SWITCHES}
UNITS = {f"units of different numbers, {exchange} sent": exchange for exchange in EXCHANGES}
VIEWS = "views, one repeated"
CASES = (*WHOLE, VIEWS, *UNITS, *ENCODERS)


def case(name, store, share=EVERY):
    """Module and batch of one of the `CASES`."""
    if name in WHOLE:
        return WholeMethod(**WHOLE[name]), pair_batch(store, share)
    if name in ENCODERS:
        return GraphsAlone(ENCODERS[name]), graph_batch(*(*GRAPHS, RICH, EMPTY, EMPTY, EMPTY)[share])
    return (Views(), view_batch(share)) if name == VIEWS else (LocalMatching(UNITS[name]), unit_batch(share))


def trained(name, store, share=EVERY, **options):
    """The weights after some steps of a Trainer, and what it logged."""
    module = steady(**METHODS[name])
    batches = [pair_batch(store, share, step) for step in range(STEPS)]
    silent = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        precision="64-true",
        use_distributed_sampler=False,
        gradient_clip_val=0.5,
        **silent,
        **options,
    )
    trainer.fit(module, DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch))
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    return {name: value.detach().clone() for name, value in module.state_dict().items()}, logged


def gradients(model):
    return {name: value.grad for name, value in model.named_parameters() if value.grad is not None}


def only_repeats(kind, share=EVERY):
    """Loss and gradients of embeddings, where the second process has nothing but rows of the first."""
    row = torch.tensor([0, 1, 2, 3, 4, 2, 4, 0])[share]
    generator = torch.Generator().manual_seed(0)
    pair = F.normalize(torch.randn(2, 8, 4, generator=generator, dtype=torch.float64), dim=-1)
    first, second = (side[share].clone().requires_grad_() for side in pair)
    ids = PairIds(row, row // 2, row // 3, row % 2, row[:, None] % 2)
    loss = ContrastiveLoss(ContrastiveOptions(0.2, "soft", kind=kind)).double()
    value = loss(batch_similarity(cosine_similarity, first, second), ids)
    value.backward()
    return value.detach(), first.grad, second.grad, loss.logit_scale.grad


def run_rank(rank, store, folder):
    tiled.CPU_TILE = 2
    results = {("only repeats", kind, rank): only_repeats(kind, SHARES[rank]) for kind in KINDS}
    for name in CASES:
        model, batch = case(name, store, SHARES[rank])
        model = DistributedDataParallel(model)
        loss = model(batch)
        loss.backward()
        dist.all_reduce(loss.detach_())
        results[name, rank] = (loss / WORLD, gradients(model.module))
    for name in METHODS:
        results["trained", name, rank] = trained(name, store, SHARES[rank], devices=WORLD, strategy="ddp")
    results["retrieval", rank] = retrieval([rank]).compute()
    results["shared gradient", rank] = shared_gradient()
    _, units, mask, _ = unit_batch(SHARES[rank])
    results["gathered", rank] = tuple(gather_units(Units(units[:, :1], units, mask)))
    results["nothing of one process", rank] = gather(torch.ones(3 - 3 * rank, 2, dtype=torch.bool))
    torch.save(results, folder / f"{rank}.pt")


def retrieval(ranks):
    """Retrieval by a scorer that reads units, of two batches of each rank."""
    metric = PairRetrieval(k=(1, 2), score=score)
    for rank in ranks:
        image, units, mask, row = unit_batch(SHARES[rank])
        regions = torch.stack([image[:, :4], image[:, 1:5], image[:, 2:]], dim=1)
        for at in (slice(0, 2), slice(2, 5)):
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


@pytest.mark.parametrize("name", CASES)
def test_two_processes_equal_one(two_processes, phantom_store, name):
    whole, batch = case(name, phantom_store)
    loss = whole(batch)
    loss.backward()
    expected = gradients(whole)
    for rank in range(WORLD):
        got, got_gradients = two_processes[name, rank]
        torch.testing.assert_close(got, loss.detach(), atol=1e-6, rtol=0)
        assert got_gradients.keys() == expected.keys()
        for parameter, gradient in expected.items():
            torch.testing.assert_close(got_gradients[parameter], gradient, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_may_have_only_rows_of_another(two_processes, kind):
    value, *sides, scale = only_repeats(kind)
    ranks = [two_processes["only repeats", kind, rank] for rank in range(WORLD)]
    torch.testing.assert_close(sum(rank[0] for rank in ranks) / WORLD, value)
    torch.testing.assert_close(sum(rank[3] for rank in ranks) / WORLD, scale)
    for number, side in enumerate(sides, start=1):
        torch.testing.assert_close(torch.cat([rank[number] for rank in ranks]) / WORLD, side)


@pytest.mark.parametrize("name", METHODS)
def test_a_trainer_on_two_processes_gives_the_weights_of_one(two_processes, phantom_store, name):
    weights, logged = trained(name, phantom_store, devices=1)
    before = steady(**METHODS[name]).state_dict()
    changed = {each for each, value in weights.items() if not torch.equal(value, before[each])}
    assert {f"loss.{each}" for each in ("logit_scale", "logit_bias") if f"loss.{each}" in before} <= changed
    assert {"train/loss", "train/false_negative_rate"} <= set(logged)
    for rank in range(WORLD):
        got, got_logged = two_processes["trained", name, rank]
        for each, value in weights.items():
            torch.testing.assert_close(got[each], value, atol=1e-6, rtol=0, msg=each)
        assert got_logged == pytest.approx(logged, abs=1e-6)
    assert (logged["train/false_negative_rate"] > 0) == (METHODS[name]["targets"] in ("identity", "study"))


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


def test_a_process_may_have_no_rows(two_processes):
    for rank in range(WORLD):
        assert torch.equal(two_processes["nothing of one process", rank], torch.ones(3, 2, dtype=torch.bool))
