"""A run continued from any of its checkpoints ends as the undisturbed run: weights, state and metrics."""

import shutil
import signal
from pathlib import Path

import pytest
import torch

from igcl_lightning.cli import main
from igcl_lightning.training.checkpoints import PlainCheckpointIO

pytestmark = pytest.mark.usefixtures("blank_pictures")

RUN = Path("runs/r/version_0")
LAST = RUN / "checkpoints" / "last.ckpt"
EACH_STEP = ["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.filename", "step"]
EACH_STEP += ["--trainer.callbacks.every_n_train_steps", "1"]
EACH_VALIDATION = ["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.filename", "val"]
EACH_VALIDATION += ["--trainer.callbacks.save_on_train_epoch_end", "false"]
EACH_EPOCH = ["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.filename", "epoch"]
SMALL = ["--model.image.size", "32", "--data.batch_size", "16", "--trainer.accelerator", "cpu"]
SMALL += ["--trainer.enable_progress_bar", "false", "--trainer.max_epochs", "2", "--trainer.log_every_n_steps", "1"]
SMALL += ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", "runs", "--trainer.logger.name", "r"]
SMALL += ["--trainer.logger.version", "0", "--trainer.check_val_every_n_epoch", "1", "--trainer.callbacks", "[]"]
SMALL += ["--trainer.callbacks+=EMA", "--trainer.callbacks+=LearningRateMonitor"]
PHANTOM = ["fit", "--config", "pretrain/phantom.yaml", "--model.graph.channels", "16", "--model.graph.dropout", "0.3"]
PHANTOM += [*SMALL, "--model.projection.channels", "16"]
WORDS = ["fit", "--config", "pretrain/phantom_reclf.yaml", "--model.text.channels", "16", *SMALL]
WORDS += ["--model.text.sentence_sampling", "true", "--model.text.dropout", "0.2"]
TWINS = ["fit", "--config", "pretrain/phantom_reclf_graph.yaml", "--model.graph.channels", "16", *SMALL]
TWINS += ["--model.counterfactual.kinds", "[side]", "--data.same_words_weight", "2", "--data.num_workers", "1"]
IMAGES = ["fit", "--config", "probe/supervised.yaml", "--model.image.backbone", "test_byobnet", *SMALL]
IMAGES += ["--data.num_workers", "0"]
STOPPED = ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor", "val/loss"]
STOPPED += ["--trainer.callbacks.stopping_threshold", "1000", "--trainer.callbacks.check_on_train_epoch_end"]
IN_PARTS = ["--trainer.accumulate_grad_batches", "2", "--trainer.val_check_interval", "3", "--data.batch_size", "8"]
ERRORS = ["--data.noise.entities", "0.3", "--data.noise.reports", "0.5", "--data.noise.every_epoch", "true"]
FEW = ["--trainer.limit_train_batches", "2", "--trainer.max_steps", "3", "--trainer.max_epochs", "9"]

RUNS = {
    "after a step, before and after validation": ([*PHANTOM, *EACH_STEP, *EACH_EPOCH], (0, 2, 3, 4)),
    "with incomplete gradients": ([*PHANTOM, *IN_PARTS, *EACH_VALIDATION], (0, 1)),
    "words of sampled sentences": ([*WORDS, *EACH_STEP], (0,)),
    "twins of repeated rows": ([*TWINS, *EACH_STEP], (3,)),
    "labelled images": ([*IMAGES, *EACH_STEP], (1,)),
    "stopped early in a validation": ([*PHANTOM, *STOPPED, "false", *EACH_VALIDATION], (0,)),
    "stopped early at the end of an epoch": ([*PHANTOM, *STOPPED, "true", *EACH_EPOCH], (0,)),
    "a part of each epoch, with errors in reports": ([*PHANTOM, *FEW, *EACH_STEP, *ERRORS], (1,)),
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for variable in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        monkeypatch.setenv(variable, "0")
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    yield tmp_path
    for number, handler in before.items():
        signal.signal(number, handler)


def fit(words, store):
    assert main([*words, "--data.store", str(store)]) in (0, None)


def fit_with_snapshots(words, store):
    """Fit; return the name of each checkpoint, with the run folder as it was then in snapshots/NUMBER."""
    names = []

    def save(io, checkpoint, path, storage_options=None):
        written(io, checkpoint, path, storage_options)
        shutil.copytree("runs", f"snapshots/{len(names)}")
        names.append(Path(path).name)

    written = PlainCheckpointIO.save_checkpoint
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PlainCheckpointIO, "save_checkpoint", save)
        fit(words, store)
    Path("runs").rename("undisturbed")
    return names


def return_to(number):
    """Put the run folder back as a killed process would have left it: with a later row, and half of another."""
    shutil.rmtree("runs", ignore_errors=True)
    shutil.copytree(f"snapshots/{number}", "runs")
    with (RUN / "metrics.csv").open("a") as file:
        file.write("7,7\n7,")


def assert_same(first, second, where=""):
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), where
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), where
        for key, value in first.items():
            assert_same(value, second[key], f"{where}.{key}")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), where
        for index, (one, other) in enumerate(zip(first, second, strict=True)):
            assert_same(one, other, f"{where}.{index}")
    else:
        assert first == second, where


def stored(path):
    return torch.load(path, weights_only=True)


def assert_ended_alike():
    undisturbed = "undisturbed" / LAST.relative_to("runs")
    assert_same(stored(undisturbed), stored(LAST))
    assert (RUN / "metrics.csv").read_text() == ("undisturbed" / RUN.relative_to("runs") / "metrics.csv").read_text()


@pytest.mark.parametrize("name", RUNS)
def test_a_continued_run_ends_as_the_undisturbed_one(name, phantom_store):
    words, numbers = RUNS[name]
    names = fit_with_snapshots(words, phantom_store)
    for number in numbers:
        return_to(number)
        fit([*words, "--ckpt_path", str(RUN / "checkpoints" / names[number])], phantom_store)
        assert_ended_alike()


def test_a_run_continues_with_another_batch_size_and_number_of_processes(phantom_store, caplog):
    """At the same number of samples, and it says what is not as it would have been."""
    names = fit_with_snapshots([*PHANTOM, *EACH_STEP], phantom_store)
    return_to(0)
    path = RUN / "checkpoints" / names[0]
    checkpoint = stored(path)
    checkpoint["resume"]["processes"] *= 2
    data = checkpoint["PairedDataModule"]
    data |= {"store": "of another store", "max_epochs": 7}
    data["options"] |= {"data.fraction": 0.5, "data.noise.entities": 0.1}
    torch.save(checkpoint, path)
    rows = data["rows"]
    with pytest.warns(UserWarning, match="not the rows that this run was trained on"):
        fit([*PHANTOM, "--ckpt_path", str(path), "--data.batch_size", "8"], phantom_store)
    assert stored(LAST)["global_step"] == 1 + (rows - 16) // 8 + rows // 8
    (said,) = [line for line in caplog.messages if "data.batch_size" in line]
    assert said.startswith("data.batch_size was 16, is 8: epoch 0 continues after 16 samples; ")
    (said,) = [line for line in caplog.messages if "data.fraction" in line]
    assert said.startswith(
        "data.fraction was 0.5, is 1.0, data.noise.entities was 0.1, is 0.0: from here training reads "
    )
    assert [line for line in caplog.messages if line.startswith("trainer.max_epochs was 7, is ")]
    assert [line for line in caplog.messages if "holds the random state of 2 processes, not of 1" in line]
