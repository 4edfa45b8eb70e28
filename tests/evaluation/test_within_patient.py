import numpy as np
import pytest

from by_patient import left_out
from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.intervals import interval, p_value
from igcl_lightning.evaluation.predictions import Run
from igcl_lightning.evaluation.within_patient import METRIC, Choices, format_choices, summarise_choices

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


def accuracy(one):
    """The share of right choices among those of some images."""
    return lambda rows: one.right[rows].sum() / one.asked[rows].sum()


def numbers(record):
    return [record["value"], record["ci_low"], record["ci_high"]]


def test_accuracy_and_interval_equal_a_loop_without_each_patient(choices):
    record = summarise_choices(choices, **ABOUT)[0]
    one = choices[run("igcl")]
    assert (record["metric"], record["n"], record["few"]) == (METRIC, one.asked.sum(), False)
    expected = left_out(accuracy(one), one.patient)
    assert record["value"] == pytest.approx(one.right.sum() / one.asked.sum())
    assert numbers(record)[1:] == pytest.approx(interval(expected, 30, "unit"))


@pytest.mark.parametrize("number", [1, 9, 10])
def test_only_patients_who_are_asked_about_count(choices, number):
    """Those without a choice are none of the sample; fewer than ten are few, and one tells nothing."""
    one = choices[run("igcl")]
    asked = one.asked * (one.patient < number)
    few = one._replace(asked=asked, right=one.right * (one.patient < number))
    record = summarise_choices({run("igcl"): few}, **ABOUT)[0]
    assert (record["n"], record["few"]) == (asked.sum(), number < 10)
    assert (record["ci_low"] is None) == (number == 1)
    if number > 1:
        shown = slice(0, 2 * number)
        alone = Choices(few.patient[shown], few.right[shown], few.asked[shown])
        expected = np.append(left_out(accuracy(alone), alone.patient), np.zeros(30 - number))
        assert numbers(record)[1:] == pytest.approx(interval(expected, number, "unit"))


def test_a_difference_is_paired(choices):
    *_, difference = summarise_choices(choices, versus=[("igcl", "convirt")], **ABOUT)
    igcl, convirt = (choices[run(name)].right.sum() / choices[run(name)].asked.sum() for name in ("igcl", "convirt"))
    assert (difference["method"], difference["versus"]) == ("igcl", "convirt")
    assert difference["value"] == pytest.approx(igcl - convirt)
    same = {run("igcl"): choices[run("igcl")], run("twin"): choices[run("igcl")]}
    *_, nothing = summarise_choices(same, versus=[("igcl", "twin")], **ABOUT)
    assert nothing["ci_low"] == nothing["value"] == nothing["ci_high"] == 0
    assert nothing["p_value"] == 1


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
    records = summarise_choices(by_run, versus=[("a", "b"), ("a", "c")], metric="m", **ABOUT)
    found = {(each["method"], each["seed"], each["versus"]): each for each in records}
    assert {each["metric"] for each in records} == {"m"}
    assert set(found) == {
        *((each.method, each.seed, None) for each in by_run),
        *(("a", None, None), ("b", None, None), ("c", None, None), ("a", None, "b")),
    }

    def share(name, seed, rows):
        return accuracy(by_run[run(name, seed)])(rows)

    mean, apart = found["a", None, None], found["a", None, "b"]
    for record, value, scale in (
        (mean, lambda rows: (share("a", 0, rows) + share("a", 1, rows)) / 2, "unit"),
        (apart, lambda rows: share("a", 1, rows) - share("b", 1, rows), "any"),
    ):
        expected = left_out(value, first.patient)
        assert numbers(record) == pytest.approx([expected[0], *interval(expected, 30, scale)])
    assert apart["p_value"] == pytest.approx(p_value(expected, 30))
    both = [found["a", seed, None]["value"] for seed in (0, 1)]
    assert (mean["runs"], mean["run_sd"], mean["p_value"]) == (2, pytest.approx(np.std(both, ddof=1)), None)
    assert (apart["runs"], apart["run_sd"]) == (1, None), "one seed in common"


def test_differences_over_seeds_in_common_have_the_spread_of_pairs(choices):
    rng, first = np.random.default_rng(1), choices[run("igcl")]
    by_run = {
        run(name, seed): first._replace(right=rng.binomial(first.asked, 0.5))
        for name in ("a", "b")
        for seed in range(3)
    }
    *_, apart = summarise_choices(by_run, versus=[("a", "b")], **ABOUT)
    everything = np.arange(60)
    pairs = [
        accuracy(by_run[run("a", seed)])(everything) - accuracy(by_run[run("b", seed)])(everything) for seed in range(3)
    ]
    assert (apart["runs"], apart["run_sd"]) == (3, pytest.approx(np.std(pairs, ddof=1)))
    assert apart["value"] == pytest.approx(np.mean(pairs))


def test_runs_on_other_images_are_refused(choices):
    one = choices[run("igcl")]
    other = one._replace(patient=one.patient + 1)
    with pytest.raises(IgclError, match="b, seed 1: chose for other images"):
        summarise_choices({run("a", 0): one, run("b", 1): other}, **ABOUT)
