"""The module of docs/new_modality.md, run as the page says, from outside the package."""

import importlib
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from igcl_lightning.cli import main
from igcl_lightning.data.sources.phantom import phantom_study
from igcl_lightning.errors import IgclError
from igcl_lightning.modules.base import BaseModule

MODULES = ("ecg", "ecg_local")
QUIET = ["--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"]
PAGE = Path(__file__).parents[1] / "docs" / "new_modality.md"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


def commands():
    joined = "\n".join(blocks("sh")).replace("\\\n", " ")
    return [shlex.split(line)[1:] for line in joined.splitlines() if line.startswith("igcl")]


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with the page's files and a table of phantoms whose signal has one tone for each label."""
    monkeypatch.chdir(tmp_path)
    for name, code in zip(MODULES, blocks("python"), strict=True):
        (tmp_path / f"{name}.py").write_text(code)
    (tmp_path / "ecg.yaml").write_text(blocks("yaml")[0])
    rng = np.random.default_rng(0)
    rows = []
    for index in range(96):
        study = phantom_study(index, size=64)
        Image.fromarray(study.images[0].source).save(f"{index}.png")
        tones = [2 + 3 * number for number, present in enumerate(study.labels.values()) if present]
        wave = sum(np.sin(tone * np.linspace(0, 6, 128)) for tone in tones)
        np.save(f"{index}.npy", np.stack([wave, -wave]) + rng.normal(0, 0.1, (2, 128)))
        rows.append({"file": f"{index}.png", "patient": study.patient_id, "report": " ".join(study.report.values())})
    pd.DataFrame(rows).assign(ecg=[f"{index}.npy" for index in range(96)]).to_csv("table.csv", index=False)
    yield tmp_path
    for name in MODULES:
        sys.modules.pop(name, None)


def test_the_code_is_short():
    for block in blocks("python"):
        assert len([line for line in block.splitlines() if line.strip()]) < 40


def test_a_module_from_outside_trains_against_graphs(work):
    prepare, fit, predict, _, _ = commands()
    assert not main(prepare)
    assert main(fit + QUIET) == 0
    metrics = pd.read_csv("runs/signal_graph/version_0/metrics.csv")
    loss = metrics["train/loss"].dropna()
    assert loss.iloc[-1] < 0.9 * loss.iloc[0]
    assert "val/ecg_to_graph_recall@5" in metrics

    assert main(predict + QUIET) == 0
    embeddings = pd.read_parquet("runs/signal_graph/version_1/embeddings.parquet")
    assert {"row", "study", "patient", "ecg", "graph"} <= set(embeddings)
    np.testing.assert_allclose(np.linalg.norm(np.stack(embeddings["ecg"]), axis=1), 1, rtol=1e-5)
    reloaded = BaseModule.load_from_checkpoint("runs/signal_graph/version_0/checkpoints/last.ckpt")
    assert type(reloaded).__name__ == "SignalGraph"


def test_a_side_that_the_batches_lack_is_named(work, capsys):
    prepare, fit, *_ = commands()
    assert not main(prepare)
    assert main([*fit, "--data.arrays", "null", "--trainer.accelerator", "cpu"]) == 1
    message = "the batches have no 'ecg'; name the store's array column with --data.arrays '[ecg]'"
    assert message in capsys.readouterr().err


def test_a_local_branch_of_signals_trains_and_tells_what_attends_to_what(work):
    prepare, _, _, fit, predict = commands()
    assert not main(prepare)
    assert main([*fit, *QUIET, "--trainer.log_every_n_steps", "1"]) == 0
    metrics = pd.read_csv("runs/signal_matching/version_0/metrics.csv")
    loss = metrics["train/loss"].dropna()
    assert loss.iloc[-1] < 0.9 * loss.iloc[0]
    assert "train/local_logit_scale" in metrics

    assert main(predict + QUIET) == 0
    units = pd.read_parquet("runs/signal_matching/version_1/matchings.parquet")
    assert {*zip(units["grid_rows"], units["grid_columns"], strict=True)} == {(1, 8)}, "128 values, two strides of 4"
    np.testing.assert_allclose(np.stack(units["attention"]).sum(axis=1), 1, rtol=1e-5)
    assert {"effusion"} <= set(units["text"].str.lower())


@pytest.mark.parametrize(
    ("lacking", "message"),
    [
        ("self.out_channels = self.unit_channels = channels", "^SignalRegions has no out_channels, .*unit_channels"),
        ("self.unit_channels = ", "^SignalRegions has no unit_channels, .*: set self.out_channels and"),
        ("return encoded._replace", r"no grid of regions .*grid=\(rows, columns\), \(1, n\)"),
    ],
)
def test_what_an_encoder_lacks_for_a_local_branch_is_named(work, monkeypatch, lacking, message):
    code = (work / "ecg_local.py").read_text()
    assert lacking in code
    instead = {"self.unit_channels = ": "", "return encoded._replace": "return encoded or dict"}.get(lacking, "pass")
    (work / "ecg_local.py").write_text(code.replace(lacking, instead))
    monkeypatch.syspath_prepend(str(work))

    def match(cls):
        module = cls(channels=8)
        return module.local.regions(module.ecg_encoder(torch.zeros(2, 2, 128)))

    with pytest.raises(IgclError, match=message):
        match(importlib.import_module("ecg_local").SignalMatching)
