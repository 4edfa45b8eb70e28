"""ROC curves of models with the operating points of readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle, product
from math import ceil
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from igcl_lightning.evaluation.operating_points import Cases, Given
from igcl_lightning.evaluation.plots import MARKERS, PALETTE, finish
from igcl_lightning.evaluation.results import Record

COLUMNS = 3
*MODEL_COLOURS, READER_COLOUR = PALETTE
MODEL_MARKER, *READER_MARKERS = MARKERS
"""Readers are black, and differ in their markers; models differ in colour, then in line style."""

STYLES = ("-", "--", ":")
ABOVE = 3
"""Drawing order of points, above the curves."""


def plot_roc_readers(
    cases: Cases, models: Sequence[Given], records: Sequence[Record], labels: Sequence[str], path: Path
) -> None:
    """Plot a panel for each label: curves of models, and the points of `records` with 95 % intervals, as PNG.

    Args:
        cases: labels and targets.
        models: scores.
        records: records of sensitivity and specificity, of readers and of models with a threshold.
        labels: labels to plot; one without scores or without both classes has an empty panel.
        path: file to write.
    """
    rows = ceil(len(labels) / COLUMNS)
    figure = Figure(figsize=(3.4 * min(COLUMNS, len(labels)), 3.3 * rows + 0.5), layout="constrained")
    panels = figure.subplots(rows, min(COLUMNS, len(labels)), sharex=True, sharey=True, squeeze=False).flat
    looks = dict(zip((model.name for model in models), cycle(product(STYLES, MODEL_COLOURS)), strict=False))
    readers = dict.fromkeys(record["method"] for record in records if record["method"] not in looks)
    markers = dict(zip(readers, cycle(READER_MARKERS), strict=False))
    for axes, label in zip(panels, labels, strict=False):
        place = cases.labels.index(label)
        for model in models:
            false, true = roc_points(model.value[:, place], cases.target[:, place])
            style, colour = looks[model.name]
            axes.plot(false, true, color=colour, linestyle=style, label=model.name, linewidth=1.2)
            _point(axes, _of(records, model.name, label), colour, MODEL_MARKER)
        for name, marker in markers.items():
            axes.plot([], [], label=name, color=READER_COLOUR, marker=marker, linestyle="none")  # for the legend
            _point(axes, _of(records, name, label), READER_COLOUR, marker)
        axes.set_title(label, fontsize="medium")
        axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":")
    for axes in list(figure.axes)[len(labels) :]:
        axes.set_visible(False)
    figure.supxlabel("1 - specificity", fontsize="medium")
    figure.supylabel("sensitivity", fontsize="medium")
    finish(figure, path)


def roc_points(score: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares of negatives and of positives at or above each score, from 0 to 1, ties in one step.

    Args:
        score: float [N], NaN where there is none.
        target: 1, 0 or NaN where unknown, [N]; without both classes the curve has no points.
    """
    known = ~(np.isnan(score) | np.isnan(target))
    levels, level = np.unique(score[known], return_inverse=True)
    counts = [np.bincount(level[target[known] == kind], minlength=len(levels))[::-1] for kind in (0, 1)]
    if not all(each.sum() for each in counts):
        return np.zeros(0), np.zeros(0)
    false, true = (np.concatenate([[0], each.cumsum() / each.sum()]) for each in counts)
    return false, true


def _of(records: Sequence[Record], method: str, label: str) -> dict[str, Record]:
    """Return the records of a method's answers on a label that have a value, by statistic."""
    wanted = (method, label, None)
    own = [each for each in records if (each["method"], each["label"], each["versus"]) == wanted]
    return {record["metric"]: record for record in own if record["value"] is not None}


def _point(axes: Axes, by_metric: Mapping[str, Record], colour: str, marker: str) -> None:
    """Draw an operating point with its intervals; nothing if one of the two shares is undefined."""
    if not {"sensitivity", "specificity"} <= by_metric.keys():
        return
    specificity, sensitivity = (_numbers(by_metric[metric]) for metric in ("specificity", "sensitivity"))
    (x, *across), (y, *up) = 1 - specificity, sensitivity
    axes.hlines(y, *across, color=colour, linewidth=0.8, alpha=0.6)
    axes.vlines(x, *up, color=colour, linewidth=0.8, alpha=0.6)
    axes.plot([x], [y], color=colour, marker=marker, markersize=5, zorder=ABOVE)


def _numbers(record: Record) -> np.ndarray:
    """Return value and ends of the interval; without an interval, the value three times."""
    return np.array([record["value"], *(record[end] or record["value"] for end in ("ci_low", "ci_high"))], dtype=float)
