"""Every shipped YAML runs through the command line, on phantoms and with tiny limits."""

from pathlib import Path

import pytest
import torch

from igcl_lightning._usage import shipped_configs
from igcl_lightning.cli import main
from igcl_lightning.modules import IGCL

CONFIGS = sorted(path.relative_to(shipped_configs()).as_posix() for path in shipped_configs().rglob("*.yaml"))
FRAGMENTS = {"logger/wandb.yaml"}
SMALL = ["--model.backbone", "test_resnet", "--model.image_size", "32"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from lightning.pytorch import Trainer

    path = tmp_path_factory.mktemp("pretrained") / "igcl.ckpt"
    trainer = Trainer(logger=False, accelerator="cpu", enable_progress_bar=False, enable_checkpointing=False)
    trainer.strategy.connect(IGCL("test_resnet", 32, graph_channels=16))
    trainer.save_checkpoint(path)
    return path


def words(command, config, store, folder):
    # A constant run folder, no workers, one short epoch: the rest is the config's own.
    logger = ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", str(folder), "--trainer.logger.name", "run"]
    return [
        *(command, "--config", config, "--data.store", str(store), *logger),
        *("--data.batch_size", "16", "--data.num_workers", "0", "--trainer.accelerator", "cpu"),
        *(
            "--trainer.max_epochs",
            "1",
            "--trainer.check_val_every_n_epoch",
            "1",
            "--trainer.enable_progress_bar",
            "false",
        ),
    ]


def test_there_are_configs_for_every_job():
    assert {Path(config).parent.name for config in CONFIGS} >= {"pretrain", "probe"}


@pytest.mark.parametrize("config", [name for name in CONFIGS if name not in FRAGMENTS])
def test_config_fits_tests_and_leaves_a_run_folder(config, phantom_store, checkpoint, tmp_path):
    fit = words("fit", config, phantom_store, tmp_path)
    if config in ("probe/linear.yaml", "probe/few_shot.yaml"):
        fit += ["--model.checkpoint", str(checkpoint), "--data.feature_cache", str(tmp_path / "features")]
    else:
        fit += SMALL
    assert main(fit) == 0
    run = tmp_path / "run" / "version_0"
    assert (run / "config.yaml").exists()
    assert (run / "metrics.csv").read_text()
    (best,) = (
        (run / "checkpoints").glob("[bl][ea]st.ckpt")
        if not (run / "checkpoints" / "best.ckpt").exists()
        else [run / "checkpoints" / "best.ckpt"]
    )
    assert "state_dict" in torch.load(best, weights_only=True)

    test = words("test", config, phantom_store, tmp_path)
    test = [*test[: test.index("--trainer.max_epochs")], "--trainer.enable_progress_bar", "false"]
    if "data.feature_cache" in " ".join(fit):
        test += ["--model.checkpoint", str(checkpoint), "--data.feature_cache", str(tmp_path / "features")]
    else:
        test += SMALL
    assert main([*test, "--ckpt_path", str(best)]) == 0
    if config.startswith("probe/"):
        assert (tmp_path / "run" / "version_1" / "predictions.parquet").exists()
        assert (tmp_path / "run" / "version_1" / "results.json").exists()
    else:
        assert list((run / "plots").glob("*.png"))


@pytest.mark.parametrize("config", sorted(FRAGMENTS))
def test_fragment_merges_into_a_config(config, phantom_store, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)
    fit = ["fit", "--config", "pretrain/phantom.yaml", "--config", config, *SMALL, "--data.store", str(phantom_store)]
    fit += [
        "--trainer.logger.offline",
        "true",
        "--trainer.logger.save_dir",
        str(tmp_path),
        "--trainer.accelerator",
        "cpu",
    ]
    fit += [
        "--trainer.max_epochs",
        "1",
        "--trainer.check_val_every_n_epoch",
        "1",
        "--trainer.enable_progress_bar",
        "false",
    ]
    assert main(fit) == 0
    assert list(tmp_path.rglob("offline-run-*"))
    assert list(tmp_path.rglob("plots/learning_curve.png"))
