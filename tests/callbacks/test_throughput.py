from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Callback

from igcl_lightning.callbacks import Throughput, throughput

LOADING, STEP, PAUSE = 0.5, 2.0, 1000.0


class Clock(Callback):
    """Time that passes only where this says so: in loading and training, and far more of it in pictures."""

    def __init__(self):
        self.now = 0.0
        self.rates = []

    def perf_counter(self):
        return self.now

    def on_train_batch_start(self, *rest):
        self.now += LOADING + STEP

    def on_train_batch_end(self, trainer, *rest):
        self.rates.append(trainer.callback_metrics.get("train/samples_per_second"))

    def on_validation_end(self, *rest):
        self.now += PAUSE

    def on_train_epoch_end(self, *rest):
        self.now += PAUSE


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(throughput, "time", SimpleNamespace(perf_counter=clock.perf_counter))
    return clock


@pytest.mark.parametrize("val_check_interval", [1.0, 2])
def test_it_counts_training_and_nothing_else(make_trainer, module, data, clock, val_check_interval):
    trainer = make_trainer(Throughput(), clock, max_epochs=4, val_check_interval=val_check_interval)
    trainer.fit(module, data)
    rates = [float(rate) for rate in clock.rates if rate is not None]
    assert len(rates) > 6
    assert rates == pytest.approx([8 / (LOADING + STEP)] * len(rates))


def test_it_forgets_what_is_older_than_its_window(make_trainer, module, data, clock, monkeypatch):
    trainer = make_trainer(Throughput(window=2), clock)
    trainer.fit(module, data)
    monkeypatch.setattr(clock, "on_train_batch_start", lambda *rest: setattr(clock, "now", clock.now + 4))
    clock.rates.clear()
    trainer.fit_loop.max_epochs = 4
    trainer.fit(module, data)
    assert float(clock.rates[-1]) == pytest.approx(2)


def test_batches_without_rows_are_left_alone(make_trainer, module, data, clock, monkeypatch):
    monkeypatch.setattr(
        module, "training_step", lambda batch, batch_idx: module.image_encoder(batch[0].float().flatten(1)).mean()
    )
    monkeypatch.setattr(data, "on_after_batch_transfer", lambda batch, dataloader_idx: [batch.image])
    trainer = make_trainer(Throughput(), clock, limit_val_batches=0, max_epochs=1)
    trainer.fit(module, data)
    assert len(clock.rates) == 3
    assert "train/samples_per_second" not in trainer.callback_metrics
    assert torch.isfinite(module.image_encoder.weight).all()
