"""The bar of a run: all batches, epochs from 1 to N, and the position of a resumed run."""

import itertools
import math

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from igcl_lightning.closing import QUIET
from igcl_lightning.quiet import LINE_EVERY, progress_bar
from igcl_lightning.training import progress
from igcl_lightning.training.progress import RunProgress, use_run_progress


class Model(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, index):
        loss = self.layer(batch).square().mean()
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch, index):
        self.layer(batch)

    test_step = validation_step

    def predict_step(self, batch, index):
        return self.layer(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class Bars:
    """Stands in for tqdm: what a bar was told."""

    def __init__(self):
        self.made = []

    def __call__(self, **options):
        self.made.append(self)
        self.options, self.said, self.moved, self.shown = options, [], 0, []
        return self

    def set_description_str(self, text, refresh=True):
        self.said.append(text)

    def set_postfix(self, values, refresh=True):
        self.shown.append(values)

    def update(self):
        self.moved += 1

    def close(self):
        self.closed = True


@pytest.fixture
def bars(monkeypatch):
    bars = Bars()
    monkeypatch.setattr(progress, "progress_bar", bars)
    return bars


def trainer(tmp_path, **options):
    usual = {"accelerator": "cpu", "logger": False, "enable_model_summary": False, "enable_checkpointing": False}
    made = Trainer(**usual, default_root_dir=tmp_path, num_sanity_val_steps=0, **options)
    use_run_progress(made)
    return made


def data():
    return DataLoader(torch.zeros(10, 1), batch_size=2)


def test_one_bar_for_all_epochs(bars, tmp_path):
    trainer(tmp_path, max_epochs=3).fit(Model(), data(), data())
    assert (bars.options["total"], bars.options["initial"], bars.moved) == (15, 0, 15)
    epochs = [[f"epoch {number}/3", f"epoch {number}/3, validation", f"epoch {number}/3"] for number in (1, 2, 3)]
    assert bars.said == ["train", *itertools.chain(*epochs)]
    assert set(bars.shown[-1]) == {"train/loss"}
    assert bars.options["bar_format"] == progress.BAR
    assert bars.options["smoothing"] == 0, "the time left includes validation"
    assert len(bars.made) == 1
    assert bars.closed


def test_a_resumed_run_starts_at_its_position(bars, tmp_path):
    first = trainer(tmp_path, max_steps=5)
    first.fit(Model(), data())
    assert (bars.options["total"], bars.moved) == (5, 5)
    first.save_checkpoint(tmp_path / "c.ckpt")
    trainer(tmp_path, max_epochs=3).fit(Model(), data(), ckpt_path=tmp_path / "c.ckpt", weights_only=True)
    assert (bars.options["total"], bars.options["initial"], bars.moved) == (15, 5, 10)
    assert bars.said[1] == "epoch 2/3"


@pytest.mark.parametrize(
    ("options", "total"),
    [
        ({"max_epochs": -1}, math.inf),
        ({"max_epochs": 2, "accumulate_grad_batches": 2}, 10),
        ({"max_epochs": 9, "max_steps": 4, "accumulate_grad_batches": 2}, 8),
        ({"max_epochs": 2, "limit_train_batches": 3}, 6),
    ],
)
def test_the_length_of_a_run(tmp_path, options, total):
    made = trainer(tmp_path, **options)
    made.fit_loop.max_epochs = options["max_epochs"]
    made.fit_loop._data_source.instance = data()
    made.strategy._lightning_module = Model()
    made.fit_loop.setup_data()
    assert progress._batches(made) == total


@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
def test_other_commands(bars, tmp_path, stage):
    getattr(trainer(tmp_path), stage)(Model(), data())
    assert (bars.options["total"], bars.moved, bars.said) == (5, 5, [stage])


def test_a_bar_of_the_config_stays(tmp_path):
    class Own(RunProgress):
        pass

    own = Own()
    assert trainer(tmp_path, callbacks=[own]).progress_bar_callback is own
    assert trainer(tmp_path, enable_progress_bar=False).progress_bar_callback is None
    assert type(trainer(tmp_path).progress_bar_callback) is RunProgress


def test_redirected_output_gets_few_lines_and_quiet_none(monkeypatch):
    for terminal, seconds in ((True, 0.1), (False, LINE_EVERY)):
        monkeypatch.setattr("sys.stderr.isatty", lambda answer=terminal: answer)
        assert progress_bar(total=3).mininterval == seconds
    assert not progress_bar(total=3).disable
    monkeypatch.setenv(QUIET, "1")
    assert progress_bar(total=3).disable
