"""Benchmarks of the table of speeds run, at sizes that say nothing of speed, and their records are complete."""

import importlib
import json
from pathlib import Path

import pytest

from igcl_lightning.errors import one_line

ROOT = Path(__file__).parents[1]
SMALL = {
    "ablation_costs": {"table": "ablation", "rounds": 1, "reports": 4, "most": 2},
    "component_joins": {"rounds": 1, "num_graphs": 5},
    "graph_batches": {"rounds": 1, "reports": 5},
    "intervals": {"rounds": 1, "resamples": 3},
    "parser_speed": {"rounds": 1, "phantoms": 5},
    "probes": {"images": 120, "rounds": 1, "channels": 6, "seeds": 1},
    "training_step": {"batch": 2, "size": 64, "rounds": 1, "backbones": ["resnet10t"]},
}


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.delenv("IGCL_DATA", raising=False)
    return importlib.import_module


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.filterwarnings("ignore")  # few rows, small images
def test_a_benchmark_runs(name, load):
    found = load(name).records(**SMALL[name])
    side_by_side = load("side_by_side")
    table = side_by_side.as_table(found).splitlines()
    assert len(table) == len(found) + 2
    for each in found:
        assert each["rounds"] == 1
        assert each["ratio_min"] == each["ratio_median"] == each["ratio_max"] > 0
        assert one_line(each["machine"]) == each["machine"]


def test_more_is_better_only_of_what_is_faster(load, tmp_path):
    side_by_side = load("side_by_side")
    for unit, ratios, reached in (
        ("times faster", [1.0, 3.0, 9.0], True),
        ("of its rate", [1.0, 1.9, 9.0], False),
        ("of its time", [1.0, 3.0, 9.0], False),
        ("of its memory", [1.0, 1.9, 9.0], True),
    ):
        record = side_by_side.Claim("ours", "theirs", unit, 2.0).record(ratios)
        assert record["reached"] is reached
        assert (record["ratio_min"], record["ratio_median"], record["ratio_max"]) == tuple(ratios)
        bound = "at least" if unit in ("times faster", "of its rate") else "at most"
        assert bound in side_by_side.as_table([record])
    side_by_side.write([record, record], tmp_path / "new" / "out.json")
    assert json.loads((tmp_path / "new" / "out.json").read_text()) == [record, record]


def test_both_sides_take_turns_and_the_first_round_does_not_count(load):
    side_by_side = load("side_by_side")
    now, done = [0.0], []

    def takes(name, *seconds):
        left = iter(seconds)

        def run():
            done.append(name)
            now[0] += next(left)

        return run

    ours, other = takes("ours", 50, 3, 1, 2, 2), takes("other", 50, 6, 8, 4, 4)
    times = side_by_side.times_in_turns(ours, other, rounds=2, clock=lambda: now[0], repeats=2)
    assert times == [(1, 6), (2, 4)]
    assert done == ["ours", "other", *["ours"] * 2, *["other"] * 2, *["ours"] * 2, *["other"] * 2]
    assert side_by_side.faster(times) == [6, 2]
    assert side_by_side.share(times) == [1 / 6, 1 / 2]
