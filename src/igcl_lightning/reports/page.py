"""HTML page of reports with marked entities and drawn graphs, in one file without scripts."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from igcl_lightning.atomic import replacing
from igcl_lightning.graphs.drawing import CLOSING, LABEL_STYLES, draw_graph, label_style
from igcl_lightning.graphs.parser import ReportGraphParser
from igcl_lightning.graphs.schema import LABEL_ID, ReportGraph
from igcl_lightning.reports.sources import Item, ReportSource
from igcl_lightning.reports.worker import parse_items

LINES = {"-": "solid", "--": "dashed", ":": "dotted"}
"""CSS names of matplotlib line styles."""

ENTITY = '<mark class="{css}" title="{label}">{text}{note}</mark>'
"""displaCy's template of an entity."""

STYLE = """\
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 60rem; padding: 2rem 1.25rem 4rem; background: #fff; color: #222;
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { margin: 0; font-size: 1.5rem; overflow-wrap: anywhere; }
h2 { margin: 0 0 .6rem; font-size: 1rem; font-weight: 600; overflow-wrap: anywhere; }
header { margin-bottom: 2rem; }
header p { margin: .25rem 0 1rem; color: #555; }
ul { display: flex; flex-wrap: wrap; gap: .5rem; margin: 0; padding: 0; list-style: none; font-size: .875rem; }
article { margin-top: 1.25rem; padding: 1rem 1.25rem; border: 1px solid #ddd; border-radius: 8px;
  break-inside: avoid; }
.entities { max-width: 48rem; line-height: 2.1 !important; }
mark, li { padding: .1em .35em; border: 1.5px solid; border-radius: 5px; color: inherit; }
mark { -webkit-box-decoration-break: clone; box-decoration-break: clone; }
mark small { margin-left: .15em; color: #6b5200; font-style: italic; }
.graph { margin-top: .75rem; padding-top: .75rem; border-top: 1px solid #eee; overflow-x: auto; }
.graph svg { display: block; max-width: none; font-family: "DejaVu Sans", Verdana, sans-serif; }
.none { color: #777; font-style: italic; }
"""


class Part(NamedTuple):
    """HTML of one report, and the number of its entities by label."""

    html: str
    labels: Counter[str]


def report_parts(source: ReportSource, parser: ReportGraphParser | None, items: list[Item]) -> list[Part]:
    """Return the parts of a chunk of raw records, in a worker process; raises `ValueError` if one holds no report."""
    parsed, fault = parse_items(source, parser, items)
    if fault:
        raise ValueError(fault)
    return [report_part(report.id, graph) for report, graph in parsed]


def report_part(report_id: str | int, graph: ReportGraph) -> Part:
    """Return one report as HTML: its id, its text with marked entities, its graph."""
    text = _marked(graph) if graph.text else '<p class="none">no text</p>'
    picture = f'<div class="graph">{_svg(graph)}</div>' if graph.entities else '<p class="none">no entities</p>'
    html = f"<article>\n<h2>{escape(str(report_id))}</h2>\n{text}\n{picture}\n</article>\n"
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
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", errors="replace") as file:
        file.write(_head(source, parser, len(parts), total, counts))
        file.writelines(part.html for part in parts)
        file.write("</body>\n</html>\n")


def _head(source: str, parser: str, shown: int, total: int, counts: Counter[str]) -> str:
    """Return the page up to its first report."""
    which = f"{total:,} report{'s' * (total != 1)}"
    which = which if shown == total else f"the first {shown:,} of {which}"
    labels = [label for label in LABEL_ID if label in LABEL_STYLES or counts[label]]
    legend = "\n".join(
        f'<li class="{label}">{label_style(label).meaning} ({label}): {counts[label]:,}</li>' for label in labels
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(source)}: graphs</title>\n<style>\n{STYLE}{label_rules(LABEL_ID)}</style>\n</head>\n"
        f"<body>\n<header>\n<h1>{escape(source)}</h1>\n"
        f"<p>{which}, read by {escape(parser)}; entities by label:</p>\n<ul>\n{legend}\n</ul>\n</header>\n"
    )


def label_rules(labels: Iterable[str]) -> str:
    """Return the style of marked entities as CSS, one rule per label."""
    styles = {label: label_style(label) for label in labels}
    return "".join(
        f".{label} {{ background: {style.fill}; border-color: {style.edge}; border-style: {LINES[style.line]}; }}\n"
        for label, style in styles.items()
    )


def _marked(graph: ReportGraph) -> str:
    """Return the text of a report with its entities marked; uncertain ones show their hedge."""
    from spacy import displacy

    text, starts = _running_text(graph.words)
    entities = [
        {
            "start": starts[entity.start],
            "end": starts[entity.end] + len(graph.words[entity.end]),
            "label": entity.label,
            "params": {"css": entity.label, "note": f" <small>{entity.hedge}</small>" if entity.hedge else ""},
        }
        for entity in graph.entities
    ]
    document = {"text": text, "ents": entities}
    return str(displacy.render(document, style="ent", manual=True, jupyter=False, options={"template": ENTITY}))


def _running_text(words: Sequence[str]) -> tuple[str, list[int]]:
    """Return the words as a text, without spaces before closing punctuation, and the start of each word."""
    text, starts = "", []
    for word in words:
        text += " " if text and word not in CLOSING else ""
        starts.append(len(text))
        text += word
    return text, starts


def _svg(graph: ReportGraph) -> str:
    """Return the drawing of a graph as inline SVG."""
    import matplotlib as mpl

    file = StringIO()
    # Words stay text: searchable, and a fraction of the size of outlines.
    with mpl.rc_context({"svg.fonttype": "none"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # the fonts of the browser are used
        figure = draw_graph(graph, legend=False)
        for artist in figure.axes[0].get_children():
            artist.set_clip_on(False)
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    svg = file.getvalue()
    return _lean(svg[svg.index("<svg") :])


def _lean(svg: str) -> str:
    """Remove ids, which would clash on a page, and round coordinates to a tenth."""
    head, _, body = svg.partition("</defs>")
    pieces = re.split(r"(>[^<]*</text>)", body)
    pieces[::2] = (_lean_tags(piece) for piece in pieces[::2])
    return head.partition("<defs>")[0].strip() + "".join(pieces)


def _lean_tags(tags: str) -> str:
    """Shorten tags; the font is set once, in `STYLE`."""
    tags = re.sub(r' id="[^"]*"| clip-path="[^"]*"| transform="rotate\(-?0 [^"]*"| font-family:[^;"]*;|</?g>', "", tags)
    tags = re.sub(r"<g\b[^>]*>", "", tags)
    tags = re.sub(r"(\d+\.\d)\d+", r"\1", tags)
    return re.sub(r"\s+", " ", tags).replace("; ", ";").replace(": ", ":")
