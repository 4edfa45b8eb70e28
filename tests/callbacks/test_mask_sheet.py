"""The sheet of outlines: which images, which masks, and their Dice."""

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from igcl_lightning.callbacks import MaskSheet
from igcl_lightning.callbacks import mask_sheet as sheets
from igcl_lightning.data.modules import SegmentationDataModule
from igcl_lightning.data.store import Store
from igcl_lightning.modules import Segmentation

MASKS = ["heart", "Pleural Effusion"]


@pytest.fixture
def drawn(monkeypatch):
    """What each sheet shows."""
    seen = []
    draw = sheets.draw_masks

    def remember(shown, names, masks):
        seen.append((shown, names, masks))
        return draw(shown, names, masks)

    monkeypatch.setattr(sheets, "draw_masks", remember)
    return seen


def module():
    torch.manual_seed(0)
    image = {"backbone": "test_byobnet", "size": 64}
    return Segmentation(image=image, mask_names=MASKS, decoder={"channels": [8] * 5})


def trainer(folder, **options):
    quiet = {"logger": False, "accelerator": "cpu", "enable_progress_bar": False, "enable_checkpointing": False}
    return Trainer(default_root_dir=folder, enable_model_summary=False, num_sanity_val_steps=0, **quiet, **options)


def test_a_sheet_shows_one_image_of_each_patient_those_with_most_masks_first(phantom_store, tmp_path, drawn):
    data = SegmentationDataModule(str(phantom_store), masks=MASKS, batch_size=16)
    trainer(tmp_path, callbacks=[MaskSheet(num_images=5)]).test(module(), data, verbose=False)
    ((shown, names, masks),) = drawn
    assert (len(shown), masks) == (5, MASKS)
    store = Store(phantom_store)
    patient = dict(zip(store.column("test", "row"), store.column("test", "patient"), strict=True))
    assert len({patient[name] for name in names.values()}) == 5
    numbers = [int(each.mask.any(axis=(1, 2)).sum()) for each in shown]
    assert numbers == sorted(numbers, reverse=True)
    for each in shown:
        sums = each.mask.sum(axis=(1, 2)) + each.predicted.sum(axis=(1, 2))
        both = (each.mask & each.predicted).sum(axis=(1, 2))
        expected = [1.0 if not total else 2 * inside / total for inside, total in zip(both, sums, strict=True)]
        np.testing.assert_allclose(each.dice, expected)
    assert next(tmp_path.rglob("masks.png")).stat().st_size > 5000


def test_outlines_are_drawn_of_masks_that_have_one():
    mask = np.zeros((3, 16, 16), bool)
    mask[0, 4:9, 4:9] = mask[2] = True
    image = np.zeros((16, 16), np.uint8)
    figure = sheets.draw_masks(
        [sheets.Shown(7, image, mask, mask[[1, 0, 1]], np.array([0.0, np.nan, 0.5]))], {7: "row-7"}, ["a", "b", "c"]
    )
    (axes,) = figure.axes
    assert axes.get_title() == "row-7\nDice 0.00, -, 0.50"
    assert len(axes.collections) == 2, "the known outline of a, and the predicted one of b"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "c", "known", "predicted"]


def test_during_a_fit_the_due_epochs_and_the_last_are_drawn(phantom_store, tmp_path, drawn):
    data = SegmentationDataModule(str(phantom_store), masks=MASKS, batch_size=16)
    options = {"max_epochs": 3, "limit_train_batches": 1, "limit_val_batches": 1}
    trainer(tmp_path, callbacks=[MaskSheet(num_images=1, every_n_epochs=2)], **options).fit(module(), data)
    assert len(drawn) == 2
