"""Records of retrieval against loops over queries and patients in plain Python."""

import numpy as np
import pytest
from scipy.stats import t as student

from by_patient import deviation, mean_of, redrawn
from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.intervals import interval, p_value
from igcl_lightning.evaluation.predictions import Run
from igcl_lightning.evaluation.results import Record, write_results
from igcl_lightning.evaluation.retrieval import Answers, format_retrieval, summarise_retrieval
from igcl_lightning.metrics.influence import median_estimate

NUM, K, LABELS = 60, (1, 5), ("Edema", "Effusion")
PATIENT = np.repeat(np.arange(30), 2)[np.random.default_rng(9).permutation(NUM)]
HAS = np.arange(NUM)[:, None] % 3 == np.arange(2)
OTHER_MATCH = np.arange(NUM) % 4 > 0


def answers(direction, seed):
    rng = np.random.default_rng(seed)
    rank = rng.integers(1, 12, (2, NUM))
    rank[1] *= OTHER_MATCH
    precision = np.where(HAS[:, None], rng.integers(0, 6, (2, NUM, 2, 2)) / 5, np.nan)
    return Answers(direction, PATIENT, rank, K, precision, LABELS)


def found(second, seed):
    return [answers(f"image_to_{second}", seed), answers(f"{second}_to_image", seed + 1)]


def run(name, seed=None):
    return Run(name, None, None, seed)


@pytest.fixture(scope="module")
def records():
    asked = {run("igcl"): found("graph", 0), run("convirt"): found("report", 10)}
    return summarise_retrieval(asked, versus=[("igcl", "convirt")], store="s", split="test")


def shown(records, metric, label="mean", versus=None):
    (record,) = [
        each
        for each in records
        if (each["metric"], each["label"], each["versus"]) == (metric, label, versus) and each["seed"] is None
    ]
    return record


def numbers(record):
    return [record["value"], record["ci_low"], record["ci_high"]]


def loop(values, rows=slice(None)):
    """The mean of numbers of some queries, and what each patient of all queries adds to it."""
    return mean_of(values[rows].tolist(), PATIENT[rows].tolist(), range(30))


def of(estimate, patients, scale="unit"):
    return pytest.approx([estimate[0], *interval(estimate, patients, scale)])


def test_values_and_intervals_of_means_equal_loops(records):
    first, _ = found("graph", 0)
    assert numbers(shown(records, "image_to_graph_recall@5")) == of(loop(first.rank[0] <= 5), 30)
    others = len(set(PATIENT[OTHER_MATCH]))
    expected = loop(first.rank[1] <= 1, OTHER_MATCH)
    assert numbers(shown(records, "image_to_graph_recall@1_without_own")) == of(expected, others)
    by_label = []
    for at, label in enumerate(LABELS):
        by_label.append(loop(first.precision[1, :, 1, at], HAS[:, at]))
        record = shown(records, "image_to_graph_precision@5_without_own", label)
        assert numbers(record) == of(by_label[-1], len(set(PATIENT[HAS[:, at]])))
        assert record["few"] is False
    both = shown(records, "image_to_graph_precision@5_without_own")
    assert numbers(both) == of((by_label[0] + by_label[1]) / 2, None)
    assert both["few"] is False


def test_median_ranks_vary_as_over_resamples_of_patients(records):
    first, back = found("graph", 0)
    patients = np.unique(PATIENT[OTHER_MATCH])
    for metric, rank, rows, count in (
        ("graph_to_image_median_rank", back.rank[0], np.arange(NUM), 30),
        ("image_to_graph_median_rank_without_own", first.rank[1], np.flatnonzero(OTHER_MATCH), len(patients)),
    ):
        record, estimate = shown(records, metric), median_estimate(rank[rows], PATIENT[rows], 30)
        assert record["value"] == np.median(rank[rows])
        assert numbers(record) == of(estimate, count, "any")
        of_rows = redrawn(lambda places, rank=rank, rows=rows: np.median(rank[rows[places]]), PATIENT[rows])
        assert deviation(estimate) == pytest.approx(of_rows, rel=0.35)


def few_asked(number):
    """Queries of two labels, the second in those of so many patients, and of one run."""
    first, _ = found("graph", 0)
    precision = first.precision.copy()
    precision[:, number <= PATIENT, :, 1] = np.nan
    precision[:, number > PATIENT, :, 1] = np.random.default_rng(0).random(((number > PATIENT).sum(), 2, 2))
    return first._replace(precision=precision)


@pytest.mark.parametrize("number", [1, 5, 10])
def test_a_label_of_few_patients_is_marked_and_widens_the_mean(number):
    asked = few_asked(number)
    records = summarise_retrieval({run("igcl", 0): [asked]}, store="s", split="test")
    record, mean = (shown(records, "image_to_graph_precision@5", label) for label in ("Effusion", "mean"))
    assert (record["few"], mean["few"]) == (number < 10, number < 10)
    assert ("\n\nfew: fewer than 10 patients" in format_retrieval(records)) == (number < 10)
    if number == 1:
        assert [each[end] for each in (record, mean) for end in ("ci_low", "ci_high")] == [None] * 4
        assert None not in (record["value"], mean["value"])
        return
    first = loop(asked.precision[0, :, 1, 0].astype(float), HAS[:, 0])
    second = loop(asked.precision[0, :, 1, 1].astype(float), number > PATIENT)
    assert numbers(record) == of(second, number)
    second[1:] *= student.ppf(0.975, number - 1) / student.ppf(0.975, 1e9) if number < 10 else 1
    assert numbers(mean) == of((first + second) / 2, None)


def test_runs_are_averaged_over_seeds():
    asked = {run(name, seed): found("graph", 10 * at + seed) for at, name in enumerate("ab") for seed in (1, 2, 3)}
    records = summarise_retrieval(asked, versus=[("a", "b")], store="s", split="test")
    of_seed = {each: loop(directions[0].rank[0] <= 5) for each, directions in asked.items()}
    means = {name: sum(of_seed[run(name, seed)] for seed in (1, 2, 3)) / 3 for name in "ab"}
    (mean,) = [
        each
        for each in records
        if (each["metric"], each["method"], each["seed"], each["versus"])
        == ("image_to_graph_recall@5", "a", None, None)
    ]
    assert numbers(mean) == of(means["a"], 30)
    spread = np.std([of_seed[run("a", seed)][0] for seed in (1, 2, 3)], ddof=1)
    assert (mean["runs"], mean["run_sd"]) == (3, pytest.approx(spread))
    difference = shown(records, "image_to_graph_recall@5", versus="b")
    assert numbers(difference) == of(means["a"] - means["b"], 30, "any")


def test_counts_are_of_the_queries_that_are_asked(records):
    assert shown(records, "image_to_graph_recall@5")["n"] == NUM
    without = shown(records, "image_to_graph_recall@5_without_own")
    assert (without["n"], without["patients"]) == (OTHER_MATCH.sum(), len(set(PATIENT[OTHER_MATCH])))
    assert shown(records, "image_to_graph_precision@1", "Edema")["n"] == HAS[:, 0].sum()
    assert shown(records, "image_to_graph_precision@1")["n"] == HAS.any(axis=1).sum()


def test_records_fit_the_contract_and_differences_are_paired(records, tmp_path):
    write_results(records, tmp_path / "results.json")
    assert all(each.keys() == Record.__annotations__.keys() for each in records)
    assert {each["protocol"] for each in records} == {"retrieval"}
    difference = shown(records, "image_to_graph_recall@5", versus="convirt")
    one, other = found("graph", 0)[0], found("report", 10)[0]
    expected = loop(one.rank[0] <= 5) - loop(other.rank[0] <= 5)
    assert numbers(difference) == of(expected, 30, "any")
    assert difference["p_value"] == pytest.approx(p_value(expected, 30))
    assert shown(records, "image_to_graph_recall@5")["p_value"] is None
    rank = shown(records, "image_to_graph_median_rank", versus="convirt")
    ranks = [median_estimate(each.rank[0], PATIENT, 30) for each in (one, other)]
    assert numbers(rank) == of(ranks[0] - ranks[1], 30, "any")


def test_the_table_has_methods_of_other_sides_below_one_another(records):
    blocks = format_retrieval(records).split("\n\n")
    assert len(blocks) == 12  # two directions, two pools, recall, rank and precision
    lines = blocks[0].splitlines()
    assert lines[0] == "image to graph, image to report, own pair included: 60 test queries of 30 patients"
    assert [line.split("  ")[0] for line in lines[1:]] == ["method", "igcl", "convirt", "igcl - convirt"]
    assert lines[1].split()[1:] == ["recall@1", "recall@5"]
    assert blocks[1].splitlines()[1].split()[1:] == ["median", "rank"]
    other = [each | {"split": "valid", "n": 7, "value": 0.125} for each in records if each["value"] is not None]
    both = format_retrieval([*records, *other]).split("\n\n")
    assert both[:12] == blocks
    assert "own pair included: 7 valid queries of" in both[12]
    assert "0.125" in both[12]


def test_cells_of_few_patients_say_so():
    kept = PATIENT < 4
    few = [
        each._replace(patient=PATIENT[kept], rank=each.rank[:, kept], precision=each.precision[:, kept])
        for each in found("graph", 0)
    ]
    lines = format_retrieval(summarise_retrieval({run("igcl", 0): few}, store="s", split="test")).splitlines()
    cells = [line for line in lines if line.startswith("igcl")]
    assert len(cells) == 12
    assert all(line.endswith("] few") for line in cells)
    place = next(place for place, line in enumerate(lines) if line.endswith("median rank"))
    assert lines[place + 1].split()[1] == f"{np.median(few[0].rank[0]):.1f}"


def test_other_pools_are_refused():
    other = [each._replace(rank=each.rank[:, ::-1]) for each in found("graph", 0)]
    with pytest.raises(IgclError, match="convirt, seed 1: searched other pairs"):
        summarise_retrieval({run("igcl"): found("graph", 0), run("convirt", 1): other})
