"""Rows that state nothing on a side that the model contrasts are no pairs: left out, counted, and kept on demand."""

import logging

import numpy as np
import pytest
from lightning.pytorch import Trainer

from igcl_lightning.data.collation import PairCollator
from igcl_lightning.data.kept_rows import refuse_no_pairs
from igcl_lightning.data.modules import LabeledDataModule, PairedDataModule
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.row_datasets import PairDataset
from igcl_lightning.data.store import Store
from igcl_lightning.data.streaming import PairStream, StreamedStore
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.schema import stable_hash
from igcl_lightning.modules import IGCL, ContrastiveModule, ConVIRT, SimCLR
from stores import prepare_studies

NOTE, WORDS, BLANK = "Small effusion.", "Comparison: none.", ""
TINY = {"image": {"backbone": "test_resnet", "size": 32}}


class SignalOfReport(ContrastiveModule):
    """Both sides are columns of the second kind; nothing is encoded."""

    sides = ("report", "ecg")


class GraphOfReport(ContrastiveModule):
    """Both sides can state nothing."""

    sides = ("report", "graph")


def study(number, text, split="train", signal=None):
    image = StudyImage(f"i{number}", np.full((32, 32), number % 256, np.uint8))
    arrays = {"ecg": None if signal is None else np.full(3, signal)}
    fields = {"report": {"findings": text}, "labels": {"Edema": number % 2}, "arrays": arrays, "split": split}
    return Study(f"s{number}", f"p{number}", (image,), **fields)


def stored(path, *studies, **how):
    prepare_studies(
        studies, path, labels=["Edema"], arrays=["ecg"], options=Options(size=32), allow_no_graphs=True, **how
    )
    return path


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """80 rows with notes and 80 with labels only to train on; 4 and 6 to validate on, and to test on."""
    texts = [NOTE, BLANK] * 80 + ([NOTE] * 4 + [BLANK] * 6) * 2
    splits = ["train"] * 160 + ["valid"] * 10 + ["test"] * 10
    studies = [study(number, *row) for number, row in enumerate(zip(texts, splits, strict=True))]
    return stored(tmp_path_factory.mktemp("stores") / "half", *studies, chunk=40)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """One row of each kind with a signal, and a note without one, twice."""
    texts = [NOTE, WORDS, BLANK, " ... ___ ", NOTE] * 2
    signals = [1, 2, 3, 4, None] * 2
    studies = [study(row, text, signal=signal) for row, text, signal in zip(range(10), texts, signals, strict=True)]
    return stored(tmp_path_factory.mktemp("stores") / "mixed", *studies)


def data_for(module, store, validated=0, **options):
    """A data module whose trainer has this module."""
    data = PairedDataModule(str(store), **options)
    data.trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", limit_val_batches=validated)
    data.trainer.strategy.connect(module)
    return data


def rows(loader):
    return sorted(row for batch in loader for row in batch.row.tolist())


def hashes(numbers):
    return sorted(stable_hash(f"i{number}") for number in numbers)


def test_of_half_a_table_with_notes_half_is_trained_on(half):
    data = data_for(IGCL(**TINY), half, batch_size=16)
    data.setup("fit")
    batches = list(data.train_dataloader())
    assert rows(batches) == hashes(range(0, 160, 2))
    assert all((batch.graph_key >= 0).all() for batch in batches)
    kept = data_for(IGCL(**TINY), half, batch_size=16, keep_empty=True)
    assert rows(kept.train_dataloader()) == hashes(range(160))


def test_validation_and_test_hold_pairs_and_prediction_all_rows(half):
    data = data_for(IGCL(**TINY), half)
    assert rows(data.val_dataloader()) == hashes(range(160, 164))
    assert rows(data.test_dataloader()) == hashes(range(170, 174))
    assert rows(data.predict_dataloader()) == hashes(range(170, 180))
    assert rows(data_for(IGCL(**TINY), half, keep_empty=True).val_dataloader()) == hashes(range(160, 170))


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (
            "fit",
            "left out 80 of 160 train rows and 6 of 10 valid rows, which lack a report with entities (--data.keep",
        ),
        ("test", "left out 6 of 10 test rows, which lack a report with entities (--data.keep_empty true keeps"),
        ("predict", None),
    ],
)
def test_how_many_are_left_out_is_one_line(half, caplog, stage, message):
    with caplog.at_level(logging.INFO, "lightning.pytorch.utilities.rank_zero"):
        for options in ({}, {"keep_empty": True}):
            data_for(IGCL(**TINY), half, **options).setup(stage)
    said = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert len(said) == (message is not None)
    assert all(message in line and "\n" not in line for line in said)


def test_nothing_is_said_where_nothing_is_left_out(half, caplog):
    with caplog.at_level(logging.INFO, "lightning.pytorch.utilities.rank_zero"):
        data_for(SimCLR(**TINY), half).setup("fit")
    assert "left out" not in caplog.text


def test_each_model_asks_for_what_it_contrasts(mixed):
    cases = [
        (IGCL(**TINY), [], [0, 4, 5, 9]),
        (ConVIRT(**TINY), [], [0, 1, 4, 5, 6, 9]),  # words are enough, entities are not needed
        (SimCLR(**TINY), [], range(10)),
        (GraphOfReport(), [], [0, 4, 5, 9]),
        (SignalOfReport(), ["ecg"], [0, 1, 5, 6]),
    ]
    for module, arrays, expected in cases:
        data = data_for(module, mixed, arrays=arrays)
        data.setup("fit")
        assert rows(data.train_dataloader()) == hashes(expected), type(module)


def test_rows_without_an_array_are_counted_too(mixed, caplog):
    with caplog.at_level(logging.INFO, "lightning.pytorch.utilities.rank_zero"):
        data_for(SignalOfReport(), mixed, arrays=["ecg"]).setup("fit")
    assert "left out 6 of 10 train rows, which lack a report with words and ecg" in caplog.text


@pytest.mark.parametrize(
    ("module", "text", "needs"),
    [(IGCL, WORDS, "a report with entities"), (ConVIRT, " ... ", "a report with words")],
)
@pytest.mark.parametrize("keep_empty", [False, True])
def test_a_store_without_pairs_is_refused(tmp_path, module, text, needs, keep_empty):
    store = stored(tmp_path / "store", *(study(number, text) for number in range(4)))
    with pytest.raises(IgclError, match=f"store: no training row has {needs}; nothing to contrast$"):
        data_for(module(**TINY), store, keep_empty=keep_empty).setup("fit")
    data_for(module(**TINY), store, keep_empty=keep_empty, predict_splits=["train"]).setup("predict")


def test_reports_without_entities_can_be_contrasted_as_text(tmp_path):
    store = stored(tmp_path / "store", *(study(number, WORDS) for number in range(4)))
    data = data_for(ConVIRT(**TINY), store)
    data.setup("fit")
    assert rows(data.train_dataloader()) == hashes(range(4))


def test_a_split_without_pairs_is_named_with_what_keeps_it(tmp_path):
    texts, splits = [NOTE, NOTE, BLANK], ["train", "train", "valid"]
    studies = [study(number, *row) for number, row in enumerate(zip(texts, splits, strict=True))]
    store = stored(tmp_path / "store", *studies)
    with pytest.raises(IgclError, match="no row of valid has a report with entities; --data.keep_empty true keeps"):
        data_for(IGCL(**TINY), store).val_dataloader()
    assert rows(data_for(IGCL(**TINY), store, keep_empty=True).val_dataloader()) == hashes([2])


def test_a_fit_without_pairs_to_validate_on_is_refused_before_it_starts(tmp_path):
    texts, splits = [NOTE, NOTE, BLANK], ["train", "train", "valid"]
    studies = [study(number, *row) for number, row in enumerate(zip(texts, splits, strict=True))]
    empty, without = stored(tmp_path / "empty", *studies), stored(tmp_path / "without", *studies[:2])
    with pytest.raises(IgclError, match="no row of valid has a report with entities; --data.keep_empty true keeps"):
        data_for(IGCL(**TINY), empty, validated=1.0).setup("fit")
    data_for(IGCL(**TINY), empty, validated=1.0, keep_empty=True).setup("fit")
    with pytest.raises(IgclError, match="no split 'valid' to validate on"):
        data_for(IGCL(**TINY), without, validated=1.0).setup("fit")
    data_for(IGCL(**TINY), without, validated=0).setup("fit")


def test_a_stream_whose_training_rows_state_nothing_ends_with_one_line(tmp_path):
    texts, splits = [BLANK, BLANK, BLANK, NOTE], ["train", "train", "train", "valid"]
    studies = [study(number, *row) for number, row in enumerate(zip(texts, splits, strict=True))]
    store = stored(tmp_path / "store", *studies)
    data = data_for(IGCL(**TINY), store.as_uri(), batch_size=2)
    with pytest.raises(IgclError, match="no batch of 2 training rows that state anything"):
        list(data.train_dataloader())
    with pytest.raises(IgclError, match="no batch of 2|are too few|give 2 processes no batch"):
        shared_stream(store.as_uri(), batch_size=2)


@pytest.mark.parametrize("splits", [[], ["val"]])
def test_splits_to_predict_are_checked_before_the_start(half, splits):
    for data in (
        PairedDataModule(str(half), predict_splits=splits),
        LabeledDataModule(str(half), predict_splits=splits),
    ):
        with pytest.raises(IgclError, match=r"data.predict_splits(: no split 'val', only| names no split)"):
            data.setup("predict")


def test_probes_use_the_images_of_all_rows(half):
    data = LabeledDataModule(str(half), batch_size=160)
    assert rows(data.train_dataloader()) == hashes(range(160))
    assert rows(data.val_dataloader()) == hashes(range(160, 170))


@pytest.mark.parametrize("side", ["graph", "report"])
def test_lengths_are_those_of_the_rows_that_stay(mixed, side):
    pairs = PairDataset(Store(mixed), "train", stating=[side])
    samples = [pairs[index] for index in range(len(pairs))]
    assert pairs.lengths(side).tolist() == [getattr(sample, side).num_nodes for sample in samples]
    assert len(samples) < 10


def test_batches_of_like_length_hold_pairs_only(half):
    data = data_for(IGCL(**TINY), half, batch_size=16, length_aware=True)
    data.setup("fit")
    assert rows(data.train_dataloader()) == hashes(range(0, 160, 2))


def test_a_stream_leaves_out_the_same_rows(half, caplog):
    data = data_for(IGCL(**TINY), half.as_uri(), batch_size=8)
    with caplog.at_level(logging.INFO, "lightning.pytorch.utilities.rank_zero"):
        data.setup("fit")
    assert "left out 92 of 180 rows (all splits), which lack a report with entities" in caplog.text
    assert rows(data.train_dataloader()) == hashes(range(0, 160, 2))
    assert rows(data.val_dataloader()) == hashes(range(160, 164))
    assert rows(data.predict_dataloader()) == hashes(range(170, 180))
    data = data_for(IGCL(**TINY), half.as_uri(), batch_size=8, keep_empty=True)
    assert rows(data.train_dataloader()) == hashes(range(160))


def shared_stream(address, **options):
    options = {"stating": ["graph"], "num_replicas": 2, **options}
    batch_size = options.pop("batch_size", 8)
    return PairStream(StreamedStore(address), ["train"], PairCollator(), batch_size, shuffled=True, **options)


def test_processes_that_stream_leave_out_rows_and_stay_in_step(half):
    ranks = [list(shared_stream(half.as_uri(), rank=rank)) for rank in range(2)]
    assert [len(rank) for rank in ranks] == [(160 - 92) // 16] * 2
    assert not set(rows(ranks[0])) & set(rows(ranks[1]))
    assert set(rows(ranks[0] + ranks[1])) <= set(hashes(range(0, 160, 2)))


def test_a_process_whose_files_hold_no_pair_stops_instead_of_searching_for_ever(tmp_path):
    texts = [NOTE] * 40 + [BLANK] * 20
    store = stored(tmp_path / "store", *(study(*row) for row in enumerate(texts)), chunk=20)
    streams = [shared_stream(store.as_uri(), rank=rank, num_replicas=3) for rank in range(3)]
    messages = []
    for part in streams:
        try:
            list(part)
        except IgclError as error:
            messages.append(str(error))
    assert messages == [f"{store.as_uri()}: no row of one process's Arrow files states anything; copy it to disk"]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("module", [IGCL, ConVIRT, SimCLR])
def test_a_batch_of_one_pair_is_refused(half, module, streamed):
    store = half.as_uri() if streamed else half
    with pytest.raises(IgclError, match=r"would have one pair and no negatives; make data.batch_size \(now 1\)"):
        data_for(module(**TINY), store, batch_size=1).train_dataloader()
    assert len(next(iter(data_for(module(**TINY), store, batch_size=2).train_dataloader())).row) == 2


def test_a_single_pair_that_is_left_is_refused_and_several_processes_share_a_batch(tmp_path, half, monkeypatch):
    store = stored(tmp_path / "store", study(0, NOTE), study(1, BLANK))
    with pytest.raises(IgclError, match=r"would have one pair .* or the number of training rows at least 2"):
        data_for(IGCL(**TINY), store, batch_size=64).train_dataloader()
    data = data_for(IGCL(**TINY), half, batch_size=1)
    monkeypatch.setattr(data, "_processes", lambda: (2, 0))
    assert len(next(iter(data.train_dataloader())).row) == 1


def test_a_stream_of_empty_rows_only_is_refused(monkeypatch):
    stream = StreamedStore.__new__(StreamedStore)
    stream.path = "s3://bucket/store"
    monkeypatch.setattr(StreamedStore, "empty_rows", (3, 3))
    with pytest.raises(IgclError, match="s3://bucket/store: no training row has a report with entities"):
        refuse_no_pairs(stream, (), ("graph",))
    refuse_no_pairs(stream, (), ())
    monkeypatch.setattr(StreamedStore, "empty_rows", (2, 3))
    refuse_no_pairs(stream, (), ("graph",))
