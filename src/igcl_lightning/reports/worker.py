"""Work on a chunk of raw records, which runs in worker processes: read the reports, parse them, encode the graphs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache

from igcl_lightning.graphs.parser import ReportGraphParser, SpacyReportParser
from igcl_lightning.graphs.radgraph import to_radgraph
from igcl_lightning.graphs.schema import ReportGraph
from igcl_lightning.reports.files import reason
from igcl_lightning.reports.sources import Item, Report, ReportSource


def graph_lines(source: ReportSource, parser: ReportGraphParser | None, items: list[Item]) -> tuple[bytes, str]:
    """Return the graphs of a chunk in RadGraph's layout, one line of JSON per report.

    Returns:
        The lines up to the first report that cannot be read, and the error message of that report or "".
    """
    reports, fault = _read(source, items)
    lines = [
        json.dumps({"id": report.id, **to_radgraph(graph)}, ensure_ascii=False) + "\n"
        for report, graph in _parse(reports, parser)
    ]
    # JSON may escape half a surrogate pair, which UTF-8 cannot hold.
    return "".join(lines).encode("utf-8", "replace"), fault


def parse_items(
    source: ReportSource, parser: ReportGraphParser | None, items: list[Item]
) -> Iterator[tuple[Report, ReportGraph]]:
    """Return reports with their graphs.

    Raises:
        ValueError: a record holds no report.
    """
    reports, fault = _read(source, items)
    if fault:
        raise ValueError(fault)
    return _parse(reports, parser)


@cache
def default_parser() -> SpacyReportParser:
    """Return this process's parser; building one takes longer than parsing many reports."""
    return SpacyReportParser()


def parser_version(parser: ReportGraphParser | None) -> str:
    """Return the version of a parser or of the default one, built here and not in the main process."""
    return (parser or default_parser()).version


def _read(source: ReportSource, items: list[Item]) -> tuple[list[Report], str]:
    """Return the reports up to the first that cannot be read, and the error message of that one or ""."""
    reports = []
    for item in items:
        try:
            reports.append(source.read(item))
        except ValueError as error:
            return reports, str(error)
        except OSError as error:
            return reports, f"{source.place(item.where)}: {reason(error)}"
    return reports, ""


def _parse(reports: list[Report], parser: ReportGraphParser | None) -> Iterator[tuple[Report, ReportGraph]]:
    graphs = (parser or default_parser()).parse_many([report.text for report in reports])
    return zip(reports, graphs, strict=True)
