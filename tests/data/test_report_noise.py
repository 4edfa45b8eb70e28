"""Errors in training reports are those of a plain loop over each graph, drawn by seed, epoch and row alone."""

import pickle
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn
from torch.utils.data import DataLoader

from igcl_lightning.data.collation import PairCollator
from igcl_lightning.data.modules import PairedDataModule
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.report_noise import GraphNoise, NoiseOptions
from igcl_lightning.data.row_datasets import PairDataset, WholeBatches, ready
from igcl_lightning.data.sources.phantom import phantom_study
from igcl_lightning.data.store import Store
from igcl_lightning.data.streaming import PairStream, StreamedStore
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.featurizer import featurize
from igcl_lightning.graphs.identity import MAX_FACTS, graph_identity
from igcl_lightning.graphs.schema import Entity, Relation, ReportGraph, stable_hash
from igcl_lightning.graphs.tokens import ReportTokenizer
from igcl_lightning.modules import IGCL, RECLF, ConVIRT, SimCLR
from igcl_lightning.training.lightning_cli import check
from stores import prepare_studies
from tiny_bert import save_tiny_bert

PIXELS = np.zeros((8, 8), np.uint8)
TINY = {"image": {"backbone": "test_resnet", "size": 32}}
DOUBTS = ReportGraph(
    "unlikely mass 3 cm probable possible nodule lung",
    (
        Entity("unlikely mass", "OBS-U", 0, 1, "unlikely"),
        Entity("3 cm", "OBS-M", 2, 3),
        Entity("probable", "OBS-U", 4, 4, "probable"),
        Entity("possible nodule", "OBS-U", 5, 6, "possible"),
        Entity("lung", "ANAT-U", 7, 7),
        Entity("mass", "OBS-U", 1, 1),
        Entity("nodule", "OBS-M", 6, 6, "unlikely"),  # a doubt of what is not doubted
    ),
    (Relation(0, "located_at", 4), Relation(0, "modify", 5), Relation(3, "located_at", 4)),
)
GRAPHS = [ReportGraph(""), DOUBTS, *(phantom_study(index, size=64).graph for index in range(40)), ReportGraph("none")]
ALL = {"entities": 0.3, "assertions": 0.4, "relations": 0.2}
TURNED = {("OBS-DP", ""): ("OBS-DA", ""), ("OBS-DA", ""): ("OBS-DP", "")}
TURNED |= {("OBS-U", "unlikely"): ("OBS-U", "probable"), ("OBS-U", "probable"): ("OBS-U", "unlikely")}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A training row for each graph, with features of its entities."""
    folder = tmp_path_factory.mktemp("stores")
    studies = [
        Study(f"s{number}", f"p{number}", (StudyImage(f"i{number}", PIXELS),), graph=graph, split="train")
        for number, graph in enumerate(GRAPHS)
    ]
    bert = save_tiny_bert(folder / "bert", max_position=64)
    prepare_studies(studies, folder / "noise", options=Options(size=8, node_text=bert), chunk=20)
    return folder / "noise"


def studies_of(patient):
    """One to three studies of one to three images, each with a report of its own."""
    for number in range(1 + patient % 3):
        images = tuple(
            StudyImage(f"i{patient}.{number}.{image}", PIXELS) for image in range(1 + (patient + number) % 3)
        )
        graph = ReportGraph(f"p{patient} s{number}", (Entity(f"p{patient} s{number}", "OBS-DP", 0, 1),))
        yield Study(f"s{patient}.{number}", f"p{patient}", images, graph=graph, split="train")


@pytest.fixture(scope="module")
def patients(tmp_path_factory):
    """Twenty-one patients; an entity names the patient and the study of a report."""
    path = tmp_path_factory.mktemp("stores") / "patients"
    studies = [study for patient in range(21) for study in studies_of(patient)]
    valid = Study("v", "v", (StudyImage("v", PIXELS),), graph=DOUBTS, split="valid")
    prepare_studies([*studies, valid], path, options=Options(size=8), chunk=9)
    return path


def dataset(path, seed=0, node_text=False, **noise):
    return PairDataset(Store(path), "train", node_text=node_text, noise=NoiseOptions(**noise), seed=seed)


def share_of(*keys):
    """A number in [0, 1) by its keys: SplitMix64 in Python's whole numbers."""
    value = 0
    for key in keys:
        value = (value + key + 0x9E3779B97F4A7C15) % 2**64
        value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        value = (value ^ (value >> 27)) * 0x94D049BB133111EB % 2**64
        value ^= value >> 31
    return (value >> 11) / 2**53


def edited(graph, row, seed=0, epoch=0, entities=0.0, assertions=0.0, relations=0.0):
    """The graph with errors, entity by entity, and the indices of its entities in the original."""
    kept = [at for at in range(len(graph.entities)) if share_of(seed, 0, epoch, row, at) >= entities]
    number = {at: place for place, at in enumerate(kept)}
    nodes = []
    for at in kept:
        each = graph.entities[at]
        label, hedge = each.label, each.hedge
        if share_of(seed, 1, epoch, row, at) < assertions:
            label, hedge = TURNED.get((label, hedge), (label, hedge))
        nodes.append(Entity(each.tokens, label, each.start, each.end, hedge))
    edges = [
        Relation(number[each.head], each.type, number[each.tail])
        for at, each in enumerate(graph.relations)
        if share_of(seed, 2, epoch, row, at) >= relations and {each.head, each.tail} <= set(kept)
    ]
    return ReportGraph(graph.text, tuple(nodes), tuple(edges)), kept


def assert_same_batch(batch, expected):
    torch.testing.assert_close(batch.to_dict(), expected.to_dict(), rtol=0, atol=0)


def assert_same(first, second):
    """Compare all fields of two batches, to the bit."""
    for name, one, other in zip(first._fields, first, second, strict=True):
        if name in ("graph", "report"):
            assert_same_batch(one, other)
        elif name not in ("extra", "twin"):
            torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("shares", [{name: share} for name, share in ALL.items()] + [ALL], ids=str)
def test_graphs_are_those_of_a_loop_and_so_is_what_follows_from_them(store, shares):
    rows = [stable_hash(f"i{number}") for number in range(len(GRAPHS))]
    plain = dataset(store, node_text=True).batch(range(len(GRAPHS)))
    pairs = dataset(store, 5, node_text=True, every_epoch=True, **shares)
    for epoch in (0, 3):
        batch = pairs.batch(range(epoch * len(GRAPHS), (epoch + 1) * len(GRAPHS)))
        expected = [edited(graph, row, 5, epoch, **shares) for graph, row in zip(GRAPHS, rows, strict=True)]
        features = [plain.graph[row].node_text[kept] for row, (_, kept) in enumerate(expected)]
        assert_same_batch(batch.graph, featurize([graph for graph, _ in expected], torch.cat(features).numpy()))
        assert_same_batch(batch.report, ReportTokenizer()([graph.text for graph in GRAPHS]))
        for row, (graph, _) in enumerate(expected):
            key, facts = graph_identity(graph)
            assert batch.graph_key[row] == (-1 if key is None else key)
            assert [fact for fact in batch.graph_facts[row].tolist() if fact >= 0] == facts[:MAX_FACTS]
        for name in ("image", "target", "row", "study", "patient"):
            torch.testing.assert_close(getattr(batch, name), getattr(plain, name), equal_nan=True)
        assert not torch.equal(batch.graph_key, plain.graph_key)


def test_all_assertions_turned_twice_are_the_graph_again(store):
    columns = Store(store).files("train").data.column("graph").combine_chunks()
    graphs = {field.name: columns.field(field.name) for field in columns.type}
    noise = GraphNoise(NoiseOptions(assertions=1.0))
    row, epoch = np.arange(len(GRAPHS)), np.zeros(len(GRAPHS), np.int64)
    once = noise(graphs, row, epoch)
    again = noise(once, row, epoch)
    for name, column in graphs.items():
        assert again[name].to_pylist() == column.to_pylist(), name
    changed = {name for name in graphs if once[name].to_pylist() != graphs[name].to_pylist()}
    assert changed == {"label", "hedge", "key", "facts"}


def test_without_all_entities_a_row_keeps_its_place_as_an_empty_graph(store):
    batch, plain = dataset(store, entities=1.0).batch(range(7)), dataset(store).batch(range(7))
    assert_same_batch(batch.graph, featurize([ReportGraph("")] * 7))
    assert (batch.graph_key == -1).all()
    assert (batch.graph_facts == -1).all()
    assert torch.equal(batch.row, plain.row)


def test_nothing_is_the_same_batch_to_the_bit(store):
    assert_same(dataset(store, entities=0.0, reports=0.0).batch(range(20)), dataset(store).batch(range(20)))
    assert PairCollator().columns == dataset(store, entities=0.0).collate.columns
    # Too small a share to draw anything goes the way of the others, and gives the same.
    assert_same(dataset(store, entities=1e-300).batch(range(20)), dataset(store).batch(range(20)))


def test_shares_are_those_asked_for_and_independent(store):
    pairs = dataset(store, every_epoch=True, entities=0.1)
    count = sum(len(graph.entities) for graph in GRAPHS)
    epochs = 15
    left = sum(
        pairs.batch(range(epoch * len(GRAPHS), (epoch + 1) * len(GRAPHS))).graph.num_nodes for epoch in range(epochs)
    )
    total = count * epochs
    assert abs(1 - left / total - 0.1) < 4 * (0.1 * 0.9 / total) ** 0.5
    plain = dataset(store).batch(range(len(GRAPHS))).graph
    turned = dataset(store, assertions=0.25).batch(range(len(GRAPHS))).graph.node_type
    definite = (plain.node_type == 1) | (plain.node_type == 3)
    assert torch.equal(turned[~definite], plain.node_type[~definite])
    share = (turned != plain.node_type)[definite].double().mean()
    assert abs(share - 0.25) < 4 * (0.25 * 0.75 / int(definite.sum())) ** 0.5
    rest = dataset(store, relations=0.5).batch(range(len(GRAPHS))).graph.num_edges / plain.num_edges
    assert abs(rest - 0.5) < 4 * (0.25 / plain.num_edges) ** 0.5


def test_a_larger_dose_has_the_errors_of_a_smaller_one(store):
    doses = [dataset(store, entities=share).batch([3, 9]).graph for share in (0.1, 0.3, 0.6)]
    kept = [{tuple(x) for x in dose.x.tolist()} for dose in doses]
    assert kept[2] < kept[1] < kept[0]


def test_draws_depend_on_seed_epoch_and_row_alone(store):
    rows = len(GRAPHS)
    pairs = dataset(store, every_epoch=True, **ALL)
    whole = pairs.batch(range(rows))
    for row in (5, 3, 17):  # one by one, by another process
        one = pickle.loads(pickle.dumps(pairs)).batch([row])
        assert torch.equal(one.graph.x, whole.graph[row].x)
        assert one.graph_key == whole.graph_key[row]
    later = pairs.batch(range(rows, 2 * rows))
    mixed = pairs.batch([rows + 7, 7, 9])  # two epochs in one batch
    assert mixed.graph_key.tolist() == [later.graph_key[7], whole.graph_key[7], whole.graph_key[9]]
    others = dataset(store, seed=1, **ALL).batch(range(rows))
    assert not torch.equal(later.graph_key, whole.graph_key)
    assert not torch.equal(others.graph_key, whole.graph_key)
    once = dataset(store, **ALL)
    assert_same(once.batch(range(rows, 2 * rows)), once.batch(range(rows)))
    loader = DataLoader(WholeBatches(pairs), batch_size=rows, num_workers=2, collate_fn=ready)
    for batch in loader:
        assert_same(batch, whole)


@cache
def known_reports():
    """Text of each report of `studies_of`, by the subwords of its entity."""
    names = [f"p{patient} s{study}" for patient in range(21) for study in range(3)]
    return {
        tuple(row): name
        for row, name in zip(featurize([one_entity(name) for name in names]).x.tolist(), names, strict=True)
    }


def of_reports(batch):
    """Patient and study of the report of each row, by its only entity."""
    graphs = [known_reports()[tuple(graph.x[0].tolist())].split(" ") for graph in batch.graph.to_data_list()]
    expected = ReportTokenizer()([" ".join(words) for words in graphs])
    assert_same_batch(batch.report, expected)
    assert batch.graph_key.tolist() == [graph_identity(one_entity(" ".join(words)))[0] for words in graphs]
    return [(int(patient[1:]), int(study[1:])) for patient, study in graphs]


def one_entity(name):
    return ReportGraph(name, (Entity(name, "OBS-DP", 0, 1),))


def own(path):
    """Patient and study of each training row."""
    return [tuple(map(int, row[1:].split(".")[:2])) for row in Store(path).column("train", "row")]


@pytest.mark.parametrize(("share", "count"), [(0.5, 10), (1.0, 21), (0.01, 2), (0.1, 2), (0.15, 3)])
def test_an_exact_number_of_patients_has_reports_of_others(patients, share, count):
    pairs = dataset(patients, reports=share)
    batch, mine = pairs.batch(range(len(pairs))), own(patients)
    theirs = of_reports(batch)
    giver = {}
    for (patient, study), (other, number) in zip(mine, theirs, strict=True):
        assert giver.setdefault(patient, other) == other
        # The study of the same number, and after the last the first: images of a study share one report.
        assert number == (study if other == patient else study % (1 + other % 3))
    taken = {patient: other for patient, other in giver.items() if patient != other}
    assert len(taken) == count
    assert set(taken) == set(taken.values())  # exchanged among one another
    rows = np.arange(len(mine))
    kept = np.array([patient not in taken for patient, _ in mine])
    assert (pairs.exchange.sources(0)[kept] == rows[kept]).all()  # even if images of a study had reports of their own
    plain = dataset(patients).batch(rows)
    for name in ("image", "row", "study", "patient"):
        assert torch.equal(getattr(batch, name), getattr(plain, name))


def test_exchanges_are_nested_and_follow_seed_and_epoch(patients):
    mine = own(patients)
    rows = len(mine)

    def exchanged(share, seed=0, epoch=0, every_epoch=False):
        pairs = dataset(patients, seed, reports=share, every_epoch=every_epoch)
        source = pairs.exchange.sources(epoch).tolist()
        return {patient for (patient, _), at in zip(mine, source, strict=True) if patient != mine[at][0]}

    for smaller, larger in pairwise([0.1, 0.3, 0.6, 1.0]):
        assert exchanged(smaller) < exchanged(larger)
    drawn = exchanged(0.5)
    assert drawn == exchanged(0.5, epoch=2) == exchanged(0.5, every_epoch=True) != exchanged(0.5, seed=1)
    assert drawn != exchanged(0.5, epoch=1, every_epoch=True)
    pairs = dataset(patients, reports=0.5, every_epoch=True)
    first, later = (of_reports(pairs.batch(range(epoch * rows, (epoch + 1) * rows))) for epoch in (0, 1))
    assert first != later
    assert of_reports(pairs.batch(range(rows))) == first


def test_exchanged_reports_take_features_and_further_errors_along(store):
    pairs = dataset(store, node_text=True, reports=1.0, **ALL)
    batch, plain = pairs.batch(range(len(GRAPHS))), dataset(store, node_text=True).batch(range(len(GRAPHS)))
    source = pairs.exchange.sources(0)
    assert (source != np.arange(len(GRAPHS))).all()
    rows = plain.row.tolist()
    expected = [edited(GRAPHS[other], row, **ALL) for other, row in zip(source.tolist(), rows, strict=True)]
    features = [plain.graph[other].node_text[kept] for other, (_, kept) in zip(source, expected, strict=True)]
    assert_same_batch(batch.graph, featurize([graph for graph, _ in expected], torch.cat(features).numpy()))
    assert_same_batch(batch.report, ReportTokenizer()([GRAPHS[other].text for other in source]))


def test_lengths_are_those_of_the_exchanged_reports(store):
    pairs = dataset(store, reports=1.0)
    for side in ("graph", "report"):
        batch = getattr(pairs.batch(range(len(GRAPHS))), side)
        assert np.maximum(pairs.lengths(side), side == "report").tolist() == [
            max(one.num_nodes, side == "report") for one in batch.to_data_list()
        ]


def seen(path, epochs=2, **options):
    """The key of each training row in each epoch, whatever the order of rows."""
    loader = PairedDataModule(str(path), batch_size=4, keep_empty=True, **options).train_dataloader()
    found = []
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)
        found.append(
            {
                row: key
                for batch in loader
                for row, key in zip(*map(torch.Tensor.tolist, (batch.row, batch.graph_key)), strict=True)
            }
        )
    return found


@pytest.mark.parametrize("every_epoch", [False, True])
def test_neither_workers_nor_the_order_have_a_say(store, every_epoch):
    noise = NoiseOptions(**ALL, reports=0.0 if every_epoch else 0.5, every_epoch=every_epoch)
    plain = seen(store, noise=noise)
    for other in ({"num_workers": 2}, {"length_aware": True}):
        for one, two in zip(plain, seen(store, noise=noise, **other), strict=True):
            shared = one.keys() & two.keys()
            assert len(shared) > len(GRAPHS) // 2
            assert all(one[row] == two[row] for row in shared)
    shared = plain[0].keys() & plain[1].keys()
    assert all(plain[0][row] == plain[1][row] for row in shared) != every_epoch


def test_only_training_has_errors(patients):
    noise = NoiseOptions(entities=0.5, assertions=0.5, reports=1.0)
    data, plain = PairedDataModule(str(patients), noise=noise), PairedDataModule(str(patients))
    assert_same(next(iter(data.val_dataloader())), next(iter(plain.val_dataloader())))
    for stage in ("validate", "predict"):
        loaders = (each.evaluation_loader(["train", "valid"], stage) for each in (data, plain))
        for one, other in zip(*loaders, strict=True):
            assert_same(one, other)


def test_errors_follow_the_seed_of_the_order(store):
    noise = NoiseOptions(**ALL, reports=0.5)
    rows = PairedDataModule(str(store), order_seed=3, keep_empty=True, noise=noise).train_dataloader().dataset.rows
    assert_same(rows.batch(range(9)), dataset(store, 3, **ALL, reports=0.5).batch(range(9)))


def test_streams_have_the_same_errors(store, patients):
    noise = GraphNoise(NoiseOptions(**ALL, every_epoch=True), 4)
    stream = PairStream(StreamedStore(store.as_uri()), ["train"], PairCollator(noise=noise), 7, shuffled=True, epoch=3)
    pairs = dataset(store, 4, every_epoch=True, **ALL)
    number = {stable_hash(f"i{row}"): row for row in range(len(GRAPHS))}
    for batch in stream:
        local = pairs.batch([3 * len(GRAPHS) + number[row] for row in batch.row.tolist()])
        assert_same(batch, local)
    data = PairedDataModule(store.as_uri(), batch_size=4, noise=NoiseOptions(entities=1.0))
    assert next(iter(data.train_dataloader())).graph.num_nodes == 0
    data = PairedDataModule(patients.as_uri(), noise=NoiseOptions(entities=1.0))
    assert next(iter(data.val_dataloader())).graph.num_nodes == len(DOUBTS.entities)


class Model(nn.Module):
    """A module that contrasts images with something."""

    def __init__(self, *reads, kinds=()):
        super().__init__()
        self.sides, self.counterfactual_kinds = ("image", *reads), kinds


def refused(path, model, **options):
    data = PairedDataModule(str(path), **options)
    data.trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", limit_val_batches=0)
    data.trainer.strategy.connect(model)
    with pytest.raises(IgclError) as caught:
        data.setup("fit")
    return str(caught.value)


@pytest.mark.parametrize("name", ALL)
def test_errors_in_graphs_need_a_model_that_reads_them(store, name):
    said = refused(store, ConVIRT(**TINY), noise=NoiseOptions(**{name: 0.1}))
    assert said.startswith(f"data.noise.{name}: this model reads no graphs")
    for model in (IGCL(**TINY), RECLF(**TINY, units="both")):
        data = PairedDataModule(str(store), 4, noise=NoiseOptions(**{name: 0.1}))
        data.trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", limit_val_batches=0)
        data.trainer.strategy.connect(model)
        data.setup("fit")


NO_TYPES, NO_LAYERS = {"node_types": False}, {"layers": 0}
ROTATED = {"rotate_channels": 8, "layers": 0, "attention_layers": 0}
LOCAL = {"matching": {"weight": 1.0, "channels": 8, "form": "hadamard", "form_channels": 8}}
RELATED = LOCAL | {"srm": {"steps": 1, "relation_bias": True}}


class OwnReader(IGCL):
    """Reads everything in a loss of its own."""

    @property
    def unread_of_graphs(self):
        return {}


@pytest.mark.parametrize(
    ("name", "graph", "options", "of"),
    [
        ("assertions", NO_TYPES, {}, IGCL),
        ("assertions", NO_TYPES | ROTATED, {}, IGCL),
        ("assertions", NO_TYPES, LOCAL, IGCL),
        ("relations", NO_LAYERS, {}, IGCL),
        ("relations", NO_LAYERS, LOCAL, IGCL),
        ("relations", NO_LAYERS, RELATED | {"srm": {"steps": 1, "relation_bias": False}}, IGCL),
        ("relations", NO_LAYERS, {"units": "both", "srm": {"steps": 0}}, RECLF),
    ],
)
@pytest.mark.parametrize("targets", ["identity", "study"])
def test_errors_that_no_part_reads_are_refused(store, name, graph, options, of, targets):
    model = of(**TINY, graph=graph | {"channels": 8}, loss={"targets": targets, "semantic_weight": 0.0}, **options)
    said = refused(store, model, noise=NoiseOptions(**{name: 0.1}))
    option = "node_types false" if name == "assertions" else "layers 0"
    why = f"with model.graph.{option} and model.loss.targets {targets}, training reads no {name}; leave it out"
    assert said == f"data.noise.{name}: {why}"
    other = {"assertions": "relations", "relations": "assertions"}[name]
    PairedDataModule(str(store), noise=NoiseOptions(entities=0.1)).check_model(model)
    if graph != NO_TYPES | ROTATED:
        PairedDataModule(str(store), noise=NoiseOptions(**{other: 0.1})).check_model(model)


@pytest.mark.parametrize(
    ("name", "graph", "options", "of"),
    [
        ("assertions", NO_TYPES, {"loss": {"targets": "soft"}}, IGCL),
        ("assertions", NO_TYPES, {"loss": {"targets": "graph"}}, IGCL),
        (
            "assertions",
            NO_TYPES,
            {"loss": {"targets": "study", "semantic_weight": 0.5, "semantic_source": "graph"}},
            IGCL,
        ),
        ("assertions", ROTATED, {}, IGCL),  # reads labels
        ("relations", ROTATED, {}, IGCL),  # is fitted to them
        ("relations", NO_LAYERS, RELATED, IGCL),
        ("relations", NO_LAYERS, {"loss": {"targets": "soft"}}, IGCL),
        ("relations", NO_LAYERS, {"units": "both", "srm": {"steps": 1, "relation_bias": True}}, RECLF),
        ("relations", NO_LAYERS, {}, OwnReader),
    ],
)
def test_errors_that_some_part_reads_are_taken(store, name, graph, options, of):
    loss = {"targets": "identity", "semantic_weight": 0.0}
    model = of(**TINY | {"graph": graph | {"channels": 8}, "loss": loss} | options)
    PairedDataModule(str(store), noise=NoiseOptions(**{name: 0.1})).check_model(model)


def test_what_training_does_not_read_changes_neither_encoding_nor_loss(store):
    """The claim behind the refusals, by running both."""
    for name, graph in (("assertions", NO_TYPES), ("relations", NO_LAYERS)):
        batches = [
            next(iter(PairedDataModule(str(store), 16, order_seed=0, augment=False, noise=noise).train_dataloader()))
            for noise in (NoiseOptions(), NoiseOptions(**{name: 1.0}))
        ]
        for targets, is_read in (("identity", False), ("soft", True)):
            torch.manual_seed(0)
            model = IGCL(**TINY, graph=graph | {"channels": 8, "dropout": 0.0}, loss={"targets": targets}).eval()
            plain, noisy = (model.contrast_batch(batch)[0].item() for batch in batches)
            assert (plain != noisy) == is_read, (name, targets)
            assert (name in model.unread_of_graphs) != is_read


def test_the_command_line_refuses_such_errors_before_a_run(store):
    words = ["fit", "--config", "pretrain/phantom.yaml", "--data.store", str(store), "--data.noise.relations", "0.1"]
    words += ["--model.graph.layers", "0", "--trainer.accelerator", "cpu"]
    with pytest.raises(IgclError, match=r"^data.noise.relations: with model.graph.layers 0 and model.loss.targets id"):
        check([*words, "--model.loss.targets", "identity"])
    check(words)  # the loss reads them


def test_a_model_of_texts_takes_exchanged_reports_and_one_of_images_none(patients):
    data = PairedDataModule(str(patients), 4, noise=NoiseOptions(reports=1.0))
    data.trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", limit_val_batches=0)
    data.trainer.strategy.connect(ConVIRT(**TINY))
    data.setup("fit")
    said = refused(patients, SimCLR(**TINY), noise=NoiseOptions(reports=0.1))
    assert said.startswith("data.noise.reports: this model reads no reports")


def test_what_cannot_be_right_is_refused(store, patients):
    said = refused(store, Model("graph", kinds=("side",)), noise=NoiseOptions(relations=0.1))
    assert said.startswith("data.noise.relations: counterfactuals are edits of reports without errors")
    said = refused(store.as_uri(), Model("graph"), noise=NoiseOptions(reports=0.1))
    assert said.endswith("data.noise.reports needs all patients, which a stream lacks; copy it")


@pytest.mark.parametrize(
    ("noise", "options", "message"),
    [
        ({"entities": 1.2}, {}, "^data.noise.entities is 1.2, not from 0 to 1$"),
        ({"relations": -0.1}, {}, "^data.noise.relations is -0.1, not from 0 to 1$"),
        ({"reports": float("nan")}, {}, "^data.noise.reports is nan, not from 0 to 1$"),
        ({"every_epoch": True}, {}, "^data.noise.every_epoch draws nothing: entities, .* of data.noise are all 0$"),
        ({"entities": 0.1}, {"same_words_weight": 2.0}, "^data.same_words_weight counts words of reports without err"),
        ({"reports": 0.1, "every_epoch": True}, {"length_aware": True}, "^data.length_aware needs one report per row"),
    ],
)
def test_options_out_of_range_are_named(store, noise, options, message):
    with pytest.raises(IgclError, match=message):
        PairedDataModule(str(store), noise=NoiseOptions(**noise), **options)


def test_one_patient_has_none_to_exchange_reports_with(tmp_path):
    prepare_studies(list(studies_of(2)), tmp_path / "one", options=Options(size=8))
    with pytest.raises(IgclError, match="data.noise.reports: 1 training patient has none to exchange reports with"):
        PairedDataModule(str(tmp_path / "one"), 2, noise=NoiseOptions(reports=0.5)).train_dataloader()
