"""Means of a number per row, such as the Dice of an image or whether a lesion was hit, with intervals over patients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.predictions import Run
from igcl_lightning.evaluation.results import (
    MEAN_LABEL,
    Record,
    compare_runs,
    format_block,
    setting_name,
)
from igcl_lightning.metrics.clinical import patient_bootstrap_weights

COLUMNS = ("method", "seed", "split", "metric", "label", "row", "patient", "value")
SETTINGS = ("fraction", "shots")

Floats = NDArray[np.float64]


def summarise_means(
    values: pd.DataFrame,
    *,
    versus: Sequence[tuple[str, str]] = (),
    resamples: int = 1000,
    seed: int = 0,
    **about: str,
) -> list[Record]:
    """Return means over rows of runs, their means over labels and seeds, and paired differences, with 95 % intervals.

    Patients are resampled, not rows; all runs use the same resamples. Runs that differ only in their seed are averaged,
    never pooled. The mean over labels is that of the labels which all runs have.

    Args:
        values: one line per run, metric, label and row, with the columns `COLUMNS`, and `SETTINGS` where they apply.
            Lines without a value (NaN) are left out.
        versus: pairs (method, other) for `method - other`, where both have a metric at one setting.
        resamples: number of bootstrap resamples of the patients.
        seed: seed of the bootstrap.
        about: further fields of the records: protocol, store.

    Raises:
        IgclError: two runs have values for different rows of a metric and label.
    """
    missing = [name for name in SETTINGS if name not in values.columns]
    values = values.assign(**dict.fromkeys(missing)).dropna(subset="value")
    records: list[Record] = []
    for split, rows in values.groupby("split", sort=False):
        patients = np.unique(rows["patient"])
        weights = np.vstack([np.ones((1, len(patients))), patient_bootstrap_weights(patients, resamples, seed)])
        place = rows.assign(patient=np.searchsorted(patients, rows["patient"]))
        for metric, lines in place.groupby("metric", sort=False):
            fields = {"split": str(split), "metric": str(metric), **about}
            records += _records(lines, weights, versus, fields)
    return records


def _records(
    lines: pd.DataFrame, weights: Floats, versus: Sequence[tuple[str, str]], fields: Mapping[str, Any]
) -> Iterator[Record]:
    """Yield the records of one metric: those of each label, then those of the mean over labels."""
    by_label: list[dict[Run, Floats]] = []
    for label, own in lines.groupby("label", sort=False):
        by_run = {_run(key): each for key, each in own.groupby(["method", *SETTINGS, "seed"], sort=False, dropna=False)}
        first = _arranged(next(iter(by_run.values())))
        found = {}
        for run, each in by_run.items():
            arranged = _arranged(each)
            if not first["row"].equals(arranged["row"]):
                raise IgclError(f"{run.method}, seed {run.seed}: {fields['metric']} of {label} is of other rows")
            found[run] = patient_mean(arranged["patient"].to_numpy(), arranged["value"].to_numpy(float), weights)
        by_label.append(found)
        counts: dict[str, Any] = {"label": str(label), "n": len(first), "patients": first["patient"].nunique()}
        yield from compare_runs(found, versus, common_seeds=False, **fields, **counts)
    runs = {run for found in by_label for run in found}
    common = [found for found in by_label if runs <= found.keys()]
    if common:
        means = {run: np.mean([found[run] for found in common], axis=0) for run in common[0]}
        counts = {"label": MEAN_LABEL, "n": lines["row"].nunique(), "patients": lines["patient"].nunique()}
        yield from compare_runs(means, versus, common_seeds=False, **fields, **counts)


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


def patient_mean(patient: NDArray[Any], value: Floats, weights: Floats) -> Floats:
    """Return the mean of values [N] in each of R resamples, [R]; NaN where none of their patients is drawn.

    Args:
        patient: number of the patient of each value, int [N].
        value: the values.
        weights: how often each of P patients counts in each resample, [R, P].
    """
    total, number = (np.bincount(patient, each, minlength=weights.shape[1]) for each in (value, np.ones(len(value))))
    with np.errstate(invalid="ignore"):
        mean: Floats = (weights @ total) / (weights @ number)
    return mean


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
        whole = _block(shown, lambda record: titles[record["metric"]])
        return f"means over labels [95 % interval over patients]\n{whole}"
    parts = []
    for metric, title in titles.items():
        own = [each for each in shown if each["metric"] == metric]
        labels = {each["label"] for each in records if each["metric"] == metric and each["split"] == split}
        if own:
            counts = f"{own[0]['n']:,} {split} rows of {own[0]['patients']:,} patients"
            over = f"mean over {len(labels - {MEAN_LABEL})} labels and all seeds"
            parts.append(f"{title}, {over} [95 % interval over patients]\n{counts}\n\n{_block(own, setting_name)}")
    return "\n\n".join(parts)


def _block(records: Sequence[Record], column: Any) -> str:
    """Return methods, then their differences, as tables."""
    parts = [[each for each in records if (each["versus"] is None) is alone] for alone in (True, False)]
    return "\n\n".join(format_block(part, column) for part in parts if part)
