import numpy as np
import pytest

from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.predictions import Run
from igcl_lightning.evaluation.within_patient import METRIC, Choices, format_choices, summarise_choices
from igcl_lightning.metrics.clinical import patient_bootstrap_weights

ABOUT = {"protocol": "compare", "store": "hard", "split": "test"}


def run(name, seed=None):
    return Run(name, None, None, seed)


@pytest.fixture
def choices():
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(30), 2)
    asked = rng.integers(1, 4, 60)
    return {
        run(name): Choices(patient, rng.binomial(asked, share), asked)
        for name, share in (("igcl", 0.8), ("convirt", 0.5))
    }


def test_accuracy_and_interval_equal_a_loop_over_resamples(choices):
    record = summarise_choices(choices, resamples=200, seed=3, **ABOUT)[0]
    one = choices[run("igcl")]
    assert record["metric"] == METRIC
    assert record["n"] == one.asked.sum()
    assert record["value"] == pytest.approx(one.right.sum() / one.asked.sum())
    drawn = []
    for weights in patient_bootstrap_weights(one.patient, 200, 3):
        rows = np.repeat(np.arange(60), weights)
        drawn.append(one.right[rows].sum() / one.asked[rows].sum())
    assert [record["ci_low"], record["ci_high"]] == pytest.approx(np.percentile(drawn, [2.5, 97.5]))


def test_a_difference_is_paired(choices):
    *_, difference = summarise_choices(choices, versus=[("igcl", "convirt")], **ABOUT)
    igcl, convirt = (choices[run(name)].right.sum() / choices[run(name)].asked.sum() for name in ("igcl", "convirt"))
    assert (difference["method"], difference["versus"]) == ("igcl", "convirt")
    assert difference["value"] == pytest.approx(igcl - convirt)
    same = {run("igcl"): choices[run("igcl")], run("twin"): choices[run("igcl")]}
    *_, nothing = summarise_choices(same, versus=[("igcl", "twin")], **ABOUT)
    assert nothing["ci_low"] == nothing["value"] == nothing["ci_high"] == 0


def test_the_table_names_methods_and_differences(choices):
    table = format_choices(summarise_choices(choices, versus=[("igcl", "convirt")], **ABOUT))
    assert [line.split("  ")[0] for line in table.splitlines()[1:]] == ["igcl", "convirt", "igcl - convirt"]
    assert "chance 0.5" in table


def test_runs_are_averaged_and_paired_by_seed(choices):
    """The mean over seeds is of accuracies, and a difference is over the seeds that both methods have."""
    rng, first = np.random.default_rng(1), choices[run("igcl")]
    by_run = {
        run(name, seed): first._replace(right=rng.binomial(first.asked, share))
        for name, seed, share in (("a", 0, 0.5), ("a", 1, 0.9), ("b", 1, 0.7), ("b", 2, 0.1), ("c", 3, 0.5))
    }
    records = summarise_choices(by_run, versus=[("a", "b"), ("a", "c")], resamples=50, seed=3, metric="m", **ABOUT)
    found = {(each["method"], each["seed"], each["versus"]): each for each in records}
    assert {each["metric"] for each in records} == {"m"}
    assert set(found) == {
        *((each.method, each.seed, None) for each in by_run),
        *(("a", None, None), ("b", None, None), ("c", None, None), ("a", None, "b")),
    }

    def accuracy(name, seed, rows):
        one = by_run[run(name, seed)]
        return one.right[rows].sum() / one.asked[rows].sum()

    everything = np.arange(60)
    drawn = [np.repeat(everything, weights) for weights in patient_bootstrap_weights(first.patient, 50, 3)]
    for key, value in {
        ("a", None, None): lambda rows: (accuracy("a", 0, rows) + accuracy("a", 1, rows)) / 2,
        ("a", None, "b"): lambda rows: accuracy("a", 1, rows) - accuracy("b", 1, rows),
    }.items():
        assert found[key]["value"] == pytest.approx(value(everything))
        ends = np.percentile([value(rows) for rows in drawn], [2.5, 97.5])
        assert [found[key]["ci_low"], found[key]["ci_high"]] == pytest.approx(ends)


def test_runs_on_other_images_are_refused(choices):
    one = choices[run("igcl")]
    other = one._replace(patient=one.patient + 1)
    with pytest.raises(IgclError, match="b, seed 1: chose for other images"):
        summarise_choices({run("a", 0): one, run("b", 1): other}, **ABOUT)
