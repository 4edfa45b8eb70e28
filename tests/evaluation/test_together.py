"""Draws taken together, against scikit-learn on concatenated scores and on medians."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from igcl_lightning.evaluation.results import summarise
from igcl_lightning.evaluation.together import format_together, summarise_together

ABOUT = {"protocol": "few_shot", "store": "s"}
APART = 1000


@pytest.fixture
def drawn(simulated):
    """Two models of `a` and one of `b`, with four draws each, whose scores have offsets of their own."""
    frame = simulated(methods={"a": 1.5, "b": 0.5}, settings=((None, 5),), seeds=8)
    frame = frame[(frame["method"] == "a") | (frame["seed"] < 4)]
    frame["score"] += frame["seed"] % 4
    frame["seed"] = frame["seed"] // 4 * APART + frame["seed"] % 4
    return frame.reset_index(drop=True)


def only(records, **wanted):
    (found,) = [each for each in records if all(each[name] == value for name, value in wanted.items())]
    return found


def of(frame, method, model, label="Edema"):
    lines = frame[(frame["method"] == method) & (frame["label"] == label) & frame["target"].notna()]
    return lines[lines["seed"] // APART == model]


def test_they_are_the_auroc_of_all_scores_and_of_the_median_probability(drawn):
    records = summarise_together(drawn, apart=APART, versus=[("a", "b")], **ABOUT)
    values = {}
    for method, models in (("a", 2), ("b", 1)):
        pooled, ensembled = [], []
        for model in range(models):
            lines = of(drawn, method, model)
            pooled.append(roc_auc_score(lines["target"], lines["score"]))
            scores = [part.set_index("row")["score"] for _, part in lines.groupby("seed")]
            target = lines[lines["seed"] % APART == 0].set_index("row")["target"]
            median = [np.median([1 / (1 + np.exp(-each[row])) for each in scores]) for row in target.index]
            ensembled.append(roc_auc_score(target, median))
        values[method] = np.mean(pooled), np.mean(ensembled)
        for metric, value in zip(("auroc_pooled", "auroc_ensemble"), values[method], strict=True):
            found = only(records, method=method, versus=None, label="Edema", metric=metric)
            assert found["value"] == pytest.approx(value)
            assert (found["n"], found["shots"], found["seed"]) == (120, 5, None)
            assert found["positives"] == int(target.sum())
    for metric, one, other in zip(("auroc_pooled", "auroc_ensemble"), values["a"], values["b"], strict=True):
        found = only(records, method="a", versus="b", label="Edema", metric=metric)
        assert found["value"] == pytest.approx(one - other)
    assert only(records, method="a", versus=None, label="Hernia", metric="auroc_ensemble")["value"] is None


def test_equal_draws_pooled_are_no_more_certain_than_one(simulated):
    """The rows of a patient stay together, however many draws there are."""
    one = simulated(methods={"a": 1.0}, settings=((None, 5),), seeds=1)
    same = pd.concat([one.assign(seed=seed) for seed in range(5)], ignore_index=True)
    single = only(summarise(one, **ABOUT), label="Edema", seed=None)
    for metric in ("auroc_pooled", "auroc_ensemble"):
        found = only(summarise_together(same, apart=APART, **ABOUT), label="Edema", metric=metric)
        for name in ("value", "ci_low", "ci_high", "n", "patients", "positives"):
            assert found[name] == pytest.approx(single[name], abs=1e-9), (metric, name)


def test_the_three_ways_stand_below_one_another(drawn):
    records = summarise(drawn, **ABOUT) + summarise_together(drawn, apart=APART, **ABOUT)
    text = format_together(records)
    lines = [line.split("  ")[0] for line in text.splitlines() if line.startswith(("a,", "b,"))]
    assert lines == [f"{method}, {way}" for method in "ab" for way in ("single", "averaged", "ensembled")]
    assert "ensembled: AUROC of the median probability of the draws" in text
