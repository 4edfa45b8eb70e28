import copy
from itertools import pairwise

import pandas as pd
import pytest
import torch
from lightning.pytorch import Trainer
from torch_geometric.loader import DataLoader as GraphLoader

from igcl_lightning.callbacks import WriteEmbeddings
from igcl_lightning.data.modules import PairDataset, PairedDataModule
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from igcl_lightning.modules import IGCL
from igcl_lightning.modules.schedule import warmup_cosine

TINY = {"backbone": "test_resnet", "image_size": 32, "graph_channels": 32}


def trainer(**options):
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
    }
    return Trainer(accelerator="cpu", num_sanity_val_steps=0, **quiet | options)


@pytest.fixture
def batch(phantom_store):
    pairs = PairDataset(Store(phantom_store).table("train"))
    return next(iter(GraphLoader(pairs, batch_size=12)))


def test_fit_validate_test_and_predict_run(phantom_store, tmp_path):
    module, data = IGCL(**TINY), PairedDataModule(str(phantom_store), batch_size=16)
    run = trainer(max_epochs=1, default_root_dir=tmp_path)
    run.fit(module, data)
    assert {"train/loss", "val/loss", "val/image_to_graph_recall@5"} <= run.callback_metrics.keys()
    run.validate(module, data, verbose=False)
    run.test(module, data, verbose=False)
    assert "test/graph_to_image_recall@10" in run.callback_metrics
    run.callbacks.append(WriteEmbeddings())
    embeddings = run.predict(module, data)
    written = pd.read_parquet(tmp_path / "embeddings.parquet")
    assert written["row"].tolist() == Store(phantom_store).column("test", "row")
    torch.testing.assert_close(torch.tensor(written["image"][0].tolist()), embeddings[0].image[0])
    rows = sum(len(embedding.row) for embedding in embeddings)
    assert rows == len(Store(phantom_store).table("test"))
    torch.testing.assert_close(embeddings[0].image.norm(dim=1), torch.ones(len(embeddings[0].row)))


def test_it_can_learn_twelve_pairs_by_heart(batch):
    torch.manual_seed(0)
    module = IGCL(**TINY, targets="identity")
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3)
    for _ in range(60):
        embedding = module(batch)
        loss = module.loss(embedding.image, embedding.graph, module.ids(batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    hits = (embedding.image @ embedding.graph.T).argmax(dim=1) == torch.arange(12)
    assert hits.float().mean() >= 0.8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"graph_channels": 33}, "model.graph_channels 33 is no multiple of attention_heads 2"),
        ({"temperature": 0.0}, "model.temperature is 0.0, not above 0"),
    ],
)
def test_arguments_out_of_range_are_named(options, message):
    with pytest.raises(IgclError, match=message):
        IGCL(**TINY | options)


def test_a_run_without_end_is_refused(phantom_store):
    with pytest.raises(IgclError, match=r"set trainer.max_epochs or trainer.max_steps"):
        trainer(max_epochs=-1).fit(IGCL(**TINY), PairedDataModule(str(phantom_store), batch_size=16))


def test_every_parameter_takes_part(batch):
    module = IGCL(**TINY, readout="attention")
    embedding = module(batch)
    module.loss(embedding.image, embedding.graph, module.ids(batch)).backward()
    without = [name for name, value in module.named_parameters() if value.grad is None]
    assert not without


def test_an_empty_report_in_the_batch_is_finite(batch, phantom_store):
    store = Store(phantom_store)
    keys = [row["key"] for row in store.column("train", "graph")]
    pairs = PairDataset(store.table("train").select([keys.index(-1), *range(3)]))
    embedding = IGCL(**TINY)(next(iter(GraphLoader(pairs, batch_size=4))))
    assert embedding.graph.isfinite().all()
    assert len(embedding.graph) == 4


def test_weight_decay_spares_biases_norms_and_temperature():
    module = IGCL(**TINY, weight_decay=0.1)
    decayed, spared = module._parameter_groups()
    assert decayed["weight_decay"] == 0.1
    assert spared["weight_decay"] == 0
    spared_ids = {id(parameter) for parameter in spared["params"]}
    assert id(module.loss.logit_scale) in spared_ids
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    assert len(decayed["params"]) + len(spared["params"]) == len(list(module.parameters()))


def test_learning_rate_rises_then_falls_to_zero():
    factor = warmup_cosine(100, 0.1)
    values = [factor(step) for step in range(101)]
    assert values[0] == pytest.approx(1 / 11)
    assert max(values) == values[10] == 1
    assert values[100] == pytest.approx(0, abs=1e-9)
    assert all(a > b for a, b in pairwise(values[10:]))


def test_training_is_reproducible(phantom_store):
    def trained():
        torch.manual_seed(3)
        module = IGCL(**TINY)
        trainer(max_epochs=1, limit_train_batches=2, limit_val_batches=0).fit(
            module, PairedDataModule(str(phantom_store), batch_size=8)
        )
        return copy.deepcopy(module.state_dict())

    for one, two in zip(trained().values(), trained().values(), strict=True):
        torch.testing.assert_close(one, two)
