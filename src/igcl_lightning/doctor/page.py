"""HTML page of findings, suspicious rows and sample pairs."""

from __future__ import annotations

import base64
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pyarrow.compute as pc
from PIL import Image

from igcl_lightning.data.images import decode_grey, encode_grey
from igcl_lightning.data.preparing.report_text import report_text
from igcl_lightning.data.store import graph_of
from igcl_lightning.doctor.examination import Examination
from igcl_lightning.doctor.findings import Finding, Place, counted, share
from igcl_lightning.doctor.label_checks import Prevalence, prevalences
from igcl_lightning.doctor.looks import evenly
from igcl_lightning.doctor.opened import OpenedStore
from igcl_lightning.graphs.schema import LABEL_ID
from igcl_lightning.quiet import progress_bar
from igcl_lightning.reports.html import write_html
from igcl_lightning.reports.page import report_part

MAX_SIDE = 320
"""Largest side of a picture, in pixels."""

MAX_SUSPECTS = 8
"""Number of pictures per finding."""

PATH = re.compile(r"(?<![\w.:/~<-])~?(?:/[^\s/:;,'\"()<>]+)+/?")
"""An absolute path in a message; not the rest of an address, a relative path or a fraction."""


def write_page(path: Path, examination: Examination, samples: int) -> None:
    """Write the page with `samples` pairs, evenly spaced; an earlier file stays until the new one is complete."""
    opened = examination.store
    store = opened if opened is not None and opened.num_rows else None
    folders = [Path(examination.target), *([opened.path] if opened else [])]
    found = _without_folders(examination.findings, folders)
    values: dict[str, Any] = {
        "name": " with ".join(dict.fromkeys(folder.resolve().name for folder in folders)),
        "counted": counted(found),
        "findings": found,
        "most": MAX_SUSPECTS,
        "suspects": _suspects(store, found) if store else (),
        "labels": _labels(prevalences(store)) if store else {},
        "splits": list(store.tables) if store else (),
        "counts": _entities(store) if store else {},
        "shown": share(min(samples, store.num_rows), store.num_rows) if store else "",
        "pairs": _pairs(store, samples) if store else (),
    }
    write_html(path, "doctor.html", **values)


def _without_folders(findings: list[Finding], paths: list[Path]) -> list[Finding]:
    """Return the findings, with files named as seen from the folders of `paths`: a page is passed on."""
    near = {str(folder) for path in paths for folder in (path.parent, path.resolve().parent)}
    near = (near | {str(Path.cwd()), str(Path.home())}) - {".", "/"}
    longest_first = "|".join(re.escape(folder) for folder in sorted(near, key=len, reverse=True))
    within = re.compile(rf"(?<![\w./~-])(?:{longest_first})/")
    return [
        replace(finding, message=PATH.sub(lambda match: PurePath(match[0]).name, within.sub("", finding.message)))
        for finding in findings
    ]


def _suspects(store: OpenedStore, findings: list[Finding]) -> Iterator[tuple[Finding, list[dict[str, Any]]]]:
    for finding in findings:
        if finding.rows and finding.level != "ok":
            yield finding, [_suspect(place, store.record(place)) for place in finding.rows[:MAX_SUSPECTS]]


def _suspect(place: Place, record: dict[str, Any]) -> dict[str, Any]:
    return {"place": place, "patient": record["patient"], "picture": _picture(record)}


def _labels(table: list[Prevalence]) -> dict[str, dict[str, Prevalence]]:
    """Return the prevalence by label and split."""
    labels: dict[str, dict[str, Prevalence]] = defaultdict(dict)
    for row in table:
        labels[row.label][row.split] = row
    return dict(labels)


def _entities(store: OpenedStore) -> Counter[str]:
    """Return the number of entities of all rows by label."""
    number = pc.drop_null(pc.list_flatten(pc.struct_field(store.column("graph"), "label"))).to_numpy()
    return Counter({label: int((number == index).sum()) for label, index in LABEL_ID.items()})


def _pairs(store: OpenedStore, samples: int) -> Iterator[dict[str, Any]]:
    if samples > 0:
        places = store.places(evenly(store.num_rows, samples), most=samples)
        for place in progress_bar(places, desc="page", unit="pair", leave=False):
            yield _pair(store, place)


def _pair(store: OpenedStore, place: Place) -> dict[str, Any]:
    """Return an image, its facts, and its report with marked entities and the graph."""
    record = store.record(place)
    sections = {name: text for name, text in record["report"].items() if text}
    pair = {"id": place.row, "picture": _picture(record), "facts": _facts(place, record), "sections": sections}
    try:
        options = store.manifest.get("options", {})
        text = report_text(sections, options.get("sections", "both"), options.get("headers"))
        return pair | {"error": "", "report": report_part(place.row, graph_of(record["graph"]), text).html}
    except (ValueError, IndexError, TypeError) as error:
        return pair | {"error": str(error)}


def _facts(place: Place, record: dict[str, Any]) -> dict[str, str]:
    labels = record.get("labels") or {}
    facts = {"split": place.split} | {name: record[name] for name in ("study", "patient", "view", "age", "sex")}
    for name, wanted in (("present", 1), ("absent", 0), ("not known", None)):
        facts[name] = ", ".join(label for label, value in labels.items() if value == wanted)
    facts["flags"] = ", ".join(record.get("flags") or [])
    shown = {name: value for name, value in facts.items() if value not in (None, "")}
    return {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in shown.items()}


def _picture(record: dict[str, Any]) -> str:
    """Return the image as JPEG in base64, encoded again: the page has pixels but no bytes of a file; "" if broken."""
    try:
        pixels = decode_grey((record["image"] or {}).get("bytes") or b"")
    except Exception:  # the page also shows broken images
        return ""
    image = Image.fromarray(pixels)
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    return base64.b64encode(encode_grey(np.asarray(image), lossless=False)).decode()
