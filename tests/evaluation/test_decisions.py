"""Answers and probabilities: what is chosen on validation rows, and what scikit-learn says of the test rows."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score, matthews_corrcoef, recall_score

from igcl_lightning.evaluation.decisions import TITLES, format_decisions, summarise_decisions
from igcl_lightning.metrics.operating import choose_threshold

LABELS = ["Atelectasis", "Edema"]


@pytest.fixture(name="frame")
def predictions(simulated):
    """Validation and test rows of two methods at two settings, of which the validation rows are the easier ones."""
    settings = ((0.1, None), (1.0, None))
    test = simulated(settings=settings, labels=LABELS)
    valid = simulated({"igcl": 3.0, "random": 1.0}, settings, rows=90, labels=LABELS)
    return pd.concat([test, valid.assign(split="valid", row="v" + valid["row"], patient="v" + valid["patient"])])


def summary(frame, **options):
    return summarise_decisions(frame, ["test"], protocol="linear", store="phantom", **options)


def only(records, **wanted):
    (record,) = [record for record in records if ({"versus": None} | wanted).items() <= record.items()]
    return record


def rows_of(frame, split, method="igcl", label="Edema", seed=0):
    wanted = {"split": split, "method": method, "label": label, "seed": seed, "fraction": 1.0}
    for column, value in wanted.items():
        frame = frame[frame[column] == value]
    return frame.dropna(subset="target")


SCIKIT = {
    "sensitivity": recall_score,
    "specificity": lambda target, answer: recall_score(target, answer, pos_label=0),
    "f1": f1_score,
    "mcc": matthews_corrcoef,
}


@pytest.mark.parametrize("label", LABELS)
def test_answers_at_thresholds_of_validation_rows_equal_scikit_learn(frame, label):
    records = summary(frame)
    for name, scikit in SCIKIT.items():
        values = []
        for seed in (0, 1):
            valid, test = (rows_of(frame, split, label=label, seed=seed) for split in ("valid", "test"))
            threshold = choose_threshold(valid["score"], valid["target"])
            values.append(scikit(test["target"], test["score"] >= threshold))
        record = only(records, method="igcl", label=label, metric=name)
        assert record["value"] == pytest.approx(np.mean(values))
        assert record["ci_low"] < record["value"] < record["ci_high"]
        assert (record["seed"], record["fraction"], record["runs"], record["split"]) == (None, 1.0, 2, "test")


def test_a_score_at_the_threshold_is_a_positive_answer(frame):
    between = 0.5 * (frame["split"] == "test")  # thresholds are between scores of validation rows
    coarse = frame.assign(score=frame["score"].round() + between)
    valid, test = (rows_of(coarse, split) for split in ("valid", "test"))
    threshold = choose_threshold(valid["score"], valid["target"])
    assert (test["score"] == threshold).any()
    one = coarse[coarse["seed"] == 0]
    found = only(summary(one), method="igcl", label="Edema", metric="sensitivity")["value"]
    assert found == pytest.approx(recall_score(test["target"], test["score"] >= threshold))


def test_the_test_rows_choose_nothing(frame):
    before = summary(frame)
    moved = frame.copy()
    moved.loc[moved["split"] == "test", "score"] += 10.0
    after = summary(moved)
    for name in ("sensitivity", "specificity"):
        changed = [only(records, method="igcl", label="Edema", metric=name)["value"] for records in (before, after)]
        assert changed[1] == (1 if name == "sensitivity" else 0) != changed[0]
    areas = [
        only(records, method="igcl", label="Edema", metric="average_precision")["value"] for records in (before, after)
    ]
    assert areas[0] == pytest.approx(areas[1])


def test_probabilities_at_temperatures_of_validation_rows_equal_scikit_learn(frame):
    records, values, precision = summary(frame), [], []
    for seed in (0, 1):
        valid, test = (rows_of(frame, split, seed=seed) for split in ("valid", "test"))
        slope = LogisticRegression(C=1e9, fit_intercept=False).fit(valid[["score"]], valid["target"]).coef_[0, 0]
        values.append(brier_score_loss(test["target"], expit(test["score"] * slope)))
        precision.append(average_precision_score(test["target"], test["score"]))
    assert only(records, method="igcl", label="Edema", metric="brier")["value"] == pytest.approx(
        np.mean(values), rel=1e-4
    )
    found = only(records, method="igcl", label="Edema", metric="average_precision")
    assert found["value"] == pytest.approx(np.mean(precision))
    error = only(records, method="igcl", label="Edema", metric="ece")
    assert 0 < error["value"] < 0.5
    assert (error["ci_low"], error["ci_high"]) == (None, None), "it is biased, and has no interval"


def test_only_the_largest_setting_counts_and_differences_are_paired(frame):
    records = summary(frame, versus=[("igcl", "random")])
    assert {(record["fraction"], record["seed"]) for record in records} == {(1.0, None)}
    assert {record["metric"] for record in records} == set(TITLES)
    for name in ("f1", "brier"):
        one, other = (only(records, method=method, label="mean", metric=name) for method in ("igcl", "random"))
        apart = only(records, method="igcl", versus="random", label="mean", metric=name)
        assert apart["value"] == pytest.approx(one["value"] - other["value"])
        assert apart["ci_low"] < apart["value"] < apart["ci_high"]
    once = frame[frame["fraction"] == 1.0]
    few = pd.concat([once.assign(shots=shots, fraction=None) for shots in (5, 20)])
    assert {record["shots"] for record in summary(few)} == {20}


def test_means_of_all_answers_are_over_the_same_labels(frame):
    rare = (frame["label"] == "Edema") & (frame["split"] == "test")
    records = summary(frame.assign(target=frame["target"].mask(rare, 0.0)))
    assert only(records, method="igcl", label="Edema", metric="specificity")["value"] is not None
    for name in SCIKIT:
        means = [only(records, method="igcl", label=label, metric=name)["value"] for label in ("Atelectasis", "mean")]
        assert means[0] == pytest.approx(means[1])


def test_without_validation_rows_only_the_ranking_is_judged(frame):
    records = summary(frame[frame["split"] == "test"])
    assert {record["metric"] for record in records} == {"average_precision"}


def test_a_label_of_one_class_on_validation_rows_is_left_out(frame):
    frame.loc[(frame["split"] == "valid") & (frame["label"] == "Edema"), "target"] = 0.0
    records = summary(frame)
    assert {record["label"] for record in records if record["metric"] == "f1"} == {"Atelectasis", "mean"}


def test_a_method_that_lacks_the_largest_setting_is_left_out(frame):
    frame = frame[(frame["method"] == "igcl") | (frame["fraction"] == 0.1)]
    records = summary(frame, versus=[("igcl", "random")])
    assert {record["method"] for record in records} == {"igcl"}


def test_the_table_names_what_was_chosen_where(frame):
    lines = format_decisions(summary(frame, versus=[("igcl", "random")])).splitlines()
    assert lines[0] == "means over labels, 100 %; thresholds and temperatures from validation rows"
    assert lines[2].split() == ["method", "AP", "sensitivity", "specificity", "F1", "MCC", "Brier", "ECE"]
    assert [line.split()[0] for line in lines[3:]] == ["igcl", "random"]
    assert format_decisions([]) == ""
