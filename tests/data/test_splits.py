from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from igcl_lightning.data.splits import (
    describe_draws,
    draw_fraction,
    draw_shots,
    lend_validation,
    split_name,
    split_of_patient,
)
from igcl_lightning.errors import IgclError


@pytest.fixture
def target():
    generator = np.random.default_rng(0)
    target = (generator.random((500, 4)) < [0.5, 0.2, 0.05, 0.004]).astype(np.float32)
    target[generator.random(target.shape) < 0.1] = np.nan
    target[7, 3] = 1
    return target


@pytest.mark.parametrize("word", ["validate", "valid", "val", "Validation", " VAL "])
def test_the_words_for_valid_are_one_split(word):
    assert split_name(word) == "valid"


def test_an_unknown_word_for_a_split_is_named():
    with pytest.raises(IgclError, match="split 'fold3' is not one of train, valid, test$"):  # an option of one source
        split_name("fold3")


def test_patient_splits_have_their_shares_and_are_pinned():
    counts = Counter(split_of_patient(f"patient-{number}") for number in range(5000))
    assert {split: round(count / 5000, 1) for split, count in counts.items()} == {
        "train": 0.8,
        "valid": 0.1,
        "test": 0.1,
    }
    # Written into manifests everywhere: a change of the hash would move patients between splits.
    assert [split_of_patient(f"patient-{number}") for number in range(4)] == ["valid", "test", "train", "train"]


def test_a_tenth_of_the_training_patients_is_lent_to_validation():
    patients = [f"patient-{number // 2}" for number in range(4000)]
    splits = ["train"] * 3000 + ["test"] * 1000
    lent = lend_validation(splits, patients)
    of_patient = dict(zip(patients, lent, strict=True))
    assert [of_patient[patient] for patient in patients] == lent  # a patient's rows go together
    assert lent[3000:] == splits[3000:]
    assert round(Counter(lent)["valid"] / 3000, 1) == 0.1
    assert lend_validation(splits, patients) == lent != lend_validation(splits, patients, seed=1)


def test_who_is_lent_depends_on_no_other_patient():
    patients = [f"patient-{number}" for number in range(300)]
    lent = lend_validation(["train"] * 300, patients)
    assert "valid" in lent[:150]
    assert lend_validation(["train"] * 150, patients[:150]) == lent[:150]


def test_nothing_is_lent_where_there_is_a_validation_split():
    splits = ["train"] * 50 + ["valid", "test"]
    assert lend_validation(splits, [f"patient-{number}" for number in range(52)]) == splits


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("seed", range(5))
def test_a_fraction_keeps_both_classes_of_each_label(target, fraction, seed):
    rows = draw_fraction(target, fraction, seed)
    assert len(rows) == len(set(rows)) == max(round(fraction * 500), len(rows) if fraction == 0.01 else 0)
    assert len(rows) <= max(fraction * 500, 8)
    for label in range(4):
        assert (target[rows, label] == 1).any()
        assert (target[rows, label] == 0).any()


@pytest.mark.parametrize("rare", [0, 1])
@pytest.mark.parametrize("seed", range(5))
def test_the_only_row_of_a_class_is_in_each_draw(rare, seed):
    target = np.full((300, 2), 1 - rare, np.float32)
    target[123, 0] = target[45, 1] = rare
    assert {45, 123} <= set(draw_fraction(target, 0.02, seed).tolist())


def test_a_label_without_positives_does_not_hinder_a_draw(target):
    target[:, 3] = 0
    assert len(draw_fraction(target, 0.1, 0)) == 50


def test_draws_differ_by_seed_and_repeat_with_it(target):
    assert draw_fraction(target, 0.1, 0).tolist() == draw_fraction(target, 0.1, 0).tolist()
    assert draw_fraction(target, 0.1, 0).tolist() != draw_fraction(target, 0.1, 1).tolist()
    assert draw_shots(target, 5, 0).tolist() != draw_shots(target, 5, 1).tolist()


@pytest.mark.parametrize("seed", range(10))
def test_draws_of_one_seed_are_parts_of_the_larger_ones(target, seed):
    shares = [set(draw_fraction(target, fraction, seed).tolist()) for fraction in (0.01, 0.03, 0.1, 0.5, 1.0)]
    assert all(few < more for few, more in pairwise(shares))
    shots = [set(draw_shots(target, each, seed).tolist()) for each in (1, 2, 5, 10, 20, 50, 100)]
    assert all(few < more for few, more in pairwise(shots))


@pytest.mark.parametrize("shots", [1, 5])
def test_shots_are_distinct_rows_with_enough_positives(target, shots):
    rows = draw_shots(target, shots, 0)
    assert len(rows) == len(set(rows))
    available = (target == 1).sum(axis=0)
    assert len(rows) <= 4 * shots
    for label in range(3):
        assert (target[rows, label] == 1).sum() >= min(shots, available[label])


def shots_by_loops(target, shots, order):
    """Label by label, the first rows of the order that are positive and not yet drawn."""
    drawn = []
    for label in range(target.shape[1]):
        wanted = shots
        for row in order:
            if wanted and target[row, label] == 1 and row not in drawn:
                drawn.append(int(row))
                wanted -= 1
    return sorted(drawn)


@pytest.mark.parametrize("seed", range(5))
def test_labels_that_come_together_share_no_shot(seed):
    rng = np.random.default_rng(100 + seed)
    severe = rng.random(400) < 0.15
    # Findings that stand in nearly the same rows, so that the first of one label are the first of the other.
    target = np.stack([severe, severe | (rng.random(400) < 0.02), severe, rng.random(400) < 0.02], axis=1).astype(float)
    rows = draw_shots(target, 12, seed).tolist()
    assert rows == shots_by_loops(target, 12, np.random.default_rng(seed).permutation(400).tolist())
    assert len(rows) == len(set(rows)) >= 3 * 12


def test_what_draws_came_to_is_told_by_rows_patients_and_positives():
    nan = np.nan
    one = np.array([[1, 0], [1, nan], [nan, nan], [0, 0]], np.float32)
    patients = np.array(["a", "a", "b", "c"], dtype=object)
    said = describe_draws([one], [patients], ["Edema", "Hernia"])
    assert said == "3 labelled rows of 2 patients; positives per label: 0 (Hernia) to 2 (Edema)"
    other = np.array([[0, 1], [1, 1], [0, 1]], np.float32)
    said = describe_draws([one, other], [patients, patients[:3]], ["Edema", "Hernia"])
    assert said.startswith("2 draws, each of 3 labelled rows of 2 patients; positives per label: 0 (Hernia) to 3 (Her")
    assert describe_draws([one[:2], other], [patients[:2], patients[1:]], ["Edema", "Hernia"]).startswith(
        "2 draws, each of 2 to 3 labelled rows of 1 to 3 patients;"
    )
