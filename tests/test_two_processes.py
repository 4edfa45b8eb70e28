"""Every shipped YAML on two processes: fit, validate, test and predict.

Validate, test and predict of one checkpoint must give the files and the metrics of one process. One pair of processes
runs all commands. The splits hold odd numbers of rows, so that a process repeats one.
"""

import json
from functools import partial

import numpy as np
import pandas as pd
import pytest

from igcl_lightning.cli import main
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.sources.phantom import phantom_study
from igcl_lightning.data.store import Store
from igcl_lightning.phantom import FINDINGS
from igcl_lightning.training.options import shipped_configs
from stores import prepare_studies
from test_configs import FRAGMENTS, HEADS, NARROW, QUIET, SEGMENTATION, SMALL, WHOLE, csv_logger, save_igcl
from two_processes import run_on_two

JOBS = ("validate", "test", "predict")
QUICK = {
    "pretrain/igcl.yaml": JOBS,
    "pretrain/reclf_graph.yaml": ("test",),
    "probe/supervised.yaml": ("test",),
    "probe/segmentation.yaml": ("predict",),
}
"""The jobs of each kind of training; `test_heads_on_two_processes.py` has probes, and `make soak` all configs."""

BATCH_BOUND = "pretrain/igcl_authors.yaml"
"""Its reports see the padding of their batch, as in the authors' code, and so depend on how batches are shared out; the
comparison masks it."""

BLIND = "_blind"
"""End of the metrics that score the image of another row of the batch, which depends on how batches are shared out."""

BATCH = 8
"""Rows per process; one process takes twice as many."""

FILES = {
    "pretrain": {"predict": ["embeddings.parquet"]},
    "probe": {"test": ["predictions.parquet", "results.json"]},
    "segmentation": {"test": ["segmentation.parquet", "results.json"], "predict": ["masks.parquet"]},
}
"""Files to compare, by kind of config."""


@pytest.fixture(scope="module")
def odd_store(tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "odd"
    studies = [partial(phantom_study, index, size=64, views="frontal") for index in range(200)]
    kept = [study for study in studies if study().split == "train"]
    for split in ("valid", "test"):
        own = [study for study in studies if study().split == split]
        pairs, others = ([study for study in own if bool(study().graph.entities) == states] for states in (True, False))
        kept += pairs[1 - len(pairs) % 2 :] + others[len(others) % 2 :]
    prepare_studies(kept, path, labels=FINDINGS, masks=True, options=Options(size=64, lossless=True))
    for split in ("valid", "test"):
        pairs = int(Store(path).stating(split, "graph").sum())
        assert pairs % 2, "one process must repeat a pair"
        assert len(Store(path).table(split)) % 2, "one process must repeat a row"
        assert pairs % (2 * BATCH) not in (0, pairs), "the last of several batches must be shorter"
    return path


def words_of(config, store, folder, pretrained):
    """Options that make a config tiny."""
    words = ["--config", config, "--data.store", str(store), "--data.num_workers", "0", *QUIET]
    if config in HEADS:
        words += ["--model.checkpoint", str(pretrained), "--data.feature_cache", str(folder / "features")]
        return words
    if config.startswith("pretrain/"):
        words += ["--config", "callbacks/comfort.yaml"]
    if "reclf" in config:
        words += ["--model.counterfactual.kinds", "[side]"]
    if config == BATCH_BOUND:
        words += ["--model.graph.attention_mask", "true"]
    return words + SMALL + (NARROW if config in ("pretrain/igcl_paper.yaml", "pretrain/igcl_authors.yaml") else [])


def kind_of(config):
    return "segmentation" if config == SEGMENTATION else config.split("/")[0]


def commands_of(config, store, folder, pretrained, jobs):
    """fit of a config, and the jobs on its checkpoint, in folders of their own."""
    words = [*words_of(config, store, folder, pretrained), "--data.batch_size", str(BATCH)]
    checkpoint = folder / "fit" / "run" / "version_0" / "checkpoints" / "last.ckpt"
    short = ["--trainer.max_epochs", "1", "--trainer.check_val_every_n_epoch", "1"]
    yield ["fit", *words, *short, *csv_logger(folder / "fit")]
    for job in jobs:
        splits = ["--data.predict_splits", "[valid,test]"] if job == "predict" else []
        yield [job, *words, *splits, *csv_logger(folder / job), "--ckpt_path", str(checkpoint)]


def alone(words, folder):
    """Run a job on one process, with batches as large as those of two together, and return its folder."""
    place = words.index("--data.batch_size") + 1
    logger = words.index("--trainer.logger.save_dir") + 1
    words = [*words[:place], str(2 * BATCH), *words[place + 1 :]]
    assert main([*words[:logger], str(folder), *words[logger + 1 :]]) == 0
    return folder / "run" / "version_0"


def metrics(run):
    """The last value of everything that was logged, but for how long it took."""
    path = run / "metrics.csv"
    table = pd.read_csv(path) if path.exists() else pd.DataFrame()
    last = {name: values.dropna().iloc[-1] for name, values in table.items() if values.notna().any()}
    shown = {name: value for name, value in last.items() if name not in ("epoch", "step")}
    return {name: value for name, value in shown.items() if not name.endswith(BLIND)}


def assert_same_file(name, one, two):
    if name.endswith(".json"):
        records = [json.loads((run / name).read_text()) for run in (one, two)]
        one_table, two_table = (pd.DataFrame(each).drop(columns="store") for each in records)
    else:
        one_table, two_table = (pd.read_parquet(run / name) for run in (one, two))
    assert list(one_table) == list(two_table)
    for column in one_table:
        if one_table[column].dtype == object and isinstance(one_table[column][0], (list, np.ndarray)):
            np.testing.assert_allclose(np.stack(two_table[column]), np.stack(one_table[column]), atol=1e-5)
        elif pd.api.types.is_numeric_dtype(one_table[column]):
            np.testing.assert_allclose(two_table[column], one_table[column], rtol=1e-5, atol=1e-5, err_msg=column)
        else:
            assert two_table[column].equals(one_table[column]), column


def assert_two_processes_equal_one(jobs, fragments, store, folder):
    """Run a fit of each config and its jobs, `{config: jobs}`, and a fit with each fragment."""
    pretrained = save_igcl(folder / "pretrained.ckpt")
    folders = {config: folder / config.replace("/", "-") for config in jobs}
    commands = {config: list(commands_of(config, store, folders[config], pretrained, jobs[config])) for config in jobs}
    added = [fit_with_fragment(fragment, store, folder / fragment.replace("/", "-")) for fragment in fragments]
    whole = [words for each in commands.values() for words in each] + added
    ranks = run_on_two(whole, folder / "pair", timeout=1200)
    for number, words in enumerate(whole):
        statuses = [rank.statuses[number] for rank in ranks]
        assert statuses == [0, 0], (words, ranks[0].stderr[-2000:], ranks[1].stderr[-2000:])

    for config, folder in folders.items():
        fitted = folder / "fit" / "run" / "version_0"
        values = metrics(fitted)
        assert values, config
        assert all(np.isfinite(value) for value in values.values()), (config, values)
        assert (fitted / "config.yaml").exists()
        plots = "LearningCurve" in (shipped_configs() / config).read_text()
        assert list((fitted / "plots").glob("*.png")) or not plots, config
        for job, words in zip(jobs[config], commands[config][1:], strict=True):
            one, two = alone(words, folder / f"{job}-alone"), folder / job / "run" / "version_0"
            expected, got = metrics(one), metrics(two)
            assert expected.keys() == got.keys(), (config, job)
            assert got == pytest.approx(expected, abs=1e-5), (config, job)
            assert {path.name for path in one.iterdir()} == {path.name for path in two.iterdir()}, (config, job)
            for name in FILES[kind_of(config)].get(job, []):
                assert_same_file(name, one, two)


def fit_with_fragment(fragment, store, folder):
    words = [
        "fit",
        "--config",
        "pretrain/phantom.yaml",
        "--config",
        fragment,
        "--data.store",
        str(store),
        *SMALL,
        *QUIET,
    ]
    words += ["--data.batch_size", str(BATCH), "--trainer.max_epochs", "1", "--trainer.check_val_every_n_epoch", "1"]
    if fragment.startswith("logger/"):
        return [*words, "--trainer.logger.offline", "true", "--trainer.logger.save_dir", str(folder)]
    return words + csv_logger(folder)


@pytest.mark.usefixtures("blank_pictures")
def test_each_kind_of_run_gives_on_two_processes_what_it_gives_on_one(odd_store, tmp_path):
    assert_two_processes_equal_one(QUICK, [], odd_store, tmp_path)


@pytest.mark.soak
def test_every_config_gives_on_two_processes_what_it_gives_on_one(odd_store, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert_two_processes_equal_one(dict.fromkeys(WHOLE, JOBS), FRAGMENTS, odd_store, tmp_path)
