"""Accuracy and F1 of choosing one of several classes, against scikit-learn and loops over resamples."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score

from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.classes import format_classes, summarise_classes
from igcl_lightning.evaluation.results import Record, write_results
from igcl_lightning.metrics.clinical import patient_bootstrap_weights

NAMES = ("Atelectasis", "Edema", "Hernia")
LABELS = ("Hernia", "Other", "Edema", "Atelectasis")  # another order, and one that is no class
ABOUT = {"protocol": "zero_shot", "store": "s"}


@pytest.fixture(scope="module")
def classes():
    own = np.random.default_rng(1).integers(0, 3, 90)
    return {f"r{row}": NAMES[each] for row, each in enumerate(own) if row % 15}


def predicted(classes, methods=("igcl", "random"), seeds=(0, 1), settings=((None, None),)):
    """Several rows per patient, in two splits; rows 0, 15, 30, ... are of no class."""
    generator = np.random.default_rng(0)
    lines = [
        (method, *setting, f"r{row}", f"r{row}", f"p{row // 3}", "test" if row < 75 else "valid", label, None, seed)
        for method in methods
        for setting in settings
        for seed in seeds
        for row in range(90)
        for label in LABELS
    ]
    columns = ["method", "fraction", "shots", "row", "study", "patient", "split", "label", "target", "seed"]
    frame = pd.DataFrame(lines, columns=columns)
    right = frame["label"] == frame["row"].map(classes)
    frame["score"] = generator.normal(size=len(frame)) + 9.0 * (frame["label"] == "Other")
    frame["score"] += right * np.where(frame["method"] == "igcl", 1.5, 0.3)
    return frame


@pytest.fixture(scope="module")
def predictions(classes):
    return predicted(classes)


@pytest.fixture(scope="module")
def records(predictions, classes):
    return summarise_classes(predictions, classes, versus=[("igcl", "random")], resamples=20, seed=3, **ABOUT)


def shown(records, metric, label="mean", method="igcl", seed=None, versus=None, split="test"):
    wanted = (metric, label, method, seed, versus, split)
    fields = ("metric", "label", "method", "seed", "versus", "split")
    (record,) = [each for each in records if tuple(each[name] for name in fields) == wanted]
    return record


def numbers(record):
    return [record["value"], record["ci_low"], record["ci_high"]]


def answered(predictions, classes, method, seed, split="test"):
    """Patients, classes and answers of the rows with a class."""
    frame = predictions[(predictions["method"] == method) & (predictions["seed"] == seed)]
    frame = frame[(frame["split"] == split) & frame["row"].isin(list(classes))]
    scores = frame.pivot_table(index=["patient", "row"], columns="label", values="score")[list(NAMES)]
    truth = np.array([classes[row] for _, row in scores.index])
    return np.array([patient for patient, _ in scores.index]), truth, scores.idxmax(axis=1).to_numpy()


def loop(statistic, patient):
    """The statistic of the rows, and its interval over resamples of the patients."""
    drawn = [
        statistic(np.repeat(np.arange(len(patient)), times)) for times in patient_bootstrap_weights(patient, 20, 3)
    ]
    return [statistic(np.arange(len(patient))), *np.nanpercentile(drawn, [2.5, 97.5])]


def test_values_and_intervals_equal_scikit_learn_in_each_resample(records, predictions, classes):
    both = [answered(predictions, classes, "igcl", seed) for seed in (0, 1)]
    patient = both[0][0]

    def mean(statistic):
        return lambda rows: np.mean([statistic(truth[rows], said[rows]) for _, truth, said in both])

    macro = {"labels": NAMES, "average": "macro"}
    expected = loop(mean(accuracy_score), patient)
    assert numbers(shown(records, "accuracy")) == pytest.approx(expected)
    assert expected[1] < expected[0] < expected[2]
    assert numbers(shown(records, "f1")) == pytest.approx(loop(mean(lambda a, b: f1_score(a, b, **macro)), patient))
    for name in NAMES:
        each = loop(mean(lambda a, b, name=name: f1_score(a, b, labels=[name], average="macro")), patient)
        assert numbers(shown(records, "f1", name)) == pytest.approx(each)
    for seed, (_, truth, said) in enumerate(both):
        assert shown(records, "accuracy", seed=seed)["value"] == pytest.approx(accuracy_score(truth, said))
    _, truth, said = answered(predictions, classes, "random", 1, "valid")
    assert shown(records, "accuracy", method="random", seed=1, split="valid")["value"] == accuracy_score(truth, said)


def test_differences_are_paired_over_resamples_and_seeds(records, predictions, classes, tmp_path):
    igcl, other = ([answered(predictions, classes, method, seed) for seed in (0, 1)] for method in ("igcl", "random"))

    def apart(rows):
        one, two = (np.mean([accuracy_score(a[rows], b[rows]) for _, a, b in each]) for each in (igcl, other))
        return one - two

    assert numbers(shown(records, "accuracy", versus="random")) == pytest.approx(loop(apart, igcl[0][0]))
    write_results(records, tmp_path / "results.json")
    assert all(each.keys() == Record.__annotations__.keys() for each in records)


def test_counts_are_of_rows_with_a_class(records, classes):
    own = [name for row, name in classes.items() if int(row[1:]) < 75]
    record = shown(records, "f1", "Edema")
    assert (record["n"], record["positives"], record["patients"]) == (70, own.count("Edema"), 25)
    assert shown(records, "accuracy")["positives"] is None


def test_settings_are_kept_apart_and_shown_by_the_table(classes):
    frame = predicted(classes, ("igcl",), (0,), ((0.01, None), (None, 5)))
    records = summarise_classes(frame, classes, resamples=5, **ABOUT)
    assert {(each["fraction"], each["shots"]) for each in records} == {(0.01, None), (None, 5)}
    lines = format_classes(records).splitlines()
    assert lines[0] == "one of 3 classes: 70 test rows of 25 patients [95 % interval over patients]"
    assert [line.split("  ")[0] for line in lines if line] == [
        *(lines[0], "method", "igcl, 1 %", "igcl, 5-shot"),
        *("F1", "igcl, 1 %", "igcl, 5-shot"),
    ]
    assert lines[2].split() == ["method", "accuracy", "mean", "F1"]
    assert lines[6].split() == ["F1", *NAMES]
    assert format_classes(records, split="train") == ""


def few(*rows):
    """Predictions of one run from rows of (class or None, scores by label); and the classes."""
    lines = [
        ("igcl", None, None, f"r{at}", f"r{at}", f"p{at}", "test", label, None, score, 0)
        for at, (_, scores) in enumerate(rows)
        for label, score in scores.items()
    ]
    columns = ["method", "fraction", "shots", "row", "study", "patient", "split", "label", "target", "score", "seed"]
    return pd.DataFrame(lines, columns=columns), {f"r{at}": own for at, (own, _) in enumerate(rows) if own}


def test_a_tie_counts_against_the_model():
    same = {"a": 1.0, "b": 1.0, "c": 1.0}
    tied = few(("a", same), ("b", same), ("c", same), ("c", {"a": 1.0, "b": 1.0, "c": 2.0}), (None, same))
    records = summarise_classes(*tied, resamples=5, **ABOUT)
    assert shown(records, "accuracy")["value"] == 0.25
    # Answers are b, a, a, c.
    assert [shown(records, "f1", name)["value"] for name in "abc"] == pytest.approx([0, 0, 2 / 3])


def test_a_class_without_rows_in_a_split_has_no_f1_but_can_be_the_answer():
    frame, classes = few(("a", {"a": 1, "b": 0}), ("a", {"a": 0, "b": 1}), ("b", {"a": 0, "b": 1}))
    frame.loc[frame["row"] == "r2", "split"] = "valid"
    records = summarise_classes(frame, classes, resamples=5, **ABOUT)
    assert shown(records, "accuracy")["value"] == 0.5
    values = [shown(records, "f1", name)["value"] for name in ("a", "b", "mean")]
    assert values == [pytest.approx(2 / 3), None, pytest.approx(2 / 3)]
    assert format_classes(records).splitlines()[-1].split() == ["igcl", "0.667", "-"]


def test_a_class_of_one_patient_has_no_interval_and_neither_has_the_mean():
    """A third of the resamples lack the patient: their mean would be over other classes."""
    rows = [("a", {"a": 1, "b": 0, "c": 0.5}), ("b", {"a": 0, "b": 1, "c": 2})] * 4
    records = summarise_classes(*few(*rows, ("c", {"a": 0, "b": 0, "c": 1})), resamples=50, **ABOUT)
    assert shown(records, "f1", "c")["ci_low"] is shown(records, "f1")["ci_low"] is None
    assert shown(records, "f1")["value"] == pytest.approx((1 + 0 + 2 / 6) / 3)
    assert shown(records, "accuracy")["ci_low"] is not None


def test_what_cannot_be_counted_is_one_line():
    frame, classes = few(("a", {"a": 1, "b": 0}), ("b", {"a": 0, "b": 1}))
    with pytest.raises(IgclError, match="classes: a choice needs two of them, and there is a"):
        summarise_classes(frame, {"r0": "a"}, **ABOUT)
    with pytest.raises(IgclError, match="predictions: no row is of one of the classes a, b"):
        summarise_classes(frame, {"r7": "a", "r8": "b"}, **ABOUT)
    with pytest.raises(IgclError, match="igcl, seed 0: lacks scores of c for rows that have a class"):
        summarise_classes(frame, classes | {"r1": "c"}, **ABOUT)
    with pytest.raises(IgclError, match="igcl, seed 0: lacks scores of b for rows that have a class"):
        summarise_classes(frame[(frame["row"] != "r1") | (frame["label"] != "b")], classes, **ABOUT)
    other = frame[frame["label"] == "a"].assign(method="other")
    with pytest.raises(IgclError, match="other, seed 0: lacks scores of b"):
        summarise_classes(pd.concat([frame, other]), classes, **ABOUT)
