"""RotatE embeddings are fitted before a pretraining, once, and alike in all processes."""

import logging

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.utils.data import DataLoader

from igcl_lightning.callbacks import EMA
from igcl_lightning.data.modules import PairedDataModule
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from igcl_lightning.modules import IGCL, RECLF, entity_fit
from igcl_lightning.nn import rotate
from igcl_lightning.nn.rotate import RotatedText
from two_processes import WORLD, call_on_two

GRAPH = {"channels": 16, "rotate_channels": 8}
TINY = {"image": {"backbone": "test_resnet", "size": 32}, "graph": GRAPH}
QUIET = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
FEW_STEPS = 20


def trainer(**options):
    return Trainer(accelerator="cpu", limit_val_batches=0, **QUIET | {"max_steps": 1} | options)


def fit(store, path=None, *, ckpt_path=None, module=None, **options):
    """A module after a step of training, and its checkpoint at `path`."""
    seed_everything(0, verbose=False)
    module = module or IGCL(**TINY)
    run = trainer(**options)
    run.fit(module, PairedDataModule(str(store), batch_size=16, augment=False), ckpt_path=ckpt_path)
    if path is not None:
        run.save_checkpoint(path)
    return module


def text_of(module):
    return next(part for part in module.modules() if isinstance(part, RotatedText))


def table(module):
    text = text_of(module)
    return text.key.clone(), text.vector.clone()


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(rotate, "STEPS", (FEW_STEPS, FEW_STEPS))


@pytest.fixture
def fits(monkeypatch):
    """The number of triples of each fit of embeddings."""
    seen = []

    def counted(triples, channels):
        seen.append(len(triples.head))
        return rotate.fit_rotate(triples, channels)

    monkeypatch.setattr(entity_fit, "fit_rotate", counted)
    return seen


@pytest.fixture(scope="module")
def first(phantom_store, tmp_path_factory):
    """A fit with averaged weights, and its checkpoint."""
    path = tmp_path_factory.mktemp("fits") / "one.ckpt"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rotate, "STEPS", (FEW_STEPS, FEW_STEPS))
        return fit(phantom_store, path, callbacks=[EMA()]), path


def training_triples(store):
    """The different relations of the training reports as words and labels, by a loop over entities."""
    triples = set()
    for row in Store(store).column("train", "graph"):
        entities = [(words.lower(), label) for words, label in zip(row["tokens"], row["label"], strict=True)]
        edges = zip(row["head"], row["type"], row["tail"], strict=True)
        triples |= {(entities[head], kind, entities[tail]) for head, kind, tail in edges}
    return triples


def test_it_is_fitted_to_the_training_reports_and_says_so(phantom_store, first, fits, caplog):
    with caplog.at_level(logging.INFO):
        module = fit(phantom_store)
    triples = training_triples(phantom_store)
    entities = {entity for head, _, tail in triples for entity in (head, tail)}
    assert fits == [len(triples)]
    said = f"model.graph.rotate_channels: fitted RotatE to {len(triples):,} different relations of {len(entities):,} e"
    assert said in caplog.text
    key, vector = table(module)
    assert (key < 2**63 - 1).sum() == len(entities)
    assert vector.square().sum() / (8 * len(entities)) == pytest.approx(1)
    for own, other in zip(table(first[0]), (key, vector), strict=True):
        assert torch.equal(own, other)


def test_the_random_state_is_that_of_a_run_without(phantom_store, monkeypatch):
    with_fit = fit(phantom_store)
    state = torch.get_rng_state()
    monkeypatch.setattr("igcl_lightning.modules.contrastive.fit_entities", lambda module: None)
    without = fit(phantom_store)
    assert torch.equal(torch.get_rng_state(), state)
    assert text_of(with_fit).fitted
    assert not text_of(without).fitted


def test_a_fit_that_resumes_and_a_loaded_module_are_not_fitted_again(phantom_store, first, fits, tmp_path):
    module, path = first
    resumed = fit(phantom_store, ckpt_path=path, callbacks=[EMA()], max_steps=2)
    loaded = IGCL.load_from_checkpoint(path)
    tables = [table(each) for each in (module, resumed, loaded, fit(phantom_store, module=loaded))]
    assert fits == []
    for key, vector in tables[1:]:
        assert torch.equal(key, tables[0][0])
        assert torch.equal(vector, tables[0][1])


def test_it_is_no_parameter(first):
    names = {name for name, _ in first[0].named_parameters()}
    assert not any("nodes" in name for name in names)


def test_entities_of_other_methods_are_fitted_too(phantom_store):
    module = RECLF(**TINY, units="both", text={"channels": 16})
    assert text_of(fit(phantom_store, module=module)).fitted


def without_relations(self):
    for batch in TRAINING_GRAPHS(self):
        batch.edge_index, batch.edge_type = batch.edge_index[:, :0], batch.edge_type[:0]
        yield batch


TRAINING_GRAPHS = PairedDataModule.training_graphs


def test_reports_without_relations_are_refused(phantom_store, monkeypatch):
    monkeypatch.setattr(PairedDataModule, "training_graphs", without_relations)
    with pytest.raises(IgclError, match="rotate_channels: no training report has a relation between two entities"):
        fit(phantom_store)


def test_data_without_all_reports_are_refused(phantom_store):
    needs = "model.graph.rotate_channels needs a data module"
    with pytest.raises(IgclError, match=f"{needs}, such as PairedDataModule; none was given"):
        trainer().fit(IGCL(**TINY), DataLoader([]))
    stream = f"file://{phantom_store}"
    with pytest.raises(IgclError, match="rotate_channels needs all reports at once, which a stream lacks"):
        fit(stream)


def test_training_graphs_are_those_of_the_training_batches(phantom_store):
    data = PairedDataModule(str(phantom_store), batch_size=16)
    dataset = data._pairs(data.store, ["train"], ("graph",), None)
    whole = [graph for batch in data.training_graphs() for graph in batch.to_data_list()]
    assert len(whole) == len(dataset)
    dataset.places = dataset.places[::-1].copy()
    parts = [graph for batch in dataset.graphs(7) for graph in batch.to_data_list()]
    for row in range(0, len(dataset), 5):
        for got in (whole[-1 - row], parts[row]):
            for name, value in dataset.batch([row]).graph[0].to_dict().items():
                assert torch.equal(torch.as_tensor(got[name]), torch.as_tensor(value)), name


STRATEGIES = {
    "ddp": lambda: "ddp",
    "fsdp": lambda: ModelParallelStrategy(WORLD, 1, save_distributed_checkpoint=False),
}


def on_one_of_two(rank, store, folder):
    """Fit with each strategy, and resume with shards; the second process would fit to other values."""
    rotate.STEPS = (FEW_STEPS + rank,) * 2
    options = {"devices": WORLD, "callbacks": [EMA()]}
    path = folder / "two.ckpt"
    results = {name: table(fit(store, path, strategy=strategy(), **options)) for name, strategy in STRATEGIES.items()}
    rotate.STEPS = (1, 1)  # would give others than those of the checkpoint
    resumed = fit(store, ckpt_path=path, strategy=STRATEGIES["fsdp"](), **options | {"max_steps": 2})
    results["resumed"] = table(resumed)
    torch.save(results, folder / f"{rank}.pt")


def test_two_processes_have_the_embeddings_of_one(phantom_store, first, tmp_path):
    call_on_two(on_one_of_two, str(phantom_store), tmp_path, folder=tmp_path)
    key, vector = table(first[0])
    for rank in range(WORLD):
        for name, (own_key, own_vector) in torch.load(tmp_path / f"{rank}.pt").items():
            assert torch.equal(own_key, key), name
            np.testing.assert_allclose(own_vector, vector, atol=1e-6, err_msg=name)
