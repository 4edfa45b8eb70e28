"""Accuracy and F1 of choosing one of several classes, against scikit-learn, without one patient at a time."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score

from by_patient import left_out
from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.classes import format_classes, summarise_classes
from igcl_lightning.evaluation.intervals import interval, p_value
from igcl_lightning.evaluation.results import Record, write_results

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
    return summarise_classes(predictions, classes, versus=[("igcl", "random")], **ABOUT)


def shown(records, metric, label="mean", method="igcl", seed=None, versus=None, split="test"):
    wanted = (metric, label, method, seed, versus, split)
    fields = ("metric", "label", "method", "seed", "versus", "split")
    (record,) = [each for each in records if tuple(each[name] for name in fields) == wanted]
    return record


def numbers(record):
    return [record["value"], record["ci_low"], record["ci_high"]]


def answered(predictions, classes, method, seed, split="test", names=NAMES):
    """Patients, classes and answers of the rows with a class."""
    frame = predictions[(predictions["method"] == method) & (predictions["seed"] == seed)]
    frame = frame[(frame["split"] == split) & frame["row"].isin(list(classes))]
    scores = frame.pivot_table(index=["patient", "row"], columns="label", values="score")[list(names)]
    truth = np.array([classes[row] for _, row in scores.index])
    return np.array([patient for patient, _ in scores.index]), truth, scores.idxmax(axis=1).to_numpy()


def loop(statistic, patient, smallest, scale="unit"):
    """The statistic of the rows, and its interval by leaving out one patient at a time."""
    estimate = left_out(statistic, patient)
    return [estimate[0], *interval(estimate, smallest, scale)]


def mean_of(runs, statistic):
    """The mean over runs of a statistic of classes and answers, of places of rows."""
    return lambda rows: np.mean([statistic(truth[rows], said[rows]) for _, truth, said in runs])


def macro(truth, said):
    return f1_score(truth, said, labels=NAMES, average="macro")


def test_values_and_intervals_equal_scikit_learn_without_each_patient(records, predictions, classes):
    both = [answered(predictions, classes, "igcl", seed) for seed in (0, 1)]
    patient, truth, _ = both[0]
    sizes = {name: len({each for each, own in zip(patient, truth, strict=True) if own == name}) for name in NAMES}
    fewest = min(sizes.values())
    expected = loop(mean_of(both, accuracy_score), patient, 25)
    assert numbers(shown(records, "accuracy")) == pytest.approx(expected)
    assert expected[1] < expected[0] < expected[2]
    assert numbers(shown(records, "f1")) == pytest.approx(loop(mean_of(both, macro), patient, fewest))
    for name, size in sizes.items():
        statistic = mean_of(both, lambda a, b, name=name: f1_score(a, b, labels=[name], average="macro"))
        assert numbers(shown(records, "f1", name)) == pytest.approx(loop(statistic, patient, size))
    found = [accuracy_score(truth, said) for _, truth, said in both]
    for seed, (run, value) in enumerate(zip(both, found, strict=True)):
        record = shown(records, "accuracy", seed=seed)
        assert numbers(record) == pytest.approx(loop(mean_of([run], accuracy_score), patient, 25))
        assert record["value"] == pytest.approx(value)
    mean = shown(records, "accuracy")
    assert (mean["runs"], mean["run_sd"], mean["few"]) == (2, pytest.approx(np.std(found, ddof=1)), False)
    _, truth, said = answered(predictions, classes, "random", 1, "valid")
    valid = shown(records, "accuracy", method="random", seed=1, split="valid")
    assert (valid["value"], valid["few"]) == (accuracy_score(truth, said), True)


def test_differences_are_paired_over_patients_and_seeds(records, predictions, classes, tmp_path):
    igcl, other = ([answered(predictions, classes, method, seed) for seed in (0, 1)] for method in ("igcl", "random"))
    patient = igcl[0][0]
    for metric, statistic, smallest in (("accuracy", accuracy_score, 25), ("f1", macro, fewest_of(igcl[0]))):
        one, two = mean_of(igcl, statistic), mean_of(other, statistic)
        record = shown(records, metric, versus="random")
        estimate = left_out(lambda rows, one=one, two=two: one(rows) - two(rows), patient)
        assert numbers(record) == pytest.approx([estimate[0], *interval(estimate, smallest, "any")])
        assert record["p_value"] == pytest.approx(p_value(estimate, smallest))
        assert (record["p_value"] < 0.05) == (record["ci_low"] > 0 or record["ci_high"] < 0)
    write_results(records, tmp_path / "results.json")
    assert all(each.keys() == Record.__annotations__.keys() for each in records)


def fewest_of(run):
    patient, truth, _ = run
    return min(len(set(patient[truth == name])) for name in NAMES)


def test_counts_are_of_rows_with_a_class(records, classes):
    own = [name for row, name in classes.items() if int(row[1:]) < 75]
    record = shown(records, "f1", "Edema")
    assert (record["n"], record["positives"], record["patients"]) == (70, own.count("Edema"), 25)
    assert shown(records, "accuracy")["positives"] is None


def test_settings_are_kept_apart_and_shown_by_the_table(classes):
    frame = predicted(classes, ("igcl",), (0,), ((0.01, None), (None, 5)))
    records = summarise_classes(frame, classes, **ABOUT)
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
    records = summarise_classes(*tied, **ABOUT)
    assert shown(records, "accuracy")["value"] == 0.25
    # Answers are b, a, a, c.
    assert [shown(records, "f1", name)["value"] for name in "abc"] == pytest.approx([0, 0, 2 / 3])


def test_a_class_without_rows_in_a_split_has_no_f1_but_can_be_the_answer():
    frame, classes = few(("a", {"a": 1, "b": 0}), ("a", {"a": 0, "b": 1}), ("b", {"a": 0, "b": 1}))
    frame.loc[frame["row"] == "r2", "split"] = "valid"
    records = summarise_classes(frame, classes, **ABOUT)
    assert shown(records, "accuracy")["value"] == 0.5
    values = [shown(records, "f1", name)["value"] for name in ("a", "b", "mean")]
    assert values == [pytest.approx(2 / 3), None, pytest.approx(2 / 3)]
    assert format_classes(records).splitlines()[-1].split() == ["igcl", "0.667", "-"]


def test_a_class_without_rows_in_a_split_leaves_the_mean_its_interval():
    rows = [("a", {"a": 1, "b": 0, "c": 0}), ("b", {"a": 0, "b": 1, "c": 2}), ("b", {"a": 0, "b": 1, "c": 0})] * 10
    frame, classes = few(*rows, ("c", {"a": 0, "b": 0, "c": 1}))
    frame.loc[frame["row"] == "r30", "split"] = "valid"
    record = shown(summarise_classes(frame, classes, **ABOUT), "f1")
    patient, truth, said = answered(frame, classes, "igcl", 0, names=["a", "b", "c"])
    expected = left_out(lambda at: f1_score(truth[at], said[at], labels=["a", "b"], average="macro"), patient)
    assert numbers(record) == pytest.approx([expected[0], *interval(expected, 10, "unit")])
    assert record["few"] is False


def test_a_class_of_one_patient_has_no_interval_and_neither_has_the_mean():
    """Without the patient, the mean would be over other classes."""
    rows = [("a", {"a": 1, "b": 0, "c": 0.5}), ("b", {"a": 0, "b": 1, "c": 2})] * 4
    records = summarise_classes(*few(*rows, ("c", {"a": 0, "b": 0, "c": 1})), **ABOUT)
    assert shown(records, "f1", "c")["ci_low"] is shown(records, "f1")["ci_low"] is None
    assert shown(records, "f1")["value"] == pytest.approx((1 + 0 + 2 / 6) / 3)
    assert shown(records, "accuracy")["ci_low"] is not None
    assert [shown(records, "f1", name)["few"] for name in ("a", "c", "mean")] == [True, True, True]
    assert shown(records, "accuracy")["few"] is True, "nine patients"


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
