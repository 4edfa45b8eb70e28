"""Grouped arguments: dataclasses or dictionaries in Python, dotted options elsewhere, dictionaries in checkpoints."""

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from lightning.fabric.utilities.logger import _flatten_dict
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import WandbLogger

from igcl_lightning.cli import main
from igcl_lightning.errors import IgclError
from igcl_lightning.modules import IGCL, BaseModule, ConVIRT, FineTune, LinearProbe, SimCLR
from igcl_lightning.modules.contrastive import PretrainOptimOptions
from igcl_lightning.modules.groups import option_names
from igcl_lightning.modules.optim import OptimOptions
from igcl_lightning.modules.report_side import ReportOptions
from igcl_lightning.nn.external_encoder import ExternalOptions
from igcl_lightning.nn.graph_encoder import GraphOptions
from igcl_lightning.nn.image_encoder import ImageOptions
from igcl_lightning.nn.text_encoder import TextOptions
from igcl_lightning.training.lightning_cli import stored_model

IMAGE = {"backbone": "test_resnet", "size": 32}


class Own(IGCL):
    """A user's subclass with a default of its own for one group."""

    def __init__(self, image: ImageOptions = ImageOptions("test_resnet", 32), depth: int = 1, **kwargs):
        super().__init__(image, **kwargs)


def save(module, path):
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    trainer.strategy.connect(module)
    trainer.save_checkpoint(path)
    return path


def change(path, **arguments):
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["hyper_parameters"] |= arguments
    torch.save(checkpoint, path)
    return path


@pytest.fixture
def small(tmp_path):
    return save(IGCL(IMAGE, {"channels": 16}), tmp_path / "small.ckpt")


def test_a_dataclass_and_a_dictionary_are_the_same():
    one = IGCL(ImageOptions("test_resnet", 32), GraphOptions(channels=16))
    two = IGCL(image=IMAGE, graph={"channels": 16})
    assert dict(one.hparams) == dict(two.hparams)
    assert one.hparams["graph"]["layers"] == 2
    assert [value.shape for value in one.parameters()] == [value.shape for value in two.parameters()]


def test_what_a_dictionary_leaves_out_is_the_default_of_the_class():
    module = ConVIRT(IMAGE, {"channels": 16}, projection={"layers": 1}, loss={"temperature": 0.2})
    assert module.report_projection.out_channels == 512
    assert (module.loss.image_weight, module.loss.targets) == (0.75, "identity")
    assert module.hparams["loss"]["learn_temperature"] is False


def test_a_subclass_has_its_own_defaults_and_those_of_its_parent(tmp_path):
    module = Own(image={"interpolation": "bicubic"}, graph={"channels": 16}, optim=OptimOptions(learning_rate=0.5))
    assert (module.image_encoder.size, module.image_encoder.interpolation) == (32, "bicubic")
    assert (module.optim.learning_rate, module.freeze_steps) == (0.5, 0)
    loaded = BaseModule.load_from_checkpoint(save(module, tmp_path / "own.ckpt"))
    assert type(loaded) is Own
    assert loaded.hparams["graph"]["channels"] == 16


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"image": {"sise": 3}}, "IGCL has no option 'image.sise', did you mean image.size?"),
        ({"optim": {"image_freeze_steps": 3}}, "IGCL has no option 'optim.image_freeze_steps', did you mean optim."),
        ({"graph": 16}, "IGCL: graph is a dictionary of options, not 16"),
    ],
)
def test_wrong_groups_are_named(given, message, small):
    with pytest.raises(IgclError, match=message):
        IGCL(**{"image": IMAGE} | given)
    with pytest.raises(IgclError, match=f"small.ckpt: {message}"):
        IGCL.load_from_checkpoint(small, **given)
    change(small, **given)
    with pytest.raises(IgclError, match=f"small.ckpt: {message}"):
        BaseModule.load_from_checkpoint(small)
    with pytest.raises(IgclError, match=f"small.ckpt: {message}"):
        LinearProbe(str(small))
    with pytest.raises(IgclError, match=f"small.ckpt: {message}"):
        stored_model(small, "igcl_lightning.modules.IGCL")


def test_arguments_to_override_merge_into_a_stored_group(small):
    loaded = BaseModule.load_from_checkpoint(small, image={"size": 64}, optim=OptimOptions(schedule="constant"))
    assert (loaded.image_encoder.name, loaded.image_encoder.size) == ("test_resnet", 64)
    assert loaded.optim.schedule == "constant"
    assert loaded.hparams["image"] | IMAGE == ImageOptions(**IMAGE).__dict__


def test_a_group_that_a_checkpoint_lacks_can_be_given(small):
    checkpoint = torch.load(small, weights_only=True)
    del checkpoint["hyper_parameters"]["graph"]
    torch.save(checkpoint, small)
    loaded = IGCL.load_from_checkpoint(small, graph={"channels": 16})
    assert loaded.hparams["graph"] | {"channels": 16} == GraphOptions(channels=16).__dict__


def test_the_dataclass_of_a_parent_gets_the_fields_of_the_class():
    module = ConVIRT(IMAGE, TextOptions(channels=16), optim=OptimOptions(learning_rate=0.5))
    assert module.text == ReportOptions(channels=16)
    assert module.optim == PretrainOptimOptions(learning_rate=0.5)


@dataclass(frozen=True)
class WiderImageOptions(ImageOptions):
    """Options that a checkpoint of IGCL could not hold."""

    blur: float = 0.0


@pytest.mark.parametrize(
    "other", [GraphOptions(), ExternalOptions("test_resnet"), WiderImageOptions("test_resnet", 32)]
)
def test_the_dataclass_of_another_group_is_refused(other):
    with pytest.raises(IgclError, match=f"IGCL: image takes ImageOptions, not {type(other).__name__}"):
        IGCL(other)


class OwnGroup(FineTune):
    """A user's subclass that makes a group itself."""

    def __init__(self, optim: dict | None = None, **kwargs):
        super().__init__(optim=optim or {"learning_rate": 0.5}, **kwargs)


def test_a_class_may_make_a_group_itself(tmp_path):
    path = save(OwnGroup(image=IMAGE, label_names=["Edema"]), tmp_path / "own.ckpt")
    assert OwnGroup.load_from_checkpoint(path).optim.learning_rate == 0.5
    assert OwnGroup.load_from_checkpoint(path, optim={"learning_rate": 0.25}).optim.learning_rate == 0.25


def test_a_checkpoint_before_groups_names_the_new_option(small):
    change(small, image_size=32)
    with pytest.raises(IgclError, match=r"small.ckpt: IGCL has no argument 'image_size', did you mean image.size\?"):
        IGCL.load_from_checkpoint(small)


def test_loggers_get_nested_values():
    sent = {}
    run = SimpleNamespace(config=SimpleNamespace(update=lambda params, **_: sent.update(params)), _label=print)
    logger = WandbLogger(experiment=run)
    for module in (SimCLR(ImageOptions(**IMAGE)), SimCLR(IMAGE)):
        logger.log_hyperparams(module.hparams_initial)
        assert json.loads(json.dumps(sent)) == sent
        assert (sent["image"]["size"], sent["view"]["blur"]) == (32, 0.01)
        flat = _flatten_dict(module.hparams_initial)
        assert (flat["image/size"], flat["optim/schedule"]) == (32, "cosine")


def test_options_of_a_class_are_dotted():
    names = option_names(FineTune)
    assert {"checkpoint", "image.backbone", "optim.schedule", "name"} <= set(names)
    assert "image" not in names


def parsed(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        main(["fit", "--config", "pretrain/phantom.yaml", *words, "--print_config"])
    assert not ended.value.code
    return yaml.safe_load(capsys.readouterr().out)["model"]["init_args"]


def test_options_of_a_group_merge_over_configs_and_command_line(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("more.yaml").write_text("model: {init_args: {image: {size: 48}, graph: {layers: 3}}}\n")
    given = parsed(capsys, "--config", "more.yaml", "--model.image.weights=hub", "--model.graph.fc_layers", "1")
    assert {name: given["image"][name] for name in ("backbone", "size", "weights")} == {
        "backbone": "test_byobnet",
        "size": 48,
        "weights": "hub",
    }
    assert {name: given["graph"][name] for name in ("channels", "layers", "fc_layers")} == {
        "channels": 64,
        "layers": 3,
        "fc_layers": 1,
    }
    assert given["optim"]["freeze_image_steps"] == 0


def test_one_option_leaves_the_defaults_of_the_class(capsys):
    given = parsed(capsys, "--model", "ConVIRT", "--model.loss.temperature=0.2", "--model.projection.layers=3")
    assert given["loss"] == {
        "temperature": 0.2,
        "targets": "identity",
        "image_weight": 0.75,
        "learn_temperature": False,
        "semantic_weight": 0.0,
        "semantic_source": "labels",
        "semantic_temperature": 0.1,
        "kind": "infonce",
        "bias": -5.0,
    }
    assert given["projection"] == {"channels": 512, "layers": 3}


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("--model.image.sise=3", "--model.image.sise: unknown option, did you mean --model.image.size?"),
        ("--model.image_size=3", "--model.image_size: unknown option, did you mean --model.image.size?"),
        ("--model.learning_rate=1", "--model.learning_rate: unknown option, did you mean --model.optim.learning_rate?"),
        ("--model.image.size=big", "--model.image.size: expected int, got 'big'"),
    ],
)
def test_a_wrong_option_is_one_line(word, line, phantom_store, capsys):
    assert main(["fit", "--config", "pretrain/phantom.yaml", "--data.store", str(phantom_store), word]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"igcl: error: {line}"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ("{image: {sise: 3}}", "model.init_args.image.sise: unknown option, did you mean model.image.size?"),
        ("{image_size: 3}", "model.init_args.image_size: unknown option, did you mean model.image.size?"),
        ("{image: {size: big}}", "model.init_args.image.size: expected int, got 'big'"),
    ],
)
def test_a_wrong_option_of_a_config_is_one_line(options, line, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text(f"model: {{class_path: IGCL, init_args: {options}}}\n")
    assert main(["fit", "--config", "own.yaml"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"igcl: error: own.yaml, line 1: {line}"


def test_help_lists_the_options_of_a_group(capsys):
    assert main(["fit", "--model.help", "SimCLR"]) == 0
    out = capsys.readouterr().out
    assert "--model.view.crop_area" in out
    assert "smallest share of the image that a view shows" in " ".join(out.split())
