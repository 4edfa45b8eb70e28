"""`results.json`: flat records of a statistic with intervals over patients, and the table that a person reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TypedDict

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from igcl_lightning.atomic import replacing
from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.predictions import Run, ScoreTable, arranged_by_split, checked
from igcl_lightning.metrics.clinical import auroc, patient_bootstrap_weights

Statistic = Callable[[NDArray[np.float64], NDArray[np.float64], NDArray[np.int32]], NDArray[np.float64]]
"""Maps scores [N], targets [N] of 0 and 1, and weights [R, N], how often each row counts in each of R resamples, to
float [R]; NaN where a resample leaves it undefined. Higher is better."""

MEAN_LABEL = "mean"
"""Stands for the macro mean over the labels that every run scores and of which both classes are present."""

MIN_DEFINED = 0.8
"""An interval is given where at least this share of the resamples holds both classes. A class seen in one patient only
is absent from a third of them, and the others say nothing about how patients vary."""


class Record(TypedDict):
    """One line of `results.json`; what does not apply is None.

    `label` is "mean" for the macro mean over labels, `seed` None for the mean over seeds, `versus` the other method of
    a paired difference `method - versus`. `n` counts the rows with a known target, `positives` those where it is 1.
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

    Patients are resampled, never rows. Runs that differ only in their seed are averaged within each resample and never
    pooled: the scores of two runs share no scale. The interval covers which patients were tested, not which seeds were
    drawn. A difference takes the same resamples for both methods.

    Args:
        predictions: columns as in `predictions.SCHEMA`; within a split, a label's rows are the same in every run that
            scores it.
        versus: pairs (method, other) of which `method - other` is wanted, in each split and setting that both have.
        protocol: goes into the records, as do `store` and `metric`.
        store: what was evaluated.
        statistic: what is computed from the scores and targets of a label; the AUROC by default.
        metric: name of the statistic.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        IgclError: the predictions break their contract, runs differ in rows, targets or patients, or a pair of `versus`
            names a method without predictions or has no setting in common.
    """
    tables = arranged_by_split(checked(predictions, "predictions"))
    _check_versus(versus, [run for table in tables.values() for run in table.scores])
    sections: list[list[Record]] = []
    for split, table in tables.items():
        by_run = resampled(table, statistic, resamples, seed)
        by_setting = mean_over_seeds(by_run)
        records_of = partial(_records, table=table, protocol=protocol, store=store, split=split, metric=metric)
        sections.extend(records_of(run, None, values) for run, values in {**by_run, **by_setting}.items())
        for method, other in versus:
            sections.extend(records_of(run, other, values) for run, values in _differences(by_setting, method, other))
    return list(chain.from_iterable(sections))


def resampled(table: ScoreTable, statistic: Statistic, resamples: int, seed: int) -> dict[Run, NDArray[np.float64]]:
    """Return by run a statistic [L + 1, 1 + R] of each label and, last, of their mean, in R resamples of the patients.

    The first column is the sample as observed. Column r is the same resample for every run.
    """
    observed = np.ones((1, len(table.patients)), dtype=np.int32)
    weights = np.vstack([observed, patient_bootstrap_weights(table.patients, resamples, seed)])
    everywhere = ~np.any([np.isnan(score).all(axis=1) for score in table.scores.values()], axis=0)
    by_label = partial(_by_label, statistic, target=table.target, weights=weights, in_mean=everywhere)
    return {run: by_label(score) for run, score in table.scores.items()}


def write_results(records: Sequence[Record], path: Path) -> None:
    """Write records as a JSON list; the file appears whole or not at all.

    Raises:
        ValueError: a number is NaN or infinite; what is not defined is None.
    """
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
    """Return [L + 1, 1 + R] of each label and, last, the mean of some; the first weighting is the sample as observed.

    Args:
        statistic: applied to the rows of a label that are known and scored.
        score: [L, N].
        target: [L, N].
        weights: [1 + R, N].
        in_mean: bool [L].
    """
    values = np.full((len(score), len(weights)), np.nan)
    for label, known in enumerate(~(np.isnan(score) | np.isnan(target))):
        if known.any():
            values[label] = statistic(score[label, known], target[label, known], weights[:, known])
    defined = ~np.isnan(values) & in_mean[:, None]
    observed = defined[:, 0]
    # A resample that lost a class of one label has no mean: the mean over the others is another quantity.
    mean = values[observed].mean(axis=0) if observed.any() else np.full(values.shape[1], np.nan)
    return np.vstack([values, mean])


def mean_over_seeds(by_run: dict[Run, NDArray[np.float64]]) -> dict[Run, NDArray[np.float64]]:
    """Return the mean of the runs that differ only in their seed, by setting: a run whose seed is None."""
    by_setting: dict[Run, list[NDArray[np.float64]]] = {}
    for run, values in by_run.items():
        by_setting.setdefault(run._replace(seed=None), []).append(values)
    return {setting: np.mean(values, axis=0) for setting, values in by_setting.items()}


def _differences(
    by_setting: dict[Run, NDArray[np.float64]], method: str, other: str
) -> Iterator[tuple[Run, NDArray[np.float64]]]:
    for run, values in by_setting.items():
        if run.method == method and run._replace(method=other) in by_setting:
            yield run, values - by_setting[run._replace(method=other)]


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
    *,
    table: ScoreTable,
    protocol: str,
    store: str,
    split: str,
    metric: str,
) -> list[Record]:
    """One record per label and one for their mean, from `values` [L + 1, 1 + R] as `_by_label` gives them."""
    known = ~np.isnan(table.target)
    rows = [*known.sum(axis=1), known.any(axis=0).sum()]
    positives = [*(table.target == 1).sum(axis=1), None]
    records = []
    for label, value, n, positive in zip([*table.labels, MEAN_LABEL], values, rows, positives, strict=True):
        low, high = interval(value[1:])
        records.append(
            Record(
                method=run.method,
                versus=versus,
                protocol=protocol,
                store=store,
                split=split,
                group=None,
                label=label,
                fraction=run.fraction,
                shots=run.shots,
                seed=run.seed,
                metric=metric,
                threshold=None,
                value=None if np.isnan(value[0]) else float(value[0]),
                ci_low=low,
                ci_high=high,
                n=int(n),
                positives=None if positive is None else int(positive),
            )
        )
    return records


def interval(drawn: NDArray[np.float64]) -> tuple[float, float] | tuple[None, None]:
    """The 95 % percentile interval of resampled values [R], where enough of them are defined."""
    defined = drawn[~np.isnan(drawn)]
    if len(defined) < MIN_DEFINED * len(drawn):
        return None, None
    low, high = np.quantile(defined, (0.025, 0.975))
    return float(low), float(high)


def format_table(records: Sequence[Record], metric: str = "auroc", split: str = "test") -> str:
    """Return the macro means over seeds as plain text: methods and differences down, settings across.

    A cell reads `value [ci_low, ci_high]`. Fractions and shots get a block each, and so do methods and differences, so
    that a block fits a terminal. Records of other metrics and splits are left aside.
    """
    records = [record for record in records if (record["metric"], record["split"]) == (metric, split)]
    means = [record for record in records if record["label"] == MEAN_LABEL and record["seed"] is None]
    kinds = (
        [record for record in means if record["fraction"] is not None],
        [record for record in means if record["shots"] is not None],
        [record for record in means if record["fraction"] is None and record["shots"] is None],
    )
    labels = {record["label"] for record in records} - {MEAN_LABEL}
    undefined = sorted({record["label"] for record in records if record["value"] is None} - {MEAN_LABEL})
    title = "AUROC" if metric == "auroc" else metric
    caption = f"{title}, mean over {len(labels) - len(undefined)} labels and all seeds [95 % interval over patients]"
    if undefined:
        caption += f"\nleft out, one class only or not scored by every run: {', '.join(undefined)}"
    blocks = (_block(part) for kind in kinds for part in _methods_and_differences(kind) if part)
    return "\n\n".join([caption, *blocks])


def setting_name(record: Record) -> str:
    """Return how much was labelled: "1 %", "5-shot", or "" where neither applies."""
    if record["fraction"] is not None:
        return f"{100 * record['fraction']:g} %"
    return "" if record["shots"] is None else f"{record['shots']}-shot"


def setting_order(record: Record) -> tuple[float, int]:
    """Return the key that sorts settings from few labels to many."""
    return record["fraction"] or 0.0, record["shots"] or 0


def _methods_and_differences(means: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    methods = [record for record in means if record["versus"] is None]
    return methods, [record for record in means if record["versus"] is not None]


def _block(means: Sequence[Record]) -> str:
    means = sorted(means, key=setting_order)
    settings = list(dict.fromkeys(setting_name(record) for record in means))
    cells: dict[str, dict[str, str]] = {}
    for record in means:
        cells.setdefault(method_name(record), {})[setting_name(record)] = format_cell(record)
    corner = "method" if means[0]["versus"] is None else "difference"
    rows = [[corner, *settings], *([name, *(row.get(at, "") for at in settings)] for name, row in cells.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def method_name(record: Record) -> str:
    """Return the method, or the two of a difference."""
    return record["method"] if record["versus"] is None else f"{record['method']} - {record['versus']}"


def format_cell(record: Record) -> str:
    """Return `value [ci_low, ci_high]`, with signs where it is a difference."""
    if record["value"] is None:
        return "-"
    sign = "" if record["versus"] is None else "+"
    interval = "" if record["ci_low"] is None else f" [{record['ci_low']:{sign}.2f}, {record['ci_high']:{sign}.2f}]"
    return f"{record['value']:{sign}.3f}{interval}"
