"""The order of training rows depends on seed, epoch and rank, and on nothing else."""

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.strategies import DDPStrategy

from igcl_lightning.data.modules import LabeledDataModule, PairedDataModule
from igcl_lightning.data.order import EpochOrder, SharedOrder
from igcl_lightning.data.row_datasets import PairDataset
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.schema import stable_hash
from igcl_lightning.modules import SimCLR
from two_processes import SERVER


def of_epoch(order, epoch):
    order.set_epoch(epoch)
    return list(order)


def batches(loader, epoch=0):
    loader.sampler.set_epoch(epoch)
    return [batch.row.tolist() for batch in loader]


def test_an_epoch_holds_each_row_once_and_epochs_and_seeds_differ():
    order = EpochOrder(range(100), 10)
    assert sorted(order) == list(range(100))
    assert of_epoch(order, 0) == of_epoch(order, 0) != of_epoch(order, 1)
    # A seed and the epoch do not add up: epoch 1 of seed 0 is not epoch 0 of seed 1.
    assert of_epoch(order, 1) != of_epoch(EpochOrder(range(100), 10, seed=1), 0) != of_epoch(order, 0)


@pytest.mark.parametrize("lengths", [None, np.arange(103) % 17])
def test_processes_share_out_each_epoch(lengths):
    ranks = [list(EpochOrder(range(103), 8, 5, 4, rank, lengths)) for rank in range(4)]
    assert [len(rank) for rank in ranks] == [25] * 4
    rows = [row for rank in ranks for row in rank]
    assert len(set(rows)) == 100
    # What one process takes in a step, four take together.
    whole = list(EpochOrder(range(103), 32, 5, lengths=lengths))
    for step in range(3):
        together = {row for rank in ranks for row in rank[8 * step : 8 * step + 8]}
        assert together == set(whole[32 * step : 32 * step + 32])


@pytest.mark.parametrize("lengths", [None, np.arange(100) % 17])
def test_an_epoch_can_start_at_any_batch(lengths):
    whole, late = (EpochOrder(range(100), 10, 3, 2, 1, lengths) for _ in range(2))
    assert late.start_at(epoch=4, samples=60) == 3
    assert of_epoch(late, 4) == of_epoch(whole, 4)[30:]
    assert of_epoch(late, 5) == of_epoch(whole, 5)


@pytest.mark.parametrize("samples", [0, 7, 24, 41, 99, 103])
def test_an_epoch_can_start_after_samples_that_are_no_whole_batches_of_it(samples):
    """As with another batch size or number of processes: each remaining row of a whole batch comes once."""
    whole = list(EpochOrder(range(103), 103, 5))
    late = [EpochOrder(range(103), 8, 5, 4, rank) for rank in range(4)]
    left_out = {order.start_at(epoch=0, samples=samples) for order in late}
    steps = [list(zip(*[iter(order)] * 8, strict=False)) for order in late]
    assert {len(each) for each in steps} == {103 // 32 - left_out.pop()} == {(103 - samples) // 32}
    assert not left_out
    rows = [row for dealt in zip(*late, strict=True) for row in dealt][: len(steps[0]) * 32]
    assert rows == whole[samples : samples + len(rows)]


def test_steps_hold_rows_of_similar_length_and_rows_of_no_step_stay_random():
    lengths = np.random.default_rng(0).integers(1, 200, 1000)
    order = EpochOrder(range(1000), 16, lengths=lengths)
    rows = np.array(list(order))
    assert sorted(rows) == list(range(1000))

    def padded(rows):
        steps = lengths[rows[: 1000 // 16 * 16]].reshape(-1, 16)
        return 1 - steps.sum() / (16 * steps.max(axis=1)).sum()

    assert padded(rows) < 0.1 < 0.4 < padded(np.array(list(EpochOrder(range(1000), 16))))
    means = lengths[rows[:992]].reshape(-1, 16).mean(axis=1)
    assert abs(np.corrcoef(means, np.arange(62))[0, 1]) < 0.4  # steps of all lengths at any time
    assert rows[992:].tolist() == list(EpochOrder(range(1000), 16))[992:]


@pytest.mark.parametrize("world", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("rows", [0, 1, 2, 5, 12, 29, 56])
def test_batches_of_all_processes_are_those_of_one(rows, world):
    size = 4
    ranks = [list(SharedOrder(range(rows), world, rank)) for rank in range(world)]
    assert {len(rank) for rank in ranks} == {-(-rows // world)}
    for start in range(0, -(-rows // world), size):
        together = sorted(row for rank in ranks for row in rank[start : start + size])
        whole = list(range(start * world, min((start + size) * world, rows)))
        # What fills up the last batch is the last row, and nothing else.
        assert together == whole + [rows - 1] * (len(together) - len(whole))
        assert len(together) - len(whole) < world


def test_neither_workers_nor_random_states_have_a_say(phantom_store):
    def epochs(workers, seed, **options):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002  # the global state is what must not matter
        loader = PairedDataModule(str(phantom_store), batch_size=8, num_workers=workers, **options).train_dataloader()
        return [batches(loader, epoch) for epoch in range(2)]

    expected = epochs(0, 0)
    assert expected[0] != expected[1]
    assert epochs(2, 1) == expected
    assert epochs(0, 0, order_seed=1) != expected
    assert epochs(2, 0, length_aware=True) == epochs(0, 1, length_aware=True) != expected


def test_the_order_follows_the_seed_of_everything(phantom_store, monkeypatch):
    def order(seed):
        monkeypatch.setenv("PL_GLOBAL_SEED", str(seed))  # where seed_everything leaves it
        return batches(PairedDataModule(str(phantom_store), batch_size=8).train_dataloader())

    assert order(3) == order(3) != order(4)
    monkeypatch.delenv("PL_GLOBAL_SEED")
    assert PairedDataModule(str(phantom_store)).order_seed == 0


def test_the_order_starts_at_a_later_batch_in_the_loader(phantom_store):
    data = PairedDataModule(str(phantom_store), batch_size=8)
    whole, late = data.train_dataloader(), data.train_dataloader()
    late.sampler.start_at(epoch=1, samples=16)
    assert batches(late, 1) == batches(whole, 1)[2:]


def test_a_loader_continues_at_the_position_of_a_checkpoint(phantom_store, caplog):
    whole = PairedDataModule(str(phantom_store), batch_size=2).train_dataloader()
    rows = [row for batch in batches(whole, 2) for row in batch]
    count = whole.sampler.num_rows
    stored = {"epoch": 2, "batch": 2, "batch_size": 8, "processes": 1, "rows": count, "seed": 0}
    for batch_size, batch in ((8, 2), (4, 4), (16, 1)):
        caplog.clear()
        data = PairedDataModule(str(phantom_store), batch_size=batch_size)
        data.load_state_dict(stored)
        late = [row for batch in data.train_dataloader() for row in batch.row.tolist()]
        assert late == rows[16:][: (count - 16) // batch_size * batch_size]
        assert data.start == (2, batch)
        said = f"data.batch_size was 8, is {batch_size}: epoch 2 continues after 16 samples" in caplog.text
        assert said is (batch_size != 8)
        assert len(batches(data.train_dataloader(), 2)) == count // batch_size, "a later fit starts anew"


def test_labelled_images_have_the_same_kind_of_order(phantom_store):
    loaders = [
        LabeledDataModule(str(phantom_store), batch_size=8, order_seed=seed).train_dataloader() for seed in (0, 0, 1)
    ]
    first, again, other = map(batches, loaders)
    assert first == again != other


class Recorder(Callback):
    """Writes the rows of each training step beside those of the other processes."""

    def __init__(self, folder):
        self.folder = folder

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.write(f"{trainer.current_epoch}-{trainer.global_rank}", batch)

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.write(f"valid{trainer.current_epoch}-{trainer.global_rank}", batch)

    def write(self, name, batch):
        with (self.folder / f"{name}.txt").open("a") as file:
            file.write(" ".join(map(str, batch.row.tolist())) + "\n")


class Idle(BoringModel):
    """A model that steps without looking."""

    def training_step(self, batch, batch_idx):
        return self(torch.ones(1, 32)).sum()

    def validation_step(self, batch, batch_idx):
        pass


def fit(folder, store, **options):
    folder.mkdir()
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Recorder(folder)],
        num_sanity_val_steps=0,
        **options,
    )
    data = PairedDataModule(str(store), batch_size=8, augment=False)
    trainer.fit(Idle(), data)
    return {path.stem: [line.split() for line in path.read_text().splitlines()] for path in sorted(folder.iterdir())}


def test_two_fits_see_the_same_batches_and_epochs_differ(phantom_store, tmp_path):
    first, second = (fit(tmp_path / name, phantom_store) for name in "ab")
    assert first == second
    assert first["0-0"] != first["1-0"]


def test_lightning_keeps_the_order_of_distributed_training(phantom_store, tmp_path):
    one = fit(tmp_path / "one", phantom_store)
    two = fit(tmp_path / "two", phantom_store, strategy=DDPStrategy(start_method=SERVER.get_start_method()), devices=2)
    for epoch in range(2):
        ranks = [[row for step in two[f"{epoch}-{rank}"] for row in step] for rank in range(2)]
        assert not set(ranks[0]) & set(ranks[1])
        order = [row for step in one[f"{epoch}-0"] for row in step]
        # The ranks take turns along one and the same order.
        assert [row for pair in zip(*ranks, strict=True) for row in pair] == order[: 2 * len(ranks[0])]
    # Evaluation keeps the order of the store: its first, second, ... batches of both ranks are twice as large.
    valid = [int(row) for step in one["valid0-0"] for row in step]
    stated = Store(phantom_store).stating("valid", "graph")
    names = np.array(Store(phantom_store).column("valid", "row"))[stated]
    assert valid == [stable_hash(row) for row in names]
    for step, parts in enumerate(zip(two["valid0-0"], two["valid0-1"], strict=True)):
        together = [int(row) for pair in zip(*parts, strict=True) for row in pair]
        whole = valid[16 * step : 16 * step + 16]
        assert together == whole + valid[-1:] * (len(together) - len(whole))


@pytest.mark.parametrize("module", [PairedDataModule, LabeledDataModule])
def test_evaluation_loaders_share_out_rows(phantom_store, monkeypatch, module):
    rows = Store(phantom_store).column("test", "row")
    data = module(str(phantom_store), batch_size=4)
    monkeypatch.setattr(data, "_processes", lambda: (3, 1))
    assert isinstance(data.test_dataloader().sampler, SharedOrder)
    own = [row for batch in data.predict_dataloader() for row in batch.row.tolist()]
    assert own == [stable_hash(row) for row in [*rows, rows[-1], rows[-1]][1 : 3 * len(own) : 3]]


def test_lengths_are_entities_of_graphs_or_words_of_reports(phantom_store):
    pairs = PairDataset(Store(phantom_store), "train")
    samples = [pairs[index] for index in range(len(pairs))]
    assert pairs.lengths("graph").tolist() == [sample.graph.num_nodes for sample in samples]
    assert pairs.lengths("report").tolist() == [max(1, sample.report.num_nodes) for sample in samples]


def test_length_is_nothing_to_a_model_of_images_alone(phantom_store):
    data = PairedDataModule(str(phantom_store), length_aware=True)
    data.trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    data.trainer.strategy.connect(SimCLR(image={"backbone": "test_resnet", "size": 32}))
    with pytest.raises(IgclError, match="data.length_aware: this model reads neither graphs nor reports"):
        data.setup("fit")


WEIGHTS = np.where(np.arange(103) % 9 == 0, 4.0, 1.0)


def test_weights_say_how_often_rows_are_drawn():
    order = EpochOrder(range(103), 8, weights=WEIGHTS)
    share = WEIGHTS * 103 / WEIGHTS.sum()
    counts = np.stack([np.bincount(of_epoch(order, epoch), minlength=103) for epoch in range(400)])
    assert (counts.sum(axis=1) == 103).all()
    # Each epoch rounds up or down; all epochs together draw in proportion.
    assert ((counts == np.floor(share)) | (counts == np.ceil(share))).all()
    np.testing.assert_allclose(counts.mean(axis=0), share, atol=0.15)
    # The draws of a row are spread over the epoch: two in a row are rare.
    assert np.mean([np.mean(np.diff(of_epoch(order, epoch)) == 0) for epoch in range(400)]) < 0.03


def test_processes_share_out_a_weighted_epoch_which_can_start_at_any_batch():
    whole = list(EpochOrder(range(103), 32, 5, weights=WEIGHTS))
    ranks = [list(EpochOrder(range(103), 8, 5, 4, rank, weights=WEIGHTS)) for rank in range(4)]
    assert [row for rows in zip(*ranks, strict=True) for row in rows] == whole[:100]
    late = EpochOrder(range(103), 8, 5, weights=WEIGHTS)
    late.start_at(epoch=0, samples=24)
    assert list(late) == whole[24:]


def test_rows_are_numbered_by_epoch_where_they_differ():
    plain, numbered = EpochOrder(range(100), 10, 3, 2, 1), EpochOrder(range(100), 10, 3, 2, 1, numbered=True)
    for epoch in (0, 5):
        assert of_epoch(numbered, epoch) == [row + 100 * epoch for row in of_epoch(plain, epoch)]
