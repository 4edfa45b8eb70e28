"""Segmentation end to end on phantoms: learning, checkpoints, results, and independence of batches."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Trainer, seed_everything

from igcl_lightning.callbacks import WriteSegmentation
from igcl_lightning.data.images import decode_grey
from igcl_lightning.data.modules import LabeledDataModule, SegmentationDataModule
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from igcl_lightning.modules import BaseModule, FineTune, Segmentation
from igcl_lightning.modules.pretrained import PretrainedEncoder

MASKS = ["heart", "left_lung"]
IMAGE = {"backbone": "test_byobnet", "size": 64}


def trainer(folder, *callbacks, **options):
    common = {"logger": False, "accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(default_root_dir=folder, callbacks=[*callbacks], **common, **options)


def data(store, **options):
    return SegmentationDataModule(str(store), **{"masks": MASKS, "batch_size": 16, **options})


@pytest.fixture(scope="module")
def fitted(phantom_store, tmp_path_factory):
    """A short fit with a frozen encoder, its data, and its checkpoint."""
    folder = tmp_path_factory.mktemp("segmentation")
    seed_everything(0, verbose=False)
    module = Segmentation(image=IMAGE, optim={"learning_rate": 0.01}, decoder={"channels": [32, 16, 16, 8, 8]})
    before = {name: value.clone() for name, value in module.encoder.state_dict().items()}
    fit = trainer(folder, max_epochs=12, check_val_every_n_epoch=12, num_sanity_val_steps=0)
    fit.fit(module, data(phantom_store))
    fit.save_checkpoint(folder / "last.ckpt")
    return module, before, fit.callback_metrics, folder / "last.ckpt"


def test_it_learns_where_hearts_and_lungs_are(fitted):
    _, _, metrics, _ = fitted
    assert metrics["val/dice"] > 0.7
    assert metrics["val/dice"] == pytest.approx(float(np.mean([metrics[f"val/dice_{name}"] for name in MASKS])))


def test_a_frozen_encoder_keeps_every_number(fitted):
    module, before, _, _ = fitted
    assert all(torch.equal(value, before[name]) for name, value in module.encoder.state_dict().items())


def test_a_checkpoint_segments_alike(fitted, phantom_store):
    module, _, _, path = fitted
    loaded = BaseModule.load_from_checkpoint(path)
    batch = next(iter(data(phantom_store).test_dataloader()))
    with loaded.evaluating(), module.evaluating():
        assert torch.equal(loaded(batch.image), module(batch.image))
    assert (loaded.mask_names, loaded.method_name) == (MASKS, "random")
    assert loaded.origin["fraction"] == 1


def test_results_are_those_of_loops_whatever_the_batches(fitted, phantom_store, tmp_path):
    _, _, _, path = fitted
    tables = []
    for size in (3, 16):
        loaded = BaseModule.load_from_checkpoint(path)
        folder = tmp_path / str(size)
        run = trainer(folder, WriteSegmentation())
        run.test(loaded, data(phantom_store, batch_size=size), verbose=False)
        tables.append(pd.read_parquet(next(folder.rglob("segmentation.parquet"))))
        metrics = run.callback_metrics
    pd.testing.assert_frame_equal(*tables)
    store = Store(phantom_store)
    values = {name: [] for name in MASKS}
    for image, masks in zip(store.column("test", "image"), store.column("test", "masks"), strict=True):
        (predicted,) = loaded.segment_images([decode_grey(image["bytes"])])
        known = dict(zip(masks["label"], masks["png"], strict=True))
        for name, found in zip(MASKS, predicted, strict=True):
            mask = decode_grey(known[name]) > 0
            values[name].append(2 * (mask & found).sum() / (mask.sum() + found.sum()))
    records = json.loads(next(folder.rglob("results.json")).read_text())
    for name in MASKS:
        assert float(metrics[f"test/dice_{name}"]) == pytest.approx(np.mean(values[name]))
        (record,) = [each for each in records if (each["label"], each["metric"], each["seed"]) == (name, "dice", None)]
        assert record["value"] == pytest.approx(np.mean(values[name]))
        assert record["n"] == store.num_rows("test")


def test_each_validation_is_of_its_own_weights(fitted, phantom_store, tmp_path):
    loaded = BaseModule.load_from_checkpoint(fitted[3])
    run, values = trainer(tmp_path), []
    for shift in (0.0, -100.0):  # then no pixel is in a mask
        torch.nn.init.constant_(loaded.decoder.head.bias, shift)
        values.append(run.validate(loaded, data(phantom_store), verbose=False)[0]["val/dice"])
    assert values[0] > 0.5
    assert values[1] == 0


def test_masks_that_are_no_numbers_are_refused(fitted, phantom_store, tmp_path):
    loaded = BaseModule.load_from_checkpoint(fitted[3])
    torch.nn.init.constant_(loaded.decoder.head.bias, torch.nan)
    with pytest.raises(IgclError, match="the masks are not finite numbers: training diverged, or weights are damaged"):
        trainer(tmp_path).test(loaded, data(phantom_store), verbose=False)
    with pytest.raises(IgclError, match="not finite"):
        loaded.segment_images([np.zeros((64, 64), np.uint8)])


def test_no_images_have_no_masks(fitted):
    assert len(BaseModule.load_from_checkpoint(fitted[3]).segment_images([])) == 0


def test_predict_writes_the_masks(fitted, phantom_store, tmp_path):
    loaded = BaseModule.load_from_checkpoint(fitted[3])
    trainer(tmp_path, WriteSegmentation()).predict(loaded, data(phantom_store), return_predictions=False)
    table = pd.read_parquet(next(tmp_path.rglob("masks.parquet")))
    store = Store(phantom_store)
    assert table["row"].tolist() == [row for row in store.column("test", "row") for _ in MASKS]
    line = table[table["label"] == "heart"].iloc[2]
    image = store.column("test", "image")[2]["bytes"]
    expected = loaded.segment_images([decode_grey(image)])[0, MASKS.index("heart")]
    assert ((decode_grey(line["png"]) > 0) == expected).all()


def test_an_encoder_that_is_not_frozen_is_trained_and_can_be_taken(phantom_store, tmp_path):
    module = Segmentation(image={"backbone": "test_efficientnet", "size": 32}, frozen=False)
    before = {name: value.clone() for name, value in module.encoder.named_parameters()}
    fit = trainer(tmp_path, max_epochs=1, limit_val_batches=0)
    fit.fit(module, data(phantom_store))
    changed = {name for name, value in module.encoder.named_parameters() if not torch.equal(value, before[name])}
    assert changed == {name for name, value in module.encoder.named_parameters() if value.requires_grad}
    assert "image_encoder.backbone.conv_head.weight" not in changed, "no map depends on it"
    fit.save_checkpoint(tmp_path / "last.ckpt")
    tuned = FineTune(checkpoint=str(tmp_path / "last.ckpt")).encoder
    assert isinstance(tuned, PretrainedEncoder)
    for name, value in tuned.image_encoder.state_dict().items():
        assert torch.equal(value, module.encoder.image_encoder.state_dict()[name])
    assert all(weight.requires_grad for weight in tuned.parameters())


@pytest.mark.parametrize(("backbone", "masks"), [("test_vit", MASKS), ("test_convnext", ["heart"])])
def test_other_kinds_of_encoders(backbone, masks, phantom_store, tmp_path):
    module = Segmentation(image={"backbone": backbone, "size": 32}, loss="focal_dice", decoder={"channels": None})
    run = trainer(tmp_path, max_epochs=1, limit_train_batches=2, limit_val_batches=1, num_sanity_val_steps=0)
    run.fit(module, data(phantom_store, masks=masks))
    assert 0 <= run.callback_metrics["val/dice"] <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give either model.checkpoint"),
        ({"image": IMAGE, "loss": "dice"}, "model.loss 'dice' is not one of bce_dice, focal_dice"),
        ({"image": {"backbone": "test_vit", "size": 32}, "decoder": {"kind": "unet"}}, "no feature maps of several"),
    ],
)
def test_wrong_options_are_refused_at_once(options, message):
    with pytest.raises(IgclError, match=message):
        Segmentation(**options)


def test_other_masks_other_data_and_no_training_are_refused(fitted, phantom_store, tmp_path):
    loaded = BaseModule.load_from_checkpoint(fitted[3])
    with pytest.raises(IgclError, match=r"the module was trained on heart, left_lung; data.masks gives left_lung"):
        trainer(tmp_path).test(loaded, data(phantom_store, masks=["left_lung"]))
    with pytest.raises(IgclError, match="Segmentation needs a data module such as SegmentationDataModule"):
        trainer(tmp_path).test(loaded, LabeledDataModule(str(phantom_store)))
    with pytest.raises(IgclError, match="this Segmentation was never trained: give its checkpoint with --ckpt_path"):
        trainer(tmp_path).test(Segmentation(image=IMAGE), data(phantom_store))
    with pytest.raises(IgclError, match="this Segmentation was never trained"):
        Segmentation(image=IMAGE).segment_images([np.zeros((64, 64), np.uint8)])
