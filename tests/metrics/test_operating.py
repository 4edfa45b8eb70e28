import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score, matthews_corrcoef, recall_score

from igcl_lightning.errors import IgclError
from igcl_lightning.metrics.operating import CRITERIA, OPERATING, choose_threshold, patient_counts

SCIKIT = {
    "sensitivity": recall_score,
    "specificity": lambda target, answer: recall_score(target, answer, pos_label=0),
    "f1": f1_score,
    "mcc": matthews_corrcoef,
}


def sample(seed, rows=150):
    generator = np.random.default_rng(seed)
    target = (generator.random(rows) < 0.25).astype(float)
    return np.round(generator.normal(size=rows) + target, 1), target, generator.integers(0, 30, rows)


@pytest.mark.parametrize("seed", range(3))
def test_statistics_of_counts_equal_scikit_learn(seed):
    score, target, patient = sample(seed)
    answer = score > 0.6
    counts = patient_counts(answer, target, patient, 30)
    whole = counts.sum(axis=0)
    (tn, fp), (fn, tp) = confusion_matrix(target, answer)
    assert whole.tolist() == [tp, fp, fn, tn]
    for name, scikit in SCIKIT.items():
        assert OPERATING[name](whole) == pytest.approx(scikit(target, answer))
        by_patient = OPERATING[name](counts)
        for one in (0, 7):
            rows = patient == one
            if len(set(target[rows])) == 2:
                assert by_patient[one] == pytest.approx(scikit(target[rows], answer[rows]))


def test_answers_that_are_all_alike():
    none, all_ = np.array([0.0, 0, 10, 90]), np.array([10.0, 90, 0, 0])
    assert [float(OPERATING[name](none)) for name in OPERATING] == [0, 1, 0, 0]
    assert [float(OPERATING[name](all_)) for name in OPERATING] == pytest.approx([1, 0, 20 / 110, 0])


def test_targets_that_are_all_alike_leave_no_value():
    without = np.array([0.0, 5, 0, 95])
    assert np.isnan([OPERATING[name](without) for name in ("sensitivity", "f1", "mcc")]).all()
    assert OPERATING["specificity"](without) == 0.95
    assert np.isnan(OPERATING["specificity"](np.array([5.0, 0, 5, 0])))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("by", CRITERIA)
def test_no_other_threshold_is_better(by, seed):
    score, target, _ = sample(seed)

    def value(threshold):
        return float(CRITERIA[by](patient_counts(score >= threshold, target, np.zeros(len(score), int), 1)[0]))

    chosen = choose_threshold(score, target, by)
    tried = [value(each) for each in [*score, score.max() + 1]]
    assert value(chosen) == pytest.approx(max(tried))
    assert chosen not in score, "it lies between two scores, for other rows"


def test_a_threshold_may_say_positive_of_all_or_none():
    assert choose_threshold([1.0, 2, 3, 4], [1, 1, 1, 0], "f1") == 1.0
    assert choose_threshold([1.0, 2, 3, 4], [1, 0, 0, 0], "youden") == np.inf


def test_among_equals_the_fewest_are_positive():
    assert choose_threshold([0.0, 1, 2, 3], [0, 1, 0, 1], "youden") == 2.5


def test_wrong_choices_are_named():
    with pytest.raises(ValueError, match="rows of one class"):
        choose_threshold([0.1, 0.2], [1, 1])
    with pytest.raises(IgclError, match="by 'f2' is not one of f1, mcc, youden"):
        choose_threshold([0.1, 0.2], [1, 0], "f2")
