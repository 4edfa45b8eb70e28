"""Masks of a store as batches: which are known, what they hold, and that augmentation moves them with their image."""

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from igcl_lightning.data import collation
from igcl_lightning.data.masks import mask_names, mask_targets
from igcl_lightning.data.modules import SegmentationDataModule
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.row_datasets import MaskedDataset
from igcl_lightning.data.store import Store
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.schema import stable_hash
from stores import prepare_studies

SIZE = 32
SPLITS = ("train",) * 8 + ("valid",) * 3 + ("test",) * 3


def square(row, name):
    """A mask that tells its row and name."""
    mask = np.zeros((SIZE, SIZE), bool)
    start = 3 + row + 5 * (name == "lungs")
    mask[start : start + 9, 4:20] = True
    return mask


def make(path, lacking=(), labels=True, masks=True):
    """A store whose images are their masks: "lungs" of even rows, "Edema" of rows whose label says so."""
    studies = []
    for row, split in enumerate(SPLITS):
        found = {}
        if row % 2 == 0:
            found["lungs"] = square(row, "lungs")
        present = {0: 1.0, 1: 0.0, 2: None}[row % 3]
        if present and row not in lacking:
            found["Edema"] = square(row, "Edema")
        pixels = np.where(np.any([np.zeros((SIZE, SIZE), bool), *found.values()], axis=0), 255, 0).astype(np.uint8)
        image = StudyImage(f"r{row}", pixels, masks=found if masks else {}, view="PA" if row in (1, 2, 8, 11) else "AP")
        studies.append(
            Study(
                study_id=f"s{row}",
                patient_id=f"p{row}",
                images=(image,),
                labels={"Edema": present} if labels else {},
                split=split,
            )
        )
    options = Options(size=SIZE, lossless=True)
    prepare_studies(studies, path, labels=("Edema",) if labels else (), masks=masks, options=options)
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make(tmp_path_factory.mktemp("masks") / "store", lacking=(3,))


def test_a_lacking_mask_is_empty_only_where_its_label_is_absent(store):
    opened = Store(store)
    assert mask_names(opened) == ["lungs", "Edema"]
    found = mask_targets(opened, "train", ["lungs", "Edema"])
    for row, (lungs, edema) in enumerate(found):
        assert lungs == 1 if row % 2 == 0 else np.isnan(lungs), "nobody said that there are no lungs"
        if row == 3 or row % 3 == 2:
            assert np.isnan(edema), "present but not drawn, or not labelled"
        else:
            assert edema == (row % 3 == 0)


def test_masks_are_those_of_the_kept_views(store):
    opened = Store(store, ["PA"])
    np.testing.assert_array_equal(mask_targets(opened, "train", ["lungs"])[:, 0], [np.nan, 1])  # rows 1 and 2
    (batch,) = loaded(store, masks=["lungs"], views=["PA"], batch_size=1).train_dataloader()
    assert batch.row.tolist() == [stable_hash("r2")]
    assert batch.mask.any()


def test_batches_hold_the_masks_of_their_rows(store):
    opened = Store(store)
    names = ["Edema", "lungs"]
    known = ~np.isnan(mask_targets(opened, "train", names))
    rows = MaskedDataset(opened, ["train"], names, known)
    batch = rows.batch([4, 0, 1])
    assert batch.row.tolist() == [stable_hash(f"r{row}") for row in (4, 0, 1)]
    assert batch.known.tolist() == [[True, True], [True, True], [True, False]]
    assert (batch.mask[1, 0].numpy() == square(0, "Edema")).all()
    assert (batch.mask[0, 1].numpy() == square(4, "lungs")).all()
    assert not batch.mask[2].any()
    assert all(torch.equal(one, whole[1]) for one, whole in zip(rows[0], batch, strict=True))


def loaded(store, stage="fit", **options):
    data = SegmentationDataModule(str(store), **options)
    Trainer(logger=False, accelerator="cpu", enable_checkpointing=False)  # as the command line makes one
    data.setup(stage)
    return data


def test_training_draws_rows_with_known_masks(store):
    data = loaded(store, batch_size=2)
    assert data.drawn_rows().tolist() == [0, 1, 2, 4, 6, 7]  # 3 and 5 have no known mask
    part = loaded(store, fraction=0.4, masks=["lungs"])
    drawn = part.drawn_rows().tolist()
    assert len(drawn) == 2
    draws = [loaded(store, fraction=0.4, masks=["lungs"], draw_seed=seed).drawn_rows() for seed in range(9)]
    assert set(np.concatenate(draws).tolist()) == {0, 2, 4, 6}
    assert loaded(store, fraction=0.4, masks=["lungs"]).drawn_rows().tolist() == drawn
    batches = list(loaded(store, batch_size=2).train_dataloader())
    assert sorted(row for batch in batches for row in batch.row.tolist()) == sorted(
        stable_hash(f"r{row}") for row in (0, 1, 2, 4, 6, 7)
    )


def test_evaluation_leaves_out_rows_without_a_known_mask_and_predict_does_not(store):
    data = loaded(store, "test", masks=["lungs"], batch_size=8)
    (batch,) = data.test_dataloader()
    assert batch.row.tolist() == [stable_hash("r12")]
    (batch,) = loaded(store, "predict", masks=["lungs"], batch_size=8).predict_dataloader()
    assert batch.row.tolist() == [stable_hash(f"r{row}") for row in (11, 12, 13)]


def test_masks_move_with_their_image(store):
    data = loaded(store, masks=["lungs"], batch_size=4)
    (batch,) = loaded(store, masks=["Edema", "lungs"], batch_size=6).train_dataloader()
    draw = data.augmentation.draw_from([7], len(batch.row), torch.device("cpu"))
    image, masks = data.augmentation.apply(batch.image, draw), data.augmentation.apply_masks(batch.mask, draw)
    assert masks.dtype == torch.bool
    for shown, mask in zip(image[:, 0], masks.any(dim=1), strict=True):
        bright = shown > (shown.min() + shown.max()) / 2
        if mask.any():
            assert (bright == mask).float().mean() > 0.97
    assert not torch.equal(masks, batch.mask)


@pytest.mark.parametrize("training", [True, False])
def test_the_module_moves_both_in_training_only(store, training):
    data = loaded(store, batch_size=6)
    data.trainer = Trainer(logger=False, accelerator="cpu", enable_checkpointing=False, max_epochs=1)
    data.trainer.training = training
    (batch,) = data.train_dataloader()
    moved = data.on_after_batch_transfer(batch, 0)
    assert torch.equal(moved.mask, batch.mask) is not training
    assert torch.equal(moved.image.float(), batch.image.float()) is not training


def test_what_a_store_lacks_is_named_in_one_line(store, tmp_path):
    with pytest.raises(IgclError, match="no mask 'lung'; it has lungs, Edema, did you mean lungs?"):
        loaded(store, masks=["lung"])
    for names, message in ((["lungs", "lungs"], "one is given twice"), ([], "name at least one")):
        with pytest.raises(IgclError, match=message):
            loaded(store, masks=names)
    bare = make(tmp_path / "bare", masks=False)
    with pytest.raises(IgclError, match="bare: the store has no masks; prepare a data set that has some"):
        loaded(bare)
    (batch,) = loaded(bare, "predict", masks=["lungs"]).predict_dataloader()
    assert not batch.known.any()
    with pytest.raises(IgclError, match="data.fraction is 0, not in"):
        SegmentationDataModule(str(store), fraction=0)
    none = make(tmp_path / "none", lacking=range(8, 14), labels=False)
    with pytest.raises(IgclError, match="none: no row of valid has a known mask of Edema"):
        loaded(none, masks=["Edema"])


def test_a_mask_of_another_size_is_named(store, monkeypatch):
    opened = Store(store)
    rows = MaskedDataset(opened, ["train"], ["lungs"], np.ones((8, 1), bool))
    monkeypatch.setattr(collation, "decode_images", lambda rows: torch.zeros(1, 1, SIZE + 1, SIZE))
    with pytest.raises(IgclError, match=r"row r0: its mask 'lungs' is \(32, 32\), its image \(33, 32\); prepare"):
        rows.batch([0])


def test_a_damaged_mask_is_named(store, monkeypatch):
    def damaged(data):
        raise OSError("cut off")

    opened = Store(store)
    rows = MaskedDataset(opened, ["train"], ["lungs"], np.ones((8, 1), bool))
    monkeypatch.setattr(collation, "decode_images", lambda rows: torch.zeros(1, 1, SIZE, SIZE))
    monkeypatch.setattr(collation, "decode_grey", damaged)
    with pytest.raises(IgclError, match=r"row r0: its stored mask 'lungs' cannot be decoded \(cut off\)"):
        rows.batch([0])
