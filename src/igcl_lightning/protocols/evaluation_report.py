"""Results of an evaluation: `predictions.parquet`, `results.json`, the tables; `evaluation_page` has the page."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa

from igcl_lightning.closing import say
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.overview import format_overview, shown_split, write_overview
from igcl_lightning.evaluation.predictions import SCHEMA, write_predictions
from igcl_lightning.evaluation.results import Record, write_results
from igcl_lightning.protocols.contestants import FINE_TUNED, PAGE, PLOTS, PREDICTIONS, Contestant
from igcl_lightning.protocols.evaluation_page import Page, Results, write_page
from igcl_lightning.protocols.protocol import Protocol, ScoringProtocol
from igcl_lightning.protocols.shortcuts import audit_store

ALONE = 2
"""Protocols whose own tables tell all."""


class Measured(NamedTuple):
    """The files of the parts by contestant, the names of contestants that lack some, and who was not asked and why."""

    files: Mapping[Contestant, Sequence[Path]]
    missing: Sequence[str]
    left_out: Mapping[str, str]


def write_report(
    protocols: Sequence[Protocol],
    measured: Mapping[str, Measured],
    stores: Mapping[str, Path],
    out: Path,
    page: Page,
    cost: tuple[Sequence[Record], str] = ((), ""),
) -> None:
    """Write the results of all protocols and print their tables; contestants that lack some parts are named.

    Args:
        protocols: the protocols.
        measured: what is measured, by protocol.
        stores: path of the store of each protocol.
        out: folder to write into.
        page: what the page shows beside the results.
        cost: what pretraining costs, as records and as text.
    """
    for name in (PREDICTIONS, FINE_TUNED, "table.md", PAGE):
        (out / name).unlink(missing_ok=True)  # what is not written now would be of another evaluation
    shutil.rmtree(out / PLOTS, ignore_errors=True)
    tables: dict[str, dict[Contestant, pd.DataFrame]] = {}
    told: set[str] = set()  # published numbers that two protocols share
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
        below = protocol.below()
        say("\n\n".join(filter(None, [text, "" if below in told else below])))
        told.add(below)
        records += found
        tables[protocol.name] = own
    records += _audited(protocols, measured, stores) + _told(cost)
    predictions = {protocol.name: _scored(tables.get(protocol.name, {})) for protocol in protocols}
    for name in dict.fromkeys(protocol.scores for protocol in protocols):
        scored = [each for protocol in protocols if protocol.scores == name for each in predictions[protocol.name]]
        if scored:
            write_predictions(pd.concat(scored, ignore_index=True), out / name)
    write_results(records, out / "results.json")
    if not records:
        return
    split = shown_split(records)
    write_overview(records, out / "table.md", split)
    if len(protocols) > ALONE:
        say(f"\nall together: {format_overview(records, split)}")
    whole = {name: pd.concat(scored, ignore_index=True) for name, scored in predictions.items() if scored}
    asked = [protocol for protocol in protocols if protocol.name in tables]
    results = Results(records, whole, split)
    write_page(results, asked, tables, stores, out, page)


def _told(cost: tuple[Sequence[Record], str]) -> list[Record]:
    """Print what pretraining costs, and return it as records."""
    records, text = cost
    if text:
        say(f"\npretraining\n\n{text}")
    return [*records]


def _audited(
    protocols: Sequence[Protocol], measured: Mapping[str, Measured], stores: Mapping[str, Path]
) -> list[Record]:
    """Print what tells the labels of each store whose labels are scored, and return it as records."""
    asked = [each.name for each in protocols if isinstance(each, ScoringProtocol) and each.audit_by != []]
    records: list[Record] = []
    for path in dict.fromkeys(stores[name] for name in asked if measured[name].files):
        found, text = audit_store(Store(path))
        records += found
        if text:
            say(f"\nwhat tells a label of {path.name} without the finding\n\n{text}")
    return records


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise IgclError(f"{path}: damaged; delete it, and run the command again") from error


def _scored(tables: Mapping[Contestant, pd.DataFrame]) -> list[pd.DataFrame]:
    """Return the tables that are scores of labels."""
    return [table for table in tables.values() if set(SCHEMA.names) <= set(table.columns)]
