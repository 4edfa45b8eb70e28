"""Plots of `results.json`: performance by number of labels, and by label."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import NullLocator

from igcl_lightning.atomic import replacing
from igcl_lightning.evaluation.results import MEAN_LABEL, Record, setting_name

PALETTE: tuple[str, ...] = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours, which are safe for colour-blind readers."""

MARKERS: tuple[str, ...] = ("o", "s", "^", "D", "v", "P", "X", "*")
"""One more than colours, so that combinations of colour and marker rarely repeat."""

AXIS_TITLE = {"fraction": "labelled share of the training data", "shots": "labelled positives per finding"}


def plot_label_efficiency(records: Sequence[Record], path: Path, split: str = "test") -> None:
    """Plot the mean AUROC by labelled fraction and by shots, with 95 % intervals, as PNG.

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
    finish(figure, path)


def plot_per_label(records: Sequence[Record], path: Path, split: str = "test") -> None:
    """Plot the AUROC of each label by method with 95 % intervals, one panel per setting, as PNG.

    Plots the means over seeds of `summarise`, by fraction if there are any, else by shots.
    """
    frame = _averaged(records, split)
    styles = _styles(frame)
    frame = frame[frame["fraction"].notna()] if frame["fraction"].notna().any() else frame
    labels = list(frame["label"].unique())
    settings = frame.sort_values(["fraction", "shots"])["setting"].unique()
    height = 1.4 + (0.2 + 0.08 * len(styles)) * len(labels)
    figure = Figure(figsize=(2.0 + 2.4 * len(settings), height), layout="constrained")
    panels = figure.subplots(1, len(settings), sharex=True, sharey=True, squeeze=False)[0]
    offsets = (np.arange(len(styles)) - (len(styles) - 1) / 2) * 0.75 / len(styles)
    for axes, setting in zip(panels, settings, strict=True):
        for (method, style), offset in zip(styles.items(), offsets, strict=True):
            points = frame[(frame["setting"] == setting) & (frame["method"] == method)]
            y = [labels.index(label) + offset for label in points["label"]]
            axes.hlines(y, points["ci_low"], points["ci_high"], color=style["color"])
            axes.plot(points["value"], y, label=method, linestyle="none", markersize=5, **style)
        axes.set_title(setting, fontsize="medium")
        axes.axvline(0.5, color="grey", linewidth=0.8, linestyle=":")
    defined = set(frame.loc[frame["value"].notna(), "label"])
    names = [label if label in defined else f"{label}\n(one class only)" for label in labels]
    panels[0].set_yticks(range(len(labels)), names)
    panels[0].invert_yaxis()
    figure.supxlabel("AUROC", fontsize="medium")
    finish(figure, path)


def _averaged(records: Sequence[Record], split: str) -> pd.DataFrame:
    """Return the AUROCs of a split, means over seeds, NaN for None, with the column `setting`."""
    wanted = ("auroc", split, None, None)
    averaged = [r for r in records if (r["metric"], r["split"], r["versus"], r["seed"]) == wanted]
    frame = pd.DataFrame(averaged).assign(setting=[setting_name(record) for record in averaged])
    numbers = ["fraction", "shots", "value", "ci_low", "ci_high"]
    return frame.astype(dict.fromkeys(numbers, float))


def _styles(frame: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Return colour and marker by method, the same in every panel and plot of these records."""
    looks = zip(frame["method"].unique(), cycle(PALETTE), cycle(MARKERS), strict=False)
    return {method: {"color": colour, "marker": marker} for method, colour, marker in looks}


def finish(figure: Figure, path: Path) -> None:
    """Add grids and the legend of the first panel, and write the figure as PNG."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="0.9", linewidth=0.8)
        axes.set_axisbelow(True)
    handles, methods = figure.axes[0].get_legend_handles_labels()
    # Columns are as wide as the longest name; a legend wider than the figure would be cut off.
    columns = int(figure.get_figwidth() / (0.5 + 0.08 * max(map(len, methods), default=1)))
    figure.legend(handles, methods, loc="outside upper center", ncols=max(1, min(columns, len(methods))), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
