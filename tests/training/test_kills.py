"""A run that is killed anywhere and continued ends with the weights and metrics of the undisturbed run, bit for bit."""

import random
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch

from killed_runs import TERMINATED, end, resuming, start, wait, wait_for_saves

WORDS = ["fit", "--config", "pretrain/phantom.yaml", "--model.image.size", "32", "--model.graph.channels", "16"]
WORDS += ["--model.graph.dropout", "0.3", "--model.projection.channels", "16", "--data.num_workers", "2"]
WORDS += ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false", "--trainer.log_every_n_steps", "1"]
WORDS += ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", "runs", "--trainer.logger.name", "r"]
WORDS += ["--trainer.logger.version", "0", "--trainer.check_val_every_n_epoch", "1", "--trainer.callbacks", "[]"]
WORDS += ["--trainer.callbacks+=EMA", "--trainer.callbacks+=LearningRateMonitor"]
WORDS += ["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.filename", "epoch"]
WORDS += ["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.filename", "step"]
WORDS += ["--trainer.callbacks.every_n_train_steps", "1"]
TRAINED = (
    "state_dict",
    "current_model_state",
    "optimizer_states",
    "lr_schedulers",
    "loops",
    "resume",
)
INTERRUPTED = 130
LONG = 600.0


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


def told(path="."):
    return "\n".join(each.read_text(errors="replace")[-2000:] for each in sorted(Path(path).glob("stderr-*")))


def undisturbed(words, world):
    assert set(wait(start(words, world), LONG)) == {0}, told()
    Path("runs").rename("undisturbed")


def kill_and_resume(words, world, kills, rng):
    """Kill a run so many times, at random, and continue it each time; return how often it was killed."""
    done, codes = 0, {-1}
    while done < kills:
        processes = start([*words, *resuming()], world)
        wait_for_saves(processes, rng.randint(1, 3))
        time.sleep(rng.random() * 0.2)
        if not any(process.is_alive() for process in processes):
            break
        number = rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
        codes = set(end(processes, number))
        assert codes <= {-signal.SIGKILL, TERMINATED, INTERRUPTED, 0}, told()
        done += 1
    if set(codes) != {0}:
        assert set(wait(start([*words, *resuming()], world), LONG)) == {0}, told()
    return done


def differences(first, second, path=""):
    """Yield the places where two checkpoints differ."""
    if isinstance(first, torch.Tensor):
        if not torch.equal(first, second):
            yield path
    elif isinstance(first, dict):
        yield from (f"{path}/{name}" for name in first.keys() ^ second.keys())
        for name in first.keys() & second.keys():
            yield from differences(first[name], second[name], f"{path}/{name}")
    elif isinstance(first, list | tuple):
        yield from [f"{path}/length"] * (len(first) != len(second))
        for number, values in enumerate(zip(first, second, strict=False)):
            yield from differences(*values, f"{path}/{number}")
    elif first != second:
        yield f"{path}: {first} and {second}"


def assert_ended_alike():
    one, other = (
        torch.load(Path(folder, "r/version_0/checkpoints/last.ckpt"), weights_only=True)
        for folder in ("undisturbed", "runs")
    )
    differ = [each for name in TRAINED for each in differences(one[name], other[name], name)]
    # A validation that was interrupted is begun again, and counted again.
    assert [each for each in differ if "val_loop" not in each or "/total/" not in each] == []
    one, other = (Path(folder, "r/version_0/metrics.csv").read_text() for folder in ("undisturbed", "runs"))
    assert one == other


@pytest.mark.parametrize("world", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_two_kills(world, phantom_store):
    words = [*WORDS, "--data.store", str(phantom_store), "--data.batch_size", str(16 // world)]
    words += ["--trainer.max_epochs", "2"]
    undisturbed(words, world)
    kill_and_resume(words, world, 1, random.Random(world))
    assert_ended_alike()


@pytest.mark.soak
@pytest.mark.parametrize("world", [1, 2])
def test_twenty_kills(world, phantom_store):
    words = [*WORDS, "--data.store", str(phantom_store), "--data.batch_size", str(8 // world)]
    words += ["--trainer.max_epochs", "8"]
    undisturbed(words, world)
    rng, kills = random.Random(20 + world), 0
    while kills < 20:
        shutil.rmtree("runs", ignore_errors=True)
        kills += kill_and_resume(words, world, 20 - kills, rng)
        assert_ended_alike()
