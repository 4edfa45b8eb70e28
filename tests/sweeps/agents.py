"""The real `wandb sweep` and `wandb agent` against the stand-in, with small copies of shipped sweeps; for tests."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import yaml

from igcl_lightning.training.options import shipped_configs

OF_A_TRAINER = ("PL_GLOBAL_SEED", "LOCAL_RANK", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT")
"""Variables that a trainer leaves behind in this process; with a rank, a trial waits for a process it never starts."""

PRETRAIN = ["--model.image.backbone", "test_resnet", "--model.image.size", "32", "--model.graph.channels", "16"]
SMALL = [
    *("--data.batch_size", "16", "--data.num_workers", "0", "--trainer.max_epochs", "1"),
    *("--trainer.check_val_every_n_epoch", "1", "--trainer.limit_train_batches", "1"),
    *("--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"),
]


def small_sweep(name, folder, store, *words, **changes):
    """Write a copy of a shipped sweep for a tiny run; `words` go before the arguments, `changes` into the file."""
    sweep = yaml.safe_load((shipped_configs() / "sweep" / name).read_text())
    if "data.store" in sweep["parameters"]:
        sweep["parameters"]["data.store"] = {"value": str(store)}
    else:
        words = ["--data.store", str(store), *words]
    *command, args = sweep["command"]
    assert args == "${args}"
    path = folder / name
    path.write_text(yaml.safe_dump(sweep | {"command": [*command, *SMALL, *words, args]} | changes))
    return path


def environment(backend=None, folder=None):
    """Return the variables of a process that is started by a user, and talks to the stand-in if there is one."""
    paths = {"PATH": str(Path(sys.executable).parent), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    joined = {name: os.pathsep.join([path, os.environ.get(name, "")]) for name, path in paths.items()}
    kept = {name: value for name, value in os.environ.items() if name not in OF_A_TRAINER}
    given = {} if backend is None else backend.environment(folder)
    return kept | joined | {"OMP_NUM_THREADS": "1"} | given


def start_sweep(path, backend, folder):
    """Run `wandb sweep`, and return what it said."""
    words = [sys.executable, "-m", "wandb", "sweep", str(path)]
    done = subprocess.run(words, cwd=folder, env=environment(backend, folder), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


def start_agent(backend, folder):
    """Start `wandb agent`; its output and that of its trials go to agent.txt in the folder."""
    with (folder / "agent.txt").open("a") as log:
        words = [sys.executable, "-m", "wandb", "agent", backend.sweep.path]
        return subprocess.Popen(words, cwd=folder, env=environment(backend, folder), stdout=log, stderr=log)


def run_sweep(path, backend, folder):
    """Run a sweep from beginning to end with one agent, and return the status of the agent and its output."""
    start_sweep(path, backend, folder)
    agent = start_agent(backend, folder)
    try:
        return agent.wait(1200), (folder / "agent.txt").read_text()
    finally:
        end(agent)


def end(agent):
    """Kill an agent and its trials, which have process groups of their own, if they still run."""
    if agent.poll() is None:
        for process in [*psutil.Process(agent.pid).children(recursive=True), agent]:
            process.kill()
