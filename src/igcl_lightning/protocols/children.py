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

from igcl_lightning.errors import IgclError, UsageError, message_of

POLL = 0.2  # seconds
GRACE = 30.0
"""Seconds that a process has to save its state when it is asked to end."""

Work = TypeVar("Work")


def start_child(words: Sequence[str], log: Path, jobs: int) -> subprocess.Popen[bytes]:
    """Start Python with these words; its output goes to `log`, and it has one thread if several run at once."""
    threads = {"OMP_NUM_THREADS": "1"} if jobs > 1 else {}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:  # it may be that of another process, which does the same work
        return subprocess.Popen(
            [sys.executable, *words],
            stdin=subprocess.PIPE,  # closes when this process ends, which ends the child
            stdout=output,
            stderr=output,
            env={**os.environ, **threads},
        )


def run_children(
    works: Iterable[Work],
    jobs: int,
    start: Callable[[Work], subprocess.Popen[bytes]],
    ended: Callable[[Work, int], None],
    unwanted: Callable[[Work], bool] = lambda work: False,
) -> None:
    """Run each work in a process, some at once.

    Args:
        works: what to do; the next is taken when a place is free.
        jobs: number of places.
        start: starts the process of a work.
        ended: called with a work and the status of its process.
        unwanted: called again and again; whether a running process is asked to end (SIGTERM).
    """
    waiting, more = iter(works), True
    running: dict[subprocess.Popen[bytes], Work] = {}
    try:
        while more or running:
            while more and len(running) < jobs:
                for work in waiting:
                    running[start(work)] = work
                    break
                else:
                    more = False
            for process, work in [*running.items()]:
                if process.poll() is not None:
                    ended(running.pop(process), process.returncode)
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
