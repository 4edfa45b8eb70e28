"""What protocols print of more methods than a figure tells apart."""

import numpy as np
import pandas as pd
import pytest

from igcl_lightning.data.store import Store
from igcl_lightning.evaluation.many_rows import MOST_METHODS, REST
from igcl_lightning.evaluation.within_patient import ASKED, METRIC
from igcl_lightning.protocols.contestants import Contestant
from igcl_lightning.protocols.hard_negatives import report_choices
from igcl_lightning.protocols.linear import Linear
from igcl_lightning.protocols.protocol import compared, seeds_of

NAMES = [f"row {number}" for number in range(MOST_METHODS + 1)]


@pytest.fixture
def contestants():
    """Rows of one pretraining each, but the last, which has two and is compared with another row, too."""
    single = [Contestant(name, 0, versus=[NAMES[0]] if place else []) for place, name in enumerate(NAMES[:-1])]
    return [*single, *(Contestant(NAMES[-1], seed, versus=[NAMES[0], NAMES[1]]) for seed in (0, 1))]


def scores(contestant, store):
    """Scores of validation and test rows, five draws of labelled rows that differ in nothing."""
    generator = np.random.default_rng(int(contestant.method.split()[1]))
    frames = []
    for split in ("valid", "test"):
        rows = store.column(split, "row")
        target = np.arange(len(rows)) % 2.0
        about = {"row": rows, "study": rows, "patient": store.column(split, "patient"), "target": target}
        frame = pd.DataFrame(about).assign(split=split, label="Edema", method=contestant.method, fraction=1.0)
        score = generator.normal(size=len(rows)) + target
        seeds = contestant.run_seed(), contestant.run_seed(1)
        frames += [frame.assign(score=score, shots=None, seed=seed) for seed in seeds]
    return pd.concat(frames, ignore_index=True)


def test_one_table_of_scores_is_printed_and_one_line_says_where_the_rest_is(contestants, phantom_store):
    store = Store(phantom_store)
    measured = {each: scores(each, store) for each in contestants}
    records, text = Linear(labels=["Edema"], audit_by=[]).report(measured, store)
    caption, table, rest = text.split("\n\n")
    assert caption.startswith("AUROC, mean over 1 labels")
    assert rest == REST
    head, *lines = table.splitlines()
    assert head.split() == ["method", "seeds", "100", "%", "minus", "row", "0"]
    assert [line[:5] for line in lines] == [*NAMES, "… - r"]
    assert [line.split()[2] for line in lines[:-1]] == ["1"] * MOST_METHODS + ["2"], "pretrainings, not draws"
    assert {"auroc", "mcc", "ece"} <= {each["metric"] for each in records}
    few = {each: frame for each, frame in measured.items() if each.method != NAMES[3]}
    _, text = Linear(labels=["Edema"], audit_by=[]).report(few, store)
    assert "sensitivity" in text
    assert REST not in text


def test_choices_with_and_without_the_image_stand_beside_one_another(contestants):
    lines = {
        each: pd.DataFrame(
            {"score": "", "image": image, "patient": patient, "right": (patient + wrong) % 2, "asked": 1}
            for image in ("own", "blind") for patient, wrong in enumerate([0, 0, 1, 1, 1 - int(image == "own"), 0])
        )
        for each in contestants
    }  # fmt: skip
    about = {"protocol": "hard_negatives", "store": "s", "split": "test"}
    records, (text,) = report_choices(lines, METRIC, ASKED, compared(contestants), **about)
    caption, table = text.split("\n\n")
    assert caption.startswith(ASKED)
    assert "few: fewer than 10 patients" in caption
    head, first, second, *_ = table.splitlines()
    assert " ".join(head.split()) == "method seeds accuracy minus row 0 without the image"
    found = {each["metric"]: each["value"] for each in records if each["method"] == NAMES[0] and each["seed"] is None}
    shown = [word for word in first.split() if word != "few"]
    assert shown[2:] == ["1", f"{found[METRIC]:.3f}", f"{found[f'{METRIC}_blind']:.3f}"]
    assert "+0.000 [" in second
    assert len(table.splitlines()) == 1 + len(NAMES) + 1


def test_pretrainings_are_counted_by_method(contestants):
    assert seeds_of(contestants) == {**dict.fromkeys(NAMES, 1), NAMES[-1]: 2}
