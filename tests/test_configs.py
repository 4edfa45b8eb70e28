"""Every shipped YAML runs through the command line, on phantoms and with tiny limits."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from lightning.pytorch import Trainer

from igcl_lightning.cli import main
from igcl_lightning.data.masks import mask_names, mask_targets
from igcl_lightning.data.store import Store
from igcl_lightning.modules import IGCL
from igcl_lightning.training import lightning_cli as _training
from igcl_lightning.training.monitors import known_metrics
from igcl_lightning.training.options import shipped_configs

CONFIGS = sorted(path.relative_to(shipped_configs()).as_posix() for path in shipped_configs().rglob("*.yaml"))
ZERO_SHOT = "probe/zero_shot.yaml"
SEGMENTATION = "probe/segmentation.yaml"
WHOLE = [config for config in CONFIGS if config.split("/")[0] in ("pretrain", "probe") and config != ZERO_SHOT]
FRAGMENTS = [config for config in CONFIGS if config.split("/")[0] in ("callbacks", "logger")]
HEADS = ("probe/linear.yaml", "probe/few_shot.yaml", "probe/fine_tune.yaml")
SMALL = ["--model.image.backbone", "test_resnet", "--model.image.size", "32"]
NARROW = [
    *("--model.image.weights", "none", "--model.graph.node_text_channels", "0"),
    *("--model.graph.channels", "32", "--data.node_text", "false"),
]
BATCH = ["--data.batch_size", "16", "--data.num_workers", "0"]
QUIET = ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
SHORT = ["--trainer.max_epochs", "1", "--trainer.check_val_every_n_epoch", "1", "--trainer.log_every_n_steps", "1"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_igcl(tmp_path_factory.mktemp("pretrained") / "igcl.ckpt")


def save_igcl(path):
    """Save a tiny model with random weights, for heads to read."""
    trainer = Trainer(logger=False, accelerator="cpu", enable_progress_bar=False, enable_checkpointing=False)
    trainer.strategy.connect(IGCL(image={"backbone": "test_resnet", "size": 32}, graph={"channels": 16}))
    trainer.save_checkpoint(path)
    return path


def csv_logger(folder):
    return ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", str(folder), "--trainer.logger.name", "run"]


def small_model(config, checkpoint, folder):
    """Options that make a config's model tiny, or give a head its encoder."""
    if config in HEADS:
        return ["--model.checkpoint", str(checkpoint), "--data.feature_cache", str(folder / "features")]
    return SMALL + NARROW if config in ("pretrain/igcl_paper.yaml", "pretrain/igcl_authors.yaml") else SMALL


@pytest.fixture
def fitted(monkeypatch):
    """Trainer, model and data of the last fit of the command line."""
    parts = []
    check = _training.refuse_unknown_monitors
    monkeypatch.setattr(_training, "refuse_unknown_monitors", lambda *given: parts.extend([given]) or check(*given))
    return lambda: parts[-1]


def logged(run):
    columns = set(pd.read_csv(run / "metrics.csv").columns) - {"epoch", "step"}
    return {name for name in columns if not name.startswith("lr-")}


def never_defined(store):
    """What has no value on this store: the AUROC of labels of which a split shows one class only."""
    store = Store(store)
    for stage, split in (("val", "valid"), ("test", "test")):
        target = store.targets(split)
        for name, values in zip(store.labels, target.T, strict=True):
            if len(np.unique(values[~np.isnan(values)])) < 2:
                yield f"{stage}/auroc_{name}"
                yield f"{stage}/online_auroc_{name}"
        yield f"{stage}/within_patient_accuracy"  # where no patient has two reports
        names = mask_names(store)
        has = (mask_targets(store, split, names) == 1).any(axis=0)
        yield from (f"{stage}/dice_positives_{name}" for name, some in zip(names, has, strict=True) if not some)


def test_there_are_configs_for_every_job():
    assert {Path(config).parent.name for config in CONFIGS} >= {"pretrain", "probe", "callbacks", "logger"}


@pytest.mark.usefixtures("blank_pictures")
@pytest.mark.parametrize("config", WHOLE)
def test_config_fits_tests_and_leaves_a_run_folder(config, phantom_store, checkpoint, tmp_path, fitted):
    model = small_model(config, checkpoint, tmp_path)
    words = ["--config", config, "--data.store", str(phantom_store), *csv_logger(tmp_path), *BATCH, *QUIET, *model]
    assert main(["fit", *words, *SHORT]) == 0
    run = tmp_path / "run" / "version_0"
    assert (run / "config.yaml").exists()
    assert (run / "metrics.csv").read_text()
    stored = sorted((run / "checkpoints").glob("*.ckpt"))
    assert {path.stem for path in stored} <= {"best", "last"}
    assert "state_dict" in torch.load(stored[0], weights_only=True)
    trainer, module, data = fitted()
    declared = known_metrics(trainer.callbacks, module, data)
    assert logged(run) <= declared <= logged(run) | set(never_defined(phantom_store))
    kept = trainer.checkpoint_callback
    if kept.monitor is not None:  # the store has few validation pairs
        heads = "val/dice" if config == SEGMENTATION else "val/auroc_mean"
        assert kept.monitor == (heads if config.startswith("probe/") else "val/loss")
        assert kept.best_model_score == trainer.callback_metrics[kept.monitor]

    assert main(["test", *words, "--ckpt_path", str(stored[0])]) == 0
    declared = {name for name in module.logged_metrics(data) if name.startswith("test/")}
    tested = logged(tmp_path / "run" / "version_1")
    assert tested <= declared <= tested | set(never_defined(phantom_store))
    if config.startswith("probe/"):
        table = "segmentation" if config == SEGMENTATION else "predictions"
        assert (tmp_path / "run" / "version_1" / f"{table}.parquet").exists()
        assert (tmp_path / "run" / "version_1" / "results.json").exists()
    else:
        assert list((run / "plots").glob("*.png"))
        first, second = module.sides
        assert {f"test/{first}_to_{second}_recall@5", f"test/{second}_to_{first}_recall@1"} <= tested


@pytest.mark.parametrize("job", ["validate", "test", "predict"])
def test_zero_shot_needs_no_fit(job, phantom_store, checkpoint, tmp_path):
    words = ["--config", ZERO_SHOT, "--data.store", str(phantom_store), *csv_logger(tmp_path), *BATCH, *QUIET]
    assert main([job, *words, "--model.checkpoint", str(checkpoint)]) == 0
    files = {path.name for path in (tmp_path / "run" / "version_0").iterdir()}
    predictions = {"predictions.csv", "predictions.parquet"}
    expected = {"validate": set(), "test": predictions | {"prompts.csv", "results.json"}, "predict": predictions}
    assert files - {"config.yaml", "hparams.yaml", "metrics.csv"} == expected[job]
    if job != "predict":
        stage = {"validate": "val", "test": "test"}[job]
        undefined = {name for name in never_defined(phantom_store) if name.startswith(f"{stage}/auroc")}
        names = {f"{stage}/auroc_{name}" for name in (*Store(phantom_store).labels, "mean", "labels")}
        assert logged(tmp_path / "run" / "version_0") == names - undefined


def test_the_run_folder_of_a_preset_has_the_name_of_its_method():
    """By the class, unless two presets share one: commands of one page must not mix their runs."""
    for path in shipped_configs().glob("pretrain/*.yaml"):
        options = yaml.safe_load(path.read_text())
        usual = {"init_args": {"name": options["model"]["class_path"].lower()}}
        name = options["trainer"].get("logger", usual)["init_args"]["name"]
        assert name == (path.stem.removeprefix("phantom_") if path.stem != "phantom" else "igcl")


@pytest.mark.usefixtures("blank_pictures")
@pytest.mark.parametrize("config", FRAGMENTS)
def test_fragment_adds_to_a_config(config, phantom_store, tmp_path, monkeypatch, fitted):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)
    words = ["--config", "pretrain/phantom.yaml", "--config", config, "--data.store", str(phantom_store), *SMALL]
    words += ["--trainer.logger.offline", "true"] if config.startswith("logger/") else csv_logger(tmp_path)
    if config == "callbacks/final_probe.yaml":  # the tiny store has too few rows for a share of them
        words += ["--trainer.callbacks.fraction", "1.0"]
    assert main(["fit", *words, *BATCH, *QUIET, *SHORT]) == 0
    assert list(tmp_path.rglob("plots/learning_curve.png")), "the callbacks of the first config are still there"
    if config == "logger/wandb.yaml":
        assert list(tmp_path.rglob("offline-run-*"))
    if config == "callbacks/comfort.yaml":
        trainer, module, data = fitted()
        names, declared = logged(tmp_path / "run" / "version_0"), known_metrics(trainer.callbacks, module, data)
        assert {"val/rankme_image", "val/online_auroc_mean", "train/samples_per_second"} <= names
        assert names <= declared <= names | set(never_defined(phantom_store))
