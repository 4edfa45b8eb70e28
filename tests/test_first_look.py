"""What is said and refused of a training command before the libraries are imported (see test_cli for messages)."""

import inspect
import json
import os
from dataclasses import MISSING

import pytest
from lightning.pytorch import LightningDataModule, Trainer

import igcl_lightning.data.modules
import igcl_lightning.modules
from igcl_lightning.cli import option_source, training_help
from igcl_lightning.cli.first_look import first_look
from igcl_lightning.errors import IgclError, UsageError
from igcl_lightning.modules.base import BaseModule
from igcl_lightning.modules.groups import group_defaults, option_names

HOMES = {"model": (igcl_lightning.modules, BaseModule), "data": (igcl_lightning.data.modules, LightningDataModule)}
CLASSES = [(part, name) for part in HOMES for name in option_source.class_names(part)]


@pytest.mark.parametrize("part", HOMES)
def test_the_source_names_the_classes_that_an_import_finds(part):
    module, base = HOMES[part]
    public = {
        name
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, base) and value.__module__.startswith("igcl_lightning")
    }
    assert set(option_source.class_names(part)) == public - {"BaseModule"}


@pytest.mark.parametrize(("part", "name"), CLASSES)
def test_options_and_defaults_are_those_of_an_import(part, name):
    """Also inherited constructors, fields of groups, their parents' fields, and defaults that a class changes."""
    cls = getattr(HOMES[part][0], name)
    found = {each.name: each for each in option_source.arguments(part, name)}
    assert list(found) == option_names(cls)
    groups, parameters = group_defaults(cls), inspect.signature(cls).parameters
    for option, each in found.items():
        group, _, field = option.partition(".")
        default = getattr(groups[group], field) if field and group in groups else parameters[group].default
        if field and group not in groups:  # a group that may be None
            continue
        if default is inspect.Parameter.empty or default is MISSING:
            assert each.default == ""
        else:
            assert eval(each.default) == default, option  # source of this package
        assert each.about or name == "StoreDataModule", f"{option} is not in the docstring"


def test_the_trainer_has_the_options_of_an_import():
    assert {each.name for each in option_source.arguments("trainer", "")} == {*inspect.signature(Trainer).parameters}


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "manifest.json").write_text(json.dumps({"rows": {"train": 2504, "valid": 364}}))
    return ["--data.store", "store"]


def test_a_line_says_what_will_run(store, capsys):
    words = ["fit", "--config", "pretrain/igcl.yaml", *store]
    assert first_look(words) == words
    assert capsys.readouterr().err == "igcl fit: IGCL on store (2,504 train, 364 valid rows) ...\n"
    assert first_look([*words, "--model", "igcl_lightning.modules.SimCLR", "--data.store", "s3://bucket/store"])
    assert capsys.readouterr().err == "igcl fit: SimCLR on s3://bucket/store ...\n"


@pytest.mark.parametrize(("name", "value"), [("RANK", "1"), ("LOCAL_RANK", "1"), ("SLURM_PROCID", "1")])
def test_other_processes_say_nothing(store, monkeypatch, capsys, name, value):
    monkeypatch.setenv(name, value)
    first_look(["fit", "--config", "pretrain/igcl.yaml", *store])
    assert capsys.readouterr().err == ""


def test_an_option_that_a_later_config_changes_is_named(store, capsys):
    words = ["fit", "--data.num_workers", "4", "--config", "pretrain/igcl.yaml", *store, "--data.batch_size", "2"]
    assert first_look(words)
    (line, _) = capsys.readouterr().err.splitlines()
    assert line.startswith("igcl: warning: --data.num_workers 4: ")
    assert line.endswith("data.init_args.num_workers 2 comes later and wins")


def test_a_config_given_as_text_is_left_to_the_parser(store, capsys):
    words = ["fit", "--config", "{model: IGCL}", "--model.anything", "1", *store]
    assert first_look(words) == words
    assert capsys.readouterr().err == ""


def test_a_damaged_manifest_is_left_to_its_reader(store, tmp_path, capsys):
    (tmp_path / "store" / "manifest.json").write_text('{"rows": 3}')
    assert first_look(["fit", "--config", "pretrain/igcl.yaml", *store])
    assert capsys.readouterr().err == "igcl fit: IGCL on store ...\n"


def test_options_below_others_and_of_own_classes_pass(store, tmp_path):
    """Values of a dictionary, a list of callbacks, options of a class of one's own, those of an earlier class."""
    (tmp_path / "my.yaml").write_text(
        "model:\n  init_args:\n    encoder: {any: {thing: 1}}\n"
        "trainer:\n  callbacks:\n    - class_path: X\n      init_args: {y: 1}\n"
        "  logger: {class_path: A, init_args: {b: 1}}\n"
    )
    assert first_look(["test", "--config", "probe/linear.yaml", "--config", "my.yaml", *store])
    assert first_look(["fit", "--config", "pretrain/igcl.yaml", "--model", "mine.Model", "--model.own", "1", *store])
    assert first_look(["fit", "--config", "pretrain/igcl.yaml", "--config", "pretrain/convirt.yaml", *store])
    (tmp_path / "late.yaml").write_text("model:\n  init_args:\n    text: {layers: 1}\n  class_path: ConVIRT\n")
    assert first_look(["fit", "--config", "pretrain/igcl.yaml", "--config", "late.yaml", *store])
    with pytest.raises(UsageError) as refused:
        first_look(["fit", "--config", "pretrain/igcl.yaml", "--model.text.layers", "1", *store])
    assert refused.value.message.startswith("--model.text.layers: only ConVIRT")


def write_checkpoint(folder, name, seconds):
    path = folder / "checkpoints" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (seconds, seconds))


def test_latest_is_the_run_that_wrote_a_checkpoint_last(store, tmp_path):
    write_checkpoint(tmp_path / "runs/igcl/version_10", "best.ckpt", 50)
    write_checkpoint(tmp_path / "runs/igcl/version_10", "last.ckpt", 40)
    write_checkpoint(tmp_path / "runs/igcl/version_9", "last.ckpt", 45)
    write_checkpoint(tmp_path / "runs/mine/version_0", "epoch=3.ckpt", 10)
    write_checkpoint(tmp_path / "runs/linear_probe/version_0", "last.ckpt", 99)
    (tmp_path / "runs/igcl/version_11").mkdir()
    pretrain = ["--config", "pretrain/igcl.yaml", *store]
    latest = tmp_path / "runs/igcl/version_10/checkpoints"
    for command, name, given in (
        ("fit", "last.ckpt", "latest"),
        ("predict", "best.ckpt", "latest"),
        ("fit", "last.ckpt", str(tmp_path / "runs/igcl/latest")),
    ):
        words = first_look([command, *pretrain, "--ckpt_path", given])
        assert (tmp_path / words[-1].removeprefix("--ckpt_path=")).samefile(latest / name)
    words = first_look(["predict", *pretrain, "--ckpt_path=latest", "--trainer.logger.name", "mine"])
    assert words[-3] == "--ckpt_path=runs/mine/version_0/checkpoints/epoch=3.ckpt", "each option stands once"
    (tmp_path / "last.yaml").write_text("ckpt_path: latest\n")
    assert first_look(["predict", "--config", "last.yaml", *pretrain])[-1].startswith(
        "--ckpt_path=runs/igcl/version_10"
    )
    with pytest.raises(UsageError) as refused:
        first_look(["fit", "--config", "probe/linear.yaml", *store, "--model.checkpoint", "latest"])
    assert refused.value.message.endswith("Name the runs, such as runs/igcl/latest")
    words = first_look(["fit", "--config", "probe/linear.yaml", *store, "--model.checkpoint", "runs/igcl/latest"])
    assert words[-2:] == ["--model.checkpoint", "runs/igcl/version_10/checkpoints/best.ckpt"]
    with pytest.raises(IgclError, match="runs/none/latest: no run in runs/none has a checkpoint"):
        first_look(["fit", "--config", "probe/linear.yaml", *store, "--model.checkpoint", "runs/none/latest"])


def test_a_checkpoint_that_does_not_exist_is_named(store):
    with pytest.raises(IgclError, match="lastest: no such checkpoint, did you mean latest"):
        first_look(["predict", "--config", "pretrain/igcl.yaml", *store, "--ckpt_path", "lastest"])


@pytest.mark.parametrize("command", training_help.EXAMPLES)
def test_help_is_short_names_our_options_and_does_not_run(command, store, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for config in ("pretrain/igcl.yaml", "pretrain/reclf.yaml", "probe/linear.yaml"):
        assert first_look([command, "--config", config, "--help"]) == []
        lines = capsys.readouterr().out.splitlines()
        assert 40 < len(lines) <= 80
        assert not [line for line in lines[6:-5] if len(line) > 80]
        for name in ("--data.store", "--model.image.backbone", "--trainer.max_epochs", "--ckpt_path"):
            assert any(line.split()[:1] == [name] for line in lines)
    assert first_look([command, "-h"]) == []
    assert first_look([command, "--help-all"]) == [command, "--help"]
    assert first_look([command, "--trainer.callbacks.help", "EMA"])


def test_common_options_exist():
    """Each in a class, and those of the trainer with their defaults."""
    for part, names in training_help.COMMON.items():
        options = {
            each.name for name in option_source.class_names(part) for each in option_source.arguments(part, name)
        }
        assert set(names) <= options
    defaults = {name: each.default for name, each in inspect.signature(Trainer).parameters.items()}
    shown = {"none": None, "false": False, "1000": None, "32-true": None, "1.0": None}
    for name, (default, _) in training_help.TRAINER.items():
        assert default in (defaults[name], str(defaults[name])) or defaults[name] is shown[default]


def test_help_of_a_class(capsys):
    assert first_look(["fit", "--config", "pretrain/convirt.yaml", "--model.help"]) == []
    shown = capsys.readouterr().out
    assert all(f"  --model.{each.name}  (" in shown for each in option_source.arguments("model", "ConVIRT"))
    assert first_look(["fit", "--data.help=LabeledDataModule"]) == []
    assert "  --data.fraction  (1.0)\n" in capsys.readouterr().out
    with pytest.raises(UsageError) as refused:
        first_look(["fit", "--model.help", "SimCRL"])
    assert refused.value.message.endswith("did you mean SimCLR?")
    assert first_look(["fit", "--import", "mine", "--model.help", "Mine"])


def test_a_store_that_is_missing_is_named_with_the_config_that_names_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("data:\n  class_path: PairedDataModule\n  init_args:\n    store: stores/gone\n")
    with pytest.raises(IgclError, match=r"gone: no such store; .*; mine.yaml, line 4: .*names it, --data.store "):
        first_look(["fit", "--config", "pretrain/igcl.yaml", "--config", "mine.yaml"])
    with pytest.raises(IgclError, match=r"^other: no such store; `igcl prepare` makes one$"):
        first_look(["fit", "--config", "pretrain/igcl.yaml", "--data.store", "other"])


@pytest.mark.parametrize("command", ["fit", "test"])
def test_help_shows_the_options_of_what_the_command_is_for(command, capsys):
    assert first_look([command, "--help"]) == []
    out = capsys.readouterr().out
    assert ("LinearProbe:" in out, "IGCL:" in out) == ((True, False) if command == "test" else (False, True))
    assert max(map(len, out.partition("example:\n")[2].splitlines()[0:1])) <= 80
