import numpy as np
import pytest

from igcl_lightning.evaluation.within_patient import METRIC, Choices, format_choices, summarise_choices
from igcl_lightning.metrics.clinical import patient_bootstrap_weights

ABOUT = {"protocol": "compare", "store": "hard", "split": "test"}


@pytest.fixture
def choices():
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(30), 2)
    asked = rng.integers(1, 4, 60)
    return {
        name: Choices(patient, rng.binomial(asked, share), asked) for name, share in (("igcl", 0.8), ("convirt", 0.5))
    }


def test_accuracy_and_interval_equal_a_loop_over_resamples(choices):
    record = summarise_choices(choices, resamples=200, seed=3, **ABOUT)[0]
    one = choices["igcl"]
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
    igcl, convirt = (choices[name].right.sum() / choices[name].asked.sum() for name in ("igcl", "convirt"))
    assert (difference["method"], difference["versus"]) == ("igcl", "convirt")
    assert difference["value"] == pytest.approx(igcl - convirt)
    same = {"igcl": choices["igcl"], "twin": choices["igcl"]}
    *_, nothing = summarise_choices(same, versus=[("igcl", "twin")], **ABOUT)
    assert nothing["ci_low"] == nothing["value"] == nothing["ci_high"] == 0


def test_the_table_names_methods_and_differences(choices):
    table = format_choices(summarise_choices(choices, versus=[("igcl", "convirt")], **ABOUT))
    assert [line.split("  ")[0] for line in table.splitlines()[1:]] == ["igcl", "convirt", "igcl - convirt"]
    assert "chance 0.5" in table
