"""ROC curves of saved predictions, with the operating points of others such as readers, and reliability diagrams."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from igcl_lightning.evaluation.plots import finished, styles_of
from igcl_lightning.evaluation.results import Record
from igcl_lightning.metrics.calibration import probabilities, reliability

GRID = np.linspace(0, 1, 101)
"""False positive rates at which curves are averaged and drawn."""

COLUMNS = 4
"""Panels beside one another."""

TICKS = (0, 0.5, 1)

LEAST_SCORES = 20
"""Scores of a bin that is drawn: the share of fewer is chance."""

LINES = ("-", "--", "-.", ":")
"""Lines of methods, beside their colours."""

Floats = NDArray[np.float64]


class Curve(NamedTuple):
    """The ROC curve of a method for a label: sensitivity at the false positive rates of `GRID`, the mean over runs."""

    method: str
    label: str
    sensitivity: Floats


class Point(NamedTuple):
    """The operating point of a reader, or of anyone who answers yes or no, for a label; rates in [0, 1]."""

    reader: str
    label: str
    sensitivity: float
    specificity: float


class Bins(NamedTuple):
    """How often a label is present where a method says how likely it is: mean probability, share, scores, [B] each."""

    method: str
    predicted: Sequence[float]
    observed: Sequence[float]
    rows: Sequence[int]


def roc_curves(predictions: pd.DataFrame) -> list[Curve]:
    """Return the ROC curve of each method and label that has both classes.

    Runs that differ in their seed are averaged at equal false positive rates, never pooled: the scores of two runs
    share no scale.

    Args:
        predictions: columns as in `predictions.SCHEMA`, of one split and setting.
    """
    known = predictions.dropna(subset="target")
    curves = []
    for (label, method), own in known.groupby(["label", "method"], sort=False):
        if own["target"].nunique() == 2:
            runs = [_sensitivity(run["target"], run["score"]) for _, run in own.groupby("seed")]
            curves.append(Curve(str(method), str(label), np.mean(runs, axis=0)))
    return curves


def _sensitivity(target: pd.Series[float], score: pd.Series[float]) -> Floats:
    """Return the sensitivity at the rates of `GRID`: the highest at each, linear between the thresholds."""
    false, true, _ = roc_curve(target, score, drop_intermediate=False)
    sensitivity: Floats = np.interp(GRID, false, true)  # the last of equal rates, which is the highest
    return sensitivity


def operating_points(records: Sequence[Record], split: str, without: Iterable[str] = ()) -> list[Point]:
    """Return the points of methods that have a sensitivity and a specificity for a label, means over runs.

    Args:
        records: records of `results.json`; those of differences and of groups are ignored.
        split: split of the rows.
        without: methods to leave out, such as those that have a curve.
    """
    rates: dict[tuple[str, str], dict[str, float]] = {}
    left_out = set(without)
    for each in records:
        plain = (each["split"], each["versus"], each["group"], each["seed"]) == (split, None, None, None)
        if plain and each["metric"] in ("sensitivity", "specificity") and each["value"] is not None:
            rates.setdefault((each["method"], each["label"]), {})[each["metric"]] = each["value"]
    return [
        Point(method, label, both["sensitivity"], both["specificity"])
        for (method, label), both in rates.items()
        if len(both) == 2 and method not in left_out
    ]


def reliabilities(predictions: pd.DataFrame) -> dict[str, list[Bins]]:
    """Return the bins of each method by label, of all runs together: probabilities of two runs share a scale.

    Args:
        predictions: known rows with columns as in `predictions.SCHEMA`, scores that are logits, and their temperature
            as the column `chosen` (`decisions.with_choices`).
    """
    panels: dict[str, list[Bins]] = {}
    for (label, method), own in predictions.groupby(["label", "method"], sort=False):
        found = reliability(probabilities(own["score"] / own["chosen"]), own["target"])
        panels.setdefault(str(label), []).append(Bins(str(method), *(each.tolist() for each in found)))
    return panels


def plot_roc(curves: Sequence[Curve], points: Sequence[Point] = ()) -> Figure:
    """Plot ROC curves, one panel per label, with the points of readers."""
    labels = list(dict.fromkeys(each.label for each in curves))
    methods = list(dict.fromkeys(each.method for each in curves))
    shown = [each for each in points if each.label in labels]
    styles = styles_of([*methods, *dict.fromkeys(each.reader for each in shown)])
    figure, panels = _panels(labels, "1 - specificity", "sensitivity")
    for each in curves:
        line, rate = LINES[methods.index(each.method) % len(LINES)], np.r_[0, GRID]
        style: dict[str, Any] = {"color": styles[each.method]["color"], "linestyle": line, "linewidth": 1.4}
        panels[each.label].plot(rate, np.r_[0, each.sensitivity], label=each.method, **style)
    for point in shown:
        style = {**styles[point.reader], "color": "black", "linestyle": "none", "markersize": 5}
        panels[point.label].plot(1 - point.specificity, point.sensitivity, label=point.reader, **style)
    return finished(figure)


def plot_reliability(panels: Mapping[str, Sequence[Bins]]) -> Figure:
    """Plot how often labels are present by probability, a panel for each title; bins have `LEAST_SCORES` at least."""
    styles = styles_of(dict.fromkeys(each.method for bins in panels.values() for each in bins))
    figure, axes = _panels(list(panels), "mean probability", "share of positives")
    for title, bins in panels.items():
        for each in bins:
            enough = np.array(each.rows) >= LEAST_SCORES
            predicted, observed = np.array(each.predicted)[enough], np.array(each.observed)[enough]
            style: dict[str, Any] = {**styles[each.method], "markersize": 4, "linewidth": 1}
            axes[title].plot(predicted, observed, label=each.method, **style)
    return finished(figure)


def _panels(titles: Sequence[str], x: str, y: str) -> tuple[Figure, dict[str, Axes]]:
    """Return a figure of squares from 0 to 1 with their diagonals, by title."""
    columns = min(COLUMNS, len(titles))
    rows = -(-len(titles) // columns)
    figure = Figure(figsize=(0.5 + 2.3 * columns, 0.9 + 2.4 * rows), layout=ConstrainedLayoutEngine(hspace=0.08))
    grid = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
    for axes in grid[len(titles) :]:
        axes.remove()
    panels = dict(zip(titles, grid, strict=False))
    for title, axes in panels.items():
        axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":")
        axes.set_title(title, fontsize="medium")
        axes.set_aspect("equal")
        axes.set_xticks(TICKS)
        axes.set_yticks(TICKS)
    figure.supxlabel(x, fontsize="medium")
    figure.supylabel(y, fontsize="medium")
    return figure, panels
