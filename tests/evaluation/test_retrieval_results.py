"""Records of retrieval against loops over resamples in plain Python."""

import numpy as np
import pytest

from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.predictions import Run
from igcl_lightning.evaluation.results import Record, write_results
from igcl_lightning.evaluation.retrieval import Answers, format_retrieval, summarise_retrieval
from igcl_lightning.metrics.clinical import patient_bootstrap_weights

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
    return summarise_retrieval(asked, versus=[("igcl", "convirt")], resamples=100, seed=3, store="s", split="test")


def loop(statistic):
    """The statistic of the rows, and its interval over resamples of the patients."""
    drawn = [statistic(np.repeat(np.arange(NUM), times)) for times in patient_bootstrap_weights(PATIENT, 100, 3)]
    return [statistic(np.arange(NUM)), *np.percentile(drawn, [2.5, 97.5])]


def shown(records, metric, label="mean", versus=None):
    (record,) = [
        each
        for each in records
        if (each["metric"], each["label"], each["versus"]) == (metric, label, versus) and each["seed"] is None
    ]
    return record


def numbers(record):
    return [record["value"], record["ci_low"], record["ci_high"]]


def test_values_and_intervals_equal_a_loop_over_resamples(records):
    first, back = found("graph", 0)
    assert numbers(shown(records, "image_to_graph_recall@5")) == pytest.approx(
        loop(lambda rows: (first.rank[0, rows] <= 5).mean())
    )
    assert numbers(shown(records, "graph_to_image_median_rank")) == pytest.approx(
        loop(lambda rows: np.median(back.rank[0, rows]))
    )

    def only_others(statistic):
        return lambda rows: statistic(first.rank[1, rows[OTHER_MATCH[rows]]])

    assert numbers(shown(records, "image_to_graph_recall@1_without_own")) == pytest.approx(
        loop(only_others(lambda rank: (rank <= 1).mean()))
    )
    assert numbers(shown(records, "image_to_graph_median_rank_without_own")) == pytest.approx(
        loop(only_others(np.median))
    )
    by_label = [loop(lambda rows, at=at: np.nanmean(first.precision[1, rows, 1, at])) for at in (0, 1)]
    for expected, label in zip(by_label, LABELS, strict=True):
        assert numbers(shown(records, "image_to_graph_precision@5_without_own", label)) == pytest.approx(expected)
    both = loop(lambda rows: np.mean([np.nanmean(first.precision[1, rows, 1, at]) for at in (0, 1)]))
    assert numbers(shown(records, "image_to_graph_precision@5_without_own")) == pytest.approx(both)


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
    assert numbers(difference) == pytest.approx(
        loop(lambda rows: (one.rank[0, rows] <= 5).mean() - (other.rank[0, rows] <= 5).mean())
    )


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


def test_other_pools_are_refused():
    other = [each._replace(rank=each.rank[:, ::-1]) for each in found("graph", 0)]
    with pytest.raises(IgclError, match="convirt, seed 1: searched other pairs"):
        summarise_retrieval({run("igcl"): found("graph", 0), run("convirt", 1): other})
