"""What `tests/test_two_processes.py` leaves open: fits of probes, their predictions, and zero-shot."""

from functools import partial

import pandas as pd
import pytest

from igcl_lightning.cli import main
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.sources.phantom import phantom_study
from igcl_lightning.data.store import Store
from igcl_lightning.phantom import FINDINGS
from stores import prepare_studies
from test_configs import save_igcl
from two_processes import run_on_two

PROBES = ("linear", "few_shot")
JOBS = (("fit", "linear"), ("fit", "few_shot"), ("predict", "linear"), ("test", "zero_shot"))
ONE = ["--trainer.accelerator", "cpu", "--trainer.devices", "1"]


def words(job, config, processes, folder):
    """The words of a job, whose run is `{job}-{config}-{processes}`; all jobs read the checkpoints of one process."""
    given = ["--config", f"probe/{config}.yaml"]
    given += ["--data.store", folder / "store", "--data.batch_size", 3, "--trainer.enable_progress_bar", "false"]
    given += ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", folder]
    given += ["--trainer.logger.name", f"{job}-{config}-{processes}"]
    if config == "zero_shot":
        return [job, *map(str, given), "--model.checkpoint", str(folder / "pretrained.ckpt")]
    given += ["--model.image.backbone", "test_resnet", "--model.image.size", 32]
    given += ["--data.feature_cache", folder / f"features-{processes}"]
    if job == "predict":
        fitted = folder / f"fit-{config}-1" / "version_0" / "checkpoints" / "best.ckpt"
        given += ["--data.predict_splits", "[valid,test]", "--ckpt_path", fitted]
    return [job, *map(str, given)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of all runs, of one process and of two."""
    folder = tmp_path_factory.mktemp("two")
    studies = [partial(phantom_study, index, size=64, views="frontal") for index in range(60)]
    prepare_studies(studies, folder / "store", labels=FINDINGS, options=Options(size=64, lossless=True))
    save_igcl(folder / "pretrained.ckpt")
    for job in JOBS:
        assert main([*words(*job, 1, folder), *ONE]) == 0
    for rank in run_on_two([words(*job, 2, folder) for job in JOBS], folder / "pair", timeout=300):
        assert rank.statuses == [0] * len(JOBS), rank.stderr[-3000:]
    return folder


def run(runs, job, config, processes):
    return runs / f"{job}-{config}-{processes}" / "version_0"


def logged(folder):
    table = pd.read_csv(folder / "metrics.csv")
    return {name: values.dropna().iloc[-1] for name, values in table.items() if values.notna().any()}


@pytest.mark.parametrize("config", PROBES)
def test_a_probe_fitted_on_two_processes_is_that_of_one(runs, config):
    one, two = run(runs, "fit", config, 1), run(runs, "fit", config, 2)
    assert logged(two) == pytest.approx(logged(one), abs=1e-5)
    assert {path.relative_to(one) for path in one.rglob("*")} == {path.relative_to(two) for path in two.rglob("*")}
    features = [{path.name for path in (runs / f"features-{number}").iterdir()} for number in (1, 2)]
    assert features[0] == features[1]


def test_two_processes_score_the_rows_of_one_in_its_order(runs):
    frames = [pd.read_parquet(run(runs, "predict", "linear", number) / "predictions.parquet") for number in (1, 2)]
    pd.testing.assert_frame_equal(*frames, check_exact=False, rtol=0, atol=1e-5)
    store = Store(runs / "store")
    rows = [row for split in ("valid", "test") for row in store.column(split, "row")]
    assert len(rows) % 2 == 1, "the processes must repeat a row"
    assert frames[1]["row"].unique().tolist() == rows
    assert set(frames[1]["split"]) == {"valid", "test"}
    tables = [pd.read_csv(run(runs, "predict", "linear", number) / "predictions.csv") for number in (1, 2)]
    pd.testing.assert_frame_equal(*tables, check_exact=False, rtol=0, atol=2e-5)
    assert tables[1]["row"].tolist() == rows


def test_zero_shot_on_two_processes_is_that_of_one(runs):
    one, two = (run(runs, "test", "zero_shot", number) for number in (1, 2))
    assert logged(two) == pytest.approx(logged(one), abs=1e-5)
    for name, read in (("predictions.parquet", pd.read_parquet), ("prompts.csv", pd.read_csv)):
        pd.testing.assert_frame_equal(read(two / name), read(one / name), check_exact=False, rtol=0, atol=1e-5)
