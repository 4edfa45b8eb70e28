import copy
from itertools import pairwise

import pandas as pd
import pytest
import torch
from lightning.pytorch import Trainer
from torch_geometric.data import Batch

from igcl_lightning.callbacks import WriteEmbeddings
from igcl_lightning.data.modules import PairedDataModule
from igcl_lightning.data.row_datasets import PairDataset
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.featurizer import featurize
from igcl_lightning.graphs.schema import ReportGraph
from igcl_lightning.modules import IGCL
from igcl_lightning.modules.optim import schedule_factor

TINY = {"image": {"backbone": "test_resnet", "size": 32}, "graph": {"channels": 32}}


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
    pairs = PairDataset(Store(phantom_store), "train")
    return pairs.batch(range(12))


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
    torch.testing.assert_close(torch.tensor(written["image"][0].tolist()), embeddings[0].first[0])
    rows = sum(len(embedding.row) for embedding in embeddings)
    assert rows == len(Store(phantom_store).table("test"))
    torch.testing.assert_close(embeddings[0].first.norm(dim=1), torch.ones(len(embeddings[0].row)))


def test_it_can_learn_twelve_pairs_by_heart(batch):
    torch.manual_seed(0)
    module = IGCL(**TINY, loss={"targets": "identity"})
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3)
    for _ in range(60):
        loss, embedding = module.contrast_batch(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    hits = (embedding.first @ embedding.second.T).argmax(dim=1) == torch.arange(12)
    assert hits.float().mean() >= 0.8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"graph": {"channels": 33}}, "model.graph.channels 33 is not a multiple of model.graph.attention_heads 2"),
        ({"loss": {"temperature": 0.0}}, "model.loss.temperature is 0.0, not above 0"),
        ({"optim": {"schedule": "linear"}}, "model.optim.schedule 'linear' is not one of cosine, constant"),
        (
            {"image": {"interpolation": "nearest"}},
            "interpolation 'nearest' is not one of bilinear, bicubic",
        ),
    ],
)
def test_arguments_out_of_range_are_named(options, message):
    with pytest.raises(IgclError, match=message):
        IGCL(**TINY | options)


def test_a_run_without_end_is_refused(phantom_store):
    with pytest.raises(IgclError, match="needs the total number of steps: set trainer.max_epochs or trainer.max_steps"):
        trainer(max_epochs=-1).fit(IGCL(**TINY), PairedDataModule(str(phantom_store), batch_size=16))


def test_every_parameter_takes_part(batch):
    module = IGCL(**TINY | {"graph": {"readout": "attention"}})
    module.contrast_batch(batch)[0].backward()
    without = [name for name, value in module.named_parameters() if value.grad is None]
    assert not without


def test_an_empty_report_in_the_batch_is_finite(batch):
    module = IGCL(**TINY)
    graphs = batch.graph.to_data_list()
    graphs[3] = featurize([ReportGraph("")])[0]
    loss, embedding = module.contrast_batch(batch._replace(graph=Batch.from_data_list(graphs)))
    assert embedding.second.isfinite().all()
    assert len(embedding.second) == 12
    loss.backward()
    assert module.graph_encoder.empty.grad.abs().sum() > 0


def test_weight_decay_spares_biases_norms_and_temperature():
    module = IGCL(**TINY, loss={"kind": "siglip"}, optim={"weight_decay": 0.1})
    decayed, spared = module.parameter_groups()
    assert decayed.weight_decay == 0.1
    assert spared.weight_decay == 0
    own = {id(parameter) for parameter in module.loss.parameters()}
    assert len(own) == 2
    assert own <= {id(parameter) for parameter in spared.parameters}
    assert all(parameter.ndim > 1 for parameter in decayed.parameters)
    assert len(decayed.parameters) + len(spared.parameters) == len(list(module.parameters()))


def test_learning_rate_rises_then_falls_to_zero():
    factor = schedule_factor("cosine", 100, 0.1)
    values = [factor(step) for step in range(101)]
    assert values[0] == pytest.approx(1 / 11)
    assert max(values) == values[10] == 1
    assert values[100] == pytest.approx(0, abs=1e-9)
    assert all(a > b for a, b in pairwise(values[10:]))


def test_a_constant_learning_rate_stays():
    factor = schedule_factor("constant", 100, 0.0)
    assert {factor(step) for step in range(100)} == {1.0}


def test_the_image_encoder_waits_while_it_is_frozen(phantom_store):
    module = IGCL(**TINY, optim={"freeze_image_steps": 2})
    start = copy.deepcopy(module.state_dict())
    data = PairedDataModule(str(phantom_store), batch_size=16)
    moved = {}
    for steps in (2, 3):
        trained = copy.deepcopy(module)
        trainer(max_epochs=5, max_steps=steps, limit_val_batches=0).fit(trained, data)
        moved[steps] = {name for name, value in trained.state_dict().items() if not torch.equal(value, start[name])}
    image = {name for name in moved[3] if name.startswith("image_encoder.backbone")}
    assert image
    assert moved[2] == {name for name in moved[2] if not name.startswith("image_encoder")}
    assert any(name.startswith("graph_encoder") for name in moved[2])


@pytest.mark.parametrize("join", ["dummy", "meta", "primary"])
def test_it_trains_and_reloads_with_every_option_of_the_graph_side(batch, join, tmp_path):
    graph = {"join": join, "fc_layers": 1, "first_relation_only": True, "attention_mask": False}
    module = IGCL(TINY["image"] | {"interpolation": "bicubic"}, graph, projection={"layers": 1}).eval()
    module.contrast_batch(batch)[0].backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    run = trainer()
    run.strategy.connect(module)
    run.save_checkpoint(tmp_path / "igcl.ckpt")
    loaded = IGCL.load_from_checkpoint(tmp_path / "igcl.ckpt").eval()
    torch.testing.assert_close(loaded(batch).second, module(batch).second)


@pytest.mark.parametrize(
    "graph",
    [
        {"conv": "gat", "readout": "min"},
        {"conv": "gcn", "relation_types": False, "node_texts": False},
        {"conv": "sage", "relation_types": False, "node_types": False},
        {"layers": 0, "attention_layers": 0, "readout": "mean", "node_types": False},
    ],
)
def test_other_graph_encoders_train_and_reload(batch, graph, tmp_path):
    module = IGCL(TINY["image"], TINY["graph"] | graph).eval()
    module.contrast_batch(batch)[0].backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    run = trainer()
    run.strategy.connect(module)
    run.save_checkpoint(tmp_path / "igcl.ckpt")
    loaded = IGCL.load_from_checkpoint(tmp_path / "igcl.ckpt").eval()
    assert loaded.hparams["graph"] == module.hparams["graph"]
    torch.testing.assert_close(loaded(batch).second, module(batch).second)


def test_stored_node_text_is_read(batch):
    module = IGCL(**TINY | {"graph": {"node_text_channels": 5}}).eval()
    with pytest.raises(IgclError, match="prepare the store with --node-text and set data.node_text"):
        module(batch)
    batch.graph.node_text = torch.randn(batch.graph.num_nodes, 5)
    before = module(batch).second
    batch.graph.node_text = batch.graph.node_text + 1
    assert (module(batch).second - before).abs().max() > 1e-3


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
