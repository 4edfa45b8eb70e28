"""Rows of a table of `igcl evaluate`: which are pretrained, what resumes, what is refused, and a table end to end."""

import json
import shutil
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
import yaml
from matplotlib.figure import Figure

from forked_cells import Forked
from igcl_lightning.atomic import locked
from igcl_lightning.cli import main
from igcl_lightning.errors import IgclError
from igcl_lightning.modules.base import BaseModule
from igcl_lightning.protocols import (
    cells,
    children,
    contestants,
    evaluation,
    evaluation_cell,
    evaluation_report,
    pretraining,
)
from igcl_lightning.protocols.contestants import Contestant
from igcl_lightning.protocols.evaluation_table import read_table
from igcl_lightning.protocols.linear import Linear
from igcl_lightning.protocols.protocol import compared
from igcl_lightning.training.lightning_cli import check
from two_processes import BLANK, SERVER, save_blank

SMALL = {"model.image.backbone": "test_resnet", "model.image.size": 32, "model.graph.channels": 16}
LINEAR = {"protocol": "linear", "labels": ["Edema", "Pleural Effusion"], "fractions": [1.0], "audit_by": []}


class InThisProcess:
    """Stands for the process of a cell: its `main`, here and at once."""

    def __init__(self, cell, jobs, place, child):
        cell.folder.mkdir(parents=True, exist_ok=True)
        cells.write_json(cell.plan, cell.folder / cells.PLAN)
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sys, "argv", ["-c", str(cell.folder), cells.digest(cell.plan)])
                evaluation_cell.main()
        except SystemExit as ended:
            (cell.folder / "log.txt").write_text(f"{ended.code}\n")
            self.returncode = ended.code if isinstance(ended.code, int) else 1
        else:
            self.returncode = 0

    def poll(self):
        return self.returncode


def pretend(folder, run, words, store, settings, stale=()):
    """Stands for `pretrained` and learns nothing; a row fails with one layer, and is in use with four."""
    layers = dict(word.lstrip("-").partition("=")[::2] for word in words[2:]).get("model.graph.layers")
    note = folder / "pretrained.json"
    if layers == "1":
        raise IgclError("this row is broken")
    if layers == "4":
        sys.exit(cells.BUSY)
    if cells.read_json(note).get("settings") != settings:
        for name in stale:
            (folder / name).unlink(missing_ok=True)
        with (folder / "starts").open("a") as starts:
            starts.write(f"{store}\n")
        cells.write_json({"settings": settings}, note)


def measure(self, contestant, store, part):
    """Stands for `Linear.measure`."""
    with (Path(contestant.checkpoint).parents[2] / "measured").open("a") as asked:
        asked.write(f"{store.path.name}\n")
    lines = []
    for split in self.scored_splits(store):
        target = store.targets(split, self.labels)
        ids = {name: store.column(split, name) for name in ("row", "study", "patient")}
        for place, label in enumerate(self.labels):
            scored = {"target": target[:, place], "score": range(len(target)), "split": split}
            lines.append(pd.DataFrame({**ids, "label": label, **scored}))
    run = {"method": contestant.method, "fraction": part["fraction"], "shots": None, "seed": contestant.run_seed()}
    return pd.concat(lines, ignore_index=True).assign(**run)


def write_table(path, rows, protocol=LINEAR, **other):
    """Write a table with a small protocol beside it."""
    (path.parent / "small.yaml").write_text(yaml.safe_dump(protocol))
    table = {"config": "pretrain/phantom.yaml", "rows": rows, "protocols": [str(path.parent / "small.yaml")], **other}
    path.write_text(yaml.safe_dump(table))
    return str(path)


def row(name, **options):
    own = {f"model.{key.replace('_', '.', 1)}": value for key, value in options.items()}
    return {"name": name, "options": SMALL | own}


def lines_of(out, name):
    """Return the lines of a file in each contestant's folder."""
    return {each.parent.name: each.read_text().splitlines() for each in sorted(out.glob(f"*/{name}"))}


@cache
def built(*words, **how):
    """What `contestants.check` returns; most tables here have rows that an earlier test has built."""
    return check([*words], **how)


@pytest.fixture(autouse=True)
def _polled_often(monkeypatch):
    monkeypatch.setattr(children, "POLL", 0.01)


@pytest.fixture
def quick(monkeypatch, phantom_store, tmp_path):
    """Evaluate a table whose rows are stand-ins; returns the status and how often each has been pretrained."""
    monkeypatch.setattr(cells, "_start", InThisProcess)
    monkeypatch.setattr(children, "_end_with_parent", lambda: None)
    monkeypatch.setattr(contestants, "check", lambda words, **how: built(*words, **how))
    monkeypatch.setattr(evaluation_report, "write_page", lambda *_, **__: None)
    monkeypatch.setattr(evaluation_cell, "pretrained", pretend)
    monkeypatch.setattr(Linear, "measure", measure)

    def run(rows, *words, **other):
        path = write_table(tmp_path / "table.yaml", rows, **other)
        store = [] if {"--store", "--fast"} & {*words} else ["--store", str(phantom_store)]
        out = tmp_path / "out"
        status = main(["evaluate", "--table", path, "--out", str(out), "--jobs", "2", *store, *words])
        return status, {name: len(lines) for name, lines in lines_of(out, "starts").items()}

    return run


def records(out, **wanted):
    found = json.loads((out / "results.json").read_text())
    return [each for each in found if all(each[name] == value for name, value in wanted.items())]


def test_a_finished_row_stands_and_a_changed_one_is_pretrained_again(quick, tmp_path):
    rows = [row("a"), row("b") | {"seeds": [0, 5]}]
    assert quick(rows) == (0, {"a-0": 1, "b-0": 1, "b-5": 1})
    assert quick(rows) == (0, {"a-0": 1, "b-0": 1, "b-5": 1})
    rows[1] |= {"options": SMALL | {"model.projection.channels": 64}}
    assert quick(rows) == (0, {"a-0": 1, "b-0": 2, "b-5": 2})
    assert quick(rows, epochs=3) == (0, {"a-0": 2, "b-0": 3, "b-5": 3})
    rows[1] |= {"seeds": [0], "epochs": 3}
    assert quick(rows, epochs=3) == (0, {"a-0": 2, "b-0": 3, "b-5": 3})
    assert quick(rows, protocol=LINEAR | {"draws": 2}, epochs=3) == (0, {"a-0": 2, "b-0": 3, "b-5": 3})
    assert {name: len(lines) for name, lines in lines_of(tmp_path / "out", "measured").items()} == {
        "a-0": 3,
        "b-0": 4,
        "b-5": 3,
    }, "another way of measuring does not pretrain again"


def test_rows_are_pretrained_on_the_store_that_is_named(quick, phantom_store, tmp_path, capsys):
    """A table names it, an option comes before the table, and the store that is evaluated takes its place."""
    pairs, later = tmp_path / "pairs", tmp_path / "later"
    shutil.copytree(phantom_store, pairs)
    shutil.copytree(phantom_store, later)
    out = tmp_path / "out"
    assert quick([row("a")], pairs=str(pairs)) == (0, {"a-0": 1})
    assert lines_of(out, "starts") == {"a-0": [str(pairs)]}
    assert quick([row("a")], "--pairs", str(later), pairs=str(pairs)) == (0, {"a-0": 1}), "the same pairs"
    manifest = json.loads((later / "manifest.json").read_text())
    (later / "manifest.json").write_text(json.dumps(manifest | {"fingerprint": "other"}))
    assert quick([row("a")], "--pairs", str(later), pairs=str(pairs)) == (0, {"a-0": 2})
    assert quick([row("a")]) == (0, {"a-0": 3})
    assert lines_of(out, "starts") == {"a-0": [str(pairs), str(later), str(phantom_store)]}
    assert set(lines_of(out, "measured")["a-0"]) == {phantom_store.name}
    assert quick([row("a")], "--store", str(later), "--pairs", str(phantom_store))[1] == {"a-0": 3}
    assert lines_of(out, "measured")["a-0"][-1] == "later"
    assert quick([row("a")], "--pairs", "stores/none")[0] == 1
    assert "stores/none" in capsys.readouterr().err
    words = ["evaluate", "--pairs", str(pairs), "--checkpoint", "any.ckpt", "--out", str(out)]
    assert main(words) == 1
    assert "--pairs is the store that rows of a table are pretrained on, and there are none" in capsys.readouterr().err


def test_another_version_pretrains_again(quick, monkeypatch):
    assert quick([row("a")]) == (0, {"a-0": 1})
    monkeypatch.setattr("igcl_lightning.protocols.contestants.__version__", "next")
    assert quick([row("a")]) == (0, {"a-0": 2})


def test_the_process_of_a_row_imports_the_modules_that_are_named(quick, monkeypatch):
    imported = []
    monkeypatch.setattr(evaluation_cell, "import_modules", imported.extend)
    assert quick([row("a")], "--import", "json")[0] == 0
    assert imported == ["json"]


def test_a_protocol_that_is_left_out_on_a_store_is_named(quick, tmp_path, capsys):
    small = str(tmp_path / "small.yaml")
    assert quick([row("a")], protocols=[small, "hard_negatives"])[0] == 0
    assert "left out: hard_negatives, which has phantoms of its own; --protocol" in "".join(capsys.readouterr())


def test_rows_and_seeds_can_be_chosen(quick, tmp_path, capsys):
    rows = [row("a"), row("b, wide"), row("c")]
    assert quick(rows, "--row", "b, wide", "--row", "c", "--seed", "3") == (0, {"b, wide-3": 1, "c-3": 1})
    assert {each["method"] for each in records(tmp_path / "out")} == {"b, wide", "c"}
    assert not [each for each in records(tmp_path / "out") if each["versus"]], (
        "what they are compared with is not there"
    )
    assert quick(rows, "--row", "bb, wide")[0] == 1
    assert "--row: no row 'bb, wide', did you mean b, wide?" in capsys.readouterr().err


def test_rows_are_compared_as_the_table_says(quick, tmp_path):
    rows = [row("a"), row("b") | {"seeds": [0, 1]}, row("c") | {"versus": ["b", "a"]}, row("d") | {"versus": []}]
    assert quick(rows)[0] == 0
    apart = {(each["method"], each["versus"]) for each in records(tmp_path / "out", metric="auroc")}
    assert {pair for pair in apart if pair[1]} == {("b", "a"), ("c", "b"), ("c", "a")}


def test_pairs_of_names_that_are_compared():
    """Each with what it names and the others there; without names, the first with each."""
    plain = [Contestant(name) for name in ("a", "b")]
    assert compared(plain) == [("a", "b")]
    named = [Contestant("x", versus=[]), Contestant("y", versus=["x", "z", "y"]), *plain]
    assert compared(named) == [("y", "x"), ("x", "a"), ("x", "b")]
    assert compared([]) == []


def test_a_failing_row_is_one_line_and_the_others_go_on(quick, tmp_path, capsys):
    status, starts = quick([row("bad", graph_layers=1), row("good")])
    assert (status, starts) == (1, {"good-0": 1})
    said = capsys.readouterr()
    (line,) = [line for line in said.err.splitlines() if "igcl: error" in line]
    assert line.startswith("igcl: error: bad-0: this row is broken (see ")
    assert "not finished: bad-0" in said.out
    assert {each["method"] for each in records(tmp_path / "out")} == {"good"}


def test_a_row_of_too_few_pairs_is_named_before_any_is_pretrained(quick, capsys):
    """And what is pretrained stands."""
    rows = [row("a"), row("b"), row("few") | {"options": SMALL | {"data.fraction": 0.01}}]
    assert quick(rows[:1]) == (0, {"a-0": 1})
    assert quick(rows) == (1, {"a-0": 1})
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("igcl: error")]
    assert line.startswith("igcl: error: row 'few': ")
    assert "data.fraction 0.01 leaves" in line
    rows[2]["options"]["data.fraction"] = 1.0
    assert quick(rows) == (0, {"a-0": 1, "b-0": 1, "few-0": 1})
    rows[2]["options"]["data.fraction"] = 0.01
    assert quick(rows, "--row", "a", "--row", "b")[0] == 0, "rows that are not asked for are not looked at"


def test_what_a_model_does_not_read_is_named_before_any_row_is_pretrained(quick, capsys):
    options = {key: value for key, value in SMALL.items() if "graph" not in key} | {"data.noise.relations": 0.3}
    texts = {"name": "texts", "config": "pretrain/phantom_convirt.yaml", "options": options}
    assert quick([row("a"), texts]) == (1, {})
    assert "igcl: error: row 'texts': data.noise.relations" in capsys.readouterr().err


def test_a_fast_run_trains_shares_of_its_few_phantoms(quick, phantom_store, tmp_path, capsys):
    """For one epoch and with one seed; a store of the user's own is not small, and keeps its batches."""
    rows = [row("a") | {"seeds": [3, 4]}, row("few") | {"options": SMALL | {"data.init_args.fraction": 0.01}}]
    assert quick(rows, "--fast", epochs=5) == (0, {"a-3": 1, "few-0": 1})
    for name, changed in (("a-3", False), ("few-0", True)):
        words = json.loads((tmp_path / f"out/{name}/plan.json").read_text())["contestant"]["words"]
        assert "--trainer.max_epochs=1" in words
        assert ("--data.batch_size=2" in words) == changed
    capsys.readouterr()
    for own in ("--store", "--pairs"):
        shutil.rmtree(tmp_path / "out")
        assert quick(rows, "--fast", own, str(phantom_store)) == (1, {})
        assert "row 'few': " in capsys.readouterr().err


@pytest.mark.soak
def test_the_whole_table_of_ablations_runs_fast(tmp_path):
    """Some minutes: a process for each of its rows."""
    table = "evaluation/ablation.yaml"
    assert main(["evaluate", "--table", table, "--fast", "--out", str(tmp_path / "out")]) == 0
    assert {each["method"] for each in records(tmp_path / "out")} == {each.name for each in read_table(table).rows}


def test_a_row_that_another_process_pretrains_is_named(quick, capsys):
    assert quick([row("a", graph_layers=4)])[0] == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("igcl: error")]
    assert line == "igcl: error: a-0: another process works on it; wait for it, then run this again"


def test_epochs_of_a_row_come_before_those_of_the_table(quick, tmp_path):
    assert quick([row("a") | {"epochs": 2}, row("b")], epochs=3)[0] == 0
    for name, epochs in (("a", 2), ("b", 3)):
        words = json.loads((tmp_path / f"out/{name}-0/plan.json").read_text())["contestant"]["words"]
        assert {f"--trainer.max_epochs={epochs}", f"--trainer.check_val_every_n_epoch={epochs}"} <= set(words)


def test_a_cell_runs_in_one_process_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["", str(tmp_path)])
    monkeypatch.setattr(children, "_end_with_parent", lambda: None)
    with locked(tmp_path), pytest.raises(SystemExit) as ended:
        evaluation_cell.main()
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


def test_a_cell_ends_with_the_process_that_started_it(tmp_path):
    """While it does anything: here its work never ends."""
    (tmp_path / "plan.json").write_text("{}")
    work = "open('begun', 'w').close() or time.sleep(600)"
    child = f"import time; from igcl_lightning.protocols import cells; cells.run_as_cell(lambda *_: {work})"
    words = [sys.executable, "-c", child, str(tmp_path)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, cwd=tmp_path)
    until = time.monotonic() + 120
    while not (tmp_path / "begun").exists() and time.monotonic() < until:
        time.sleep(0.1)
    assert process.poll() is None
    process.stdin.close()
    assert process.wait(timeout=20) == 1


@pytest.mark.parametrize(("jobs", "threads"), [(1, "7"), (2, "1")])
def test_several_processes_at_once_have_one_thread_each(jobs, threads, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    child = "import os, pathlib, sys; pathlib.Path(sys.argv[1], 'threads').write_text(os.environ['OMP_NUM_THREADS'])"
    assert not cells.run_cells([cells.Cell(name, tmp_path / name, {}) for name in "ab"], jobs, child)
    assert lines_of(tmp_path, "threads") == {"a": [threads], "b": [threads]}


def test_pretraining_again_leaves_nothing_of_the_run_before(tmp_path, monkeypatch):
    """Neither its folder nor what was measured of it; a checkpoint that is gone is made again."""
    run, trained = tmp_path / "fit", []

    def train(words, closing):
        version = "version_1" if (run / "version_0").exists() else "version_0"  # as Lightning numbers them
        (run / version).mkdir(parents=True)
        (run / version / "metrics.csv").write_text(
            f"{pretraining.SECONDS},{pretraining.STEP_SECONDS}\n1,.1\n2,.4\n9,.5\n"
        )
        pretraining.checkpoint_of(run).parent.mkdir()
        pretraining.checkpoint_of(run).touch()
        trained.append(version)

    monkeypatch.setattr(pretraining, "run_training", train)
    monkeypatch.setattr(BaseModule, "load_from_checkpoint", lambda *_, **__: tiny_module())
    (run / "version_0").mkdir(parents=True)
    (run / "version_0" / "of the run before").touch()
    (tmp_path / "linear-1.parquet").touch()
    note = pretraining.pretrained(tmp_path, run, [], "", "new", stale=["linear-1.parquet"])
    cost = {"seconds_per_epoch": 2.0, "seconds_per_step": 0.4, "parameters": 9, "parameters_of_reports": 6}
    assert note == {"settings": "new", **cost}
    assert not (run / "version_0" / "of the run before").exists()
    assert not (tmp_path / "linear-1.parquet").exists()
    pretraining.pretrained(tmp_path, run, [], "", "new")
    assert len(trained) == 1
    pretraining.checkpoint_of(run).unlink()
    pretraining.pretrained(tmp_path, run, [], "", "new")
    pretraining.pretrained(tmp_path, run, [], "", "newer")
    assert trained == ["version_0"] * 3


def tiny_module():
    from torch import nn

    module = nn.Module()
    module.image_encoder, module.graph_encoder = nn.Linear(2, 1), nn.Linear(2, 2)
    return module


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epoch": 3}, "table.yaml, line 2: epoch: unknown option, did you mean epochs?"),
        ({"epochs": "many"}, "epochs: expected int or null, got 'many'"),
        ({"epochs": 0}, "epochs of 'a' is 0, not at least 1"),
        ({"rows": [{"name": "a", "options": None}]}, "table.yaml: rows.options: expected Mapping, got null"),
        ({"rows": [{"name": "a"}, {"name": "a"}]}, "two rows are called 'a'"),
        ({"rows": [{"name": "a", "option": {"x": 1}}]}, "rows.option.x: unknown option, did you mean rows.options?"),
        ({"rows": [{"name": "a/b"}]}, "'a/b' is not a name of letters"),
        ({"rows": [{"name": "random"}]}, "'random' is the name of a baseline"),
        ({"rows": [{"name": "a", "versus": ["b"]}]}, "'a' is compared with 'b', which is no row"),
        ({"rows": [{"name": "a", "options": {"data.store": "x"}}]}, "'a' sets data.store; set pairs instead"),
        (
            {"rows": [{"name": "a", "options": {"data.init_args.store": "x"}}]},
            "'a' sets data.init_args.store; set pairs instead",
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
        ({"rows": [{"name": "a", "options": {1: 2}}]}, "'a' has an option 1, which is no name"),
        ({"rows": [{"name": "a", "options": {"data.noise": None}}]}, "row 'a': "),
        ({"rows": [{"name": "a", "options": {"trainer.accelerator": "tpu"}}]}, "row 'a': "),
        ({"rows": [{"name": "a", "options": {"model.graph.readout": "x"}}]}, "row 'a': model.graph.readout 'x' is not"),
        (
            {"rows": [{"name": "a", "options": {"model.graph.join": "x"}}]},
            "row 'a': model.graph.join 'x' is not one of",
        ),
        ({"rows": [{"name": "a", "options": {"model.graph.dropout": 2}}]}, "row 'a': model.graph.dropout is 2.0, not"),
        (
            {"rows": [{"name": "a", "options": {"data.noise": None}}]},
            "row 'a': --data.noise: expected a group of options",
        ),
        ({"rows": [{"name": "a", "options": {"config": "x"}}]}, "'a' sets config; it is a key of the row"),
        ({"rows": [{"name": "a", "options": {"data": {"store": "x"}}}]}, "'a' sets data.store; set pairs instead"),
        ({"rows": [{"name": "a", "options": {"trainer": {"logger": False}}}]}, "'a' sets trainer.logger; all runs"),
        ({"rows": [{"name": "a", "options": {"trainer.devices": 2}}]}, "'a' sets trainer.devices; every row is"),
        (
            {"rows": [{"name": "a", "options": {"trainer.fast_dev_run": True}}]},
            "'a' sets trainer.fast_dev_run; it leaves",
        ),
        ({"rows": [{"name": "a", "versus": ["a"]}]}, "'a' is compared with ['a'], not with different other rows"),
        (
            {"rows": [{"name": "a"}, {"name": "b", "versus": ["a", "a"]}]},
            "'b' is compared with ['a', 'a'], not with different other rows",
        ),
        ({"rows": []}, "nothing to compare: give --checkpoint, --encoder, or a --table with rows"),
        ({"config": None}, "'a' has no config, and the table has none"),
        ({"seeds": [1, 1]}, "seeds of 'a' are [1, 1], not different numbers"),
        ({"seeds": [2**32]}, "seeds of 'a' are [4294967296], not different numbers from 0 to 4294967295"),
        ({"pairs": "stores/none"}, "stores/none"),
    ],
)
def test_a_wrong_table_is_one_line_before_anything_is_trained(quick, change, message, capsys, tmp_path):
    status, starts = quick(**{"rows": [{"name": "a"}], **change})
    assert not (tmp_path / "out").exists()
    said = capsys.readouterr().err.strip().splitlines()
    assert status in (1, 2)
    assert starts == {}
    assert len([line for line in said if line.startswith("igcl: error")]) == 1
    assert message in said[-1]


def test_a_table_that_contains_itself_is_one_line(tmp_path, capsys):
    path = tmp_path / "table.yaml"
    path.write_text("config: pretrain/phantom.yaml\nrows: &rows\n  - {name: a}\n  - *rows\n")
    assert main(["evaluate", "--table", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "table.yaml: a value contains itself" in capsys.readouterr().err


def test_what_says_how_a_row_was_pretrained_is_made_again(quick, tmp_path):
    """A damaged note names its file and says to delete it."""
    assert quick([row("a")]) == (0, {"a-0": 1})
    note = tmp_path / "out" / "a-0" / "pretrained.json"
    before = note.read_text()
    note.unlink()
    assert quick([row("a")]) == (0, {"a-0": 2})
    assert note.read_text() == before


@pytest.fixture(scope="module")
def tiny(phantom_store, tmp_path_factory):
    """A real table of two rows, pretrained and measured; returns the words of the command and its folder."""
    folder = tmp_path_factory.mktemp("tiny")
    simclr = {"config": "pretrain/phantom_simclr.yaml", "options": {k: v for k, v in SMALL.items() if "graph" not in k}}
    rows = [row("plain"), row("narrow", graph_channels=8), row("no reports") | simclr]
    rows.append(row("endless") | {"options": SMALL | {"trainer.max_epochs": -1}})
    protocol = LINEAR | {"fractions": [0.5, 1.0], "draws": 2, "published": "ablation"}
    table = write_table(folder / "table.yaml", rows, protocol, epochs=1)
    words = ["evaluate", "--table", table, "--store", str(phantom_store), "--jobs", "2"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "_start", Forked)
        patch.setattr(Figure, "savefig", save_blank)
        patch.setenv(BLANK, "1")
        assert main([*words, "--out", str(folder / "out")]) == 1, "one row never ends, so it is refused"
    return words, folder / "out"


def test_a_table_end_to_end(tiny, capsys, monkeypatch):
    words, out = tiny
    monkeypatch.setattr(cells, "_start", Forked)
    before = (out / "results.json").read_bytes()
    assert main([*words, "--row", "plain", "--row", "narrow", "--row", "no reports", "--out", str(out)]) == 0
    assert (out / "results.json").read_bytes() == before
    printed = capsys.readouterr().out
    for told in ("narrow - plain", "no reports - plain", "published, not measured here", "of the reports' encoder"):
        assert told in printed
    log = (out / "endless-0" / "log.txt").read_text().rstrip().splitlines()
    assert log[-1].endswith("set trainer.max_epochs or trainer.max_steps")
    costs = {
        (each["method"], each["metric"]): each["value"] for each in records(out, protocol="pretraining", seed=None)
    }
    for method in ("plain", "narrow", "no reports"):
        module = BaseModule.load_from_checkpoint(pretraining.checkpoint_of(out / f"{method}-0"), map_location="cpu")
        assert costs[method, "parameters"] == sum(each.numel() for each in module.parameters())
        assert 0 < costs[method, "seconds_per_step"] <= costs[method, "seconds_per_epoch"]
    assert costs["plain", "parameters_of_reports"] > costs["narrow", "parameters_of_reports"] > 0
    assert costs["no reports", "parameters_of_reports"] == 0
    assert not records(out, method="endless")


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def run_stand_ins(words):
    evaluation.CHILD = "import os, sys, time\nopen(sys.argv[1] + '/begun', 'w').close()\nos.read(0, 1)\nos._exit(1)"
    main(words)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_a_killed_table_leaves_no_process_and_resumes_to_the_same_results(tiny, tmp_path, monkeypatch):
    """Killed while rows are pretrained; the one that had ended stands."""
    words, whole = tiny
    out = tmp_path / "out"
    out.mkdir()
    for name in (evaluation.MARKER, "plain-0"):
        copy = shutil.copytree if (whole / name).is_dir() else shutil.copy
        copy(whole / name, out / name)
    stood = (out / "plain-0" / "pretrained.json").stat().st_mtime_ns
    words = [*words, "--row", "plain", "--row", "narrow", "--row", "endless", "--out", str(out)]
    process = SERVER.Process(target=run_stand_ins, args=(words,))
    process.start()
    until = time.monotonic() + 120
    while len(list(out.glob("*/begun"))) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    pids = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(pids) == 2
    process.kill()
    process.join()
    until = time.monotonic() + 20
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(alive, pids))
    monkeypatch.setattr(cells, "_start", Forked)
    monkeypatch.setattr(Figure, "savefig", save_blank)
    assert main(words) == 1, "the row that never ends is still refused"
    assert (out / "plain-0" / "pretrained.json").stat().st_mtime_ns == stood
    timed = ("seconds_per_step", "seconds_per_epoch")
    kept = [[each for each in records(folder) if each["metric"] not in timed] for folder in (out, whole)]
    assert kept[0] == [each for each in kept[1] if each["method"] != "no reports"]
