"""Means of a number per row: values and resamples against loops, means over seeds and labels, differences."""

import numpy as np
import pandas as pd
import pytest

from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.means import format_means, summarise_means
from igcl_lightning.metrics.clinical import patient_bootstrap_weights

ABOUT = {"protocol": "segmentation", "store": "store"}


def table(seeds=(0, 1), methods=("ours", "other"), metric="dice", fraction=0.1):
    """Two labels of 12 rows of 5 patients; some rows have no value of the second label."""
    rng = np.random.default_rng(0)
    rows = [
        {"method": method, "fraction": fraction, "seed": seed, "split": "test", "metric": metric, "label": label}
        | {"row": f"r{row}", "patient": f"p{row % 5}", "value": rng.random() if label == "lung" or row % 3 else np.nan}
        for method in methods
        for seed in seeds
        for label in ("lung", "heart")
        for row in rng.permutation(12)
    ]
    return pd.DataFrame(rows)


def found(records, **wanted):
    return [each for each in records if all(each[name] == value for name, value in wanted.items())]


def loop_mean(values, method, seed, label, times):
    """The mean over the rows of one run, each counted as often as its patient was drawn."""
    total = number = 0.0
    for line in values.to_dict("records"):
        own = (line["method"], line["seed"], line["label"]) == (method, seed, label)
        if own and not np.isnan(line["value"]):
            total += times[line["patient"]] * line["value"]
            number += times[line["patient"]]
    return total / number


def test_values_and_intervals_equal_loops():
    values = table()
    records = summarise_means(values, versus=[("ours", "other")], resamples=40, **ABOUT)
    patients = sorted(set(values["patient"]))
    drawn = [np.ones(5), *patient_bootstrap_weights(patients, 40, 0)]
    runs = {
        (method, seed, label): [
            loop_mean(values, method, seed, label, dict(zip(patients, each, strict=True))) for each in drawn
        ]
        for method in ("ours", "other")
        for seed in (0, 1)
        for label in ("lung", "heart")
    }
    for (method, seed, label), expected in runs.items():
        (record,) = found(records, method=method, seed=seed, label=label, versus=None)
        assert record["value"] == pytest.approx(expected[0])
        assert (record["ci_low"], record["ci_high"]) == pytest.approx(np.quantile(expected[1:], (0.025, 0.975)))
    means = {
        method: np.mean([each for key, each in runs.items() if key[0] == method], axis=0) for method in values["method"]
    }
    (record,) = found(records, method="ours", seed=None, label="mean", versus=None)
    assert record["value"] == pytest.approx(means["ours"][0])
    apart = means["ours"] - means["other"]
    (record,) = found(records, method="ours", seed=None, label="mean", versus="other")
    assert record["value"] == pytest.approx(apart[0])
    assert (record["ci_low"], record["ci_high"]) == pytest.approx(np.quantile(apart[1:], (0.025, 0.975)))


def test_counts_are_of_the_rows_with_a_value():
    records = summarise_means(table(), resamples=5, **ABOUT)
    assert found(records, label="heart", seed=None)[0]["n"] == 8
    assert found(records, label="lung", seed=None)[0]["n"] == 12
    assert found(records, label="mean", seed=None)[0]["n"] == 12


def test_order_of_lines_does_not_matter():
    def numbers(values):
        return {
            (each["method"], each["seed"], each["label"]): (each["value"], each["ci_low"])
            for each in summarise_means(values, resamples=5, **ABOUT)
        }

    shuffled = numbers(table().sample(frac=1, random_state=0))
    for key, expected in numbers(table()).items():
        assert shuffled[key] == pytest.approx(expected)


def test_a_label_that_one_run_lacks_is_not_in_the_mean():
    values = table()
    values = values[(values["method"] == "ours") | (values["label"] == "lung")]
    records = summarise_means(values, resamples=5, **ABOUT)
    (whole,) = found(records, method="ours", label="mean", seed=None)
    assert whole["value"] == found(records, method="ours", label="lung", seed=None)[0]["value"]


def test_runs_of_other_rows_are_refused():
    values = table()
    lacks = (values["method"] == "other") & (values["row"] == "r1") & (values["label"] == "lung")
    with pytest.raises(IgclError, match="other, seed 0: dice of lung is of other rows"):
        summarise_means(values[~lacks], resamples=5, **ABOUT)


def test_settings_or_metrics_are_columns():
    settings = pd.concat([table(), table(fraction=1.0)])
    text = format_means(summarise_means(settings, versus=[("ours", "other")], resamples=5, **ABOUT))
    assert "dice, mean over 2 labels and all seeds" in text
    assert "12 test rows of 5 patients" in text
    assert text.split("\n\n")[1].splitlines()[0].split() == ["method", "10", "%", "100", "%"]
    assert "ours - other" in text
    metrics = pd.concat([table(), table(metric="iou")]).drop(columns="fraction")
    text = format_means(summarise_means(metrics, resamples=5, **ABOUT), titles={"iou": "IoU"})
    assert text.splitlines()[1].split() == ["method", "IoU"]
