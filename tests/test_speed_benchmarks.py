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
    "graph_encoder": {"rounds": 1, "reports": 8, "width": 16},
    "growth": {"rounds": 1, "shrink": 100},
    "intervals": {"rounds": 1, "resamples": 3},
    "local_matching": {"rounds": 1, "forms": [("hadamard", 1)]},
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


def test_the_page_shows_the_records(load):
    table = load("table")
    page = table.PAGE.read_text(encoding="utf-8")
    assert page.count(table.BEGIN) == page.count(table.END) == 1
    assert page.partition(table.BEGIN)[2].partition(table.END)[0] == f"\n{table.tables()}\n"


def test_every_table_has_a_benchmark_that_is_tried_here(load):
    names = [name for names in load("table").SECTIONS.values() for name in names]
    assert len(names) == len(set(names))
    for name in names:
        assert (ROOT / "benchmarks" / f"{name}.py").is_file()
        assert name in SMALL or name == "contrastive_loss", "that one has tests of its own"


def test_a_benchmark_that_fails_keeps_the_others_and_what_it_had(load, monkeypatch, tmp_path, capfd):
    table = load("table")
    (tmp_path / "good.py").write_text(
        "from side_by_side import Claim\n"
        "def records():\n"
        "    return [Claim('sort', 'sorted', 'of its time', 2).record([1.0, 3.0, 1.5], 'a remark', 1)]\n"
    )
    (tmp_path / "bad.py").write_text("def records():\n    raise SystemExit('no such thing')\n")
    (tmp_path / "side_by_side.py").write_text((ROOT / "benchmarks" / "side_by_side.py").read_text())
    page = tmp_path / "page.md"
    page.write_text(f"before\n{table.BEGIN}old\n{table.END}after\n")
    results = tmp_path / "results"
    results.mkdir()
    (results / "bad.json").write_text(json.dumps([load("side_by_side").Claim("old", "x", "exponent", 1).record([1.0])]))
    for name, value in {
        "HERE": tmp_path,
        "RESULTS": results,
        "PAGE": page,
        "SECTIONS": {"All": ("bad", "good")},
    }.items():
        monkeypatch.setattr(table, name, value)
    monkeypatch.setattr("sys.argv", ["table.py", "--all"])
    with pytest.raises(SystemExit, match="failed, and kept as before: bad"):
        table.main()
    assert "no such thing" in capfd.readouterr().err
    written = page.read_text()
    assert written.startswith(f"before\n{table.BEGIN}")
    assert written.endswith(f"{table.END}after\n")
    assert "| sort | sorted | 1.50 of its time (1.00, 3.00) | at most 2.00 | reached; a remark |" in written
    assert "| old | x | 1.00 exponent" in written
    monkeypatch.setattr("sys.argv", ["table.py"])
    table.main()
    assert page.read_text() == written
