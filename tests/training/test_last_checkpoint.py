"""Every fit that ends, or is interrupted, leaves last.ckpt; it is whole, and a run continues from it."""

import itertools
import os
import resource
import signal
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from igcl_lightning.callbacks import EMA
from igcl_lightning.cli import main
from igcl_lightning.errors import IgclError
from igcl_lightning.modules.base import BaseModule
from igcl_lightning.training.checkpoints import LastCheckpoint, PlainCheckpointIO, _holds_everything
from two_processes import SERVER

STEPS = 4
"""Batches of an epoch."""

CONFIG = """\
trainer:
  max_epochs: 1
  accelerator: cpu
  enable_progress_bar: false
  enable_model_summary: false
  num_sanity_val_steps: 0
  log_every_n_steps: 1
  logger: {class_path: CSVLogger, init_args: {save_dir: runs, name: r}}
model: {class_path: StoppingModel}
data: {class_path: StoppingData}
"""
CHECKPOINTS = Path("runs/r/version_0/checkpoints")
LAST = CHECKPOINTS / "last.ckpt"


class StoppingModel(BaseModule):
    """Counts its batches, and stops in one of them, in its own way.

    Args:
        stop: number of the batch, counted from 1 over the whole run; 0 never stops.
        how: "error", "interrupt" or "terminate".
        where: "train" or "val".
    """

    seen: list[float]

    def __init__(self, stop: int = 0, how: str = "error", where: str = "train"):
        super().__init__({"schedule": "constant", "warmup_fraction": 0.0, "learning_rate": 0.1})
        self.save_hyperparameters()
        self.layer = nn.Linear(1, 1)
        self.norm = nn.BatchNorm1d(1)

    def on_train_start(self):
        self.seen = []

    def training_step(self, batch, index):
        self._stop("train", self.global_step + 1)
        self.seen.append(batch[0][0].item())
        loss = (self.norm(self.layer(batch[0])) - 1).square().mean()
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch, index):
        self._stop("val", self.global_step)
        self.log("val/loss", self.layer(batch[0]).square().mean())

    test_step = validation_step

    def _stop(self, where, count):
        if (where, count) != (self.hparams.where, self.hparams.stop):
            return
        if self.hparams.how == "error":
            raise RuntimeError("surprise")
        if self.hparams.how == "interrupt":
            raise KeyboardInterrupt
        os.kill(os.getpid(), {"terminate": signal.SIGTERM, "ctrl-c": signal.SIGINT}[self.hparams.how])


class StoppingData(LightningDataModule):
    def train_dataloader(self):
        return DataLoader(TensorDataset(torch.arange(4.0 * STEPS)[:, None] / 10), batch_size=4)

    val_dataloader = test_dataloader = train_dataloader


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for variable in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        monkeypatch.setenv(variable, "0")
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    Path("c.yaml").write_text(CONFIG)
    yield tmp_path
    for number, handler in before.items():
        signal.signal(number, handler)


def fit(*words):
    return main(["fit", "--config", "c.yaml", *words])


def stored(path=LAST):
    return torch.load(path, weights_only=True)


def names():
    return {path.name for path in CHECKPOINTS.iterdir()}


NEVER_VALIDATED = ["--trainer.check_val_every_n_epoch", "4"]
KEEP_LAST = ["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.filename=last"]
KEEP_SAVE_LAST = ["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.save_last=true"]
KEEP_SAVE_LAST += ["--trainer.callbacks.filename=best", "--trainer.callbacks.monitor=val/loss"]
KEEP_BEST = ["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.filename=best"]
KEEP_BEST += ["--trainer.callbacks.monitor=val/loss"]
KEEP_LINK = [*KEEP_BEST, "--trainer.callbacks.save_last=link"]


@pytest.mark.parametrize(
    ("words", "step", "keep"),
    [
        (NEVER_VALIDATED, STEPS, []),
        (NEVER_VALIDATED, STEPS, KEEP_SAVE_LAST),
        (["--trainer.max_steps", "2"], 2, []),
        (["--trainer.max_steps", "2"], 2, KEEP_LAST),
        ([*NEVER_VALIDATED, "--trainer.max_epochs", "6"], 6 * STEPS, KEEP_LAST),
        (["--trainer.val_check_interval", "2", "--trainer.max_steps", "3"], 3, KEEP_SAVE_LAST),
        (["--trainer.limit_val_batches", "0"], STEPS, []),
    ],
)
def test_every_end_leaves_the_last_state_under_one_name(words, step, keep):
    assert fit(*words, *keep) == 0
    assert stored()["global_step"] == step
    assert "last-v1.ckpt" not in names()
    assert not [name for name in names() if name.startswith(".")]


@pytest.mark.parametrize("keep", [KEEP_LAST, KEEP_SAVE_LAST, KEEP_BEST, KEEP_LINK])
def test_the_best_checkpoint_stays(keep):
    assert fit("--trainer.max_epochs", "3", *keep) == 0
    assert names() <= {"last.ckpt", "best.ckpt"}
    assert ("best.ckpt" in names()) is (keep is not KEEP_LAST)


STATUSES = {"error": RuntimeError, "interrupt": 130, "ctrl-c": 130, "terminate": SystemExit}


@pytest.mark.parametrize(
    ("how", "where", "keep"),
    [
        *((how, where, []) for how in STATUSES for where in ("train", "val")),
        ("error", "val", KEEP_SAVE_LAST),
        ("terminate", "train", KEEP_SAVE_LAST),
    ],
)
def test_an_interrupted_fit_leaves_what_it_has_trained(how, where, keep):
    status = STATUSES[how]
    words = ["--model.stop", "6" if where == "train" else "8", "--model.how", how, "--model.where", where, *keep]
    words += ["--trainer.max_epochs", "3"]
    if isinstance(status, int):
        assert fit(*words) == status
    else:
        with pytest.raises(status) as stop:
            fit(*words)
        assert how != "terminate" or stop.value.code == 128 + signal.SIGTERM
    done = {"error": 5, "interrupt": 5, "ctrl-c": 6, "terminate": 6}[how] if where == "train" else 8
    assert stored()["global_step"] == done
    assert not [name for name in names() if name.startswith((".", "last-v"))]


TWO_EPOCHS = ["--trainer.max_epochs", "2"]


@pytest.mark.parametrize(
    ("keep", "first", "rest"),
    [
        (KEEP_SAVE_LAST, ["--trainer.max_epochs", "1"], TWO_EPOCHS),
        (KEEP_LINK, ["--trainer.max_epochs", "1"], TWO_EPOCHS),
        (
            KEEP_LAST,
            ["--trainer.max_steps", "2", "--trainer.max_epochs", "9"],
            ["--trainer.max_steps", "8", "--trainer.max_epochs", "9"],
        ),
        (KEEP_LAST, ["--model.stop", "3", "--model.how", "interrupt"], TWO_EPOCHS),
        (KEEP_LINK, ["--model.stop", "7", "--model.how", "interrupt", *TWO_EPOCHS], TWO_EPOCHS),
        (KEEP_SAVE_LAST, ["--model.stop", "4", "--model.how", "interrupt", "--model.where", "val"], TWO_EPOCHS),
    ],
)
def test_a_run_continues_from_it_in_the_same_folder(keep, first, rest):
    assert fit(*first, *keep) in (0, 130)
    step = stored()["global_step"]
    # The checkpoint decides the model; a model that stops would stop again.
    checkpoint = stored()
    checkpoint["hyper_parameters"]["stop"] = 0
    torch.save(checkpoint, LAST.resolve())
    assert fit(*keep, *rest, "--ckpt_path", str(LAST), "--trainer.logger.version", "0") == 0
    assert step < 8
    assert stored()["global_step"] == 8
    assert not [name for name in names() if name.startswith((".", "last-v", "earlier"))]


def test_an_interrupted_epoch_trains_the_batches_it_lacks(monkeypatch):
    assert fit("--model.stop", "3", "--model.how", "interrupt") == 130
    checkpoint = stored()
    checkpoint["hyper_parameters"]["stop"] = 0
    torch.save(checkpoint, LAST)
    steps = []
    step = StoppingModel.training_step
    monkeypatch.setattr(StoppingModel, "training_step", lambda *given: steps.append(given[2]) or step(*given))
    assert fit("--ckpt_path", str(LAST)) == 0
    assert steps == [2, 3]


def test_another_run_in_the_same_folder_puts_the_file_aside():
    assert fit() == 0
    first = LAST.read_bytes()
    assert fit("--trainer.logger.version", "0", "--trainer.max_steps", "2") == 0
    assert stored()["global_step"] == 2
    assert (CHECKPOINTS / "earlier-1.ckpt").read_bytes() == first


def test_a_fit_with_nothing_left_to_train_keeps_the_file():
    assert fit() == 0
    first = LAST.read_bytes()
    assert fit("--ckpt_path", str(LAST), "--trainer.logger.version", "0") == 0
    assert LAST.read_bytes() == first


def test_a_fit_killed_at_its_very_end_leaves_the_file():
    assert fit() == 0
    weights = stored()["state_dict"]
    LAST.unlink()
    assert fit("--ckpt_path", str(CHECKPOINTS / "epoch=0-step=4.ckpt"), "--trainer.logger.version", "0") == 0
    assert stored()["global_step"] == STEPS
    assert all(torch.equal(value, weights[name]) for name, value in stored()["state_dict"].items())


@pytest.mark.parametrize("words", [["--trainer.enable_checkpointing", "false"], ["--trainer.fast_dev_run", "true"]])
def test_no_checkpoint_where_none_is_wanted(folder, words):
    assert fit(*words) == 0
    assert not list(folder.rglob("*.ckpt"))


def test_nothing_is_written_before_training_has_begun(folder):
    """A run that fails while it restores must not replace the file it restores from."""
    assert fit() == 0
    good = LAST.read_bytes()
    checkpoint = stored()
    checkpoint["optimizer_states"][0]["param_groups"] = []
    torch.save(checkpoint, "odd.ckpt")
    same = ["--trainer.logger.version", "0", "--trainer.max_epochs", "2"]
    assert fit("--ckpt_path", "odd.ckpt", *same) == 1
    assert LAST.read_bytes() == good
    assert names() == {"last.ckpt", "epoch=0-step=4.ckpt"}
    with pytest.raises(RuntimeError, match="surprise"):
        fit("--model.stop", "1", "--trainer.logger.version", "1")
    assert not list(folder.glob("runs/r/version_1/checkpoints/*"))


def test_other_jobs_write_no_checkpoint(folder):
    assert fit() == 0
    before = sorted(folder.rglob("*.ckpt"))
    for job in ("validate", "test"):
        assert main([job, "--config", "c.yaml", "--ckpt_path", str(LAST)]) == 0
    assert sorted(folder.rglob("*.ckpt")) == before


@pytest.fixture
def full_disk(monkeypatch):
    """Let no file grow beyond a few bytes while a checkpoint is written, from the nth on."""

    def fill(from_write=1):
        writes = itertools.count(1)

        def save(checkpoint, path):
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            limit = 512 if next(writes) >= from_write else soft
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            try:
                written(checkpoint, path)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

        written = torch.save
        monkeypatch.setattr(torch, "save", save)

    return fill


def test_a_full_disk_loses_neither_the_file_nor_the_error(full_disk, recwarn):
    assert fit() == 0
    good = LAST.read_bytes()
    full_disk()
    io = PlainCheckpointIO()
    with pytest.raises(IgclError, match="last.ckpt: cannot be written; is the disk full"):
        io.save_checkpoint(stored(), LAST)
    assert LAST.read_bytes() == good
    assert not [name for name in names() if name.startswith(".")]
    with pytest.raises(RuntimeError, match="surprise"):
        fit("--model.stop", "3", "--trainer.logger.version", "1")
    assert [str(said.message) for said in recwarn if "could not be written" in str(said.message)]


def test_a_disk_that_fills_up_stops_training_in_one_line_and_keeps_the_checkpoint_before(full_disk, capsys):
    full_disk(from_write=2)
    assert fit("--trainer.max_epochs", "3", "--trainer.callbacks+=ModelCheckpoint") == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("igcl: error")]
    assert "epoch=1-step=8.ckpt: cannot be written; is the disk full" in line
    assert names() == {"epoch=0-step=4.ckpt"}
    assert stored(CHECKPOINTS / "epoch=0-step=4.ckpt")["global_step"] == STEPS


class Raw(Callback):
    def on_train_batch_end(self, trainer, pl_module, *rest):
        self.weight = pl_module.layer.weight.detach().clone()


@pytest.mark.parametrize("stop", [{}, {"stop": 8, "where": "val"}])
def test_averaged_weights_lie_beside_the_current_ones(folder, stop):
    """Whether training ended, or an error came up in a validation, which has the averaged weights in place."""
    raw = Raw()
    keep = ModelCheckpoint("checkpoints", save_last=True, every_n_epochs=9)
    options = {"logger": False, "accelerator": "cpu", "enable_progress_bar": False, "num_sanity_val_steps": 0}
    trainer = Trainer(max_epochs=2, callbacks=[EMA(0.5), raw, LastCheckpoint(), keep], **options)
    module = StoppingModel(**stop)
    if stop:
        with pytest.raises(RuntimeError, match="surprise"):
            trainer.fit(module, StoppingData())
    else:
        trainer.fit(module, StoppingData())
    last = stored(folder / "checkpoints" / "last.ckpt")
    torch.testing.assert_close(last["current_model_state"]["layer.weight"], raw.weight)
    assert not torch.equal(last["state_dict"]["layer.weight"], raw.weight)
    if not stop:
        torch.testing.assert_close(module.layer.weight, last["state_dict"]["layer.weight"])


def test_files_that_only_the_trainer_finds_are_named_too(folder, capsys):
    assert fit() == 0
    LAST.write_bytes(LAST.read_bytes()[:300])
    assert fit("--ckpt_path", "last", "--trainer.logger.version", "0") == 1
    assert "last.ckpt: not a checkpoint that loads as plain data" in capsys.readouterr().err
    torch.save({"state_dict": {}}, "bare.ckpt")
    with pytest.raises(IgclError, match="does not say which version of Lightning"):
        PlainCheckpointIO().load_checkpoint("bare.ckpt")


WAYS = {(): 4, (0,): 3, (1,): 3, (0, 1): 3}
"""Which processes fail in their fourth step, and the step that last.ckpt then holds."""


def run_rank(rank, ports, folder, queue):
    torch.set_num_threads(1)
    for failing, port in zip(WAYS, ports, strict=True):
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), LOCAL_RANK=str(rank), WORLD_SIZE="2")
        trainer = Trainer(
            devices=2,
            strategy="ddp",
            accelerator="cpu",
            max_epochs=2,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            check_val_every_n_epoch=5,
            default_root_dir=folder / str(failing),
            callbacks=[LastCheckpoint()],
        )
        try:
            trainer.fit(StoppingModel(stop=4 if rank in failing else 0), StoppingData())
            queue.put((rank, failing, "ended"))
        except RuntimeError:
            queue.put((rank, failing, "stopped"))
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    os._exit(0)  # nothing is left to wait for


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def test_two_processes_never_wait_for_each_other_in_vain(folder):
    queue, ports = SERVER.SimpleQueue(), free_ports(len(WAYS))
    ranks = [SERVER.Process(target=run_rank, args=(rank, ports, folder, queue)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(120)
        process.kill()
        assert process.exitcode == 0, "it hangs, or failed elsewhere"
    ended = {(rank, failing): how for rank, failing, how in (queue.get() for _ in range(2 * len(WAYS)))}
    assert ended == {(rank, failing): "stopped" if failing else "ended" for rank in range(2) for failing in WAYS}
    for failing, step in WAYS.items():
        last = folder / str(failing) / "checkpoints" / "last.ckpt"
        assert stored(last)["global_step"] == step


class ShardingStrategy(DDPStrategy):
    """Stands for one that shares out weights."""


@pytest.mark.parametrize(
    ("unlike", "alone"),
    [
        ({}, True),
        ({"is_global_zero": False}, False),
        ({"strategy": ShardingStrategy()}, False),
        ({"optimizers": [SimpleNamespace(), SimpleNamespace(consolidate_state_dict=None)]}, False),
        ({"strategy": ShardingStrategy(), "world_size": 1}, True),
    ],
)
def test_of_several_processes_only_the_first_with_whole_weights_and_optimiser_can_save_alone(unlike, alone):
    usual = {"world_size": 2, "is_global_zero": True, "strategy": DDPStrategy(), "optimizers": [SimpleNamespace()]}
    assert _holds_everything(SimpleNamespace(**usual | unlike)) is alone
