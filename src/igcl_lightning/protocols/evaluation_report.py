"""Results of an evaluation: `predictions.parquet`, `results.json`, the tables and the plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa

from igcl_lightning.closing import say
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.overview import format_overview, write_overview
from igcl_lightning.evaluation.plots import plot_label_efficiency, plot_per_label
from igcl_lightning.evaluation.predictions import SCHEMA, write_predictions
from igcl_lightning.evaluation.results import Record, write_results
from igcl_lightning.protocols.contestants import FINE_TUNED, PREDICTIONS, Contestant
from igcl_lightning.protocols.fine_tuning import FineTuning
from igcl_lightning.protocols.protocol import Protocol, ScoringProtocol
from igcl_lightning.protocols.shortcuts import audit_store

EFFICIENCY, TUNED, PER_LABEL = PLOTS = "label_efficiency.png", "fine_tuning.png", "per_label.png"
ALONE = 2
"""Protocols whose own tables tell all."""


class Measured(NamedTuple):
    """The files of the parts by contestant, the names of contestants that lack some, and who was not asked and why."""

    files: Mapping[Contestant, Sequence[Path]]
    missing: Sequence[str]
    left_out: Mapping[str, str]


def write_report(
    protocols: Sequence[Protocol], measured: Mapping[str, Measured], stores: Mapping[str, Path], out: Path
) -> None:
    """Write the results of all protocols and print their tables; contestants that lack some parts are named."""
    for name in (PREDICTIONS, FINE_TUNED, "table.md", *(f"plots/{plot}" for plot in PLOTS)):
        (out / name).unlink(missing_ok=True)  # what is not written now would be of another evaluation
    predictions: dict[str, list[pd.DataFrame]] = {}
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
        tables = {each: pd.concat(map(_read, paths), ignore_index=True) for each, paths in files.items()}
        found, text = protocol.report(tables, Store(stores[protocol.name]))
        say("\n\n".join(filter(None, [text, protocol.below()])))
        records += found
        scored = [table for table in tables.values() if set(SCHEMA.names) <= set(table.columns)]
        predictions.setdefault(protocol.scores, []).extend(scored)
    records += _audited(protocols, measured, stores)
    for name, scored in predictions.items():
        if scored:
            write_predictions(pd.concat(scored, ignore_index=True), out / name)
    write_results(records, out / "results.json")
    if not records:
        return
    split = "test" if any(record["split"] == "test" for record in records) else str(records[0]["split"])
    write_overview(records, out / "table.md", split)
    if len(protocols) > ALONE:
        say(f"\nall together: {format_overview(records, split)}")
    _plot(records, out / "plots", split)


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


def _plot(records: Sequence[Record], folder: Path, split: str) -> None:
    """Plot what probes and fine-tuning reach by labels and by their number, or else what prompts reach."""
    scored = [each for each in records if (each["metric"], each["split"], each["group"]) == ("auroc", split, None)]
    drawn = [record for record in scored if record["fraction"] is not None or record["shots"] is not None]
    tuned = [record for record in drawn if record["protocol"] == FineTuning.name]
    probed = [record for record in drawn if record["protocol"] != FineTuning.name]
    for shown, name in ((probed, EFFICIENCY), (tuned, TUNED)):
        if shown:
            plot_label_efficiency(shown, folder / name, split)
    if scored:
        plot_per_label(probed or tuned or scored, folder / PER_LABEL, split)
