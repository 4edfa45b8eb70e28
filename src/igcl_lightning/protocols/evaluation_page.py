"""`report.html` of an evaluation, and its figures as files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from igcl_lightning.data.store import Store
from igcl_lightning.evaluation.many_rows import MOST_METHODS
from igcl_lightning.evaluation.plots import save_png
from igcl_lightning.evaluation.report_page import Section, drawings_of, page_sections, published_section
from igcl_lightning.evaluation.results import Record
from igcl_lightning.evaluation.svg import as_svg
from igcl_lightning.protocols.contestants import PAGE, PLOTS, Contestant
from igcl_lightning.protocols.pictures import Examples
from igcl_lightning.protocols.protocol import Protocol, methods_of, seeds_of
from igcl_lightning.protocols.run_record import RunRecord, run_record
from igcl_lightning.reports.html import write_html

NO_DEVICE = "For research only; this is not a medical device."

PHANTOM = "phantom"
"""Source of a store of no patients."""


class Results(NamedTuple):
    """All records, the scores by protocol with columns as in `predictions.SCHEMA`, and the split that is shown."""

    records: Sequence[Record]
    predictions: Mapping[str, pd.DataFrame]
    split: str


class Page(NamedTuple):
    """What the page shows beside the results: the words of the command, and images and reports of patients or not."""

    words: Sequence[str] = ()
    images: bool = False


def write_page(
    results: Results,
    protocols: Sequence[Protocol],
    tables: Mapping[str, Mapping[Contestant, pd.DataFrame]],
    stores: Mapping[str, Path],
    out: Path,
    page: Page,
) -> None:
    """Write the page, and its figures as PNG into a folder beside it.

    Images of a store that is not of phantoms are those of patients: they are on the page only if asked for.

    Args:
        results: what the protocols reported.
        protocols: the protocols.
        tables: what is measured, by protocol and contestant.
        stores: path of the store of each protocol.
        out: folder of the page.
        page: what it shows beside the results.
    """
    opened = {protocol.name: Store(stores[protocol.name]) for protocol in protocols}
    private = any(store.manifest.get("source", {}).get("name") != PHANTOM for store in opened.values())
    pictured = any(type(each).examples is not Protocol.examples for each in protocols)
    shown = page.images or not private
    examples = list(_examples(protocols, tables, opened)) if shown else []
    names = dict.fromkeys(store.path.resolve().name for store in opened.values())
    contestants = dict.fromkeys(each for own in tables.values() for each in own)
    published = [name for each in protocols if (name := getattr(each, "published", None))]
    write_sections(
        out,
        f"Evaluation: {_named(methods_of(contestants))}",
        f"{results.split.capitalize()} rows of {' and '.join(names)}.",
        [*page_sections(*results, seeds_of(contestants)), *filter(None, [published_section(published)])],
        run_record(page.words, list(contestants), protocols, stores),
        examples=examples,
        whose="patients of the store" if private else "synthetic phantoms, not of patients",
        pictures_left_out=pictured and not shown,
    )


def write_sections(
    out: Path,
    name: str,
    about: str,
    sections: Sequence[Section],
    run: RunRecord,
    *,
    examples: Sequence[Examples] = (),
    whose: str = "",
    pictures_left_out: bool = False,
) -> None:
    """Write sections as a page, and their figures as PNG.

    Args:
        out: folder of the page.
        name: heading of the page.
        about: line below it.
        sections: the sections.
        run: what was run.
        examples: pictures.
        whose: whose images and reports these are.
        pictures_left_out: whether there would be pictures if they were asked for.
    """
    drawings = list(drawings_of(sections))
    for each in drawings:
        save_png(each.figure, out / PLOTS / f"{each.name}.png")
    write_html(
        out / PAGE,
        "evaluation.html",
        name=name,
        about=f"{about} {NO_DEVICE}".strip(),
        sections=sections,
        svg={each.name: as_svg(each.figure, each.name, f"{each.title}. {each.caption}") for each in drawings},
        examples=examples,
        reports=any(each.reports for each in examples),
        whose=whose,
        pictures_left_out=pictures_left_out,
        run=run,
    )


def _named(methods: Sequence[str]) -> str:
    """Return the names of methods, or the first of many with their number."""
    if len(methods) > MOST_METHODS:
        return f"{methods[0]} and {len(methods) - 1} others"
    return ", ".join(methods)


def _examples(
    protocols: Sequence[Protocol],
    tables: Mapping[str, Mapping[Contestant, pd.DataFrame]],
    stores: Mapping[str, Store],
) -> Iterator[Examples]:
    for protocol in protocols:
        yield from protocol.examples(tables[protocol.name], stores[protocol.name])
