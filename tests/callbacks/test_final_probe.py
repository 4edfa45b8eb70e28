"""The probe at the end of fit has the numbers of `probe/linear.yaml` on the same checkpoint."""

import json
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from igcl_lightning.callbacks.final_probe import FinalProbe, _best_checkpoint
from igcl_lightning.cli import main

MODEL = ["--model.image.backbone", "test_resnet", "--model.image.size", "32", "--model.graph.channels", "16"]
QUIET = ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
SHORT = [*MODEL, *QUIET, "--data.batch_size", "16", "--data.num_workers", "0", "--trainer.max_epochs", "1"]


def fit(folder, store, *words, config="pretrain/igcl.yaml"):
    logger = ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", str(folder)]
    return main(["fit", "--config", config, "--data.store", str(store), *logger, *words])


@pytest.fixture(scope="module")
def probed(tmp_path_factory, phantom_store):
    """A pretraining run that ends with a probe of three draws of half of the labels; returns its folder."""
    folder = tmp_path_factory.mktemp("probed")
    probe = ["--trainer.callbacks=FinalProbe", "--trainer.callbacks.fraction=0.5", "--trainer.callbacks.draws=3"]
    assert fit(folder, phantom_store, *SHORT, *probe) == 0
    return folder / "igcl" / "version_0"


def test_its_numbers_are_those_of_the_linear_probe(probed, phantom_store, tmp_path):
    words = ["--model.checkpoint", str(next((probed / "checkpoints").glob("*.ckpt"))), "--data.draws", "3"]
    words += ["--data.fraction", "0.5", "--data.feature_cache", str(tmp_path / "cache"), *QUIET]
    assert fit(tmp_path, phantom_store, *words, config="probe/linear.yaml") == 0
    expected = pd.read_csv(tmp_path / "linear_probe" / "version_0" / "metrics.csv")
    found = pd.read_csv(probed / "metrics.csv")
    labels = [name.removeprefix("val/auroc_") for name in expected if name.startswith("val/auroc_")]
    labels.remove("labels")
    assert len(labels) > 3
    for label in labels:
        (ours,) = found[f"val/probe_auroc_{label}"].dropna()
        assert ours == pytest.approx(expected[f"val/auroc_{label}"].dropna().iloc[-1], abs=1e-6), label


def test_results_have_validation_rows_only(probed, phantom_store):
    records = json.loads((probed / "results.json").read_text())
    assert {record["split"] for record in records} == {"valid"}
    assert {record["seed"] for record in records} == {0, 1, 2, None}
    assert {record["fraction"] for record in records} == {0.5}
    (mean,) = [each["value"] for each in records if each["label"] == "mean" and each["seed"] is None]
    assert pd.read_csv(probed / "metrics.csv")["val/probe_auroc_mean"].dropna().tolist() == [pytest.approx(mean)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--trainer.callbacks.fraction=0"], "data.fraction is 0.0, not in (0, 1]"),
        (["--trainer.callbacks.labels=[Nothing]"], "Nothing"),
        (["--trainer.callbacks.features=all"], "FinalProbe.features 'all' is not one of pooled, projected"),
    ],
)
def test_mistakes_are_found_before_training(words, message, phantom_store, tmp_path, capsys):
    assert fit(tmp_path, phantom_store, *SHORT, "--trainer.callbacks=FinalProbe", *words) in (1, 2)
    assert message in capsys.readouterr().err
    assert not list(tmp_path.rglob("metrics.csv"))


def test_it_probes_the_best_checkpoint_or_the_last():
    for paths, expected in ((("best", "last"), "best"), (("", "last"), "last"), (("", ""), "")):
        callback = SimpleNamespace(best_model_path=paths[0], last_model_path=paths[1])
        assert _best_checkpoint(SimpleNamespace(checkpoint_callback=callback)) == expected
    assert _best_checkpoint(SimpleNamespace(checkpoint_callback=None)) == ""


def test_a_label_needs_both_classes_in_all_draws():
    probe = FinalProbe(draws=2)
    draws = [torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.0, 1.0], [1.0, 1.0]])]
    probe._rows = SimpleNamespace(drawn_targets=lambda: draws)
    assert probe._trained().tolist() == [True, False]
