"""Stores that are read at an address: every row once, in an order of each epoch, dealt to processes and workers."""

import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from igcl_lightning.data.collation import PairCollator
from igcl_lightning.data.modules import LabeledDataModule, PairedDataModule
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.row_datasets import PairDataset
from igcl_lightning.data.sources.phantom import phantom_study
from igcl_lightning.data.store import Store
from igcl_lightning.data.streaming import PairStream, StreamedStore
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.schema import stable_hash
from igcl_lightning.modules import SimCLR
from igcl_lightning.phantom import FINDINGS
from stores import prepare_studies


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A store of several Arrow files for each split."""
    path = tmp_path_factory.mktemp("stores") / "shards"
    studies = [partial(phantom_study, index, size=64) for index in range(72)]
    prepare_studies(studies, path, labels=FINDINGS, options=Options(size=64, lossless=True), chunk=12)
    return path


@pytest.fixture(scope="module")
def address(folder):
    return folder.as_uri()


@pytest.fixture(scope="module")
def server(folder):
    """The same store over HTTP, which lists no folders."""
    handler = partial(QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def list_directory(self, path):
        self.send_error(403)


def hashes(folder, split):
    return sorted(stable_hash(row) for row in Store(folder).column(split, "row"))


def rows(batches):
    return [row for batch in batches for row in batch.row.tolist()]


def stream(address, split="train", batch_size=4, shuffled=True, **processes):
    return PairStream(StreamedStore(address), [split], PairCollator(), batch_size, shuffled, **processes)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_holds_each_row_once_and_epochs_differ(address, folder, workers):
    whole = stream(address, batch_size=1)  # any larger batch leaves out rows that fill none
    loader = DataLoader(whole, batch_size=None, num_workers=workers, persistent_workers=workers > 0)
    epochs = [rows(loader) for _ in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == hashes(folder, "train")
    assert epochs[0] != epochs[1] != epochs[2] != sorted(epochs[0])


def test_order_follows_seed_and_epoch(address):
    torch.manual_seed(0)
    first = rows(stream(address, seed=1))
    torch.manual_seed(1)
    assert rows(stream(address, seed=1)) == first != rows(stream(address, seed=2))
    later = stream(address, seed=1)
    rows(later)
    assert rows(later) == rows(stream(address, seed=1, epoch=1)) != first


def test_batches_over_http_are_those_of_the_folder(server, folder):
    data = PairedDataModule(server, batch_size=5)
    pairs = PairDataset(Store(folder), "valid")
    place = {row: index for index, row in enumerate(rows([pairs.batch(range(len(pairs)))]))}
    seen = []
    for batch in data.val_dataloader():
        expected = pairs.batch([place[row] for row in batch.row.tolist()])
        for name in ("image", "target", "study", "patient", "graph_key", "graph_facts"):
            torch.testing.assert_close(getattr(batch, name), getattr(expected, name), equal_nan=True)
        for name in ("graph", "report"):
            torch.testing.assert_close(getattr(batch, name).to_dict(), getattr(expected, name).to_dict())
        seen += batch.row.tolist()
    assert sorted(seen) == hashes(folder, "valid")


def test_processes_get_other_rows_and_equally_many_batches(address, folder):
    ranks = [[batch.row.tolist() for batch in stream(address, num_replicas=3, rank=rank)] for rank in range(3)]
    steps = len(hashes(folder, "train")) // 12
    assert [len(rank) for rank in ranks] == [steps] * 3
    seen = [{row for batch in rank for row in batch} for rank in ranks]
    assert len(set.union(*seen)) == sum(map(len, seen))


def test_every_process_evaluates_its_part_of_each_batch(address, folder):
    ranks = [list(stream(address, "test", shuffled=False, num_replicas=2, rank=rank)) for rank in range(2)]
    sizes = [[len(batch.row) for batch in rank] for rank in ranks]
    assert sizes[0] == sizes[1]
    first, second = map(rows, ranks)
    assert sorted({*first, *second}) == hashes(folder, "test")
    assert len({*first} & {*second}) <= 1  # a row that fills the last round


def test_a_fit_over_the_network_reads_reports_and_labels_by_row(address, tmp_path):
    data = PairedDataModule(address, batch_size=8, augment=False, num_workers=1)
    trainer = Trainer(max_steps=6, accelerator="cpu", logger=False, default_root_dir=tmp_path, num_sanity_val_steps=0)
    trainer.fit(SimCLR(image={"backbone": "test_resnet", "size": 32}), data)
    assert "val/loss" in trainer.callback_metrics


def test_rows_are_looked_up_as_in_the_folder(address, folder):
    local, streamed = Store(folder), PairedDataModule(address)
    for split in local.splits:
        for row in local.column(split, "row")[:2]:
            key = stable_hash(row)
            assert streamed.row_ids(key) == local.ids(key)
            assert streamed.report_text(key) == local.report_text(key)
            assert streamed.report_graph(key) == local.report_graph(key)
            assert streamed.row_labels(key) == local.row_labels(key)
            assert streamed.row_split(key) == split


def test_views_choose_rows_of_a_stream(address, folder):
    loader = PairStream(StreamedStore(address, ["PA"]), ["train"], PairCollator(), 1, shuffled=True)
    kept = Store(folder, views=["PA"]).column("train", "row")
    assert sorted(rows(loader)) == sorted(stable_hash(row) for row in kept)
    assert 0 < len(kept) < len(hashes(folder, "train"))


def test_array_columns_come_in_a_stream_too(tmp_path):
    arrays = [np.arange(6.0).reshape(2, 3), None, np.ones((2, 3))]
    studies = [
        replace(phantom_study(number, size=64, views="frontal"), arrays={"ecg": array}, split="train")
        for number, array in enumerate(arrays)
    ]
    prepare_studies(studies, tmp_path / "store", arrays=["ecg"], options=Options(size=64))
    data = PairedDataModule((tmp_path / "store").as_uri(), batch_size=2, arrays=["ecg"])
    data.setup("fit")
    (batch,) = data.train_dataloader()
    assert sorted(batch.extra["ecg"].tolist()) == [[[0, 1, 2], [3, 4, 5]], [[1, 1, 1], [1, 1, 1]]]
    data = PairedDataModule((tmp_path / "store").as_uri(), arrays=["eeg"])
    with pytest.raises(IgclError, match="no array column 'eeg', only ecg"):
        data.setup("fit")


def test_workers_without_a_file_are_not_started(address):
    loader = PairedDataModule(address, batch_size=2, num_workers=50).train_dataloader()
    assert loader.num_workers == len(loader.dataset.store.shards("train"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_replicas": 50}, "Arrow files are too few for 50 processes; copy it"),
        ({"num_replicas": 2, "batch_size": 500}, "rows give 2 processes no batch of 500; make data.batch_size smaller"),
    ],
)
def test_what_cannot_be_dealt_is_named(address, options, message):
    with pytest.raises(IgclError, match=message):
        stream(address, **options)


def test_rows_left_out_cannot_be_dealt_to_processes(address):
    with pytest.raises(IgclError, match="data.views and data.arrays select rows of a stream; use one process"):
        PairStream(StreamedStore(address, ["PA"]), ["train"], PairCollator(), 4, shuffled=True, num_replicas=2)


def test_what_needs_all_rows_asks_for_a_copy(address):
    with pytest.raises(IgclError, match="copy it to a local folder"):
        LabeledDataModule(address).setup("fit")
    for option in ({"length_aware": True}, {"same_words_weight": 4.0}):
        with pytest.raises(IgclError, match=f"data.{next(iter(option))} needs all reports at once"):
            PairedDataModule(address, **option).setup("fit")
    with pytest.raises(IgclError, match="data.held_out needs all patients, which a stream lacks; copy it"):
        PairedDataModule(address, held_out=["stores/mimic-5x200"]).setup("fit")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "file:///nowhere/store",
            "file:///nowhere/store/manifest.json: no such file, or one that may not be read; is this",
        ),
        ("nonsense://store", "nonsense://store/manifest.json: cannot be opened"),
    ],
)
def test_an_address_of_no_store_is_named(path, message):
    with pytest.raises(IgclError, match=message):
        StreamedStore(path)


def test_a_split_that_is_not_there_is_named(address):
    with pytest.raises(IgclError, match="no split 'fold1', only train, valid, test"):
        StreamedStore(address).shards("fold1")


def test_a_stream_without_a_planned_end_is_refused(address, tmp_path):
    trainer = Trainer(max_epochs=2, logger=False, enable_checkpointing=False, default_root_dir=tmp_path)
    model = SimCLR(image={"backbone": "test_byobnet", "size": 64})
    with pytest.raises(IgclError, match=r"which a stream does not know: set trainer.max_steps"):
        trainer.fit(model, datamodule=PairedDataModule(address, batch_size=8))


def test_a_batch_larger_than_the_stream_is_refused(address):
    with pytest.raises(IgclError, match=r"rows give 1 processes no batch of 3000; make data.batch_size smaller"):
        PairedDataModule(address, batch_size=3000).train_dataloader()


@pytest.mark.parametrize("workers", [0, 2, 3])
def test_a_stream_continues_at_the_position_of_a_checkpoint(address, workers):
    """Three workers have unequal numbers of batches, so that the last ones come from some of them only."""

    def epochs(stored=None):
        data = PairedDataModule(address, batch_size=8, num_workers=workers)
        if stored:
            data.load_state_dict(stored)
        loader = data.train_dataloader()
        return loader, [[batch.row.tolist() for batch in loader] for _ in range(3 - loader.epoch)]

    loader, whole = epochs()
    settings = {"batch_size": 8, "processes": 1, "rows": loader.stream.num_rows, "seed": 0}
    for batch in (1, len(whole[1]) - 1, len(whole[1])):
        _, late = epochs({"epoch": 1, "batch": batch, **settings})
        assert late == [whole[1][batch:], whole[2]]
