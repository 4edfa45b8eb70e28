"""Means of a number per row: values and influences against loops, means over seeds and labels, differences."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from by_patient import deviation, left_out, mean_of
from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.intervals import interval, p_value
from igcl_lightning.evaluation.means import format_means, summarise_means

ABOUT = {"protocol": "segmentation", "store": "store"}


def table(seeds=(0, 1), methods=("ours", "other"), metric="dice", fraction=0.1, patients=5, rows=12):
    """Two labels of 12 rows of 5 patients; some rows have no value of the second label."""
    rng = np.random.default_rng(0)
    lines = [
        {"method": method, "fraction": fraction, "seed": seed, "split": "test", "metric": metric, "label": label}
        | {
            "row": f"r{row}",
            "patient": f"p{row % patients:02}",
            "value": rng.random() if label == "lung" or row % 3 else np.nan,
        }
        for method in methods
        for seed in seeds
        for label in ("lung", "heart")
        for row in rng.permutation(rows)
    ]
    return pd.DataFrame(lines)


def found(records, **wanted):
    return [each for each in records if all(each[name] == value for name, value in wanted.items())]


def estimate_of(values, method, seed, label):
    """The mean over the rows of one run, and what each patient of the table adds to it."""
    own = values[(values["method"] == method) & (values["seed"] == seed) & (values["label"] == label)].dropna()
    return mean_of(own["value"].tolist(), own["patient"].tolist(), sorted(set(values["patient"])))


def numbers(record):
    return [record["value"], record["ci_low"], record["ci_high"]]


@pytest.mark.parametrize(("patients", "rows"), [(5, 12), (10, 33)])
def test_values_and_intervals_equal_loops(patients, rows):
    """With fewer than ten patients, which are few, and with ten."""
    values = table(patients=patients, rows=rows)
    records = summarise_means(values, versus=[("ours", "other")], **ABOUT)
    runs = {
        (method, seed, label): estimate_of(values, method, seed, label)
        for method in ("ours", "other")
        for seed in (0, 1)
        for label in ("lung", "heart")
    }
    for (method, seed, label), expected in runs.items():
        (record,) = found(records, method=method, seed=seed, label=label, versus=None)
        assert numbers(record) == pytest.approx([expected[0], *interval(expected, patients, "unit")])
        assert (record["few"], record["p_value"], record["runs"]) == (patients < 10, None, None)
    for label in ("lung", "heart"):
        means = {method: (runs[method, 0, label] + runs[method, 1, label]) / 2 for method in ("ours", "other")}
        (record,) = found(records, method="other", seed=None, label=label, versus=None)
        assert numbers(record) == pytest.approx([means["other"][0], *interval(means["other"], patients, "unit")])
        both = [runs["other", seed, label][0] for seed in (0, 1)]
        assert (record["runs"], record["run_sd"]) == (2, pytest.approx(np.std(both, ddof=1)))
        apart = means["ours"] - means["other"]
        (record,) = found(records, method="ours", seed=None, label=label, versus="other")
        assert numbers(record) == pytest.approx([apart[0], *interval(apart, patients, "any")])
        assert record["p_value"] == pytest.approx(p_value(apart, patients))
    # A label of few patients counts in a mean as wide as Student's t is.
    wide = student.ppf(0.975, patients - 1) / student.ppf(0.975, 1e9) if patients < 10 else 1
    means = {
        method: np.mean([each for key, each in runs.items() if key[0] == method], axis=0)
        for method in ("ours", "other")
    }
    for mean in means.values():
        mean[1:] *= wide
    (record,) = found(records, method="ours", seed=None, label="mean", versus=None)
    assert numbers(record) == pytest.approx([means["ours"][0], *interval(means["ours"], None, "unit")])
    assert record["few"] is (patients < 10)
    apart = means["ours"] - means["other"]
    (record,) = found(records, method="ours", seed=None, label="mean", versus="other")
    assert numbers(record) == pytest.approx([apart[0], *interval(apart)])
    assert record["p_value"] == pytest.approx(p_value(apart))


def test_loops_are_close_to_leaving_out_one_patient():
    own = table(patients=20, rows=60).query("method == 'ours' and seed == 0 and label == 'heart'").dropna()
    value = own["value"].to_numpy()
    jackknife = left_out(lambda rows: value[rows].mean(), own["patient"])
    summed = mean_of(value, own["patient"].tolist(), sorted(set(own["patient"])))
    assert deviation(summed) == pytest.approx(deviation(jackknife), rel=0.02)


def test_patients_without_a_value_of_a_label_do_not_count_for_it():
    values = table(patients=12, rows=36)
    heart = values["label"] == "heart"
    values = values[~heart | (values["patient"] < "p03")]
    records = summarise_means(values, **ABOUT)
    (record,) = found(records, method="ours", seed=0, label="heart")
    size = values[values["label"] == "heart"].dropna(subset="value")["patient"].nunique()
    assert (record["patients"], record["few"]) == (size, True)
    assert numbers(record)[1:] == pytest.approx(interval(estimate_of(values, "ours", 0, "heart"), size, "unit"))
    assert found(records, method="ours", seed=0, label="lung")[0]["few"] is False
    assert found(records, method="ours", seed=0, label="mean")[0]["few"] is True


def test_a_label_of_one_patient_has_no_interval_and_neither_has_the_mean():
    values = table()
    values = values[(values["label"] == "lung") | (values["patient"] == "p01")]
    records = summarise_means(values, versus=[("ours", "other")], **ABOUT)
    for label, has in (("lung", True), ("heart", False), ("mean", False)):
        for record in found(records, label=label):
            assert record["value"] is not None
            assert (record["ci_low"] is not None, record["ci_high"] is not None) == (has, has)
            assert (record["p_value"] is not None) is (has and record["versus"] is not None)


def test_a_difference_is_that_of_the_means_over_all_seeds_of_each():
    values = pd.concat([table((0, 1), ("ours",)), table((1, 2, 3), ("other",))])
    (record,) = found(summarise_means(values, versus=[("ours", "other")], **ABOUT), label="lung", versus="other")
    ours, other = (
        np.mean([estimate_of(values, method, seed, "lung") for seed in seeds], axis=0)
        for method, seeds in (("ours", (0, 1)), ("other", (1, 2, 3)))
    )
    assert numbers(record) == pytest.approx([ours[0] - other[0], *interval(ours - other, 5)])


def test_numbers_beyond_1_have_no_ends():
    values = table(patients=10, rows=30)
    values["value"] *= 40
    (record,) = found(summarise_means(values, **ABOUT), method="ours", seed=0, label="lung")
    expected = interval(estimate_of(values, "ours", 0, "lung"), 10, "any")
    assert numbers(record)[1:] == pytest.approx(expected)


def test_counts_are_of_the_rows_with_a_value():
    records = summarise_means(table(), **ABOUT)
    assert found(records, label="heart", seed=None)[0]["n"] == 8
    assert found(records, label="lung", seed=None)[0]["n"] == 12
    assert found(records, label="mean", seed=None)[0]["n"] == 12


def test_order_of_lines_does_not_matter():
    def numbers(values):
        return {
            (each["method"], each["seed"], each["label"]): (each["value"], each["ci_low"])
            for each in summarise_means(values, **ABOUT)
        }

    shuffled = numbers(table().sample(frac=1, random_state=0))
    for key, expected in numbers(table()).items():
        assert shuffled[key] == pytest.approx(expected)


def test_a_label_that_one_run_lacks_is_not_in_the_mean():
    values = table()
    values = values[(values["method"] == "ours") | (values["label"] == "lung")]
    records = summarise_means(values, **ABOUT)
    (whole,) = found(records, method="ours", label="mean", seed=None)
    assert whole["value"] == found(records, method="ours", label="lung", seed=None)[0]["value"]


def test_runs_of_other_rows_are_refused():
    values = table()
    lacks = (values["method"] == "other") & (values["row"] == "r1") & (values["label"] == "lung")
    with pytest.raises(IgclError, match="other, seed 0: dice of lung is of other rows"):
        summarise_means(values[~lacks], **ABOUT)


def test_settings_or_metrics_are_columns():
    settings = pd.concat([table(), table(fraction=1.0)])
    text = format_means(summarise_means(settings, versus=[("ours", "other")], **ABOUT))
    assert "dice, mean over 2 labels and all seeds" in text
    assert "12 test rows of 5 patients" in text
    assert text.split("\n\n")[1].splitlines()[0].split() == ["method", "10", "%", "100", "%"]
    assert "ours - other" in text
    metrics = pd.concat([table(), table(metric="iou")]).drop(columns="fraction")
    text = format_means(summarise_means(metrics, **ABOUT), titles={"iou": "IoU"})
    assert text.splitlines()[2].split() == ["method", "IoU"]
