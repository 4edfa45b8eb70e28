"""Twins in batches are those of single graphs, and depend on seed, epoch and row alone."""

import pickle
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn
from torch.utils.data import DataLoader

from igcl_lightning.data import twins
from igcl_lightning.data.collation import PairCollator
from igcl_lightning.data.modules import PairedDataModule
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.random_numbers import mixed, random_numbers
from igcl_lightning.data.row_datasets import PairDataset, WholeBatches, ready
from igcl_lightning.data.sources.phantom import phantom_study
from igcl_lightning.data.store import Store
from igcl_lightning.data.streaming import PairStream, StreamedStore
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.data.twins import TwinDraw, same_words
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.counterfactuals import KINDS, edits
from igcl_lightning.graphs.featurizer import featurize
from igcl_lightning.graphs.schema import ReportGraph, stable_hash
from igcl_lightning.graphs.sides import exchange_sides
from igcl_lightning.graphs.tokens import ReportTokenizer
from stores import prepare_studies
from tiny_bert import save_tiny_bert

GRAPHS = [ReportGraph(""), *(phantom_study(index, size=64).graph for index in range(40)), ReportGraph("no entity")]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "twins"
    pixels = np.zeros((8, 8), np.uint8)
    studies = [
        Study(f"s{number}", f"p{number}", (StudyImage(f"i{number}", pixels),), graph=graph, split="train")
        for number, graph in enumerate(GRAPHS)
    ]
    prepare_studies(studies, path, options=Options(size=8), chunk=20)
    return path


def dataset(store, kinds=("side",), seed=0, tokenizer=None):
    return PairDataset(Store(store), "train", tokenizer, draw=TwinDraw(kinds, seed))


def assert_same_batch(batch, expected):
    torch.testing.assert_close(batch.to_dict(), expected.to_dict(), rtol=0, atol=0)


def said(twin):
    """Everything about the twins of a batch, to compare."""
    return [value.tolist() for value in (twin.valid, twin.kind, twin.graph.x, twin.graph.node_type, twin.report.x)]


@pytest.mark.parametrize(
    ("kind", "words"), [*((kind, "hashed") for kind in KINDS), ("side", "few"), ("finding", "pieces")]
)
def test_a_twin_is_one_of_the_edited_graphs_of_its_row(store, tmp_path, kind, words):
    tokenize = {
        "hashed": ReportTokenizer,
        "few": lambda: ReportTokenizer(max_tokens=12),
        "pieces": lambda: ReportTokenizer(save_tiny_bert(tmp_path / "bert", max_position=256)),
    }[words]()
    batch = dataset(store, [kind], tokenizer=tokenize).batch(range(len(GRAPHS)))
    drawn = []
    for row, graph in enumerate(GRAPHS):
        options = [edit.graph(graph) for edit in edits(graph, kind)]
        assert batch.twin.valid[row].item() == bool(options)
        same = [each for each in options or [graph] if torch.equal(batch.twin.graph[row].x, featurize([each]).x)]
        same = [each for each in same if torch.equal(batch.twin.graph[row].node_type, featurize([each]).node_type)]
        assert same
        drawn.append(same[0])
    assert batch.twin.kind.tolist() == [KINDS.index(kind)] * len(GRAPHS)
    assert_same_batch(batch.twin.graph, featurize(drawn))
    assert_same_batch(batch.twin.report, tokenize([graph.text for graph in drawn]))
    assert_same_batch(batch.graph, featurize(GRAPHS))
    assert_same_batch(batch.report, tokenize([graph.text for graph in GRAPHS]))


def test_draws_depend_on_seed_epoch_and_row_alone(store):
    rows = len(GRAPHS)
    whole = dataset(store, KINDS).batch(range(rows)).twin
    pairs = dataset(store, KINDS)
    assert said(pairs.batch(range(rows)).twin) == said(whole)  # known by now
    for row in (5, 3, 17):  # in any order, one by one, by another process
        one = pickle.loads(pickle.dumps(pairs)).batch([row]).twin
        assert torch.equal(one.graph.x, whole.graph[row].x)
        assert one.kind == whole.kind[row]
    later = pairs.batch(range(rows, 2 * rows)).twin
    assert said(later) != said(whole) != said(dataset(store, KINDS, seed=1).batch(range(rows)).twin)
    mixed = pairs.batch([2 * rows + 7, 7]).twin  # two epochs in one batch
    assert torch.equal(mixed.graph[0].x, pairs.batch([2 * rows + 7]).twin.graph.x)
    assert torch.equal(mixed.graph[1].x, whole.graph[7].x)
    loader = DataLoader(WholeBatches(dataset(store, KINDS)), batch_size=rows, num_workers=2, collate_fn=ready)
    assert [said(batch.twin) for batch in loader] == [said(whole)]


def test_edits_are_drawn_evenly_whatever_the_kind(monkeypatch):
    draw = TwinDraw(["side", "place"])
    monkeypatch.setattr(draw, "_twins", lambda columns, place, row, kind: (f"{kind} 0", f"{kind} 1"))
    drawn, _ = draw({}, np.arange(400), np.zeros(400, np.int64))
    count = Counter(drawn)
    assert sorted(count) == ["place 0", "place 1", "side 0", "side 1"]
    assert all(60 < each < 140 for each in count.values())


def test_kinds_are_drawn_evenly_among_those_that_give_a_twin(store):
    pairs, rows = dataset(store, KINDS), len(GRAPHS)
    kinds = torch.stack([pairs.batch(range(epoch * rows, (epoch + 1) * rows)).twin.kind for epoch in range(60)], 1)
    for row, graph in enumerate(GRAPHS):
        possible = [number for number, kind in enumerate(KINDS) if edits(graph, kind)] or [0]
        count = Counter(kinds[row].tolist())
        assert set(count) == set(possible)
        assert all(abs(count[kind] - 60 / len(possible)) < 25 for kind in possible)


def test_all_edits_of_a_kind_are_drawn(store):
    row = next(number for number, graph in enumerate(GRAPHS) if len(edits(graph, "finding")) == 14)
    twin = dataset(store, ["finding"]).batch([epoch * len(GRAPHS) + row for epoch in range(200)]).twin
    assert len({str(graph.x.tolist()) for graph in twin.graph.to_data_list()}) == 14


def test_random_numbers_are_uniform_and_as_published():
    row = np.arange(20_000)
    numbers = np.array(random_numbers(3, np.zeros_like(row), row), np.float64) / 2**64
    assert abs(np.histogram(numbers, 10, (0, 1))[0] - 2000).max() < 200
    # The first output of SplitMix64 with seed 0.
    assert int(mixed(np.zeros(1, np.uint64))[0]) == 0xE220A8397B1DCDAF


def test_what_a_process_knows_is_bounded(store, monkeypatch):
    monkeypatch.setattr(twins, "KNOWN_TWINS", 5)
    pairs = dataset(store, KINDS)
    few = said(pairs.batch(range(len(GRAPHS))).twin)
    assert len(pairs.collate.draw._known) <= 6
    monkeypatch.undo()
    assert said(dataset(store, KINDS).batch(range(len(GRAPHS))).twin) == few


def test_without_kinds_there_are_no_twins(store):
    pairs = PairDataset(Store(store), "train")
    assert pairs.batch([0, 1]).twin is None
    assert pairs[1].twin is None


def test_one_row_has_the_twin_of_the_batch(store):
    pairs = dataset(store)
    sample, batch = pairs[3], pairs.batch([3])
    assert torch.equal(sample.twin.graph.x, batch.twin.graph.x)
    assert sample.twin.valid == batch.twin.valid[0]


def test_rows_in_the_same_words_name_every_side_with_its_counterpart():
    tokens = [["left", "mass", "Right"], ["left", "mass"], ["mass"], [], ["LLL", "rll"], ["lll", "left", "right"]]
    slow = []
    for names in tokens:
        words = {name.lower() for name in names}
        exchanged = {exchange_sides(word) for word in words}
        slow.append(exchanged == words and any(exchange_sides(word) != word for word in words))
    column = pa.chunked_array([pa.array(part, pa.list_(pa.string())) for part in (tokens[:2], tokens[2:])])
    assert same_words(column).tolist() == slow == [True, False, False, False, True, False]


class Model(nn.Module):
    """What a data module asks of a model."""

    def __init__(self, kinds=("side",), sides=("image", "graph")):
        super().__init__()
        self.counterfactual_kinds, self.sides = kinds, sides


def module(store, model, **options):
    data = PairedDataModule(str(store), batch_size=8, **options)
    data.trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    data.trainer.strategy._lightning_module = model
    return data


def training_twins(data, epoch):
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return {
        row: (graph.x.tolist(), kind)
        for batch in loader
        for row, graph, kind in zip(
            batch.row.tolist(), batch.twin.graph.to_data_list(), batch.twin.kind.tolist(), strict=True
        )
    }


def test_twins_of_training_are_drawn_by_epoch_and_those_of_evaluation_are_always_the_same(phantom_store, monkeypatch):
    monkeypatch.setattr("igcl_lightning.data.paired_module.check_kinds", lambda *_, **__: None)
    data, other = (module(phantom_store, Model(KINDS), num_workers=workers) for workers in (0, 2))
    first, again, second = training_twins(data, 0), training_twins(other, 0), training_twins(data, 1)
    assert first == again
    both = first.keys() & second.keys()
    assert {row: first[row] for row in both} != {row: second[row] for row in both}
    valid, seeded = (
        [said(batch.twin) for batch in module(phantom_store, Model(KINDS), order_seed=seed).val_dataloader()]
        for seed in (0, 1)
    )
    assert valid == seeded
    assert next(iter(data.test_dataloader())).twin is not None
    assert next(iter(data.predict_dataloader())).twin is None
    for model in (Model(()), nn.Linear(1, 1)):
        loader = module(phantom_store, model).train_dataloader()
        loader.sampler.set_epoch(1)
        assert max(loader.sampler) < len(loader.dataset)
        assert next(iter(loader)).twin is None


def test_streams_draw_the_same_twins(store):
    streamed = PairStream(
        StreamedStore(store.as_uri()), ["train"], PairCollator(draw=TwinDraw(KINDS)), 7, shuffled=True, epoch=3
    )
    pairs, rows = dataset(store, KINDS), {stable_hash(f"i{number}"): number for number in range(len(GRAPHS))}
    for batch in streamed:
        local = pairs.batch([3 * len(GRAPHS) + rows[row] for row in batch.row.tolist()])
        assert said(local.twin) == said(batch.twin)


@pytest.mark.parametrize(
    ("model", "options", "stage", "message"),
    [
        (Model(["sid"]), {}, "fit", "model.counterfactual.kinds 'sid' is not one of side, .*, did you mean side"),
        (Model(["assertion"]), {}, "fit", "model.counterfactual.kinds 'assertion' is for evaluation only"),
        (Model(["place"], ("image", "report")), {}, "test", "'place' cannot be written into a report's text"),
        (Model((), ("image",)), {"same_words_weight": 2.0}, "fit", "data.same_words_weight: this model reads neither"),
    ],
)
def test_twins_that_cannot_be_drawn_are_named(phantom_store, model, options, stage, message):
    with pytest.raises(IgclError, match=message):
        module(phantom_store, model, **options).setup(stage)


def test_kinds_for_evaluation_are_drawn_there(phantom_store):
    data = module(phantom_store, Model(["assertion"]))
    data.setup("test")
    assert next(iter(data.test_dataloader())).twin.valid.any()


def test_features_of_a_language_model_are_not_edited(phantom_store, monkeypatch):
    data = module(phantom_store, Model(), node_text=True)
    monkeypatch.setattr(Store, "node_text_channels", 4)
    with pytest.raises(IgclError, match="data.node_text: a store has no language-model features of edited words"):
        data.setup("fit")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"same_words_weight": 0.5}, "data.same_words_weight is 0.5, not a number from 1 up"),
        ({"same_words_weight": float("nan")}, "data.same_words_weight is nan"),
        ({"same_words_weight": 2.0, "length_aware": True}, "data.same_words_weight repeats rows, which data.length_aw"),
    ],
)
def test_weights_out_of_range_are_named(phantom_store, options, message):
    with pytest.raises(IgclError, match=message):
        PairedDataModule(str(phantom_store), **options)


def test_rows_in_the_same_words_are_drawn_more_often(phantom_store):
    data = module(phantom_store, Model(()), same_words_weight=4.0)
    loader = data.train_dataloader()
    often = loader.dataset.rows.same_words()
    assert 0 < often.sum() < len(often)
    draws = np.concatenate([loader.sampler.set_epoch(epoch) or loader.sampler.order() for epoch in range(200)])
    count = np.bincount(draws, minlength=len(often))
    assert abs(count[often].mean() / count[~often].mean() - 4) < 0.1
