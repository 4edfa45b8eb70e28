import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student
from sklearn.metrics import accuracy_score, average_precision_score, roc_auc_score

from by_patient import deviation, left_out, redrawn
from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.intervals import interval, p_value
from igcl_lightning.evaluation.predictions import Run
from igcl_lightning.evaluation.results import Record, compare_runs, summarise, write_results
from igcl_lightning.evaluation.tables import format_cell, format_labels, format_table, setting_name, spread_rows
from igcl_lightning.metrics.influence import auroc_estimate, average_precision_estimate, mean_estimate

SCORED = ("Atelectasis", "Edema")
"""Labels of simulated predictions with both classes."""


def summary(frame, **options):
    return summarise(frame, protocol="demo", store="phantom", **options)


def only(records, **wanted):
    """The one record that has the wanted values; seed and versus are None unless wanted."""
    wanted = {"seed": None, "versus": None} | wanted
    (record,) = [record for record in records if wanted.items() <= record.items()]
    return record


def scikit_auroc(frame, **wanted):
    lines = frame.dropna(subset="target")
    for column, value in wanted.items():
        lines = lines[lines[column] == value]
    return roc_auc_score(lines["target"], lines["score"])


def test_records_follow_the_schema_and_hold_json(simulated):
    records = summary(simulated(), versus=[("igcl", "random")])
    for record in records:
        assert list(record) == list(Record.__annotations__)
        assert {"protocol": "demo", "store": "phantom", "split": "test", "metric": "auroc"}.items() <= record.items()
    assert json.loads(json.dumps(records, allow_nan=False)) == records
    # 2 methods x 3 settings x (2 seeds + their mean) x (3 labels + their mean), and 3 settings of differences
    assert len(records) == 2 * 3 * 3 * 4 + 3 * 4


def test_values_equal_scikit_learn_by_seed_and_their_mean(simulated):
    frame = simulated()
    records = summary(frame)
    of_seed = [scikit_auroc(frame, method="igcl", fraction=0.01, label="Edema", seed=seed) for seed in (0, 1)]
    for seed, value in enumerate(of_seed):
        record = only(records, method="igcl", fraction=0.01, label="Edema", seed=seed)
        assert record["value"] == pytest.approx(value)
        assert record["ci_low"] < value < record["ci_high"]
    mean = only(records, method="igcl", fraction=0.01, label="Edema")
    assert mean["value"] == pytest.approx(np.mean(of_seed))


def test_a_label_of_one_class_is_reported_empty_and_left_out_of_the_mean(simulated):
    records = summary(simulated())
    hernia = only(records, method="igcl", shots=5, label="Hernia")
    assert (hernia["value"], hernia["ci_low"], hernia["ci_high"]) == (None, None, None)
    assert (hernia["n"], hernia["positives"]) == (120, 0)
    assert only(records, method="igcl", shots=5, label="Atelectasis")["n"] == 113
    parts = [only(records, method="igcl", shots=5, label=label)["value"] for label in ("Atelectasis", "Edema")]
    mean = only(records, method="igcl", shots=5, label="mean")
    assert mean["value"] == pytest.approx(np.mean(parts))
    assert (mean["n"], mean["positives"]) == (120, None)


def test_the_mean_is_over_labels_that_every_run_scores(simulated):
    frame = simulated(labels=("Atelectasis", "Edema", "Effusion"))
    frame = frame[(frame["method"] == "igcl") | (frame["shots"] != 5) | (frame["label"] != "Edema")]
    records = summary(frame, versus=[("igcl", "random")])
    assert only(records, method="random", shots=5, label="Edema")["value"] is None
    assert only(records, method="igcl", versus="random", shots=5, label="Edema")["value"] is None
    parts = [only(records, method="igcl", shots=5, label=label)["value"] for label in ("Atelectasis", "Effusion")]
    assert only(records, method="igcl", shots=5, label="mean")["value"] == pytest.approx(np.mean(parts))
    assert "over 2 labels" in format_table(records)


def test_without_any_label_of_both_classes_the_mean_is_empty(simulated):
    records = summary(simulated(labels=("Hernia", "Hernia2")).assign(target=0.0))
    assert only(records, method="igcl", shots=5, label="mean")["value"] is None


def test_a_class_seen_in_one_patient_has_a_value_and_no_interval(simulated):
    frame = simulated(labels=("None", "Edema"))
    frame["target"] = (frame["row"] == "r3").astype(float)
    record = only(summary(frame), method="igcl", fraction=0.01, label="Edema")
    assert record["value"] is not None
    assert (record["ci_low"], record["ci_high"], record["few"]) == (None, None, True)


def test_the_mean_has_no_interval_where_one_of_its_labels_has_none(simulated):
    frame = simulated(labels=("None", "Edema"))
    edema = frame["label"] == "Edema"
    frame.loc[edema, "target"] = (frame.loc[edema, "row"] == "r3").astype(float)
    records = summary(frame, versus=[("igcl", "random")])
    for versus in (None, "random"):
        record = only(records, method="igcl", versus=versus, fraction=0.01, label="mean")
        assert record["value"] is not None
        assert (record["ci_low"], record["ci_high"], record["p_value"], record["few"]) == (None, None, None, True)


def of_patients(frame, number, label="Edema"):
    """The same with a label in one row of each of so many patients, and in no other."""
    rows = frame.drop_duplicates("patient")["row"][:number]
    return frame.assign(target=frame["target"].where(frame["label"] != label, frame["row"].isin(rows) * 1.0))


@pytest.mark.parametrize(("number", "is_few"), [(9, True), (10, False)])
def test_a_label_of_fewer_than_ten_patients_is_marked_and_wider(simulated, number, is_few):
    frame = of_patients(simulated(labels=("Atelectasis", "Edema"), rows=150), number)
    records = summary(frame, versus=[("igcl", "random")])
    first, other = estimate_of(frame, "igcl"), estimate_of(frame, "random")
    record = only(records, method="igcl", fraction=0.01, label="Edema")
    assert smaller_class(frame) == number
    assert record["few"] is is_few
    assert ends(record) == pytest.approx(interval(first, number, "unit"))
    assert format_cell(record).endswith(" few") is is_few
    apart = only(records, versus="random", fraction=0.01, label="Edema")
    assert apart["few"] is is_few
    assert ends(apart) == pytest.approx(interval(first - other, number))
    assert apart["p_value"] == pytest.approx(p_value(first - other, number))
    assert only(records, method="igcl", fraction=0.01, label="Atelectasis")["few"] is False
    # In the mean, the label counts as wide as Student's t of so few patients is.
    wide = student.ppf(0.975, number - 1) / student.ppf(0.975, 1e9) if is_few else 1
    first[1:] *= wide
    whole = only(records, method="igcl", fraction=0.01, label="mean")
    assert whole["few"] is is_few
    assert ends(whole) == pytest.approx(interval((first + estimate_of(frame, "igcl", "Atelectasis")) / 2, None, "unit"))
    assert ("fewer than 10 patients" in format_table(records)) is is_few


@pytest.mark.parametrize("number", [5, 10, 14])
def test_a_mean_over_one_label_given_twice_is_no_surer_than_the_label(simulated, number):
    """The spread of a mean is that of its labels, not that of all patients."""
    frame = of_patients(simulated({"igcl": 0.2}, labels=("Other", "Edema"), rows=400), number)
    edema = frame[frame["label"] == "Edema"]
    records = summary(pd.concat([edema, edema.assign(label="Twin")]))
    label, mean = (only(records, fraction=0.01, label=name) for name in ("Edema", "mean"))
    assert mean["value"] == pytest.approx(label["value"])
    assert mean["ci_high"] - mean["ci_low"] > 0.9 * (label["ci_high"] - label["ci_low"])


def test_few_without_a_label_are_few_as_well(simulated):
    frame = of_patients(simulated(labels=("Atelectasis", "Edema"), rows=150), 9)
    frame["target"] = frame["target"].where(frame["label"] != "Edema", 1 - frame["target"])
    # A patient of several rows may be of both classes: those with a row without the label are nine.
    assert smaller_class(frame) == 9
    assert only(summary(frame), method="igcl", fraction=0.01, label="Edema")["few"] is True
    of_positives = summary(frame, classes=(1,))
    record = only(of_positives, method="igcl", fraction=0.01, label="Edema")
    with_label = frame.loc[(frame["label"] == "Edema") & (frame["target"] == 1), "patient"].nunique()
    assert record["few"] is False
    assert ends(record) == pytest.approx(interval(estimate_of(frame, "igcl"), with_label, "unit"))


def test_a_label_without_positives_does_not_make_a_mean_few(simulated):
    records = summary(simulated())
    assert only(records, method="igcl", fraction=0.01, label="Hernia")["few"] is True
    assert only(records, method="igcl", fraction=0.01, label="mean")["few"] is False


def of_runs(frame, method, label="Edema", fraction=0.01):
    lines = frame[(frame["method"] == method) & (frame["label"] == label) & (frame["fraction"] == fraction)]
    return [run.reset_index(drop=True) for _, run in lines.groupby("seed")]


def estimate_of(frame, method, label="Edema", fraction=0.01):
    """The mean of the estimates of the runs, each of its own scores, with patients numbered by name."""
    everyone = sorted(set(frame["patient"]))
    runs = [run.dropna(subset="target") for run in of_runs(frame, method, label, fraction)]
    place = [[everyone.index(name) for name in run["patient"]] for run in runs]
    each = [auroc_estimate(run["score"], run["target"], at, len(everyone)) for run, at in zip(runs, place, strict=True)]
    return sum(each) / len(each)


def smaller_class(frame, label="Edema"):
    """The number of patients of the smaller class, counted in sets."""
    patients = {0.0: set(), 1.0: set()}
    for name, target in frame.loc[frame["label"] == label, ["patient", "target"]].dropna().itertuples(index=False):
        patients[target].add(name)
    return min(map(len, patients.values()))


def ends(record):
    return record["ci_low"], record["ci_high"]


def mean_auroc(*runs):
    """The AUROC of places of rows by scikit-learn, averaged over runs."""
    return lambda rows: np.mean([roc_auc_score(run["target"].iloc[rows], run["score"].iloc[rows]) for run in runs])


def test_an_interval_is_close_to_leaving_out_one_patient_and_to_resampling_patients(simulated):
    frame = simulated({"random": 1.0}, settings=((0.01, None),), seeds=2, rows=200)
    record = only(summary(frame), method="random", label="Edema")
    runs = of_runs(frame, "random")
    patient, statistic = runs[0]["patient"], mean_auroc(*runs)
    jackknife = left_out(statistic, patient)
    low, high = interval(jackknife, smaller_class(frame), "unit")
    assert record["value"] == pytest.approx(jackknife[0])
    assert record["value"] - record["ci_low"] == pytest.approx(record["value"] - low, rel=0.04)
    assert record["ci_high"] - record["value"] == pytest.approx(high - record["value"], rel=0.04)
    assert redrawn(statistic, patient, 150) == pytest.approx(deviation(jackknife), rel=0.2)


def test_the_interval_of_a_mean_over_seeds_is_that_of_the_mean_estimate(simulated):
    frame = simulated(seeds=3)
    records = summary(frame)
    for method in ("igcl", "random"):
        expected = estimate_of(frame, method)
        record = only(records, method=method, fraction=0.01, label="Edema")
        assert [record["value"], *ends(record)] == pytest.approx(
            [expected[0], *interval(expected, smaller_class(frame), "unit")]
        )


def test_the_interval_of_a_mean_over_labels_is_that_of_the_mean_estimate(simulated):
    frame = simulated(rows=300)
    records = summary(frame, versus=[("igcl", "random")])
    labels = ("Atelectasis", "Edema")  # all but the one without positives
    means = {method: sum(estimate_of(frame, method, label) for label in labels) / 2 for method in ("igcl", "random")}
    record = only(records, method="igcl", fraction=0.01, label="mean")
    assert [record["value"], *ends(record)] == pytest.approx([means["igcl"][0], *interval(means["igcl"], None, "unit")])
    apart = only(records, versus="random", fraction=0.01, label="mean")
    expected = means["igcl"] - means["random"]
    assert [apart["value"], *ends(apart)] == pytest.approx([expected[0], *interval(expected)])
    assert apart["p_value"] == pytest.approx(p_value(expected))


def test_spread_between_runs_is_told_beside_their_mean(simulated):
    frame = simulated(seeds=3)
    frame = frame[(frame["method"] == "igcl") | (frame["seed"] == 0)]
    records = summary(frame)
    of_seed = [scikit_auroc(frame, method="igcl", fraction=0.01, label="Edema", seed=seed) for seed in range(3)]
    mean = only(records, method="igcl", fraction=0.01, label="Edema")
    assert (mean["runs"], mean["run_sd"]) == (3, pytest.approx(np.std(of_seed, ddof=1)))
    parts = [
        [only(records, method="igcl", fraction=0.01, label=label, seed=seed)["value"] for seed in range(3)]
        for label in ("Atelectasis", "Edema")
    ]
    whole = only(records, method="igcl", fraction=0.01, label="mean")
    assert whole["run_sd"] == pytest.approx(np.std(np.mean(parts, axis=0), ddof=1))
    hernia = only(records, method="igcl", fraction=0.01, label="Hernia")
    assert (hernia["runs"], hernia["run_sd"]) == (3, None)
    single = only(records, method="random", fraction=0.01, label="Edema")
    assert (single["runs"], single["run_sd"]) == (1, None)
    of_run = only(records, method="igcl", fraction=0.01, label="Edema", seed=1)
    assert (of_run["runs"], of_run["run_sd"], of_run["p_value"], of_run["p_holm"]) == (None, None, None, None)


def test_runs_are_averaged_and_never_pooled(simulated):
    """Runs whose scores have different offsets: pooling them mixes scales, and its interval is too narrow."""
    frame = simulated({"igcl": 1.0}, settings=((0.01, None),), seeds=10, rows=300, labels=("Effusion", "Edema"))
    frame["score"] += frame["seed"] * 1.5
    record = only(summary(frame), method="igcl", label="Edema")
    assert record["value"] == pytest.approx(np.mean([scikit_auroc(frame, label="Edema", seed=s) for s in range(10)]))
    assert scikit_auroc(frame, label="Edema") < record["value"] - 0.1

    frame["score"] -= frame["seed"] * 1.5
    pooled_row = frame["row"] + " " + frame["seed"].astype(str)
    pooled = frame.assign(row=pooled_row, patient=pooled_row, seed=0)
    narrow = only(summary(pooled), method="igcl", label="Edema")
    assert narrow["ci_high"] - narrow["ci_low"] < 0.8 * (record["ci_high"] - record["ci_low"])


def test_a_difference_is_paired(simulated):
    frame = simulated({"igcl": 1.0}, seeds=1)
    twin = frame.assign(method="twin", score=frame["score"] * 2 + 1)
    records = summary(pd.concat([frame, twin]), versus=[("igcl", "twin")])
    for label in ("Edema", "mean"):
        record = only(records, method="igcl", versus="twin", fraction=0.01, label=label)
        assert (record["value"], *ends(record), record["p_value"]) == (0, 0, 0, 1)


def test_the_interval_of_a_difference_is_that_of_the_difference_of_estimates(simulated):
    frame = simulated(seeds=3)
    records = summary(frame, versus=[("igcl", "random"), ("random", "igcl")])
    for label in ("Atelectasis", "Edema"):
        expected = estimate_of(frame, "igcl", label) - estimate_of(frame, "random", label)
        record = only(records, method="igcl", versus="random", fraction=0.01, label=label)
        smallest = smaller_class(frame, label)
        assert [record["value"], *ends(record)] == pytest.approx([expected[0], *interval(expected, smallest, "any")])
        assert record["p_value"] == pytest.approx(p_value(expected, smallest))
        back = only(records, method="random", versus="igcl", fraction=0.01, label=label)
        assert [back["value"], *ends(back)] == pytest.approx([-record["value"], *(-end for end in ends(record)[::-1])])
        assert back["p_value"] == pytest.approx(record["p_value"])
    # It is that of paired runs, by scikit-learn without one patient at a time.
    first, other = of_runs(frame, "igcl"), of_runs(frame, "random")
    jackknife = left_out(lambda rows: mean_auroc(*first)(rows) - mean_auroc(*other)(rows), first[0]["patient"])
    low, high = interval(jackknife, smaller_class(frame))
    record = only(records, method="igcl", versus="random", fraction=0.01, label="Edema")
    assert record["ci_high"] - record["ci_low"] == pytest.approx(high - low, rel=0.06)
    unpaired = np.hypot(deviation(estimate_of(frame, "igcl")), deviation(estimate_of(frame, "random")))
    assert deviation(jackknife) < 0.9 * unpaired


def test_p_values_are_below_a_twentieth_where_intervals_exclude_zero_and_are_corrected_for_labels(simulated):
    labels = [f"L{number}" for number in range(6)] + ["Hernia"]
    frame = simulated({"igcl": 1.0, "random": 0.8}, settings=((0.01, None), (1.0, None)), labels=labels, rows=80)
    records = summary(frame, versus=[("igcl", "random")])
    assert {record["p_value"] is None for record in records if record["versus"] is None} == {True}
    assert {record["p_holm"] is None for record in records if record["versus"] is None} == {True}
    seen = set()
    for fraction in (0.01, 1.0):
        found = {record["label"]: record for record in records if record["versus"] and record["fraction"] == fraction}
        assert found["mean"]["p_holm"] is None
        assert found["Hernia"]["p_value"] is found["Hernia"]["p_holm"] is None
        for record in found.values():
            if record["p_value"] is not None:
                excludes = record["ci_low"] > 0 or record["ci_high"] < 0
                assert (record["p_value"] < 0.05) == excludes
                seen.add(excludes)
        p = {label: found[label]["p_value"] for label in labels[:6]}
        left, highest, expected = len(p), 0.0, {}
        for label in sorted(p, key=p.get):
            highest = max(highest, min(1.0, left * p[label]))
            expected[label], left = highest, left - 1
        assert {label: found[label]["p_holm"] for label in p} == pytest.approx(expected)
    assert seen == {True, False}, "labels of both kinds are asked"


def test_a_difference_is_that_of_the_means_over_seeds_in_shared_settings(simulated):
    frame = simulated()
    frame = frame[(frame["method"] == "igcl") | (frame["fraction"] == 1.0)]
    frame = frame[(frame["method"] == "igcl") | (frame["seed"] == 0)]
    records = summary(frame, versus=[("igcl", "random")])
    difference = only(records, versus="random", label="Edema")
    parts = [only(records, method=method, fraction=1.0, label="Edema")["value"] for method in ("igcl", "random")]
    assert difference["fraction"] == 1.0
    assert difference["value"] == pytest.approx(parts[0] - parts[1])
    assert difference["ci_low"] < difference["value"] < difference["ci_high"]


@pytest.mark.parametrize(
    ("versus", "message"),
    [
        (("igcl", "convirt"), "versus: no predictions of method 'convirt', only of ['igcl', 'random']"),
        (("igcl", "random"), "versus: 'igcl' and 'random' have no fraction and no number of shots in common"),
    ],
)
def test_an_impossible_comparison_is_refused_in_one_line(simulated, versus, message):
    frame = simulated()
    frame = frame[(frame["method"] == "igcl") == frame["fraction"].notna()]
    with pytest.raises(IgclError) as error:
        summary(frame, versus=[versus])
    assert str(error.value) == message


def test_records_do_not_depend_on_the_order_of_the_lines(simulated):
    frame = simulated()
    shuffled = frame.sample(frac=1, random_state=0)
    by_key = [
        {
            (r["method"], r["fraction"], r["shots"], r["seed"], r["label"], name): r[name]
            for r in summary(lines)
            for name in ("value", "ci_low", "ci_high", "run_sd")
            if r[name] is not None
        }
        for lines in (frame, shuffled)
    ]
    assert by_key[0] == pytest.approx(by_key[1])


def test_results_are_json_without_nan(simulated, tmp_path):
    records = summary(simulated())
    path = tmp_path / "results.json"
    write_results(records, path)
    assert json.loads(path.read_text()) == records
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_results([{**records[0], "value": float("nan")}], path)
    assert json.loads(path.read_text()) == records


def record(method, value, low=None, high=None, **fields):
    empty = dict.fromkeys(Record.__annotations__) | {"metric": "auroc", "split": "test", "n": 1400, "patients": 900}
    return empty | {"method": method, "label": "mean", "value": value, "ci_low": low, "ci_high": high} | fields


def test_table():
    table = format_table(
        [
            record("igcl", 0.8123, 0.789, 0.8312, fraction=1.0),
            record("igcl", 0.7, 0.68, 0.71, fraction=0.005),
            record("supervised", 0.61, 0.5, 0.7, fraction=1.0),
            record("igcl", 0.7512, 0.7, 0.8, shots=5),
            record("igcl", 0.7777, 0.7, 0.8, shots=20, seed=3),
            record("random", None, shots=20),
            record("igcl", 0.2023, 0.05, 0.3312, fraction=1.0, versus="supervised"),
            record("igcl", 0.9, 0.8, 0.95, fraction=1.0, label="Edema", n=1200, positives=40),
            record("igcl", None, fraction=1.0, label="Hernia", positives=0),
            record("igcl", 7.3, fraction=0.005, metric="label_savings", versus="supervised"),
        ]
    )
    assert table.splitlines() == [
        "AUROC, mean over 1 labels and all seeds [95 % interval over patients]",
        "1,400 test rows of 900 patients",
        "positives per label: 0 (Hernia) to 40 (Edema)",
        "left out, one class only or not scored by every run: Hernia",
        "",
        "method      0.5 %               100 %",
        "igcl        0.700 [0.68, 0.71]  0.812 [0.79, 0.83]",
        "supervised                      0.610 [0.50, 0.70]",
        "",
        "difference         100 %",
        "igcl - supervised  +0.202 [+0.05, +0.33]",
        "",
        "method  5-shot              20-shot",
        "igcl    0.751 [0.70, 0.80]",
        "random                      -",
    ]


def test_table_of_methods_without_labels():
    lines = format_table([record("zero_shot", 0.5)]).splitlines()
    assert lines[2:] == [
        "no interval where only one patient has a label, or where a mean does not vary",
        "",
        "method     AUROC",
        "zero_shot  0.500",
    ]


def test_table_of_labels():
    shots = {"shots": 5}
    records = [
        record("igcl", 0.91, 0.8, 0.95, label="Edema", seed=0, positives=40, **shots),
        record("igcl", 0.93, 0.8, 0.95, label="Edema", seed=1, positives=40, **shots),
        record("igcl", 0.92, 0.8, 0.95, label="Edema", positives=40, **shots),
        record("igcl", None, label="Hernia", positives=0, n=1200, patients=800, **shots),
        record("igcl", 0.92, **shots),
        record("igcl", 0.5, label="Edema", split="valid"),
        record("igcl", 0.5, label="Edema", metric="accuracy"),
    ]
    assert format_labels(records).splitlines() == [
        "igcl, 5-shot, mean over 2 draws: test rows, interval over patients",
        "no interval where only one patient has a label, or where a mean does not vary",
        "",
        "label   AUROC [95 % interval]  positives  rows   patients",
        "Edema   0.920 [0.80, 0.95]     40         1,400  900",
        "Hernia  -                      0          1,200  800",
        "mean    0.920                             1,400  900",
    ]


def test_records_count_rows_patients_and_positives_of_known_targets(simulated):
    frame = simulated()
    frame.loc[frame["row"].isin(frame["row"].unique()[:7]) & (frame["label"] == "Atelectasis"), "target"] = np.nan
    known = frame[frame["label"] == "Atelectasis"].dropna(subset="target").drop_duplicates("row")
    for record in summary(frame):
        lines = known if record["label"] == "Atelectasis" else frame.drop_duplicates("row")
        assert (record["n"], record["patients"]) == (len(lines), lines["patient"].nunique())
        if record["label"] == "Atelectasis":
            assert record["positives"] == lines["target"].sum()


@pytest.mark.parametrize(
    ("fields", "name"), [({"fraction": 0.01}, "1 %"), ({"fraction": 0.07}, "7 %"), ({"shots": 10}, "10-shot"), ({}, "")]
)
def test_setting_names(fields, name):
    assert setting_name(record("igcl", 0.5, **fields)) == name


def accuracy_estimate(score, target, patient, patients):
    return mean_estimate((score > 0.5) == target, patient, patients)


@pytest.mark.parametrize(
    ("statistic", "metric", "scikit", "close"),
    [
        (average_precision_estimate, "average_precision", average_precision_score, 0.1),
        (accuracy_estimate, "accuracy_at_0.5", lambda target, score: accuracy_score(target, score > 0.5), 0.03),
    ],
)
def test_any_statistic_is_summarised_and_close_to_leaving_out_patients(simulated, statistic, metric, scikit, close):
    frame = simulated(settings=((0.01, None),), seeds=1, rows=300)
    records = summary(frame, statistic=statistic, metric=metric, group="men", versus=[("igcl", "random")])
    assert {(record["metric"], record["group"]) for record in records} == {(metric, "men")}
    known = {method: of_runs(frame.dropna(subset="target"), method, "Atelectasis")[0] for method in ("igcl", "random")}
    patient, smallest = known["igcl"]["patient"], smaller_class(frame, "Atelectasis")

    def value(method):
        return lambda rows: scikit(known[method]["target"].to_numpy()[rows], known[method]["score"].to_numpy()[rows])

    for method in known:
        record, expected = only(records, method=method, label="Atelectasis"), left_out(value(method), patient)
        assert record["value"] == pytest.approx(expected[0])
        assert np.subtract(ends(record), expected[0]) == pytest.approx(
            np.subtract(interval(expected, smallest, "unit"), expected[0]), rel=close
        )
    gain = only(records, method="igcl", versus="random", label="Atelectasis")
    expected = left_out(lambda rows: value("igcl")(rows) - value("random")(rows), patient)
    assert np.subtract(ends(gain), expected[0]) == pytest.approx(
        np.subtract(interval(expected, smallest), expected[0]), rel=close
    )
    assert format_table(records, metric).startswith(f"{metric}, mean over")
    assert "igcl" not in format_table(records), "the table of another metric shows none of these"


def test_the_scale_of_intervals_is_that_of_the_statistic(simulated):
    """Twice the AUROC minus 1 lies between -1 and 1; differences have no ends."""

    def gini(score, target, patient, patients):
        estimate = 2 * auroc_estimate(score, target, patient, patients)
        estimate[0] -= 1
        return estimate

    frame = simulated()
    records, plain = (
        summary(frame, versus=[("igcl", "random")], **options)
        for options in ({"statistic": gini, "metric": "gini", "scale": "signed"}, {})
    )
    for record, same in zip(records, plain, strict=True):
        if same["ci_low"] is not None:
            shift = 1 if same["versus"] is None else 0
            assert ends(record) == pytest.approx(tuple(2 * end - shift for end in ends(same)))
    free = summary(frame, scale="any")
    record, expected = only(free, method="igcl", fraction=0.01, label="Edema"), estimate_of(frame, "igcl")
    assert ends(record) == pytest.approx(interval(expected, smaller_class(frame), "any"))


@pytest.mark.parametrize("common_seeds", [True, False])
def test_a_run_without_a_seed_is_told_once(common_seeds):
    by_run = {Run(name, None, None, None): np.array([0.5, 0.1, -0.1]) for name in "ab"}
    about = {"metric": "m", "n": 1, "protocol": "p", "store": "s", "split": "test"}
    records = compare_runs(by_run, [("a", "b")], common_seeds=common_seeds, **about)
    assert [(each["method"], each["versus"]) for each in records] == [("a", None), ("b", None), ("a", "b")]


def test_runs_that_are_compared_by_all_seeds_or_by_those_in_common(simulated):
    generator = np.random.default_rng(0)
    runs = {("a", 0), ("a", 1), ("b", 1), ("b", 2), ("c", 5)}
    (kept,) = of_runs(simulated({"a": 1.0}, seeds=1), "a")
    everyone = sorted(set(kept["patient"]))
    place = [everyone.index(name) for name in kept["patient"]]
    values = {
        Run(name, None, None, seed): auroc_estimate(
            kept["score"] + generator.normal(size=len(kept)), kept["target"], place, len(everyone)
        )
        for name, seed in sorted(runs)
    }
    of = {(run.method, run.seed): estimate for run, estimate in values.items()}
    about = {"metric": "m", "n": 1, "protocol": "p", "store": "s", "split": "test", "smallest": 20}

    def difference(versus, **options):
        found = [each for each in compare_runs(values, [versus], **about, **options) if each["versus"]]
        return found[0] if found else None

    common, every = difference(("a", "b")), difference(("a", "b"), common_seeds=False)
    for record, expected, count in (
        (common, of["a", 1] - of["b", 1], 1),
        (every, (of["a", 0] + of["a", 1]) / 2 - (of["b", 1] + of["b", 2]) / 2, None),
    ):
        assert [record["value"], *ends(record)] == pytest.approx([expected[0], *interval(expected, 20, "any")])
        assert record["p_value"] == pytest.approx(p_value(expected, 20))
        assert (record["seed"], record["runs"], record["few"]) == (None, count, False)
    assert difference(("a", "c")) is None, "no seed in common"
    assert difference(("a", "c"), common_seeds=False)["value"] == pytest.approx(
        of["a", 0][0] / 2 + of["a", 1][0] / 2 - of["c", 5][0]
    )


def test_each_split_is_summarised_by_itself(simulated):
    test = simulated(settings=((0.01, None),))
    valid = simulated({"igcl": 1.0}, settings=((0.01, None),), rows=60)
    valid = valid.assign(split="valid", row="v" + valid["row"], patient="v" + valid["patient"])
    both = summary(pd.concat([test, valid]), versus=[("igcl", "random")])
    apart = [*summary(test, versus=[("igcl", "random")]), *summary(valid)]
    assert both == apart
    assert {(record["split"], record["versus"]) for record in both} == {
        ("test", None),
        ("test", "random"),
        ("valid", None),
    }
    assert format_table(both) == format_table(apart[:-12])
    assert "random" not in format_table(both, split="valid")


def test_the_table_says_how_far_runs_differ(simulated):
    frame = simulated(seeds=3)
    frame = frame[(frame["fraction"] != 1.0) | (frame["seed"] == 0)]
    text = format_table(summary(frame))
    lines = text.splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("sd of runs"))
    assert lines[place].split() == ["sd", "of", "runs", "1", "%"], "a setting of one run has no spread"
    for line, method in zip(lines[place + 1 : place + 3], ("igcl", "random"), strict=True):
        means = [
            np.mean([scikit_auroc(frame, method=method, fraction=0.01, label=label, seed=seed) for label in SCORED])
            for seed in range(3)
        ]
        assert line.split() == [method, f"{np.std(means, ddof=1):.3f}", "of", "3"]
    assert "sd of runs" not in format_table(summary(simulated(seeds=1)))


def test_shares_stand_before_shots():
    spread = {"run_sd": 0.01, "runs": 3}
    means = [record("igcl", 0.7, shots=5, **spread), record("igcl", 0.7, fraction=1.0, **spread)]
    assert spread_rows(means) == [["sd of runs", "100 %", "5-shot"], ["igcl", "0.010 of 3", "0.010 of 3"]]
