import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.label_savings import (
    DRAWS,
    LabelSavings,
    label_savings,
    savings_line,
    savings_record,
)
from igcl_lightning.evaluation.results import Record, summarise
from igcl_lightning.metrics.influence import auroc_estimate

FRACTIONS = (0.01, 0.1, 1.0)


def growing(simulated, ours, theirs, **options):
    """Predictions of igcl at 1 % and of simclr at each of FRACTIONS, given how far positives lie above negatives."""
    parts = [simulated({"igcl": ours}, settings=((0.01, None),), **options)]
    for fraction, distance in zip(FRACTIONS, theirs, strict=True):
        parts.append(simulated({"simclr": distance}, settings=((fraction, None),), **options))
    frame = pd.concat(parts, ignore_index=True)
    frame["score"] += np.random.default_rng(1).normal(scale=0.5, size=len(frame))
    return frame


def looped(frame):
    """Label savings of igcl at 1 % against simclr, one draw of the means, run and label at a time.

    Returns the factor, its interval, and the share of draws beyond the curve.
    """
    frame = frame.dropna(subset="target").groupby("label").filter(lambda lines: lines["target"].nunique() == 2)
    everyone = sorted(set(frame["patient"]))
    mean = {}
    for setting, lines in frame.groupby(["method", "fraction"]):
        parts = []
        for _, run in lines.groupby(["seed", "label"]):
            place = [everyone.index(name) for name in run["patient"]]
            parts.append(auroc_estimate(run["score"], run["target"], place, len(everyone)))
            assert parts[-1][0] == pytest.approx(roc_auc_score(run["target"], run["score"]))
        mean[setting] = np.mean(parts, axis=0)
    normal = np.random.default_rng(0).standard_normal((len(everyone), DRAWS))
    fine, factors, beyond = np.linspace(-2, 0, 4001), [], []
    for drawn in [np.zeros(len(everyone)), *normal.T]:
        area = {setting: each[0] + (each[1:] * drawn).sum() for setting, each in mean.items()}
        curve = np.maximum.accumulate([area["simclr", fraction] for fraction in FRACTIONS])
        beyond.append(not curve[0] <= area["igcl", 0.01] <= curve[-1])
        reached = np.interp(fine, np.log10(FRACTIONS), curve) >= area["igcl", 0.01] - 1e-12
        factors.append(10 ** (fine[np.argmax(reached)] if reached.any() else 0) / 0.01)
    return factors[0], np.quantile(factors[1:], (0.025, 0.975)), np.mean(beyond[1:])


def test_factor_and_interval_equal_a_loop(simulated):
    frame = growing(simulated, 1.3, (0.9, 1.1, 1.6))
    savings = label_savings(frame, "igcl", "simclr", 0.01)
    factor, interval, beyond = looped(frame)
    assert savings.factor == pytest.approx(factor, rel=2e-3)
    assert (savings.ci_low, savings.ci_high) == pytest.approx(interval, rel=2e-3)
    assert savings.ci_low < savings.factor < savings.ci_high
    assert savings.censored_share == pytest.approx(beyond, abs=1e-9)
    assert 0 < beyond < 1
    assert (savings.bound, savings.lowest, savings.highest) == (None, 1, 100)
    assert savings.n == 120


def test_a_curve_that_falls_is_read_at_its_running_maximum(simulated):
    frame = growing(simulated, 1.3, (0.9, 1.6, 1.2))
    savings = label_savings(frame, "igcl", "simclr", 0.01)
    factor, interval, _ = looped(frame)
    assert savings.factor == pytest.approx(factor, rel=2e-3)
    assert 1 < savings.factor < 10
    assert (savings.ci_low, savings.ci_high) == pytest.approx(interval, rel=2e-3)


def test_with_a_label_of_one_patient_there_is_a_factor_without_an_interval(simulated):
    frame = growing(simulated, 1.3, (0.9, 1.1, 1.6))
    edema = frame["label"] == "Edema"
    frame.loc[edema, "target"] = (frame.loc[edema, "row"] == "r3").astype(float)
    savings = label_savings(frame, "igcl", "simclr", 0.01)
    assert 1 <= savings.factor <= 100
    assert (savings.ci_low, savings.ci_high) == (None, None)
    assert "not determined by 120 test rows" in savings_line(savings)


def test_an_interval_is_about_that_of_resampled_patients():
    frame = binormal(np.random.default_rng(3), 600).reset_index(drop=True)
    savings = label_savings(frame, "igcl", "simclr", 0.01)
    runs = {
        key: (run["target"].to_numpy(), run["score"].to_numpy()) for key, run in frame.groupby(["method", "fraction"])
    }
    factors = []
    for rows in np.random.default_rng(0).integers(600, size=(100, 600)):
        area = {key: roc_auc_score(target[rows], score[rows]) for key, (target, score) in runs.items()}
        curve = np.maximum.accumulate([area["simclr", fraction] for fraction in FRACTIONS])
        factors.append(np.interp(area["igcl", 0.01], curve, np.log10(FRACTIONS)) + 2)
    ends = np.quantile(factors, (0.025, 0.975))
    assert np.log10([savings.ci_low, savings.ci_high]) == pytest.approx(ends, abs=0.25 * np.diff(ends)[0])


def test_only_the_two_methods_and_their_fractions_count(simulated):
    frame = growing(simulated, 1.3, (0.9, 1.1, 1.6))
    others = simulated({"igcl": 3.0, "simclr": 3.0, "random": 0.0}, settings=((None, 5),))
    at_ten = simulated({"igcl": 3.0}, settings=((0.1, None),))
    alone = label_savings(frame, "igcl", "simclr", 0.01)
    assert label_savings(pd.concat([others, frame, at_ten]), "igcl", "simclr", 0.01) == alone


def test_what_is_never_reached_is_at_least_the_largest_share(simulated):
    savings = label_savings(growing(simulated, 3.0, (0.2, 0.3, 0.4)), "igcl", "simclr", 0.01)
    assert (savings.bound, savings.censored_share) == ("at_least", 1)
    assert (savings.factor, savings.ci_low, savings.ci_high) == pytest.approx((100, 100, 100))
    line = "igcl at 1 % is above simclr at 100 % of the labels: more than 100x fewer [>100, >100]"
    assert savings_line(savings) == line


def test_what_is_reached_at_once_is_at_most_the_smallest_share(simulated):
    frame = growing(simulated, 0.1, (1.5, 2.0, 2.5))
    frame.loc[frame["method"] == "igcl", "fraction"] = 0.1
    savings = label_savings(frame, "igcl", "simclr", 0.1)
    assert (savings.bound, savings.censored_share) == ("at_most", 1)
    assert savings.factor == pytest.approx(0.1)
    line = "igcl at 10 % is below simclr at 1 % of the labels: less than 0.1x, no saving [<0.1, <0.1]"
    assert savings_line(savings) == line


def test_a_method_that_is_the_other_one_saves_nothing(simulated):
    frame = growing(simulated, 0.9, (0.9, 1.1, 1.6))
    theirs = frame[frame["method"] == "simclr"]
    frame = pd.concat([theirs, theirs[theirs["fraction"] == 0.01].assign(method="igcl")])
    savings = label_savings(frame, "igcl", "simclr", 0.01)
    assert (savings.bound, savings.factor, savings.ci_low, savings.ci_high) == (None, 1, 1, 1)


def test_a_share_of_the_draws_may_lie_beyond(simulated):
    savings = label_savings(growing(simulated, 1.5, (0.9, 1.1, 1.55)), "igcl", "simclr", 0.01)
    assert 0 < savings.censored_share < 1
    assert savings.ci_high == pytest.approx(100)
    assert savings.ci_low < 100
    assert savings_line(savings).endswith(", >100]")


def made_savings(**fields):
    usual = {
        "method": "igcl",
        "versus": "simclr",
        "split": "test",
        "fraction": 0.01,
        "factor": 7.31,
        "bound": None,
        "ci_low": 4.12,
        "ci_high": 12.4,
        "lowest": 1.0,
        "highest": 100.0,
        "censored_share": 0.0,
        "n": 120,
    }
    return LabelSavings(**usual | fields)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, "igcl at 1 % equals simclr at 7.3 % of the labels: 7.3x fewer [4.1, 12]"),
        ({"ci_low": None, "ci_high": None}, "igcl at 1 % against simclr: not determined by 120 test rows"),
        (
            {"ci_low": 1.0, "ci_high": 100.0, "n": 7},
            "igcl at 1 % against simclr: not determined by 7 test rows, [<1, >100]",
        ),
        ({"ci_low": 1.0, "ci_high": 80.0}, "igcl at 1 % equals simclr at 7.3 % of the labels: 7.3x fewer [<1, 80]"),
        (
            {"fraction": 0.1, "factor": 0.5, "ci_low": 0.1, "ci_high": 2.0, "lowest": 0.1, "highest": 10.0},
            "igcl at 10 % equals simclr at 5 % of the labels: 0.5x, no saving [<0.1, 2]",
        ),
    ],
)
def test_the_line_says_who_equals_whom(fields, line):
    assert savings_line(made_savings(few=True, **fields)) == f"{line} few"
    assert savings_line(made_savings(**fields)) == line


@pytest.mark.parametrize("bound", [None, "at_least", "at_most"])
def test_a_record_follows_the_schema(bound):
    record = savings_record(made_savings(bound=bound), protocol="compare", store="phantom")
    assert list(record) == list(Record.__annotations__)
    assert record["metric"] == ("label_savings" if bound is None else f"label_savings_{bound}")
    assert (record["method"], record["versus"], record["fraction"], record["label"]) == ("igcl", "simclr", 0.01, "mean")
    assert (record["value"], record["ci_low"], record["ci_high"]) == (7.31, 4.12, 12.4)
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_the_mean_is_the_tables(simulated):
    """At equal AUROC of the macro means of the table, the factor is where the table says."""
    frame = growing(simulated, 1.3, (0.9, 1.1, 1.6))
    records = summarise(frame, protocol="compare", store="phantom")
    value = {
        (record["method"], record["fraction"]): record["value"]
        for record in records
        if record["label"] == "mean" and record["seed"] is None
    }
    curve = [value["simclr", fraction] for fraction in FRACTIONS]
    expected = 10 ** np.interp(value["igcl", 0.01], curve, np.log10(FRACTIONS)) / 0.01
    assert label_savings(frame, "igcl", "simclr", 0.01).factor == pytest.approx(expected)


def binormal(generator, rows):
    """Predictions whose true AUROC is .7, .8, .9 at 1, 10, 100 % for simclr, and .85 for igcl at 1 %: factor 10^1.5."""
    target = np.arange(rows) % 3 == 0
    common = generator.normal(size=rows)
    score = {
        run: norm.ppf(area) * np.sqrt(2) * target + 0.6 * common + 0.8 * generator.normal(size=rows)
        for run, area in {("igcl", 0.01): 0.85, ("simclr", 0.01): 0.7, ("simclr", 0.1): 0.8, ("simclr", 1): 0.9}.items()
    }
    name = [str(row) for row in range(rows)]
    line = {
        "shots": None,
        "row": name,
        "study": name,
        "patient": name,
        "split": "test",
        "label": "Edema",
        "target": target * 1.0,
    }
    return pd.concat(
        [
            pd.DataFrame(line | {"method": method, "fraction": fraction, "score": values, "seed": 0})
            for (method, fraction), values in score.items()
        ]
    )


def test_nineteen_of_twenty_intervals_hold_the_true_factor():
    generator = np.random.default_rng(0)
    found = [label_savings(binormal(generator, 300), "igcl", "simclr", 0.01) for _ in range(80)]
    held = np.mean([savings.ci_low <= 10**1.5 <= savings.ci_high for savings in found])
    # Three standard errors of a share of 0.95 among 80 are 0.073.
    assert held > 0.877
    assert np.median([savings.factor for savings in found]) == pytest.approx(10**1.5, rel=0.15)
    assert np.median([savings.ci_high / savings.ci_low for savings in found]) < 30


def test_savings_are_those_of_one_split(simulated):
    test, valid = growing(simulated, 1.3, (0.9, 1.1, 1.6)), growing(simulated, 1.0, (0.9, 1.1, 1.6))
    valid = valid.assign(split="valid", row="v" + valid["row"])
    both = pd.concat([test, valid])
    for split, alone in {"test": test, "valid": valid}.items():
        savings = label_savings(both, "igcl", "simclr", 0.01, split=split)
        assert savings == label_savings(alone, "igcl", "simclr", 0.01, split=split)
        assert savings_record(savings, protocol="compare", store="phantom")["split"] == split


@pytest.mark.parametrize(
    ("method", "versus", "fraction", "message"),
    [
        ("igcl", "simclr", 0.5, "label savings: no predictions of igcl at fraction 0.5"),
        ("convirt", "simclr", 0.01, "label savings: no predictions of convirt at fraction 0.01"),
        ("igcl", "igcl", 0.01, "label savings: igcl cannot be compared with itself"),
        ("simclr", "igcl", 0.01, "label savings: igcl needs predictions at two fractions or more"),
    ],
)
def test_what_cannot_be_compared_is_named(simulated, method, versus, fraction, message):
    with pytest.raises(IgclError, match=message):
        label_savings(growing(simulated, 1.3, (0.9, 1.1, 1.6)), method, versus, fraction)


def test_without_a_label_of_both_classes_there_is_no_factor(simulated):
    frame = growing(simulated, 1.3, (0.9, 1.1, 1.6), labels=("None", "Hernia")).assign(target=0.0)
    with pytest.raises(IgclError, match="no label that every run scores has both classes"):
        label_savings(frame, "igcl", "simclr", 0.01)


def test_savings_of_few_patients_say_so(simulated):
    frame = growing(simulated, 1.3, (0.9, 1.1, 1.6))
    assert not label_savings(frame, "igcl", "simclr", 0.01).few
    ill = frame[(frame["label"] == "Edema") & (frame["target"] == 1)]["patient"].unique()
    rare = (frame["label"] == "Edema") & ~frame["patient"].isin(ill[:7])
    savings = label_savings(frame.assign(target=frame["target"].mask(rare, 0.0)), "igcl", "simclr", 0.01)
    assert savings.few
    assert savings_record(savings, protocol="linear", store="phantom")["few"] is True
