import time

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn

from igcl_lightning.data.samples import LabeledBatch
from igcl_lightning.doctor import speed
from igcl_lightning.doctor.speed import limit_finding, loader_finding, loader_rate, model_rate
from igcl_lightning.errors import IgclError


def batch(size):
    return LabeledBatch(torch.zeros(size, 1, 4, 4), torch.zeros(size, 1), torch.arange(size))


class SlowLoader:
    def __iter__(self):
        for _ in range(3):
            time.sleep(0.02)
            yield batch(10)


class SlowModule(LightningModule):
    def __init__(self, outputs_a_dict=False):
        super().__init__()
        self.layer = nn.Linear(16, 1)
        self.steps = []
        self.outputs_a_dict = outputs_a_dict

    def training_step(self, batch, batch_idx):
        time.sleep(0.2 if not self.steps else 0.05)
        self.steps.append(batch_idx)
        loss = self.layer(batch.image.flatten(1)).mean()
        self.log("train/loss", loss)
        return {"loss": loss} if self.outputs_a_dict else loss


def test_the_rate_of_a_loader_is_its_images_a_second(monkeypatch):
    monkeypatch.setattr(speed, "ENOUGH_IMAGES", 100)
    rate, given = loader_rate(SlowLoader())
    assert rate == pytest.approx(500, rel=0.4)
    assert len(given.row) == 10


@pytest.mark.parametrize("outputs_a_dict", [False, True])
def test_the_rate_of_a_model_leaves_the_first_step_out(outputs_a_dict, recwarn):
    module = SlowModule(outputs_a_dict)
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    assert model_rate(module, trainer, batch(5)) == pytest.approx(100, rel=0.4)
    assert len(module.steps) == speed.MODEL_STEPS
    assert module.layer.weight.grad is None
    assert not [note for note in recwarn if "self.log" in str(note.message)]


def test_a_slow_model_takes_one_step(monkeypatch):
    monkeypatch.setattr(speed, "ENOUGH_SECONDS", 0.1)
    module = SlowModule()
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    assert model_rate(module, trainer, batch(5)) == pytest.approx(25, rel=0.4)
    assert len(module.steps) == 1


def test_the_slower_of_the_two_is_the_limit():
    finding = limit_finding(2921.4, 312.7, 2, "cuda", 16)
    assert finding.level == "ok"
    assert finding.message == (
        "the loader gives 2,900 images/s with 2 workers, the model takes 310 on cuda: the model is the limit"
    )


@pytest.mark.parametrize(
    ("workers", "cores", "enough", "remedy"),
    [
        (2, 16, 7, "data.num_workers 7 would be enough"),
        (0, 16, 13, "data.num_workers 13 would be enough"),
        (2, 4, 4, "data.num_workers 4, all cores here, would bring it closer"),
        (4, 4, 4, "this machine has no more cores for it"),
    ],
)
def test_a_slow_loader_needs_workers_but_never_more_than_cores(workers, cores, enough, remedy):
    finding = limit_finding(100, 1250 if workers == 0 else 313, workers, "cuda", cores)
    assert finding.level == "warning"
    assert finding.message.endswith(f": the loader is the limit; {remedy}")
    assert finding.numbers["enough_workers"] == enough


def test_a_loader_alone_is_told_with_its_workers():
    assert loader_finding(9.6, 1).message == "the loader gives 10 images/s with 1 worker"


def test_an_epoch_without_a_batch_is_no_endless_wait():
    with pytest.raises(IgclError, match="an epoch has no batch"):
        loader_rate([])
