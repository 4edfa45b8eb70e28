"""Work on items in order, here or in other processes, none of which is waited for in vain."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from igcl_lightning.errors import IgclError
from igcl_lightning.reports.workers import end_with_parent, leave_torch_out

IN_FLIGHT = 4
"""Batches that wait or run for each process: enough to keep it busy, few enough to keep memory flat."""

T = TypeVar("T")
R = TypeVar("R")
Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]


@contextmanager
def in_order(jobs: int, with_torch: bool = False) -> Iterator[Map]:
    """Give a `map` that works in `jobs` processes, lazily and in order.

    Args:
        jobs: 1 for this process.
        with_torch: whether the work needs torch, which costs a process seconds and hundreds of megabytes.

    Raises:
        IgclError: a process died, in the iterator that `map` returns.
    """
    if jobs == 1:
        yield map
        return
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=spawn, initializer=_start, initargs=(with_torch,))
    try:
        yield lambda work, items: _map(pool, work, items, jobs * IN_FLIGHT)
    finally:
        pool.shutdown(cancel_futures=True)


def _map(pool: ProcessPoolExecutor, work: Callable[[T], R], items: Iterable[T], in_flight: int) -> Iterator[R]:
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            if len(waiting) >= in_flight:
                yield waiting.popleft().result()
            waiting.append(pool.submit(work, item))
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise IgclError(
            "--jobs: a worker process died, perhaps for want of memory; what is done is kept: "
            "give the same command with --resume, and fewer --jobs"
        ) from error


def _start(with_torch: bool) -> None:
    """Make a process ready for its work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process is interrupted as well, and says so once
    threading.Thread(target=end_with_parent, daemon=True).start()
    if not with_torch:
        leave_torch_out()
