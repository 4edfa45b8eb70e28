"""`results.json`: flat records of a statistic with intervals over patients, and the printed table."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby, product
from pathlib import Path
from typing import TypedDict, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from igcl_lightning.atomic import replacing
from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.predictions import Run, ScoreTable, arranged_by_split, checked
from igcl_lightning.metrics.clinical import auroc, patient_bootstrap_weights

Statistic = Callable[[NDArray[np.float64], NDArray[np.float64], NDArray[np.int32]], NDArray[np.float64]]
"""Maps scores [N], targets [N] of 0 and 1, and weights [R, N], the number of times that each row counts in each of R
resamples, to float [R]; NaN where it is undefined. Higher is better."""

MEAN_LABEL = "mean"
"""Label of the macro mean over the labels that every run scores and that have both classes."""

MIN_DEFINED = 0.8
"""Smallest share of resamples with both classes for which an interval is given. A class with one patient is absent from
a third of the resamples, and the others carry no information on the variation between patients."""


class Record(TypedDict):
    """One record of `results.json`; a field that does not apply is None.

    Attributes:
        method: name of the method.
        versus: other method of a paired difference `method - versus`.
        protocol, store: name of the evaluation, and path of the store.
        split, group: evaluated split, and group of its rows.
        label: name of the label, "mean" for the macro mean over labels.
        fraction, shots: labelled share of the training rows, or positive training rows per label.
        seed: seed of the run, None for the mean over seeds.
        metric, threshold: name of the statistic, and its threshold.
        value, ci_low, ci_high: the statistic, and its 95 % interval over patients.
        n, positives: number of rows with a known target, and with target 1.
        patients: number of patients of the rows with a known target.
    """

    method: str
    versus: str | None
    protocol: str
    store: str
    split: str | None
    group: str | None
    label: str
    fraction: float | None
    shots: int | None
    seed: int | None
    metric: str
    threshold: float | None
    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    positives: int | None
    patients: int | None


def make_record(run: Run, value: float, ends: tuple[float | None, float | None], **fields: str | int | None) -> Record:
    """Return a record of a value (NaN becomes None) and the two ends of its interval, with other fields of `Record`."""
    number = {"value": None if np.isnan(value) else float(value), "ci_low": ends[0], "ci_high": ends[1]}
    given = {"label": MEAN_LABEL, **run._asdict(), **number, **fields}
    return cast(Record, dict.fromkeys(Record.__annotations__) | given)


def summarise(
    predictions: pd.DataFrame,
    *,
    versus: Sequence[tuple[str, str]] = (),
    protocol: str,
    store: str,
    statistic: Statistic = auroc,
    metric: str = "auroc",
    resamples: int = 1000,
    seed: int = 0,
) -> list[Record]:
    """Return a statistic by split, method, setting (fraction or shots), seed and label, with 95 % percentile intervals.

    Patients are resampled, not rows; all methods use the same resamples. Runs that differ only in their seed are
    averaged within each resample, not pooled: the scores of two runs share no scale.

    Args:
        predictions: columns as in `predictions.SCHEMA`; runs that score a label score the same rows of a split.
        versus: pairs (method, other); `method - other` is reported in each split and setting that both have.
        protocol: name of the evaluation, for the records.
        store: path of the store, for the records.
        statistic: function of scores, targets and weights (default: AUROC).
        metric: name of the statistic, for the records.
        resamples: number of bootstrap resamples.
        seed: seed of the bootstrap.

    Raises:
        IgclError: the predictions break their contract, runs differ in rows, or `versus` has no setting in common.
    """
    tables = arranged_by_split(checked(predictions, "predictions"))
    _check_versus(versus, [run for table in tables.values() for run in table.scores])
    records = []
    for split, table in tables.items():
        lines = _with_differences(resampled(table, statistic, resamples, seed), versus)
        about = {"protocol": protocol, "store": store, "split": split, "metric": metric}
        counts = _counted(table)
        records += [record for line in lines for record in _records(*line, counts, about)]
    return records


def _with_differences(
    by_run: dict[Run, NDArray[np.float64]], versus: Sequence[tuple[str, str]]
) -> list[tuple[Run, str | None, NDArray[np.float64]]]:
    """Return the values of runs, their means over seeds, and the differences of these: (run, other method, values)."""
    by_setting = mean_over_seeds(by_run)
    lines: list[tuple[Run, str | None, NDArray[np.float64]]]
    lines = [(run, None, values) for run, values in {**by_run, **by_setting}.items()]
    for (method, other), (run, values) in product(versus, by_setting.items()):
        if run.method == method and run._replace(method=other) in by_setting:
            lines.append((run, other, values - by_setting[run._replace(method=other)]))
    return lines


def resampled(table: ScoreTable, statistic: Statistic, resamples: int, seed: int) -> dict[Run, NDArray[np.float64]]:
    """Return the statistic of each label and, last, the mean over labels in R resamples of the patients, by run.

    Returns:
        float [L + 1, 1 + R]. Column 0 is the observed sample, column r the same resample for every run.
    """
    observed = np.ones((1, len(table.patients)), dtype=np.int32)
    weights = np.vstack([observed, patient_bootstrap_weights(table.patients, resamples, seed)])
    in_mean = ~np.any([np.isnan(score).all(axis=1) for score in table.scores.values()], axis=0)
    return {run: _by_label(statistic, score, table.target, weights, in_mean) for run, score in table.scores.items()}


def write_results(records: Sequence[Record], path: Path) -> None:
    """Write records as a JSON list; a `ValueError` says that a number is NaN or infinite."""
    text = json.dumps(records, indent=1, allow_nan=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _by_label(
    statistic: Statistic,
    score: NDArray[np.float64],
    target: NDArray[np.float64],
    weights: NDArray[np.int32],
    in_mean: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Return the statistic of each label and, last, the mean over the labels of `in_mean`, [L + 1, 1 + R]."""
    values = np.full((len(score), len(weights)), np.nan)
    for label, known in enumerate(~(np.isnan(score) | np.isnan(target))):
        if known.any():
            values[label] = statistic(score[label, known], target[label, known], weights[:, known])
    defined = ~np.isnan(values) & in_mean[:, None]
    observed = defined[:, 0]
    # A resample without a class of one label has no mean: the mean over other labels is a different quantity.
    mean = values[observed].mean(axis=0) if observed.any() else np.full(values.shape[1], np.nan)
    return np.vstack([values, mean])


def mean_over_seeds(by_run: Mapping[Run, NDArray[np.float64]]) -> dict[Run, NDArray[np.float64]]:
    """Return the mean over runs that differ only in their seed, by setting (a run with seed None)."""
    by_setting: dict[Run, list[NDArray[np.float64]]] = {}
    for run, values in by_run.items():
        by_setting.setdefault(run._replace(seed=None), []).append(values)
    return {setting: np.mean(values, axis=0) for setting, values in by_setting.items()}


def compare_runs(
    by_run: Mapping[Run, NDArray[np.float64]],
    versus: Sequence[tuple[str, str]],
    *,
    common_seeds: bool = True,
    **fields: str | int | None,
) -> list[Record]:
    """Return records of runs, of the means over their seeds, and of the paired differences of methods.

    Args:
        by_run: float [1 + R] of each run: the observed value, then those in R resamples, the same for every run.
        versus: pairs (method, other) for `method - other`.
        common_seeds: whether a difference is the mean over the seeds that both methods have, with no record if they
            have none, or else that of the means over all seeds of each.
        fields: further fields of the records.
    """
    if not common_seeds:
        together = _with_differences(dict(by_run), versus)
        return [make_record(run, each[0], interval(each[1:]), versus=other, **fields) for run, other, each in together]
    lines: list[tuple[Run, str | None, NDArray[np.float64]]]
    lines = [(run, None, values) for run, values in {**by_run, **mean_over_seeds(by_run)}.items()]
    for method, other in versus:
        beside = {run: by_run.get(run._replace(method=other)) for run in by_run if run.method == method}
        apart = {run: by_run[run] - values for run, values in beside.items() if values is not None}
        lines += [(run, other, values) for run, values in mean_over_seeds(apart).items()]
    return [make_record(run, values[0], interval(values[1:]), versus=other, **fields) for run, other, values in lines]


def _check_versus(versus: Sequence[tuple[str, str]], runs: Sequence[Run]) -> None:
    settings = {run._replace(seed=None) for run in runs}
    methods = sorted({run.method for run in runs})
    for pair in versus:
        for name in pair:
            if name not in methods:
                raise IgclError(f"versus: no predictions of method {name!r}, only of {methods}")
        method, other = pair
        if not any(run.method == method and run._replace(method=other) in settings for run in settings):
            raise IgclError(f"versus: {method!r} and {other!r} have no fraction and no number of shots in common")


def _records(
    run: Run,
    versus: str | None,
    values: NDArray[np.float64],
    counts: Sequence[dict[str, str | int | None]],
    about: dict[str, str],
) -> Iterator[Record]:
    """Yield one record per label and one for their mean from `values` [L + 1, 1 + R] (see `resampled`)."""
    for value, counted in zip(values, counts, strict=True):
        yield make_record(run, value[0], interval(value[1:]), versus=versus, **about, **counted)


def _counted(table: ScoreTable) -> list[dict[str, str | int | None]]:
    """Return the fields `label`, `n`, `positives` and `patients` of the records of each label and of their mean."""
    known = ~np.isnan(table.target)
    known = np.vstack([known, known.any(axis=0)])
    positives = [*(table.target == 1).sum(axis=1).tolist(), None]
    return [
        {"label": label, "n": int(rows.sum()), "positives": positive, "patients": len(set(table.patients[rows]))}
        for label, rows, positive in zip([*table.labels, MEAN_LABEL], known, positives, strict=True)
    ]


def interval(drawn: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """Return the 95 % percentile interval of resampled values [R]; None if too few are defined (`MIN_DEFINED`)."""
    defined = drawn[~np.isnan(drawn)]
    if len(defined) < max(1, MIN_DEFINED * len(drawn)):
        return None, None
    low, high = np.quantile(defined, (0.025, 0.975))
    return float(low), float(high)


def format_table(records: Sequence[Record], metric: str = "auroc", split: str = "test") -> str:
    """Return the macro means over seeds as plain text, a row for each method or difference, a column for each setting.

    The caption states the numbers of rows, patients and positives. A cell reads `value [ci_low, ci_high]`. Fractions
    and shots, methods and differences have separate blocks, so that each fits a terminal. Records of other metrics and
    splits are ignored.
    """
    records = [record for record in records if (record["metric"], record["split"]) == (metric, split)]
    means = [record for record in records if record["label"] == MEAN_LABEL and record["seed"] is None]
    labels = {record["label"] for record in records} - {MEAN_LABEL}
    undefined = sorted({record["label"] for record in records if record["value"] is None} - {MEAN_LABEL})
    about = f"mean over {len(labels) - len(undefined)} labels and all seeds"
    caption = [f"{_title(metric)}, {about} [95 % interval over patients]", *_counts(records)]
    if undefined:
        caption.append(f"left out, one class only or not scored by every run: {', '.join(undefined)}")
    caption += _lacking(means)
    parts = groupby(sorted(means, key=_block_key), key=_block_key)
    return "\n\n".join(["\n".join(caption), *(format_block(list(part)) for _, part in parts)])


def format_labels(records: Sequence[Record], metric: str = "auroc", split: str = "test") -> str:
    """Return the values of one method by label and their mean, over seeds, as plain text, with what they are of."""
    lines = [each for each in records if (each["metric"], each["split"], each["seed"]) == (metric, split, None)]
    draws = len({each["seed"] for each in records} - {None})
    rows = [["label", f"{_title(metric)} [95 % interval]", "positives", "rows", "patients"]]
    for each in lines:
        counts = ("" if each[name] is None else f"{each[name]:,}" for name in ("positives", "n", "patients"))
        rows.append([each["label"], format_cell(each), *counts])
    about = [lines[0]["method"], setting_name(lines[0]), f"mean over {draws} draws" if draws > 1 else ""]
    caption = [f"{', '.join(filter(None, about))}: {split} rows, interval over patients", *_lacking(lines)]
    return "\n".join([*caption, "", aligned(rows)])


def _lacking(shown: Sequence[Record]) -> list[str]:
    """Return a line on values without an interval, if there are any."""
    lacking = any(record["value"] is not None and record["ci_low"] is None for record in shown)
    return ["no interval where one of the two classes has too few patients"] * lacking


def _title(metric: str) -> str:
    return "AUROC" if metric == "auroc" else metric


def _counts(records: Sequence[Record]) -> Iterator[str]:
    """Yield lines with the numbers of rows and patients, and with the fewest and the most positives of a label."""
    for whole in [record for record in records if record["label"] == MEAN_LABEL][:1]:
        yield f"{whole['n']:,} {whole['split']} rows of {whole['patients']:,} patients"
    positives = {record["label"]: record["positives"] or 0 for record in records if record["label"] != MEAN_LABEL}
    if len(positives) == 1:
        yield f"positives: {next(iter(positives.values())):,}"
    elif positives:
        few, many = min(positives, key=positives.__getitem__), max(positives, key=positives.__getitem__)
        yield f"positives per label: {positives[few]:,} ({few}) to {positives[many]:,} ({many})"


def _block_key(record: Record) -> tuple[bool, bool, bool]:
    """Return the sort key of a record's block: fractions, shots, neither; methods before differences in each."""
    return record["fraction"] is None, record["shots"] is None, record["versus"] is not None


def setting_name(record: Record) -> str:
    """Return the labelled share or number: "1 %", "5-shot", or "" if neither applies."""
    if record["fraction"] is not None:
        return f"{100 * record['fraction']:g} %"
    return "" if record["shots"] is None else f"{record['shots']}-shot"


def format_block(means: Sequence[Record], column: Callable[[Record], str] = setting_name) -> str:
    """Return methods, or else differences, below one another, and what `column` says of a record beside one another."""
    means = sorted(means, key=lambda record: (record["fraction"] or 0.0, record["shots"] or 0))
    titles = list(dict.fromkeys(column(record) for record in means))
    cells: dict[str, dict[str, str]] = {}
    for record in means:
        cells.setdefault(method_name(record), {})[column(record)] = format_cell(record)
    corner = "method" if means[0]["versus"] is None else "difference"
    rows = [[corner, *titles], *([name, *(row.get(at, "") for at in titles)] for name, row in cells.items())]
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows of a table as lines of plain text, columns aligned to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def as_markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows of a table in Markdown, the first as titles."""
    head, *body = [f"| {' | '.join(row)} |\n" for row in rows]
    return "".join([head, f"|{' --- |' * len(rows[0])}\n", *body])


def method_name(record: Record) -> str:
    """Return the method, or "method - other" of a difference."""
    return record["method"] if record["versus"] is None else f"{record['method']} - {record['versus']}"


def format_cell(record: Record) -> str:
    """Return `value [ci_low, ci_high]`, signed if it is a difference."""
    if record["value"] is None:
        return "-"
    sign = "" if record["versus"] is None else "+"
    interval = "" if record["ci_low"] is None else f" [{record['ci_low']:{sign}.2f}, {record['ci_high']:{sign}.2f}]"
    return f"{record['value']:{sign}.3f}{interval}"
