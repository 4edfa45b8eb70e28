"""`igcl ablate`: which cells run, what resumes, what is refused, and one table end to end."""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from sklearn.metrics import roc_auc_score

from forked_cells import Forked
from igcl_lightning.atomic import locked
from igcl_lightning.cli import main
from igcl_lightning.protocols import ablation, ablation_cell, cells, children, pretraining
from two_processes import SERVER

SMALL = {"model.image.backbone": "test_resnet", "model.image.size": 32, "model.graph.channels": 16}

STAND_IN = """
import json, os, sys, threading, time
from pathlib import Path

folder = Path(sys.argv[1])
threading.Thread(target=lambda: os.read(0, 1) == b"" and os._exit(1), daemon=True).start()
plan = json.loads((folder / "plan.json").read_text())
words = dict(word.lstrip("-").partition("=")[::2] for word in plan["words"])
with (folder / "starts").open("a") as starts:
    starts.write(os.environ.get("OMP_NUM_THREADS", "") + "\\n")
if words.get("model.graph.layers") == "1":
    sys.exit("igcl: this cell is broken")
if words.get("model.graph.layers") == "4":
    sys.exit(75)
while words.get("model.graph.layers") == "3":
    time.sleep(0.1)
own = {"patient": [1, 1], "right": [1, 0], "asked": [1, 1]}
answers = {"global": {"own": own, "blind": own}}
result = {"settings": plan["settings"], "seconds_per_epoch": 2.0, "seconds": 3.0}
result |= {"counterfactuals": {}, "choices": dict.fromkeys(plan["hard_negatives"], answers)}
result |= {"probe": {"test": {"auroc_estimate": {"0.5": [0.5, 0.1, -0.1]}, "rows": 9}}}
(folder / "result.json").write_text(json.dumps(result))
"""
"""A cell that writes a result at once; it fails with one layer, never ends with three, and is in use with four."""


def write_table(path, rows, **other):
    table = {"config": "pretrain/phantom.yaml", "rows": rows, "hard_negatives": {"studies": 0}, **other}
    path.write_text(yaml.safe_dump(table))
    return str(path)


@pytest.fixture
def quick(monkeypatch, phantom_store, tmp_path):
    """Run a table whose cells are stand-ins; returns the status and how often each cell has started."""
    monkeypatch.setattr(ablation, "CHILD", STAND_IN)

    def run(rows, *words, **other):
        other = {"store": {"path": str(phantom_store)}, **other}
        path = write_table(tmp_path / "table.yaml", rows, **other)
        status = main(["ablate", "--table", path, "--out", str(tmp_path / "out"), *words])
        starts = sorted((tmp_path / "out" / "cells").glob("*/starts"))
        return status, {each.parent.name: len(each.read_text().splitlines()) for each in starts}

    return run


def row(name, **options):
    return {
        "name": name,
        "options": SMALL | {f"model.{key.replace('_', '.', 1)}": value for key, value in options.items()},
    }


def test_a_finished_cell_stands_and_a_changed_one_runs_again(quick, phantom_store, tmp_path, capsys):
    rows = [row("a"), row("b") | {"seeds": [0, 5]}]
    assert quick(rows) == (0, {"a-0": 1, "b-0": 1, "b-5": 1})
    out = capsys.readouterr().out
    assert re.search(r"2/3 .*: \d s; about 0 min left", out)
    assert re.search(r"3/3 b, seed 5: \d s$", out, re.MULTILINE)
    assert quick(rows) == (0, {"a-0": 1, "b-0": 1, "b-5": 1})
    rows[1] |= {"options": SMALL | {"model.projection.channels": 64}}
    assert quick(rows) == (0, {"a-0": 1, "b-0": 2, "b-5": 2})
    assert quick(rows, epochs=3) == (0, {"a-0": 2, "b-0": 3, "b-5": 3})
    assert quick(rows, epochs=3, probe={"draws": 2}) == (0, {"a-0": 3, "b-0": 4, "b-5": 4})
    rows[1] |= {"seeds": [0]}
    assert quick(rows, epochs=3, probe={"draws": 2}) == (0, {"a-0": 3, "b-0": 4, "b-5": 4})


def test_another_store_changes_every_cell(quick, phantom_store, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(phantom_store, copy)
    plan = tmp_path / "out" / "cells" / "a-0" / "plan.json"
    assert quick([row("a")]) == (0, {"a-0": 1})
    before = json.loads(plan.read_text())["settings"]
    assert quick([row("a")], store={"path": str(copy)}) == (0, {"a-0": 1})  # the same rows elsewhere
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"fingerprint": "other"}))
    assert quick([row("a")], store={"path": str(copy)}) == (0, {"a-0": 2})
    after = json.loads(plan.read_text())["settings"]
    assert {part for part in before if before[part] != after[part]} == {"pretraining", "probe", "counterfactuals"}


def test_another_version_trains_again(quick, monkeypatch):
    assert quick([row("a")]) == (0, {"a-0": 1})
    monkeypatch.setattr(ablation, "__version__", "next")
    assert quick([row("a")]) == (0, {"a-0": 2})


def test_a_damaged_result_is_named(quick, tmp_path, capsys):
    assert quick([row("a")])[0] == 0
    result = tmp_path / "out" / "cells" / "a-0" / "result.json"
    told = f"igcl: error: {result}: damaged, not a mapping in JSON: delete it, and what it records is made again"
    for content in (b"", b"{", b"[]", b"\xff"):
        result.write_bytes(content)
        assert quick([row("a")]) == (1, {"a-0": 1})
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("igcl: error")]
        assert errors == [told], content
    result.unlink()
    assert quick([row("a")]) == (0, {"a-0": 2})


def test_rows_and_seeds_can_be_chosen(quick, capsys):
    rows = [row("a"), row("b, wide")]
    assert quick(rows, "--only", "b, wide", "--seeds", "3,4") == (0, {"b, wide-3": 1, "b, wide-4": 1})
    assert "not finished: a (seed 3), a (seed 4)" in capsys.readouterr().out
    assert quick(rows, "--only", "c") == (1, {"b, wide-3": 1, "b, wide-4": 1})
    assert "--only: no row 'c'" in capsys.readouterr().err


def test_a_failing_cell_is_one_line_and_the_others_go_on(quick, capsys):
    status, starts = quick([row("bad", graph_layers=1), row("good")])
    assert (status, starts) == (1, {"bad-0": 1, "good-0": 1})
    said = capsys.readouterr()
    (line,) = [line for line in said.err.splitlines() if "igcl: error" in line]
    assert line.startswith("igcl: error: bad, seed 0: igcl: this cell is broken (see ")
    assert "not finished: bad (seed 0)" in said.out
    assert "good" in said.out.partition("probe  ")[2]
    assert quick([row("bad", graph_layers=1), row("good")]) == (1, {"bad-0": 2, "good-0": 1})


def test_several_cells_run_at_once_with_one_thread_each(quick, tmp_path):
    assert quick([row("a"), row("b")], "--jobs", "2")[0] == 0
    assert {(tmp_path / f"out/cells/{name}-0/starts").read_text() for name in "ab"} == {"1\n"}


def test_epochs_of_a_row_come_before_those_of_the_table(quick, tmp_path):
    assert quick([row("a") | {"epochs": 2}, row("b")], epochs=3)[0] == 0
    for name, epochs in (("a", 2), ("b", 3)):
        words = json.loads((tmp_path / f"out/cells/{name}-0/plan.json").read_text())["words"]
        assert {f"--trainer.max_epochs={epochs}", f"--trainer.check_val_every_n_epoch={epochs}"} <= set(words)


def test_a_cell_that_another_process_runs_is_named_and_its_log_stays(quick, tmp_path, capsys):
    log = tmp_path / "out" / "cells" / "a-0" / "log.txt"
    log.parent.mkdir(parents=True)
    log.write_text("of the other process\n")
    assert quick([row("a", graph_layers=4)])[0] == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("igcl: error")]
    assert line == "igcl: error: a, seed 0: another process works on it; wait for it, then run this again"
    assert log.read_text() == "of the other process\n"


def test_a_cell_runs_in_one_process_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["", str(tmp_path)])
    monkeypatch.setattr(children, "_end_with_parent", lambda: None)
    with locked(tmp_path), pytest.raises(SystemExit) as ended:
        ablation_cell.main()
    assert ended.value.code == cells.BUSY


def test_a_cell_does_not_do_the_work_of_another_command(tmp_path, monkeypatch):
    """Which has written its plan into the folder before the process of this one read it."""
    (tmp_path / "plan.json").write_text('{"of": "another command"}')
    monkeypatch.setattr(children, "_end_with_parent", lambda: None)
    done = []
    monkeypatch.setattr(sys, "argv", ["", str(tmp_path), cells.digest({"of": "this command"})])
    with pytest.raises(SystemExit) as ended:
        cells.run_as_cell(lambda folder, plan: done.append(plan))
    assert ended.value.code == cells.BUSY
    monkeypatch.setattr(sys, "argv", ["", str(tmp_path), cells.digest({"of": "another command"})])
    cells.run_as_cell(lambda folder, plan: done.append(plan))
    assert done == [{"of": "another command"}]


def test_training_again_leaves_nothing_of_the_run_before(tmp_path, monkeypatch):
    run = tmp_path / "fit"

    def train(words, closing):
        version = "version_1" if (run / "version_0").exists() else "version_0"  # as Lightning numbers them
        (run / version).mkdir(parents=True)
        (run / version / "metrics.csv").write_text(f"{pretraining.SECONDS}\n1\n2\n9\n")

    monkeypatch.setattr(pretraining, "run_training", train)
    (run / "version_0").mkdir(parents=True)
    (run / "version_0" / "of the run before").touch()
    (tmp_path / "result.json").write_text("{}")
    note = pretraining.pretrained(tmp_path, run, [], "", "new", stale=["result.json"])
    assert note == {"settings": "new", "seconds_per_epoch": 2.0}
    assert [each.name for each in run.rglob("*")] == ["version_0", "metrics.csv"]
    assert not (tmp_path / "result.json").exists()

    trained = []
    monkeypatch.setattr(pretraining, "run_training", lambda words, closing: trained.append(train(words, closing)))
    checkpoint = pretraining.checkpoint_of(run)
    checkpoint.parent.mkdir()
    checkpoint.touch()
    pretraining.pretrained(tmp_path, run, [], "", "new")
    assert not trained
    checkpoint.unlink()
    pretraining.pretrained(tmp_path, run, [], "", "new")
    assert trained, "a checkpoint that is gone is trained again"


def test_a_cell_alone_has_the_threads_of_the_command(quick, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert quick([row("a")])[0] == 0
    assert (tmp_path / "out/cells/a-0/starts").read_text() == "7\n"


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def run_stand_ins(words):
    ablation.CHILD = STAND_IN
    main(words)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_a_killed_run_leaves_no_process_and_resumes(quick, phantom_store, tmp_path):
    """Killed during the second cell: the first stands, the second starts again."""
    rows = [row("a"), row("b", graph_layers=3)]
    table = write_table(tmp_path / "table.yaml", rows, store={"path": str(phantom_store)})
    words = ["ablate", "--table", table, "--out", str(tmp_path / "out")]
    process = SERVER.Process(target=run_stand_ins, args=(words,))
    process.start()
    second = tmp_path / "out" / "cells" / "b-0" / "starts"
    until = time.monotonic() + 120
    while not (second.is_file() and second.read_text()) and time.monotonic() < until:
        time.sleep(0.1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert children
    process.kill()
    process.join()
    until = time.monotonic() + 20
    while any(map(alive, children)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(alive, children))
    rows[1] = row("b", graph_layers=2)
    assert quick(rows) == (0, {"a-0": 1, "b-0": 2})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epoch": 3}, "table.yaml, line 2: epoch: unknown option, did you mean epochs?"),
        ({"epochs": "many"}, "epochs: expected int or null, got 'many'"),
        ({"rows": []}, "rows is empty"),
        ({"rows": [{"name": "a", "options": None}]}, "table.yaml: rows.options: expected Mapping, got null"),
        ({"probe": {"draws": None}}, "table.yaml: probe.draws: expected int, got null"),
        (
            {"rows": [{"name": "a"}], "probe": {"splits": ["train"]}},
            "probe.splits are ['train'], not one or both of valid, test",
        ),
        ({"rows": [{"name": "a"}], "probe": {"splits": []}}, "probe.splits are []"),
        ({"rows": [{"name": "a"}, {"name": "a"}]}, "two rows are called 'a'"),
        ({"rows": [{"name": "a", "option": {"x": 1}}]}, "rows.option.x: unknown option, did you mean rows.options?"),
        ({"rows": [{"name": "a/b"}]}, "'a/b' is not a name"),
        ({"rows": [{"name": "a", "versus": ["b"]}]}, "'a' is compared with 'b', which is no row"),
        ({"rows": [{"name": "a", "options": {"data.store": "x"}}]}, "'a' sets data.store; set store.path instead"),
        (
            {"rows": [{"name": "a", "options": {"data.init_args.store": "x"}}]},
            "'a' sets data.init_args.store; set store.path instead",
        ),
        ({"rows": [{"name": "a", "options": {"trainer.logger": False}}]}, "'a' sets trainer.logger; all runs are"),
        (
            {"rows": [{"name": "a"}, {"name": "b", "options": {"model.graph.chanels": 3}}]},
            "row 'b': --model.graph.chanels: unknown option, did you mean --model.graph.channels?",
        ),
        (
            {"rows": [{"name": "a", "options": {"model.loss.targets": "x"}}]},
            "row 'a': model.loss.targets 'x' is not one of identity, study, graph, soft",
        ),
        ({"rows": [{"name": "a", "config": "pretrain/no.yaml"}]}, "row 'a': --config pretrain/no.yaml: no such file"),
        ({"config": None}, "'a' has no config, and the table has none"),
        ({"seeds": [1, 1]}, "seeds of 'a' are [1, 1], not different numbers"),
        ({"seeds": [2**32]}, "seeds of 'a' are [4294967296], not different numbers from 0 to 4294967295"),
        ({"store": {"studies": 0}}, "store.studies is 0, not at least 1"),
        ({"hard_negatives": {"validation_seed": -1}}, "hard_negatives.validation_seed is -1, not at least 1"),
        ({"probe": {"fractions": [0.5, 0.5]}}, "probe.fractions are [0.5, 0.5]: one is given twice"),
        ({"hard_negatives": {"studies": 3}}, "hard_negatives.studies is 3, not 0 or an even number of at least 4"),
        ({"hard_negatives": {"validation_seed": 0}}, "hard_negatives.validation_seed is 0, the seed of those that are"),
        ({"probe": {"fractions": [0]}}, "probe.fractions are [0.0], not above 0 and at most 1"),
        (
            {"counterfactuals": ["sides"]},
            "counterfactuals: 'sides' is not one of side, place, places, finding, assertion",
        ),
        ({"probe": {"draws": 0}}, "probe.draws is 0, not at least 1"),
        ({"store": {"path": "stores/none"}}, "stores/none"),
    ],
)
def test_a_wrong_table_is_one_line_before_anything_is_trained(quick, change, message, tmp_path, capsys):
    status, starts = quick(**{"rows": [{"name": "a"}], **change})
    said = capsys.readouterr().err.strip().splitlines()
    assert status in (1, 2)
    assert starts == {}
    assert len([line for line in said if line.startswith("igcl: error")]) == 1
    assert message in said[-1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--table", "ablation/none.yaml"], "--table ablation/none.yaml: no such file or shipped config"),
        (["--table", "TABLE", "--jobs", "0"], "--jobs is 0, not at least 1"),
        (["--table", "TABLE", "--seeds", "0,x"], "'x' is not a whole number"),
        (["--table", "TABLE", "--out", "FULL"], "not empty and not an earlier table"),
        ([], "--table"),
    ],
)
def test_wrong_words_are_one_line(words, message, phantom_store, tmp_path, capsys):
    table = write_table(tmp_path / "table.yaml", [{"name": "a"}], store={"path": str(phantom_store)})
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    known = {"TABLE": table, "FULL": str(tmp_path / "full")}
    assert main(["ablate", "--out", str(tmp_path / "out"), *(known.get(word, word) for word in words)]) in (1, 2)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def table(tmp_path_factory, phantom_store):
    """A tiny table, then with the reported hard negatives of one row; returns its folder and when it was trained."""
    folder = tmp_path_factory.mktemp("ablation")
    rows = [row("plain"), row("no reports") | {"config": "pretrain/phantom_simclr.yaml"}]
    rows[1]["options"] = {name: value for name, value in SMALL.items() if "graph" not in name}
    rows.append(row("endless") | {"options": SMALL | {"trainer.max_epochs": -1}})
    other = {
        "epochs": 1,
        "counterfactuals": ["side", "place"],
        "hard_negatives": {"studies": 12},
        "probe": {"fractions": [0.5, 1.0], "draws": 2, "splits": ["valid", "test"]},
    }
    path = write_table(folder / "table.yaml", rows, store={"path": str(phantom_store)}, **other)
    words = ["ablate", "--table", path, "--out", str(folder / "out")]
    trained = folder / "out" / "cells" / "plain-0" / "pretrained.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "_start", Forked)
        assert main([*words, "--jobs", "2"]) == 1
        times = [trained.stat().st_mtime_ns]
        assert main([*words, "--only", "plain", "--report"]) == 0
    return folder / "out", [*times, trained.stat().st_mtime_ns]


def test_a_table_end_to_end(table):
    out, (first, second) = table
    assert first == second, "reporting does not train again"
    records = json.loads((out / "results.json").read_text())
    found = {(each["method"], each["metric"], each["group"], each["fraction"], each["seed"]) for each in records}
    for group in ("validation", "reported"):
        for metric in ("within_patient_accuracy_global", "within_patient_accuracy_global_blind"):
            assert ("plain", metric, group, None, None) in found
            assert ("no reports", metric, group, None, None) not in found
    for kind in ("side", "place"):
        assert ("plain", f"counterfactual_accuracy_{kind}_global", None, None, None) in found
        assert ("plain", f"counterfactual_accuracy_{kind}_global_blind", None, None, None) in found
    for method in ("plain", "no reports"):
        assert {(method, "auroc", None, fraction, 0) for fraction in (0.5, 1.0)} <= found
        assert (method, "seconds_per_epoch", None, None, None) in found
    log = (out / "cells" / "endless-0" / "log.txt").read_text().rstrip().splitlines()
    assert log[-1].endswith("set trainer.max_epochs or trainer.max_steps")
    assert not any(method == "endless" for method, *_ in found)
    result = json.loads((out / "cells" / "plain-0" / "result.json").read_text())["probe"]
    made = pd.read_parquet(out / "cells" / "plain-0" / "predictions.parquet").dropna(subset="target")
    assert set(result) == {"valid", "test"}
    for split, probed in result.items():
        assert set(probed["auroc_estimate"]) == {"0.5", "1.0"}
        for fraction, auroc in probed["auroc_estimate"].items():
            drawn = made[(made["fraction"] == float(fraction)) & (made["split"] == split)]
            draws = drawn.groupby(["seed", "label"])
            known = [roc_auc_score(each["target"], each["score"]) for _, each in draws if each["target"].nunique() == 2]
            assert auroc[0] == pytest.approx(sum(known) / len(known))
            assert len(auroc) == 1 + made.loc[made["split"] == split, "patient"].nunique()
    text = (out / "table.md").read_text()
    assert "| validation | global | blind | side | side blind | place | place blind | probe 50 %, valid |" in text
    assert "| reported |" in text


def test_a_cell_ends_with_the_process_that_started_it(tmp_path):
    """While it does anything: here it imports a module that never ends."""
    (tmp_path / "forever.py").write_text("import pathlib, time\npathlib.Path('begun').touch()\ntime.sleep(600)\n")
    plan = {"modules": ["forever"], "words": [], "store": "", "hard_negatives": {}, "counterfactuals": []}
    (tmp_path / "plan.json").write_text(json.dumps(plan | {"fractions": [], "draws": 1, "splits": [], "settings": {}}))
    words = [sys.executable, "-c", ablation.CHILD, str(tmp_path)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, cwd=tmp_path)
    until = time.monotonic() + 120
    while not (tmp_path / "begun").exists() and time.monotonic() < until:
        time.sleep(0.1)
    assert process.poll() is None
    process.stdin.close()
    assert process.wait(timeout=20) == 1
