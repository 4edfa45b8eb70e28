"""The work of `igcl graphs`: parse reports into a file of graphs in several processes, resuming interrupted runs."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.parser import ReportGraphParser
from igcl_lightning.processes import Map, chunks, ordered_map
from igcl_lightning.quiet import progress_bar
from igcl_lightning.reports.partial_file import PartialFile
from igcl_lightning.reports.sources import ReportSource
from igcl_lightning.reports.worker import FOREIGN, graph_lines, noticed, parser_version

CHUNK = 200
"""Reports per task of a process."""

PAGE_CHUNK = 5
"""Reports drawn per task; a drawing takes as long as hundreds of graphs."""

PAGE_LIMIT = 200
"""Reports on a page."""


@dataclass(frozen=True)
class Summary:
    """Number of graphs in the file and of those an interrupted run had written, names of skipped LFS pointers.

    `foreign` counts the reports that are not English, `encodings` those of each encoding other than UTF-8.
    """

    reports: int
    resumed: int = 0
    pointers: Sequence[str] = ()
    foreign: int = 0
    encodings: Mapping[str, int] = field(default_factory=dict)


def parse_reports(
    source: ReportSource,
    out: Path,
    parser: ReportGraphParser | None = None,
    *,
    jobs: int = 1,
    page: Path | None = None,
    page_limit: int = PAGE_LIMIT,
    overwrite: bool = False,
    warn: Callable[[str], object] = warnings.warn,
) -> Summary:
    """Parse reports and write their graphs, one line per report: `{"id": ..., "text": ..., "entities": {...}}`.

    `out` appears when complete. The same call resumes an interrupted one (`PartialFile`) and writes the same bytes.

    Args:
        source: reports to parse; see `open_source`.
        out: path of the file.
        parser: default: `SpacyReportParser`. Any other is pickled with each chunk of reports if `jobs` is more than 1.
        jobs: number of processes; 1 parses in this one.
        page: path of an HTML page of the first reports and their graphs, or None.
        page_limit: number of reports on the page.
        overwrite: replace existing files.
        warn: called with a message when an unfinished file is discarded.

    Raises:
        FileNotFoundError: the folder of `out` or `page` does not exist.
        ValueError: a report cannot be read; the message names file and line, row or member.
        IgclError: an option is invalid, a file exists already, the disk is full, or a process died.
    """
    _check(source.path, out, page, {"--jobs": (jobs, 1), "--html-limit": (page_limit, 0)}, overwrite)
    survey = source.survey()
    most = jobs if survey.total is None else max(1, -(-survey.total // CHUNK))
    with ordered_map(min(jobs, most), with_torch=parser is not None) as run:
        version = next(run(parser_version, [parser] * jobs))  # one call per process starts them all
        options = {name: value for name, value in asdict(source).items() if name != "path"}
        with PartialFile(out, {"source": survey.identity, **options, "parser": version}, warn) as unfinished:
            resumed, said = _parse(source, parser, run, unfinished, survey.total)
            unfinished.finish()
        if page is not None:
            _draw(source, parser, run, page, page_limit, unfinished.lines, version)
    return Summary(unfinished.lines, resumed, survey.pointers, said.pop(FOREIGN, 0), said)


def _check(source: Path, out: Path, page: Path | None, numbers: dict[str, tuple[int, int]], overwrite: bool) -> None:
    """Check options and paths before the work starts."""
    for option, (value, least) in numbers.items():
        if value < least:
            raise IgclError(f"{option} is {value}, not at least {least}")
    for path in filter(None, (out, page)):
        if not path.parent.is_dir():
            raise FileNotFoundError(f"{path.parent}: no such folder; create it first")
        if path.is_dir():
            raise IgclError(f"{path}: is a folder; name a file")
        if path.exists() and path.samefile(source):
            raise IgclError(f"{path}: is the input file; choose another output file")
        if path.exists() and not overwrite:
            raise IgclError(f"{path}: exists already; choose another name, or give --overwrite")
    if page is not None and page.resolve() == out.resolve():
        raise IgclError(f"{page}: is both --out and --html; give two files")


def _parse(
    source: ReportSource, parser: ReportGraphParser | None, run: Map, unfinished: PartialFile, total: int | None
) -> tuple[int, Counter[str]]:
    """Append the graphs of all reports that the unfinished file lacks.

    Returns:
        The number of graphs that it had, and what was `noticed` of all reports, counted.
    """
    resumed, items = unfinished.lines, iter(source.items())
    said = Counter(what for item in islice(items, resumed) for what in noticed(source.read(item)))
    with progress_bar(desc="reports", unit=" reports", total=total, initial=resumed) as bar:
        for content, fault, others in run(partial(graph_lines, source, parser), chunks(items, CHUNK)):
            unfinished.append(content)
            said += others
            bar.update(unfinished.lines - bar.n)
            if fault:
                raise ValueError(fault)
    return resumed, said


def _draw(
    source: ReportSource, parser: ReportGraphParser | None, run: Map, path: Path, limit: int, total: int, version: str
) -> None:
    """Write the page of the first reports."""
    from igcl_lightning.reports.page import report_parts, write_page  # imports matplotlib, which most runs do not need

    parts = []
    items = islice(source.items(), limit)
    with progress_bar(desc="page", unit=" reports", total=min(limit, total)) as bar:
        for drawn in run(partial(report_parts, source, parser), chunks(items, PAGE_CHUNK)):
            parts += drawn
            bar.update(len(drawn))
    write_page(path, parts, source=source.path.name, parser=version, total=total)
