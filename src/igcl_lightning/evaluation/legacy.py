"""Results by the statistics of IGCL's authors beside ours, to show how they differ; never for conclusions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from igcl_lightning.evaluation.decisions import answer_estimate, with_choices
from igcl_lightning.evaluation.predictions import Run, ScoreTable, arranged_by_split, checked
from igcl_lightning.evaluation.results import MEAN_LABEL, Record, make_record, summarise
from igcl_lightning.evaluation.tables import aligned, format_cell, setting_name
from igcl_lightning.metrics.operating import SCALE, choose_threshold
from igcl_lightning.metrics.pooled import percentile_interval, pooled_statistics

Floats = NDArray[np.float64]

LEGACY = "igcl_legacy"
"""Protocol of records that no overview or plot mixes with others."""

OURS, THEIRS = "ours", "published"

HEADS = {"logistic": OURS, "softmax": THEIRS}
"""Heads by their word in the names of metrics: one regression for each label, or one softmax over all."""

STATISTICS = {"patients": OURS, "pooled": THEIRS}
"""Statistics by their word in the names of metrics: means of runs with intervals over patients, or pooled."""


def legacy_records(
    predictions: pd.DataFrame, head: str, splits: Sequence[str], *, resamples: int, store: str
) -> list[Record]:
    """Return AUROC and MCC of the runs of one head by both ways, means over seeds; metrics are "auroc_HEAD_WAY".

    Ours chooses the threshold of the MCC on validation rows, for each run and label.

    Args:
        predictions: columns as in `predictions.SCHEMA`, of the splits and of "valid".
        head: one of `HEADS`.
        splits: splits to evaluate.
        resamples: resamples of `pooled_statistics`.
        store: path of the store, for the records.

    Raises:
        IgclError: as `summarise`.
    """
    about: dict[str, Any] = {"protocol": LEGACY, "store": store}
    asked = predictions[predictions["split"].isin(splits)]
    answers = with_choices(predictions, splits, lambda score, target: choose_threshold(score, target, "mcc"))
    answers["score"] = (answers["score"] >= answers.pop("chosen")).astype(float)
    records = summarise(asked, **about, metric=f"auroc_{head}_patients")
    if len(answers):
        said: dict[str, Any] = {"statistic": partial(answer_estimate, "mcc"), "scale": SCALE["mcc"]}
        records += summarise(answers, **about, **said, metric=f"mcc_{head}_patients")
    records = [record for record in records if record["seed"] is None]
    in_mean = {"auroc": _labels_of_every_run(asked), "mcc": _labels_of_every_run(answers)}
    for split, table in arranged_by_split(checked(asked, "predictions")).items():
        records += _pooled_records(table, in_mean, resamples, head, about | {"split": split})
    return records


def _labels_of_every_run(predictions: pd.DataFrame) -> set[str]:
    runs = predictions.groupby([*Run._fields], dropna=False)["label"]
    scored = [set(labels) for _, labels in runs]
    return set.intersection(*scored) if scored else set()


def _pooled_records(
    table: ScoreTable, in_mean: Mapping[str, set[str]], resamples: int, head: str, about: dict[str, Any]
) -> Iterator[Record]:
    """Yield records of labels and of their mean, over the labels that ours is over, for each method and setting."""
    settings = dict.fromkeys(run._replace(seed=None) for run in table.scores)
    for setting in settings:
        score = np.stack([each for run, each in table.scores.items() if run._replace(seed=None) == setting])
        target = np.where(np.isnan(score).any(axis=0), np.nan, table.target)
        counts = _counts(table.labels, target)
        for name, values in pooled_statistics(score, target, resamples)._asdict().items():
            fields = about | {"metric": f"{name}_{head}_pooled", "runs": len(score)}
            used = np.array([label in in_mean[name] for label in table.labels]) & ~np.isnan(values[:, 0])
            mean = values[used].mean(axis=0) if used.any() else np.full(values.shape[1], np.nan)
            for drawn, counted in zip([*values, mean], counts, strict=True):
                yield make_record(setting, drawn[0], percentile_interval(drawn), **fields, **counted)


def _counts(labels: Sequence[str], target: Floats) -> list[dict[str, Any]]:
    """Return label, rows and positives of each label and of their mean."""
    known = [*~np.isnan(target), ~np.isnan(target).all(axis=0)]
    positives = [*(target == 1).sum(axis=1).tolist(), None]
    return [
        {"label": label, "n": int(rows.sum()), "positives": positive}
        for label, rows, positive in zip([*labels, MEAN_LABEL], known, positives, strict=True)
    ]


def format_legacy(records: Sequence[Record], split: str = "test") -> str:
    """Return both ways beside one another as plain text: value, interval and width; and the first method by label."""
    found = {
        (each["method"], setting_name(each), each["label"], each["metric"]): each
        for each in records
        if (each["protocol"], each["split"]) == (LEGACY, split)
    }
    who = list(dict.fromkeys(key[:2] for key in found))
    title = f"means over labels, {split} rows [95 % interval, as each way has it], and the width of the interval"
    rows = [["method", "labels", "head", "statistics", *_TITLES]]
    for (method, setting), head, way in product(who, HEADS, STATISTICS):
        cells = _cells(found, (method, setting, MEAN_LABEL), head, way)
        rows.append([method, setting, HEADS[head], STATISTICS[way], *cells])
    texts = [f"{title}\n{aligned(rows)}", "\n".join(_told(found, *each) for each in who)]
    if who:
        texts.append(_by_label(found, *who[0]))
    return "\n\n".join(texts)


_TITLES = ("AUROC", "width", "MCC", "width")
_Found = dict[tuple[str, str, str, str], Record]


def _cells(found: _Found, of: tuple[str, str, str], head: str, way: str) -> Iterator[str]:
    for statistic in ("auroc", "mcc"):
        record = found.get((*of, f"{statistic}_{head}_{way}"))
        width = None if record is None else _width(record)
        yield "-" if record is None else format_cell(record)
        yield "-" if width is None else f"{width:.3f}"


def _by_label(found: _Found, method: str, setting: str) -> str:
    """Return what one method reaches by label, all ours and all as published."""
    labels = list(dict.fromkeys(key[2] for key in found if key[:2] == (method, setting)))
    rows = [["label", "head and statistics", *_TITLES]]
    for label, (head, way) in product(labels, (("logistic", "patients"), ("softmax", "pooled"))):
        rows.append([label, HEADS[head], *_cells(found, (method, setting, label), head, way)])
    lacking = [label for label in labels if (method, setting, label, "mcc_logistic_patients") not in found]
    told = [f"no MCC of ours, and in no mean: {', '.join(lacking)}; one class among validation rows"] * bool(lacking)
    return "\n".join([f"{method}, {setting}, by label; - where rows are of one class", *told, aligned(rows)])


def _width(record: Record) -> float | None:
    low, high = record["ci_low"], record["ci_high"]
    return None if low is None or high is None else high - low


def _told(found: _Found, method: str, setting: str) -> str:
    """Return by how much the published way differs for a method, a line for each statistic."""
    told = []
    for what, ours, theirs in (
        ("all as published", "logistic_patients", "softmax_pooled"),
        ("statistics alone", "logistic_patients", "logistic_pooled"),
    ):
        for statistic, name in (("auroc", "AUROC"), ("mcc", "MCC")):
            pair = [found.get((method, setting, MEAN_LABEL, f"{statistic}_{way}")) for way in (ours, theirs)]
            told.append(f"{what}: {name} {_change(*pair)}")
    return "\n".join([f"{method}, {setting}, less ours:", *(f"  {line}" for line in told)])


def _change(ours: Record | None, theirs: Record | None) -> str:
    """Return the difference of two values, and the ratio of the widths of their intervals."""
    if ours is None or theirs is None or ours["value"] is None or theirs["value"] is None:
        return "not comparable"
    widths = _width(ours), _width(theirs)
    change = f"{theirs['value'] - ours['value']:+.3f}"
    return f"{change}, interval {widths[1] / widths[0]:.2f} times as wide" if widths[0] and widths[1] else change
