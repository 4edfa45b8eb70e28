"""The work behind `igcl graphs`: reports -> a file of their graphs, in several processes, resumed where it ended."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.parser import ReportGraphParser
from igcl_lightning.reports.sources import Item, ReportSource, open_source
from igcl_lightning.reports.workers import Processes, ThisProcess, Workers, graph_lines

CHUNK = 200
"""Reports that travel to a process together."""

PAGE_CHUNK = 5
"""Reports of a page that are drawn together; a drawing takes as long as hundreds of graphs."""

PAGE_LIMIT = 200
BLOCK = 1 << 20


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
        reports: number of graphs in the file.
        resumed: how many of them an interrupted run had left.
        pointers: Git-LFS pointers that stood where a report was expected, and were left out.
        first_pointer: name of the first of them.
    """

    reports: int
    resumed: int = 0
    pointers: int = 0
    first_pointer: str = ""


def parse_reports(
    source: Path,
    out: Path,
    parser: ReportGraphParser | None = None,
    *,
    jobs: int = 1,
    sections: str = "both",
    id_column: str | None = None,
    text_column: str | None = None,
    page: Path | None = None,
    page_limit: int = PAGE_LIMIT,
    warn: Callable[[str], object] = warnings.warn,
) -> Summary:
    """Parse reports and write their graphs in RadGraph's layout.

    What is done so far stands in `.NAME.partial` beside `out`, and what it was made from in `.NAME.partial.json`. The
    same call goes on after the last complete line, and the file is the same in every byte. A report that cannot be
    read stops the run.

    Args:
        source: lines of JSON, a CSV file, a folder of `.txt` or of Open-i's `.xml`, or an archive of the latter; see
            `report_sources`.
        out: one line a report, `{"id": ..., "text": ..., "entities": {...}}`; appears only when all is written.
        parser: `SpacyReportParser` by default; with several jobs another one must be picklable.
        jobs: processes that parse; 1 for this one.
        sections: "findings", "impression" or "both"; a text that has neither is parsed whole.
        id_column: column or key of the id, by default "id" or "uid".
        text_column: column or key of the text, by default "text", "findings" and "impression".
        page: where to write a page of the first reports and their graphs, or None.
        page_limit: number of reports on the page.
        warn: called with a line when an unfinished file is thrown away.

    Returns:
        What was done.

    Raises:
        FileNotFoundError: there is no `source`, or no folder for `out` or `page`.
        ValueError: a report cannot be read; the message names file and line, row or member.
        IgclError: an option or the source makes no sense, the disk is full, or a process died.
    """
    reports = open_source(source, sections, id_column, text_column)
    _check(source, out, page, {"--jobs": (jobs, 1), "--html-limit": (page_limit, 0)})
    survey = reports.survey()
    with _workers(jobs, reports, parser, survey.total) as workers:
        work = {
            "source": survey.identity,
            "sections": sections,
            "id_column": id_column,
            "text_column": text_column,
            "parser": workers.version,
        }
        with PartialFile(out, work, warn) as partial:
            resumed = partial.lines
            _parse(reports, workers, partial, survey.total)
            partial.finish()
        if page is not None:
            _draw(reports, workers, page, page_limit, partial.lines)
    return Summary(partial.lines, resumed, survey.pointers[1], survey.pointers[0])


def _check(source: Path, out: Path, page: Path | None, numbers: dict[str, tuple[int, int]]) -> None:
    """Find before the work what would fail after it."""
    for option, (value, least) in numbers.items():
        if value < least:
            raise IgclError(f"{option} is {value}, not at least {least}")
    for path in filter(None, (out, page)):
        if not path.parent.is_dir():
            raise FileNotFoundError(f"{path.parent}: no such folder, make it first")
        if path.is_dir():
            raise IgclError(f"{path}: is a folder, name a file")
        if path.exists() and path.samefile(source):
            raise IgclError(f"{path}: holds the reports; name another file to write")
    if page is not None and page.resolve() == out.resolve():
        raise IgclError(f"{page}: named by --out and --html; name two files")


def _workers(jobs: int, source: ReportSource, parser: ReportGraphParser | None, total: int | None) -> Workers:
    """Return this process or others, no more than there are chunks."""
    if jobs == 1:
        return ThisProcess(source, parser)
    chunks = jobs if total is None else -(-total // CHUNK)
    return Processes(max(min(jobs, chunks), 1), source, parser)


def _parse(source: ReportSource, workers: Workers, partial: PartialFile, total: int | None) -> None:
    """Append the graphs of all reports that the unfinished file does not hold."""
    from tqdm import tqdm

    chunks = _chunks(islice(source.items(), partial.lines, None), CHUNK)
    with tqdm(desc="reports", unit=" reports", total=total, initial=partial.lines) as bar:
        for lines in workers.map(graph_lines, chunks):
            partial.append(lines.content, lines.number)
            bar.update(lines.number)
            if lines.fault:
                raise ValueError(lines.fault)


def _draw(source: ReportSource, workers: Workers, path: Path, limit: int, total: int) -> None:
    """Write the page of the first reports."""
    from tqdm import tqdm

    from igcl_lightning.reports.page import report_parts, write_page

    chunks = _chunks(islice(source.items(), limit), PAGE_CHUNK)
    with tqdm(desc="page", unit=" reports", total=min(limit, total)) as bar:
        parts = []
        for drawn in workers.map(report_parts, chunks):
            parts += drawn
            bar.update(len(drawn))
    write_page(path, parts, source=source.path.name, parser=workers.version, total=total)


def _chunks(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    while chunk := list(islice(items, size)):
        yield chunk


class PartialFile:
    """The lines of an unfinished file, kept beside it with a note of what they were made from.

    Lines of the same work are gone on with, after the last complete one; those of another are thrown away.

    Args:
        out: the finished file.
        work: what the lines depend on, as JSON has it.
        warn: called with a line when lines are thrown away.

    Attributes:
        lines: number of complete lines.

    Raises:
        IgclError: the disk is full, or the folder cannot be written to.
    """

    def __init__(self, out: Path, work: dict[str, Any], warn: Callable[[str], object]) -> None:
        self._out = out
        self._path = out.with_name(f".{out.name}.partial")
        self._note = out.with_name(f".{out.name}.partial.json")
        with self._complaints():
            if self._path.exists() and not self._is_of(work):
                warn(f"{self._path}: made from other reports, with other options or by another parser; starting over")
                self._path.unlink()
            if not self._path.exists():
                self._note.write_text(json.dumps(work, indent=1) + "\n", encoding="utf-8")
            # Without a buffer, so that nothing is left to be written when the disk is full.
            self._file = self._path.open("a+b", buffering=0)
            self.lines = self._cut()

    def __enter__(self) -> PartialFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, content: bytes, count: int) -> None:
        """Write lines.

        Raises:
            IgclError: the disk is full, or the file cannot be written to.
        """
        rest = memoryview(content)
        with self._complaints():
            while rest:
                rest = rest[self._file.write(rest) :]
        self.lines += count

    def finish(self) -> None:
        """Give the file its name.

        Raises:
            IgclError: that cannot be done.
        """
        with self._complaints():
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._path, self._out)
            self._note.unlink(missing_ok=True)

    def _is_of(self, work: dict[str, Any]) -> bool:
        try:
            return bool(json.loads(self._note.read_text("utf-8")) == work)
        except (OSError, ValueError):
            return False

    def _cut(self) -> int:
        """Cut a torn last line off, and return the number of lines."""
        count = end = place = 0
        self._file.seek(0)
        while block := self._file.read(BLOCK):
            count += block.count(b"\n")
            end = place + block.rfind(b"\n") + 1 if b"\n" in block else end
            place += len(block)
        self._file.truncate(end)
        return count

    @contextmanager
    def _complaints(self) -> Iterator[None]:
        """Say what stays when a write fails."""
        try:
            yield
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise IgclError(
                f"{self._path}: {reason}; what is done is kept: mend it and run the same command again"
            ) from error
