"""FSDP2 on two CPU processes equals one process, and writes the same checkpoints."""

import numpy as np
import pandas as pd
import pytest
import torch

from igcl_lightning.cli import main
from igcl_lightning.losses import contrastive
from igcl_lightning.modules import IGCL, BaseModule
from two_processes import run_on_two

CONFIG = """
model:
  class_path: IGCL
  init_args:
    image: {backbone: test_vit, size: 64}
    graph: {channels: 32, dropout: 0.0}
    loss: {temperature: 0.5}
    optim: {learning_rate: 0.001, warmup_fraction: 0.0, schedule: constant}
data:
  class_path: PairedDataModule
  init_args: {store: STORE, num_workers: 0, augment: false}
trainer:
  accelerator: cpu
  max_epochs: 100
  max_steps: 10
  gradient_clip_val: 0.1
  num_sanity_val_steps: 1
  check_val_every_n_epoch: 2
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
  callbacks:
    - {class_path: EMA, init_args: {decay: 0.8}}
    - class_path: RetrievalSheet
    - class_path: WriteEmbeddings
  logger: {class_path: lightning.pytorch.loggers.CSVLogger, init_args: {save_dir: FOLDER, name: RUN}}
"""
BOUND = 2.0
"""Upper bound of 1 / temperature, at which the runs start: their steps push beyond it."""

SHARDED = [
    *("--config", "scale/fsdp.yaml", "--trainer.accelerator", "cpu", "--trainer.devices", "2"),
    *("--trainer.strategy.data_parallel_size", "2", "--trainer.precision", "32-true", "--data.num_workers", "0"),
    *("--trainer.sync_batchnorm", "false"),
]


class Runs:
    """Commands on one store, each in a run folder of its own below `folder`."""

    def __init__(self, store, folder):
        self.store, self.folder = store, folder

    def words(self, job, run, batch, *more):
        config = self.folder / f"{run}.yaml"
        filled = {"STORE": self.store, "FOLDER": self.folder, "RUN": run}
        text = CONFIG
        for name, value in filled.items():
            text = text.replace(name, str(value))
        config.write_text(text)
        return [job, "--config", str(config), "--data.batch_size", str(batch), *more]

    def path(self, run):
        return self.folder / run / "version_0"

    def last(self, run):
        return self.path(run) / "checkpoints" / "last.ckpt"

    def logged(self, run):
        return pd.read_csv(self.path(run) / "metrics.csv")


@pytest.fixture(scope="module")
def runs(phantom_store, tmp_path_factory):
    """The same training on one process, on two with shards, and on two with an interruption; jobs of the result."""
    folder = tmp_path_factory.mktemp("fsdp")
    runs = Runs(phantom_store, folder)
    (folder / "low_bound.py").write_text(
        f"from igcl_lightning.losses import contrastive\ncontrastive.MAX_LOGIT_SCALE = {BOUND}\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contrastive, "MAX_LOGIT_SCALE", BOUND)
        assert main(runs.words("fit", "one", 16)) == 0
    low = [*SHARDED, "--import", "low_bound"]
    commands = [
        runs.words("fit", "two", 8, *low),
        *(runs.words(job, job, 8, *low, "--ckpt_path", runs.last("two")) for job in ("validate", "test", "predict")),
        runs.words("fit", "half", 8, *low, "--trainer.max_steps", "6"),
        runs.words("fit", "rest", 8, *low, "--ckpt_path", runs.last("half")),
    ]
    ranks = run_on_two(commands, folder / "ranks", cwd=folder)
    assert ranks[0].statuses == ranks[1].statuses == [0] * len(commands), ranks[0].stderr + ranks[1].stderr
    return runs


def weights(path, key="state_dict"):
    return torch.load(path, weights_only=True)[key]


def assert_close(first, second, tolerance):
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], atol=tolerance, rtol=0, msg=name)


def test_ten_steps_equal_those_of_one_process(runs):
    """With clipping, averaged weights, and a temperature at its bound."""
    one, two = (weights(runs.last(run), "current_model_state") for run in ("one", "two"))
    assert_close(one, two, 1e-4)
    assert two["loss.logit_scale"].exp().item() == pytest.approx(BOUND)
    assert_close(weights(runs.last("one")), weights(runs.last("two")), 1e-4)
    first, second = (runs.logged(run)["train/loss"].dropna().to_numpy() for run in ("one", "two"))
    assert len(first) > 2
    np.testing.assert_allclose(first, second, atol=1e-4)


def test_the_average_is_that_of_the_steps(runs):
    average, current = (weights(runs.last("two"), key) for key in ("state_dict", "current_model_state"))
    assert any((average[name] - current[name]).abs().max() > 1e-3 for name in average)


def test_its_checkpoint_is_one_file_that_loads_as_any_other(runs):
    assert runs.last("two").is_file()
    one, two = (BaseModule.load_from_checkpoint(runs.last(run)) for run in ("one", "two"))
    assert type(one) is type(two) is IGCL
    assert one.hparams == two.hparams
    image = torch.arange(2 * 64 * 64).reshape(2, 1, 64, 64) % 251
    with one.evaluating(), two.evaluating():
        embedded = [module.project("image", module.encode("image", image.byte())) for module in (one, two)]
    torch.testing.assert_close(*embedded, atol=1e-4, rtol=0)


def test_a_resumed_run_ends_as_one_that_was_not_interrupted(runs):
    for key in ("state_dict", "current_model_state"):
        assert_close(weights(runs.last("two"), key), weights(runs.last("rest"), key), 1e-6)


def test_jobs_on_its_checkpoint(runs, tmp_path, phantom_store):
    trained = runs.logged("two").filter(like="val/").dropna(how="all").iloc[-1]
    assert len(runs.logged("validate").filter(like="val/").columns) == len(trained)
    assert main(runs.words("predict", "alone", 16, "--ckpt_path", str(runs.last("two")))) == 0
    one, two = (pd.read_parquet(runs.path(run) / "embeddings.parquet") for run in ("alone", "predict"))
    for side in ("image", "graph"):
        np.testing.assert_allclose(np.stack(one[side]), np.stack(two[side]), atol=1e-5)
    probe = ["fit", "--config", "probe/linear.yaml", "--model.checkpoint", str(runs.last("two"))]
    probe += ["--data.store", str(phantom_store), "--data.feature_cache", str(tmp_path), "--trainer.accelerator", "cpu"]
    probe += ["--data.num_workers", "0", "--trainer.logger.save_dir", str(tmp_path)]
    assert main([*probe, "--trainer.enable_progress_bar", "false"]) == 0
