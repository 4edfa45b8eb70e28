"""Readers, who answer yes or no, and models on the same rows: operating points, AUROC, paired differences, tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from igcl_lightning.evaluation.intervals import APART, FEW_PATIENTS, holm, interval, p_value, widening
from igcl_lightning.evaluation.predictions import Run
from igcl_lightning.evaluation.results import MEAN_LABEL, Record, make_record, mean_over_labels
from igcl_lightning.evaluation.tables import format_cell, method_name
from igcl_lightning.metrics.influence import Estimate, auroc_estimate, jackknife_estimate
from igcl_lightning.metrics.operating import OPERATING, SCALE, patient_counts

Floats = NDArray[np.float64]

METRICS = ("mcc", "f1", "sensitivity", "specificity")
"""Statistics of answers, in the order of the tables."""

AUROC = "auroc"
TITLES = {AUROC: "AUROC", "mcc": "MCC", "f1": "F1"}
CLASSES = {"sensitivity": (1,), "specificity": (0,)}
"""Classes that a statistic depends on, where these are not both."""

SIGNIFICANT = 0.05
VERDICTS = "better or worse: the interval of a difference excludes 0; * not so after Holm's correction over labels"


@dataclass(frozen=True, slots=True, eq=False)
class Cases:
    """What is known of N rows.

    Attributes:
        labels: names of the L labels.
        in_mean: the labels that means are over.
        patients: patient of each row, [N].
        target: 1, 0 or NaN where unknown, [N, L].
    """

    labels: Sequence[str]
    in_mean: Sequence[str]
    patients: NDArray[np.object_]
    target: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """What a reader or a model says of the rows of `Cases`.

    Attributes:
        name: its name.
        value: answers, 1 or 0, or scores; NaN where there are none, [N, L].
        thresholds: of answers of a model, the threshold by label.
    """

    name: str
    value: Floats
    thresholds: Mapping[str, float] = field(default_factory=dict)


class _Known(NamedTuple):
    """The rows of a label that have a target and all values that are compared, bool [N], and counts of patients."""

    label: str
    place: int
    rows: NDArray[np.bool_]
    positives: int
    smallest: int

    @property
    def has_both(self) -> bool:
        """Whether there are positive and negative rows."""
        return 0 < self.positives < int(self.rows.sum())


def answers_at(score: Floats, labels: Sequence[str], thresholds: Mapping[str, float]) -> Floats:
    """Return 1 where a score [N, L] is at least the threshold of its label, else 0; NaN without score or threshold."""
    limits = np.array([thresholds.get(label, np.nan) for label in labels])
    return np.where(np.isnan(score) | np.isnan(limits), np.nan, score >= limits)


def operating_records(cases: Cases, given: Given, **about: str) -> list[Record]:
    """Return MCC, F1, sensitivity and specificity of answers, by label and their mean; `about` are further fields.

    A label that is not answered has no record; one whose rows lack a class has a record without the values that are
    undefined then, and is not in the mean.
    """
    return [record for metric in METRICS for record in _records(cases, metric, [given], about)]


def auroc_records(cases: Cases, given: Given, **about: str) -> list[Record]:
    """Return the AUROC of scores, by label and their mean, as `operating_records` does."""
    return _records(cases, AUROC, [given], about)


def difference_records(cases: Cases, model: Given, reader: Given, **about: str) -> list[Record]:
    """Return `model - reader` of the statistics of answers on the rows that both answer, paired by patient.

    P-values are corrected for the number of labels by Holm's method, in each statistic apart.
    """
    return [record for metric in METRICS for record in _records(cases, metric, [model, reader], about)]


def verdict(record: Record) -> str:
    """Return "better" or "worse" if the interval of a difference excludes 0, else "cannot tell"; "-" if undefined.

    "better *" and "worse *" are no longer so after Holm's correction for the number of labels.
    """
    low, high = record["ci_low"], record["ci_high"]
    if low is None or high is None:
        return "-" if record["value"] is None else "cannot tell"
    if low <= 0 <= high:
        return "cannot tell"
    kept = record["label"] == MEAN_LABEL or (record["p_holm"] or 0) < SIGNIFICANT
    return ("better" if low > 0 else "worse") + ("" if kept else " *")


def tables(records: Sequence[Record], labels: Sequence[str]) -> Iterator[tuple[str, list[list[str]]]]:
    """Yield title and rows of tables with the chosen labels and the mean beside one another.

    There is one for each statistic with methods below one another, one for its differences, and one for each pair that
    is compared with a verdict by statistic.
    """
    columns = [*labels, MEAN_LABEL]
    for metric in (AUROC, *METRICS):
        title = TITLES.get(metric, metric)
        own = [record for record in records if record["metric"] == metric]
        for corner, is_difference in (("method", False), ("difference", True)):
            shown = [record for record in own if (record["versus"] is not None) == is_difference]
            cells = [(method_name(each), each["label"], format_cell(each)) for each in shown]
            if cells:
                yield f"{title}, {corner}" if is_difference else title, _table(corner, cells, columns)
    apart = [record for record in records if record["versus"] is not None]
    for pair in dict.fromkeys(map(method_name, apart)):
        shown = [record for record in apart if method_name(record) == pair]
        cells = [(TITLES.get(each["metric"], each["metric"]), each["label"], verdict(each)) for each in shown]
        yield f"{pair}: better or worse", _table("metric", cells, columns)


def remarks(records: Sequence[Record], in_mean: Sequence[str]) -> list[str]:
    """Return lines on what the means are over, and on labels of one class only or of few patients."""
    own = [record for record in records if record["versus"] is None and record["label"] != MEAN_LABEL]
    over: dict[tuple[str, ...], list[str]] = {}
    for method in dict.fromkeys(record["method"] for record in own):
        both = {each["label"] for each in own if each["method"] == method and 0 < (each["positives"] or 0) < each["n"]}
        over.setdefault(tuple(label for label in in_mean if label in both), []).append(method)
    lines = []
    for labels, methods in over.items():
        of = f" of {', '.join(methods)}" if len(over) > 1 else ""
        lines.append(f"mean{of} over {', '.join(labels) or 'no label'}")
    for what, lacking in (
        ("no positives, so neither sensitivity, F1, MCC nor AUROC", {r["label"] for r in own if not r["positives"]}),
        ("no negatives, so neither specificity, MCC nor AUROC", {r["label"] for r in own if r["positives"] == r["n"]}),
    ):
        if lacking:
            lines.append(f"{what}: {', '.join(sorted(lacking))}")
    if any(record["versus"] is not None for record in records):
        lines.append(VERDICTS)
    if any(record["few"] and record["value"] is not None for record in records):
        lines.append(f"few: fewer than {FEW_PATIENTS} patients with a label, or without it")
    return lines


def _records(cases: Cases, metric: str, compared: Sequence[Given], about: Mapping[str, str]) -> list[Record]:
    """Return the records of one statistic, of a method or of the difference of two."""
    first, *others = compared
    names, patient = np.unique(cases.patients, return_inverse=True)
    known = list(_known(cases, metric, compared))
    values = np.full((len(known), 1 + len(names)), np.nan)
    for number, each in enumerate(known):
        target = cases.target[each.rows, each.place]
        values[number], *apart = (
            _estimate(metric, given.value[each.rows, each.place], target, patient[each.rows], len(names))
            for given in compared
        )
        for other in apart:
            values[number] -= other
    found: list[Record] = []
    more: dict[str, Any] = {**about, "metric": metric, "versus": others[0].name if others else None}
    scale = SCALE.get(metric, "unit")
    scale = APART[scale] if others else scale
    run = Run(first.name, None, None, None)
    p_values = [p_value(value, each.smallest) if others else None for value, each in zip(values, known, strict=True)]
    for value, each, p, corrected in zip(values, known, p_values, holm(p_values), strict=True):
        counts = _counts(cases, each.rows) | {"positives": each.positives, "few": each.smallest < FEW_PATIENTS}
        tested = {"p_value": p, "p_holm": corrected, "threshold": first.thresholds.get(each.label)}
        ends = interval(value, each.smallest, scale)
        found.append(make_record(run, value[0], ends, label=each.label, **tested, **counts, **more))
    used = [each.label in cases.in_mean and each.has_both for each in known]
    wider = np.array([widening(each.smallest) for each in known])
    mean = mean_over_labels(values, wider, np.array(used, dtype=bool) & ~np.isnan(values[:, 0]))
    rows = np.zeros(len(patient), dtype=bool)
    for each in (each for each, is_used in zip(known, used, strict=True) if is_used):
        rows |= each.rows
    few = any(each.smallest < FEW_PATIENTS for each, is_used in zip(known, used, strict=True) if is_used)
    tested = {"p_value": p_value(mean) if others else None, "few": few}
    return [*found, make_record(run, mean[0], interval(mean, None, scale), **tested, **_counts(cases, rows), **more)]


def _known(cases: Cases, metric: str, compared: Sequence[Given]) -> Iterator[_Known]:
    """Yield the labels that all methods say something of, with their rows."""
    for place, label in enumerate(cases.labels):
        target = cases.target[:, place]
        has = [~np.isnan(given.value[:, place]) for given in compared]
        if all(each.any() for each in has):
            rows = np.all([~np.isnan(target), *has], axis=0)
            smallest = min(len(set(cases.patients[rows & (target == kind)])) for kind in CLASSES.get(metric, (0, 1)))
            yield _Known(label, place, rows, int((target[rows] == 1).sum()), smallest)


def _estimate(metric: str, value: Floats, target: Floats, patient: NDArray[np.intp], patients: int) -> Estimate:
    """Return the estimate of a statistic of scores or answers [N], [1 + P]."""
    if metric == AUROC:
        return auroc_estimate(value, target, patient, patients)
    return jackknife_estimate(OPERATING[metric], patient_counts(value == 1, target, patient, patients))


def _counts(cases: Cases, rows: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the fields `n` and `patients` of some rows, bool [N]."""
    return {"n": int(rows.sum()), "patients": len(set(cases.patients[rows]))}


def _table(corner: str, cells: Iterable[tuple[str, str, str]], columns: Sequence[str]) -> list[list[str]]:
    """Return the rows of a table, titles first, from cells as (row, column, text); other columns are left out."""
    rows: dict[str, dict[str, str]] = {}
    for row, column, text in cells:
        rows.setdefault(row, {})[column] = text
    return [[corner, *columns], *([name, *(row.get(column, "") for column in columns)] for name, row in rows.items())]
