"""The module of docs/new_modality.md, run as the page says, from outside the package."""

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from igcl_lightning.cli import main
from igcl_lightning.data.sources.phantom import phantom_study
from igcl_lightning.modules.base import BaseModule

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
    (tmp_path / "ecg.py").write_text(blocks("python")[0])
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
    sys.modules.pop("ecg", None)


def test_the_code_is_short():
    code = [line for line in blocks("python")[0].splitlines() if line.strip()]
    assert len(code) < 40


def test_a_module_from_outside_trains_against_graphs(work):
    prepare, fit, predict = commands()
    assert not main(prepare)
    quiet = ["--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"]
    assert main(fit + quiet) == 0
    metrics = pd.read_csv("runs/signal_graph/version_0/metrics.csv")
    loss = metrics["train/loss"].dropna()
    assert loss.iloc[-1] < 0.9 * loss.iloc[0]
    assert "val/ecg_to_graph_recall@5" in metrics

    assert main(predict + quiet) == 0
    embeddings = pd.read_parquet("runs/signal_graph/version_1/embeddings.parquet")
    assert {"row", "study", "patient", "ecg", "graph"} <= set(embeddings)
    np.testing.assert_allclose(np.linalg.norm(np.stack(embeddings["ecg"]), axis=1), 1, rtol=1e-5)
    reloaded = BaseModule.load_from_checkpoint("runs/signal_graph/version_0/checkpoints/last.ckpt")
    assert type(reloaded).__name__ == "SignalGraph"


def test_a_side_that_the_batches_lack_is_named(work, capsys):
    prepare, fit, _ = commands()
    assert not main(prepare)
    assert main([*fit, "--data.arrays", "null", "--trainer.accelerator", "cpu"]) == 1
    assert (
        "the batches have no 'ecg'; name the store's array column with --data.arrays [ecg]" in capsys.readouterr().err
    )
