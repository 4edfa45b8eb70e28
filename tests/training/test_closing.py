"""Where a run wrote, what comes next, and what a run that did not begin leaves behind: nothing."""

import os
import re
import shlex
from pathlib import Path

import pytest

from igcl_lightning.atomic import locked
from igcl_lightning.cli import main
from igcl_lightning.closing import QUIET

pytestmark = pytest.mark.usefixtures("blank_pictures")

SMALL = [
    *("--trainer.max_epochs=1", "--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1"),
    *(
        "--trainer.check_val_every_n_epoch=1",
        "--trainer.callbacks=ModelCheckpoint",
        "--trainer.callbacks.filename=last",
        "--trainer.accelerator=cpu",
    ),
    *("--model.image.backbone=test_resnet", "--model.image.size=32", "--model.graph.channels=16"),
]
PRETRAIN = ["--config", "pretrain/phantom.yaml", *SMALL, "--data.batch_size=8"]
CHECKPOINT = "runs/igcl/version_0/checkpoints/last.ckpt"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(QUIET, "0")
    for variable in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        monkeypatch.setenv(variable, "0")
    return tmp_path


def files():
    return [path for path in Path().rglob("*") if path.is_file()]


def closing(capsys):
    """Return the closing lines by title, and what stands on standard error."""
    said = capsys.readouterr()
    found = re.findall(r"^(folder|note|best|files|next|continue)  +(.+)$", said.out, re.MULTILINE)
    return dict(found), said.err


def test_each_command_names_the_next_which_runs(phantom_store, capsys):
    """From pretraining to scores, with what is printed alone."""
    store, head = ["--data.store", str(phantom_store)], "igcl fit --config probe/linear.yaml"
    assert main(["fit", *PRETRAIN, *store]) == 0
    said, errors = closing(capsys)
    assert said["folder"] == "runs/igcl/version_0"
    assert said["files"] == "checkpoints/last.ckpt, metrics.csv, config.yaml"
    assert errors.splitlines() == [line for line in errors.splitlines() if line.startswith("igcl fit: IGCL on ")]
    for config in ("probe/linear.yaml", "probe/segmentation.yaml"):
        assert main(["test", "--config", config, *store, "--ckpt_path", "runs/igcl/latest"]) == 1
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("igcl: error")]
        told = f"train one on it: igcl fit --config {config} --model.checkpoint {CHECKPOINT}"
        assert line.endswith(f"a pretrained IGCL, not a head; {told}")
    probe = f"{head} {shlex.join(store)} --model.checkpoint"
    for stage, prefix in (("validate", "val"), ("test", "test")):
        checkpoint = ["--ckpt_path", CHECKPOINT, "--trainer.accelerator=cpu"]
        assert main([stage, "--config", "pretrain/phantom.yaml", *store, *checkpoint]) == 0
        out = capsys.readouterr().out
        assert re.search(rf"^{prefix}/image_to_graph_recall@5 +[01]\.\d{{3}}$", out, re.MULTILINE), "our table"
        assert "─" not in out, "Lightning's table"
        assert f"next    {probe} {CHECKPOINT}\n" in out
    assert main([*shlex.split(head)[1:], *store, "--model.checkpoint", "runs/igcl"]) == 1
    assert "runs/igcl: a folder, not a checkpoint; of runs in it, give runs/igcl/latest" in capsys.readouterr().err
    probe = f"igcl fit --config probe/linear.yaml {shlex.join(store)} --model.checkpoint {CHECKPOINT}"
    assert said["next"] == probe
    assert main([*shlex.split(said["next"])[1:], "--trainer.accelerator=cpu"]) == 0
    said, _ = closing(capsys)
    assert said["folder"] == "runs/linear_probe/version_0"
    assert said["next"].startswith(
        f"igcl test --config probe/linear.yaml {shlex.join(store)} --ckpt_path runs/linear_probe"
    )
    head = said["folder"] + "/checkpoints/best.ckpt"
    for config, wanted in (("pretrain/phantom.yaml", "IGCL"), ("probe/segmentation.yaml", "Segmentation")):
        assert main(["test", "--config", config, *store, "--ckpt_path", head]) == 1
        assert f"igcl: error: {head}: a LinearProbe, the config is of {wanted}\n" in capsys.readouterr().err
    assert main([*shlex.split(said["next"])[1:], "--trainer.accelerator=cpu"]) == 0
    said, _ = closing(capsys)
    assert "results.json, predictions.parquet" in said["files"].replace("predictions.csv, ", "")
    assert said["next"].endswith("--data.store NEW_STORE")
    again = said["next"].replace("NEW_STORE", str(phantom_store))
    assert main([*shlex.split(again)[1:], "--trainer.accelerator=cpu"]) == 0
    said, _ = closing(capsys)
    assert "predictions.parquet" in said["files"]
    first = (Path(said["folder"]) / "predictions.csv").read_text().splitlines()[0]
    assert first.startswith("row,study,patient,"), "the same split in each row says nothing"
    assert "split" not in first


def test_a_run_without_validation_names_its_checkpoint(phantom_store, capsys):
    words = ["--trainer.callbacks", "null", "--trainer.limit_val_batches", "0", "--data.store", str(phantom_store)]
    assert main(["fit", *PRETRAIN, *words]) == 0
    said, _ = closing(capsys)
    assert said["files"].split(", ")[-3:] == ["checkpoints/last.ckpt", "metrics.csv", "config.yaml"]
    assert f"--model.checkpoint {CHECKPOINT.rpartition('/')[0]}" in said["next"]


def test_quiet_says_nothing(phantom_store, capsys):
    assert main(["fit", *PRETRAIN, "--data.store", str(phantom_store), "--quiet"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "igcl" not in said.err
    assert "epoch" not in said.err


def test_a_trial_run_writes_nothing(phantom_store, capsys):
    plots = ["--trainer.callbacks+=LearningCurve", "--trainer.callbacks+=RetrievalSheet"]
    assert main(["fit", *PRETRAIN, *plots, "--data.store", str(phantom_store), "--trainer.fast_dev_run", "true"]) == 0
    assert files() == []
    assert closing(capsys)[0] == {"note": "a trial run: nothing was written"}


@pytest.mark.parametrize(
    "words", [["--data.views", "[LATERAL]"], ["--trainer.accelerator", "gpu"], ["--ckpt_path", "half.ckpt"]]
)
def test_a_run_that_does_not_begin_leaves_nothing(phantom_store, capsys, words):
    Path("half.ckpt").write_bytes(b"PK")
    assert main(["fit", *PRETRAIN, "--data.store", str(phantom_store), *words]) == 1
    assert [str(path) for path in Path().rglob("*")] == ["half.ckpt"]
    Path("runs/igcl/version_0").mkdir(parents=True)
    assert main(["fit", *PRETRAIN, "--data.store", str(phantom_store), *words]) == 1
    assert [path.name for path in Path("runs/igcl").iterdir()] == ["version_0"], "what was there stays"


def test_nothing_left_to_do(phantom_store, capsys):
    words = ["fit", *PRETRAIN, "--data.store", str(phantom_store), "--trainer.logger.version=0"]
    assert main(words) == 0
    metrics = Path("runs/igcl/version_0/metrics.csv").read_text()
    assert main([*words, "--ckpt_path", CHECKPOINT]) == 0
    assert closing(capsys)[0]["note"] == "nothing was left to do"
    assert Path("runs/igcl/version_0/metrics.csv").read_text() == metrics
    assert main([*words, "--ckpt_path", CHECKPOINT, "--trainer.max_epochs", "0"]) == 1
    assert (
        f"{CHECKPOINT}: trained for 1 epochs, trainer.max_epochs is 0: set it to 2 or more" in capsys.readouterr().err
    )
    gone = str(Path(CHECKPOINT).with_name("lats.ckpt"))
    assert (
        main(["fit", "--config", "probe/linear.yaml", "--data.store", str(phantom_store), "--model.checkpoint", gone])
        == 1
    )
    assert f"{gone}: no such checkpoint, did you mean {CHECKPOINT}?" in capsys.readouterr().err


def test_two_runs_do_not_write_into_one_folder(phantom_store, capsys):
    folder = Path("runs/igcl/version_0")
    folder.mkdir(parents=True)
    words = ["fit", *PRETRAIN, "--data.store", str(phantom_store), "--trainer.logger.version=0"]
    with locked(folder):
        assert main(words) == 1
    assert "runs/igcl/version_0: another run is writing to it" in capsys.readouterr().err
    assert files() == []
    assert main(words) == 0
    assert main([*words, "--ckpt_path", CHECKPOINT, "--trainer.max_epochs=2"]) == 0, "a run releases its folder"


def test_a_checkpoint_whose_bytes_changed_is_refused(phantom_store, capsys):
    words = ["fit", *PRETRAIN, "--data.store", str(phantom_store)]
    assert main(words) == 0
    path = Path(CHECKPOINT)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = os.urandom(200)
    path.write_bytes(content)
    assert main([*words, "--ckpt_path", CHECKPOINT]) == 1
    assert f"{CHECKPOINT}: damaged, its part" in capsys.readouterr().err
