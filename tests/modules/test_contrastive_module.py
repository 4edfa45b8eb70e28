"""What every contrastive method gets from `ContrastiveModule`: steps, bounds, and matching of units by one override."""

import math
from typing import NamedTuple

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn

from igcl_lightning.data.modules import PairedDataModule
from igcl_lightning.data.row_datasets import PairDataset
from igcl_lightning.data.store import Store
from igcl_lightning.losses.contrastive import ContrastiveLoss, ContrastiveOptions
from igcl_lightning.modules import IGCL, ContrastiveModule
from igcl_lightning.modules.optim import schedule_factor
from igcl_lightning.nn.graph_encoder import GraphEncoder, GraphOptions
from igcl_lightning.nn.image_encoder import ImageEncoder, ImageOptions
from igcl_lightning.nn.projection import ProjectionHead

TINY = {"image": {"backbone": "test_resnet", "size": 32}, "graph": {"channels": 16}}


class Entities(NamedTuple):
    units: Tensor
    mask: Tensor
    importance: Tensor


class LocalMatching(ContrastiveModule):
    """Each entity attends to regions; a pair's score is the mean of its entities' scores, weighted by importance."""

    def __init__(self) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.image_encoder = ImageEncoder(ImageOptions("test_resnet", 64), unit_layer=3)
        self.graph_encoder = GraphEncoder(GraphOptions(16))
        self.image_projection, self.graph_projection = ProjectionHead(96), ProjectionHead(16)
        self.regions = nn.Linear(self.image_encoder.unit_channels, 8)
        self.entities = nn.Linear(16, 8)
        self.loss = ContrastiveLoss(ContrastiveOptions(targets="identity"))

    def matched(self, side, encoded, embedding):
        if side == "image":
            return self.regions(encoded.units)
        return Entities(self.entities(encoded.units), encoded.mask, encoded.importance)

    def score(self, first, second):
        match = torch.einsum("qrd,cud->qcur", first, second.units).amax(dim=3)
        weight = second.importance.masked_fill(~second.mask, 0)
        return (match * weight).sum(dim=2) / weight.sum(dim=1)


def quiet(**options):
    silent = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
    return Trainer(accelerator="cpu", num_sanity_val_steps=0, **silent | options)


class Steps(Callback):
    """Notes learning rate and log of 1 / temperature after each step."""

    def __init__(self):
        self.rates, self.scales = [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.scales.append(float(pl_module.loss.logit_scale.detach()))


def test_the_learning_rate_moves_every_step(phantom_store):
    steps = Steps()
    module = IGCL(**TINY, optim={"learning_rate": 0.01, "warmup_fraction": 0.25})
    data = PairedDataModule(str(phantom_store), batch_size=6)
    quiet(max_epochs=1, limit_train_batches=8, limit_val_batches=0, callbacks=[steps]).fit(module, data)
    factor = schedule_factor("cosine", 8, 0.25)
    assert steps.rates == pytest.approx([0.01 * factor(step) for step in range(8)])


def test_the_temperature_stays_within_its_bound_after_every_step(phantom_store):
    steps = Steps()
    module = IGCL(
        **TINY,
        loss={"temperature": 0.0101, "targets": "identity"},
        optim={"learning_rate": 0.5, "warmup_fraction": 0.0},
    )
    module.loss.register_parameter("logit_scale", nn.Parameter(torch.tensor([math.log(99.0)])))
    data = PairedDataModule(str(phantom_store), batch_size=6)
    module.loss.logit_scale.register_hook(lambda gradient: -torch.ones_like(gradient))
    quiet(max_epochs=1, limit_train_batches=3, limit_val_batches=0, callbacks=[steps]).fit(module, data)
    assert steps.scales == pytest.approx([math.log(100)] * 3)


def test_a_method_that_matches_units_trains_is_validated_and_searched_by_its_own_score(phantom_store):
    torch.manual_seed(0)
    module, data = LocalMatching(), PairedDataModule(str(phantom_store), batch_size=16)
    before = module.regions.weight.detach().clone()
    run = quiet(max_epochs=2, limit_train_batches=3)
    run.fit(module, data)
    assert (module.regions.weight - before).abs().max() > 1e-3
    run.validate(module, data, verbose=False)
    module.eval()
    store = Store(phantom_store)
    batch = PairDataset(store, "valid").batch(range(len(store.table("valid"))))
    with torch.no_grad():
        image, graph = (module.encode(side, getattr(batch, side)) for side in module.sides)
        table = slow_scores(module, image, graph)
        loss, _ = module.contrast_batch(batch)
    ranks = []
    for number, row in enumerate(table):
        same = (batch.graph_key == batch.graph_key[number]) & (batch.graph_key >= 0)
        same[number] = True
        ranks.append(1 + int((row[~same] >= row[same].max()).sum()))
    expected = sum(rank <= 5 for rank in ranks) / len(ranks)
    assert float(run.callback_metrics["val/image_to_graph_recall@5"]) == pytest.approx(expected)
    own = torch.arange(len(table))
    logits = table * module.loss.logit_scale.exp()
    both = nn.functional.cross_entropy(logits, own) + nn.functional.cross_entropy(logits.T, own)
    torch.testing.assert_close(loss, both / 2, atol=1e-5, rtol=1e-5)


def slow_scores(module, image, graph):
    """The score pair by pair and entity by entity."""
    table = torch.zeros(len(image.pooled), len(graph.pooled))
    for i in range(len(table)):
        regions = module.regions(image.units[i])
        for j in range(len(table)):
            size = int(graph.mask[j].sum())
            shares = graph.importance[j, :size]
            best = [(regions @ module.entities(graph.units[j, unit])).max() for unit in range(size)]
            table[i, j] = sum(share * value for share, value in zip(shares, best, strict=True)) / shares.sum()
    return table


def test_encode_takes_what_the_encoder_reads(phantom_store):
    module = IGCL(**TINY).eval()
    batch = PairDataset(Store(phantom_store), "train").batch(range(4))
    torch.testing.assert_close(module.encode("image", batch.image).pooled, module.image_encoder(batch.image).pooled)
    embedding = module(batch)
    projected = module.project("graph", module.encode("graph", batch.graph))
    torch.testing.assert_close(projected, embedding.second)
