import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, average_precision_score, roc_auc_score

from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.results import (
    Record,
    format_labels,
    format_table,
    interval,
    setting_name,
    summarise,
    write_results,
)
from igcl_lightning.metrics.clinical import patient_bootstrap_weights


def summary(frame, **options):
    return summarise(frame, protocol="demo", store="phantom", **{"resamples": 100, **options})


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
    assert (record["ci_low"], record["ci_high"]) == (None, None)


def test_the_mean_has_no_interval_where_one_of_its_labels_has_none(simulated):
    frame = simulated(labels=("None", "Edema"))
    edema = frame["label"] == "Edema"
    frame.loc[edema, "target"] = (frame.loc[edema, "row"] == "r3").astype(float)
    record = only(summary(frame), method="igcl", fraction=0.01, label="mean")
    assert record["value"] is not None
    assert (record["ci_low"], record["ci_high"]) == (None, None)


def looped_interval(runs, resamples=100, seed=0):
    """Resample patients in a loop; in each resample average the AUROC of the runs."""
    patients = np.unique(runs[0]["patient"])
    rows_of = {patient: np.flatnonzero(runs[0]["patient"] == patient) for patient in patients}
    drawn = []
    for draw in np.random.default_rng(seed).integers(len(patients), size=(resamples, len(patients))):
        rows = np.concatenate([rows_of[patients[index]] for index in draw])
        drawn.append(np.mean([roc_auc_score(run["target"].iloc[rows], run["score"].iloc[rows]) for run in runs]))
    return np.quantile(drawn, (0.025, 0.975))


def of_runs(frame, method):
    lines = frame[(frame["method"] == method) & (frame["label"] == "Edema") & (frame["fraction"] == 0.01)]
    return [run for _, run in lines.groupby("seed")]


def test_interval_equals_a_loop_over_resampled_patients(simulated):
    frame = simulated(seeds=3)
    record = only(summary(frame), method="random", fraction=0.01, label="Edema")
    assert [record["ci_low"], record["ci_high"]] == pytest.approx(looped_interval(of_runs(frame, "random")))


def test_runs_are_averaged_and_never_pooled(simulated):
    """Runs whose scores have different offsets: pooling them mixes scales, and its interval is too narrow."""
    frame = simulated({"igcl": 1.0}, settings=((0.01, None),), seeds=10, rows=300, labels=("Effusion", "Edema"))
    frame["score"] += frame["seed"] * 1.5
    record = only(summary(frame, resamples=300), method="igcl", label="Edema")
    assert record["value"] == pytest.approx(np.mean([scikit_auroc(frame, label="Edema", seed=s) for s in range(10)]))
    assert scikit_auroc(frame, label="Edema") < record["value"] - 0.1

    frame["score"] -= frame["seed"] * 1.5
    pooled_row = frame["row"] + " " + frame["seed"].astype(str)
    pooled = frame.assign(row=pooled_row, patient=pooled_row, seed=0)
    narrow = only(summary(pooled, resamples=300), method="igcl", label="Edema")
    assert narrow["ci_high"] - narrow["ci_low"] < 0.8 * (record["ci_high"] - record["ci_low"])


def test_a_difference_is_paired(simulated):
    frame = simulated({"igcl": 1.0}, seeds=1)
    twin = frame.assign(method="twin", score=frame["score"] * 2 + 1)
    records = summary(pd.concat([frame, twin]), versus=[("igcl", "twin")])
    for label in ("Edema", "mean"):
        record = only(records, method="igcl", versus="twin", fraction=0.01, label=label)
        assert (record["value"], record["ci_low"], record["ci_high"]) == (0, 0, 0)


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


def test_the_same_seed_gives_the_same_records_whatever_the_order_of_the_lines(simulated):
    frame = simulated()
    shuffled = frame.sample(frac=1, random_state=0)
    by_key = [
        {(r["method"], r["fraction"], r["shots"], r["seed"], r["label"]): r["ci_low"] for r in summary(lines)}
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
        "no interval where one of the two classes has too few patients",
        "",
        "method",
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
        "no interval where one of the two classes has too few patients",
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


def average_precision(score, target, weights):
    """The precision among the rows that score as high as a positive or higher, mean over positives."""
    higher = (score[None] >= score[:, None]).astype(float)
    precision = (weights * target) @ higher.T / np.maximum(weights @ higher.T, 1)
    with np.errstate(invalid="ignore"):
        return (weights * target * precision).sum(axis=1) / (weights * target).sum(axis=1)


def accuracy(score, target, weights):
    return (weights * ((score > 0.5) == target)).sum(axis=1) / weights.sum(axis=1)


@pytest.mark.parametrize(
    ("statistic", "metric", "scikit"),
    [
        (average_precision, "average_precision", average_precision_score),
        (accuracy, "accuracy_at_0.5", lambda target, score: accuracy_score(target, np.asarray(score) > 0.5)),
    ],
)
def test_any_statistic_is_summarised_and_equals_scikit_learn_on_resampled_rows(simulated, statistic, metric, scikit):
    frame = simulated(settings=((0.01, None),), seeds=1)
    records = summary(frame, statistic=statistic, metric=metric, resamples=30, versus=[("igcl", "random")])
    assert {record["metric"] for record in records} == {metric}
    drawn = {}
    for method in ("igcl", "random"):
        lines = frame[(frame["method"] == method) & (frame["label"] == "Atelectasis")].reset_index(drop=True)
        known = lines["target"].notna().to_numpy()
        weights = np.vstack([np.ones(len(lines), int), patient_bootstrap_weights(lines["patient"], 30, 0)])
        rows = [np.repeat(np.arange(len(lines)), weight * known) for weight in weights]
        drawn[method] = np.array([scikit(lines["target"][row], lines["score"][row]) for row in rows])
        record = only(records, method=method, label="Atelectasis")
        expected = [drawn[method][0], *np.quantile(drawn[method][1:], (0.025, 0.975))]
        assert [record[name] for name in ("value", "ci_low", "ci_high")] == pytest.approx(expected)
    gain = only(records, method="igcl", versus="random", label="Atelectasis")
    expected = np.quantile((drawn["igcl"] - drawn["random"])[1:], (0.025, 0.975))
    assert [gain["ci_low"], gain["ci_high"]] == pytest.approx(list(expected))
    assert format_table(records, metric).startswith(f"{metric}, mean over")
    assert "igcl" not in format_table(records), "the table of another metric shows none of these"


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


def test_four_of_five_defined_resamples_are_enough():
    assert interval(np.array([0.0] * 8 + [np.nan] * 2)) == (0.0, 0.0)
    assert interval(np.array([0.0] * 7 + [np.nan] * 3)) == (None, None)
