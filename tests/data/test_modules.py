import logging
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from igcl_lightning.data import handover
from igcl_lightning.data.images import decode_grey
from igcl_lightning.data.modules import LabeledDataModule, PairedDataModule
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.row_datasets import PairDataset
from igcl_lightning.data.store import Store
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.errors import IgclError, message_of
from igcl_lightning.graphs.featurizer import featurize
from igcl_lightning.graphs.identity import MAX_FACTS, graph_key
from igcl_lightning.graphs.schema import Entity, Relation, ReportGraph, stable_hash
from igcl_lightning.graphs.tokens import ReportTokenizer
from igcl_lightning.losses.semantic import fact_overlap
from igcl_lightning.modules import SimCLR
from igcl_lightning.phantom import FINDINGS
from stores import prepare_studies

GRAPH = ReportGraph(
    "small effusion",
    (Entity("small", "OBS-DP", 0, 0), Entity("effusion", "OBS-DP", 1, 1)),
    (Relation(0, "modify", 1),),
)


def study(number, graph, split="train"):
    pixels = np.full((64, 64), number, np.uint8)
    return Study(f"s{number}", f"p{number}", (StudyImage(f"i{number}", pixels),), graph=graph, split=split)


@pytest.fixture
def pairs(tmp_path):
    graphs = [GRAPH, GRAPH, ReportGraph("")]
    studies = [study(number, graph) for number, graph in enumerate(graphs)]
    prepare_studies(studies, tmp_path / "store", options=Options(size=64))
    return PairDataset(Store(tmp_path / "store"), "train")


def test_a_batch_has_the_fields_and_shapes_it_promises(pairs):
    batch = pairs.batch(range(3))
    assert batch.image.shape == (3, 1, 64, 64)
    assert batch.image.dtype == torch.uint8
    assert batch.graph.num_graphs == 3
    assert batch.graph.batch.tolist() == [0, 0, 1, 1]
    assert batch.graph.edge_index.tolist() == [[0, 2], [1, 3]]
    assert batch.graph.edge_type.tolist() == [1, 1]
    assert batch.row.tolist() == [stable_hash(f"i{number}") for number in range(3)]
    assert batch.study.tolist() == [stable_hash(f"s{number}") for number in range(3)]
    assert batch.patient.tolist() == [stable_hash(f"p{number}") for number in range(3)]
    assert batch.graph_key.tolist() == [graph_key(GRAPH), graph_key(GRAPH), -1]
    assert batch.graph_facts.shape == (3, MAX_FACTS)


def test_tensors_from_the_store_equal_those_of_the_graph(pairs):
    stored, direct = pairs[0].graph, featurize([GRAPH])
    for name in ("x", "node_type", "edge_index", "edge_type"):
        torch.testing.assert_close(getattr(stored, name), getattr(direct, name))


def test_fact_overlap_counts_shared_facts(pairs):
    facts = torch.stack([pairs[index].graph_facts for index in range(3)])
    assert (facts >= 0).sum(dim=1).tolist() == [4, 4, 0]
    assert fact_overlap(facts, facts).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]


def test_training_images_are_augmented_and_others_are_not(phantom_store):
    data = PairedDataModule(str(phantom_store), batch_size=8)
    data.trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    batch = next(iter(data.val_dataloader()))
    assert data.on_after_batch_transfer(batch, 0).image.dtype == torch.uint8
    data.trainer.training = True
    assert data.on_after_batch_transfer(batch, 0).image.dtype == torch.float32
    plain = PairedDataModule(str(phantom_store), augment=False)
    plain.trainer = data.trainer
    assert plain.on_after_batch_transfer(batch, 0).image.dtype == torch.uint8


def test_the_augmentation_of_a_batch_is_drawn_in_one_place(phantom_store, monkeypatch):
    data = PairedDataModule(str(phantom_store), batch_size=8)
    data.trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    data.trainer.training = True
    batch = next(iter(data.val_dataloader()))
    draw = data.augmentation.draw(len(batch.row), torch.device("cpu"), torch.Generator().manual_seed(7))
    monkeypatch.setattr(data, "draw_augmentation", lambda image: draw)
    before = torch.get_rng_state()
    shown = [data.on_after_batch_transfer(batch, 0).image for _ in range(2)]
    assert torch.equal(*shown)
    assert torch.equal(shown[0], data.augmentation.apply(batch.image, draw))
    assert torch.equal(torch.get_rng_state(), before)


def test_augmentation_is_a_function_of_seed_epoch_batch_and_rank(phantom_store):
    def drawn(seed, epoch, batch, rank):
        data = PairedDataModule(str(phantom_store), order_seed=seed)
        data.trainer = SimpleNamespace(world_size=2, global_rank=rank, fit_loop=SimpleNamespace())
        data.trainer.fit_loop.epoch_progress = SimpleNamespace(current=SimpleNamespace(started=9, processed=epoch))
        progress = SimpleNamespace(current=SimpleNamespace(processed=batch), is_last_batch=False)
        data.trainer.fit_loop.epoch_loop = SimpleNamespace(batch_progress=progress)
        return data.draw_augmentation(torch.zeros(4, 1, 8, 8))

    before = torch.get_rng_state()
    first = drawn(1, 2, 3, 0)
    assert all(torch.equal(*values) for values in zip(first, drawn(1, 2, 3, 0), strict=True))
    assert torch.equal(torch.get_rng_state(), before)
    for other in ((2, 2, 3, 0), (1, 3, 3, 0), (1, 2, 4, 0), (1, 2, 3, 1), (1, 3, 2, 0)):
        assert not torch.equal(first.angle, drawn(*other).angle)


def test_a_store_without_any_entity_cannot_be_contrasted(tmp_path):
    prepare_studies([study(0, ReportGraph(""))], tmp_path / "store")
    with pytest.raises(IgclError, match="no training row has a report with entities"):
        PairedDataModule(str(tmp_path / "store")).setup("fit")


def test_images_alone_need_no_reports(tmp_path):
    studies = [study(number, ReportGraph(""), split) for number, split in enumerate(("train", "train", "valid"))]
    prepare_studies(studies, tmp_path / "store")
    data = PairedDataModule(str(tmp_path / "store"))
    data.trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    data.trainer.strategy.connect(SimCLR(image={"backbone": "test_resnet", "size": 32}))
    data.setup("fit")
    assert len(next(iter(data.train_dataloader())).row) == 2


class CountingProbe(nn.Module):
    """Trains on features of an encoder that counts how often it runs."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def feature_encoder(self):
        return self

    def forward(self, image):
        self.calls += 1
        return image.float().mean(dim=(2, 3))


def test_features_are_computed_by_the_first_process_while_the_others_wait(phantom_store, tmp_path):
    def process(rank, barrier):
        data, probe = LabeledDataModule(str(phantom_store), feature_cache=str(tmp_path)), CountingProbe()
        strategy = SimpleNamespace(root_device=torch.device("cpu"), barrier=barrier)
        data.trainer = SimpleNamespace(
            is_global_zero=rank == 0, world_size=2, global_rank=rank, lightning_module=probe, strategy=strategy
        )
        return data, probe

    first, computing = process(0, lambda name: None)
    second, waiting = process(1, lambda name: first.test_dataloader())
    loader = second.test_dataloader()
    assert computing.calls > 0
    assert waiting.calls == 0
    assert len(loader.dataset) == len(Store(phantom_store).table("test"))


def test_labelled_rows_follow_the_store(phantom_store):
    data = LabeledDataModule(str(phantom_store), labels=["Edema"], batch_size=16)
    data.setup("test")
    batches = list(data.test_dataloader())
    store = Store(phantom_store)
    np.testing.assert_array_equal(torch.cat([batch.target for batch in batches]), store.targets("test", ["Edema"]))
    assert torch.cat([batch.row for batch in batches]).tolist() == [
        stable_hash(row) for row in store.column("test", "row")
    ]
    first = store.table("test").with_format("arrow")[0]["image"][0]["bytes"].as_py()
    np.testing.assert_array_equal(batches[0].image[0, 0], decode_grey(first))


def test_a_fraction_is_drawn_once_and_by_its_seed(phantom_store):
    def rows(seed):
        data = LabeledDataModule(str(phantom_store), fraction=0.5, draw_seed=seed)
        (batch,) = data.train_dataloader()
        return sorted(batch.row.tolist())

    assert len(rows(0)) == round(0.5 * len(Store(phantom_store).table("train")))
    assert rows(0) == rows(0)
    assert rows(0) != rows(1)


def test_labels_are_all_of_the_stores_by_default(phantom_store):
    assert LabeledDataModule(str(phantom_store)).label_names == list(FINDINGS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fraction": 0.0}, r"data.fraction is 0.0, not in \(0, 1\]"),
        ({"shots": 0}, "data.shots is at least 1"),
        ({"shots": 5, "fraction": 0.1}, "data.shots .* excludes data.fraction"),
        ({"draws": 0}, "data.draws is 0"),
    ],
)
def test_options_out_of_range_are_named(phantom_store, options, message):
    with pytest.raises(IgclError, match=message):
        LabeledDataModule(str(phantom_store), **options)


def test_images_have_one_draw(phantom_store):
    with pytest.raises(IgclError, match="data.draws: only a head on frozen features"):
        LabeledDataModule(str(phantom_store), draws=2).setup("fit")


def test_a_store_without_labels_is_named(tmp_path):
    prepare_studies([study(0, GRAPH), study(1, GRAPH, "valid")], tmp_path / "store")
    with pytest.raises(IgclError, match="the store has no labels"):
        LabeledDataModule(str(tmp_path / "store")).setup("fit")


def test_choosing_needs_validation_rows(tmp_path):
    prepare_studies([study(0, GRAPH)], tmp_path / "store", labels=["Edema"])
    with pytest.raises(IgclError, match="no split 'valid'"):
        LabeledDataModule(str(tmp_path / "store")).setup("fit")


def test_reports_travel_as_tokens_of_the_parsed_text(pairs):
    batch = pairs.batch(range(3))
    expected = ReportTokenizer()(["small effusion"])
    assert batch.report.num_graphs == 3
    assert batch.report.batch.tolist() == [0, 0, 1, 1]
    torch.testing.assert_close(batch.report.x, torch.cat([expected.x, expected.x]))


def test_pairs_carry_the_labels_of_the_store(phantom_store):
    store = Store(phantom_store)
    batch = PairDataset(store, "valid").batch(range(4))
    np.testing.assert_array_equal(batch.target, store.targets("valid")[:4])


@pytest.fixture
def signals(tmp_path):
    """Three studies with a signal, one of them unknown."""
    arrays = [np.arange(6.0).reshape(2, 3), None, np.ones((2, 3))]
    studies = [replace(study(number, GRAPH), arrays={"ecg": array}) for number, array in enumerate(arrays)]
    prepare_studies(studies, tmp_path / "store", arrays=["ecg"])
    return tmp_path / "store"


def test_array_columns_keep_their_shape_and_rows_without_them_are_left_out(signals):
    (batch,) = PairedDataModule(str(signals), arrays=["ecg"]).train_dataloader()
    order = batch.row.argsort()
    assert sorted(batch.row.tolist()) == sorted([stable_hash("i0"), stable_hash("i2")])
    assert batch.extra["ecg"].shape == (2, 2, 3)
    by_row = dict(zip(batch.row[order].tolist(), batch.extra["ecg"][order].tolist(), strict=True))
    assert by_row[stable_hash("i0")] == [[0, 1, 2], [3, 4, 5]]


def test_an_array_column_that_the_store_lacks_is_named(signals):
    with pytest.raises(IgclError, match="no array column 'eeg', only ecg"):
        PairedDataModule(str(signals), arrays=["eeg"]).setup("fit")


def test_language_model_features_that_the_store_lacks_are_asked_for(signals):
    with pytest.raises(IgclError, match="prepare it with --node-text MODEL"):
        PairedDataModule(str(signals), node_text=True).setup("fit")


def test_views_choose_rows_everywhere(tmp_path):
    views = ["PA", "lateral", "AP", "PA", "lateral"]
    studies = [
        replace(
            study(number, GRAPH), images=(replace(study(number, GRAPH).images[0], view=view),), labels={"Edema": 1.0}
        )
        for number, view in enumerate(views)
    ]
    prepare_studies(studies, tmp_path / "store", labels=["Edema"])
    store = Store(tmp_path / "store", views=["PA", "AP"])
    assert store.column("train", "row") == ["i0", "i2", "i3"]
    assert len(store.targets("train")) == 3
    assert store.ids(stable_hash("i2")) == ("i2", "s2", "p2")
    assert store.row_labels(stable_hash("i3")) == {"Edema": 1.0}
    assert store.fingerprint != Store(tmp_path / "store").fingerprint
    data = PairedDataModule(str(tmp_path / "store"), views=["lateral"])
    assert [set(batch.row.tolist()) for batch in data.train_dataloader()] == [{stable_hash("i1"), stable_hash("i4")}]
    with pytest.raises(IgclError, match="no train row has a view of unknown"):
        Store(tmp_path / "store", views=["unknown"]).table("train")
    with pytest.raises(IgclError, match="data.views: 'side' is not one of PA, AP"):
        Store(tmp_path / "store", views=["side"])


def test_a_look_up_reads_only_the_columns_it_returns(phantom_store, monkeypatch):
    store = Store(phantom_store)
    key, (split, index) = next(iter(store.rows.items()))
    table, indices, read = store.files(split).data, store.row_indices(split), []
    watched = SimpleNamespace(column=lambda name: read.append(name) or table.column(name))
    monkeypatch.setattr(store, "files", lambda _: SimpleNamespace(data=watched))
    assert store.ids(key) == tuple(
        table.column(name)[int(indices[index])].as_py() for name in ("row", "study", "patient")
    )
    assert read == ["row", "study", "patient"]
    read.clear()
    assert store.split_of(key) == split
    assert read == []
    store.report_text(key)
    store.row_labels(key)
    assert read == ["report", "labels"]


def test_prediction_covers_the_splits_that_are_wanted(phantom_store):
    store = Store(phantom_store)
    rows = {
        str(splits): [
            row
            for batch in PairedDataModule(str(phantom_store), predict_splits=splits).predict_dataloader()
            for row in batch.row.tolist()
        ]
        for splits in (None, ["train", "valid"])
    }
    expected = {"None": ["test"], "['train', 'valid']": ["train", "valid"]}
    for splits, names in expected.items():
        assert rows[splits] == [stable_hash(row) for name in names for row in store.column(name, "row")]


def predicting(data, labels):
    """Attach a data module to a trainer of a head that was trained for some labels."""
    data.trainer = SimpleNamespace(lightning_module=SimpleNamespace(label_names=labels), world_size=1, global_rank=0)
    return data


@pytest.mark.parametrize(
    ("splits", "labels", "given", "read", "why"),
    [
        (("train", "test"), ["Edema"], None, ["test"], "predict reads the test rows (1)"),
        (("train", "valid"), ["Edema"], None, ["train", "valid"], "no test split, so predict reads every row (3)"),
        (("train", "test"), [], None, ["train", "test"], "no labels of this head, so predict reads every row (3)"),
        (("train", "test"), ["Hernia"], None, ["train", "test"], "no labels of this head"),
        (("train", "test"), [], ["test"], ["test"], None),
    ],
)
def test_all_rows_are_scored_without_test_rows_or_labels(tmp_path, caplog, splits, labels, given, read, why):
    studies = [
        replace(study(number, GRAPH, splits[number > 1]), labels=dict.fromkeys(labels, 1.0)) for number in range(3)
    ]
    prepare_studies(studies, tmp_path / "store", labels=labels)
    data = predicting(LabeledDataModule(str(tmp_path / "store"), predict_splits=given), ["Edema", "Mass"])
    with caplog.at_level(logging.INFO, "lightning.pytorch.utilities.rank_zero"):
        data.setup("predict")
    assert [why in line for line in caplog.messages] == ([True] if why else [])
    batches = list(data.predict_dataloader())
    assert [data.row_split(row) for batch in batches for row in batch.row.tolist()] == sorted(
        [splits[0]] * 2 * (splits[0] in read) + [splits[1]], key=splits.index
    )
    target = torch.cat([batch.target for batch in batches])
    assert target[:, 0].isnan().all() == ("Edema" not in labels)
    assert target[:, 1].isnan().all(), "the store lacks this label"
    pairs = PairedDataModule(str(tmp_path / "store"), predict_splits=given)
    assert pairs.splits_to_predict() == (["train", "valid"] if "valid" in splits else ["test"])


def test_new_images_without_reports_and_labels_are_all_embedded(tmp_path):
    studies = [study(number, None, split) for number, split in enumerate(("train", "valid", "test"))]
    prepare_studies(studies, tmp_path / "new")
    assert PairedDataModule(str(tmp_path / "new")).splits_to_predict() == ["train", "valid", "test"]
    prepare_studies([*studies, study(3, GRAPH)], tmp_path / "pairs")
    assert PairedDataModule(str(tmp_path / "pairs")).splits_to_predict() == ["test"]


@pytest.mark.parametrize("stage", ["validate", "test"])
def test_what_is_evaluated_has_the_labels_of_the_head(phantom_store, stage):
    data = predicting(LabeledDataModule(str(phantom_store)), ["Edema", "Atelectasis"])
    data.setup(stage)
    (batch,) = data.val_dataloader()
    expected = Store(phantom_store).targets("valid", ["Edema", "Atelectasis"])
    np.testing.assert_array_equal(batch.target, expected)
    with pytest.raises(IgclError, match="no label 'Mass'; it has"):
        predicting(LabeledDataModule(str(phantom_store)), ["Edema", "Mass"]).setup(stage)


def test_a_fit_says_what_its_fraction_came_to(phantom_store, caplog):
    data = LabeledDataModule(str(phantom_store), labels=["Edema"], fraction=0.5)
    with caplog.at_level(logging.INFO, "lightning.pytorch.utilities.rank_zero"):
        data.setup("fit")
    store, drawn = Store(phantom_store), data.drawn_rows(0)
    patients = len({store.column("train", "patient")[row] for row in drawn})
    positives = int(store.targets("train", ["Edema"])[drawn].sum())
    assert caplog.messages == [
        f"{phantom_store}: trains on {len(drawn)} labelled rows of {patients} patients; positives: {positives}"
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"batch_size": 0}, "data.batch_size is 0, not at least 1"), ({"order_seed": -1}, "data.order_seed is -1")],
)
def test_numbers_out_of_range_are_named(phantom_store, options, message):
    with pytest.raises(IgclError, match=message):
        PairedDataModule(str(phantom_store), **options)


def test_an_error_in_a_worker_is_one_line(phantom_store, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(phantom_store, store)
    for file in (store / "train").glob("*.arrow"):
        file.write_bytes(file.read_bytes().replace(b"\x89PNG", b"\x00PNG"))
    loader = PairedDataModule(str(store), batch_size=8, num_workers=1).train_dataloader()
    with pytest.raises(IgclError) as caught:
        next(iter(loader))
    message = message_of(caught.value)
    assert re.fullmatch(r"row phantom-\S+: its stored image cannot be decoded \(.*\); prepare the store again", message)
    assert "0x" not in message


def test_damaged_files_of_a_store_are_named(phantom_store, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(phantom_store, store)
    (file, *_) = (store / "train").glob("*.arrow")
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(IgclError, match=r"train: damaged \(.*\); prepare it again with --update"):
        Store(store).table("train")
    (store / "manifest.json").write_text("[]")
    with pytest.raises(IgclError, match="manifest.json: not the manifest of a store"):
        Store(store)


def test_full_shared_memory_is_named(monkeypatch):
    def full(*_, **__):
        raise RuntimeError("No space left on device")

    monkeypatch.setattr(handover, "_shares_files", lambda: True)
    monkeypatch.setattr(torch.UntypedStorage, "_new_shared", full)
    with pytest.raises(IgclError, match="shared memory is full: increase /dev/shm"):
        handover.handed_over(np.zeros(4))


def test_shared_memory_that_takes_part_of_a_tensor_is_full(monkeypatch):
    monkeypatch.setattr(handover, "_shares_files", lambda: True)
    monkeypatch.setattr(handover.os, "pwrite", lambda descriptor, data, begin: 8)
    with pytest.raises(IgclError, match="shared memory is full: increase /dev/shm"):
        handover.handed_over(np.zeros(4))
