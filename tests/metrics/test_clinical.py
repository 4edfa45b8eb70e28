import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from igcl_lightning.metrics import clinical
from igcl_lightning.metrics.clinical import KnownMean, MultilabelAuroc, auroc, macro_mean, patient_bootstrap_weights


def simulated(seed, rows=200, decimals=1):
    """Scores with many ties, some targets missing, and weights."""
    generator = np.random.default_rng(seed)
    target = (generator.random(rows) < 0.3).astype(float)
    score = np.round(generator.normal(size=rows) + target, decimals)
    target[generator.random(rows) < 0.1] = np.nan
    return score, target, generator.random(rows)


@pytest.mark.parametrize("seed", range(5))
def test_auroc_equals_scikit_learn(seed):
    score, target, weight = simulated(seed)
    known = ~np.isnan(target)
    assert auroc(score, target) == pytest.approx(roc_auc_score(target[known], score[known]))
    assert auroc(score, target, weight) == pytest.approx(
        roc_auc_score(target[known], score[known], sample_weight=weight[known])
    )


@given(st.lists(st.tuples(st.integers(-3, 3), st.sampled_from([0.0, 1.0]), st.integers(0, 3)), min_size=1, max_size=12))
@settings(deadline=None)
def test_auroc_equals_the_double_loop_over_pairs(rows):
    score, target, weight = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    won = total = 0.0
    for positive in np.flatnonzero(target == 1):
        for negative in np.flatnonzero(target == 0):
            pair = weight[positive] * weight[negative]
            won += pair * ((score[positive] > score[negative]) + 0.5 * (score[positive] == score[negative]))
            total += pair
    assert auroc(score, target, weight) == pytest.approx(won / total if total else np.nan, nan_ok=True)


def test_auroc_of_many_weightings_equals_one_at_a_time(monkeypatch):
    score, target, _ = simulated(0)
    weights = np.random.default_rng(1).integers(0, 3, size=(7, len(score)))
    monkeypatch.setattr(clinical, "CHUNK_CELLS", 2 * len(score))
    np.testing.assert_allclose(auroc(score, target, weights), [auroc(score, target, weight) for weight in weights])


@pytest.mark.parametrize("target", [[0, 0, 0], [1, 1, 1], [1, np.nan, np.nan], [np.nan, np.nan, np.nan]])
def test_auroc_of_one_class_is_nan(target):
    assert np.isnan(auroc([0.1, 0.2, 0.3], target))


def test_auroc_of_infinite_scores_ranks_them():
    assert auroc([-np.inf, 0.0, np.inf], [0, 0, 1]) == 1.0


@pytest.mark.parametrize(
    ("score", "target", "message"),
    [
        ([0.1, 0.2], [0, 2], "targets must be 0, 1 or NaN"),
        ([0.1, np.nan], [0, 1], "1 of 2 scores are NaN"),
        ([0.1, 0.2], [0, 1, 1], "do not fit"),
    ],
)
def test_auroc_refuses_bad_input_in_one_line(score, target, message):
    with pytest.raises(ValueError, match=message):
        auroc(score, target)


def test_bootstrap_weights_equal_explicit_resampling():
    score, target, _ = simulated(3, rows=40)
    patients = np.random.default_rng(4).choice(["ann", "bob", "cem", "dee", "eve", "fay"], size=40)
    weights = patient_bootstrap_weights(patients, resamples=50, seed=5)

    names = np.unique(patients)
    drawn = np.random.default_rng(5).integers(len(names), size=(50, len(names)))
    for weight, draw in zip(weights, drawn, strict=True):
        rows = np.concatenate([np.flatnonzero(patients == names[patient]) for patient in draw])
        np.testing.assert_array_equal(weight, np.bincount(rows, minlength=40))
        assert auroc(score, target, weight) == pytest.approx(auroc(score[rows], target[rows]), nan_ok=True)


def test_bootstrap_weights_follow_the_patient_and_not_the_row_order():
    patients = np.array(["b", "a", "b", "c"])
    weights = patient_bootstrap_weights(patients, resamples=2000, seed=0)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, [1, 0, 3]].sum(axis=1), 3)
    assert weights.mean(axis=0) == pytest.approx(np.ones(4), abs=0.06)
    np.testing.assert_array_equal(patient_bootstrap_weights(patients[::-1], 2000, seed=0), weights[:, ::-1])


def test_bootstrap_needs_a_resample():
    with pytest.raises(ValueError, match="at least 1, not 0"):
        patient_bootstrap_weights(["a"], resamples=0, seed=0)


def test_patient_interval_covers_the_truth_where_a_row_interval_does_not():
    patients = np.repeat(np.arange(50), 8)
    generator = np.random.default_rng(0)
    # A row's score is its target plus what the patient adds plus noise: two independent rows differ by N(1, 2 * 2).
    truth = norm.cdf(1 / 2)
    covered = {"patient": 0, "row": 0}
    for study in range(200):
        target = np.repeat(generator.integers(0, 2, 50), 8).astype(float)
        score = target + np.repeat(generator.normal(size=50), 8) + generator.normal(size=400)
        for unit, ids in {"patient": patients, "row": np.arange(400)}.items():
            drawn = auroc(score, target, patient_bootstrap_weights(ids, resamples=200, seed=study))
            low, high = np.nanquantile(drawn, (0.025, 0.975))
            covered[unit] += low <= truth <= high
    assert 0.90 <= covered["patient"] / 200 <= 0.99
    assert covered["row"] / 200 < 0.8


def test_macro_mean_leaves_out_undefined_labels_and_counts_the_others():
    mean, defined = macro_mean(torch.tensor([0.5, torch.nan, 0.9]))
    assert mean.item() == pytest.approx(0.7)
    assert defined == 2
    mean, defined = macro_mean(torch.tensor([torch.nan]))
    assert mean.isnan()
    assert defined == 0


def multilabel(rows=60, labels=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    score = torch.randn(rows, labels, generator=generator)
    target = (torch.rand(rows, labels, generator=generator) < 0.4).float()
    target[torch.rand(rows, labels, generator=generator) < 0.1] = torch.nan
    target[:, -1] = 0
    return score, target, torch.arange(rows) * 7919


def test_multilabel_auroc_equals_the_function_per_label():
    score, target, row = multilabel()
    metric = MultilabelAuroc()
    for batch in torch.arange(60).split(16):
        metric.update(score[batch], target[batch], row[batch])
    values = metric.compute()
    expected = [float(auroc(score[:, label], target[:, label])) for label in range(2)]
    np.testing.assert_allclose(values[:2], expected, rtol=1e-6)
    assert values[2].isnan()


def test_multilabel_auroc_counts_rows_once_across_processes():
    score, target, row = multilabel()
    whole = MultilabelAuroc()
    whole.update(score, target, row)
    ranks = [MultilabelAuroc(), MultilabelAuroc()]
    for rank, metric in enumerate(ranks):
        share = torch.cat([torch.arange(rank, 60, 2), torch.tensor([0, 1, 2, 3])])
        metric.update(score[share], target[share], row[share])
    ranks[0].merge_state(ranks[1])
    torch.testing.assert_close(ranks[0].compute(), whole.compute(), equal_nan=True)


@pytest.mark.data
def test_auroc_of_a_published_model_on_the_chexpert_test_set():
    if "IGCL_DATA" not in os.environ:
        pytest.skip("IGCL_DATA does not name the data folder")
    folder = Path(os.environ["IGCL_DATA"]) / "chexpert_test"
    truth = pd.read_csv(folder / "groundtruth.csv", index_col="Study")
    model = pd.read_csv(folder / "example_models/predictions/standard/desmond_predictions.csv", index_col="Study")
    model = model.loc[truth.index]
    known = {
        "Atelectasis": 0.8744,
        "Cardiomegaly": 0.9330,
        "Consolidation": 0.9160,
        "Edema": 0.9209,
        "Pleural Effusion": 0.9468,
    }
    for label, value in known.items():
        assert auroc(model[label], truth[label]) == pytest.approx(value, abs=5e-5)


def test_the_mean_of_known_entries_counts_each_row_once_whatever_the_batches():
    generator = np.random.default_rng(0)
    value = generator.normal(size=(7, 3))
    value[generator.random((7, 3)) < 0.4] = np.nan
    for batches in (
        [range(7)],
        [range(3), range(3, 7)],
        [[0, 2, 4, 6], [1, 3, 5, 6]],
        [[0, 1], [1, 2, 3], [4, 5, 6, 0]],
    ):
        metric = KnownMean()
        for rows in batches:
            metric.update(torch.tensor(value[list(rows)]), torch.tensor(list(rows)))
        assert metric.compute().item() == pytest.approx(np.nanmean(value), rel=1e-6)
