"""`results.json`: flat records of a statistic with intervals over patients."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from igcl_lightning.atomic import replacing
from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.intervals import APART, FEW_PATIENTS, holm, interval, p_value, widening
from igcl_lightning.evaluation.predictions import Run, ScoreTable, arranged_by_split, checked
from igcl_lightning.metrics.influence import Estimate, auroc_estimate

Statistic = Callable[[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp], int], Estimate]
"""Maps scores [N], targets [N] of 0 and 1, the number of each row's patient [N], and the number of patients P to an
estimate [1 + P] (`metrics.influence`)."""

MEAN_LABEL = "mean"
"""Label of the macro mean over the labels that every run scores and that have both classes."""


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
        few: whether one of the classes has fewer than `intervals.FEW_PATIENTS`, or for a mean, one of a label.
        p_value, p_holm: two-sided p-value of a difference, and the same corrected for the number of labels.
        runs, run_sd: number of runs that are averaged, and their standard deviation, which no interval covers.
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
    few: bool | None
    p_value: float | None
    p_holm: float | None
    runs: int | None
    run_sd: float | None
    n: int
    positives: int | None
    patients: int | None


def make_record(
    run: Run, value: float, ends: tuple[float | None, float | None], **fields: str | float | bool | None
) -> Record:
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
    statistic: Statistic = auroc_estimate,
    metric: str = "auroc",
    scale: str = "unit",
    classes: Sequence[int] = (0, 1),
    group: str | None = None,
) -> list[Record]:
    """Return a statistic by split, method, setting (fraction or shots), seed and label, with 95 % intervals.

    Intervals are over patients, not rows (`intervals.interval`). Runs that differ only in their seed are averaged, not
    pooled: the scores of two runs share no scale. Differences are paired.

    Args:
        predictions: columns as in `predictions.SCHEMA`; runs that score a label score the same rows of a split.
        versus: pairs (method, other); `method - other` is reported in each split and setting that both have.
        protocol: name of the evaluation, for the records.
        store: path of the store, for the records.
        statistic: estimate of scores, targets and patients (default: AUROC).
        metric: name of the statistic, for the records.
        scale: scale of its intervals: "unit", "signed" or "any".
        classes: classes that it depends on, (1,) for sensitivity.
        group: name of a group that all rows are of, for the records.

    Raises:
        IgclError: the predictions break their contract, runs differ in rows, or `versus` has no setting in common.
    """
    tables = arranged_by_split(checked(predictions, "predictions"))
    _check_versus(versus, [run for table in tables.values() for run in table.scores])
    records = []
    for split, table in tables.items():
        about = {"protocol": protocol, "store": store, "split": split, "metric": metric, "group": group}
        smallest = smallest_classes(table, classes)
        counts = _counted(table, smallest)
        for line in _with_differences(estimated(table, statistic, classes), versus):
            each = enumerate(zip([*smallest, None], counts, strict=True))
            records += _corrected([_record(line, place, size, scale, about | more) for place, (size, more) in each])
    return records


def mean_over_seeds(by_run: Mapping[Run, NDArray[np.float64]]) -> dict[Run, NDArray[np.float64]]:
    """Return the mean over runs that differ only in their seed, by setting (a run with seed None)."""
    return {setting: line.estimate for setting, line in _means(by_run).items()}


class _Line(NamedTuple):
    """Estimates [..., 1 + P] of a run, of the mean over its seeds or of a difference; number of runs, and their sd."""

    run: Run
    versus: str | None
    estimate: NDArray[np.float64]
    runs: int | None = None
    run_sd: Any = None


def _with_differences(by_run: Mapping[Run, NDArray[np.float64]], versus: Sequence[tuple[str, str]]) -> list[_Line]:
    """Return the estimates of runs, their means over seeds, and the differences of these."""
    means = _means(by_run)
    apart = [
        _Line(run, other, mean.estimate - means[run._replace(method=other)].estimate)
        for (method, other), (run, mean) in product(versus, means.items())
        if run.method == method and run._replace(method=other) in means
    ]
    return [*_runs_and_means(by_run), *apart]


def _runs_and_means(by_run: Mapping[Run, NDArray[np.float64]]) -> Iterator[_Line]:
    """Yield the lines of runs and of means over their seeds; a run without a seed is its own mean."""
    yield from (_Line(run, None, values) for run, values in by_run.items() if run.seed is not None)
    yield from _means(by_run).values()


def _means(by_run: Mapping[Run, NDArray[np.float64]]) -> dict[Run, _Line]:
    """Return the means over runs that differ only in their seed, by setting."""
    by_setting: dict[Run, list[NDArray[np.float64]]] = {}
    for run, values in by_run.items():
        by_setting.setdefault(run._replace(seed=None), []).append(values)
    return {
        setting: _Line(setting, None, np.mean(each, axis=0), len(each), _spread([values[..., 0] for values in each]))
        for setting, each in by_setting.items()
    }


def _spread(values: Sequence[Any]) -> Any:
    """Return the standard deviation of the values of runs; None of a single one."""
    return np.std(values, axis=0, ddof=1) if len(values) > 1 else None


def _record(line: _Line, label: int | None, smallest: int | None, scale: str, fields: Mapping[str, Any]) -> Record:
    """Return the record of a line, or of one of its labels.

    Args:
        line: estimates [1 + P], or [L, 1 + P] of several labels.
        label: number of the label, None of estimates [1 + P].
        smallest: number of patients of the smaller class, None for a mean of labels.
        scale: scale of the statistic.
        fields: further fields of the record.
    """
    estimate, run_sd = line.estimate, line.run_sd
    if label is not None:
        estimate, run_sd = estimate[label], None if run_sd is None else run_sd[label]
    is_difference = line.versus is not None
    more: dict[str, Any] = {
        "versus": line.versus,
        "p_value": p_value(estimate, smallest) if is_difference else None,
        "runs": line.runs,
        "run_sd": None if run_sd is None or np.isnan(run_sd) else float(run_sd),
    }
    ends = interval(estimate, smallest, APART[scale] if is_difference else scale)
    return make_record(line.run, estimate[0], ends, **more, **fields)


def _corrected(records: list[Record]) -> list[Record]:
    """Return the records of one line with p-values corrected for the number of labels, means aside."""
    single = [record for record in records if record["label"] != MEAN_LABEL]
    for record, p_holm in zip(single, holm([record["p_value"] for record in single]), strict=True):
        record["p_holm"] = p_holm
    return records


def estimated(
    table: ScoreTable, statistic: Statistic, classes: Sequence[int] = (0, 1)
) -> dict[Run, NDArray[np.float64]]:
    """Return the estimates of each label and, last, of the mean over labels, by run, [L + 1, 1 + P].

    The mean is over the labels that every run scores and that have both classes. `classes` are as in `summarise`.
    """
    names, patient = np.unique(table.patients, return_inverse=True)
    in_mean = ~np.any([np.isnan(score).all(axis=1) for score in table.scores.values()], axis=0)
    in_mean &= (
        np.array(smallest_classes(table)) > 0
    )  # also of statistics of one class, so that means are of the same labels
    wider = np.array([widening(smallest) for smallest in smallest_classes(table, classes)])
    by_run = {}
    for run, score in table.scores.items():
        values = np.full((len(score), 1 + len(names)), np.nan)
        for label, known in enumerate(~(np.isnan(score) | np.isnan(table.target))):
            if known.any():
                values[label] = statistic(score[label, known], table.target[label, known], patient[known], len(names))
        by_run[run] = np.vstack([values, mean_over_labels(values, wider, in_mean & ~np.isnan(values[:, 0]))])
    return by_run


def mean_over_labels(
    values: NDArray[np.float64], wider: NDArray[np.float64], used: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the estimate of the mean over some labels, [1 + P], NaN without any.

    Args:
        values: estimates of L labels, [L, 1 + P].
        wider: what the influences on each label are multiplied by first, [L] (`intervals.widening`).
        used: which labels count, bool [L].
    """
    if not used.any():
        return np.full(values.shape[1], np.nan)
    mean: NDArray[np.float64] = values[used].mean(axis=0)
    mean[1:] = (values[used, 1:] * wider[used, None]).mean(axis=0)
    return mean


def smallest_classes(table: ScoreTable, classes: Sequence[int] = (0, 1)) -> list[int]:
    """Return the number of patients of the smaller one of some classes of each label, [L]."""
    return [min(len(set(table.patients[target == value])) for value in classes) for target in table.target]


def write_results(records: Sequence[Record], path: Path) -> None:
    """Write records as a JSON list, one in a line; a `ValueError` says that a number is NaN or infinite."""
    lines = ",\n".join(json.dumps(record, allow_nan=False) for record in records)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def compare_runs(
    by_run: Mapping[Run, Estimate],
    versus: Sequence[tuple[str, str]],
    *,
    common_seeds: bool = True,
    smallest: int | None = None,
    scale: str = "unit",
    **fields: Any,
) -> list[Record]:
    """Return records of runs, of the means over their seeds, and of the paired differences of methods.

    Args:
        by_run: estimates [1 + P] of each run, of the same patients.
        versus: pairs (method, other) for `method - other`.
        common_seeds: whether a difference is the mean over the seeds that both methods have, with no record if they
            have none, or else that of the means over all seeds of each.
        smallest: number of patients of the smaller class, or of all patients; None for a mean of labels.
        scale: scale of the intervals of `by_run`: "unit", "signed" or "any".
        fields: further fields of the records.
    """
    if common_seeds:
        lines = [*_runs_and_means(by_run)]
        for method, other in versus:
            beside = {run: by_run.get(run._replace(method=other)) for run in by_run if run.method == method}
            apart = {run: by_run[run] - values for run, values in beside.items() if values is not None}
            lines += [mean._replace(versus=other) for mean in _means(apart).values()]
    else:
        lines = _with_differences(by_run, versus)
    if smallest is not None:
        fields = {"few": smallest < FEW_PATIENTS} | fields
    return [_record(line, None, smallest, scale, fields) for line in lines]


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


def _counted(table: ScoreTable, smallest: Sequence[int]) -> list[dict[str, Any]]:
    """Return the fields `label`, `n`, `positives`, `patients` and `few` of each label and of their mean."""
    known = ~np.isnan(table.target)
    known = np.vstack([known, known.any(axis=0)])
    positives = [*(table.target == 1).sum(axis=1).tolist(), None]
    counts: list[dict[str, Any]] = [
        {"label": label, "n": int(rows.sum()), "positives": positive, "patients": len(set(table.patients[rows]))}
        for label, rows, positive in zip([*table.labels, MEAN_LABEL], known, positives, strict=True)
    ]
    for counted, patients in zip(counts, smallest, strict=False):
        counted["few"] = patients < FEW_PATIENTS
    counts[-1]["few"] = any(0 < patients < FEW_PATIENTS for patients in smallest)
    return counts
