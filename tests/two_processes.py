"""Two real processes that work together, as `torchrun` would start them; for tests.

    ranks = run_on_two([["fit", "--config", "probe/linear.yaml", ...], ["test", ...]], tmp_path)
    assert ranks[0].statuses == ranks[1].statuses == [0, 0], ranks[0].stderr

    call_on_two(work, argument)  # `work(rank, argument)` in each, with a process group

Each command has a process group of its own: a collective that only one of the processes reaches fails there, and not in
a later command. Both processes are forked from a server that has imported torch and this package, once for all tests of
a session, and has done nothing else; an import of all that takes eight seconds.
"""

import multiprocessing
import os
import socket
import time
import traceback
from pathlib import Path
from typing import NamedTuple

from PIL import Image

WORLD = 2
PROCESSES = ["--trainer.devices", str(WORLD)]
ON_TWO = ["--trainer.accelerator", "cpu", "--trainer.strategy", "ddp"]
BLANK = "TESTS_DRAW_BLANK_PICTURES"
"""Environment variable with which the processes save every figure as a single pixel."""

GRACE = 15.0
"""Seconds that a process may go on after the other one has ended."""

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["pytest", "igcl_lightning.training.lightning_cli"])


class Rank(NamedTuple):
    """What became of one of the processes.

    `statuses` are those of `cli.main`, None for a command that was not reached or not finished. A process stops at the
    first status that is not 0: afterwards the two might wait for each other.
    """

    statuses: list[int | None]
    stderr: str


def run_on_two(commands, folder, timeout=600.0, cwd=None):
    """Run each list of words through `cli.main` in two processes, with `ON_TWO` before its options and
    `PROCESSES` behind them; return both ranks.

    Both processes are killed after `timeout` seconds, and one of them `GRACE` seconds after the other has ended.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    commands = [[words[0], *ON_TWO, *map(str, words[1:]), *PROCESSES] for words in commands]
    run(folder, timeout, cwd, run_commands, commands, folder)
    return [outcome(rank, folder, len(commands)) for rank in range(WORLD)]


def call_on_two(work, *args, folder, timeout=300.0):
    """Call `work(rank, *args)` in two processes that form a gloo group; raise `RuntimeError` if one of them fails.

    `work` is a function of a module; `folder` keeps what the processes write on stderr.
    """
    folder = Path(folder)
    codes = run(folder, timeout, None, in_a_group, free_port(), work, *args)
    if any(codes):
        texts = [(folder / f"stderr-{rank}").read_text(errors="replace") for rank in range(WORLD)]
        raise RuntimeError(f"exit codes {codes}\n" + "\n".join(texts))


def run(folder, timeout, cwd, work, *args):
    """Call `work(rank, *args)` in two processes and return their exit codes."""
    processes = [
        SERVER.Process(target=begin, args=(rank, environment_of(rank), folder, cwd, work, args))
        for rank in range(WORLD)
    ]
    for process in processes:
        process.start()
    try:
        wait(processes, time.monotonic() + timeout)
    finally:
        for process in processes:
            process.kill()
            process.join()
    return [process.exitcode for process in processes]


def environment_of(rank):
    environment = os.environ | {
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
    return environment


def begin(rank, environment, folder, cwd, work, args):
    """What each of the two processes does: become one that was started with this environment, then work."""
    import torch
    from lightning.fabric.utilities import rank_zero_only

    for number, name in enumerate(("stdout", "stderr"), start=1):
        with (folder / f"{name}-{rank}").open("w") as file:
            os.dup2(file.fileno(), number)
    os.environ.clear()
    os.environ.update(environment)
    if cwd is not None:
        os.chdir(cwd)
    if BLANK in environment:
        from matplotlib.figure import Figure

        Figure.savefig = save_blank
    torch.set_num_threads(1)
    rank_zero_only.rank = rank  # Lightning reads the environment when it is imported
    work(rank, *args)


def save_blank(figure, path, format="png", **_):
    if format == "svg":
        path.write('<svg width="1pt" height="1pt" viewBox="0 0 1 1" version="1.1"/>')
        return
    Image.new("L", (1, 1)).save(path, "PNG")


def in_a_group(rank, port, work, *args):
    from torch import distributed

    os.environ["MASTER_PORT"] = str(port)
    distributed.init_process_group("gloo")
    work(rank, *args)
    distributed.destroy_process_group()


def wait(processes, deadline):
    """Wait until both have ended, or the deadline; one that is alone has `GRACE` seconds left."""
    while (running := [process for process in processes if process.is_alive()]) and time.monotonic() < deadline:
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


def run_commands(rank, commands, folder):
    from torch import distributed

    from igcl_lightning.cli import main

    for number, words in enumerate(commands):
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
