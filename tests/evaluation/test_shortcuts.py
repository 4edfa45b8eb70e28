"""What tells a label without the finding: planted and clean patches, columns, and numbers against loops."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from igcl_lightning.evaluation.intervals import holm
from igcl_lightning.evaluation.shortcuts import (
    FOLDS,
    AuditRows,
    column_cues,
    cue_records,
    format_cues,
    patch_cues,
    strongest_first,
)
from igcl_lightning.metrics.border import MIRRORED, PATCH, PLACES, SIDE

CORNER = int(np.flatnonzero((PLACES == (SIDE - PATCH, 0)).all(axis=1))[0])


def audit_rows(rng, number=300, share=0.3, test=0.3):
    """Two labels at random, of patients of two rows each, and a view that goes with the first."""
    patient = np.arange(number) // 2
    target = (rng.random((2, number)) < share).astype(float)
    view = np.where(rng.random(number) < 0.2 + 0.6 * target[0], "AP", "PA").astype(object)
    return AuditRows(
        ["Edema", "Nodule"], target, patient, rng.permutation(number // 2)[patient] < test * number / 2, view
    )


def patches(rng, rows):
    return rng.integers(0, 60, (len(rows.patient), 2, len(PLACES)), dtype=np.uint8)


def plant(marks, rows, rng, label=0, place=CORNER, kind=0):
    """Marks in one of two corners, of 95 % of the rows with a label and 5 % without, and of half of the test rows."""
    marked = rng.random(len(marks)) < np.where(rows.test, 0.5, np.where(rows.target[label] == 1, 0.95, 0.05))
    side = np.where(rng.random(len(marks)) < 0.5, place, MIRRORED[place])
    marks[marked, kind, side[marked]] = 200


@pytest.mark.parametrize("kind", [0, 1])
def test_a_planted_mark_is_an_alarm_with_its_label_and_place(kind):
    rng = np.random.default_rng(kind)
    rows = audit_rows(rng)
    marks = patches(rng, rows)
    plant(marks, rows, rng, label=1, kind=kind)
    (cue,), others = strongest_first(patch_cues(marks, rows))
    assert (cue.label, cue.by, cue.kind) == ("Nodule", "lower left and right corners", ("bright", "dark")[kind])
    assert others == []
    assert cue.changes
    low, high = cue.train_interval
    assert 0.75 < low < cue.train < high
    assert 0.35 < cue.test < 0.65
    text = format_cues([cue], [], ["Mass"])
    assert text.startswith(
        f"warning: Nodule can be told by something small and {cue.kind}, lower left and right corners: "
    )
    assert "AUROC 0.9" in text
    assert text.endswith("too few patients to say: Mass")


@pytest.mark.parametrize("seed", range(8))
def test_patches_of_chance_and_what_goes_along_with_the_view_are_no_alarm(seed):
    rng = np.random.default_rng(seed)
    rows = audit_rows(rng)
    marks = patches(rng, rows)
    marks[rows.view == "AP", 0, 5] += 150  # such as the word "portable"
    cues = patch_cues(marks, rows)
    assert [cue.label for cue in cues] == ["Edema", "Nodule"]
    assert [cue for cue in cues if cue.alarm or cue.associated] == []
    assert format_cues(cues, []).startswith("no mark at the border tells one of 2 labels; most: ")
    (view, _) = column_cues({"view": rows.view}, rows)
    assert view.associated
    assert not view.alarm
    assert "\nAUROC of a label by a column: Edema by view 0." in format_cues(cues, [view])


def test_a_patch_that_says_the_same_everywhere_is_an_alarm_too():
    rng = np.random.default_rng(3)
    rows = audit_rows(rng)
    marks = patches(rng, rows)
    marks[rows.target[0] == 0, 0, CORNER] = 200  # of those without the label
    (cue,), _ = strongest_first(patch_cues(marks, rows))
    assert (cue.label, cue.by, cue.changes) == ("Edema", "lower left corner", False)
    assert cue.train == cue.test == 1


def test_each_row_is_judged_by_what_other_patients_tell():
    """A value for each patient of its own tells nothing of others, however well it fits."""
    rng = np.random.default_rng(4)
    rows = audit_rows(rng, number=60, test=0.0)
    names = [f"group {patient % 15}" for patient in rows.patient]
    (cue, _) = column_cues({"group": names}, rows)
    score = np.zeros(60)
    fold = np.random.default_rng(0).permutation(30)[rows.patient] % FOLDS
    for row in range(60):
        others = [other for other in range(60) if fold[other] != fold[row]]
        base = np.mean([rows.target[0][other] for other in others])
        alike = [rows.target[0][other] for other in others if names[other] == names[row]]
        score[row] = (sum(alike) + base) / (len(alike) + 1) - base
    assert cue.train == pytest.approx(roc_auc_score(rows.target[0], score))
    assert not cue.associated
    assert cue.test is None


def test_a_column_that_tells_nothing_in_test_is_an_alarm_and_a_lasting_one_is_none():
    rng = np.random.default_rng(5)
    rows = audit_rows(rng)
    told = rng.random(300) < np.where(rows.test, 0.5, np.where(rows.target[0] == 1, 0.95, 0.05))
    columns = {
        "mark": np.where(told, "1", "0").tolist(),
        "class": [None if value else "normal" for value in rows.target[1]],
        "id": [str(row) for row in range(300)],
        "constant": ["here"] * 300,
    }
    cues = column_cues(columns, rows)
    alarms, others = strongest_first(cues)
    assert [(cue.label, cue.by) for cue in alarms] == [("Edema", "mark")]
    assert [(cue.label, cue.by) for cue in others] == [("Nodule", "class")]
    assert {cue.by for cue in cues} == {"mark", "class"}
    assert "Edema can be told by the column mark: AUROC 0.9" in format_cues([], cues)


def test_a_test_auroc_below_a_half_is_no_greater_loss():
    """A column that tells a little in many training rows, and the reverse in test rows."""
    rng = np.random.default_rng(6)
    rows = audit_rows(rng, number=2000, test=0.1)
    told = np.where(rows.test, rng.random(2000) < 0.05 + 0.9 * (1 - rows.target[0]), rows.target[0])
    told = np.where(rows.test | (rng.random(2000) < 0.2), told, rng.random(2000) < 0.3)
    (cue, _) = column_cues({"turned": told.astype(str).tolist()}, rows)
    assert 0.55 < cue.train < 0.65
    assert cue.test < 0.15
    assert 1e-9 < cue.p_change < 0.05, "a loss of 0.1, with a standard error of 0.03"


def test_labels_of_few_patients_are_named_and_p_values_corrected_together():
    rng = np.random.default_rng(7)
    rows = audit_rows(rng)
    rows.target[1] = np.where(rows.patient < 5, rows.target[1], np.nan)
    assert rows.too_few == ["Nodule"]
    columns = {"view": rows.view, "other": (rng.random(300) < 0.5).astype(str).tolist()}
    together = column_cues(columns, rows)
    assert [cue.label for cue in together] == ["Edema", "Edema"]
    alone = [column_cues({name: values}, rows)[0].p_change for name, values in columns.items()]
    assert [cue.p_change for cue in together] == holm(alone)


def test_records_are_of_both_splits():
    rng = np.random.default_rng(8)
    rows = audit_rows(rng)
    marks = patches(rng, rows)
    plant(marks, rows, rng)
    cues = patch_cues(marks, rows)
    train, test = cue_records(cues, rows, "mine")
    assert {train[name] for name in ("protocol", "method")} == {"audit"}
    assert (train["metric"], train["group"], train["label"]) == (
        "shortcut_patch",
        "lower left and right corners",
        "Edema",
    )
    assert (train["split"], test["split"]) == ("train", "test")
    assert (train["value"], test["value"]) == (cues[0].train, cues[0].test)
    assert (train["n"], test["n"]) == ((~rows.test).sum(), rows.test.sum())
    assert train["positives"] == rows.target[0][~rows.test].sum()
    assert test["patients"] == len(set(rows.patient[rows.test]))
    assert test["p_holm"] == cues[0].p_change
