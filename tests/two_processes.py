"""Two real processes that run commands together, as `torchrun` would start them; for tests.

    ranks = run_on_two([["fit", "--config", "probe/linear.yaml", ...], ["test", ...]], tmp_path)
    assert ranks[0].statuses == ranks[1].statuses == [0, 0], ranks[0].stderr

One pair runs a whole list of commands, so that ten seconds of imports are paid once. Each command has a process group
of its own: a collective that only one of the processes reaches fails there, and not in a later command.
"""

import json
import os
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import NamedTuple

WORLD = 2
ON_TWO = ["--trainer.accelerator", "cpu", "--trainer.devices", str(WORLD), "--trainer.strategy", "ddp"]
GRACE = 15.0
"""Seconds that a process may go on after the other one has ended."""


class Rank(NamedTuple):
    """What became of one of the processes.

    `statuses` are those of `cli.main`, None for a command that was not reached or not finished. A process stops at the
    first status that is not 0: afterwards the two might wait for each other.
    """

    statuses: list[int | None]
    stderr: str


def run_on_two(commands, folder, timeout=600.0, cwd=None):
    """Run each list of words through `cli.main` in two processes, with `ON_TWO` before its options; return both ranks.

    Both processes are killed after `timeout` seconds, and one of them `GRACE` seconds after the other has ended.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "commands.json").write_text(json.dumps([[words[0], *ON_TWO, *map(str, words[1:])] for words in commands]))
    processes = [start(rank, folder, cwd) for rank in range(WORLD)]
    try:
        wait(processes, time.monotonic() + timeout)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return [outcome(rank, folder, len(commands)) for rank in range(WORLD)]


def start(rank, folder, cwd):
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "OMP_NUM_THREADS": "1",
        "MASTER_ADDR": "127.0.0.1",
        "WORLD_SIZE": str(WORLD),
        "LOCAL_WORLD_SIZE": str(WORLD),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "GROUP_RANK": "0",
        "TORCHELASTIC_RUN_ID": "two_processes",
    }
    for name in ("PL_GLOBAL_SEED", "PYTEST_CURRENT_TEST"):
        environment.pop(name, None)
    with (folder / f"stderr-{rank}").open("w") as stderr, (folder / f"stdout-{rank}").open("w") as stdout:
        command = [sys.executable, __file__, str(folder)]
        return subprocess.Popen(command, env=environment, cwd=cwd, stdout=stdout, stderr=stderr)


def wait(processes, deadline):
    """Wait until both have ended, or the deadline; one that is alone has `GRACE` seconds left."""
    while (running := [process for process in processes if process.poll() is None]) and time.monotonic() < deadline:
        if len(running) < len(processes):
            deadline = min(deadline, time.monotonic() + GRACE)
            processes = running
        time.sleep(0.1)


def outcome(rank, folder, num_commands):
    path = folder / f"statuses-{rank}"
    statuses = [int(line) for line in path.read_text().split()] if path.exists() else []
    lacking = [None] * (num_commands - len(statuses))
    return Rank([*statuses, *lacking], (folder / f"stderr-{rank}").read_text(errors="replace"))


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def run_commands(folder, rank):
    """What each of the two processes does; a status is written as soon as it is known."""
    from torch import distributed

    from igcl_lightning.cli import main

    for number, words in enumerate(json.loads((folder / "commands.json").read_text())):
        os.environ["MASTER_PORT"] = shared_port(folder / f"port-{number}", rank)
        try:
            status = main(words) or 0
        except Exception:  # a fault that nobody foresaw is a status too, its traceback on stderr
            traceback.print_exc()
            status = 1
        with (folder / f"statuses-{rank}").open("a") as file:
            file.write(f"{status}\n")
        if status:
            break
        if distributed.is_initialized():
            distributed.destroy_process_group()


def shared_port(path, rank):
    """Return a port that is free now: the first process finds it, the other reads it from a file."""
    if rank == 0:
        path.with_suffix(".tmp").write_text(str(free_port()))
        path.with_suffix(".tmp").rename(path)
    while not path.exists():
        time.sleep(0.05)
    return path.read_text()


if __name__ == "__main__":
    run_commands(Path(sys.argv[1]), int(os.environ["RANK"]))
