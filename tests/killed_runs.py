"""Runs in processes that are killed and started again, for tests; imports are paid once, by a server that forks."""

import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

from two_processes import SERVER, free_port, save_blank

CHECKPOINTS = Path("runs/r/version_0/checkpoints")
GRACE = 300.0
"""Seconds that a process may go on after it, or the other one, was told to end."""


def start(words, world):
    """Start a command in one process or two, in the current folder; return the processes."""
    port, log = free_port(), len(list(Path().glob("stderr-*")))
    arguments = [(words, rank, world, port, f"stderr-{log + rank}", str(Path.cwd())) for rank in range(world)]
    processes = [SERVER.Process(target=run, args=given) for given in arguments]
    for process in processes:
        process.start()
    return processes


def run(words, rank, world, port, log, folder):
    """Run a command as one of several processes."""
    os.chdir(folder)
    multiprocessing.set_start_method("fork", force=True)  # of workers; the server's way would import everything again
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    if world > 1:
        words = [*words, "--trainer.devices", str(world), "--trainer.strategy", "ddp"]
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world)}
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0", "LOCAL_WORLD_SIZE": str(world)}
        os.environ |= {"TORCHELASTIC_RUN_ID": "killed_runs"}
    os.environ.pop("PL_GLOBAL_SEED", None)

    import torch
    from matplotlib.figure import Figure

    from igcl_lightning.cli import main

    Figure.savefig = save_blank
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    sys.exit(main(words) or 0)


def end(processes, number):
    """Send all processes a signal, and return their exit codes."""
    for process in processes:
        if process.is_alive():
            os.kill(process.pid, number)
    return wait(processes)


def wait(processes, timeout=GRACE):
    """Wait until all processes have ended, and return their exit codes; kills those that go on for too long."""
    deadline = time.monotonic() + timeout
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
    late = [process for process in processes if process.is_alive()]
    for process in late:
        process.kill()
        process.join()
    assert not late, "a process went on"
    return [process.exitcode for process in processes]


def wait_for_saves(processes, saves, timeout=300.0):
    """Wait until so many checkpoints have been written since now, or a process has ended."""
    deadline, seen, before = time.monotonic() + timeout, 0, newest()
    while seen < saves and all(process.is_alive() for process in processes) and time.monotonic() < deadline:
        if newest() != before:
            before, seen = newest(), seen + 1
        time.sleep(0.005)


def newest():
    """Return name and time of the newest checkpoint."""
    found = [(path.stat().st_mtime_ns, str(path)) for path in CHECKPOINTS.glob("*.ckpt") if path.exists()]
    return max(found, default=None)


def resuming():
    """Return the options that continue from the newest checkpoint."""
    found = newest()
    return [] if found is None else ["--ckpt_path", found[1]]


TERMINATED = 128 + signal.SIGTERM
