"""Checkpoints say what they are: they load with nothing but their path, as data."""

import pytest
import torch
from lightning.pytorch import Trainer

from igcl_lightning.cli import main
from igcl_lightning.data.modules import LabeledDataModule, PairedDataModule
from igcl_lightning.errors import IgclError
from igcl_lightning.modules import IGCL, BaseModule, FewShotProbe, FineTune, LinearProbe
from igcl_lightning.modules.base import module_class, rebuild

TINY = {"image": {"backbone": "test_resnet", "size": 32}, "graph": {"channels": 16}}


class Renamed(IGCL):
    """A user's own subclass, with a constructor of its own."""

    def __init__(self, width: int = 16) -> None:
        super().__init__(TINY["image"], {"channels": width})


def trainer(folder, **options):
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
    }
    return Trainer(max_epochs=1, accelerator="cpu", default_root_dir=folder, num_sanity_val_steps=0, **quiet | options)


@pytest.fixture(scope="module")
def from_python(phantom_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("python")
    fitting = trainer(folder)
    module = IGCL(**TINY)
    fitting.fit(module, PairedDataModule(str(phantom_store), batch_size=16))
    fitting.save_checkpoint(folder / "igcl.ckpt")
    return module, folder / "igcl.ckpt"


@pytest.fixture(scope="module")
def from_command_line(phantom_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("command")
    words = ["fit", "--config", "pretrain/phantom.yaml", "--data.store", str(phantom_store)]
    words += ["--trainer.max_epochs", "1", "--trainer.check_val_every_n_epoch", "1", "--trainer.accelerator", "cpu"]
    words += ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", str(folder), "--trainer.logger.name", "run"]
    assert main(words) == 0
    return folder / "run" / "version_0" / "checkpoints" / "last.ckpt"


@pytest.mark.parametrize("loader", [IGCL, BaseModule])
def test_a_checkpoint_from_python_loads_by_its_path(from_python, loader):
    module, path = from_python
    loaded = loader.load_from_checkpoint(path)
    assert type(loaded) is IGCL
    assert loaded.hparams["graph"]["channels"] == 16
    for name, value in module.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value)


@pytest.mark.parametrize("loader", [IGCL, BaseModule])
def test_a_checkpoint_from_the_command_line_loads_by_its_path(from_command_line, loader):
    loaded = loader.load_from_checkpoint(from_command_line)
    assert type(loaded) is IGCL
    assert loaded.hparams["image"]["size"] == 64


def test_checkpoints_are_plain_data(from_python, from_command_line):
    for path in (from_python[1], from_command_line):
        assert "state_dict" in torch.load(path, weights_only=True)


@pytest.mark.parametrize(
    ("probe", "options", "data"),
    [
        (LinearProbe, {}, {"fraction": 0.5, "draws": 2}),
        (LinearProbe, {"features": "projected"}, {"fraction": 0.5}),
        (FineTune, {"features": "projected"}, {"batch_size": 16}),
        (FewShotProbe, {}, {"shots": 3, "draws": 3}),
        (LinearProbe, {"image": {"backbone": "test_resnet", "size": 32}}, {}),
    ],
)
def test_a_heads_checkpoint_needs_no_other_file(from_python, phantom_store, tmp_path, probe, options, data):
    encoder = tmp_path / "pretrained.ckpt"
    encoder.write_bytes(from_python[1].read_bytes())
    fitting = trainer(tmp_path)
    module = probe(**options) if "image" in options else probe(str(encoder), **options)
    fitting.fit(module, LabeledDataModule(str(phantom_store), feature_cache=str(tmp_path / "cache"), **data))
    fitting.save_checkpoint(tmp_path / "head.ckpt")
    encoder.unlink()

    for loader in (probe, BaseModule):
        loaded = loader.load_from_checkpoint(tmp_path / "head.ckpt")
        assert type(loaded) is probe
        assert loaded.label_names == module.label_names
        for name, value in module.state_dict().items():
            torch.testing.assert_close(loaded.state_dict()[name], value)


def test_a_users_subclass_loads_through_the_base_class(phantom_store, tmp_path):
    fitting = trainer(tmp_path, limit_train_batches=1, limit_val_batches=1)
    fitting.fit(Renamed(width=8), PairedDataModule(str(phantom_store), batch_size=16))
    fitting.save_checkpoint(tmp_path / "own.ckpt")
    loaded = BaseModule.load_from_checkpoint(tmp_path / "own.ckpt")
    assert type(loaded) is Renamed
    assert loaded.graph_encoder.out_channels == 8
    assert type(LinearProbe(str(tmp_path / "own.ckpt")).image_encoder).__name__ == "ImageEncoder"


def test_weights_the_training_started_from_are_not_needed_again(tmp_path):
    module = IGCL(**TINY)
    module.hparams["image"]["weights"] = str(tmp_path / "gone.safetensors")
    checkpoint = {}
    module.on_save_checkpoint(checkpoint)
    assert checkpoint["hyper_parameters"]["image"]["weights"] == "none"


def test_a_checkpoint_cannot_name_code_to_run():
    with pytest.raises(IgclError, match="class 'os.system' is not imported.*--import"):
        module_class("os.system")
    with pytest.raises(IgclError, match="is not imported"):
        rebuild({"_class_path": "subprocess.Popen", "args": "true"})


def test_a_wrong_file_is_named(from_python, tmp_path):
    with pytest.raises(IgclError, match="gone.ckpt: no such checkpoint"):
        IGCL.load_from_checkpoint(tmp_path / "gone.ckpt")
    (tmp_path / "text.ckpt").write_text("not a checkpoint")
    with pytest.raises(IgclError, match="text.ckpt: not a checkpoint that loads as plain data"):
        IGCL.load_from_checkpoint(tmp_path / "text.ckpt")
    with pytest.raises(IgclError, match="is a checkpoint of IGCL, not of LinearProbe"):
        LinearProbe.load_from_checkpoint(from_python[1])


def test_an_encoder_must_be_named_exactly_once(phantom_store, tmp_path):
    with pytest.raises(IgclError, match=r"either model.checkpoint .* or model.image.backbone .*, not both"):
        LinearProbe(checkpoint="a.ckpt", image={"backbone": "test_resnet"})
    with pytest.raises(IgclError, match=r"either model.checkpoint .* or model.image.backbone"):
        FineTune()
    with pytest.raises(IgclError, match=r"either model.checkpoint .* or model.image.backbone .*, or data.features"):
        trainer(tmp_path).fit(LinearProbe(), LabeledDataModule(str(phantom_store)))
