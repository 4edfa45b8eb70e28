"""Retrieval over a whole pool of pairs: recall, median rank and precision by label, with intervals over patients."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.intervals import FEW_PATIENTS, widening
from igcl_lightning.evaluation.many_rows import are_many, compared_rows, format_rows
from igcl_lightning.evaluation.predictions import Run
from igcl_lightning.evaluation.results import MEAN_LABEL, Record, compare_runs, mean_over_labels
from igcl_lightning.evaluation.tables import aligned, format_cell, lacking, method_name, shown_recall
from igcl_lightning.metrics.influence import Estimate, mean_estimate, median_estimate

PROTOCOL = "retrieval"
POOLS = ("", "_without_own")
"""Ends of the names of metrics: with the own pair among the candidates, and without all pairs of its study."""

METRIC = re.compile(rf"(.+?)_(recall@\d+|precision@\d+|median_rank)({POOLS[1]})?")
"""Direction, name and pool in the name of a metric."""

KINDS = {"recall": 0, "median_rank": 1, "precision": 2}
"""Order of the tables of one direction and pool."""


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
    **about: str,
) -> list[Record]:
    """Return the metrics of runs, their means over seeds, and paired differences, with 95 % intervals over patients.

    Metrics are `image_to_graph_recall@5`, `image_to_graph_median_rank`, and by label and as their mean
    `image_to_graph_precision@5`; names end in `_without_own` for the pool without the query's own study. A difference
    has the name of its first method, whose sides may be others than those of the second. See `results.compare_runs`.

    Args:
        answers: the directions of each run, in the same order for all.
        versus: pairs (method, other) for `method - other`.
        about: further fields of the records: store, split.

    Raises:
        IgclError: two runs searched different pools, or were asked for different k or labels.
    """
    records = []
    for each in zip(*answers.values(), strict=True):
        asked = dict(zip(answers, each, strict=True))
        _check_alike(asked)
        records += list(_records(asked, versus, {"protocol": PROTOCOL, **about}))
    return records


def _check_alike(asked: Mapping[Run, Answers]) -> None:
    first = next(iter(asked.values()))
    for run, each in asked.items():
        same = np.array_equal(each.patient, first.patient) and np.array_equal(each.rank > 0, first.rank > 0)
        if not same or (each.k, each.labels) != (first.k, first.labels):
            raise IgclError(f"{run.method}, seed {run.seed}: searched other pairs, or was asked for other k or labels")


class _Metric(NamedTuple):
    """A metric of a pool: name, label, queries that count, bool [N], estimates by run, and fields of the records."""

    name: str
    label: str
    rows: Any
    values: dict[Run, Estimate]
    fields: Mapping[str, Any]


def _records(
    asked: Mapping[Run, Answers], versus: Sequence[tuple[str, str]], about: Mapping[str, str]
) -> Iterator[Record]:
    first = next(iter(asked.values()))
    directions = {run.method: each.direction for run, each in asked.items()}
    for pool, end in enumerate(POOLS):
        for metric in _metrics(asked, pool):
            counts = {"n": int(metric.rows.sum()), "patients": len(np.unique(first.patient[metric.rows]))}
            fields: dict[str, Any] = {"label": metric.label, **counts, **metric.fields, **about}
            for record in compare_runs(metric.values, versus, common_seeds=False, **fields):
                record["metric"] = f"{directions[record['method']]}_{metric.name}{end}"
                yield record


def _metrics(asked: Mapping[Run, Answers], pool: int) -> Iterator[_Metric]:
    first = next(iter(asked.values()))
    names, patient = np.unique(first.patient, return_inverse=True)

    def metric(name: str, label: str, rows: NDArray[np.bool_], value: Callable[[Answers], Any], scale: str) -> _Metric:
        estimate = median_estimate if scale == "any" else mean_estimate
        values = {run: estimate(value(each)[rows], patient[rows], len(names)) for run, each in asked.items()}
        return _Metric(name, label, rows, values, {"smallest": len(np.unique(patient[rows])), "scale": scale})

    some = first.rank[pool] > 0
    if some.any():
        for k in first.k:
            yield metric(f"recall@{k}", MEAN_LABEL, some, partial(_found, pool, k), "unit")
        yield metric("median_rank", MEAN_LABEL, some, partial(_found, pool, None), "any")
    for place, k in enumerate(first.k if first.labels else ()):
        has = ~np.isnan(first.precision[pool, :, place])
        by_label = [
            metric(f"precision@{k}", name, has[:, label], partial(_precision, pool, place, label), "unit")
            for label, name in enumerate(first.labels)
        ]
        yield from by_label
        sizes = [each.fields["smallest"] for each in by_label]
        wider, used = np.array([widening(size) for size in sizes]), np.ones(len(sizes), dtype=bool)
        means = {run: mean_over_labels(np.stack([each.values[run] for each in by_label]), wider, used) for run in asked}
        yield _Metric(f"precision@{k}", MEAN_LABEL, has.any(axis=1), means, {"few": min(sizes) < FEW_PATIENTS})


def _found(pool: int, k: int | None, answers: Answers) -> Any:
    """Return whether each query's first match is among the k nearest, or without k its rank, [N]."""
    return answers.rank[pool] if k is None else answers.rank[pool] <= k


def _precision(pool: int, place: int, label: int, answers: Answers) -> Any:
    return answers.precision[pool, :, place, label]


def format_retrieval(records: Sequence[Record], seeds: Mapping[str, int] | None = None) -> str:
    """Return the metrics over seeds as plain text: for each split, direction and pool, methods below one another.

    Of many methods, one recall and the median rank of the first direction are shown, with the own pair.

    Args:
        records: records as of `summarise_retrieval`.
        seeds: numbers of pretrainings by method, for tables of many methods.
    """
    shown = [each for each in records if each["label"] == MEAN_LABEL and each["seed"] is None]
    if are_many(shown):
        return _short(shown, seeds or {})
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
    remarks = "\n".join(lacking(shown))
    return "\n\n".join(filter(None, [*(_block(blocks[key]) for key in sorted(blocks)), remarks]))


def _short(means: Sequence[Record], seeds: Mapping[str, int]) -> str:
    recall = shown_recall(dict.fromkeys(each["metric"] for each in means))
    shown = [each for each in means if each["metric"] in (recall, recall.partition("recall")[0] + "median_rank")]
    texts = []
    for split in dict.fromkeys(each["split"] for each in shown):
        own = [each for each in shown if each["split"] == split]
        rows = compared_rows(own, seeds, lambda each: _parts(each)[1].replace("_", " "))
        texts.append(f"{_about(own)} [95 % interval]\n\n{format_rows(rows)}")
    rest = "other recalls, precision, the other direction and pools without a study's own pairs: results.json"
    return "\n\n".join([*texts, *["\n".join(lacking(shown))] * bool(lacking(shown)), rest])


def _parts(record: Record) -> tuple[str, str, str]:
    """Return the direction, the name and the pool of a record's metric."""
    found = METRIC.fullmatch(record["metric"])
    assert found is not None
    return found[1], found[2], found[3] or ""


def _block(records: Sequence[Record]) -> str:
    cells: dict[str, dict[str, str]] = {}
    for each in records:
        _, name, _ = _parts(each)
        cells.setdefault(method_name(each), {})[name.replace("_", " ")] = format_cell(each)
    names = list(dict.fromkeys(name for row in cells.values() for name in row))
    rows = [["method", *names], *([method, *(row.get(name, "") for name in names)] for method, row in cells.items())]
    return "\n".join([_about(records), aligned(rows)])


def _about(records: Sequence[Record]) -> str:
    """Return what the records of a table are of: directions, pool, queries, patients."""
    directions = dict.fromkeys(_parts(each)[0].replace("_", " ") for each in records)
    pool = "without the study's own" if _parts(records[0])[2] else "own pair included"
    counts = f"{records[0]['n']:,} {records[0]['split']} queries of {records[0]['patients']:,} patients"
    return f"{', '.join(directions)}, {pool}: {counts}"
