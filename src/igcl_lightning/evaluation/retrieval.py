"""Retrieval over a whole pool of pairs: recall, median rank and precision by label, with intervals over patients."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.means import patient_mean
from igcl_lightning.evaluation.predictions import Run
from igcl_lightning.evaluation.results import MEAN_LABEL, Record, aligned, compare_runs, format_cell, method_name
from igcl_lightning.metrics.clinical import patient_bootstrap_weights

PROTOCOL = "retrieval"
POOLS = ("", "_without_own")
"""Ends of the names of metrics: with the own pair among the candidates, and without all pairs of its study."""

METRIC = re.compile(rf"(.+?)_(recall@\d+|precision@\d+|median_rank)({POOLS[1]})?")
"""Direction, name and pool in the name of a metric."""

KINDS = {"recall": 0, "median_rank": 1, "precision": 2}
"""Order of the tables of one direction and pool."""

Floats = NDArray[np.float64]


class Answers(NamedTuple):
    """What one model found for the N queries of one direction over one pool.

    Attributes:
        direction: the two sides, such as "image_to_graph".
        patient: id of the patient of each query, [N].
        rank: rank of the first match, int64 [2, N], with the own pair and without its study; 0 where nothing matches.
        k: numbers of nearest candidates.
        precision: share of the k nearest that have a label, float [2, N, len(k), L]; NaN for a query without it.
        labels: names of the L labels.
        row: row id of each query, [N]; empty if not asked for.
        nearest: queries whose own second sides are nearest, nearest first, int64 [N, S]; -1 where there are no more.
        right: whether these match, bool [N, S].
    """

    direction: str
    patient: NDArray[np.int64]
    rank: NDArray[np.int64]
    k: tuple[int, ...]
    precision: NDArray[np.float32]
    labels: tuple[str, ...]
    row: NDArray[np.object_] = np.array([], dtype=object)
    nearest: NDArray[np.int64] = np.zeros((0, 0), dtype=np.int64)
    right: NDArray[np.bool_] = np.zeros((0, 0), dtype=bool)


def summarise_retrieval(
    answers: Mapping[Run, Sequence[Answers]],
    *,
    versus: Sequence[tuple[str, str]] = (),
    resamples: int = 1000,
    seed: int = 0,
    **about: str,
) -> list[Record]:
    """Return the metrics of runs, their means over seeds, and paired differences, with 95 % percentile intervals.

    Metrics are `image_to_graph_recall@5`, `image_to_graph_median_rank`, and by label and as their mean
    `image_to_graph_precision@5`; names end in `_without_own` for the pool without the query's own study. A difference
    has the name of its first method, whose sides may be others than those of the second. See `results.compare_runs`.

    Args:
        answers: the directions of each run, in the same order for all.
        versus: pairs (method, other) for `method - other`.
        resamples: number of bootstrap resamples of the patients, the same for all runs.
        seed: seed of the bootstrap.
        about: further fields of the records: store, split.

    Raises:
        IgclError: two runs searched different pools, or were asked for different k or labels.
    """
    records = []
    for each in zip(*answers.values(), strict=True):
        asked = dict(zip(answers, each, strict=True))
        _check_alike(asked)
        patients = np.unique(each[0].patient)
        weights = np.vstack([np.ones((1, len(patients))), patient_bootstrap_weights(patients, resamples, seed)])
        records += list(_records(asked, weights, versus, {"protocol": PROTOCOL, **about}))
    return records


def _check_alike(asked: Mapping[Run, Answers]) -> None:
    first = next(iter(asked.values()))
    for run, each in asked.items():
        same = np.array_equal(each.patient, first.patient) and np.array_equal(each.rank > 0, first.rank > 0)
        if not same or (each.k, each.labels) != (first.k, first.labels):
            raise IgclError(f"{run.method}, seed {run.seed}: searched other pairs, or was asked for other k or labels")


class _Metric(NamedTuple):
    """A metric of a pool: its name, label, the queries that count, bool [N], and values [1 + R] by run."""

    name: str
    label: str
    rows: Any
    values: dict[Run, Floats]


def _records(
    asked: Mapping[Run, Answers], weights: Floats, versus: Sequence[tuple[str, str]], about: Mapping[str, str]
) -> Iterator[Record]:
    first = next(iter(asked.values()))
    directions = {run.method: each.direction for run, each in asked.items()}
    for pool, end in enumerate(POOLS):
        for metric in _metrics(asked, pool, weights):
            counts = {"n": int(metric.rows.sum()), "patients": len(np.unique(first.patient[metric.rows]))}
            fields: dict[str, Any] = {"label": metric.label, **counts, **about}
            for record in compare_runs(metric.values, versus, common_seeds=False, **fields):
                record["metric"] = f"{directions[record['method']]}_{metric.name}{end}"
                yield record


def _metrics(asked: Mapping[Run, Answers], pool: int, weights: Floats) -> Iterator[_Metric]:
    first = next(iter(asked.values()))
    some = first.rank[pool] > 0
    share = partial(_share, first.patient, weights)
    if some.any():
        for k in first.k:
            recall = {run: share(each.rank[pool] <= k, some) for run, each in asked.items()}
            yield _Metric(f"recall@{k}", MEAN_LABEL, some, recall)
        medians = {run: _median(first.patient, weights, each.rank[pool], some) for run, each in asked.items()}
        yield _Metric("median_rank", MEAN_LABEL, some, medians)
    for place, k in enumerate(first.k if first.labels else ()):
        has = ~np.isnan(first.precision[pool, :, place])
        by_label = []
        for label, name in enumerate(first.labels):
            rows = has[:, label]
            values = {run: share(each.precision[pool, :, place, label], rows) for run, each in asked.items()}
            by_label.append(values)
            yield _Metric(f"precision@{k}", name, rows, values)
        means = {run: np.mean([values[run] for values in by_label], axis=0) for run in asked}
        yield _Metric(f"precision@{k}", MEAN_LABEL, has.any(axis=1), means)


def _share(patient: NDArray[np.int64], weights: Floats, value: NDArray[Any], some: NDArray[np.bool_]) -> Floats:
    """Return the mean of `value` [N] over some queries in each resample, [1 + R], given weights [1 + R, P]."""
    return patient_mean(np.unique(patient, return_inverse=True)[1][some], value[some].astype(float), weights)


def _median(patient: NDArray[np.int64], weights: Floats, rank: NDArray[np.int64], some: NDArray[np.bool_]) -> Floats:
    """Return the median rank of some queries in each resample, [1 + R]; NaN where none of their patients is drawn."""
    of_patient = np.unique(patient, return_inverse=True)[1][some]
    order = np.argsort(rank[some], kind="stable")
    ranks, of_patient = rank[some][order], of_patient[order]
    medians = np.full(len(weights), np.nan)
    for number, times in enumerate(weights):
        until = np.cumsum(times[of_patient])
        if until[-1]:
            middle = np.searchsorted(until, [(until[-1] - 1) // 2, until[-1] // 2], side="right")
            medians[number] = ranks[middle].mean()
    return medians


def format_retrieval(records: Sequence[Record]) -> str:
    """Return the metrics over seeds as plain text: for each split, direction and pool, methods below one another."""
    shown = [each for each in records if each["label"] == MEAN_LABEL and each["seed"] is None]
    blocks: dict[tuple[int, int, str, int], list[Record]] = {}
    splits = list(dict.fromkeys(each["split"] for each in shown))
    directions: dict[str, list[str]] = {}
    for each in shown:
        direction, name, end = _parts(each)
        known = directions.setdefault(method_name(each), [])
        known += [direction] * (direction not in known)
        kind = name.partition("@")[0]  # a block of its own, or it would be wider than a terminal
        place = splits.index(each["split"]), known.index(direction), end, KINDS[kind]
        blocks.setdefault(place, []).append(each)
    return "\n\n".join(_block(blocks[key]) for key in sorted(blocks))


def _parts(record: Record) -> tuple[str, str, str]:
    """Return the direction, the name and the pool of a record's metric."""
    found = METRIC.fullmatch(record["metric"])
    assert found is not None
    return found[1], found[2], found[3] or ""


def _block(records: Sequence[Record]) -> str:
    cells: dict[str, dict[str, str]] = {}
    for each in records:
        _, name, end = _parts(each)
        cells.setdefault(method_name(each), {})[name.replace("_", " ")] = _cell(each, name)
    names = list(dict.fromkeys(name for row in cells.values() for name in row))
    directions = dict.fromkeys(_parts(each)[0].replace("_", " ") for each in records)
    pool = "without the study's own" if end else "own pair included"
    counts = f"{records[0]['n']:,} {records[0]['split']} queries of {records[0]['patients']:,} patients"
    rows = [["method", *names], *([method, *(row.get(name, "") for name in names)] for method, row in cells.items())]
    return "\n".join([f"{', '.join(directions)}, {pool}: {counts}", aligned(rows)])


def _cell(record: Record, name: str) -> str:
    """Return a value with its interval; ranks with one decimal."""
    if name != "median_rank" or record["value"] is None or record["ci_low"] is None:
        return format_cell(record)
    sign = "" if record["versus"] is None else "+"
    return f"{record['value']:{sign}.1f} [{record['ci_low']:{sign}.1f}, {record['ci_high']:{sign}.1f}]"
