"""Plots of `results.json`: performance by number of labels, by label, and differences by label.

A function returns a figure of matplotlib; `save_png` writes it, and `svg.as_svg` makes it a part of a page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import NullLocator

from igcl_lightning.atomic import replacing
from igcl_lightning.evaluation.many_rows import Differences
from igcl_lightning.evaluation.results import MEAN_LABEL, Record
from igcl_lightning.evaluation.tables import setting_name

PALETTE: tuple[str, ...] = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours, which are safe for colour-blind readers."""

MARKERS: tuple[str, ...] = ("o", "s", "^", "D", "v", "P", "X", "*")
"""One more than colours, so that combinations of colour and marker rarely repeat."""

ALPHA = 0.05
"""Error of the first kind, over the labels of one comparison."""

AXIS_TITLE = {"fraction": "labelled share of the training data", "shots": "labelled positives per finding"}


def plot_label_efficiency(records: Sequence[Record], split: str = "test") -> Figure:
    """Plot the mean AUROC by labelled fraction and by shots, with 95 % intervals.

    Plots the macro means over seeds of `summarise`; at least one must have a fraction or shots.
    """
    frame = _averaged(records, split)
    frame = frame[frame["label"] == MEAN_LABEL]
    kinds = [kind for kind in AXIS_TITLE if frame[kind].notna().any()]
    figure = Figure(figsize=(1.2 + 3.8 * len(kinds), 3.6), layout=ConstrainedLayoutEngine(wspace=0.06))
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for axes, kind in zip(panels, kinds, strict=True):
        shown = frame.dropna(subset=[kind]).sort_values(kind)
        for method, style in _styles(frame).items():
            points = shown[shown["method"] == method]
            axes.fill_between(points[kind], points["ci_low"], points["ci_high"], color=style["color"], alpha=0.15, lw=0)
            if len(points) == 1:  # a band has no width
                axes.vlines(points[kind], points["ci_low"], points["ci_high"], color=style["color"])
            axes.plot(points[kind], points["value"], label=method, **style)
        ticks = shown.drop_duplicates(kind)
        axes.set_xscale("log")
        axes.set_xticks(ticks[kind], ticks["setting"])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel(AXIS_TITLE[kind])
    panels[0].set_ylabel("mean AUROC")
    return finished(figure)


def plot_per_label(records: Sequence[Record], split: str = "test") -> Figure:
    """Plot the AUROC of each label by method with 95 % intervals, one panel per setting.

    Plots the means over seeds of `summarise`, by fraction if there are any, else by shots.
    """
    frame = _averaged(records, split)
    styles = _styles(frame)
    frame = frame[frame["fraction"].notna()] if frame["fraction"].notna().any() else frame
    return _by_label(frame, styles, "AUROC", 0.5)


def plot_differences(records: Sequence[Record], title: str, split: str = "test") -> Figure:
    """Plot paired differences by label with 95 % intervals, one panel per setting: a forest plot.

    Plots the differences of the means over seeds to each other method; records are of one method, protocol and metric.
    A filled mark differs from 0, that of a label after the correction of Holm over the labels; a label with fewer than
    ten patients of one class says "few".

    Args:
        records: records as of `summarise`.
        title: what differs, such as "AUROC".
        split: split of the rows.
    """
    shown = [each for each in records if each["split"] == split and each["versus"] and each["seed"] is None]
    frame = _frame(shown).drop(columns="method").rename(columns={"versus": "method"})
    few = {each["label"] for each in shown if each["few"] and each["label"] != MEAN_LABEL}
    frame["label"] = [f"{label} (few)" if label in few else label for label in frame["label"]]
    frame["filled"] = [is_marked(each) for each in shown]
    return _by_label(frame, _styles(frame), f"difference in {title}", 0.0)


def plot_mean_differences(differences: Differences, title: str) -> Figure:
    """Plot differences of means with 95 % intervals: a line for each, its value beside it, one panel per setting.

    A filled mark differs from 0.

    Args:
        differences: the differences, in the order of their lines.
        title: what differs, such as "difference in mean AUROC".
    """
    lines, columns = differences.lines, differences.columns
    width = 0.75 + 0.07 * max(len(line.title) for line in lines) + 2.75 * len(columns)
    figure = Figure(figsize=(width, 0.8 + 0.26 * len(lines)), layout=ConstrainedLayoutEngine(wspace=0.04))
    panels = figure.subplots(1, len(columns), sharex=True, sharey=True, squeeze=False)[0]
    for axes, column in zip(panels, columns, strict=True):
        axes.axvline(0, color="grey", linewidth=1)
        known = {y: line.records[column] for y, line in enumerate(lines) if column in line.records}
        known = {y: record for y, record in known.items() if record["value"] is not None}
        frame = _frame([*known.values()])
        axes.hlines([*known], frame["ci_low"], frame["ci_high"], color=PALETTE[0])
        faces = [PALETTE[0] if is_marked(record) else "none" for record in known.values()]
        axes.scatter(frame["value"], [*known], s=25, c=faces, edgecolors=PALETTE[0], zorder=3)
        for y, value in zip(known, frame["value"], strict=True):
            axes.text(1.02, y, f"{value:+.3f}", transform=axes.get_yaxis_transform(), va="center", size=9)
        axes.set_title(column, fontsize="medium")
        axes.set_xlabel(title)
    panels[0].set_yticks(range(len(lines)), [line.title for line in lines])
    panels[0].set_ylim(len(lines) - 0.4, -0.6)
    return finished(figure)


def is_marked(difference: Record) -> bool:
    """Return whether a difference is other than 0 at 5 %, that of a label after the correction of Holm over labels."""
    p_value = difference["p_value"] if difference["label"] == MEAN_LABEL else difference["p_holm"]
    return p_value is not None and p_value < ALPHA


def _by_label(frame: pd.DataFrame, styles: Mapping[str, dict[str, str]], title: str, line: float) -> Figure:
    """Plot values by label, from the columns `method`, `setting`, `label`, the value and its interval, and `filled`."""
    labels = list(frame["label"].unique())
    settings = frame.sort_values(["fraction", "shots"])["setting"].unique()
    height = 1.4 + (0.2 + 0.08 * len(styles)) * len(labels)
    width = 0.95 + 0.07 * max(map(len, labels)) + 2.4 * len(settings)
    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(1, len(settings), sharex=True, sharey=True, squeeze=False)[0]
    offsets = (np.arange(len(styles)) - (len(styles) - 1) / 2) * 0.75 / len(styles)
    for axes, setting in zip(panels, settings, strict=True):
        for (method, style), offset in zip(styles.items(), offsets, strict=True):
            points = frame[(frame["setting"] == setting) & (frame["method"] == method)]
            y = [labels.index(label) + offset for label in points["label"]]
            axes.hlines(y, points["ci_low"], points["ci_high"], color=style["color"])
            filled = points.get("filled", pd.Series(True, points.index))
            faces = [style["color"] if each else "none" for each in filled]
            axes.scatter(points["value"], y, s=25, c=faces, edgecolors=style["color"], marker=style["marker"], zorder=3)
            axes.plot([], [], label=method, linestyle="none", markersize=5, **style)  # its legend
        axes.set_title(setting, fontsize="medium")
        axes.axvline(line, color="grey", linewidth=0.8, linestyle=":")
    defined = set(frame.loc[frame["value"].notna(), "label"])
    names = [label if label in defined else f"{label}\n(one class only)" for label in labels]
    panels[0].set_yticks(range(len(labels)), names)
    panels[0].set_ylim(len(labels) - 0.4, -0.6)
    figure.supxlabel(title, fontsize="medium")
    return finished(figure)


def _averaged(records: Sequence[Record], split: str) -> pd.DataFrame:
    """Return the AUROCs of a split, means over seeds, as a table (see `_frame`)."""
    wanted = ("auroc", split, None, None, None)
    return _frame([r for r in records if (r["metric"], r["split"], r["versus"], r["seed"], r["group"]) == wanted])


def _frame(records: Sequence[Record]) -> pd.DataFrame:
    """Return records as a table, NaN for None, with the column `setting`."""
    frame = pd.DataFrame(records).assign(setting=[setting_name(record) for record in records])
    numbers = ["fraction", "shots", "value", "ci_low", "ci_high"]
    return frame.astype(dict.fromkeys(numbers, float))


def _styles(frame: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Return colour and marker by method, the same in every panel and plot of these records."""
    return styles_of(frame["method"].unique())


def styles_of(methods: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return colour and marker by method, in the order in which they are given."""
    looks = zip(methods, cycle(PALETTE), cycle(MARKERS), strict=False)
    return {method: {"color": colour, "marker": marker} for method, colour, marker in looks}


def finished(figure: Figure) -> Figure:
    """Return a figure with the axes of all plots, and a legend above that is no wider than the figure."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="0.9", linewidth=0.8)
        axes.set_axisbelow(True)
    shown = [pair for axes in figure.axes for pair in zip(*axes.get_legend_handles_labels(), strict=True)]
    legend = {method: handle for handle, method in reversed(shown)}
    methods = list(dict.fromkeys(method for _, method in shown))
    # Columns are as wide as the longest name; a legend wider than the figure would be cut off.
    columns = int(figure.get_figwidth() / (0.5 + 0.08 * max(map(len, methods), default=1)))
    place: dict[str, Any] = {"loc": "outside upper center", "ncols": max(1, min(columns, len(methods)))}
    if methods:
        figure.legend([legend[method] for method in methods], methods, frameon=False, **place)
    return figure


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
    figure.set_layout_engine("none")  # it stays as it is: the layout takes as long as drawing, and a page draws again
