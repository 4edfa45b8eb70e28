"""Batches from Arrow equal what PyG collates from single graphs, each made word by word."""

import pickle
import shutil
from dataclasses import replace

import datasets
import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.utils.data import DataLoader
from torch_geometric.data import Batch, Data

from igcl_lightning.data.images import encode_grey
from igcl_lightning.data.prepare import Options, prepare
from igcl_lightning.data.row_datasets import LabeledDataset, PairDataset, WholeBatches, ready
from igcl_lightning.data.sources.phantom import phantom_study
from igcl_lightning.data.sources.source import Source
from igcl_lightning.data.store import Store
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.featurizer import MAX_SUBWORDS, featurize, subword_ids
from igcl_lightning.graphs.identity import MAX_FACTS, graph_key, stated_facts
from igcl_lightning.graphs.schema import ENTITY_LABELS, RELATION_TYPES, XL_LABELS, Entity, ReportGraph, stable_hash
from igcl_lightning.graphs.tokens import WORD_SUBWORDS, ReportTokenizer
from tiny_bert import save_tiny_bert

PIXELS = np.zeros((8, 8), np.uint8)
AWKWARD = [
    ReportGraph(""),
    ReportGraph("nothing here is an entity"),
    ReportGraph("Émphysème . Été ! ends here ? no  end", (Entity("Émphysème", "OBS-DP", 0, 0),)),
    ReportGraph("mass", (Entity("mass", "OBS-M", 0, 0),)),
    ReportGraph(""),
]


def talkative():
    """A graph of more facts than a batch keeps."""
    words = [f"mass{number}" for number in range(MAX_FACTS + 9)]
    return ReportGraph(" ".join(words), tuple(Entity(word, "OBS-DP", at, at) for at, word in enumerate(words)))


def graphs():
    """Graphs of phantoms of all phrasings, awkward ones among them and at the end."""
    phantoms = [phantom_study(index, size=64).graph for index in range(39)]
    return [*AWKWARD, *phantoms, talkative(), ReportGraph("")]


def hashed(texts, width):
    rows = [subword_ids(text.lower(), width) for text in texts]
    return torch.tensor(np.array(rows, dtype=np.int64).reshape(-1, width))


def slow_graph(graph):
    """The tensors of one graph, entity by entity."""
    labels = [XL_LABELS.get(entity.label, entity.label) for entity in graph.entities]
    edges = [(relation.head, relation.tail) for relation in graph.relations]
    return Data(
        x=hashed([entity.tokens for entity in graph.entities], MAX_SUBWORDS),
        node_type=torch.tensor([ENTITY_LABELS.index(label) for label in labels], dtype=torch.int64),
        edge_index=torch.tensor(edges, dtype=torch.int64).reshape(-1, 2).T,
        edge_type=torch.tensor([RELATION_TYPES.index(each.type) for each in graph.relations], dtype=torch.int64),
        num_nodes=len(labels),
    )


def slow_report(text, max_tokens=256):
    """The hashed tokens of one report, word by word."""
    words, sentence = text.split(" ") if text else [], [0]
    for word in words:
        sentence.append(sentence[-1] + (word[-1:] in (".", "!", "?")))
    words = words[:max_tokens]
    return Data(
        x=hashed(words, WORD_SUBWORDS),
        word=torch.arange(len(words)),
        sentence=torch.tensor(sentence[: len(words)], dtype=torch.int64),
        num_nodes=len(words),
    )


def slow_facts(graph):
    facts = sorted({stable_hash(fact) for fact in stated_facts(graph)})[:MAX_FACTS]
    return facts + [-1] * (MAX_FACTS - len(facts))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    studies = [
        Study(f"s{number}", f"p{number // 3}", (StudyImage(f"i{number}", PIXELS),), graph=graph, split="train")
        for number, graph in enumerate(graphs())
    ]
    path = tmp_path_factory.mktemp("stores") / "graphs"
    prepare(Source.of(studies), path, options=Options(size=8), chunk=7)
    return Store(path)


def assert_same_batch(batch, expected):
    assert type(batch) is type(expected)
    # torch compares dictionaries of tensors and lists with their keys and dtypes.
    torch.testing.assert_close(batch.to_dict(), expected.to_dict(), rtol=0, atol=0)
    torch.testing.assert_close(batch._slice_dict, expected._slice_dict, rtol=0, atol=0)
    assert (batch.num_graphs, batch.num_nodes) == (expected.num_graphs, expected.num_nodes)
    for one, other in zip(batch.to_data_list(), expected.to_data_list(), strict=True):
        assert_same_data(one, other)


def assert_same_data(data, expected):
    assert type(data) is type(expected)
    torch.testing.assert_close(data.to_dict(), expected.to_dict(), rtol=0, atol=0)


def draws(count, rows, rng):
    """Draws of rows of all sizes, whole, single and empty ones among them, in any order and with repetitions."""
    yield list(range(rows))
    yield [0]
    yield [0, rows - 1]
    for _ in range(count):
        yield rng.integers(0, rows, rng.integers(1, 12)).tolist()


def test_graphs_equal_those_collated_one_by_one(store):
    pairs, all_graphs = PairDataset(store, "train"), graphs()
    for rows in draws(60, len(pairs), np.random.default_rng(0)):
        expected = Batch.from_data_list([slow_graph(all_graphs[row]) for row in rows])
        assert_same_batch(pairs.batch(rows).graph, expected)
        assert_same_batch(featurize([all_graphs[row] for row in rows]), expected)


@pytest.mark.parametrize("max_tokens", [256, 5, 1])
def test_reports_equal_those_tokenized_one_by_one(store, max_tokens):
    tokenize = ReportTokenizer(max_tokens=max_tokens)
    pairs, all_graphs = PairDataset(store, "train", tokenize), graphs()
    for rows in draws(30, len(pairs), np.random.default_rng(1)):
        texts = [all_graphs[row].text for row in rows]
        expected = Batch.from_data_list([slow_report(text, max_tokens) for text in texts])
        assert_same_batch(pairs.batch(rows).report, expected)
        assert_same_batch(tokenize(texts), expected)


def test_wordpieces_equal_those_of_the_tokenizer(store, tmp_path):
    tokenize = ReportTokenizer(save_tiny_bert(tmp_path / "bert", max_position=256), max_tokens=16)
    pairs, all_graphs = PairDataset(store, "train", tokenize), graphs()
    rows = list(range(len(pairs)))
    expected = Batch.from_data_list([tokenize([all_graphs[row].text])[0] for row in rows])
    assert_same_batch(pairs.batch(rows).report, expected)


def test_ids_keys_and_facts_are_those_of_each_row(store):
    all_graphs = graphs()
    rows = [3, 0, 17, 44, 17]
    batch = PairDataset(store, "train").batch(rows)
    assert batch.row.tolist() == [stable_hash(f"i{row}") for row in rows]
    assert batch.study.tolist() == [stable_hash(f"s{row}") for row in rows]
    assert batch.patient.tolist() == [stable_hash(f"p{row // 3}") for row in rows]
    keys = [graph_key(all_graphs[row]) for row in rows]
    assert batch.graph_key.tolist() == [-1 if key is None else key for key in keys]
    assert batch.graph_facts.tolist() == [slow_facts(all_graphs[row]) for row in rows]


def test_one_row_is_the_row_of_a_batch(store):
    pairs, all_graphs = PairDataset(store, "train"), graphs()
    for row in (0, 2, 20, len(pairs) - 1):
        sample = pairs[row]
        assert_same_data(sample.graph, slow_graph(all_graphs[row]))
        assert_same_data(sample.report, slow_report(all_graphs[row].text))
        assert (sample.image.shape, sample.row.shape, sample.target.shape) == ((1, 8, 8), (), (0,))
    with pytest.raises(IndexError):
        pairs[len(pairs)]


def test_what_workers_hand_over_is_the_same(store):
    pairs = PairDataset(store, "train")
    loader = DataLoader(WholeBatches(pairs), batch_size=9, num_workers=2, collate_fn=ready)
    for number, batch in enumerate(loader):
        expected = pairs.batch(list(range(9 * number, min(9 * number + 9, len(pairs)))))
        assert_same_batch(batch.graph, expected.graph)
        assert_same_batch(batch.report, expected.report)
        for name in ("image", "target", "row", "study", "patient", "graph_key", "graph_facts"):
            torch.testing.assert_close(getattr(batch, name), getattr(expected, name))


def test_ids_that_are_kept_do_not_keep_the_batch(store):
    (batch,) = DataLoader(WholeBatches(PairDataset(store, "train")), batch_size=50, num_workers=1, collate_fn=ready)
    assert batch.row.untyped_storage().nbytes() < batch.graph.x.untyped_storage().nbytes() / 20


def test_a_batch_moves_and_is_cloned_like_any_of_pyg(store):
    batch = PairDataset(store, "train").batch([2, 7, 0])
    clone = batch.graph.clone()
    clone.x += 1
    assert not (clone.x == batch.graph.x).any()
    moved = clone.to("meta")
    assert (moved.x.device.type, moved.batch.device.type, moved.num_graphs) == ("meta", "meta", 3)


def test_several_splits_follow_each_other(phantom_store):
    store = Store(phantom_store)
    pairs = PairDataset(store, ["valid", "test"])
    ids = [*store.column("valid", "row"), *store.column("test", "row")]
    assert pairs.batch(range(len(pairs))).row.tolist() == [stable_hash(row) for row in ids]
    np.testing.assert_array_equal(pairs.target, np.concatenate([store.targets("valid"), store.targets("test")]))


def test_a_dataset_travels_to_a_process_as_the_path_of_its_files(phantom_store):
    assert len(pickle.dumps(PairDataset(Store(phantom_store), "train"))) < 50_000


def test_labelled_rows_know_their_ids_without_decoding(phantom_store):
    store = Store(phantom_store)
    rows = np.array([5, 2])
    images = LabeledDataset(store, "train", ["Edema"], rows)
    ids = store.column("train", "row")
    assert images.row.tolist() == [stable_hash(ids[5]), stable_hash(ids[2])] == images.batch([0, 1]).row.tolist()
    np.testing.assert_array_equal(images.batch([0, 1]).target, store.targets("train", ["Edema"])[rows])
    assert (images[1].image.shape, images[1].target.shape) == ((1, 64, 64), (1,))


def rewritten(store, folder, image):
    """Return a store whose last training row holds other bytes as its image."""
    rows = store.table("train").with_format("arrow")[:]
    images = [*rows["image"].to_pylist()[:-1], {"bytes": image, "path": None}]
    place = rows.column_names.index("image")
    changed = rows.set_column(place, "image", pa.array(images, rows.schema.field("image").type))
    datasets.Dataset(changed, store.table("train").info).save_to_disk(folder / "train")
    (folder / "manifest.json").write_bytes((store.path / "manifest.json").read_bytes())
    return Store(folder)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (encode_grey(np.zeros((8, 9), np.uint8), lossless=True), r"row i45: its stored image is \(8, 9\), others are"),
        (encode_grey(PIXELS, lossless=True)[:-30], "row i45: its stored image cannot be decoded"),
    ],
    ids=["size", "bytes"],
)
def test_a_damaged_store_is_named(store, tmp_path, image, message):
    pairs = PairDataset(rewritten(store, tmp_path, image), "train")
    with pytest.raises(IgclError, match=message):
        pairs.batch([0, len(pairs) - 1])


def test_a_patient_in_two_splits_is_named(store, tmp_path):
    for split in ("train", "test"):
        shutil.copytree(store.path / "train", tmp_path / split)
    shutil.copy(store.path / "manifest.json", tmp_path)
    with pytest.raises(IgclError, match="patient 'p0' is in train and in test"):
        Store(tmp_path)


def test_views_are_filtered_in_files_of_several_shards(tmp_path):
    views = ["PA", "lateral", "AP"] * 5
    studies = [
        replace(phantom_study(number, size=64), images=(StudyImage(f"i{number}", PIXELS, view=view),), split="train")
        for number, view in enumerate(views)
    ]
    prepare(Source.of(studies), tmp_path / "store", options=Options(size=8), chunk=4)
    store = Store(tmp_path / "store", views=["AP", "PA"])
    kept = [f"i{number}" for number, view in enumerate(views) if view != "lateral"]
    assert store.column("train", "row") == store.table("train")["row"][:] == kept
    pairs = PairDataset(store, "train")
    assert pairs.batch(range(len(pairs))).row.tolist() == [stable_hash(row) for row in kept]
    assert store.report_text(stable_hash("i5")) == "\n".join(
        text for name, text in studies[5].report.items() if name in ("findings", "impression")
    )
    assert store.split_of(stable_hash("i5")) == "train"


@pytest.mark.parametrize("side", ["graph", "report"])
def test_what_rows_state_is_known_of_the_kept_views(phantom_store, side):
    whole, some = Store(phantom_store), Store(phantom_store, ["AP"])
    kept = some.row_indices("train")
    assert 0 < len(kept) < len(whole.row_indices("train"))
    np.testing.assert_array_equal(some.stating("train", side), whole.stating("train", side)[kept])
