"""`report.html`: a plain check of the page, whose images are on it, what was run, and the run of W&B."""

import json
import re
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from html_pages import faults_of
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError, UsageError
from igcl_lightning.evaluation.results import summarise, write_results
from igcl_lightning.protocols import evaluation_page
from igcl_lightning.protocols.contestants import Contestant
from igcl_lightning.protocols.evaluation_page import Page, Results, write_page
from igcl_lightning.protocols.linear import Linear
from igcl_lightning.protocols.retrieval import Retrieval
from igcl_lightning.protocols.run_record import run_record, without_folder
from igcl_lightning.protocols.wandb_run import check_account, log_evaluation

NASTY = '<script>alert("x")</script> & <b>Edema</b>'


def scores(method, distance):
    """Scores of 40 rows of each of two splits at two shares; one label has a nasty name."""
    generator = np.random.default_rng(0)
    frames = []
    for split in ("valid", "test"):
        for label in ("Edema", NASTY):
            target = np.arange(40) % 3 == 0
            row = [f"{split}-{number}" for number in range(40)]
            for fraction in (0.1, 1.0):
                score = generator.normal(size=40) + distance * target
                about = {"method": method, "fraction": fraction, "shots": None, "split": split, "label": label}
                ids = {"row": row, "study": row, "patient": row}
                frames.append(
                    pd.DataFrame({**ids, "target": target.astype(float), "score": score}).assign(**about, seed=0)
                )
    return pd.concat(frames, ignore_index=True)


def found(store):
    """What a model retrieves of the test rows of a store: the first report for each."""
    rows = Store(store).column("test", "row")
    shown = {f"found@{place}": rows[0] for place in (1, 2, 3)} | {f"right@{place}": False for place in (1, 2, 3)}
    lines = {"split": "test", "direction": "image_to_graph", "row": rows, "patient": range(len(rows)), "rank": 7}
    return pd.DataFrame(lines).assign(**shown)


@pytest.fixture
def evaluated(phantom_store, tmp_path):
    """Writes the page of an evaluation with a probe and retrieval; returns its text."""
    igcl, random = (Contestant(name, identity="0123456789abcdef") for name in ("igcl", "random"))
    tables = {
        "linear": {igcl: scores("igcl", 2.0), random: scores("random", 0.1)},
        "retrieval": {igcl: found(phantom_store)},
    }
    predictions = pd.concat(tables["linear"].values(), ignore_index=True)
    tested = predictions[predictions["split"] == "test"]
    records = summarise(tested, versus=[("igcl", "random")], protocol="linear", store="s")
    results = Results(records, {"linear": predictions}, "test")

    def write(stores=None, **page):
        stores = stores or dict.fromkeys(tables, phantom_store)
        write_page(results, [Linear(), Retrieval()], tables, stores, tmp_path, Page(**page))
        write_results(records, tmp_path / "results.json")
        return (tmp_path / "report.html").read_text(encoding="utf-8")

    return write


def test_the_page_has_no_fault_and_escapes_what_it_shows(evaluated, phantom_store, tmp_path, monkeypatch):
    source = Store(phantom_store).manifest.get("source", {}).get("name")
    monkeypatch.setattr(evaluation_page, "PHANTOM", source)  # as if it were prepared by `igcl prepare phantom`
    html = evaluated(words=["evaluate", "--labels", NASTY])
    assert faults_of(html) == []
    assert len(html) < 3e6
    assert "<script" not in html
    assert "alert" in html
    sections = ["overview", "label-efficiency", "labels", "roc", "differences", "calibration", "examples", "run"]
    assert re.findall(r'<section id="([\w-]+)"', html) == sections
    drawn = {path.stem for path in (tmp_path / "plots").iterdir()}
    assert {"label_efficiency", "per_label", "roc_linear", "reliability_linear"} < drawn
    assert "synthetic phantoms, not of patients" in html
    assert html.count("data:image/jpeg") == 4


def test_images_of_patients_are_on_the_page_only_if_asked_for(evaluated, phantom_store, blank_pictures):
    text = Store(phantom_store).report_text(next(iter(Store(phantom_store).rows)))[:30]
    without = evaluated()
    assert "data:image" not in without
    assert "are left out" in without
    assert text not in without
    shown = evaluated(images=True)
    assert shown.count("data:image/jpeg") == 4
    assert "images and reports of patients of the store" in shown
    assert faults_of(shown) == []


def test_one_store_of_patients_among_phantoms_keeps_images_away(
    evaluated, phantom_store, tmp_path, monkeypatch, blank_pictures
):
    shutil.copytree(phantom_store, tmp_path / "mine")
    path = tmp_path / "mine" / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"source": {"name": "mine", "root": "/data/of/a/hospital"}}))
    monkeypatch.setattr(evaluation_page, "PHANTOM", manifest.get("source", {}).get("name"))
    html = evaluated({"linear": phantom_store, "retrieval": tmp_path / "mine"})
    assert "data:image" not in html
    assert "are left out" in html
    assert "hospital" not in html


def test_a_fault_of_a_page_is_found(evaluated, blank_pictures):
    html = evaluated(images=True)
    for right, wrong in {
        'scope="col"': 'class="x"',
        'alt="Radiograph': 'title="Radiograph',
        '<section id="roc"': '<section id="run"',
        "<h2 id=": "<h4 id=",
        "</main>": "",
        'src="data:': 'src="https:',
        'role="img"': 'class="y"',
    }.items():
        assert right in html
        assert faults_of(html.replace(right, wrong, 1)) != [], right


def test_what_was_run_is_told_without_the_folders_of_the_machine(phantom_store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["evaluate", "--store", str(phantom_store), f"--checkpoint=igcl={tmp_path}/runs/last.ckpt", "--fast"]
    models = [
        Contestant("igcl", 7, words=["--config", "pretrain/phantom.yaml"], identity="a" * 64),
        Contestant("mine", checkpoint=str(tmp_path / "runs" / "last.ckpt")),
        Contestant("timm", image={"backbone": "resnet10t", "weights": "hub"}),
        Contestant("supervised", image={"backbone": "resnet10t"}),
        Contestant("given", features="/data/given.parquet"),
    ]
    run = run_record(words, models, [Linear(fractions=[0.5])], {"linear": phantom_store})
    assert run.command == "igcl evaluate --store phantom --checkpoint=igcl=runs/last.ckpt --fast"
    compared, stores = run.tables
    assert [row[1] for row in compared.rows[1:]] == [
        "pretrained here: igcl fit --config pretrain/phantom.yaml",
        "checkpoint runs/last.ckpt",
        "encoder backbone resnet10t, weights hub",
        "trained from scratch, backbone resnet10t",
        "file of features",
    ]
    assert compared.rows[1][2:] == ["7", "a" * 12]
    assert ["fingerprint", Store(phantom_store).fingerprint] in stores.rows
    options, versions = run.folded
    assert ["linear", "fractions", "0.5"] in options.rows
    assert ["linear", "labels", "default"] in options.rows
    assert {"igcl-lightning", "Python", "torch", "timm"} <= {row[0] for row in versions.rows}
    assert str(tmp_path) not in str(run)
    assert run_record([], models, [], {}).command == ""
    assert without_folder("--x=/somewhere/a") == "--x=a"


class FakeRun:
    def __init__(self):
        self.logged, self.saved, self.finished = {}, [], False

    def log(self, values):
        self.logged |= values

    def save(self, path, **_):
        self.saved.append(path)

    def finish(self):
        self.finished = True


@pytest.fixture
def wandb(monkeypatch):
    """A stand-in for the package, which notes what it is told."""
    package = SimpleNamespace(run=FakeRun(), begun=[])
    package.init = lambda **options: package.begun.append(options) or package.run
    package.Table = lambda columns, data: (columns, data)
    package.Image = package.Html = lambda content, **_: content
    monkeypatch.setitem(sys.modules, "wandb", package)
    return package


def test_the_same_table_figures_and_page_go_to_a_run(evaluated, tmp_path, wandb, blank_pictures):
    html = evaluated()
    log_evaluation("trial", tmp_path)
    assert [each["project"] for each in wandb.begun] == ["trial"]
    logged = wandb.run.logged
    assert logged["report"] == html
    assert logged["results"][0] == ["method", "10 %", "100 %"]
    assert [row[0] for row in logged["results"][1]] == ["igcl", "random"]
    figures = {path.stem for path in (tmp_path / "plots").glob("*.png")}
    assert {f"plots/{name}" for name in figures} == logged.keys() - {"report", "results"}
    assert wandb.run.saved == [str(tmp_path / "results.json")]
    assert wandb.run.finished


def test_what_wandb_refuses_leaves_the_results(evaluated, tmp_path, wandb, blank_pictures):
    evaluated()
    refused = type("CommError", (Exception,), {"__module__": "wandb.errors"})

    def refuse(**_):
        raise refused("no such project")

    wandb.init = refuse
    with pytest.raises(IgclError, match="has all results, but W&B did not take them: no such project"):
        log_evaluation("trial", tmp_path)
    assert json.loads((tmp_path / "results.json").read_text())


def test_an_account_is_needed_before_anything_is_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError) as refused:
        check_account()
    assert "--wandb needs an account" in refused.value.message
    monkeypatch.setenv("WANDB_MODE", "offline")
    check_account()
