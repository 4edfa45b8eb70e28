"""Processes that turn raw records into lines of graphs; the main process only reads and writes bytes."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from types import TracebackType
from typing import NamedTuple, Protocol, TypeVar

from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.parser import ReportGraphParser, SpacyReportParser
from igcl_lightning.graphs.radgraph import to_radgraph
from igcl_lightning.reports.sources import Item, Report, ReportSource

CHUNKS_IN_FLIGHT = 3
"""Chunks that wait or run for each process: enough to keep it busy, few enough to keep memory flat."""

T = TypeVar("T")
Work = Callable[[ReportSource, ReportGraphParser, list[Item]], T]
"""What is done with a chunk of raw records; a function of a module, so that other processes find it."""


class Lines(NamedTuple):
    """Graphs of a chunk.

    Attributes:
        content: one line of JSON a report, up to the first that cannot be read.
        number: of lines.
        fault: what is wrong with that report, or "".
    """

    content: bytes
    number: int
    fault: str


class Workers(Protocol):
    """Where chunks are worked on; a context that ends what it began.

    Attributes:
        version: of the parser.
    """

    version: str

    def map(self, work: Work[T], chunks: Iterable[list[Item]]) -> Iterator[T]:
        """Yield what becomes of each chunk, in order.

        Raises:
            IgclError: a process died.
        """

    def __enter__(self) -> Workers: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def graph_lines(source: ReportSource, parser: ReportGraphParser, items: list[Item]) -> Lines:
    """Return the graphs of a chunk in RadGraph's layout, as they are written to the file."""
    reports, fault = read_reports(source, items)
    graphs = parser.parse_many([report.text for report in reports])
    lines = [
        json.dumps({"id": report.id, **to_radgraph(graph)}, ensure_ascii=False)
        for report, graph in zip(reports, graphs, strict=True)
    ]
    # JSON may escape half a surrogate pair, which UTF-8 cannot hold.
    return Lines("".join(f"{line}\n" for line in lines).encode("utf-8", "replace"), len(lines), fault)


def read_reports(source: ReportSource, items: list[Item]) -> tuple[list[Report], str]:
    """Return the reports up to the first that cannot be read, and what is wrong with that one, or ""."""
    reports = []
    for item in items:
        try:
            reports.append(source.read(item))
        except ValueError as error:
            return reports, str(error)
        except OSError as error:
            return reports, f"{source.place(item.where)}: {(error.strerror or str(error)).lower()}"
    return reports, ""


class ThisProcess:
    """Works on chunks here, one after the other."""

    def __init__(self, source: ReportSource, parser: ReportGraphParser | None) -> None:
        self._source = source
        self._parser = parser or SpacyReportParser()
        self.version = self._parser.version

    def map(self, work: Work[T], chunks: Iterable[list[Item]]) -> Iterator[T]:
        """Yield what becomes of each chunk, in order."""
        return (work(self._source, self._parser, chunk) for chunk in chunks)

    def __enter__(self) -> ThisProcess:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Processes:
    """Works on chunks in other processes, each of which builds the parser once.

    Args:
        jobs: number of processes.
        source: what reads the raw records.
        parser: None for `SpacyReportParser`; any other must be picklable.

    Raises:
        IgclError: a process died before it could start.
    """

    def __init__(self, jobs: int, source: ReportSource, parser: ReportGraphParser | None) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._jobs = jobs
        self._pool = ProcessPoolExecutor(jobs, mp_context=spawn, initializer=_start, initargs=(source, parser))
        try:
            # As many calls as processes, so that the pool starts all of them now.
            versions = [self._pool.submit(_version) for _ in range(jobs)]
            self.version = self._result(versions[0])
        except BaseException:
            self.__exit__()
            raise

    def map(self, work: Work[T], chunks: Iterable[list[Item]]) -> Iterator[T]:
        """Yield what becomes of each chunk, in order.

        Raises:
            IgclError: a process died.
        """
        waiting: deque[Future[T]] = deque()
        for chunk in chunks:
            if len(waiting) >= self._jobs * CHUNKS_IN_FLIGHT:
                yield self._result(waiting.popleft())
            waiting.append(self._submit(work, chunk))
        while waiting:
            yield self._result(waiting.popleft())

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _submit(self, work: Work[T], chunk: list[Item]) -> Future[T]:
        try:
            return self._pool.submit(_run, work, chunk)
        except BrokenProcessPool as error:
            raise _died() from error

    @staticmethod
    def _result(future: Future[T]) -> T:
        try:
            return future.result()
        except BrokenProcessPool as error:
            raise _died() from error


def _died() -> IgclError:
    return IgclError(
        "--jobs: a worker process died, perhaps for want of memory; what is done is kept: "
        "run the same command again, with fewer --jobs"
    )


_here: tuple[ReportSource, ReportGraphParser]
"""What a worker process reads and parses with."""


def _start(source: ReportSource, parser: ReportGraphParser | None) -> None:
    """Make a process ready for its chunks."""
    global _here
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process is interrupted as well, and says so once
    threading.Thread(target=end_with_parent, daemon=True).start()
    if parser is None:
        leave_torch_out()
        parser = SpacyReportParser()
    _here = source, parser


def leave_torch_out() -> None:
    """Keep torch out of this process: spaCy imports it where it finds it, in three seconds and 700 MB for nothing."""
    sys.modules.setdefault("torch", None)  # type: ignore[arg-type]  # None is how an import is refused


def end_with_parent() -> None:
    """End this process when the main one was killed: the pool would wait for chunks for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _version() -> str:
    return _here[1].version


def _run(work: Work[T], chunk: list[Item]) -> T:
    return work(*_here, chunk)
