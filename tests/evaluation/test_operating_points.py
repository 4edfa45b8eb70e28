"""Readers and models on the same rows, compared with scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, matthews_corrcoef, recall_score, roc_auc_score, roc_curve

from igcl_lightning.evaluation.intervals import interval, widening
from igcl_lightning.evaluation.operating_points import (
    METRICS,
    Cases,
    Given,
    answers_at,
    auroc_records,
    difference_records,
    operating_records,
    remarks,
    tables,
    verdict,
)
from igcl_lightning.evaluation.plots import save_png
from igcl_lightning.evaluation.roc_plot import plot_roc_readers, roc_points
from igcl_lightning.metrics.influence import jackknife_estimate
from igcl_lightning.metrics.operating import OPERATING, patient_counts

LABELS = ["Edema", "Fracture", "Hernia", "Mass"]
BY_SCIKIT_LEARN = {
    "mcc": matthews_corrcoef,
    "f1": f1_score,
    "sensitivity": recall_score,
    "specificity": lambda target, answer: recall_score(target, answer, pos_label=0),
}


@pytest.fixture(scope="module")
def cases():
    """Two rows of each of 60 patients; Hernia without positives, some targets unknown, Mass outside of the mean."""
    rng = np.random.default_rng(0)
    target = (rng.random((120, 4)) < (0.4, 0.2, 0.0, 0.3)).astype(float)
    target[:5, 0] = np.nan
    patients = np.array([f"p{number // 2}" for number in range(120)], dtype=object)
    return Cases(LABELS, LABELS[:3], patients, target)


def answers(cases, wrong, seed, name):
    rng = np.random.default_rng(seed)
    value = np.abs(np.nan_to_num(cases.target) - (rng.random(cases.target.shape) < wrong))
    return Given(name, value)


def only(records, **wanted):
    (found,) = (each for each in records if all(each[name] == value for name, value in wanted.items()))
    return found


def test_answers_are_judged_as_by_scikit_learn(cases):
    reader = answers(cases, 0.2, 1, "r1")
    reader.value[10:20, 1] = np.nan
    records = operating_records(cases, reader, protocol="radiologists", store="s", split="test")
    for metric, judge in BY_SCIKIT_LEARN.items():
        values = {}
        for place, label in enumerate(LABELS):
            known = ~(np.isnan(cases.target[:, place]) | np.isnan(reader.value[:, place]))
            found = only(records, metric=metric, label=label)
            target = cases.target[known, place]
            assert (found["n"], found["positives"]) == (known.sum(), target.sum())
            assert found["patients"] == len(set(cases.patients[known]))
            assert (found["method"], found["versus"], found["seed"], found["threshold"]) == ("r1", None, None, None)
            if label == "Hernia" and metric != "specificity":
                assert (found["value"], found["ci_low"], found["ci_high"]) == (None, None, None)
            else:
                values[label] = judge(target, reader.value[known, place])
                assert found["value"] == pytest.approx(values[label], abs=1e-12)
                assert found["ci_low"] < found["value"] < found["ci_high"]
        mean = only(records, metric=metric, label="mean")
        assert mean["value"] == pytest.approx((values["Edema"] + values["Fracture"]) / 2)
        assert (mean["n"], mean["patients"]) == (120, 60)


def test_a_reader_who_is_wrong_has_a_negative_mcc_and_an_interval_below_0(cases):
    reader = Given("r1", 1 - answers(cases, 0.1, 1, "r1").value)
    found = only(operating_records(cases, reader), metric="mcc", label="Edema")
    assert -1 < found["ci_low"] < found["value"] < found["ci_high"] < 0


def test_a_score_at_its_threshold_is_a_yes():
    score = np.array([[0.1, 0.5, 1.0], [0.2, np.nan, 2.0]])
    found = answers_at(score, ["a", "b", "c"], {"a": 0.2, "b": 0.5})
    np.testing.assert_array_equal(found, [[0, 1, np.nan], [1, np.nan, np.nan]])


def test_intervals_are_over_patients(cases):
    """Two equal rows of a patient tell no more than one."""
    reader = answers(cases, 0.2, 1, "r1")
    once = Cases(LABELS, LABELS, cases.patients[::2], cases.target[10:70])
    half = Given("r1", reader.value[10:70])
    twice = Cases(LABELS, LABELS, np.repeat(once.patients, 2), np.repeat(once.target, 2, axis=0))
    records = operating_records(once, half), operating_records(twice, Given("r1", np.repeat(half.value, 2, axis=0)))
    for one, other in zip(*records, strict=True):
        for name in ("value", "ci_low", "ci_high"):
            assert one[name] == pytest.approx(other[name]), (one["label"], one["metric"])


def test_scores_are_judged_as_by_scikit_learn(cases):
    rng = np.random.default_rng(2)
    score = np.nan_to_num(cases.target) + 3 * rng.random(cases.target.shape).round(1)
    score[:, 3] = np.nan  # a label that it does not score
    records = auroc_records(cases, Given("m", score))
    assert [each["label"] for each in records] == [*LABELS[:3], "mean"]
    known = ~np.isnan(cases.target)
    values = [roc_auc_score(cases.target[known[:, at], at], score[known[:, at], at]) for at in (0, 1)]
    for label, value in zip([*LABELS[:2], "mean"], [*values, np.mean(values)], strict=True):
        assert only(records, label=label)["value"] == pytest.approx(value)
    assert only(records, label="Hernia")["value"] is None
    for place in (0, 1):
        false, true = roc_points(score[:, place], cases.target[:, place])
        rows = known[:, place]
        expected = roc_curve(cases.target[rows, place], score[rows, place], drop_intermediate=False)
        np.testing.assert_allclose((false, true), expected[:2])
    assert roc_points(score[:, 2], cases.target[:, 2])[0].size == 0


def test_differences_are_on_the_rows_of_both_and_paired(cases):
    model, reader = answers(cases, 0.1, 1, "m"), answers(cases, 0.3, 2, "r1")
    model.value[:8, 0] = np.nan
    reader.value[30:40, 0] = np.nan
    model = Given("m", model.value, {"Edema": 0.25})
    records = difference_records(cases, model, reader)
    rows = ~np.isnan(cases.target[:, 0] + model.value[:, 0] + reader.value[:, 0])
    for metric, judge in BY_SCIKIT_LEARN.items():
        found = only(records, metric=metric, label="Edema")
        ours, theirs = (judge(cases.target[rows, 0], each.value[rows, 0]) for each in (model, reader))
        assert found["value"] == pytest.approx(ours - theirs)
        assert (found["method"], found["versus"], found["threshold"]) == ("m", "r1", 0.25)
        assert found["n"] == rows.sum()
        # The jackknife over patients, by loops.
        shares = []
        for patient in dict.fromkeys(cases.patients[rows]):
            left = rows & (cases.patients != patient)
            shares.append(np.subtract(*(judge(cases.target[left, 0], each.value[left, 0]) for each in (model, reader))))
        number, absent = len(shares), [0] * (60 - len(shares))
        influence = np.sqrt((number - 1) / number) * (np.mean(shares) - np.array(shares))
        ends = interval(np.array([ours - theirs, *influence, *absent]))
        assert (found["ci_low"], found["ci_high"]) == pytest.approx(ends)
        p = [only(records, metric=metric, label=label)["p_value"] for label in LABELS]
        defined = [each for each in p if each is not None]
        smallest = LABELS[p.index(min(defined))]
        assert only(records, metric=metric, label=smallest)["p_holm"] == pytest.approx(
            min(1, len(defined) * min(defined))
        )


def test_a_model_that_is_a_reader_differs_by_nothing(cases):
    reader = answers(cases, 0.2, 1, "r1")
    for record in difference_records(cases, Given("m", reader.value), reader):
        assert record["value"] in (0, None)
        assert verdict(record) == ("-" if record["value"] is None else "cannot tell")


@pytest.mark.parametrize(
    ("low", "high", "p_holm", "expected"),
    [
        (0.1, 0.2, 0.01, "better"),
        (-0.2, -0.1, 0.01, "worse"),
        (0.1, 0.2, 0.2, "better *"),
        (-0.2, -0.1, 0.2, "worse *"),
        (-0.1, 0.2, 1.0, "cannot tell"),
        (0.0, 0.2, 1.0, "cannot tell"),
        (None, None, None, "cannot tell"),
    ],
)
def test_verdicts(low, high, p_holm, expected):
    record = {"value": 0.1, "ci_low": low, "ci_high": high, "p_holm": p_holm, "label": "Edema"}
    assert verdict(record) == expected


def test_tables_have_readers_below_and_labels_beside_one_another(cases):
    readers = [answers(cases, 0.2, 1, "r1"), answers(cases, 0.3, 2, "r2")]
    model = Given("m", answers(cases, 0.02, 3, "m").value, dict.fromkeys(LABELS, 0.5))
    records = [record for each in (*readers, model) for record in operating_records(cases, each)]
    records += [record for reader in readers for record in difference_records(cases, model, reader)]
    found = list(tables(records, ["Edema", "Hernia"]))
    assert [title for title, _ in found][::2] == ["MCC", "F1", "sensitivity", "specificity", "m - r1: better or worse"]
    title, rows = found[0]
    assert rows[0] == ["method", "Edema", "Hernia", "mean"]
    assert [row[0] for row in rows[1:]] == ["r1", "r2", "m"]
    assert rows[1][2] == "-"
    assert [row[0] for row in found[1][1]] == ["difference", "m - r1", "m - r2"]
    title, rows = found[-1]
    assert title == "m - r2: better or worse"
    assert [row[0] for row in rows] == ["metric", "MCC", "F1", "sensitivity", "specificity"]
    assert rows[1][1].rstrip(" *") == "better"
    assert rows[1][2] == "-"


def test_remarks_say_what_means_are_over_and_what_is_undefined(cases):
    first, second = answers(cases, 0.2, 1, "r1"), answers(cases, 0.2, 2, "r2")
    second.value[:, 0] = np.nan
    records = [*operating_records(cases, first), *operating_records(cases, second)]
    lines = remarks(records, cases.in_mean)
    assert lines[:2] == ["mean of r1 over Edema, Fracture", "mean of r2 over Fracture"]
    assert "no positives, so neither sensitivity, F1, MCC nor AUROC: Hernia" in lines
    assert not any("no negatives" in line for line in lines)
    turned = Cases(LABELS, LABELS[:3], cases.patients, 1 - cases.target)
    lines = remarks(operating_records(turned, first), cases.in_mean)
    assert lines[:2] == ["mean over Edema, Fracture", "no negatives, so neither specificity, MCC nor AUROC: Hernia"]


def test_the_plot_has_curves_of_models_and_points_of_readers(cases, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    figures, save = [], Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *args, **options: figures.append(self) or save(self, *args, **options)
    )
    reader = answers(cases, 0.2, 1, "r1")
    score = Given("m", np.nan_to_num(cases.target) + np.random.default_rng(2).random(cases.target.shape))
    answered = Given("m", (score.value > 0.7).astype(float), dict.fromkeys(LABELS, 0.7))
    records = [*operating_records(cases, reader), *operating_records(cases, answered)]
    save_png(plot_roc_readers(cases, [score], records, LABELS), tmp_path / "plots" / "roc.png")
    (figure,) = figures
    assert (tmp_path / "plots" / "roc.png").stat().st_size > 10_000
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["m", "r1"]
    panel = figure.axes[0]
    points = {
        (line.get_color(), *line.get_xdata(), *line.get_ydata()) for line in panel.lines if len(line.get_xdata()) == 1
    }
    expected = set()
    for name, colour in (("r1", "#000000"), ("m", "#0072B2")):
        share = {m: only(records, method=name, metric=m, label="Edema")["value"] for m in METRICS}
        expected.add((colour, 1 - share["specificity"], share["sensitivity"]))
    assert points == expected
    assert [axes.get_title() for axes in figure.axes if axes.get_visible()] == LABELS


def test_the_mean_with_a_label_of_few_patients_is_wider(cases):
    few = cases.target.copy()
    few[np.flatnonzero(few[:, 1] == 1)[4:], 1] = 0
    few_cases = Cases(LABELS, LABELS[:2], cases.patients, few)
    reader = answers(few_cases, 0.3, 1, "r1")
    records = operating_records(few_cases, reader, protocol="radiologists", store="s", split="test")
    ends = only(records, metric="sensitivity", label="mean")
    names, patient = np.unique(cases.patients, return_inverse=True)
    influences = []
    for place in (0, 1):
        known = ~np.isnan(few[:, place])
        estimate = jackknife_estimate(
            OPERATING["sensitivity"],
            patient_counts(reader.value[known, place] == 1, few[known, place], patient[known], len(names)),
        )
        influences.append(estimate)
    smallest = len(set(cases.patients[few[:, 1] == 1]))
    mean = (influences[0] + influences[1]) / 2
    mean[1:] = (influences[0][1:] + influences[1][1:] * widening(smallest)) / 2
    assert widening(smallest) > 1
    assert (ends["ci_low"], ends["ci_high"]) == pytest.approx(interval(mean, None, "unit"))
