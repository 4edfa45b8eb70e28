"""A job of SLURM that is requeued continues in its folder; signals, variables and `scontrol` are stand-ins."""

import csv
import os
import signal
from pathlib import Path

import pytest
import torch
from test_last_checkpoint import CONFIG, StoppingData, StoppingModel

from igcl_lightning.cli import main

JOB = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1"}
JOB |= {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_NNODES": "1"}


class SignalledModel(StoppingModel):
    """Gets a signal in the third step of the first run.

    Args:
        number: number of the signal.
    """

    def __init__(self, number: int = 10):
        super().__init__()
        self.save_hyperparameters()

    def _stop(self, where, count):
        if (where, count) == ("train", 3):
            os.kill(os.getpid(), self.hparams.number)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, value in JOB.items():
        monkeypatch.setenv(name, value)
    Path("bin").mkdir()
    Path("bin/scontrol").write_text('#!/bin/sh\necho "$@" >> requeued\n')
    Path("bin/scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    Path("c.yaml").write_text(CONFIG.replace("StoppingModel", "SignalledModel"))
    yield tmp_path
    for number, handler in before.items():
        signal.signal(number, handler)


def fit(*words):
    return main(["fit", "--config", "c.yaml", *words])


def steps(path):
    return torch.load(path, weights_only=True)["global_step"]


def jobs():
    return sorted(Path("runs/r").iterdir())


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_requeued_job_continues_in_its_folder(number, monkeypatch):
    """SLURM sends SIGUSR1 (if asked to) ahead of the time limit, SIGTERM when it preempts a job."""
    words = ["--model.number", str(int(number))]
    with pytest.raises(SystemExit) as stop:
        fit(*words)
    assert stop.value.code == 143
    (job,) = jobs()
    assert job.name.startswith("slurm_7_")
    assert steps(job / "checkpoints" / "last.ckpt") == 3
    announced = number == signal.SIGUSR1
    assert Path("requeued").exists() is announced
    if announced:
        assert Path("requeued").read_text() == "requeue 7\n"
        assert steps(job / "hpc_ckpt_1.ckpt") == 3
    older = job / "checkpoints" / "older.ckpt"
    older.write_text("not the newest")
    os.utime(older, (1, 1))
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert fit(*words) == 0
    assert jobs() == [job]
    assert steps(job / "checkpoints" / "last.ckpt") == 4
    with (job / "metrics.csv").open() as file:
        assert {row["step"] for row in csv.DictReader(file)} == {"0", "1", "2", "3"}


def test_a_job_has_a_folder_for_each_command_and_continues_none_unless_restarted(monkeypatch, capsys):
    for words in (["--trainer.max_steps", "1"], ["--trainer.max_steps", "2"], ["--trainer.max_steps", "1"]):
        assert fit(*words) == 0
    assert len(jobs()) == 2
    monkeypatch.setenv("SLURM_RESTART_COUNT", "0")
    assert fit("--trainer.max_steps", "1") == 0
    assert "restarted" not in capsys.readouterr().err


def test_given_names_and_trials_of_a_sweep_are_left_alone(monkeypatch):
    assert fit("--trainer.max_steps", "1", "--trainer.logger.version", "mine") == 0
    monkeypatch.setenv("WANDB_SWEEP_ID", "s")
    assert fit("--trainer.max_steps", "1") == 0
    assert [job.name for job in jobs()] == ["mine", "version_0"]


assert StoppingData  # named in the config
