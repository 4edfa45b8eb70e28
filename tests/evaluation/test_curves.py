"""ROC curves, operating points and reliability against loops."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from igcl_lightning.evaluation.curves import (
    GRID,
    LEAST_SCORES,
    Bins,
    Curve,
    Point,
    operating_points,
    plot_reliability,
    plot_roc,
    reliabilities,
    roc_curves,
)
from igcl_lightning.evaluation.page_tables import with_points
from igcl_lightning.evaluation.predictions import Run
from igcl_lightning.evaluation.results import make_record


def most_sensitive(target, score, rate):
    """The highest sensitivity at a false positive rate: between thresholds, their chords."""
    points = [(0.0, 0.0)]
    for threshold in sorted(set(score), reverse=True):
        said = score >= threshold
        points.append((said[target == 0].mean(), said[target == 1].mean()))
    best = 0.0
    for (x, y), (x2, y2) in pairwise(points):
        if x <= rate <= x2:
            best = max(best, y2 if x2 == x else y + (y2 - y) * (rate - x) / (x2 - x))
    return best


def test_curves_are_means_over_runs_of_those_of_a_loop(simulated):
    frame = simulated(settings=[(1.0, None)], seeds=2)
    frame.loc[frame["seed"] == 1, "score"] *= 1000  # another scale: pooled runs would give another curve
    frame["score"] = frame["score"].round(1)  # ties
    found = {(each.method, each.label): each.sensitivity for each in roc_curves(frame)}
    assert {label for _, label in found} == {"Atelectasis", "Edema"}, "Hernia has one class"
    for (method, label), curve in found.items():
        own = frame[(frame["method"] == method) & (frame["label"] == label)].dropna(subset="target")
        runs = [run for _, run in own.groupby("seed")]
        expected = [
            np.mean([most_sensitive(run["target"].to_numpy(), run["score"].to_numpy(), rate) for run in runs])
            for rate in GRID
        ]
        assert curve == pytest.approx(expected)
        area = np.mean([roc_auc_score(run["target"], run["score"]) for run in runs])
        assert np.trapezoid(curve, GRID) == pytest.approx(area, abs=0.005)


def record(method, metric, value, **more):
    about = {"protocol": "readers", "store": "s", "split": "test", "metric": metric, "n": 9, "label": "Edema"}
    return make_record(Run(method, None, None, more.pop("seed", None)), value, (None, None), **about | more)


def test_operating_points_are_those_of_others_with_both_rates():
    records = [
        record("reader", "sensitivity", 0.8),
        record("reader", "specificity", 0.9),
        record("reader", "specificity", 0.1, group="sex: female"),
        record("reader", "specificity", 0.2, versus="igcl"),
        record("reader", "specificity", 0.3, split="valid"),
        record("half", "sensitivity", 0.7),
        record("igcl", "sensitivity", 0.7),
        record("igcl", "specificity", 0.7),
    ]
    assert operating_points(records, "test", without=["igcl"]) == [Point("reader", "Edema", 0.8, 0.9)]
    assert {each.reader for each in operating_points(records, "test")} == {"reader", "igcl"}


def test_points_stand_at_their_rates_and_labels_have_a_panel():
    curves = [Curve("igcl", label, GRID) for label in ("Edema", "Mass")]
    figure = plot_roc(curves, [Point("reader", "Mass", 0.8, 0.9), Point("reader", "Hernia", 0.1, 0.1)])
    edema, mass = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["Edema", "Mass"]
    (point,) = [line for line in mass.lines if line.get_label() == "reader"]
    assert point.get_xydata().tolist() == [[pytest.approx(0.1), 0.8]]
    assert not [line for line in edema.lines if line.get_label() == "reader"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["igcl", "reader"]


def test_reliability_counts_all_runs_at_their_own_temperature():
    logit = np.array([-2.0, -2.0, 0.0, 3.0])
    target = np.array([0, 1, 1, 1])
    frame = pd.concat(
        pd.DataFrame({"label": "Edema", "method": "igcl", "score": logit * by, "target": target, "chosen": by})
        for by in (1.0, 5.0)
    )
    ((bins,),) = reliabilities(frame).values()
    expected = 1 / (1 + np.exp(-np.array([-2.0, 0.0, 3.0])))
    assert bins.method == "igcl"
    assert bins.predicted == pytest.approx(expected)
    assert (bins.observed, bins.rows) == ([0.5, 1.0, 1.0], [4, 2, 2])


def test_bins_of_few_scores_are_not_drawn():
    bins = Bins("igcl", [0.1, 0.9], [0.2, 0.8], [LEAST_SCORES, LEAST_SCORES - 1])
    (axes,) = plot_reliability({"Edema": [bins]}).axes
    assert axes.lines[-1].get_xydata().tolist() == [[0.1, 0.2]]


def test_a_readers_column_has_sensitivity_and_then_specificity():
    points = [Point("bc1", "Edema", 0.9, 0.2), Point("bc2", "Nodule", 0.5, 0.75)]
    rows = with_points([["label", "igcl"], ["Edema", "0.8"], ["Nodule", "0.7"]], points)
    assert rows == [
        ["label", "igcl", "bc1", "bc2"],
        ["Edema", "0.8", "0.900, 0.200", ""],
        ["Nodule", "0.7", "", "0.500, 0.750"],
    ]
