"""`igcl compare` and `igcl demo`: tables of `igcl evaluate` that pretrain on phantoms."""

import json

import pandas as pd
import pytest

from forked_cells import Forked
from html_pages import faults_of
from igcl_lightning.cli import main
from igcl_lightning.protocols import cells, evaluation
from igcl_lightning.protocols.contestants import METHODS, baseline, to_pretrain
from igcl_lightning.protocols.evaluation_table import PROTOCOLS, read_protocols, read_table
from igcl_lightning.training.options import shipped_configs


@pytest.fixture(autouse=True)
def forked(monkeypatch):
    monkeypatch.setattr(cells, "_start", Forked)


@pytest.mark.long
@pytest.mark.usefixtures("blank_pictures")
def test_methods_are_pretrained_and_compared(tmp_path, capsys):
    out = tmp_path / "compare"
    command = ["compare", "--fast", "--train", "igcl:3,convirt", "--baselines", "random", "--out", str(out)]
    assert not main(command)
    records = json.loads((out / "results.json").read_text())
    assert {record["method"] for record in records} == {"igcl", "convirt", "random"}
    metrics = {record["metric"].removesuffix("_at_least").removesuffix("_at_most") for record in records}
    assert metrics >= {"auroc", "label_savings", "within_patient_accuracy", "within_patient_accuracy_blind"}
    choices = [record for record in records if record["metric"] == "within_patient_accuracy"]
    compared = {("igcl", None), ("convirt", None), ("igcl", "convirt")}
    assert {(record["method"], record["versus"]) for record in choices} == compared
    assert all(record["n"] == 40 for record in choices)
    assert {record["store"] for record in choices} == {"hard_negatives"}
    printed = capsys.readouterr().out
    for words in ("labels saved", "igcl - convirt", "its numbers show only that everything runs"):
        assert words in printed
    assert (out / "plots/label_efficiency.png").exists()
    checkpoints = {name: out / name / "version_0/checkpoints/last.ckpt" for name in ("igcl-3", "convirt")}
    assert all(path.is_file() for path in checkpoints.values())
    times = {name: path.stat().st_mtime_ns for name, path in checkpoints.items()}
    (out / "igcl-3" / "few_shot-5.parquet").unlink()
    assert not main(command)
    assert (out / "igcl-3" / "few_shot-5.parquet").is_file()
    assert times == {name: path.stat().st_mtime_ns for name, path in checkpoints.items()}


@pytest.mark.long
def test_the_fast_demo_writes_everything_it_promises(tmp_path, capsys):
    assert not main(["demo", "--fast", "--out", str(tmp_path / "demo")])
    out = tmp_path / "demo"
    records = json.loads((out / "results.json").read_text())
    assert {record["method"] for record in records} == {"igcl", "random", "supervised"}
    versus = {(record["method"], record["versus"]) for record in records if record["versus"]}
    assert versus == {("igcl", "random"), ("igcl", "supervised")}
    frame = pd.read_parquet(out / "predictions.parquet")
    assert set(frame["shots"].dropna()) == {5}
    assert set(frame["fraction"].dropna()) == {0.1, 1.0}
    for picture in ("plots/label_efficiency.png", "plots/per_label.png", "igcl/version_0/plots/learning_curve.png"):
        assert (out / picture).stat().st_size > 5000
    assert (out / "igcl/version_0/config.yaml").exists()
    page = (out / "report.html").read_text(encoding="utf-8")
    assert faults_of(page) == []
    assert "pretrained here: igcl fit --config pretrain/phantom.yaml" in page
    printed = capsys.readouterr().out
    assert "igcl - supervised" in printed
    assert f"look    {out / 'report.html'}" in printed
    assert "synthetic phantoms: they show only that" in printed
    assert "--model.checkpoint " + str(out / "igcl/version_0/checkpoints/last.ckpt") in printed


@pytest.mark.soak
def test_the_full_demo_keeps_what_it_promises(tmp_path):
    assert not main(["demo", "--out", str(tmp_path / "demo")])
    records = json.loads((tmp_path / "demo" / "results.json").read_text())
    mean = {
        (record["method"], record["fraction"]): record["value"]
        for record in records
        if record["metric"] == "auroc" and record["label"] == "mean" and record["seed"] is None and not record["versus"]
    }
    assert mean["igcl", 0.01] >= mean["random", 0.01] + 0.10
    assert mean["igcl", 0.01] >= mean["supervised", 0.01] + 0.08
    assert mean["igcl", 0.01] >= mean["supervised", 0.1]
    assert mean["igcl", 0.01] <= 0.97


def test_the_demo_does_not_touch_a_folder_of_something_else(tmp_path, capsys):
    (tmp_path / "thesis.tex").touch()
    assert main(["demo", "--out", str(tmp_path)]) == 1
    assert "not empty and not an earlier evaluation" in capsys.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_a_model_reads_is_known_before_it_is_trained():
    sides = {"igcl": "graph", "reclf_graph": "graph", "reclf": "report", "convirt": "report", "simclr": ""}
    assert {name: to_pretrain(name).side for name in sides} == sides


def test_the_seed_is_that_of_pretraining():
    plain, given, named = to_pretrain("igcl"), to_pretrain("igcl", 7), to_pretrain("igcl:8", 7)
    assert [each.title for each in (plain, given, named)] == ["igcl", "igcl-7", "igcl-8"]
    assert len({each.identity for each in (plain, given, named)}) == 3
    assert ("--seed_everything=7" in given.words, "--seed_everything=8" in named.words) == (True, True)
    assert not any("seed" in word for word in plain.words)
    assert [each.run_seed(2) for each in (plain, given, named)] == [2, 7002, 8002]
    random = [baseline("random", [each]) for each in (plain, given)]
    assert random[0].identity == random[1].identity, "baselines do not depend on it"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["demo", "--seed", "-1"], "--seed"),
        (["demo", "--seed", "4294967296"], "'4294967296' is not a whole number from 0 to 4294967295"),
        (["compare", "--train", "clip"], "--train: no method 'clip'; known are igcl, convirt, gloria"),
        (["compare", "--train", "igcl,igcl"], "two encoders are called 'igcl'"),
        (["compare", "--labels", "Fracture"], "--labels: no label 'Fracture', only Atelectasis"),
    ],
)
def test_what_cannot_be_trained_is_one_line(words, message, tmp_path, capsys):
    assert main([*words, "--out", str(tmp_path / "out")]) in (1, 2)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_every_shipped_protocol_and_table_is_read():
    configs = shipped_configs()
    for path in sorted((configs / "protocol").glob("*.yaml")):
        (protocol,) = read_protocols([path.stem])
        assert protocol.name in PROTOCOLS
        assert path.read_text().startswith("# ")
    assert {path.stem for path in (configs / "protocol").glob("*.yaml")} >= set(PROTOCOLS)
    for path in sorted((configs / "evaluation").glob("*.yaml")):
        table = read_table(f"evaluation/{path.name}")
        assert read_protocols(table.protocols)
        assert all(word.partition(":")[0] in METHODS for word in table.train)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("protocols: []", "nothing to ask: give --protocol"),
        ("train: [clip]", "--train: no method 'clip'"),
        ("baseline: [random]", "baseline: unknown option, did you mean baselines?"),
        ("phantoms: {hard_negatives: 3}", "phantoms.hard_negatives is 3, not an even number of at least 4"),
        ("phantoms: {studies: 0}", "phantoms.studies and phantoms.size are at least 1"),
    ],
)
def test_a_wrong_table_is_one_line(content, message, tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(f"{content}\n")
    assert main(["evaluate", "--table", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "out")]) in (1, 2)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_phantoms_are_trained_on_the_longest_first(monkeypatch, tmp_path):
    """What takes long begins first, and cells are asked for in the order of the table otherwise."""
    begun = []
    monkeypatch.setattr(evaluation, "run_cells", lambda found, *_: begun.extend(each.title for each in found) or [])
    monkeypatch.setattr(evaluation, "prepare_phantoms", lambda path, *_, **__: None)
    monkeypatch.setattr(evaluation, "write_report", lambda *_: None)
    monkeypatch.setattr(evaluation.Store, "__init__", lambda self, path, *_: None)
    monkeypatch.setattr(evaluation.Store, "fingerprint", "x")
    monkeypatch.setattr("igcl_lightning.protocols.linear.ProbeProtocol.check", lambda *_: None)
    words = ["evaluate", "--train", "igcl,simclr", "--baselines", "random,supervised", "--protocol", "linear"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 1, "nothing was measured"
    assert begun == ["igcl", "simclr", "supervised", "random"]
