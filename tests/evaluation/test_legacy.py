"""Both ways beside one another: against scikit-learn by loops, and never among the main numbers."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import matthews_corrcoef, roc_auc_score

from igcl_lightning.evaluation.legacy import LEGACY, format_legacy, legacy_records
from igcl_lightning.evaluation.overview import format_overview
from igcl_lightning.evaluation.results import summarise

LABELS = ("Atelectasis", "Edema", "Hernia")


@pytest.fixture
def scored(simulated):
    """Three runs of two methods on validation and test rows; Hernia has no positive row, in no split."""
    frame = simulated(settings=((0.01, None),), seeds=3).reset_index(drop=True)
    number = frame["row"].str[1:].astype(int)
    frame["split"] = np.where(number < 50, "valid", "test")
    frame["patient"] = frame["split"] + frame["patient"]
    frame["score"] += 2 * frame["seed"]
    return frame


@pytest.fixture
def records(scored):
    found = [legacy_records(scored, head, ["test"], resamples=40, store="s") for head in ("logistic", "softmax")]
    return [*found[0], *found[1]]


def value(records, metric, label, method="igcl"):
    (found,) = [each for each in records if (each["metric"], each["label"], each["method"]) == (metric, label, method)]
    return found


def parts(scored, method, label, seed):
    lines = scored[(scored["method"] == method) & (scored["label"] == label) & (scored["seed"] == seed)]
    lines = lines[lines["target"].notna()]
    return lines[lines["split"] == "valid"], lines[lines["split"] == "test"]


def mcc_at_the_best_of_validation(valid, test):
    """The middle between two validation scores with the best MCC, of equals the highest."""
    scores = sorted(set(valid["score"]))
    middles = [scores[0], *((low + high) / 2 for low, high in pairwise(scores)), np.inf]
    values = [matthews_corrcoef(valid["target"], valid["score"] >= middle) for middle in middles]
    best = max(middle for middle, each in zip(middles, values, strict=True) if np.isclose(each, max(values)))
    return matthews_corrcoef(test["target"], test["score"] >= best)


@pytest.mark.parametrize("method", ["igcl", "random"])
def test_ours_is_the_mean_of_runs_with_thresholds_of_validation_rows(scored, records, method):
    for label in LABELS[:2]:
        runs = [parts(scored, method, label, seed) for seed in range(3)]
        aurocs = [roc_auc_score(test["target"], test["score"]) for _, test in runs]
        found = value(records, "auroc_logistic_patients", label, method)
        assert found["value"] == pytest.approx(np.mean(aurocs))
        mccs = [mcc_at_the_best_of_validation(*run) for run in runs]
        found = value(records, "mcc_logistic_patients", label, method)
        assert found["value"] == pytest.approx(np.mean(mccs))
        assert found["ci_low"] < found["value"] < found["ci_high"]


@pytest.mark.parametrize("method", ["igcl", "random"])
def test_theirs_pools_the_runs_and_takes_the_threshold_from_the_test_rows(scored, records, method):
    of_labels = []
    for label in LABELS[:2]:
        pooled = pd.concat([parts(scored, method, label, seed)[1] for seed in range(3)])
        found = value(records, "auroc_softmax_pooled", label, method)
        assert found["value"] == pytest.approx(roc_auc_score(pooled["target"], pooled["score"]))
        threshold = pooled["score"].sort_values(ascending=False).iloc[int(pooled["target"].sum()) - 1]
        expected = matthews_corrcoef(pooled["target"], pooled["score"] >= threshold)
        assert value(records, "mcc_softmax_pooled", label, method)["value"] == pytest.approx(expected)
        assert (found["runs"], found["n"] * 3, found["positives"] * 3) == (3, len(pooled), pooled["target"].sum())
        of_labels.append(found["value"])
    mean = value(records, "auroc_softmax_pooled", "mean", method)
    assert mean["value"] == pytest.approx(np.mean(of_labels))
    assert mean["ci_low"] < mean["value"] < mean["ci_high"]


def test_a_label_of_one_class_has_no_value_and_is_in_no_mean(records):
    for metric in ("auroc_logistic_patients", "auroc_softmax_pooled", "mcc_softmax_pooled"):
        found = value(records, metric, "Hernia")
        assert (found["value"], found["ci_low"], found["ci_high"]) == (None, None, None)
    assert "no MCC of ours, and in no mean: Hernia; one class among validation rows" in format_legacy(records)


def test_the_mean_of_both_is_over_the_labels_that_ours_can_judge(scored):
    """Edema has one class among the validation rows: no threshold, so no MCC of ours."""
    scored.loc[(scored["split"] == "valid") & (scored["label"] == "Edema"), "target"] = 0.0
    records = legacy_records(scored, "softmax", ["test"], resamples=5, store="s")
    single = value(records, "mcc_softmax_pooled", "Atelectasis")["value"]
    assert value(records, "mcc_softmax_pooled", "mean")["value"] == pytest.approx(single)
    assert value(records, "mcc_softmax_pooled", "Edema")["value"] is not None
    assert not [each for each in records if (each["metric"], each["label"]) == ("mcc_softmax_patients", "Edema")]


def test_the_published_interval_is_narrower(records):
    """Pooled rows count as independent, and two thirds of them are repeats."""
    both = [value(records, f"auroc_logistic_{way}", "mean") for way in ("patients", "pooled")]
    widths = [each["ci_high"] - each["ci_low"] for each in both]
    assert widths[1] < 0.8 * widths[0]
    change = both[1]["value"] - both[0]["value"]
    told = f"statistics alone: AUROC {change:+.3f}, interval {widths[1] / widths[0]:.2f} times as wide"
    assert told in format_legacy(records)


def test_no_main_number_is_of_it(scored, records):
    assert {each["protocol"] for each in records} == {LEGACY}
    assert not {each["metric"] for each in records} & {"auroc", "mcc"}
    test = scored[scored["split"] == "test"]
    others = summarise(test, protocol="linear", store="s")
    assert format_overview([*others, *records]) == format_overview(others)
    disguised = [each | {"metric": "auroc", "method": "hidden"} for each in records]
    assert format_overview([*others, *disguised]) == format_overview(others)
