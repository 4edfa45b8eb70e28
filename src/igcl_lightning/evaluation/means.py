"""Means of a number per row, such as the Dice of an image or whether a lesion was hit, with intervals over patients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.intervals import FEW_PATIENTS, widening
from igcl_lightning.evaluation.predictions import Run
from igcl_lightning.evaluation.results import MEAN_LABEL, Record, compare_runs, mean_over_labels
from igcl_lightning.evaluation.tables import format_block, lacking, setting_name
from igcl_lightning.metrics.influence import Estimate, mean_estimate

COLUMNS = ("method", "seed", "split", "metric", "label", "row", "patient", "value")
SETTINGS = ("fraction", "shots")


def summarise_means(
    values: pd.DataFrame,
    *,
    versus: Sequence[tuple[str, str]] = (),
    **about: str,
) -> list[Record]:
    """Return means over rows of runs, their means over labels and seeds, and paired differences, with 95 % intervals.

    Intervals are over patients, not rows. Runs that differ only in their seed are averaged, never pooled. The mean over
    labels is that of the labels which all runs have.

    Args:
        values: one line per run, metric, label and row, with the columns `COLUMNS`, and `SETTINGS` where they apply.
            Lines without a value (NaN) are left out.
        versus: pairs (method, other) for `method - other`, where both have a metric at one setting.
        about: further fields of the records: protocol, store.

    Raises:
        IgclError: two runs have values for different rows of a metric and label.
    """
    missing = [name for name in SETTINGS if name not in values.columns]
    values = values.assign(**dict.fromkeys(missing)).dropna(subset="value")
    records: list[Record] = []
    for split, rows in values.groupby("split", sort=False):
        patients = np.unique(rows["patient"])
        place = rows.assign(patient=np.searchsorted(patients, rows["patient"]))
        for metric, lines in place.groupby("metric", sort=False):
            fields = {"split": str(split), "metric": str(metric), **about}
            records += _records(lines, len(patients), versus, fields)
    return records


def _records(
    lines: pd.DataFrame, patients: int, versus: Sequence[tuple[str, str]], fields: Mapping[str, Any]
) -> Iterator[Record]:
    """Yield the records of one metric: those of each label, then those of the mean over labels."""
    by_label: list[dict[Run, Estimate]] = []
    sizes: list[int] = []
    scale = "unit" if lines["value"].between(0, 1).all() else "any"
    for label, own in lines.groupby("label", sort=False):
        by_run = {_run(key): each for key, each in own.groupby(["method", *SETTINGS, "seed"], sort=False, dropna=False)}
        first = _arranged(next(iter(by_run.values())))
        found = {}
        for run, each in by_run.items():
            arranged = _arranged(each)
            if not first["row"].equals(arranged["row"]):
                raise IgclError(f"{run.method}, seed {run.seed}: {fields['metric']} of {label} is of other rows")
            found[run] = mean_estimate(arranged["value"], arranged["patient"], patients)
        by_label.append(found)
        sizes.append(first["patient"].nunique())
        counts: dict[str, Any] = {"label": str(label), "n": len(first), "patients": sizes[-1]}
        yield from compare_runs(found, versus, common_seeds=False, smallest=sizes[-1], scale=scale, **fields, **counts)
    runs = dict.fromkeys(run for found in by_label for run in found).keys()
    common = [(found, size) for found, size in zip(by_label, sizes, strict=True) if runs <= found.keys()]
    if common:
        wider, used = np.array([widening(size) for _, size in common]), np.ones(len(common), dtype=bool)
        means = {run: mean_over_labels(np.stack([found[run] for found, _ in common]), wider, used) for run in runs}
        counts = {"label": MEAN_LABEL, "n": lines["row"].nunique(), "patients": lines["patient"].nunique()}
        counts["few"] = min(size for _, size in common) < FEW_PATIENTS
        yield from compare_runs(means, versus, common_seeds=False, scale=scale, **fields, **counts)


def _run(key: Any) -> Run:
    method, fraction, shots, seed = (None if pd.isna(value) else value for value in key)
    return Run(
        str(method),
        None if fraction is None else float(fraction),
        None if shots is None else int(shots),
        None if seed is None else int(seed),
    )


def _arranged(lines: pd.DataFrame) -> pd.DataFrame:
    return lines.sort_values("row", kind="stable").reset_index(drop=True)


def format_means(records: Sequence[Record], split: str = "test", titles: Mapping[str, str] | None = None) -> str:
    """Return the means over labels and seeds as plain text: settings beside one another, or else metrics.

    Args:
        records: records as of `summarise_means`; those of other splits are ignored.
        split: split of the rows.
        titles: metrics to show, with what each is called (default: all, by their names).
    """
    shown = [each for each in records if (each["label"], each["seed"], each["split"]) == (MEAN_LABEL, None, split)]
    titles = titles or {each["metric"]: each["metric"] for each in shown}
    shown = [each for each in shown if each["metric"] in titles]
    if not any(setting_name(each) for each in shown):
        head = ["means over labels [95 % interval over patients]", *lacking(shown)]
        return "\n".join([*head, _block(shown, lambda record: titles[record["metric"]])])
    parts = []
    for metric, title in titles.items():
        own = [each for each in shown if each["metric"] == metric]
        labels = {each["label"] for each in records if each["metric"] == metric and each["split"] == split}
        if own:
            counts = f"{own[0]['n']:,} {split} rows of {own[0]['patients']:,} patients"
            over = f"{title}, mean over {len(labels - {MEAN_LABEL})} labels and all seeds"
            caption = "\n".join([f"{over} [95 % interval over patients]", counts, *lacking(own)])
            parts.append(f"{caption}\n\n{_block(own, setting_name)}")
    return "\n\n".join(parts)


def _block(records: Sequence[Record], column: Any) -> str:
    """Return methods, then their differences, as tables."""
    parts = [[each for each in records if (each["versus"] is None) is alone] for alone in (True, False)]
    return "\n\n".join(format_block(part, column) for part in parts if part)
