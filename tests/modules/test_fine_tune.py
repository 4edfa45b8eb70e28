"""What `FineTune` trains and freezes, and what its checkpoints keep."""

import copy
import warnings

import pytest
import torch
from lightning.pytorch import Callback, Trainer

from igcl_lightning.data.modules import LabeledDataModule
from igcl_lightning.data.samples import LabeledBatch
from igcl_lightning.errors import IgclError
from igcl_lightning.modules import IGCL, BaseModule, FineTune, LinearProbe

CNN, VIT = {"backbone": "test_resnet", "size": 32}, {"backbone": "test_vit", "size": 160}
CASES = {
    "resnet": (CNN, "last_block", ("layer4.", "global_pool.", "fc.")),
    "vit": (VIT, "last_block", ("blocks.5.", "norm.", "fc_norm.", "head_drop.", "head.")),
    "lora": (VIT, "lora", "lora_"),
}
RANDOM_IMAGE = torch.randint(0, 256, (3, 1, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def trainer(folder, *callbacks):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "devices": 1}
    limits = {"max_epochs": 1, "limit_train_batches": 2, "limit_val_batches": 1, "num_sanity_val_steps": 0}
    return Trainer(
        **quiet,
        **limits,
        accelerator="cpu",
        enable_checkpointing=False,
        default_root_dir=folder,
        callbacks=[*callbacks],
    )


class Modes(Callback):
    """Keeps which modules are in training mode after the last training step, which follows a validation."""

    def on_train_batch_end(self, trainer, module, *rest):
        self.training = {name for name, part in module.encoder.named_modules() if part.training}


def save(module, path):
    run = trainer(path.parent)
    run.strategy.connect(module)
    run.save_checkpoint(path)
    return str(path)


def is_tuned(name, tuned):
    name = name.removeprefix("image_encoder.backbone.")
    return tuned in name if tuned == "lora_" else name.startswith(tuned)


@pytest.fixture(scope="module", params=CASES)
def fitted(request, phantom_store, tmp_path_factory):
    """A module after a fit, its encoder before, what it is to tune, and its checkpoint."""
    image, tune, tuned = CASES[request.param]
    torch.manual_seed(0)
    module, modes, folder = FineTune(image=image, tune=tune), Modes(), tmp_path_factory.mktemp("fitted")
    before = {name: value.clone() for name, value in module.encoder.state_dict().items()}
    run = trainer(folder, modes)
    run.fit(module, LabeledDataModule(str(phantom_store), labels=["Edema"], batch_size=8))
    run.save_checkpoint(folder / "head.ckpt")
    return module, before, tuned, modes.training, run.optimizers[0], folder / "head.ckpt"


def test_what_is_frozen_is_unchanged_to_the_bit(fitted):
    module, before, tuned, *_ = fitted
    changed = {name for name, value in module.encoder.state_dict().items() if not torch.equal(value, before[name])}
    assert {name for name in changed if not is_tuned(name, tuned)} == set()
    weights = {name for name, _ in module.encoder.named_parameters() if is_tuned(name, tuned)}
    assert len(changed & weights) > 0.5 * len(weights)


def test_what_is_frozen_is_in_evaluation_mode(fitted):
    module, _, tuned, training, _, _ = fitted
    assert {name for name in training if not is_tuned(f"{name}.", tuned)} == set()
    assert {name for name, _ in module.encoder.named_modules() if is_tuned(f"{name}.", tuned)} == training
    module.eval()
    assert not any(part.training for part in module.modules())
    module.train()
    assert {name for name, part in module.encoder.named_modules() if part.training} == training


def test_the_optimiser_has_the_weights_that_are_trained_and_each_has_a_gradient(fitted):
    """One without a gradient would stop distributed training."""
    module, _, tuned, _, optimizer, _ = fitted
    expected = {id(part) for name, part in module.encoder.named_parameters() if is_tuned(name, tuned)}
    expected |= {id(part) for part in module.head.parameters()}
    given = [part for group in optimizer.param_groups for part in group["params"]]
    assert {id(part) for part in given} == expected
    module = copy.deepcopy(module)
    module.zero_grad()
    module.log = lambda *args, **options: None
    module.training_step(LabeledBatch(RANDOM_IMAGE, torch.tensor([[1.0], [0.0], [1.0]]), torch.arange(3)), 0).backward()
    assert all((part.grad is not None) == part.requires_grad for part in module.parameters())


def test_a_checkpoint_loads_from_its_path_alone(fitted):
    module, *_, path = fitted
    loaded = BaseModule.load_from_checkpoint(path).eval()
    with torch.no_grad():
        assert torch.equal(loaded(RANDOM_IMAGE), module.eval()(RANDOM_IMAGE))
    trained = {name for name, part in module.named_parameters() if part.requires_grad}
    assert {name for name, part in loaded.named_parameters() if part.requires_grad} == trained


def test_another_head_takes_the_tuned_encoder(fitted, tmp_path):
    module, *_, path = fitted
    probe = LinearProbe(str(path), label_names=["Edema"], num_heads=1)
    reloaded = BaseModule.load_from_checkpoint(save(probe, tmp_path / "probe.ckpt"))
    again = FineTune(str(path), label_names=["Edema"])
    with torch.no_grad():
        tuned = module.eval().encoder(RANDOM_IMAGE)
        for other in (probe, reloaded, again.eval()):
            torch.testing.assert_close(other.encoder(RANDOM_IMAGE), tuned, atol=1e-5, rtol=1e-5)
            assert not [name for name in other.state_dict() if "lora" in name]
    assert not any(part.requires_grad for part in probe.encoder.parameters())
    assert all(part.requires_grad for part in again.train().parameters())
    assert all(part.training for part in again.encoder.modules())


def test_adapters_upon_adapters(tmp_path):
    first = FineTune(image=VIT, tune="lora", lora={"rank": 2}, label_names=["Edema"])
    for name, weight in first.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    path = save(first, tmp_path / "first.ckpt")
    second = FineTune(path, tune="lora", lora={"rank": 3, "alpha": 6.0}, label_names=["Edema"])
    assert {part.shape[0] for name, part in second.named_parameters() if "lora_A" in name} == {3}
    loaded = BaseModule.load_from_checkpoint(save(second, tmp_path / "second.ckpt"))
    with torch.no_grad():
        expected = first.eval().encoder(RANDOM_IMAGE)
        for module in (second, loaded):
            torch.testing.assert_close(module.eval().encoder(RANDOM_IMAGE), expected, atol=1e-4, rtol=1e-4)


def test_the_encoder_of_a_probe_can_be_trained(tmp_path):
    probe = save(LinearProbe(image=CNN, label_names=["Edema"], num_heads=1), tmp_path / "probe.ckpt")
    module = FineTune(probe, label_names=["Edema"])
    assert all(part.requires_grad for part in module.parameters())
    assert all(part.training for part in module.encoder.modules())


def test_a_projection_follows_the_last_block(tmp_path):
    pretrained = IGCL(image=CNN, graph={"channels": 8}, projection={"channels": 6})
    path = save(pretrained, tmp_path / "igcl.ckpt")
    module = FineTune(path, features="projected", tune="last_block")
    assert all(part.requires_grad for part in module.encoder.image_projection.parameters())
    assert not module.encoder.image_encoder.backbone.conv1[0].weight.requires_grad


def test_the_last_block_of_torchxrayvision():
    with warnings.catch_warnings():
        pytest.importorskip("torchxrayvision")
    module = FineTune(image={"backbone": "xrv:densenet121-res224-all", "size": 32}, tune="last_block")
    names = [name for name, part in module.encoder.named_parameters() if part.requires_grad]
    assert {name.split(".")[3] for name in names} == {"denseblock4", "norm5"}


def test_wrong_options_are_one_line():
    with pytest.raises(IgclError, match="model.tune 'lorra' is not one of full, last_block, lora, did you mean lora?"):
        FineTune(image=CNN, tune="lorra")
    with pytest.raises(IgclError, match="model.tune lora: test_resnet has no linear layers of attention"):
        FineTune(image=CNN, tune="lora")
    with pytest.raises(IgclError, match="FineTune has no option 'lora.ranks', did you mean lora.rank?"):
        FineTune(image=VIT, tune="lora", lora={"ranks": 2})
