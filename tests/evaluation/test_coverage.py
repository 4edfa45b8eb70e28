"""The simulations behind docs/statistics.md: what they draw has the truth that they claim, and the page is theirs."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, matthews_corrcoef, recall_score, roc_auc_score

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", name="coverage")
def benchmark():
    spec = importlib.util.spec_from_file_location("coverage_benchmark", ROOT / "benchmarks" / "coverage.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_large_sample_has_the_true_values(coverage):
    cell = coverage.Cell(40_000, 0.2, 0.9, 1)
    sample = coverage.draw(cell, np.random.default_rng(0))
    target, score = sample.target[0], sample.scores(cell.auroc)[0]
    threshold = np.sqrt(2) * coverage.norm.ppf(cell.auroc) / 2
    found = {
        "AUROC": roc_auc_score(target, score),
        "AUROC difference": roc_auc_score(target, score) - roc_auc_score(target, sample.scores(cell.auroc - 0.1)[0]),
        "average precision": average_precision_score(target, score),
        "sensitivity": recall_score(target, score >= threshold),
        "specificity": recall_score(target, score >= threshold, pos_label=0),
        "f1": f1_score(target, score >= threshold),
        "mcc": matthews_corrcoef(target, score >= threshold),
    }
    truth = coverage.truths(cell)
    assert found == {name: pytest.approx(truth[name], abs=0.015) for name in found}


def test_images_of_a_patient_resemble_each_other(coverage):
    sample = coverage.draw(coverage.Cell(20_000, 0.2, 0.7, 3), np.random.default_rng(0))
    for values in (sample.target[0], sample.shared[0]):
        one, other, _ = values.reshape(-1, 3).T
        assert np.corrcoef(one, other)[0, 1] == pytest.approx(0.5, abs=0.03)


def test_a_cell_goes_on_where_it_ended(coverage, tmp_path):
    cell = coverage.Cell(30, 0.2, 0.9, 1)
    coverage.simulate(cell, tmp_path / "whole.json", 200)
    for simulations in (100, 200):
        coverage.simulate(cell, tmp_path / "parts.json", simulations)
    whole, parts = (json.loads((tmp_path / name).read_text()) for name in ("whole.json", "parts.json"))
    assert whole == parts
    assert whole["done"] == 200
    counts = whole["counts"]
    assert sum(counts.get(f"AUROC|influence|{group}", [0])[0] for group in ("enough", "few", "one")) <= 200
    assert counts["AUROC|percentile|few"][1] < counts["AUROC|influence|few"][1]


def test_the_tables_are_those_of_the_records_and_intervals_cover(coverage):
    plain = json.loads((ROOT / "docs" / "results" / "coverage.json").read_text())
    page = (ROOT / "docs" / "statistics.md").read_text()
    results = coverage.results_of(plain)
    assert set(results) >= set(coverage.CELLS)
    assert {each["done"] for each in results.values()} == {1000}
    assert coverage.with_tables(page, results) == page
    within = [cell for cell in results if cell.auroc < 0.95]
    for statistic in ("AUROC", "AUROC difference", "mean AUROC", "f1", "mcc", "labels saved"):
        passed = coverage.passed({cell: results[cell]["counts"] for cell in within}, statistic, "influence", "enough")
        good, every = passed.split(" of ")
        assert good == every != "0"
