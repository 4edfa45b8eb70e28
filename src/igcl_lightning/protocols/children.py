"""Work in processes of its own, some at once, each with a log; every process ends with the one that started it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import torch

from igcl_lightning.errors import IgclError, UsageError, message_of

POLL = 0.2  # seconds
GRACE = 30.0
"""Seconds that a process has to save its state when it is asked to end."""

Work = TypeVar("Work")


VISIBLE = "CUDA_VISIBLE_DEVICES"


def start_child(words: Sequence[str], log: Path, jobs: int, place: int = 0) -> subprocess.Popen[bytes]:
    """Start Python with these words; its output goes to `log`.

    If several run at once, it has one thread, and those of the GPUs that are its share (`shared_devices`).

    Args:
        words: what follows the name of the interpreter.
        log: file of its output.
        jobs: processes that run at once.
        place: which of these it is, from 0.
    """
    shared: dict[str, str] = {}
    if jobs > 1:
        shared["OMP_NUM_THREADS"] = "1"
        if devices := shared_devices(visible_devices(), jobs, place):
            shared[VISIBLE] = ",".join(devices)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:  # it may be that of another process, which does the same work
        return subprocess.Popen(
            [sys.executable, *words],
            stdin=subprocess.PIPE,  # closes when this process ends, which ends the child
            stdout=output,
            stderr=output,
            env={**os.environ, **shared},
        )


def visible_devices() -> list[str]:
    """Return the names of the GPUs that this process sees, as `CUDA_VISIBLE_DEVICES` has them."""
    named = os.environ.get(VISIBLE)
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    return [str(number) for number in range(torch.cuda.device_count())]


def shared_devices(devices: Sequence[str], jobs: int, place: int) -> list[str]:
    """Return the devices of one of `jobs` processes: as many for each, or one that several share in turn."""
    if len(devices) <= jobs:
        return [devices[place % len(devices)]] if devices else []
    each = len(devices) // jobs
    return [*devices[place * each : (place + 1) * each]]


def run_children(
    works: Iterable[Work],
    jobs: int,
    start: Callable[[Work, int], subprocess.Popen[bytes]],
    ended: Callable[[Work, int], None],
    unwanted: Callable[[Work], bool] = lambda work: False,
) -> None:
    """Run each work in a process, some at once.

    Args:
        works: what to do; the next is taken when a place is free.
        jobs: number of places.
        start: starts the process of a work in a place, numbered from 0.
        ended: called with a work and the status of its process.
        unwanted: called again and again; whether a running process is asked to end (SIGTERM).
    """
    waiting, more = iter(works), True
    running: dict[subprocess.Popen[bytes], tuple[Work, int]] = {}
    try:
        while more or running:
            while more and len(running) < jobs:
                for work in waiting:
                    place = min(set(range(jobs)) - {taken for _, taken in running.values()})
                    running[start(work, place)] = work, place
                    break
                else:
                    more = False
            for process, (work, _) in [*running.items()]:
                if process.poll() is not None:
                    running.pop(process)
                    ended(work, process.returncode)
                elif unwanted(work):
                    process.terminate()
            time.sleep(POLL)
    finally:
        _end(running)


def _end(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """Ask processes to end, and kill those that have not after `GRACE` seconds."""
    for process in processes:
        process.terminate()
    until = time.monotonic() + GRACE
    for process in processes:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()


def why_failed(log: Path, status: int) -> str:
    """Return the last line of a child's log, or the signal that ended it, and where the log is."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "no output")
    reason = f"ended by signal {-status}" if status < 0 else last
    return f"{reason} (see {log})"


def run_as_child(work: Callable[[], None]) -> None:
    """Do the work of a child in its process; an error is the last line that is written."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work()
    except UsageError as error:
        sys.exit(error.message)
    except (IgclError, ValueError, OSError) as error:
        if not isinstance(error, IgclError):
            sys.excepthook(*sys.exc_info())
        sys.exit(message_of(error))


def _end_with_parent() -> None:
    """End this process when the one that started it ends, however it does: its end of the pipe closes."""
    os.read(0, 1)  # not `sys.stdin`, whose lock would be held when the interpreter ends
    os._exit(1)
