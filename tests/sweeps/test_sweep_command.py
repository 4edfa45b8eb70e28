"""`igcl sweep`: what it proposes, how trials end, what resumes, what is refused, and one real trial."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import optuna
import pandas as pd
import psutil
import pytest
import yaml
from agents import PRETRAIN, SMALL, environment

from igcl_lightning.cli import main
from igcl_lightning.protocols import sweep as sweeps
from igcl_lightning.protocols.study import lacking, open_study
from igcl_lightning.protocols.sweep_file import as_word, read_sweep, search_space
from igcl_lightning.training.options import shipped_configs

STAND_IN = """
import os, sys, threading, time
from pathlib import Path

threading.Thread(target=lambda: os.read(0, 1) == b"" and os._exit(1), daemon=True).start()
words = dict(word.lstrip("-").partition("=")[::2] for word in sys.argv[1:])
folder = Path(words["trainer.logger.save_dir"], words["trainer.logger.name"], words["trainer.logger.version"])
layers, rate = words["model.graph.layers"], float(words["model.optim.learning_rate"])
with (folder.parent / "starts").open("a") as starts:
    starts.write(f"{folder.name} {os.environ.get('OMP_NUM_THREADS', '')}\\n")
if layers == "1":
    sys.exit("igcl: this trial is broken")
metrics = {"4": "step,val/los\\n1,2\\n"}
metrics |= {each: f"step,val/loss\\n1,9\\n2,{each}\\n" for each in ("nan", "inf", "-inf", "word")}
(folder / "metrics.csv").write_text(metrics.get(layers, f"step,val/loss\\n1,9\\n2,\\n3,{abs(rate - 0.02)}\\n"))
if layers == "5":
    sys.exit("igcl: this trial breaks late")
until = time.monotonic() + 60
while (layers == "3" or (layers == "6" and rate > 0.02)) and time.monotonic() < until:
    time.sleep(0.1)
"""
"""A trial that logs its distance from a learning rate of .02, after 9; it fails with one layer, with five after that,
goes on for a minute with three, logs another metric with four, and with six goes on if the rate is above .02. Words in
place of a number of layers are logged instead."""

FIT = ["igcl", "fit", "--config", "pretrain/phantom.yaml", "--config", "logger/wandb.yaml", "${args}"]
RATE = {"distribution": "log_uniform_values", "min": 0.001, "max": 0.1}
LAYERS = {"model.graph.layers": {"value": 2}}
LOSS = {"name": "val/loss", "goal": "minimize"}


def write_sweep(path, parameters, **other):
    """Write a sweep; other keys replace the usual ones, None leaves a key out."""
    content = {"method": "random", "metric": LOSS, "parameters": parameters, "command": FIT, "run_cap": 3} | other
    path.write_text(
        yaml.safe_dump({name: value for name, value in content.items() if value is not None}, sort_keys=False)
    )
    return str(path)


def starts(out):
    path = out / "trials" / "starts"
    return [line.split(" ")[0] for line in path.read_text().splitlines()] if path.exists() else []


def trials(out):
    """Return the trials of a study, read without Optuna: number, state, value."""
    with sqlite3.connect(out / "study.db") as study:
        query = "select number, state, value from trials left join trial_values using (trial_id)"
        return study.execute(f"{query} where state != 'WAITING' order by number").fetchall()


@pytest.fixture
def quick(monkeypatch, tmp_path, capsys):
    """Run a sweep whose trials are stand-ins; returns the status, lines on standard output and lines of errors."""
    monkeypatch.setattr(sweeps, "CHILD", ["-c", STAND_IN])

    def run(parameters, *words, **other):
        path = write_sweep(tmp_path / "sweep.yaml", parameters, **other)
        status = main(["sweep", path, "--out", str(tmp_path / "out"), *words])
        said = capsys.readouterr()
        return status, said.out.splitlines(), [line for line in said.err.splitlines() if "igcl: error" in line]

    return run


def test_a_sweep_finds_the_best_and_a_second_start_adds_what_is_missing(quick, tmp_path):
    parameters = {"model.optim.learning_rate": RATE, "model.graph.layers": {"value": 2}}
    status, said, errors = quick(parameters, "--trials", "2")
    assert (status, errors) == (0, [])
    assert [line.split(" ")[:3] for line in said[:2]] == [["1/2", "trial", "0:"], ["2/2", "trial", "1:"]]
    status, said, _ = quick(parameters, "--trials", "4")
    assert [line.split(" ")[:3] for line in said[:2]] == [["3/4", "trial", "2:"], ["4/4", "trial", "3:"]]
    assert starts(tmp_path / "out") == ["trial-0", "trial-1", "trial-2", "trial-3"]
    ended = trials(tmp_path / "out")
    assert [state for _, state, _ in ended] == ["COMPLETE"] * 4
    assert len({value for *_, value in ended}) == 4, "the second start does not propose the first values again"
    number, _, value = min(ended, key=lambda trial: trial[2])
    assert said[2] == f"best: trial {number}, val/loss {value:.4g}"
    assert said[3] == f"folder  {tmp_path / 'out'}/trials/trial-{number}"
    assert said[4].startswith("again   igcl fit --config pretrain/phantom.yaml --model.optim.learning_rate=")
    status, said, _ = quick(parameters, "--trials", "4")
    assert (status, len(said), len(starts(tmp_path / "out"))) == (0, 3, 4)


def test_a_grid_has_every_combination_once_in_order(quick, tmp_path):
    parameters = {"model.optim.learning_rate": {"values": [0.01, 0.03]}, "model.graph.layers": {"values": [2, 7]}}
    _, said, _ = quick(parameters, "--trials", "3", method="grid", run_cap=None)
    _, more, _ = quick(parameters, method="grid", run_cap=None)
    shown = [line.partition("; ")[2].rpartition("; ")[0] for line in (*said[:3], *more[:1])]
    pairs = [(0.01, 2), (0.01, 7), (0.03, 2), (0.03, 7)]
    assert shown == [f"model.optim.learning_rate={rate} model.graph.layers={layers}" for rate, layers in pairs]
    assert len(starts(tmp_path / "out")) == 4


def test_several_trials_run_at_once_with_one_thread_each(quick, tmp_path):
    parameters = {"model.optim.learning_rate": RATE, "model.graph.layers": {"value": 2}}
    assert quick(parameters, "--jobs", "2", method="bayes")[0] == 0
    lines = (tmp_path / "out" / "trials" / "starts").read_text().splitlines()
    assert sorted(lines) == ["trial-0 1", "trial-1 1", "trial-2 1"]


@pytest.mark.parametrize("method", ["bayes", "random"])
def test_bayes_depends_on_the_trials_before_and_random_does_not(method, tmp_path):
    """Its first ten proposals are random, too."""
    read = read_sweep(write_sweep(tmp_path / "sweep.yaml", {"model.optim.learning_rate": RATE}, method=method))
    proposed = []
    for sign in (1, -1):
        out = tmp_path / f"out{sign}"
        out.mkdir()
        study = open_study(read, [], out, jobs=1)
        for _ in range(14):
            trial = study.ask(search_space(read))
            study.tell(trial, sign * trial.params["model.optim.learning_rate"])
        proposed.append([trial.params for trial in study.trials])
    assert proposed[0][:10] == proposed[1][:10]
    assert (proposed[0][10:] != proposed[1][10:]) == (method == "bayes")


def test_a_failing_trial_is_one_line_and_the_others_go_on(quick, tmp_path):
    layers = [1, 2, 4, 5, "nan", "inf", "-inf", "word"]
    parameters = {"model.optim.learning_rate": {"value": 0.01}, "model.graph.layers": {"values": layers}}
    quick_grid = partial(quick, parameters, method="grid", early_terminate={"type": "hyperband", "min_iter": 100})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeps.Search, "check", lambda self: None)  # the layers are no numbers
        status, said, errors = quick_grid("--trials", "3")
        assert status == 1
        folder = tmp_path / "out" / "trials"
        assert errors == [
            f"igcl: error: trial 0: igcl: this trial is broken (see {folder}/trial-0/log.txt)",
            f"igcl: error: trial 2: never logged val/loss, did you mean val/los? (see {folder}/trial-2/log.txt)",
        ]
        assert [state for _, state, _ in trials(tmp_path / "out")] == ["FAIL", "COMPLETE", "FAIL"]
        assert "best: trial 1" in said[1]
        _, said, errors = quick_grid("--trials", "8")
    assert errors == [
        f"igcl: error: trial 3: igcl: this trial breaks late (see {folder}/trial-3/log.txt)",
        *(f"igcl: error: trial {n}: val/loss is {layers[n]} (see {folder}/trial-{n}/log.txt)" for n in (4, 5, 6)),
        f"igcl: error: trial 7: {folder}/trial-7/metrics.csv: val/loss: could not convert string to float: 'word'",
    ]
    assert [state for _, state, _ in trials(tmp_path / "out")][3:] == ["FAIL"] * 5
    assert "best: trial 1" in said[0]


def test_a_hopeless_trial_ends_early(quick, tmp_path):
    parameters = {"model.optim.learning_rate": {"values": [0.01, 0.05, 0.1]}, "model.graph.layers": {"value": 6}}
    early = {"type": "hyperband", "min_iter": 2, "eta": 2}
    status, said, errors = quick(parameters, method="grid", early_terminate=early)
    assert (status, errors) == (0, [])
    ends = [line.split("; ")[0] for line in said[:3]]
    assert ends == ["1/3 trial 0: 0.01", "2/3 trial 1: ended early", "3/3 trial 2: ended early"]
    assert [state for _, state, _ in trials(tmp_path / "out")] == ["COMPLETE", "PRUNED", "PRUNED"]


@pytest.mark.parametrize("brackets", [{"min_iter": 4}, {"max_iter": 8, "s": 1}], ids=str)
def test_the_first_bracket_is_that_of_the_file(brackets, tmp_path):
    """The second trial is worse from the start."""
    early = {"type": "hyperband", "eta": 2} | brackets
    read = read_sweep(write_sweep(tmp_path / "sweep.yaml", {"model.optim.learning_rate": RATE}, early_terminate=early))
    study = open_study(read, [], tmp_path, jobs=1)
    asked = []
    for value in (0, 1):
        trial = study.ask(search_space(read))
        for step in range(1, 5):
            trial.report(value, step)
            asked.append(trial.should_prune())
        study.tell(trial, value)
    assert asked == [False] * 7 + [True]


def interrupt_when(path):
    """Press Ctrl-C when a file exists."""
    until = time.monotonic() + 120
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupted_sweep_goes_on(quick, monkeypatch, tmp_path):
    """Interrupted during the second of four trials: the first stands, the second starts again with its values."""
    parameters = {"model.optim.learning_rate": RATE, "model.graph.layers": {"value": 2}}
    out = tmp_path / "out"
    monkeypatch.setattr(sweeps, "CHILD", ["-c", STAND_IN.replace('layers == "3"', 'folder.name == "trial-1"')])
    threading.Thread(target=interrupt_when, args=[out / "trials" / "trial-1" / "metrics.csv"], daemon=True).start()
    assert quick(parameters, run_cap=4)[0] == 130
    assert [state for _, state, _ in trials(out)] == ["COMPLETE", "RUNNING"]
    monkeypatch.setattr(sweeps, "CHILD", ["-c", STAND_IN])
    status, said, _ = quick(parameters, run_cap=4)
    assert (status, len(said)) == (0, 6)
    assert starts(out) == ["trial-0", "trial-1", "trial-1", "trial-2", "trial-3"]
    assert [state for _, state, _ in trials(out)] == ["COMPLETE"] * 4


def test_a_trial_that_was_killed_before_it_had_values_goes_on(quick, tmp_path):
    path = write_sweep(tmp_path / "sweep.yaml", parameters := {"model.optim.learning_rate": RATE} | LAYERS)
    (tmp_path / "out").mkdir()
    words = ["--config", "pretrain/phantom.yaml", "--config", "logger/wandb.yaml"]
    open_study(read_sweep(path), words, tmp_path / "out", jobs=1).ask()
    assert quick(parameters, "--trials", "1")[::2] == (0, [])
    assert [state for _, state, _ in trials(tmp_path / "out")] == ["COMPLETE"]


def test_a_grid_may_be_larger_than_what_is_run(tmp_path):
    values = {"values": [*range(100)]}
    path = write_sweep(tmp_path / "sweep.yaml", {f"model.{name}": values for name in "abcdefghi"}, method="grid")
    read = read_sweep(path)
    assert read.grid_size == 100**9
    for number in range(3):
        study = open_study(read, [], tmp_path, jobs=1)
        point = next(lacking(study, read))
        assert [*point.values()] == [0] * 8 + [number]
        study.enqueue_trial(point)
        study.ask(search_space(read) if number else None)


def garbage(path):
    path.write_text("no database " * 1000)


def in_use(path):
    other = sqlite3.connect(path)
    other.execute("begin exclusive")
    return other


@pytest.mark.parametrize(
    ("made", "when", "said"),
    [
        (garbage, "at first", "file is not a database"),
        (Path.mkdir, "at first", "unable to open database file"),
        (in_use, "at first", "database is locked"),
        (in_use, "as a trial ends", "database is locked"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_line(quick, made, when, said, monkeypatch, tmp_path):
    monkeypatch.setattr("igcl_lightning.protocols.study.TIMEOUT", 0.1)
    path, held = tmp_path / "out" / "study.db", []

    def start(*words):
        child = started(*words)
        child.wait()
        held.append(made(path))
        return child

    started = sweeps.start_child
    path.parent.mkdir()
    if when == "at first":
        held.append(made(path))
    else:
        monkeypatch.setattr(sweeps, "start_child", start)
    status, _, (line,) = quick(LAYERS | {"model.optim.learning_rate": RATE})
    assert status == 1
    assert f"{path}: {said}; the same command goes on when that is mended, another --out starts anew" in line


def test_an_option_of_the_command_line_replaces_a_constant_of_the_file(quick, tmp_path):
    """Trials get it once; what the file searches is refused."""
    parameters = {"model.optim.learning_rate": RATE, "model.graph.layers": {"value": 4}}
    status, said, _ = quick(parameters, "--trials", "1", "--model.graph.layers", "2")
    assert status == 0
    assert said[-1].endswith(said[-1].partition("--model.graph.layers 2 ")[2])
    assert "--model.graph.layers=" not in said[-1]
    for words in (["--model.optim.learning_rate", "0.1"], ["--model.init_args.optim.learning_rate=0.1"]):
        status, _, (line,) = quick(parameters, *words)
        assert status == 1
        assert f"{words[0].partition('=')[0]}: " in line
        assert line.endswith("sweep.yaml searches it; take it out of one of them")


def test_another_sweep_is_not_mixed_in(quick, tmp_path):
    parameters = {"model.optim.learning_rate": RATE, "model.graph.layers": {"value": 2}}
    assert quick(parameters, "--trials", "1")[0] == 0
    for words, other, what in (
        ((), {"parameters": {"model.graph.layers": {"value": 2}}}, "parameters differ"),
        ((), {"metric": LOSS | {"goal": "maximize"}}, "metric differs"),
        (("--data.batch_size", "8"), {}, "command differs"),
    ):
        given = {"parameters": parameters} | other
        status, _, (line,) = quick(*[given.pop("parameters")], "--trials", "2", *words, **given)
        assert status == 1
        assert f"out: holds trials of a sweep whose {what}; choose another --out" in line
    assert len(trials(tmp_path / "out")) == 1


def test_a_line_that_is_being_written_is_not_read(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,val/loss\n1,0.25\n2,\n3,0.5\n4,0.1")
    assert sweeps.logged(tmp_path, "val/loss") == [0.25, 0.5]
    assert sweeps.logged(tmp_path, "val/other") == sweeps.logged(tmp_path / "none", "val/loss") == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "hyperopt"}, "sweep.yaml, line 1: method: expected 'grid', 'random', 'bayes', got 'hyperopt'"),
        ({"metric": None}, "metric"),
        ({"metric": LOSS | {"name": "val/los"}}, "metric.name: nothing logs 'val/los' in fit, did you mean val/loss?"),
        ({"parametres": LAYERS}, "unknown option, did you mean parameters"),
        ({"parameters": {}}, "parameters is empty"),
        ({"parameters": LAYERS, "run_cap": None}, "it has no end: give --trials, or run_cap in the file"),
        ({"run_cap": 0}, "run_cap is 0, not at least 1"),
        ({"command": ["python", "train.py", "${args}"]}, "command is not igcl fit ..., but python train.py ${args}"),
        ({"command": ["igcl", "fit", "${args}", "--config", "x"]}, "command: the last word must be ${args}"),
        ({"command": ["igcl", "fit", "${args_json}", "${args}"]}, "${args_json} is known to wandb agent only"),
        (
            {"early_terminate": {"type": "hyperband", "max_iter": 9}},
            "early_terminate needs min_iter, or max_iter and s",
        ),
        ({"early_terminate": {"type": "hyperband", "s": 2}}, "early_terminate needs min_iter, or max_iter and s"),
        ({"early_terminate": {"type": "hyperband", "max_iter": 9, "s": -1}}, "early_terminate.s is -1, not at least 1"),
        ({"early_terminate": {"type": "hyperband", "max_iter": 0, "s": 1}}, "early_terminate.max_iter is 0, not"),
        ({"early_terminate": {"type": "hyperband", "min_iter": 0}}, "early_terminate.min_iter is 0, not at least 1"),
        (
            {"early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 1}},
            "early_terminate.eta is 1, not at least 2",
        ),
        ({"command": ["igcl", ["fit"], "${args}"]}, 'command: ["fit"] is not a word'),
        ({"command": ["igcl", "fit", {"a": 1}, "${args}"]}, 'command: {"a": 1} is not a word'),
        ({"command": ["igcl", "fit", None, "${args}"]}, "command: null is not a word"),
        *(
            (
                {"parameters": {"model.graph.layers": {"values": values}}},
                f"parameters.model.graph.layers.values is {said}",
            )
            for values, said in ((0.1, "0.1, not a list"), ("max", "max, not a list"), ({"a": 1}, '{"a": 1}, not'))
        ),
        ({"parameters": {"model.graph.layers": {"values": None}}}, "model.graph.layers.values is null, not a list"),
        *(
            (
                {"parameters": {"model.optim.learning_rate": {"min": 0.1, "max": 1.0} | about}},
                f"parameters.model.optim.learning_rate.{next(iter(about))}: {said} is not a finite number, a text",
            )
            for about, said in (
                ({"max": float("inf")}, "inf"),
                ({"min": float("nan")}, "nan"),
                ({"min": float("-inf")}, "-inf"),
                ({"q": float("nan")}, "nan"),
                ({"values": [0.1, float("nan")]}, "[0.1, nan]"),
                ({"values": [[float("inf")]]}, "[[inf]]"),
                ({"value": b"1"}, "b'1'"),
                ({"value": float("inf")}, "inf"),
            )
        ),
        *(
            ({"parameters": {name: {"value": "x.yaml"}}}, f"parameters.{name} is not an option that trials can vary")
            for name in ("config", "print_config", "help", "model.help", 1)
        ),
        *(
            (
                {"method": "grid", "parameters": {"model.graph.layers": {"values": values}}},
                f"parameters.model.graph.layers.values has {said} twice",
            )
            for values, said in (([1, 2, 1], "1"), ([1, 1.0], "1.0"), ([0, False], "false"), ([[1], [1]], "[1]"))
        ),
        ({"parameters": {"model": {"parameters": LAYERS}}}, "parameters.model is nested; write its options as model."),
        (
            {"method": "grid", "parameters": {"model.graph.layers": {"min": 1, "max": 3}}},
            "a grid needs value or values",
        ),
        ({"parameters": {"model.graph.layers": {"values": []}}}, "parameters.model.graph.layers: values is empty"),
        (
            {"parameters": {"model.optim.learning_rate": {"distribution": "normal", "mu": 0, "sigma": 1}}},
            "parameters.model.optim.learning_rate: {'distribution': 'normal', 'mu': 0, 'sigma': 1} cannot be searched",
        ),
        (
            {"parameters": {"model.optim.learning_rate": RATE | {"min": 0}}},
            "(low=0, high=0.1)",
        ),
        ({"parameters": {"model.graph.layers": {"min": 3, "max": 1}}}, "parameters.model.graph.layers: {'min': 3"),
        ({"parameters": {"model.graph.layer": {"value": 2}}}, "--model.graph.layer: unknown option, did you mean"),
        ({"parameters": {"model.graph.readout": {"value": "x"}}}, "sweep.yaml: model.graph.readout 'x' is not one of"),
    ],
)
def test_a_wrong_sweep_is_one_line_before_anything_is_trained(quick, change, message, tmp_path):
    status, _, (line,) = quick(**{"parameters": LAYERS} | change)
    assert status in (1, 2)
    assert message in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sweep/none.yaml"], "sweep sweep/none.yaml: no such file or shipped config"),
        (["SWEEP", "--jobs", "0"], "--jobs is 0, not at least 1"),
        (["SWEEP", "--trials", "0"], "--trials is 0, not at least 1"),
        (["SWEEP", "--trails", "4"], "--trails: unknown option, did you mean --trials?"),
        ([], "FILE"),
    ],
)
def test_wrong_words_are_one_line(words, message, tmp_path, capsys):
    path = write_sweep(tmp_path / "sweep.yaml", LAYERS)
    assert main(["sweep", *(path if word == "SWEEP" else word for word in words)]) in (1, 2)
    assert message in capsys.readouterr().err


def test_without_optuna_a_line_says_how_to_install_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    for name in ("sweep", "study"):
        monkeypatch.delitem(sys.modules, f"igcl_lightning.protocols.{name}")
    assert main(["sweep", write_sweep(tmp_path / "sweep.yaml", LAYERS)]) == 1
    assert "pip install 'igcl-lightning[sweep]'" in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted((shipped_configs() / "sweep").glob("*.yaml")), ids=lambda path: path.name)
def test_shipped_sweeps_can_be_searched(path):
    sweep = read_sweep(f"sweep/{path.name}")
    assert search_space(sweep).keys() == sweep.parameters.keys()
    assert sweep.method == "grid" or sweep.run_cap


def test_values_arrive_as_they_stand_in_the_file(tmp_path):
    """Lists, null, booleans, small numbers and texts."""
    values = [["PA", "AP"], None, False, 1e-05, "max", {"a": 1}]
    sweep = read_sweep(write_sweep(tmp_path / "sweep.yaml", {"data.x": {"values": values}}))
    space = search_space(sweep)["data.x"]
    words = [as_word(space.to_external_repr(index)) for index in range(len(values))]
    assert words == ['["PA", "AP"]', "null", "false", "1e-05", "max", '{"a": 1}']
    assert yaml.safe_load(words[0]) == values[0]


def test_distributions_are_those_of_the_file(tmp_path):
    parameters = {
        "a.whole": {"min": 2, "max": 5},
        "a.real": {"min": 0.5, "max": 2.0},
        "a.log": RATE,
        "a.step": {"distribution": "q_uniform", "min": 2, "max": 10, "q": 4},
    }
    sweep = read_sweep(write_sweep(tmp_path / "sweep.yaml", parameters))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    drawn = [study.ask(search_space(sweep)).params for _ in range(300)]
    assert {point["a.whole"] for point in drawn} == {2, 3, 4, 5}
    assert {point["a.step"] for point in drawn} == {2, 6, 10}
    assert all(0.5 <= point["a.real"] <= 2 for point in drawn)
    below = sum(point["a.log"] < 0.01 for point in drawn) / len(drawn)  # half of a range of two decades
    assert abs(below - 0.5) < 0.1


def test_a_real_trial_has_a_run_folder_and_a_result(phantom_store, tmp_path, capsys):
    """The W&B logger of the file gives way to files; options of `igcl fit` are added to its command."""
    parameters = {"model.optim.learning_rate": {"value": 0.01}}
    path = write_sweep(tmp_path / "sweep.yaml", parameters, run_cap=1)
    words = ["--data.store", str(phantom_store), *PRETRAIN, *SMALL, "--trainer.callbacks=null"]
    assert main(["sweep", path, "--out", str(tmp_path / "out"), *words]) == 0, capsys.readouterr().err
    run = tmp_path / "out" / "trials" / "trial-0"
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"]["init_args"]["optim"]["learning_rate"] == 0.01
    assert (run / "checkpoints" / "last.ckpt").exists()
    losses = pd.read_csv(run / "metrics.csv")["val/loss"].dropna()
    ((_, state, value),) = trials(tmp_path / "out")
    assert (state, value) == ("COMPLETE", pytest.approx(losses.iloc[-1], rel=1e-9))


@pytest.mark.soak
def test_four_real_trials_of_a_killed_sweep(phantom_store, tmp_path):
    """Killed during the second trial, whose process ends too; the same command goes on, and trains no trial twice."""
    path = write_sweep(tmp_path / "sweep.yaml", {"model.optim.learning_rate": RATE}, run_cap=4)
    words = [sys.executable, "-m", "igcl_lightning", "sweep", path, "--out", str(tmp_path / "out")]
    words += ["--data.store", str(phantom_store), *PRETRAIN, *SMALL, "--trainer.callbacks=null"]
    folders = [tmp_path / "out" / "trials" / f"trial-{number}" for number in range(4)]
    first = subprocess.Popen(words, cwd=tmp_path, env=environment())
    until = time.monotonic() + 600
    while not (folders[1] / "config.yaml").exists() and time.monotonic() < until:
        time.sleep(0.05)
    (trial,) = psutil.Process(first.pid).children()
    first.kill()
    first.wait()
    trial.wait(60)
    stood = (folders[0] / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    done = subprocess.run(words, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    assert (folders[0] / "checkpoints" / "last.ckpt").stat().st_mtime_ns == stood
    losses = [pd.read_csv(folder / "metrics.csv")["val/loss"].dropna().iloc[-1] for folder in folders]
    rates = [
        yaml.safe_load((folder / "config.yaml").read_text())["model"]["init_args"]["optim"]["learning_rate"]
        for folder in folders
    ]
    study = optuna.load_study(study_name="sweep", storage=f"sqlite:///{tmp_path / 'out' / 'study.db'}")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 4
    assert [trial.value for trial in study.trials] == pytest.approx(losses, rel=1e-9)
    assert [trial.params["model.optim.learning_rate"] for trial in study.trials] == pytest.approx(rates)
    assert len(set(rates)) == 4
    assert f"best: trial {losses.index(min(losses))}, val/loss" in done.stdout
