"""Results by groups against loops over rows, gaps of patients on both sides, corrections, and the text."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from igcl_lightning.evaluation.intervals import holm, interval, p_value
from igcl_lightning.evaluation.subgroups import age_band, format_groups, summarise_groups
from igcl_lightning.metrics.influence import auroc_estimate

ROWS = 240
LABELS = ("Edema", "Nodule")


@pytest.fixture(scope="module")
def groups():
    """Sex of a patient; view of a row, so that patients of two rows may have both; a third group of few."""
    rng = np.random.default_rng(0)
    sex = np.where(np.arange(ROWS) // 2 % 2, "F", "M").astype(object)
    view = rng.choice(["AP", "PA"], ROWS).astype(object)
    view[:6] = None
    index = [f"{split}-{row}" for split in ("valid", "test") for row in range(ROWS)]
    return pd.DataFrame({"sex": [*sex, *sex], "view": [*view, *view]}, index=index, dtype=object)


@pytest.fixture(scope="module")
def predictions(groups):
    """Two methods of two seeds at two fractions; "good" is worse with the label Edema in AP views."""
    rng, lines = np.random.default_rng(1), []
    target = {(split, label): rng.random(ROWS) < 0.35 for split, label in product(("valid", "test"), LABELS)}
    for method, fraction, seed in product(("good", "other"), (0.1, 1.0), (0, 1)):
        for (split, label), present in target.items():
            ap = (groups["view"].iloc[:ROWS] == "AP").to_numpy()
            strength = np.where(ap & (label == "Edema") & (method == "good"), 0.0, 2.0)
            score = strength * present + rng.normal(0, 1, ROWS)
            for row in range(ROWS):
                about = {"method": method, "fraction": fraction, "shots": None, "seed": seed, "split": split}
                ids = {"row": f"{split}-{row}", "study": f"{split}-{row}", "patient": f"{split}-{row // 2}"}
                known = None if label == "Nodule" and row % 7 == 0 else float(present[row])
                lines.append({**about, **ids, "label": label, "target": known, "score": score[row]})
    return pd.DataFrame(lines).sample(frac=1, random_state=0).reset_index(drop=True)


@pytest.fixture(scope="module")
def records(predictions, groups):
    return summarise_groups(predictions, groups, ["test"], ["test"], protocol="linear", store="mine")


def wanted(records, **fields):
    return [each for each in records if all(each[name] == value for name, value in fields.items())]


def part(predictions, groups, inside, **fields):
    """Rows of one run and label with a known target, and which of them are in a group."""
    kept = predictions[(predictions[list(fields)] == pd.Series(fields)).all(axis=1)].dropna(subset="target")
    kept = kept.sort_values("row")
    return kept, np.array([inside(groups.loc[row]) for row in kept["row"]])


def test_values_are_means_over_seeds_of_the_rows_of_a_group_at_the_largest_setting(records, predictions, groups):
    for name, label in product(("F", "M"), LABELS):
        (record,) = wanted(records, group=f"sex: {name}", metric="auroc", label=label, method="good")
        values = []
        for seed in (0, 1):
            about = {"method": "good", "fraction": 1.0, "seed": seed, "split": "test", "label": label}
            rows, inside = part(predictions, groups, lambda row, name=name: row["sex"] == name, **about)
            values.append(roc_auc_score(rows["target"][inside], rows["score"][inside]))
        assert record["value"] == pytest.approx(np.mean(values))
        assert record["n"] == inside.sum()
        assert record["positives"] == rows["target"][inside].sum()
        assert record["patients"] == rows["patient"][inside].nunique()
        assert (record["fraction"], record["seed"], record["split"], record["few"]) == (1.0, None, "test", False)
    (mean,) = wanted(records, group="sex: F", metric="auroc", label="mean", method="good")
    singles = [wanted(records, group="sex: F", metric="auroc", label=label, method="good")[0] for label in LABELS]
    assert mean["value"] == pytest.approx(np.mean([each["value"] for each in singles]))


def test_a_gap_is_to_the_rows_outside_and_paired_for_patients_on_both_sides(records, predictions, groups):
    patients = sorted(set(predictions.loc[predictions["split"] == "test", "patient"]))
    number = {patient: place for place, patient in enumerate(patients)}
    estimates = []
    for label, name in product(LABELS, ("AP", "PA")):
        differences = []
        for seed in (0, 1):
            about = {"method": "good", "fraction": 1.0, "seed": seed, "split": "test", "label": label}
            rows, inside = part(predictions, groups, lambda row, name=name: row["view"] == name, **about)
            sides = []
            for kept in (inside, ~inside):
                patient = rows["patient"][kept].map(number)
                sides.append(auroc_estimate(rows["score"][kept], rows["target"][kept], patient, len(number)))
            differences.append(sides[0] - sides[1])
        estimate = np.mean(differences, axis=0)
        (record,) = wanted(records, group=f"view: {name}", metric="auroc_gap", label=label, method="good")
        assert record["value"] == pytest.approx(estimate[0])
        assert [record["ci_low"], record["ci_high"]] == pytest.approx(interval(estimate))
        assert record["p_value"] == pytest.approx(p_value(estimate))
        estimates.append(estimate)
    (mean,) = wanted(records, group="view: PA", metric="auroc_gap", label="mean", method="good")
    assert mean["value"] == pytest.approx(np.mean([estimates[1][0], estimates[3][0]]))


def test_p_values_are_corrected_over_groups_and_labels_of_a_method(records):
    gaps = [each for each in wanted(records, method="good", metric="auroc_gap") if each["label"] != "mean"]
    # sex: F, view: AP, view: PA; unknown views have too few patients, and sex has one gap.
    assert sorted((each["group"], each["label"]) for each in gaps) == [
        *product(("sex: F", "view: AP", "view: PA"), LABELS)
    ]
    assert [each["p_holm"] for each in gaps] == holm([each["p_value"] for each in gaps])
    means = wanted(records, method="good", metric="auroc_gap", label="mean")
    assert [each["p_holm"] for each in means if each["p_value"]] == holm([m["p_value"] for m in means if m["p_value"]])
    remain = [(each["method"], each["group"], each["label"]) for each in records
              if each["metric"] == "auroc_gap" and each["label"] != "mean" and each["p_holm"] < 0.05]  # fmt: skip
    assert remain == [("good", "view: AP", "Edema"), ("good", "view: PA", "Edema")]


def test_gaps_of_answers_at_thresholds_of_validation_rows(records, predictions, groups):
    (record,) = wanted(records, method="good", metric="sensitivity_gap", group="view: AP", label="Edema")
    values = []
    for seed in (0, 1):
        about = {"method": "good", "fraction": 1.0, "seed": seed, "label": "Edema"}
        valid = part(predictions, groups, lambda row: True, split="valid", **about)[0]
        rows, inside = part(predictions, groups, lambda row: row["view"] == "AP", split="test", **about)
        best = max(
            sorted(valid["score"], reverse=True),
            key=lambda at: (
                (valid["score"] >= at)[valid["target"] == 1].mean() + (valid["score"] < at)[valid["target"] == 0].mean()
            ),
        )
        below = valid["score"][valid["score"] < best].max()
        said, present = rows["score"] >= (best + below) / 2, rows["target"] == 1
        values.append(said[inside & present].mean() - said[~inside & present].mean())
    assert record["value"] == pytest.approx(np.mean(values))
    kinds = {each["metric"] for each in records}
    assert kinds == {"auroc", "auroc_gap", "sensitivity_gap", "specificity_gap"}
    labels = {each["label"] for each in wanted(records, metric="specificity_gap") if each["p_holm"] >= 0.05}
    assert labels <= {"mean"}


def test_groups_of_few_patients_are_named_and_not_tested(records):
    few = wanted(records, group="view: unknown")
    assert {each["metric"] for each in few if each["label"] != "mean"} == {"auroc"}
    assert all(each["few"] for each in few)
    assert {each["value"] for each in few if each["label"] == "mean"} == {None}
    text = format_groups(records)
    assert text.endswith("too few patients with or without a label: view: unknown (3)")


def test_a_group_that_nearly_all_rows_are_of_has_no_gap(predictions, groups):
    nearly = groups.assign(sex=["M" if index.endswith(("-1", "-2", "-3")) else "F" for index in groups.index])
    found = summarise_groups(predictions, nearly[["sex"]], ["test"], ["test"], protocol="p", store="s")
    about = {"group": "sex: F", "label": "Edema", "method": "good"}
    assert [(each["metric"], each["few"]) for each in wanted(found, **about)] == [("auroc", False)]
    means = wanted(found, group="sex: F", label="mean", method="good", metric="auroc")
    assert [each["value"] for each in means] == [None], "a mean is over labels with enough patients outside, too"


def test_the_text_names_the_widest_gaps_and_those_that_are_more_than_chance(records):
    title, good, other, _ = format_groups(records).splitlines()
    assert title == "AUROC of groups less that of all other rows, means over labels, 100 %"
    assert good.startswith("good: -0.")
    assert "(view: AP) to +0." in good
    assert "more than chance (Holm over 6 groups x labels): AUROC of Edema -0." in good
    assert other.endswith("no label's gap is more than chance (Holm over 6 groups x labels)")
    assert format_groups(records, split="valid") == ""


def test_without_groups_or_validation_rows(predictions, groups):
    test = predictions[predictions["split"] == "test"]
    assert summarise_groups(test, groups[[]], ["test"], ["test"], protocol="p", store="s") == []
    alone = groups.assign(sex="F")[["sex"]]
    assert summarise_groups(test, alone, ["test"], ["test"], protocol="p", store="s") == []
    found = summarise_groups(test, groups[["sex"]], ["test"], ["test"], protocol="p", store="s")
    assert {each["metric"] for each in found} == {"auroc", "auroc_gap"}


@pytest.mark.parametrize(
    ("age", "band"), [(0, "0-19"), (19.9, "0-19"), (40, "40-59"), (80, "80+"), (99, "80+"), (None, None), (-1, None)]
)
def test_ages_are_in_bands_of_twenty_years(age, band):
    assert age_band(age) == band
    assert age_band(float("nan")) is None
