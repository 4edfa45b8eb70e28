"""Findings, suspicious rows and sample pairs as one HTML file without scripts or external resources."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from igcl_lightning.atomic import replacing
from igcl_lightning.data.images import decode_grey, encode_grey
from igcl_lightning.data.store import graph_of
from igcl_lightning.doctor.examination import Examination
from igcl_lightning.doctor.findings import Finding, Place, counted
from igcl_lightning.doctor.label_checks import Prevalence, prevalences
from igcl_lightning.doctor.looks import evenly
from igcl_lightning.doctor.opened import OpenedStore
from igcl_lightning.graphs.schema import LABEL_ID
from igcl_lightning.reports.page import label_rules, report_part

MAX_SIDE = 320
"""Largest side of a picture, in pixels."""

MAX_SUSPECTS = 8
"""Number of pictures per finding."""

STYLE = """\
:root { color-scheme: light dark; --paper: #fff; --ink: #222; --soft: #5c5c5c; --line: #ddd; --panel: #f6f6f6;
  --error: #b3261e; --warning: #8a5a00; --ok: #2e6b34; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181b; --ink: #e6e6e6; --soft: #a5a5a5; --line: #3a3d42;
  --panel: #202327; --error: #ff8a80; --warning: #ffca6a; --ok: #8fd69a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 2rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { margin: 0; font-size: 1.5rem; overflow-wrap: anywhere; }
h2 { margin: 2.5rem 0 .75rem; font-size: 1.2rem; }
h3 { margin: 1.5rem 0 0; font-size: 1rem; }
.soft { margin: .25rem 0 .75rem; color: var(--soft); overflow-wrap: anywhere; }
.findings { display: grid; grid-template-columns: auto auto 1fr; gap: .35rem 1rem; margin: 1rem 0; }
.findings p { margin: 0; overflow-wrap: anywhere; }
.error, .warning, .ok { font-weight: 600; }
.error { color: var(--error); } .warning { color: var(--warning); } .ok { color: var(--ok); }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; width: 10rem; }
figcaption { color: var(--soft); font-size: .8125rem; line-height: 1.35; overflow-wrap: anywhere; }
img, .broken { display: block; width: 100%; border-radius: 4px; background: #000; }
.broken { display: grid; place-items: center; aspect-ratio: 1; padding: 1rem; color: #bbb; font-size: .875rem;
  text-align: center; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .75rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { padding-left: 0; text-align: left; }
.pair { display: grid; grid-template-columns: 16rem minmax(0, 1fr); gap: 1.25rem; margin-top: 1.25rem; padding: 1.25rem;
  border: 1px solid var(--line); border-radius: 8px; break-inside: avoid; }
.pair h2 { margin: 0 0 .5rem; font-size: 1rem; overflow-wrap: anywhere; }
.pair dl { display: grid; grid-template-columns: auto minmax(0, 1fr); gap: .15rem .75rem; margin: .75rem 0 0;
  font-size: .8125rem; line-height: 1.4; }
.pair dt { color: var(--soft); }
.pair dd { margin: 0; overflow-wrap: anywhere; }
.entities { line-height: 2.1 !important; overflow-wrap: anywhere; }
mark { padding: .1em .35em; border: 1.5px solid; border-radius: 5px; color: #222; -webkit-box-decoration-break: clone;
  box-decoration-break: clone; }
mark small { margin-left: .15em; color: #6b5200; font-style: italic; }
.graph { margin-top: .75rem; padding: .75rem; border-radius: 6px; background: #fff; color: #222; overflow-x: auto; }
.graph svg { display: block; max-width: none; font-family: "DejaVu Sans", Verdana, sans-serif; }
.none { color: var(--soft); font-style: italic; }
details { margin-top: .75rem; font-size: .875rem; }
details p { margin: .35rem 0; white-space: pre-wrap; overflow-wrap: anywhere; }
@media (min-width: 44rem) { .graph svg { max-width: 100%; height: auto; } }
@media (max-width: 44rem) { .pair { grid-template-columns: minmax(0, 1fr); padding: 1rem; }
  .findings { grid-template-columns: auto 1fr; } .findings p { grid-column: 1 / -1; margin-bottom: .5rem; }
  figure { width: calc(50% - .5rem); } }
"""


def write_page(path: Path, examination: Examination, samples: int) -> None:
    """Write the page with `samples` pairs, evenly spaced; an earlier file stays until the new one is complete."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", errors="replace") as file:
        file.writelines(_page(examination, samples))


def _page(examination: Examination, samples: int) -> Iterator[str]:
    title = escape(examination.target)
    yield (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}: doctor</title>\n<style>\n{STYLE}{label_rules(LABEL_ID)}</style>\n</head>\n<body>\n"
        f'<h1>{title}</h1>\n<p class="soft">{counted(examination.findings)}</p>\n{_findings(examination.findings)}'
    )
    if examination.store is not None and examination.store.num_rows:
        yield from _suspects(examination.store, examination.findings)
        yield _labels(prevalences(examination.store), list(examination.store.tables))
        yield from _pairs(examination.store, samples)
    yield "</body>\n</html>\n"


def _findings(findings: Sequence[Finding]) -> str:
    lines = (
        f'<span class="{finding.level}">{finding.level}</span><span>{escape(finding.check)}</span>'
        f"<p>{escape(finding.message)}</p>\n"
        for finding in findings
    )
    return f'<div class="findings">\n{"".join(lines)}</div>\n'


def _suspects(store: OpenedStore, findings: Sequence[Finding]) -> Iterator[str]:
    shown = [finding for finding in findings if finding.rows and finding.level != "ok"]
    if shown:
        yield "<h2>Rows to look at</h2>\n"
    for finding in shown:
        yield f'<h3 class="{finding.level}">{escape(finding.check)}</h3>\n'
        yield f'<p class="soft">{escape(finding.message)}</p>\n'
        pictures = (_figure(store, place) for place in finding.rows[:MAX_SUSPECTS])
        yield f'<div class="pictures">\n{"".join(pictures)}</div>\n'


def _figure(store: OpenedStore, place: Place) -> str:
    record = store.record(place)
    caption = f"{escape(place.row)}<br>{place.split}, patient {escape(str(record['patient']))}"
    return f"<figure>{_picture(record)}<figcaption>{caption}</figcaption></figure>\n"


def _labels(table: Sequence[Prevalence], splits: Sequence[str]) -> str:
    """Return a table of labels: positive and known rows by split."""
    if not table:
        return ""
    cells = {(row.label, row.split): row for row in table}
    head = "".join(f"<th>{split}: positive</th><th>known</th>" for split in splits)
    html = f'<h2>Labels</h2>\n<div class="scroll"><table>\n<tr><th>label</th>{head}</tr>\n'
    for label in dict.fromkeys(row.label for row in table):
        counts = "".join(_prevalence(cells.get((label, split))) for split in splits)
        html += f"<tr><td>{escape(label)}</td>{counts}</tr>\n"
    return f"{html}</table></div>\n"


def _prevalence(row: Prevalence | None) -> str:
    if row is None:
        return "<td></td><td></td>"
    share = f" ({row.share:.1%})" if row.known else ""
    return f"<td>{row.positive:,}{share}</td><td>{row.known:,}</td>"


def _pairs(store: OpenedStore, samples: int) -> Iterator[str]:
    if samples < 1:
        return
    places = store.places(evenly(store.num_rows, samples), most=samples)
    yield f'<h2>Sample pairs</h2>\n<p class="soft">{len(places):,} of {store.num_rows:,}, evenly drawn</p>\n'
    for place in tqdm(places, desc="page", unit="pair", leave=False):
        yield _pair(place, store.record(place))


def _pair(place: Place, record: dict[str, Any]) -> str:
    """Return an image beside its report with marked entities and the graph."""
    labels = record.get("labels") or {}
    facts = {"split": place.split} | {name: record[name] for name in ("study", "patient", "view", "age", "sex")}
    facts["present"] = ", ".join(name for name, value in labels.items() if value == 1)
    facts["absent"] = ", ".join(name for name, value in labels.items() if value == 0)
    facts["flags"] = ", ".join(record.get("flags") or [])
    shown = {name: value for name, value in facts.items() if value not in (None, "")}
    texts = {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in shown.items()}
    terms = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in texts.items())
    return f'<section class="pair"><div>{_picture(record)}<dl>{terms}</dl></div>\n{_report(place, record)}</section>\n'


def _report(place: Place, record: dict[str, Any]) -> str:
    try:
        article = report_part(place.row, graph_of(record["graph"])).html
    except (ValueError, IndexError, TypeError) as error:
        article = f'<h2>{escape(place.row)}</h2>\n<p class="none">no graph to draw: {escape(str(error))}</p>'
    texts = [f"<p><b>{escape(name)}</b> {escape(text)}</p>" for name, text in record["report"].items() if text]
    written = f"<details><summary>as written</summary>{''.join(texts)}</details>" if texts else ""
    return f"<div>{article}{written}</div>"


def _picture(record: dict[str, Any]) -> str:
    """Return the image, encoded again, so that the page has pixels but no bytes of a file."""
    try:
        pixels = decode_grey((record["image"] or {}).get("bytes") or b"")
    except Exception:  # the page also shows broken images
        return '<div class="broken">cannot be decoded</div>'
    image = Image.fromarray(pixels)
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    data = base64.b64encode(encode_grey(np.asarray(image), lossless=False)).decode()
    return f'<img alt="radiograph" loading="lazy" src="data:image/jpeg;base64,{data}">'
