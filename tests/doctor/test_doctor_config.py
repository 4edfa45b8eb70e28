import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from broken_stores import change_row, said, study, write_store

from igcl_lightning.data.study import VIEWS
from igcl_lightning.doctor.batch_checks import (
    batch_norm_finding,
    check_accumulation,
    check_batch_norm,
    check_batches,
    check_monitors,
    check_pairs,
)
from igcl_lightning.doctor.config import Config
from igcl_lightning.doctor.config_checks import (
    check_image_size,
    check_length,
    check_normalisation,
    check_selection,
    check_shared_texts,
    check_store_path,
    check_targets,
    check_wandb,
    expected_partners,
)
from igcl_lightning.doctor.examination import examine
from igcl_lightning.doctor.looks import evenly, look_at
from igcl_lightning.doctor.opened import OpenedStore
from igcl_lightning.doctor.report_checks import check_graphs

MODEL = {"image": {"backbone": "resnet10t", "size": 32}, "graph": {"channels": 16}, "projection": {"channels": 8}}


@pytest.fixture
def config(tmp_path, phantom_store):
    """Write a small config that is right, with some options changed, and parse it."""

    def made(*words, model=MODEL, data=None, trainer=None, parse=True):
        path = tmp_path / "small.yaml"
        options = {
            "model": {"class_path": "IGCL", "init_args": model},
            "data": {
                "class_path": "PairedDataModule",
                "init_args": {"store": str(phantom_store), "batch_size": 8} | (data or {}),
            },
            "trainer": {"max_epochs": 1, "accelerator": "cpu", "callbacks": []} | (trainer or {}),
        }
        path.write_text(yaml.safe_dump(options))
        return Config(["--config", str(path), *words]) if parse else path

    return made


def test_a_good_config_is_parsed_and_built(config, phantom_store):
    good = config()
    assert good.findings == []
    assert good.options
    assert good.store_path == phantom_store
    assert type(good.model).__name__ == "IGCL"
    assert good.connect() == []
    store = OpenedStore(phantom_store)
    looks = look_at(store, evenly(store.num_rows, 0), 1)
    findings = [
        *check_store_path(good),
        *check_selection(good, store),
        *check_pairs(good, store),
        *check_accumulation(good, store),
        *check_batch_norm(good),
        *check_batches(good, store),
        *check_length(good),
        *check_image_size(good, store),
        *check_normalisation(good, looks),
        *check_targets(good, store),
        *check_wandb(good),
    ]
    assert {finding.level for finding in findings} == {"ok"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data.stor", "x"], "--data.stor: unknown option, did you mean --data.store?"),
        (["--model.graph.readout", "sum"], "readout"),
        (["--model.image.size", "wide"], "--model.image.size: expected int, got 'wide'"),
        (["--trainer.accelerator", "gpu"], "gpu"),
        (["--model.image.backbone", "resnet0"], "timm has no model 'resnet0'"),
        (["--model.loss.temperature", "-1"], "model.loss.temperature is -1.0, not above 0"),
    ],
)
def test_a_mistake_is_one_line(config, words, message):
    if "gpu" in words and torch.cuda.is_available():
        pytest.skip("a GPU is there")
    findings = config(*words).findings
    assert [finding.level for finding in findings] == ["error"]
    assert message in findings[0].message


def test_several_mistakes_are_several_findings(config):
    findings = config("--model.loss.temperature", "-1", "--trainer.max_epochs", "-5").findings
    assert len(said(findings, "error")) == 2


def test_what_the_trainer_changes_is_a_warning(config):
    if torch.cuda.is_available():
        pytest.skip("a GPU has that precision")
    assert "not supported on CPU" in said(config("--trainer.precision", "16-mixed").findings, "warning")[0]


def test_a_store_that_is_not_there_is_named(config, tmp_path):
    missing = config("--data.store", str(tmp_path / "none"))
    assert said(check_store_path(missing), "error") == [
        f"{tmp_path / 'none'}: no such store; make it with `igcl prepare`, or give --data.store STORE"
    ]


def test_a_store_that_is_streamed_is_not_looked_at(config):
    streamed = config("--data.store", "hf://datasets/someone/store")
    message = "hf://datasets/someone/store: its rows are streamed, so only the config itself was checked"
    assert said(check_store_path(streamed)) == [message]


def test_labels_and_views_that_the_store_lacks_are_named(config, phantom_store):
    store = OpenedStore(phantom_store)
    views = config("--data.views", "[PB, lateral]")
    assert said(check_selection(views, store), "error") == [
        f"'PB' is not one of {', '.join(VIEWS)}",
        "no training row has a view of PB, lateral",
    ]
    some = config("--data.views", "[PA]")
    kept = int((store.ids["view"] == "PA").sum())
    assert said(check_selection(some, store), "ok") == [f"keeps {kept} of 72 rows"]
    words = ["--data.store", str(phantom_store), "--data.labels", "[Edema, Gout]"]
    labelled = Config(["--config", "probe/supervised.yaml", *words])
    message = said(check_selection(labelled, store), "error")[0]
    assert message.startswith("the store has no label 'Gout', only ")


def test_batch_and_workers_are_compared_with_rows_and_cores(config, phantom_store):
    store = OpenedStore(phantom_store)
    rows = len(store.tables["train"])
    large = config("--data.batch_size", "1000", "--data.num_workers", "999")
    assert said(check_batches(large, store), "warning") == [
        f"data.batch_size is 1,000, there are {rows} training rows",
        said(check_batches(large, store), "warning")[1],
    ]
    assert "data.num_workers is 999, this machine has" in said(check_batches(large, store), "warning")[1]
    assert "not at least 1" in said(check_batches(config("--data.batch_size", "0"), store), "error")[0]
    assert f"{rows // 8} batches of 8 an epoch" in said(check_batches(config(), store), "ok")[0]


def half_empty(tmp_path):
    """A store of 20 training rows, 6 of them without a report, one with words and no entity."""
    texts = ["Small effusion."] * 13 + ["Comparison: none."] + [""] * 6
    studies = [study(number, report={"findings": text}, split="train") for number, text in enumerate(texts)]
    return OpenedStore(write_store(tmp_path / "half", studies))


def test_rows_that_are_no_pairs_are_counted_as_training_counts_them(config, tmp_path):
    store = half_empty(tmp_path)
    (finding,) = check_pairs(config(), store)
    assert (finding.level, finding.numbers) == ("warning", {"empty": 7, "rows": 20})
    assert "7 of 20 (35 %) training rows lack a report with entities: pretraining leaves them out" in finding.message
    assert "1 batch of 8 an epoch, 5 rows of each left over" in said(check_batches(config(), store), "ok")[0]
    share = config("--data.fraction", "0.7")  # of 13 patients
    assert "1 batch of 8 an epoch, 1 row of each left over" in said(check_batches(share, store), "ok")[0]
    (finding,) = check_pairs(config("--data.keep_empty", "true"), store)
    assert "kept, with equal embeddings and as each other's negatives" in finding.message
    assert "2 batches of 8 an epoch, 4 rows" in said(check_batches(config("--data.keep_empty", "true"), store), "ok")[0]
    words = ["--data.store", str(store.path)]
    (finding,) = check_pairs(Config(["--config", "pretrain/phantom_convirt.yaml", *words]), store)
    assert finding.numbers == {"empty": 6, "rows": 20}
    assert list(check_pairs(Config(["--config", "pretrain/phantom_simclr.yaml", *words]), store)) == []


def test_few_rows_that_are_no_pairs_are_ok(config, tmp_path):
    texts = ["Small effusion."] * 39 + [""]
    studies = [study(number, report={"findings": text}, split="train") for number, text in enumerate(texts)]
    store = OpenedStore(write_store(tmp_path / "few", studies))
    (finding,) = check_pairs(config(), store)
    assert (finding.level, finding.numbers) == ("ok", {"empty": 1, "rows": 40})
    assert said(check_graphs(store), "warning") == []


@pytest.mark.parametrize("words", [["--data.batch_size", "1"], ["--data.batch_size", "8", "--data.views", "[AP]"]])
def test_batches_of_one_pair_are_an_error(config, tmp_path, words):
    one = replace(study(40).images[0], view="AP")
    rows = [study(n, split="train") for n in range(5)] + [study(40, images=(one,), split="train")]
    store = OpenedStore(write_store(tmp_path / "one", rows))
    given = config(*words, "--data.store", str(store.path))
    assert said(check_batches(given, store), "error") == ["a batch of one pair has no negatives: its loss is always 0"]
    two = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--data.batch_size", "1"]
    assert said(check_batches(config(*two, "--data.store", str(store.path)), store), "error") == []


def test_accumulated_gradients_add_no_negatives(config, phantom_store):
    store = OpenedStore(phantom_store)
    assert list(check_accumulation(config(), store)) == []
    (finding,) = check_accumulation(config("--trainer.accumulate_grad_batches", "4"), store)
    assert finding.level == "warning"
    assert "a pair has 7, from its own batch, not from all 32 pairs" in finding.message
    two = ["--trainer.accumulate_grad_batches", "4", "--trainer.devices", "2", "--trainer.strategy", "ddp"]
    (finding,) = check_accumulation(config(*two), store)
    assert finding.numbers == {"others": 15}
    words = ["--config", "probe/supervised.yaml", "--data.store", str(phantom_store), *two[:2]]
    assert list(check_accumulation(Config(words), store)) == []


def test_batch_norm_of_one_process_is_a_warning(config):
    assert list(check_batch_norm(config())) == []
    two = ["--trainer.devices", "2", "--trainer.strategy", "ddp"]
    (finding,) = check_batch_norm(config(*two))
    assert finding.level == "warning"
    assert finding.message == (
        "sees the 8 rows of its own process only, of 2 processes; torch synchronises it on GPUs only"
    )
    (finding,) = check_batch_norm(config(*two, "--trainer.sync_batchnorm", "true"))
    assert (finding.level, finding.message) == ("error", "trainer.sync_batchnorm works on GPUs only: leave it out")
    assert batch_norm_finding(8, 2, synchronised=True, device="cuda").level == "ok"
    assert batch_norm_finding(8, 2, False, "cuda").message.endswith("2 processes: add --trainer.sync_batchnorm true")
    without = config(*two, "--model.image.backbone", "vit_tiny_patch16_224", "--model.image.size", "32")
    assert without.model is not None
    assert not [name for name, _ in without.model.named_buffers() if "running_mean" in name]
    assert list(check_batch_norm(without)) == []


def test_a_run_without_an_end_is_an_error(config):
    assert "has no end" in said(check_length(config("--trainer.max_epochs", "-1")), "error")[0]


def test_images_that_are_blown_up_are_a_warning(config, phantom_store):
    large = config("--model.image.size", "96")
    message = "the model sees 96 pixels a side, the store has 64: images are enlarged; prepare larger"
    assert said(check_image_size(large, OpenedStore(phantom_store)), "warning") == [message]


def test_a_normalisation_far_from_the_images_is_a_warning(config, phantom_store):
    store = OpenedStore(phantom_store)
    looks = look_at(store, evenly(store.num_rows, 0), 1)
    for words in (["--model.image.mean", "0.05"], ["--model.image.std", "0.9"]):
        assert "far apart" in said(check_normalisation(config(*words), looks), "warning")[0]


def test_expected_partners_are_those_of_all_batches():
    values = ["a", "a", "a", "b", "b", "c"]
    pairs = [(one, other) for one, other in product(range(6), repeat=2) if one != other]
    alike = np.mean([values[one] == values[other] for one, other in pairs])
    assert expected_partners(values, 4) == pytest.approx(alike * 3)
    # rows without a value are partners of none
    assert expected_partners(["a", "a"], 4, rows=6) == pytest.approx(2 / 30 * 3)
    assert expected_partners([], 4, rows=0) == 0


def test_identical_reports_as_negatives_are_a_warning(config, tmp_path):
    texts = ["No edema."] * 8 + ["Small effusion."] * 4
    studies = [study(n, split="train", report={"findings": text}) for n, text in enumerate(texts)]
    store = OpenedStore(write_store(tmp_path / "alike", studies))
    warned = said(check_targets(config("--model.loss.targets", "identity"), store), "warning")
    assert "per row of a batch of 8, 3.6 other rows state the same" in warned[0]
    assert "targets 'graph' would make them positives" in warned[0]
    assert said(check_targets(config("--model.loss.targets", "graph"), store), "warning") == []
    assert "each study has one image" in said(check_targets(config("--model.loss.targets", "study"), store))[0]


@pytest.mark.parametrize(("alike", "level"), [(0, None), (2, None), (3, "warning")])
def test_many_studies_of_one_text_are_a_warning_unless_targets_read_graphs(config, tmp_path, alike, level):
    texts = ["No edema."] * alike + [f"Effusion of {number} mm." for number in range(20 - alike)]
    studies = [study(number, split="train", report={"findings": text}) for number, text in enumerate(texts)]
    store = OpenedStore(write_store(tmp_path / "alike", studies))
    found = [*check_shared_texts(config("--model.loss.targets", "identity"), store)]
    assert [each.level for each in found] == ([level] if level else [])
    if found:
        assert "3 of 20 (15 %) studies share their whole text with another (a warning above 10 %)" in found[0].message
    assert list(check_shared_texts(config("--model.loss.targets", "graph"), store)) == []


@pytest.mark.parametrize(("pairs", "warned"), [(19, True), (20, False)])
def test_recall_among_few_pairs_is_no_choice(config, tmp_path, pairs, warned):
    rows = [study(number, split="valid" if number < pairs else "train") for number in range(22)]
    rows.append(study(22, split="valid", report={"findings": ""}))  # no pair
    store = OpenedStore(write_store(tmp_path / "few", rows))
    path = "lightning.pytorch.callbacks.ModelCheckpoint"
    callback = {"class_path": path, "init_args": {"monitor": "val/image_to_graph_recall@5", "mode": "max"}}
    given = config("--data.store", str(store.path), trainer={"callbacks": [callback]})
    found = [*check_monitors(given, store)]
    assert [each.level for each in found] == (["warning"] if warned else [])
    if warned:
        assert (
            "says little among 19 validation pairs: a fit chooses the best checkpoint by val/loss" in found[0].message
        )
    assert list(check_monitors(config("--data.store", str(store.path)), store)) == []


def test_a_wandb_logger_needs_an_account_or_runs_offline(config, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_MODE", "WANDB_API_KEY", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    logger = {"class_path": "lightning.pytorch.loggers.WandbLogger", "init_args": {"save_dir": str(tmp_path)}}
    online = config(trainer={"logger": logger})
    assert "needs an account" in said(check_wandb(online), "warning")[0]
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password made-up\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert said(check_wandb(online)) == []
    (tmp_path / ".netrc").unlink()
    assert said(check_wandb(config("--trainer.logger.offline", "true", trainer={"logger": logger}))) == ["runs offline"]


def test_a_checkpoint_is_read_as_data_and_named_where_it_is_not(tmp_path, phantom_store):
    words = ["--config", "probe/linear.yaml", "--data.store", str(phantom_store), "--trainer.accelerator", "cpu"]
    missing = Config([*words, "--model.checkpoint", str(tmp_path / "none.ckpt")])
    assert said(missing.findings, "error") == [f"{tmp_path / 'none.ckpt'}: no such checkpoint"]
    resumed = Config([*words, "--ckpt_path", str(tmp_path / "none.ckpt")])
    assert said(resumed.findings, "error") == [f"{tmp_path / 'none.ckpt'}: no such checkpoint"]
    torch.save({"state_dict": {}, "code": Path}, tmp_path / "code.ckpt")
    code = Config([*words, "--model.checkpoint", str(tmp_path / "code.ckpt")])
    assert said(code.findings, "error") == [f"{tmp_path / 'code.ckpt'}: not a checkpoint that loads as plain data"]


def test_a_config_is_examined_with_its_store(config, store):
    path = config(data={"store": str(store)}, parse=False)
    change_row(store, "test", 0, patient="patient-0")
    done = examine(str(path), ["--data.batch_size", "4"], rows=0, speed=True)
    assert done.failed
    assert any("patient-0" in message for message in said(done.findings, "error"))
    speed = [(finding.level, finding.message) for finding in done.findings if finding.check == "speed"]
    assert speed == [("not examined", "a training with errors cannot be measured")]
    done.write_record(store.parent / "findings.json")
    assert json.loads((store.parent / "findings.json").read_text())["rows"] == {"train": 8, "valid": 2, "test": 2}


def test_a_store_without_graphs_fails_the_config_that_reads_them(config, tmp_path):
    path = write_store(tmp_path / "bare", [study(number, report={}) for number in range(12)])
    done = examine(str(config(data={"store": str(path)}, parse=False)), [], rows=0, speed=False)
    assert any("nothing to contrast" in message for message in said(done.findings, "error"))


def test_loader_and_model_are_measured(config, phantom_store):
    done = examine(str(config(parse=False)), [], rows=8, speed=True)
    assert said(done.findings, "error") == []
    finding = next(finding for finding in done.findings if finding.check == "speed")
    assert finding.numbers["loader"] > 0
    assert finding.numbers["model"] > 0
    assert "is the limit" in finding.message
