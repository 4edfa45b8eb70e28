"""Work on a chunk of raw records, which runs in worker processes: read the reports, parse them, encode the graphs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.language import is_english
from igcl_lightning.graphs.parser import ReportGraphParser, default_parser
from igcl_lightning.graphs.radgraph import to_radgraph
from igcl_lightning.graphs.schema import ReportGraph
from igcl_lightning.reports.files import reason
from igcl_lightning.reports.sources import Item, Report, ReportSource

FOREIGN = "not English"


def graph_lines(
    source: ReportSource, parser: ReportGraphParser | None, items: list[Item]
) -> tuple[bytes, str, Counter[str]]:
    """Return the graphs of a chunk in RadGraph's layout, one line of JSON per report.

    Returns:
        The lines up to the first report that cannot be read, the error message of that report or "", and the reports
        of which `noticed` says something, counted by it.
    """
    reports, fault = parse_items(source, parser, items)
    parsed = list(reports)
    said = Counter(what for report, _ in parsed for what in noticed(report))
    lines = [json.dumps({"id": report.id, **to_radgraph(graph)}, ensure_ascii=False) + "\n" for report, graph in parsed]
    # JSON may escape half a surrogate pair, which UTF-8 cannot encode.
    return "".join(lines).encode("utf-8", "replace"), fault, said


def noticed(report: Report) -> list[str]:
    """Return what a user is told of a report: `FOREIGN`, and its encoding."""
    return [*([] if is_english(report.text) else [FOREIGN]), *filter(None, [report.encoding])]


def parse_items(
    source: ReportSource, parser: ReportGraphParser | None, items: list[Item]
) -> tuple[Iterator[tuple[Report, ReportGraph]], str]:
    """Return reports with their graphs up to the first that cannot be read, and the error message of that one or ""."""
    reports, fault = [], ""
    for item in items:
        try:
            reports.append(source.read(item))
        except (IgclError, ValueError, OSError) as error:
            fault = f"{source.place(item.where)}: {reason(error)}" if isinstance(error, OSError) else str(error)
            break
    graphs = (parser or default_parser()).parse_many([report.text for report in reports])
    return zip(reports, graphs, strict=True), fault


def parser_version(parser: ReportGraphParser | None) -> str:
    """Return the version of a parser, by default of the one that is built here and not in the main process."""
    return (parser or default_parser()).version
