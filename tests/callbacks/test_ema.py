"""Averaged weights, with a toy whose averages are computed by hand, and with our modules from YAML."""

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from igcl_lightning.callbacks import EMA
from igcl_lightning.cli import main
from igcl_lightning.modules import IGCL, BaseModule, FineTune

DECAY = 0.8


class Weights(Callback):
    """Keeps the weights after every step."""

    def __init__(self):
        self.after_step = []

    def on_train_batch_end(self, trainer, pl_module, *rest):
        self.after_step.append(pl_module.image_encoder.weight.detach().clone())


def average(weights, decay=DECAY):
    mean = weights[0]
    for weight in weights[1:]:
        mean = decay * mean + (1 - decay) * weight
    return mean


def test_validation_and_checkpoint_have_the_average_of_the_steps(make_trainer, module, data, tmp_path):
    weights, validated = Weights(), []
    step = module.validation_step
    module.validation_step = lambda *batch: validated.append(module.image_encoder.weight.clone()) or step(*batch)
    keep = ModelCheckpoint(tmp_path, filename="last")
    trainer = make_trainer(EMA(DECAY), weights, keep, num_sanity_val_steps=0, enable_checkpointing=True)
    trainer.fit(module, data)
    torch.testing.assert_close(validated[0], average(weights.after_step[:3]))
    torch.testing.assert_close(validated[-1], average(weights.after_step))
    stored = torch.load(tmp_path / "last.ckpt", weights_only=True)
    torch.testing.assert_close(stored["state_dict"]["image_encoder.weight"], average(weights.after_step))
    torch.testing.assert_close(stored["current_model_state"]["image_encoder.weight"], weights.after_step[-1])


def test_integer_buffers_are_not_averaged(make_trainer, module, data):
    module.register_buffer("position", torch.arange(50))
    trainer = make_trainer(EMA(0.9), max_epochs=3)
    trainer.fit(module, data)
    assert torch.equal(module.position, torch.arange(50))


def test_resuming_equals_not_stopping(make_trainer, module, data, tmp_path):
    start = {name: value.clone() for name, value in module.state_dict().items()}
    make_trainer(EMA(DECAY), max_epochs=4).fit(module, data)
    whole = {name: value.clone() for name, value in module.state_dict().items()}
    module.load_state_dict(start)
    keep = ModelCheckpoint(tmp_path, save_last=True)
    make_trainer(EMA(DECAY), keep, max_epochs=2, enable_checkpointing=True).fit(module, data)
    module.load_state_dict(start)
    rest = make_trainer(EMA(DECAY), max_epochs=4)
    rest.fit(module, data, ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    for name, value in whole.items():
        torch.testing.assert_close(module.state_dict()[name], value)


@pytest.mark.parametrize("job", ["test", "validate"])
def test_a_checkpoint_of_the_same_trainer_is_evaluated_with_its_average(make_trainer, module, data, tmp_path, job):
    keep = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
    trainer = make_trainer(EMA(DECAY), keep, enable_checkpointing=True)
    trainer.fit(module, data)
    evaluated = []
    module.test_step = module.validation_step = lambda *batch: evaluated.append(module.image_encoder.weight.clone())
    path = tmp_path / "epoch=0.ckpt"
    data.test_dataloader = data.val_dataloader
    getattr(trainer, job)(module, data, ckpt_path=path, weights_only=True, verbose=False)
    stored = torch.load(path, weights_only=True)["state_dict"]["image_encoder.weight"]
    assert torch.equal(evaluated[0], stored)
    assert not torch.equal(stored, torch.load(path, weights_only=True)["current_model_state"]["image_encoder.weight"])


def words(config, store, folder):
    logger = ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", str(folder), "--trainer.logger.name", "run"]
    return [
        *("--config", config, "--config", "callbacks/ema.yaml", "--data.store", str(store), *logger),
        *(
            "--model.image.backbone",
            "test_resnet",
            "--model.image.size",
            "32",
            "--trainer.enable_progress_bar",
            "false",
        ),
        *("--trainer.accelerator", "cpu", "--data.num_workers", "0", "--data.batch_size", "16"),
    ]


EVERY_EPOCH = ["--trainer.check_val_every_n_epoch", "1", "--trainer.max_epochs"]


@pytest.mark.usefixtures("blank_pictures")
@pytest.mark.parametrize(
    ("config", "module_class", "name", "then"),
    [
        ("pretrain/phantom.yaml", IGCL, "last", ["test"]),
        ("probe/supervised.yaml", FineTune, "best", ["fit", *EVERY_EPOCH, "2"]),
    ],
)
def test_modules_of_a_config_are_averaged_and_reload(
    config, module_class, name, then, phantom_store, tmp_path, recwarn
):
    """A supervised head exists only after `setup`; probes read `state_dict`."""
    given = words(config, phantom_store, tmp_path)
    assert main(["fit", *given, *EVERY_EPOCH, "1"]) == 0
    checkpoint = tmp_path / "run" / "version_0" / "checkpoints" / f"{name}.ckpt"
    stored = torch.load(checkpoint, weights_only=True)
    loaded = BaseModule.load_from_checkpoint(checkpoint)
    assert type(loaded) is module_class
    moved = [
        not torch.equal(value, stored["current_model_state"][name])
        for name, value in loaded.state_dict().items()
        if value.is_floating_point()
    ]
    assert any(moved)
    for key, value in loaded.state_dict().items():
        assert torch.equal(value, stored["state_dict"][key])
    assert main([*then, *given, "--ckpt_path", str(checkpoint)]) == 0
    assert not [warning for warning in recwarn if "WeightAveraging" in str(warning.message)]
