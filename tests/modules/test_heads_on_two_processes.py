"""Probes, supervised training and the writers of files: two processes give the files and metrics of one."""

import json
from functools import partial

import numpy as np
import pandas as pd
import pytest
from lightning.pytorch import Trainer

from igcl_lightning.cli import main
from igcl_lightning.data.phantom import FINDINGS, phantom_study
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.store import Store
from igcl_lightning.modules import IGCL
from stores import prepare_studies
from two_processes import run_on_two

PROBES = ("linear", "few_shot")
HEADS = (*PROBES, "supervised")
JOBS = ("validate", "test", "predict")
WRITTEN = {"test": ["predictions.parquet", "results.json"], "predict": ["predictions.parquet"], "validate": []}
ONE = ["--trainer.accelerator", "cpu", "--trainer.devices", "1"]


def words(job, config, processes, folder, checkpoint=None):
    """The words of a job, whose run is `{config}-{job}-{processes}`; 13 test rows do not come out even."""
    given = ["--config", f"{'pretrain' if config == 'phantom' else 'probe'}/{config}.yaml"]
    given += ["--data.store", folder / "store", "--data.batch_size", 3, "--trainer.enable_progress_bar", "false"]
    given += ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", folder]
    given += ["--trainer.logger.name", f"{config}-{job}-{processes}"]
    given += ["--model.backbone", "test_resnet", "--model.image_size", 32]
    if config in PROBES:
        given += ["--data.feature_cache", folder / f"features-{processes}"]
    if config == "supervised":
        given += ["--data.num_workers", 0, "--trainer.max_epochs", 1]
    if config == "few_shot":
        given += ["--data.draws", 3]
    if job == "predict":
        given += ["--data.predict_splits", "[valid,test]"]
    return [job, *map(str, given), *(["--ckpt_path", str(checkpoint)] if checkpoint else [])]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of all runs, of one process and of two; all jobs read the checkpoints of one process."""
    folder = tmp_path_factory.mktemp("two")
    studies = [partial(phantom_study, index, size=64, views="frontal") for index in range(60)]
    prepare_studies(studies, folder / "store", labels=FINDINGS, options=Options(size=64, lossless=True))
    checkpoints = {head: folder / f"{head}-fit-1" / "version_0" / "checkpoints" / "best.ckpt" for head in HEADS}
    checkpoints["phantom"] = folder / "igcl.ckpt"
    trainer = Trainer(logger=False, accelerator="cpu", enable_progress_bar=False, enable_checkpointing=False)
    trainer.strategy.connect(IGCL("test_resnet", 32, graph_channels=16))
    trainer.save_checkpoint(folder / "igcl.ckpt")
    jobs = [("fit", head, None) for head in HEADS]
    jobs += [(job, head, checkpoints[head]) for head in HEADS for job in JOBS]
    jobs += [(job, "phantom", checkpoints["phantom"]) for job in ("test", "predict")]
    for job, config, checkpoint in jobs:
        assert main([*words(job, config, 1, folder, checkpoint), *ONE]) == 0
    commands = [words(job, config, 2, folder, checkpoint) for job, config, checkpoint in jobs]
    for rank in run_on_two(commands, folder / "pair", timeout=400):
        assert rank.statuses == [0] * len(jobs), rank.stderr[-3000:]
    return folder


def run(runs, config, job, processes):
    return runs / f"{config}-{job}-{processes}" / "version_0"


def logged(folder):
    table = pd.read_csv(folder / "metrics.csv")
    return {name: values.dropna().iloc[-1] for name, values in table.items() if values.notna().any()}


def test_the_rows_do_not_come_out_even(runs):
    assert len(Store(runs / "store").table("test")) % 2 == 1


@pytest.mark.parametrize("config", HEADS)
@pytest.mark.parametrize("job", JOBS)
def test_two_processes_give_the_files_of_one(runs, config, job):
    one, two = run(runs, config, job, 1), run(runs, config, job, 2)
    names = {path.relative_to(one).as_posix() for path in one.rglob("*") if path.is_file()}
    assert names == {path.relative_to(two).as_posix() for path in two.rglob("*") if path.is_file()}
    assert names >= set(WRITTEN[job])
    if "predictions.parquet" in names:
        frames = [pd.read_parquet(folder / "predictions.parquet") for folder in (one, two)]
        pd.testing.assert_frame_equal(*frames, check_exact=False, rtol=0, atol=1e-5)
        assert set(frames[0]["split"]) == ({"test"} if job == "test" else {"valid", "test"})
    if "results.json" in names:
        records = [pd.DataFrame(json.loads((folder / "results.json").read_text())) for folder in (one, two)]
        pd.testing.assert_frame_equal(*records, check_exact=False, rtol=0, atol=1e-5)


@pytest.mark.parametrize("config", HEADS)
@pytest.mark.parametrize("job", ["validate", "test"])
def test_two_processes_log_the_metrics_of_one(runs, config, job):
    one, two = logged(run(runs, config, job, 1)), logged(run(runs, config, job, 2))
    assert two == pytest.approx(one, abs=1e-5)
    stage = {"validate": "val", "test": "test"}[job]
    wanted = {f"{stage}/auroc_mean"} | {"supervised": {f"{stage}/loss"}}.get(config, set())
    assert wanted <= one.keys()


@pytest.mark.parametrize("config", PROBES)
def test_a_probe_fitted_on_two_processes_is_that_of_one(runs, config):
    one, two = run(runs, config, "fit", 1), run(runs, config, "fit", 2)
    assert logged(two) == pytest.approx(logged(one), abs=1e-5)
    assert (two / "checkpoints" / "best.ckpt").exists()
    assert {path.name for path in (runs / "features-1").iterdir()} == {
        path.name for path in (runs / "features-2").iterdir()
    }


def test_supervised_training_on_two_processes_leaves_the_same_files_and_finite_metrics(runs):
    one, two = run(runs, "supervised", "fit", 1), run(runs, "supervised", "fit", 2)
    assert {path.relative_to(one) for path in one.rglob("*")} == {path.relative_to(two) for path in two.rglob("*")}
    assert logged(two).keys() == logged(one).keys()
    assert np.isfinite(list(logged(two).values())).all()


def test_two_processes_write_the_embeddings_of_one(runs):
    frames = [pd.read_parquet(run(runs, "phantom", "predict", n) / "embeddings.parquet") for n in (1, 2)]
    ids = ["row", "study", "patient", "split"]
    pd.testing.assert_frame_equal(frames[0][ids], frames[1][ids])
    for column in frames[0].columns.drop(ids):
        np.testing.assert_allclose(*(np.stack(frame[column]) for frame in frames), rtol=0, atol=1e-5)
