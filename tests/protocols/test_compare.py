"""`igcl compare`: methods and encoders in one table."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from lightning.pytorch import Trainer

from igcl_lightning.cli import main
from igcl_lightning.data.store import Store
from igcl_lightning.modules import IGCL


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("pretrained") / "igcl.ckpt"
    trainer = Trainer(logger=False, accelerator="cpu", enable_progress_bar=False, enable_checkpointing=False)
    trainer.strategy.connect(IGCL(image={"backbone": "test_resnet", "size": 32}, graph={"channels": 16}))
    trainer.save_checkpoint(path)
    return path


@pytest.fixture
def embeddings(phantom_store, tmp_path):
    """Features that give the first label away."""
    store = Store(phantom_store)
    rng = np.random.default_rng(0)
    frames = []
    for split in store.splits:
        noise = rng.normal(0, 0.1, (len(store.table(split)), 4))
        feature = noise + store.targets(split)[:, :1]
        frames.append(pd.DataFrame({"row": store.column(split, "row"), "feature": list(feature)}))
    path = tmp_path / "oracle.parquet"
    pd.concat(frames).to_parquet(path)
    return path


@pytest.mark.long
@pytest.mark.usefixtures("blank_pictures")
def test_methods_are_pretrained_and_compared(tmp_path, capsys):
    out = tmp_path / "compare"
    assert not main(["compare", "--fast", "--train", "igcl,convirt", "--no-supervised", "--out", str(out)])
    records = json.loads((out / "results.json").read_text())
    assert {record["method"] for record in records} == {"igcl", "convirt", "random"}
    assert {record["metric"].removesuffix("_at_least").removesuffix("_at_most") for record in records} == {
        "auroc",
        "label_savings",
        "within_patient_accuracy",
    }
    choices = [record for record in records if record["metric"] == "within_patient_accuracy"]
    assert {(record["method"], record["versus"]) for record in choices} == {
        ("igcl", None),
        ("convirt", None),
        ("igcl", "convirt"),
    }
    assert all(record["n"] == 40 for record in choices)
    printed = capsys.readouterr().out
    assert "labels saved" in printed
    assert "igcl - convirt" in printed
    assert (out / "plots/label_efficiency.png").exists()


def test_encoders_that_exist_are_compared_on_a_store(phantom_store, checkpoint, embeddings, tmp_path):
    out = tmp_path / "compare"
    words = ["compare", "--fast", "--store", str(phantom_store), "--no-supervised", "--out", str(out)]
    words += ["--checkpoint", f"ours={checkpoint}", "--encoder", str(embeddings), "--labels", "Atelectasis,Edema"]
    assert not main(words)
    records = json.loads((out / "results.json").read_text())
    auroc = {
        record["method"]: record["value"]
        for record in records
        if record["metric"] == "auroc" and record["label"] == "Atelectasis" and record["fraction"] == 1
        if record["seed"] is None and record["versus"] is None
    }
    assert set(auroc) == {"ours", "oracle", "random"}
    assert auroc["oracle"] > 0.99


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--train", "clip"], "--train: 'clip' is not one of igcl, convirt, simclr"),
        (["--store", "S"], "nothing to compare: give --checkpoint or --encoder"),
        (["--store", "S", "--train", "igcl", "--encoder", "timm:resnet18"], "--train pretrains on phantoms only"),
        (["--checkpoint", "missing.ckpt"], "missing.ckpt: no such checkpoint"),
        (["--checkpoint", "runs/epoch=9-step=100.ckpt"], "runs/epoch=9-step=100.ckpt: no such checkpoint"),
        (["--encoder", "missing.parquet"], "missing.parquet: no such file"),
        (["--encoder", "timm:resnet18x"], "timm has no model 'resnet18x'"),
        (["--encoder", "random=timm:resnet18"], "'random' is the name of a baseline"),
        (["--labels", "Edma"], "--labels: no label 'Edma', did you mean Edema?"),
        (["--labels", "Fracture"], "--labels: no label 'Fracture', only Atelectasis"),
        (["--import", "no_such_module"], "--import no_such_module: no such module"),
    ],
)
def test_what_cannot_be_compared_is_named(words, message, tmp_path, capsys):
    assert main(["compare", *words, "--out", str(tmp_path / "out")]) in (1, 2)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_name_is_checked_before_anything_is_trained(checkpoint, tmp_path, capsys):
    assert main(["compare", "--checkpoint", str(checkpoint), "--out", str(tmp_path / "out")]) == 1
    assert "two encoders are called 'igcl'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_inputs_are_not_removed_with_an_earlier_comparison(phantom_store, tmp_path, capsys):
    out = tmp_path / "compare"
    shutil.copytree(phantom_store, out / "store")
    (out / ".comparison").touch()
    words = ["compare", "--store", str(out / "store"), "--encoder", "timm:test_resnet", "--out", str(out)]
    assert main(words) == 1
    assert f"{out / 'store'}: is in --out {out}, which will be replaced" in capsys.readouterr().err
    assert (out / "store" / "manifest.json").exists()


def test_encoders_need_names_of_their_own(phantom_store, checkpoint, tmp_path, capsys):
    words = ["compare", "--store", str(phantom_store), "--out", str(tmp_path / "out")]
    assert main([*words, "--checkpoint", str(checkpoint), "--checkpoint", f"igcl={checkpoint}"]) == 1
    assert "two encoders are called 'igcl'" in capsys.readouterr().err
