"""Results of an evaluation: `predictions.parquet`, `results.json`, the tables, the plots and the page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa

from igcl_lightning.closing import say
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.overview import format_overview, write_overview
from igcl_lightning.evaluation.plots import save_png
from igcl_lightning.evaluation.predictions import SCHEMA, write_predictions
from igcl_lightning.evaluation.report_page import drawings_of, page_sections
from igcl_lightning.evaluation.results import Record, write_results
from igcl_lightning.evaluation.svg import as_svg
from igcl_lightning.protocols.contestants import FINE_TUNED, PAGE, PLOTS, PREDICTIONS, Contestant
from igcl_lightning.protocols.pictures import Examples
from igcl_lightning.protocols.protocol import Protocol
from igcl_lightning.protocols.run_record import run_record
from igcl_lightning.reports.html import write_html

ALONE = 2
"""Protocols whose own tables tell all."""

PHANTOM = "phantom"
"""Source of a store of no patients."""


class Measured(NamedTuple):
    """The files of the parts by contestant, the names of contestants that lack some, and who was not asked and why."""

    files: Mapping[Contestant, Sequence[Path]]
    missing: Sequence[str]
    left_out: Mapping[str, str]


class Page(NamedTuple):
    """What the page shows beside the results: the words of the command, and images and reports of patients or not."""

    words: Sequence[str] = ()
    images: bool = False


def write_report(
    protocols: Sequence[Protocol],
    measured: Mapping[str, Measured],
    stores: Mapping[str, Path],
    out: Path,
    page: Page = Page(),
) -> None:
    """Write the results of all protocols and print their tables; contestants that lack some parts are named."""
    for name in (PREDICTIONS, FINE_TUNED, "table.md", PAGE):
        (out / name).unlink(missing_ok=True)  # what is not written now would be of another evaluation
    shutil.rmtree(out / PLOTS, ignore_errors=True)
    tables: dict[str, dict[Contestant, pd.DataFrame]] = {}
    records: list[Record] = []
    for protocol in protocols:
        files, missing, left_out = measured[protocol.name]
        say(f"\n{protocol.name}\n")
        if missing:
            say(f"not finished: {', '.join(missing)}\n")
        for name, reason in left_out.items():
            say(f"not asked: {name}, which {reason}\n")
        if not files:
            continue
        own = {each: pd.concat(map(_read, paths), ignore_index=True) for each, paths in files.items()}
        found, text = protocol.report(own, Store(stores[protocol.name]))
        say(text)
        records += found
        tables[protocol.name] = own
    predictions = {protocol.name: _scored(tables.get(protocol.name, {})) for protocol in protocols}
    for name in dict.fromkeys(protocol.scores for protocol in protocols):
        scored = [each for protocol in protocols if protocol.scores == name for each in predictions[protocol.name]]
        if scored:
            write_predictions(pd.concat(scored, ignore_index=True), out / name)
    write_results(records, out / "results.json")
    if not records:
        return
    split = "test" if any(record["split"] == "test" for record in records) else str(records[0]["split"])
    write_overview(records, out / "table.md", split)
    if len(protocols) > ALONE:
        say(f"\nall together: {format_overview(records, split)}")
    whole = {name: pd.concat(scored, ignore_index=True) for name, scored in predictions.items() if scored}
    asked = [protocol for protocol in protocols if protocol.name in tables]
    _write_page(records, whole, split, asked, tables, stores, out, page)


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise IgclError(f"{path}: damaged; delete it, and run the command again") from error


def _scored(tables: Mapping[Contestant, pd.DataFrame]) -> list[pd.DataFrame]:
    """Return the tables that are scores of labels."""
    return [table for table in tables.values() if set(SCHEMA.names) <= set(table.columns)]


def _write_page(
    records: Sequence[Record],
    predictions: Mapping[str, pd.DataFrame],
    split: str,
    protocols: Sequence[Protocol],
    tables: Mapping[str, Mapping[Contestant, pd.DataFrame]],
    stores: Mapping[str, Path],
    out: Path,
    page: Page,
) -> None:
    """Write the page, and its figures as PNG beside it."""
    sections = page_sections(records, predictions, split)
    for drawing in drawings_of(sections):
        save_png(drawing.figure, out / PLOTS / f"{drawing.name}.png")
    opened = {protocol.name: Store(stores[protocol.name]) for protocol in protocols}
    private = any(store.manifest["source"].get("name") != PHANTOM for store in opened.values())
    shown = page.images or not private
    examples = list(_examples(protocols, tables, opened)) if shown else []
    contestants = dict.fromkeys(each for own in tables.values() for each in own)
    write_html(
        out / PAGE,
        "evaluation.html",
        name=f"Evaluation of {next(iter(contestants)).method} on {next(iter(opened.values())).path.name}",
        about="For research only. This is not a medical device.",
        sections=sections,
        svg={each.name: as_svg(each.figure, each.name, f"{each.title}. {each.caption}") for each in drawings_of(sections)},
        examples=examples,
        reports=any(picture.text for _, _, pictures in examples for picture in pictures),
        whose="patients of the store" if private else "synthetic phantoms, not of patients",
        pictures_left_out=not shown,
        run=run_record(page.words, list(contestants), protocols, stores),
    )


def _examples(
    protocols: Sequence[Protocol],
    tables: Mapping[str, Mapping[Contestant, pd.DataFrame]],
    stores: Mapping[str, Store],
) -> Iterator[Examples]:
    for protocol in protocols:
        yield from protocol.examples(tables[protocol.name], stores[protocol.name])
