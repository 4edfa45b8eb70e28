"""Lines on floors that a model is not better than."""

import pytest

from igcl_lightning.evaluation.floors import format_floors
from igcl_lightning.evaluation.predictions import Run
from igcl_lightning.evaluation.results import make_record


def difference(label, value, ends, versus="pixels", fraction=1.0, **more):
    run = Run("igcl", fraction, None, None)
    return make_record(run, value, ends, label=label, versus=versus, metric="auroc", split="test", **more)


BETTER, EVEN = (0.1, (0.02, 0.2)), (0.1, (-0.02, 0.2))


@pytest.mark.parametrize(
    ("mean", "edema", "line"),
    [
        (BETTER, BETTER, ""),
        (BETTER, EVEN, "igcl is not shown to be better than pixels alone at 100 % for Edema"),
        (EVEN, BETTER, "warning: igcl is not shown to be better than pixels alone at 100 %, in the mean over labels"),
        (
            (-0.2, (-0.3, -0.1)),
            EVEN,
            "warning: igcl is not shown to be better than pixels alone at 100 %, in the mean over labels and for Edema",
        ),
        (BETTER, (0.1, (None, None)), "igcl is not shown to be better than pixels alone at 100 % for Edema"),
        (BETTER, (float("nan"), (None, None)), ""),
    ],
)
def test_a_difference_whose_interval_is_not_above_0_is_told(mean, edema, line):
    records = [difference("mean", *mean), difference("Edema", *edema), difference("Mass", *BETTER)]
    assert format_floors(records, ["metadata", "pixels"]) == line


def test_only_the_largest_setting_counts_and_no_group():
    records = [difference("mean", *BETTER), difference("mean", *EVEN, fraction=0.1)]
    records.append(difference("mean", *EVEN, group="sex: F"))
    assert format_floors(records, ["pixels"]) == ""
    assert format_floors([difference("mean", *EVEN)], ["pixels"], split="valid") == ""


def test_many_labels_are_counted():
    records = [difference(name, *EVEN) for name in "abcdef"] + [difference("g", *BETTER), difference("mean", *BETTER)]
    assert format_floors(records, ["pixels"]).endswith("at 100 % for 6 of 7 labels")
