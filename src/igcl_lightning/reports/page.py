"""HTML page of reports with marked entities and drawn graphs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from igcl_lightning.graphs.drawing import CLOSING
from igcl_lightning.graphs.parser import ReportGraphParser
from igcl_lightning.graphs.schema import Entity, ReportGraph
from igcl_lightning.graphs.shapes import drawings
from igcl_lightning.reports.html import render, write_html
from igcl_lightning.reports.sources import Item, ReportSource
from igcl_lightning.reports.worker import parse_items


class Part(NamedTuple):
    """HTML of one report, and the number of its entities by label."""

    html: str
    labels: Counter[str]


def report_parts(source: ReportSource, parser: ReportGraphParser | None, items: list[Item]) -> list[Part]:
    """Return the parts of a chunk of raw records, in a worker process; raises `ValueError` if one holds no report."""
    parsed, fault = parse_items(source, parser, items)
    if fault:
        raise ValueError(fault)
    return [report_part(report.id, graph, report.text) for report, graph in parsed]


def report_part(report_id: str | int, graph: ReportGraph, text: str) -> Part:
    """Return one report as HTML: its id, its text with marked entities, its graph.

    Args:
        report_id: id of the report.
        graph: its graph.
        text: the text as written, which is shown if its words are the graph's.
    """
    html = render("report.html", id=report_id, pieces=list(marked(graph, text)), drawings=drawings(graph))
    return Part(html, Counter(entity.label for entity in graph.entities))


def write_page(path: Path, parts: Sequence[Part], *, source: str, parser: str, total: int) -> None:
    """Write the page; an old one stays until the new one is complete.

    Args:
        path: path of the page.
        parts: reports on the page.
        source: name of their source.
        parser: version of the parser.
        total: number of reports in the source.
    """
    counts = sum((part.labels for part in parts), Counter[str]())
    which = f"{total:,} report{'s' * (total != 1)}"
    which = which if len(parts) == total else f"the first {len(parts):,} of {which}"
    reports = [part.html for part in parts]
    write_html(path, "graphs.html", name=source, which=which, parser=parser, counts=counts, reports=reports)


def marked(graph: ReportGraph, text: str) -> Iterator[tuple[str, Entity | None]]:
    """Yield the text of a report in pieces, each with its entity or None.

    The text keeps its spaces and lines if its words are the graph's; otherwise the words of the graph are shown.
    """
    words = graph.words
    starts = _word_starts(text, words)
    if starts is None:
        text, starts = _running_text(words)
    done = 0
    for entity in sorted(graph.entities, key=lambda entity: entity.start):
        start, end = max(starts[entity.start], done), starts[entity.end] + len(words[entity.end])
        if start < end:  # otherwise it lies within the one before
            yield text[done:start], None
            yield text[start:end], entity
            done = end
    yield text[done:], None


def _word_starts(text: str, words: Sequence[str]) -> list[int] | None:
    """Return the start of each word in a text, None if it has other words than these."""
    starts, end = [], 0
    for word in words:
        while text[end : end + 1].isspace():
            end += 1
        if not text.startswith(word, end):
            return None
        starts.append(end)
        end += len(word)
    return None if text[end:].strip() else starts


def _running_text(words: Sequence[str]) -> tuple[str, list[int]]:
    """Return the words as a text, without spaces before closing punctuation, and the start of each word."""
    text, starts = "", []
    for word in words:
        text += " " if text and word not in CLOSING else ""
        starts.append(len(text))
        text += word
    return text, starts
