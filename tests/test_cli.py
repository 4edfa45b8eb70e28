"""The command line, called in-process; two small real processes show that it starts light and how it exits."""

import csv
import json
import logging
import os
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml
from datasets import load_from_disk
from lightning.pytorch import LightningDataModule
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from igcl_lightning.cli import main
from igcl_lightning.errors import IgclError
from igcl_lightning.modules.base import BaseModule
from igcl_lightning.quiet import quieten
from igcl_lightning.reports import parsing
from igcl_lightning.reports.worker import graph_lines
from igcl_lightning.training import options as training_options
from igcl_lightning.training.lightning_cli import check

BASE = """\
trainer:
  max_epochs: 1
  accelerator: cpu
  enable_progress_bar: false
  enable_model_summary: false
  log_every_n_steps: 1
model:
  class_path: TinyCliModel
  init_args:
    width: 5
data:
  class_path: TinyCliData
"""
COMMANDS = (
    "fit",
    "validate",
    "test",
    "predict",
    "prepare",
    "doctor",
    "graphs",
    "search",
    "evaluate",
    "compare",
    "demo",
)
CHECKPOINT = "runs/tiny_cli_model/version_0/checkpoints/epoch=0-step=2.ckpt"


class TinyCliModel(BaseModule):
    def __init__(self, width: int = 4, learning_rate: float = 0.1, title: str = "a"):
        super().__init__({"learning_rate": learning_rate})
        self.save_hyperparameters()
        if width < 1:
            raise ValueError(f"width {width}:\n expected 1 or more")
        self.layer = nn.Linear(3, width)

    def training_step(self, batch, index):
        loss = self.layer(batch[0]).square().mean()
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch, index):
        self.log("val/loss", self.layer(batch[0]).square().mean())

    test_step = validation_step


@dataclass(frozen=True)
class Picture:
    size: int = 4
    shape: tuple[int, int] | None = None


class GroupedCliModel(TinyCliModel):
    def __init__(self, picture: Picture = Picture(), second: Picture | None = None, rate: float = 0.1):
        super().__init__(learning_rate=rate)


class FrozenCliModel(TinyCliModel):
    def on_fit_start(self):
        self.frozen = nn.Dropout().eval()
        warnings.warn("one that nobody knows", stacklevel=1)


class InterruptedCliModel(TinyCliModel):
    def training_step(self, batch, index):
        raise KeyboardInterrupt


class SurprisedCliModel(TinyCliModel):
    def training_step(self, batch, index):
        raise RuntimeError("surprise")


class TinyCliData(LightningDataModule):
    def __init__(self, batch_size: int = 4):
        super().__init__()
        self.save_hyperparameters()

    def train_dataloader(self):
        return DataLoader(TensorDataset(torch.randn(8, 3)), batch_size=self.hparams.batch_size)

    val_dataloader = test_dataloader = train_dataloader


class ClashingCliData(TinyCliData):
    def __init__(self, width: int = 3):
        super().__init__()
        self.save_hyperparameters()
        self.hparams.batch_size = 4


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil_was_here",)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty current folder with a base config; what Lightning and the program change in the process is undone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for variable in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS", "IGCL_DEBUG"):
        monkeypatch.setenv(variable, "0")
    (tmp_path / "base.yaml").write_text(BASE)
    return tmp_path


@pytest.fixture
def one_line(capsys):
    """Run a command and return its status and the only line on standard error."""

    def run(*words):
        status = main(list(words))
        lines = capsys.readouterr().err.splitlines()
        lines = [line for line in lines if line.startswith("igcl: ")]
        assert len(lines) == 1
        return status, lines[0]

    return run


def fit(*words, command="fit"):
    assert main([command, "--config", "base.yaml", *words]) == 0


def parsed(capsys, *words):
    """Return the configuration that `igcl fit` would run with."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", "base.yaml", *words, "--print_config"])
    assert stop.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)


def callback_names(config):
    return [callback["class_path"].rpartition(".")[2] for callback in config["trainer"]["callbacks"]]


def test_help_needs_no_heavy_import():
    code = """
import pathlib, sys
from igcl_lightning.cli import main
for words in (["--help"], ["graphs", "--help"], ["prepare", "table", "--help"], ["sweep", "--help"]):
    try:
        main(words)
    except SystemExit as stop:
        assert stop.code == 0
fit = ["fit", "--config", "pretrain/phantom.yaml"]
pathlib.Path("manifest.json").write_text('{"rows": {"train": 3}}')
for words in ([*fit, "--help"], ["fit", "--model.help", "RECLF"]):
    assert main(words) == 0
for words in ([*fit, "--model.graph.chanels", "3"], [*fit, "--config", "no.yaml"], ["test", "--data.store", "no"]):
    assert main(words) == 2
for words in ([*fit, "--data.store", "none"], [*fit, "--data.store", ".", "--ckpt_path", "none.ckpt"]):
    assert main(words) == 1
heavy = {"torch", "lightning", "spacy", "datasets", "numpy", "pandas", "optuna", "wandb"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    commands = done.stdout.partition("commands:")[2]
    assert all(f"  {name} " in commands for name in COMMANDS)


def test_module_entry_point_exits_with_two_and_one_line():
    command = [sys.executable, "-m", "igcl_lightning", "prepare", "phantom", "--ot", "store"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "igcl: error: prepare phantom: --ot: unknown option, did you mean --out?\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["fti"], "unknown choice 'fti', did you mean fit?"),
        (
            ["prepare", "folder", "--root", ".", "--out", "s", "--fit", "corp"],
            "prepare folder: --fit: unknown choice 'corp', did you mean crop? (letterbox, crop)",
        ),
        (["prepare", "phantim"], "unknown choice 'phantim', did you mean phantom?"),
        (["prepare", "phantom", "--size=big", "--out", "s"], "--size: invalid int value: 'big'"),
        (["prepare", "table", "--out", "s"], "required: --csv, --image-column"),
        (
            ["prepare", "table", "a.csv", "--out", "s"],
            "prepare table: a.csv: belongs to no option; needed are --csv, --image-column, --out",
        ),
        (["graphs", "r.jsonl", "--outt", "g"], "graphs: --outt: unknown option, did you mean --out?"),
        (["--versio"], "--versio: unknown option, did you mean --version?"),
    ],
)
def test_wrong_usage_of_light_commands(one_line, words, expected):
    status, line = one_line(*words)
    assert status == 2
    assert expected in line


def test_no_words_show_the_help(capsys):
    assert main([]) == 2
    assert "commands:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--model.widht", "3"], "--model.widht: unknown option, did you mean --model.width?"),
        (["--data.batch=3"], "--data.batch: unknown option, did you mean --data.batch_size?"),
        (["--trainer.max_epoch", "3"], "--trainer.max_epoch: unknown option, did you mean --trainer.max_epochs?"),
        (["--seed", "3"], "--seed: unknown option, did you mean --seed_everything?"),
        (["--optimizer", "Adam"], "--optimizer: unknown option"),
        (["--weights_only", "false"], "--weights_only: unknown option"),
        (["--trainer.max_epochs", "three"], "--trainer.max_epochs: expected int or null, got 'three'"),
        (["--trainer.precision", "33"], "--trainer.precision: expected 64, 32, 16 or 'transformer"),
        (["--model.width", "wide"], "--model.width: expected int, got 'wide'"),
        (["--data.batch_size", "--trainer.max_epochs", "2"], "--data.batch_size: expected one argument"),
        (["--model", "TinyCliModle"], "--model: no class is called 'TinyCliModle', did you mean TinyCliModel?"),
        (["--model", "nowhere.Model"], "--model: Problem with given class_path 'nowhere.Model': No module named"),
        (["--model", "test_cli.TinyCliData"], "does not correspond to a subclass of BaseModule"),
        (["--trainer.callbacks+=Chekpoint"], "no class is called 'Chekpoint', did you mean Checkpoint?"),
        (["--import", "nowhere"], "--import nowhere: no such module"),
        (["stray"], "unrecognized arguments: stray"),
        (["--config"], "-c/--config: expected one argument"),
    ],
)
def test_wrong_option(one_line, words, expected):
    status, line = one_line("fit", "--config", "base.yaml", *words)
    assert status == 2
    assert expected in line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("trainer:\n  max_epoch: 3\n", "line 2: trainer.max_epoch: unknown option, did you mean trainer.max_epochs?"),
        ("max_epochs: 3\n", "line 1: max_epochs: unknown option, did you mean trainer.max_epochs?"),
        ("model:\n  init_args:\n    widht: 3\n", "line 3: model.init_args.widht: unknown option"),
        ("model:\n  init_args:\n    width: wide\n", "line 3: model.init_args.width: expected int, got 'wide'"),
        ("model:\n  class_path: TinyCliModle\n", "line 1: model: no class is called 'TinyCliModle'"),
        ("model: [\n", "line 2: not valid YAML"),
        ("trainer:\n  max_epochs: 3\n  max_epochs: 4\n", "line 3: trainer.max_epochs is given twice"),
        ("data: TinyCliData\nmodel: TinyCliModel\ndata: TinyCliData\n", "line 3: data is given twice"),
        (
            "trainer:\n  callbacks:\n  - class_path: A\n    class_path: B\n",
            "trainer.callbacks.class_path is given twice",
        ),
        ("", "a config must be a mapping of options"),
    ],
)
def test_wrong_config(one_line, text, expected):
    Path("my.yaml").write_text(text)
    status, line = one_line("fit", "--config", "base.yaml", "--config=my.yaml")
    assert status == 2
    assert line.startswith("igcl: error: my.yaml")
    assert expected in line


@pytest.mark.parametrize("content", [b"\x00", b"\xff\xfe"])
def test_a_config_that_is_no_text_is_named(one_line, content):
    Path("my.yaml").write_bytes(content)
    status, line = one_line("fit", "--config", "base.yaml", "--config=my.yaml")
    assert (status, line.startswith("igcl: error: my.yaml: not valid YAML: ")) == (2, True), line


GROUPED = "model:\n  class_path: GroupedCliModel\n  init_args:\n    "


@pytest.mark.parametrize("value", ["3", "null", "[1, 2]", "resnet50"])
def test_a_group_is_no_single_value(one_line, value):
    Path("single.yaml").write_text(f"model: {{class_path: IGCL, init_args: {{image: {value}}}}}\ndata: TinyCliData\n")
    status, line = one_line("fit", "--config", "single.yaml")
    assert (status, "image: expected a group of options, such as {size: 64}" in line) == (2, True), line


@pytest.mark.parametrize("value", ["3", "null", "[1, 2]"])
def test_a_group_of_the_data_is_no_single_value(one_line, value, phantom_store):
    groups = f"{{store: {phantom_store}, noise: {value}}}"
    Path("single.yaml").write_text(f"model: IGCL\ndata: {{class_path: PairedDataModule, init_args: {groups}}}\n")
    status, line = one_line("fit", "--config", "single.yaml")
    assert (status, "noise: expected a group of options, such as {size: 64}" in line) == (2, True), line


def test_options_of_the_model_that_a_config_names_are_not_those_of_a_later_one(one_line):
    status, line = one_line("fit", "--config", "pretrain/phantom.yaml", "--model", "ConVIRT", "--model.graph.layers=3")
    assert status == 2
    assert line == "igcl: error: --model.graph.layers: only IGCL and RECLF have this option"


@pytest.mark.parametrize("preset", ["phantom_gloria", "phantom_convirt"])
def test_an_option_of_other_models_names_them(one_line, preset):
    expected = "model.counterfactual.kinds: only IGCL and RECLF have this option"
    given = ["fit", "--config", f"pretrain/{preset}.yaml"]
    assert one_line(*given, "--model.counterfactual.kinds=[side]") == (2, f"igcl: error: --{expected}")
    Path("twins.yaml").write_text("model:\n  counterfactual:\n    kinds: [side]\n")
    assert one_line(*given, "--config", "twins.yaml") == (2, f"igcl: error: twins.yaml, line 3: {expected}")


def test_an_option_of_another_data_module_names_it(one_line):
    status, line = one_line("fit", "--config", "pretrain/phantom.yaml", "--data.shots", "3")
    assert (status, line) == (2, "igcl: error: --data.shots: only LabeledDataModule has this option")


def test_names_that_share_no_more_than_their_part_are_not_near(one_line):
    status, line = one_line("fit", "--config", "pretrain/phantom_convirt.yaml", "--model.counterfactuals.kind=side")
    assert (status, line) == (2, "igcl: error: --model.counterfactuals.kind: unknown option")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--model.picture.sise", "3"], "--model.picture.sise: unknown option, did you mean --model.picture.size?"),
        (["--model.picture.siz", "3"], "--model.picture.siz: unknown option, did you mean --model.picture.size?"),
        (["--model.second.sise=3"], "--model.second.sise: unknown option, did you mean --model.second.size?"),
        (["--model.picture_size", "3"], "--model.picture_size: unknown option, did you mean --model.picture.size?"),
        (["--model.picture.size", "big"], "--model.picture.size: expected int, got 'big'"),
        (["--model.picture.size"], "--model.picture.size: expected one argument"),
        (["--model.picture", "3"], "--model.picture: expected a group of options"),
        (["--model.picture.shape", "[1]"], "--model.picture.shape: expected tuple with 2 elements or null, got '[1]'"),
    ],
)
def test_wrong_option_of_a_group(one_line, words, expected):
    Path("grouped.yaml").write_text(GROUPED + "rate: 0.2\ndata: TinyCliData\n")
    status, line = one_line("fit", "--config", "grouped.yaml", *words)
    assert (status, line.startswith(f"igcl: error: {expected}")) == (2, True), line


@pytest.mark.parametrize("words", [["--model.picture.shape=null"], ["--model.init_args.picture.shape", "null"]])
def test_null_is_a_value_of_a_group(one_line, words):
    """And leaves the group's other options as they were."""
    Path("grouped.yaml").write_text(GROUPED + "picture: {size: 7, shape: [1, 2]}\ndata: TinyCliData\n")
    merged = yaml.safe_load(check(["fit", "--config", "grouped.yaml", *words])[0])
    assert merged["fit"]["model"]["init_args"]["picture"] == {"size": 7, "shape": None}


@pytest.mark.parametrize("words", [["--model.picture.size=null"], ["--config", "null.yaml"]])
def test_null_where_a_group_takes_none_is_named(one_line, words):
    Path("grouped.yaml").write_text(GROUPED + "rate: 0.2\ndata: TinyCliData\n")
    Path("null.yaml").write_text("model:\n  init_args:\n    picture: {size: null}\n")
    status, line = one_line("fit", "--config", "grouped.yaml", *words)
    assert (status, line) == (2, "igcl: error: --model.picture.size: expected int, got null")


def test_null_of_an_unknown_option_of_a_group(one_line):
    Path("grouped.yaml").write_text(GROUPED + "rate: 0.2\ndata: TinyCliData\n")
    status, line = one_line("fit", "--config", "grouped.yaml", "--model.picture.sise=null")
    assert (status, line) == (
        2,
        "igcl: error: --model.picture.sise: unknown option, did you mean --model.picture.size?",
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "picture:\n      sise: 3",
            "5: model.init_args.picture.sise: unknown option, did you mean model.picture.size?",
        ),
        ("second:\n      sise: 3", "5: model.init_args.second.sise: unknown option, did you mean model.second.size?"),
        ("picture_size: 3", "4: model.init_args.picture_size: unknown option, did you mean model.picture.size?"),
        ("picture:\n      size: big", "5: model.init_args.picture.size: expected int, got 'big'"),
        ("picture: {size: 3}\n    second: {size: big}", "5: model.init_args.second.size: expected int, got 'big'"),
    ],
)
def test_wrong_group_in_a_config(one_line, text, expected):
    Path("grouped.yaml").write_text(f"{GROUPED}{text}\ndata: TinyCliData\n")
    status, line = one_line("fit", "--config", "grouped.yaml")
    assert (status, line) == (2, f"igcl: error: grouped.yaml, line {expected}")


def test_missing_model_and_data(one_line):
    status, line = one_line("fit")
    assert status == 2
    assert line.startswith("igcl: error: fit needs a --config that names a model, such as --config pretrain/igcl.yaml")
    status, line = one_line("fit", "--model", "test_cli.TinyCliModel")
    assert status == 2
    assert line.startswith("igcl: error: fit needs --data: give them, or a --config that does")


@pytest.fixture
def shipped(folder, monkeypatch):
    shipped = folder / "installed" / "configs"
    (shipped / "pretrain").mkdir(parents=True)
    (shipped / "pretrain" / "tiny.yaml").write_text("seed_everything: 7\n")
    monkeypatch.setattr(training_options, "shipped_configs", lambda: shipped)
    return shipped


@pytest.mark.parametrize("name", ["pretrain/tiny.yaml", "configs/pretrain/tiny.yaml"])
def test_shipped_config_is_found_unless_the_current_folder_has_one(shipped, capsys, name):
    assert parsed(capsys, "--config", name)["seed_everything"] == 7
    Path(name).parent.mkdir(parents=True)
    Path(name).write_text("seed_everything: 8\n")
    assert parsed(capsys, "-c", name)["seed_everything"] == 8


def test_missing_config_names_near_ones(shipped, one_line):
    status, line = one_line("fit", "--config", "configs/pretrain/tyni.yaml")
    assert status == 2
    assert "--config configs/pretrain/tyni.yaml: no such file" in line
    assert line.endswith("no such file or shipped config, did you mean pretrain/tiny.yaml?")


def test_run_folder_by_default():
    fit()
    folder = Path("runs/tiny_cli_model/version_0")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["seed_everything"] == 42
    assert config["model"]["init_args"] == {"width": 5, "learning_rate": 0.1, "title": "a"}
    assert (folder / "metrics.csv").exists()
    assert Path(CHECKPOINT).exists()
    assert main(["fit", "--config", str(folder / "config.yaml"), "--seed_everything", "7"]) == 0
    again = yaml.safe_load((folder.with_name("version_1") / "config.yaml").read_text())
    assert again == {**config, "seed_everything": 7}


def test_without_a_logger_nothing_is_written_beside_checkpoints(folder):
    fit("--trainer.logger", "false", "--trainer.enable_checkpointing", "false")
    assert [path.name for path in folder.iterdir()] == ["base.yaml"]


def test_logger_options_keep_the_other_defaults(capsys):
    logger = parsed(capsys, "--trainer.logger.name", "mine")["trainer"]["logger"]
    assert logger["class_path"].endswith("CSVLogger")
    assert (logger["init_args"]["save_dir"], logger["init_args"]["name"]) == ("runs", "mine")


def test_wandb_runs_offline_without_an_account(folder, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DIR", str(folder))
    fit("--trainer.logger", "WandbLogger", "--trainer.logger.offline", "true", "--trainer.logger.project", "trial")
    (run,) = (folder / "runs" / "trial").iterdir()
    assert {path.name for path in run.iterdir()} == {"config.yaml", "checkpoints"}


def test_configs_merge_left_to_right(capsys):
    Path("second.yaml").write_text("trainer: {max_epochs: 3}\nmodel: {init_args: {title: b}}\n")
    Path("third.yaml").write_text("trainer: {min_epochs: 2}\nmodel: {init_args: {title: c}}\n")
    config = parsed(capsys, "--config", "second.yaml", "--config", "third.yaml", "--model.learning_rate", "0.5")
    assert (config["trainer"]["max_epochs"], config["trainer"]["min_epochs"]) == (3, 2)
    assert config["model"]["init_args"] == {"width": 5, "learning_rate": 0.5, "title": "c"}


def test_callbacks_of_a_fragment_are_appended(capsys):
    Path("one.yaml").write_text("trainer:\n  callbacks+:\n  - class_path: ModelSummary\n")
    Path("two.yaml").write_text(
        "trainer:\n  callbacks+:\n  - class_path: LearningRateMonitor\n    init_args: {logging_interval: step}\n"
    )
    assert callback_names(parsed(capsys, "--config", "one.yaml")) == ["ModelSummary"]
    both = parsed(capsys, "--config", "one.yaml", "--config", "two.yaml", "--trainer.callbacks+=RichProgressBar")
    assert callback_names(both) == ["ModelSummary", "LearningRateMonitor", "RichProgressBar"]
    assert both["trainer"]["callbacks"][1]["init_args"]["logging_interval"] == "step"


def test_own_class_from_the_current_folder(capsys):
    Path("own_cli_model.py").write_text("from test_cli import TinyCliModel\nclass OwnModel(TinyCliModel): pass\n")
    fit("--model", "own_cli_model.OwnModel")
    fit("--import", "own_cli_model", "--model", "OwnModel")
    assert len(list(Path("runs/own_model").iterdir())) == 2
    checkpoint = "runs/own_model/version_0/checkpoints/epoch=0-step=2.ckpt"
    del sys.modules["own_cli_model"]
    assert main(["fit", "--config", "base.yaml", "--ckpt_path", checkpoint]) == 1
    assert "its class own_cli_model.OwnModel is not imported; if you trust it, add --import" in capsys.readouterr().err
    fit("--import=own_cli_model", "--ckpt_path", checkpoint, command="test")


def test_broken_module_keeps_its_traceback():
    Path("broken_cli_model.py").write_text("import nowhere_at_all\n")
    with pytest.raises(ModuleNotFoundError, match="nowhere_at_all"):
        main(["fit", "--config", "base.yaml", "--import", "broken_cli_model"])


def test_resume_in_the_same_folder_loses_nothing(capsys):
    fit()
    folder = Path("runs/tiny_cli_model/version_0")
    before = (folder / "metrics.csv").read_text()
    config = (folder / "config.yaml").read_text()
    resume = ["--ckpt_path", CHECKPOINT, "--trainer.logger.version", "0"]
    fit(*resume, "--trainer.max_epochs", "2")
    longer = (folder / "metrics.csv").read_text()
    assert longer.startswith(before)
    assert not (folder / "metrics-before-resume-1.csv").exists()
    fit(*resume, "--trainer.max_epochs", "3")
    assert "igcl: warning" not in capsys.readouterr().err
    assert (folder / "config.yaml").read_text() == config
    assert yaml.safe_load((folder / "config-resume-2.yaml").read_text())["trainer"]["max_epochs"] == 3
    assert (folder / "metrics-before-resume-1.csv").read_text() == longer
    with (folder / "metrics.csv").open() as file:
        epochs = [row["epoch"] for row in csv.DictReader(file)]
    assert [epochs.count(epoch) for epoch in "012"] == [len(epochs) / 3] * 3
    assert epochs == sorted(epochs)


def test_checkpoint_decides_the_model_and_says_so(one_line):
    fit()
    Path("alias_cli_model.py").write_text("from test_cli import TinyCliModel\n")
    same = ["--model", "alias_cli_model.TinyCliModel", "--model.title=a"]
    status, line = one_line("test", "--config", "base.yaml", "--ckpt_path", CHECKPOINT, *same, "--model.width", "8")
    assert status == 0
    assert line.startswith("igcl: warning: ")
    assert line.endswith(f"--ckpt_path {CHECKPOINT} apply: model.width 5 (not 8)")


def test_checkpoint_with_code_is_refused(one_line):
    fit()
    checkpoint = torch.load(CHECKPOINT, weights_only=True)
    torch.save({**checkpoint, "extra": Evil()}, "evil.ckpt")
    status, line = one_line("fit", "--config", "base.yaml", "--ckpt_path", "evil.ckpt")
    assert status == 1
    assert "evil.ckpt: not a checkpoint that loads as plain data" in line
    Path("evil.ckpt").rename(Path(CHECKPOINT).with_name("last.ckpt"))  # found by the trainer, not by us
    status, line = one_line("fit", "--config", "base.yaml", "--ckpt_path", "last", "--trainer.logger.version", "0")
    assert (status, "last.ckpt: not a checkpoint that loads as plain data" in line) == (1, True)
    assert not Path("evil_was_here").exists()


@pytest.mark.parametrize(
    ("name", "expected"), [("none.ckpt", "none.ckpt: no such checkpoint"), ("base.yaml", "base.yaml: not a checkpoint")]
)
def test_wrong_checkpoint(one_line, name, expected):
    status, line = one_line("test", "--config", "base.yaml", "--ckpt_path", name)
    assert status == 1
    assert expected in line


def test_hyper_parameter_clash(one_line):
    status, line = one_line("fit", "--config", "base.yaml", "--data", "ClashingCliData")
    assert status == 2
    assert line.endswith("share a hyper-parameter name with different values: --model.width 5 and --data.width 3")
    fit("--data", "ClashingCliData", "--data.width", "5", "--trainer.fast_dev_run", "true")


def test_constructor_error_is_one_line(one_line):
    assert one_line("fit", "--config", "base.yaml", "--model.width", "0") == (
        1,
        "igcl: error: width 0: expected 1 or more (--debug shows where)",
    )


def test_debug_raises(monkeypatch):
    with pytest.raises(ValueError, match=r"^width 0:\n expected"):
        main(["fit", "--config", "base.yaml", "--model.width", "0", "--debug"])
    monkeypatch.setenv("IGCL_DEBUG", "1")
    with pytest.raises(ValueError, match="expected 1 or more"):
        main(["fit", "--config", "base.yaml", "--model.width", "0"])


def test_impossible_trainer_is_one_line(one_line, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    status, line = one_line("fit", "--config", "base.yaml", "--trainer.accelerator", "cpuu")
    said = "igcl: error: --trainer.accelerator cpuu: not one of auto, cpu, cuda, gpu, mps, tpu, did you mean cpu?"
    assert (status, line) == (2, said)
    status, line = one_line("fit", "--config", "base.yaml", "--trainer.accelerator", "cuda")
    assert status == 1
    assert "CUDA" in line


def test_interrupt_and_surprise():
    assert main(["fit", "--config", "base.yaml", "--model", "InterruptedCliModel"]) == 130
    with pytest.raises(RuntimeError, match="surprise"):
        main(["fit", "--config", "base.yaml", "--model", "SurprisedCliModel"])


NOTES = {
    "GPU available: False, used: False": False,
    "TPU available: False, using: 0 TPU cores": False,
    "💡 Tip: try another product": False,
    "`Trainer.fit` stopped: `max_epochs=1` reached.": False,
    "`Trainer.fit` stopped: `max_time=0:00:01` reached.": True,
    "Restoring states from the checkpoint path at x": False,
}


def test_known_notes_are_quiet_and_news_is_not():
    quieten()
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    notes = {text: logger.filter(logger.makeRecord("", logging.INFO, "", 0, text, (), None)) for text in NOTES}
    assert {text: bool(passed) for text, passed in notes.items()} == NOTES


def test_known_warnings_are_quiet_and_news_is_not(recwarn):
    logging_rarely = ["--trainer.log_every_n_steps", "50", "--model", "FrozenCliModel"]
    fit(*logging_rarely)
    checkpoint = "runs/frozen_cli_model/version_0/checkpoints/epoch=0-step=2.ckpt"
    fit(*logging_rarely, "--ckpt_path", checkpoint, "--trainer.max_epochs", "2", "--trainer.logger.version", "0")
    said = {str(warning.message) for warning in recwarn}
    assert "one that nobody knows" in said
    known = ("many workers", "eval mode", "logging interval", "not empty")
    assert not [text for text in said if any(words in text for words in known)]


def test_graphs_command(capsys, one_line):
    Path("reports.jsonl").write_text('{"id": "a", "text": "No pleural effusion."}\n')
    assert main(["graphs", "reports.jsonl", "--out", "graphs.jsonl"]) is None
    following = "igcl prepare table --csv STUDIES.csv --image-column IMAGE --graphs graphs.jsonl --out STORE"
    assert capsys.readouterr().out == f"1 reports -> graphs.jsonl\nnext  {following}\n"
    assert json.loads(Path("graphs.jsonl").read_text())["id"] == "a"
    assert one_line("graphs", "no.jsonl", "--out", "g.jsonl") == (1, "igcl: error: no.jsonl: no such file")


def test_graphs_command_with_own_headers_and_other_languages(capsys, one_line, monkeypatch):
    texts = ["ASKED: Edema?\nSEEN: Small effusion.", "Kein Pneumothorax.", "Sin derrame pleural."]
    lines = [json.dumps({"id": str(number), "text": text}) + "\n" for number, text in enumerate(texts)]
    Path("reports.jsonl").write_text("".join(lines))
    Path("own.tsv").write_text("indication\tAsked\nfindings\tSeen\n")

    command = ["graphs", "reports.jsonl", "--out", "graphs.jsonl", "--jobs", "1", "--overwrite"]

    def names(*words):
        assert main([*command, *words]) is None
        graphs = map(json.loads, Path("graphs.jsonl").read_text().splitlines())
        found = [[entity["tokens"] for entity in graph["entities"].values()] for graph in graphs]
        return found, [line for line in capsys.readouterr().err.splitlines() if line.startswith("igcl: ")]

    empty = "igcl: warning: reports.jsonl: 2 reports are not English: their graphs are empty; see --any-language"
    assert names("--headers", "own.tsv") == ([["Small", "effusion"], [], []], [empty])
    parsed = "igcl: warning: reports.jsonl: 2 reports are not English: parsed all the same"
    assert names("--any-language") == ([["Edema", "Small", "effusion"], ["Pneumothorax"], []], [parsed])

    stop = iter([False, False, True])

    def interrupted(*words):
        if next(stop):
            raise KeyboardInterrupt
        return graph_lines(*words)

    monkeypatch.setattr(parsing, "CHUNK", 1)
    with monkeypatch.context() as patched:
        patched.setattr(parsing, "graph_lines", interrupted)
        assert main([*command, "--headers", "own.tsv"]) == 130
    assert len(Path(".graphs.jsonl.partial").read_text().splitlines()) == 2
    capsys.readouterr()
    assert names("--headers", "own.tsv") == ([["Small", "effusion"], [], []], [empty])

    Path("own.tsv").write_text("reason\tAsked\n")
    status, line = one_line("graphs", "reports.jsonl", "--out", "g.jsonl", "--headers", "own.tsv")
    assert (status, line.startswith("igcl: error: --headers own.tsv: line 1: expected SECTION<tab>HEADER")) == (1, True)


def test_prepare_table_with_own_headers_and_other_languages(capsys):
    from PIL import Image

    for name in "abc":
        Image.new("L", (32, 32), ord(name)).save(f"{name}.png")
    texts = {"a": "ASKED: Edema?\nSEEN: Small effusion.", "b": "Kein Pneumothorax.", "c": "No mass."}
    with open("t.csv", "w", newline="") as table:
        csv.writer(table).writerows([("file", "text"), *((f"{name}.png", text) for name, text in texts.items())])
    Path("own.tsv").write_text("indication\tAsked\nfindings\tSeen\n")
    words = ["prepare", "table", "--csv", "t.csv", "--image-column", "file", "--report-column", "text", "--size", "32"]

    assert main([*words, "--headers", "own.tsv", "--out", "store"]) is None
    said = capsys.readouterr().out
    manifest = json.loads(Path("store/manifest.json").read_text())
    assert "  reports: 3 found, 0 blank, 1 not English" in said.splitlines()
    assert (manifest["rows_with_empty_graph"], manifest["flags"]["report not in English"]) == (1, 1)
    assert manifest["options"]["headers"] == {"asked": "indication", "seen": "findings"}
    graphs = [
        row["graph"] for split in manifest["rows"] for row in load_from_disk(f"store/{split}").select_columns("graph")
    ]
    assert sorted(graph["text"] for graph in graphs) == ["Kein Pneumothorax .", "No mass .", "Small effusion ."]

    assert main([*words, "--any-language", "--out", "store2"]) is None
    assert main(["prepare", "folder", "--root", "store2/manifest.json", "--out", "s"]) == 1
    assert "--root store2/manifest.json: a file, not a folder" in capsys.readouterr().err
    manifest = json.loads(Path("store2/manifest.json").read_text())
    assert manifest["rows_with_empty_graph"] == 0
    assert manifest["parser"].endswith("-any-language")


def test_prepare_phantom(capsys):
    words = ["prepare", "phantom", "--count", "6", "--size", "64"]
    assert main([*words, "--views", "frontal", "--shortcut", "Edema", "--out", "store"]) is None
    manifest = json.loads(Path("store/manifest.json").read_text())
    assert (sum(manifest["rows"].values()), manifest["size"], manifest["source"]["name"]) == (6, 64, "phantom")
    assert (manifest["source"]["shortcut"], manifest["extra"]) == ("Edema", ["shortcut"])
    assert capsys.readouterr().out.startswith("store: rows ")


def test_prepare_table_names_what_it_dropped(capsys, one_line):
    from PIL import Image

    Image.new("L", (32, 32)).save("a.png")
    Path("b.png").write_text("no picture")
    Path("t.csv").write_text("file,who,text,Edema,note\na.png,p1,Clear lungs.,0,x\nb.png,p2,Edema.,1,y\n")
    columns = ["--image-column", "file", "--patient-column", "who", "--report-column", "text"]
    columns += ["--label-columns", "Edema", "--extra-columns", "note"]
    assert main(["prepare", "table", "--csv", "t.csv", "--size", "32", "--out", "store", *columns]) is None
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "store: rows 1 train, no valid, no test"
    assert {"  labels: Edema 0 of 1", "  dropped: 1 image not readable"} < set(lines)
    assert lines[-3:] == ["  store/manifest.json names the rows", "folder  store", "next    igcl doctor store"]
    manifest = json.loads(Path("store/manifest.json").read_text())
    assert (manifest["labels"], manifest["extra"]) == (["Edema"], ["note"])
    status, line = one_line("prepare", "table", "--csv", "no.csv", "--image-column", "file", "--out", "store2")
    assert (status, line) == (1, "igcl: error: no.csv: no such file")


def test_prepare_table_takes_graphs_from_a_file(one_line):
    from PIL import Image

    Image.new("L", (32, 32)).save("a.png")
    Path("t.csv").write_text("file,key\na.png,50000001\n")
    entity = {"tokens": "Mass", "label": "Observation::uncertain", "start_ix": 0, "end_ix": 0, "relations": []}
    report = {"text": "Mass ?", "entities": {"1": entity, "2": entity | {"label": "?"}}}
    Path("g.json").write_text(json.dumps({"p10/p10000001/s50000001.txt": report}))
    words = ["prepare", "table", "--csv", "t.csv", "--image-column", "file", "--size", "32"]
    assert main([*words, "--graphs", "g.json", "--graph-column", "key", "--out", "store"]) is None
    manifest = json.loads(Path("store/manifest.json").read_text())
    graphs = manifest["source"]["graphs"]
    assert set(manifest["inputs"]) == {"t.csv", "g.json"}
    assert graphs == {
        "file": "g.json",
        "layout": "JSON by report",
        "graphs": 1,
        "ambiguous_studies": 0,
        "faults": {"unknown label: dropped": 1},
        "rows": {"found_by_key": 1, "found_by_text": 0, "not_found": 0},
    }
    assert manifest["rows_with_empty_graph"] == 0
    status, line = one_line(*words, "--graph-column", "key", "--out", "store2")
    assert (status, "give the file with --graphs" in line) == (1, True)


def test_demo_command(monkeypatch, one_line):
    calls = []

    def evaluate(request):
        calls.append((request.out, request.fast, request.seed, request.table))
        if request.fast:
            raise IgclError("runs/demo: exists already;\n remove it")
        return True

    monkeypatch.setattr("igcl_lightning.protocols.evaluation.evaluate", evaluate)
    assert not main(["demo"])
    words = ["demo", "--out", "x", "--fast", "--seed", "7"]
    assert one_line(*words) == (1, "igcl: error: runs/demo: exists already; remove it")
    table = "evaluation/demo.yaml"
    assert calls == [(Path("runs/demo"), False, None, table), (Path("x"), True, 7, table)]


@pytest.mark.parametrize(
    ("name", "folder"),
    [("IGCL", "igcl"), ("ConVIRT", "convirt"), ("SimCLR", "simclr"), ("FewShotProbe", "few_shot_probe")],
)
def test_run_folders_are_called_as_the_method_is(name, folder):
    from igcl_lightning.training.options import snake_case

    assert snake_case(name) == folder
