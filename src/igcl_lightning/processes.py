"""Map work over items in order, in this process or in a pool of processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import connection
from typing import Any, TypeVar

from igcl_lightning.errors import IgclError

IN_FLIGHT = 4
"""Items queued or running per process: enough to keep it busy, with bounded memory."""

T = TypeVar("T")
R = TypeVar("R")
Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]


@contextmanager
def ordered_map(jobs: int, *, with_torch: bool = False) -> Iterator[Map]:
    """Yield a lazy, order-preserving `map` over `jobs` processes.

    Args:
        jobs: number of processes; 1 runs everything in this one.
        with_torch: whether the work needs torch, whose import costs each process seconds and hundreds of megabytes.

    Raises:
        IgclError: a process died; raised by the iterator that `map` returns.
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


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of `size` items; the last may be shorter."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


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
            "--jobs: a worker process died, perhaps out of memory; finished work is kept: run the same command again "
            "with fewer --jobs (igcl prepare: also with --resume)"
        ) from error


def _start(with_torch: bool) -> None:
    """Prepare a new process for its work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process handles Ctrl-C and shuts the pool down
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if not with_torch:
        # spaCy and datasets import torch if it is installed; None makes the import fail.
        sys.modules.setdefault("torch", None)  # type: ignore[arg-type]


def _end_with_parent() -> None:
    """End this process when the main one is killed; the pool would wait for work forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
