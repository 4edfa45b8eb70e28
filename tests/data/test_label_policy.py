from itertools import product

import numpy as np
import pandas as pd
import pytest

from igcl_lightning.data.label_policy import LabelPolicy
from igcl_lightning.errors import IgclError

LABELS = ("No Finding", "Edema", "Cardiomegaly", "Support Devices")
ROWS = [dict(zip(LABELS, values, strict=True)) for values in product((1.0, 0.0, -1.0, None), repeat=len(LABELS))]


@pytest.fixture
def frame():
    return pd.DataFrame(ROWS, dtype=object).map(lambda value: None if value is None else str(value))


def by_hand(row, uncertain, blank):
    """Return the labels of a row, case by case."""
    of_uncertain = {"ignore": {}, "positive": dict.fromkeys(LABELS, 1.0), "negative": dict.fromkeys(LABELS, 0.0)}
    of_uncertain["per-label"] = {"Edema": 1.0, "Cardiomegaly": 0.0}
    absent = {"missing": (), "negative": LABELS, "no-finding": LABELS[:3] if row["No Finding"] == 1 else ()}[blank]
    labels = {}
    for label, value in row.items():
        if value == -1:
            labels[label] = of_uncertain[uncertain].get(label)
        elif value is None:
            labels[label] = 0.0 if label in absent else None
        else:
            labels[label] = value
    return labels


@pytest.mark.parametrize("uncertain", ["ignore", "positive", "negative", "per-label"])
@pytest.mark.parametrize("blank", ["missing", "negative", "no-finding"])
def test_every_value_beside_every_other_becomes_what_the_policy_says(frame, tmp_path, uncertain, blank):
    policy = LabelPolicy.parse(uncertain, blank)
    expected = [by_hand(row, uncertain, blank) for row in ROWS]
    known = policy.of_table(tmp_path, frame, LABELS)
    assert known.astype(object).where(known.notna(), None).to_dict("records") == expected


def test_pairs_leave_other_labels_unknown(tmp_path):
    policy = LabelPolicy.parse("Edema=positive, Cardiomegaly=negative")
    frame = pd.DataFrame([dict.fromkeys(LABELS, "-1")], dtype=object)
    assert np.array_equal(policy.of_table(tmp_path, frame, LABELS), [[np.nan, 1, 0, np.nan]], equal_nan=True)
    assert vars(policy) == {
        "uncertain": "ignore",
        "uncertain_by_label": {"Edema": "positive", "Cardiomegaly": "negative"},
        "blank": "missing",
    }


@pytest.mark.parametrize(
    ("uncertain", "blank", "message"),
    [
        ("maybe", "missing", "--uncertain: 'maybe' is not one of ignore, positive, negative, per-label, or pairs"),
        ("negatve", "missing", ".*LABEL=POLICY,..., did you mean negative"),
        ("Edema=maybe", "missing", "--uncertain: 'maybe' is not one of ignore, positive, negative"),
        ("Edema=per-label", "missing", "--uncertain: 'per-label' is not one of ignore, positive, negative"),
        ("Edema=positive,Mass", "missing", "--uncertain: 'Mass' in 'Edema=positive,Mass' is not a pair LABEL=POLICY"),
        ("ignore", "zero", "--blank: 'zero' is not one of missing, negative, no-finding$"),
    ],
)
def test_wrong_words_are_one_line(uncertain, blank, message):
    with pytest.raises(IgclError, match=message):
        LabelPolicy.parse(uncertain, blank)


def test_labels_that_do_not_exist_are_named(frame, tmp_path):
    with pytest.raises(
        IgclError, match=r"--uncertain: no label 'Oedema'; there are No Finding, Edema, .*did you mean Edema\?$"
    ):
        LabelPolicy.parse("Oedema=positive").of_table(tmp_path, frame, LABELS)
    with pytest.raises(IgclError, match="--blank no-finding: there is no label 'No Finding'"):
        LabelPolicy.parse("ignore", "no-finding").of_table(tmp_path, frame, ("Edema",))
    assert len(LabelPolicy.parse("per-label", "no-finding").of_table(tmp_path, frame, LABELS)) == len(frame)


@pytest.mark.parametrize("word", ["2", "maybe", "inf", "0.5"])
def test_a_wrong_cell_names_file_row_and_column(tmp_path, word):
    frame = pd.DataFrame({"Edema": ["1", None, "0"], "Mass": ["", None, word]}, dtype=object).replace("", None)
    with pytest.raises(IgclError, match=f"labels.csv row 4, column 'Mass': '{word}' is not 1, 0, -1 or blank"):
        LabelPolicy().of_table(tmp_path / "labels.csv", frame, ("Edema", "Mass"))
