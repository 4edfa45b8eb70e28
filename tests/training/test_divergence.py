"""A loss or gradient that is not finite stops training before the step; the rows of the batch are named."""

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor, nn
from torch.utils.data import DataLoader

from igcl_lightning.cli import main
from igcl_lightning.modules.base import BaseModule
from igcl_lightning.training.divergence import StopIfDiverged

CONFIG = """\
trainer: {max_epochs: 2, accelerator: cpu, enable_progress_bar: false, logger: {class_path: CSVLogger}}
model: {class_path: DivergingModel}
data: {class_path: NumberedData}
"""
CONFIG = CONFIG.replace("CSVLogger}", "CSVLogger, init_args: {save_dir: runs, name: r}}")
RUN = Path("runs/r/version_0")


class Numbered(NamedTuple):
    row: Tensor
    value: Tensor


class NumberedData(LightningDataModule):
    """Six batches of two rows."""

    def train_dataloader(self):
        return DataLoader([Numbered(torch.tensor(row), torch.ones(1)) for row in range(12)], batch_size=2)

    def row_ids(self, row):
        return f"row{row}", "study", "patient"


class DivergingModel(BaseModule):
    """Diverges at one of its batches.

    Args:
        at: number of the batch, counted from 0.
        how: "loss", "gradient" (of a finite loss), or "mean" (a loss, and a buffer).
    """

    def __init__(self, at: int = 3, how: str = "loss"):
        super().__init__({"schedule": "constant", "warmup_fraction": 0.0, "learning_rate": 0.1})
        self.save_hyperparameters()
        self.layer = nn.Linear(1, 1)
        self.register_buffer("mean", torch.zeros(1))

    def training_step(self, batch, index):
        output = self.layer(batch.value).mean()
        if index != self.hparams.at:
            return output.square() + 1
        if self.hparams.how == "gradient":
            return (output - output).sqrt()
        if self.hparams.how == "mean":
            self.mean.fill_(float("nan"))
        return output * float("inf")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(CONFIG)


def fit(*words):
    return main(["fit", "--config", "c.yaml", *words])


def rows():
    with (RUN / "diverged-1.csv").open() as file:
        return [(line["process"], line["row"]) for line in csv.DictReader(file)]


@pytest.mark.parametrize(
    ("how", "said"), [("loss", "loss and the gradient of step 3"), ("gradient", "gradient of step 3")]
)
def test_training_stops_before_the_step_and_names_the_rows(how, said, capsys):
    assert fit("--model.how", how) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("igcl: error")]
    assert "runs/r/version_0/diverged-1.csv: the " in line
    assert f"{said} is not finite" in line
    assert rows() == [("0", "row6"), ("0", "row7")]
    last = torch.load(RUN / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 3
    assert all(value.isfinite().all() for value in last["state_dict"].values())


def test_rows_of_all_batches_of_a_step_are_named(capsys):
    assert fit("--trainer.accumulate_grad_batches", "2") == 1
    assert "the loss and the gradient of step 1 is not finite" in capsys.readouterr().err  # the loss of one of two
    assert rows() == [("0", f"row{number}") for number in (4, 5, 6, 7)]


def test_a_state_that_is_not_finite_does_not_replace_a_checkpoint():
    """The second epoch diverges: its batch spoils a buffer before the loss is known."""
    assert fit("--trainer.max_epochs", "1", "--model.at", "9") == 0
    last = (RUN / "checkpoints" / "last.ckpt").read_bytes()
    stored = torch.load(RUN / "checkpoints" / "last.ckpt", weights_only=True)
    stored["hyper_parameters"] |= {"at": 3, "how": "mean"}
    torch.save(stored, "spoilt.ckpt")
    assert fit("--ckpt_path", "spoilt.ckpt", "--trainer.logger.version", "0") == 1
    assert last in [path.read_bytes() for path in (RUN / "checkpoints").iterdir()]
    assert not (RUN / "checkpoints" / "last.ckpt").exists()


def with_scaler(strategy):
    """Return the callback, and the arguments of its hook before a step whose loss is finite and gradient infinite.

    Lightning's scaler exists on GPUs only; the rule asks for its presence.
    """
    guard, module = StopIfDiverged(), nn.Linear(1, 1)
    module.weight.grad = torch.full((1, 1), float("inf"))
    trainer = SimpleNamespace(precision_plugin=SimpleNamespace(scaler=object()), strategy=strategy)
    guard.on_before_backward(trainer, module, torch.tensor(1.0))
    return guard, (trainer, module, None)


def test_a_scaler_may_skip_steps_with_infinite_gradients():
    strategy = SimpleNamespace(reduce_boolean_decision=lambda decision, all: decision)
    guard, step = with_scaler(strategy)
    guard.on_before_optimizer_step(*step)


def test_all_processes_stop_if_another_one_diverges(monkeypatch):
    """With a scaler this one has nothing that is not finite."""
    stopped = []
    monkeypatch.setattr(StopIfDiverged, "_stop", lambda self, trainer, wrong, batches: stopped.append(wrong))
    guard, step = with_scaler(SimpleNamespace(reduce_boolean_decision=lambda decision, all: decision if all else True))
    guard.on_before_optimizer_step(*step)
    assert stopped == [[]]
