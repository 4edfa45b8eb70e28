"""The configs of scale/ on CPU processes: shards (FSDP2) equal one process, and leave the same checkpoints."""

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import distributed
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from igcl_lightning.callbacks import EMA
from igcl_lightning.cli import main
from igcl_lightning.data.modules import LabeledDataModule, PairedDataModule
from igcl_lightning.errors import IgclError
from igcl_lightning.losses import contrastive
from igcl_lightning.modules import IGCL, BaseModule, FineTune, LinearProbe
from igcl_lightning.modules.sharding import like, reshard, shard, share
from test_configs import CONFIGS, NARROW, SMALL, WHOLE, csv_logger
from two_processes import free_port, run_on_two

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
  init_args: {augment: false}
trainer:
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
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {filename: six, every_n_train_steps: 6}
    - class_path: WriteEmbeddings
"""
BOUND = 2.0
"""Upper bound of 1 / temperature, at which the runs start: their steps push beyond it."""

ON_CPU = [
    *("--trainer.accelerator", "cpu", "--trainer.precision", "32-true", "--trainer.num_nodes", "1"),
    *("--data.num_workers", "0", "--trainer.sync_batchnorm", "false"),
]
SCALE = [config for config in CONFIGS if config.startswith("scale/")]


def scaled(config, devices=2):
    """Options that run a config of scale/ on CPU processes."""
    sharded = ["--trainer.strategy.data_parallel_size", str(devices)] if config == "scale/fsdp.yaml" else []
    return ["--config", config, *ON_CPU, "--trainer.devices", str(devices), *sharded]


class Runs:
    """Commands that write below `folder`, each in a folder of its own."""

    def __init__(self, store, folder):
        self.store, self.folder = store, folder
        (folder / "config.yaml").write_text(CONFIG)

    def words(self, job, run, batch, *more, config=None):
        words = ["--config", str(config or self.folder / "config.yaml"), "--data.store", str(self.store)]
        return [job, *words, "--data.batch_size", str(batch), *csv_logger(self.folder / run), *map(str, more)]

    def path(self, run):
        return self.folder / run / "run" / "version_0"

    def last(self, run):
        return self.path(run) / "checkpoints" / "last.ckpt"

    def logged(self, run):
        return pd.read_csv(self.path(run) / "metrics.csv")


def supervised(runs, run, batch, *scale):
    vit = ["--model.image.backbone", "test_vit", "--model.image.size", "64", "--data.augment", "false"]
    few = ["--trainer.max_steps", "3", "--trainer.enable_progress_bar", "false", "--trainer.limit_val_batches", "1"]
    return runs.words("fit", run, batch, *vit, *few, *scale, config="probe/supervised.yaml")


@pytest.fixture(scope="module")
def runs(phantom_store, tmp_path_factory):
    """One training on one process and, by each config, on two; with shards also jobs, and an interruption."""
    runs = Runs(phantom_store, tmp_path_factory.mktemp("scale"))
    bound = f"from igcl_lightning.losses import contrastive\ncontrastive.MAX_LOGIT_SCALE = {BOUND}\n"
    (runs.folder / "low_bound.py").write_text(bound)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contrastive, "MAX_LOGIT_SCALE", BOUND)
        assert main(runs.words("fit", "one", 16, *scaled("scale/one_gpu.yaml", 1))) == 0
    low, shards = ["--import", "low_bound"], scaled("scale/fsdp.yaml")
    commands = [
        runs.words("fit", "fsdp", 8, *shards, *low),
        runs.words("predict", "predict", 8, *shards, *low, "--ckpt_path", runs.last("fsdp")),
        runs.words("fit", "rest", 8, *shards, *low, "--ckpt_path", runs.last("fsdp").with_name("six.ckpt")),
        supervised(runs, "supervised_shards", 8, *shards),
        runs.words("fit", "eight_gpus", 8, *scaled("scale/eight_gpus.yaml"), *low),
        runs.words("fit", "fsdp_in_pieces", 8, *shards, *low, "--data.micro_batch", "3"),
        runs.words("fit", "eight_gpus_in_pieces", 8, *scaled("scale/eight_gpus.yaml"), *low, "--data.micro_batch", "3"),
        runs.words("fit", "slurm", 8, *scaled("scale/slurm.yaml"), *low, "--trainer.max_steps", "1"),
    ]
    ranks = run_on_two(commands, runs.folder / "ranks", timeout=1200, cwd=runs.folder)
    assert ranks[0].statuses == ranks[1].statuses == [0] * len(commands), ranks[0].stderr + ranks[1].stderr
    return runs


def weights(path, key="state_dict"):
    return torch.load(path, weights_only=True)[key]


def assert_close(first, second, tolerance):
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], atol=tolerance, rtol=0, msg=name)


def test_every_config_is_tried_here():
    assert set(SCALE) == {f"scale/{name}.yaml" for name in ("one_gpu", "eight_gpus", "slurm", "fsdp")}


@pytest.mark.parametrize("run", ["fsdp", "eight_gpus", "fsdp_in_pieces", "eight_gpus_in_pieces"])
def test_ten_steps_equal_those_of_one_process(runs, run):
    """With clipping, averaged weights, and a temperature at its bound."""
    for key in ("current_model_state", "state_dict"):
        assert_close(weights(runs.last("one"), key), weights(runs.last(run), key), 1e-4)
    assert weights(runs.last(run), "current_model_state")["loss.logit_scale"].exp().item() == pytest.approx(BOUND)
    one, two = (runs.logged(name)["train/loss"].dropna().to_numpy() for name in ("one", run))
    assert len(one) == 4
    np.testing.assert_allclose(one, two, atol=1e-4)


def test_the_average_is_not_the_last_step(runs):
    average, current = (weights(runs.last("fsdp"), key) for key in ("state_dict", "current_model_state"))
    assert any((average[name] - current[name]).abs().max() > 1e-3 for name in average)


def test_a_checkpoint_of_shards_is_one_file_that_loads_as_any_other(runs):
    assert runs.last("fsdp").is_file()
    one, two = (BaseModule.load_from_checkpoint(runs.last(run)) for run in ("one", "fsdp"))
    assert type(one) is type(two) is IGCL
    assert one.hparams == two.hparams
    image = (torch.arange(2 * 64 * 64).reshape(2, 1, 64, 64) % 251).byte()
    with one.evaluating(), two.evaluating():
        embedded = [module.project("image", module.encode("image", image)) for module in (one, two)]
    torch.testing.assert_close(*embedded, atol=1e-4, rtol=0)


def test_a_resumed_run_ends_as_one_that_was_not_interrupted(runs):
    for key in ("state_dict", "current_model_state"):
        assert_close(weights(runs.last("fsdp"), key), weights(runs.last("rest"), key), 1e-6)


def test_its_predictions_are_those_of_one_process_and_a_probe_reads_it(runs, tmp_path):
    assert (
        main(runs.words("predict", "alone", 16, "--trainer.accelerator", "cpu", "--ckpt_path", runs.last("fsdp"))) == 0
    )
    one, two = (pd.read_parquet(runs.path(run) / "embeddings.parquet") for run in ("alone", "predict"))
    for side in ("image", "graph"):
        np.testing.assert_allclose(np.stack(one[side]), np.stack(two[side]), atol=1e-5)
    words = [
        "fit",
        "--config",
        "probe/linear.yaml",
        "--model.checkpoint",
        str(runs.last("fsdp")),
        *csv_logger(tmp_path),
    ]
    words += ["--data.store", str(runs.store), "--data.feature_cache", str(tmp_path), "--data.num_workers", "0"]
    assert main([*words, "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]) == 0


def test_supervised_training_with_shards_leaves_a_checkpoint_that_loads(runs):
    assert type(BaseModule.load_from_checkpoint(runs.last("supervised_shards"))) is FineTune


@pytest.fixture
def fit_with_shards(phantom_store, monkeypatch, tmp_path):
    """Fit a module with the strategy of scale/fsdp.yaml on this process alone."""
    monkeypatch.setenv("MASTER_PORT", str(free_port()))

    def fit(module, data=None, sizes=(1, 1, False), **options):
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = Trainer(
            accelerator="cpu",
            devices=1,
            strategy=ModelParallelStrategy(*sizes),
            max_steps=2,
            limit_val_batches=0,
            default_root_dir=tmp_path,
            **quiet,
            **options,
        )
        trainer.fit(module, data or PairedDataModule(str(phantom_store), batch_size=8))
        return trainer

    yield fit
    if distributed.is_initialized():
        distributed.destroy_process_group()


def tiny(backbone="test_vit"):
    return IGCL(image={"backbone": backbone, "size": 64}, graph={"channels": 16})


def test_a_strategy_that_is_not_fit_for_it_is_refused(fit_with_shards, phantom_store):
    with pytest.raises(IgclError, match="strategy: set save_distributed_checkpoint to false; a checkpoint is one file"):
        fit_with_shards(tiny(), sizes=(1, 1, True))
    probe = LinearProbe(image={"backbone": "test_vit", "size": 64})
    with pytest.raises(IgclError, match="strategy: a probe has nothing to shard; set it to auto or ddp"):
        fit_with_shards(probe, LabeledDataModule(str(phantom_store)))


class Mesh(NamedTuple):
    """What `shard` reads of a device mesh of two dimensions."""

    data_parallel: int
    tensor_parallel: int

    def size(self):
        return self.data_parallel * self.tensor_parallel

    def __getitem__(self, name):
        return Mesh(getattr(self, name), 1)


def test_sizes_that_split_tensors_are_refused():
    """Lightning's, if none are given."""
    trainer = SimpleNamespace(strategy=ModelParallelStrategy())
    with pytest.raises(IgclError, match="strategy: set data_parallel_size to 8, the number of processes"):
        shard(SimpleNamespace(device_mesh=Mesh(1, 8), trainer=trainer))


def test_batch_norm_is_synchronised_if_asked(fit_with_shards):
    """PyTorch refuses it without a GPU."""
    with pytest.raises(ValueError, match="SyncBatchNorm expected input tensor to be on"):
        fit_with_shards(tiny("test_resnet"), sync_batchnorm=True)


def test_a_share_is_plain_and_becomes_a_shard_again(fit_with_shards, tmp_path):
    module = tiny()
    fit_with_shards(module, enable_checkpointing=False)
    reshard(module)
    for parameter in module.parameters():
        torch.save(share(parameter.detach()), tmp_path / "share.pt")
        again = like(parameter, torch.load(tmp_path / "share.pt", weights_only=True))
        assert (type(again), again.placements, again.shape) == (DTensor, parameter.placements, parameter.shape)
        assert torch.equal(again.full_tensor(), parameter.full_tensor())


def test_layers_are_gathered_one_by_one(fit_with_shards):
    module = tiny()
    trainer = fit_with_shards(module, callbacks=[EMA()], enable_checkpointing=False)
    shards = {name for name, part in module.named_modules() if isinstance(part, FSDPModule)}
    assert {"", "image_encoder.backbone.blocks.0", "graph_encoder.convs.1", "graph_encoder.attention.0"} <= shards
    assert "image_encoder" not in shards
    trainer.validate(module, PairedDataModule(trainer.datamodule.store.path, batch_size=8), verbose=False)


@pytest.mark.soak
@pytest.mark.parametrize("config", [config for config in WHOLE if config.startswith("pretrain/")])
def test_every_method_trains_with_shards(config, phantom_store, tmp_path):
    runs = Runs(phantom_store, tmp_path)
    options = [*SMALL, *(NARROW if "paper" in config or "authors" in config else []), *scaled("scale/fsdp.yaml")]
    short = ["--trainer.max_epochs", "1", "--trainer.check_val_every_n_epoch", "1"]
    short += ["--config", "callbacks/comfort.yaml", "--config", "callbacks/ema.yaml"]
    commands = [
        runs.words("fit", "fit", 8, *options, *short, config=config),
        runs.words("predict", "predict", 8, *options, "--ckpt_path", runs.last("fit"), config=config),
    ]
    ranks = run_on_two(commands, tmp_path / "ranks")
    assert ranks[0].statuses == ranks[1].statuses == [0, 0], ranks[0].stderr + ranks[1].stderr
    BaseModule.load_from_checkpoint(runs.last("fit"))
