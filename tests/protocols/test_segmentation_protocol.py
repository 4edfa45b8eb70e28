"""Segmentation by `igcl evaluate`: what is trained, kept and reported, and what is refused before it."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from forked_cells import Forked
from igcl_lightning.cli import main
from igcl_lightning.data.images import decode_grey
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.sources.phantom import phantom_study
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from igcl_lightning.modules import SimCLR
from igcl_lightning.phantom import FINDINGS
from igcl_lightning.protocols import cells, segmentation
from igcl_lightning.protocols.contestants import Contestant, from_checkpoint
from igcl_lightning.protocols.segmentation import SegmentationProtocol
from saved import save_as_fit
from seen_fits import see_fits
from stores import prepare_studies

IMAGE = {"backbone": "test_byobnet", "size": 32}
CHANNELS = {"channels": [8, 8, 8, 8, 8]}
SMALL = {
    "protocol": "segmentation",
    "labels": ["heart"],
    "fractions": [0.5, 1.0],
    "epochs": [1, 1],
    "draws": 2,
    "decoder": CHANNELS,
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, phantom_store):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("pretrained") / "simclr.ckpt"
    return save_as_fit(SimCLR(image=IMAGE, projection={"channels": 16}), path, phantom_store)


def evaluate(out, protocol, store, *words):
    path = out.parent / "segmentation.yaml"
    path.write_text(yaml.safe_dump(protocol))
    return main(["evaluate", "--protocol", str(path), "--store", str(store), "--out", str(out), "--jobs", "1", *words])


def test_an_evaluation_of_masks_and_what_it_measures_again(checkpoint, phantom_store, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cells, "_start", Forked)
    out, words = tmp_path / "out", ["--checkpoint", f"ours={checkpoint}", "--baselines", "random,supervised"]
    assert evaluate(out, SMALL, phantom_store, *words) == 0
    said = capsys.readouterr().out
    assert "Dice where there is one, mean over 1 labels and all seeds" in said
    assert "ours - random" in said
    records = json.loads((out / "results.json").read_text())
    assert {each["method"] for each in records} == {"ours", "random"}, "training on labels is not asked"
    for name in ("ours", "random"):
        parts = [pd.read_parquet(path) for path in sorted((out / name).glob("*.parquet"))]
        assert len(parts) == 4
        for fraction, own in pd.concat(parts).groupby("fraction"):
            wanted = {"method": name, "fraction": fraction, "metric": "dice", "label": "heart", "seed": None}
            wanted["versus"] = None
            (record,) = [each for each in records if all(each[key] == value for key, value in wanted.items())]
            assert record["value"] == pytest.approx((2 * own["both"] / (own["predicted"] + own["actual"])).mean())
    times = {path: path.stat().st_mtime_ns for path in out.rglob("segmentation-*.parquet")}
    more = {**SMALL, "fractions": [1.0], "epochs": [1], "draws": 3}
    assert evaluate(out, more, phantom_store, *words) == 0
    assert all(path.stat().st_mtime_ns == before for path, before in times.items()), "what stood is kept"
    assert len(list((out / "ours").glob("segmentation-1-*.parquet"))) == 3
    assert "Dice 100 %" in (out / "table.md").read_text()


def test_draws_have_weights_and_seeds_of_their_own(checkpoint, phantom_store):
    protocol = SegmentationProtocol(**{name: value for name, value in SMALL.items() if name != "protocol"})
    contestant, store = from_checkpoint(f"ours:3={checkpoint}"), Store(phantom_store)
    frames = [protocol.measure(contestant, store, {"fraction": 1.0, "draw": draw}) for draw in (0, 0, 1)]
    assert frames[0].equals(frames[1])
    assert [set(frame["seed"]) for frame in frames] == [{3000}, {3000}, {3001}]
    assert not np.array_equal(frames[0]["predicted"], frames[2]["predicted"])
    assert set(frames[0]["split"]) == {"test"}
    assert frames[0]["label"].tolist() == ["heart"] * store.num_rows("test")


def test_options_reach_the_fit(checkpoint, phantom_store, monkeypatch):
    fitted = see_fits(monkeypatch)
    options = {"frozen": False, "loss": "focal_dice", "learning_rate": 0.02, "patience": 7, "batch_size": 5}
    protocol = SegmentationProtocol(fractions=[0.5], epochs=[40], decoder=CHANNELS, monitor="iou", **options)
    protocol.measure(from_checkpoint(f"ours={checkpoint}"), Store(phantom_store), {"fraction": 0.5, "draw": 1})
    (trainer, module, data), best = fitted
    assert best == "best"
    assert (trainer.max_epochs, trainer.check_val_every_n_epoch) == (40, 2)
    stop, kept = trainer.early_stopping_callback, trainer.checkpoint_callback
    assert (stop.monitor, stop.patience, stop.mode, kept.monitor, kept.mode) == ("val/iou", 7, "max", "val/iou", "max")
    assert not module.encoder.frozen
    assert module.loss.__name__ == "focal_dice"
    assert (module.optim.learning_rate, module.options.channels) == (0.02, CHANNELS["channels"])
    assert (data.batch_size, data.fraction, data.draw_seed, data.predict_splits) == (5, 0.5, 1, ["test"])


def test_each_draw_depends_on_its_own_options_only():
    contestant, part = Contestant("random", image=IMAGE), {"fraction": 0.5, "draw": 0}
    usual = SegmentationProtocol(fractions=[0.5, 1.0], epochs=[1, 2])
    for other, is_new in (
        (SegmentationProtocol(fractions=[0.5], epochs=[1], draws=7), False),
        (SegmentationProtocol(fractions=[0.5, 1.0], epochs=[2, 2]), True),
        (SegmentationProtocol(fractions=[0.5, 1.0], epochs=[1, 2], frozen=False), True),
        (SegmentationProtocol(fractions=[0.5, 1.0], epochs=[1, 2], monitor="iou"), True),
    ):
        assert (other.settings(contestant, part) != usual.settings(contestant, part)) == is_new


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("labels", ["hart"], "no mask 'hart'; it has .*, did you mean heart?"),
        ("splits", ["tset"], "has no split 'tset' for the protocol segmentation"),
        ("monitor", "auroc", "protocol segmentation: monitor 'auroc' is not one of dice, iou, dice_positives"),
        ("epochs", [1], r"protocol segmentation: epochs are \[1\], not 2 numbers of at least 1"),
        ("fractions", [0.5, 2.0], "protocol segmentation: fractions are"),
        ("draws", 0, "protocol segmentation: draws is 0, not at least 1"),
        ("learning_rate", 0.0, "protocol segmentation: learning_rate is 0.0, not above 0"),
        ("loss", "dice", "model.loss 'dice' is not one of bce_dice, focal_dice"),
        ("decoder", {"kind": "setr"}, "model.decoder.kind 'setr' is not one of"),
        ("decoder", {"channels": [8, 8, 8, 8, 0]}, "model.decoder.channels is 0, not at least 1"),
        ("labels", [], "protocol segmentation: labels is empty"),
    ],
)
def test_wrong_options_are_refused_before_any_training(option, value, message, checkpoint, phantom_store):
    given = {name: content for name, content in SMALL.items() if name != "protocol"} | {option: value}
    with pytest.raises(IgclError, match=message):
        SegmentationProtocol(**given).check(Store(phantom_store), [from_checkpoint(f"ours={checkpoint}")])


def test_an_epoch_is_not_chosen_by_what_has_no_value(phantom_store, monkeypatch):
    store = Store(phantom_store)
    options = {"labels": ["heart"], "monitor": "dice_positives", "fractions": [1.0], "epochs": [2]}
    protocol = SegmentationProtocol(**options, decoder=CHANNELS)
    monkeypatch.setattr("igcl_lightning.data.collation.decode_grey", emptied)
    with pytest.raises(IgclError, match="val/dice_positives has no value on the validation rows"):
        protocol.measure(Contestant("random", image=IMAGE), store, {"fraction": 1.0, "draw": 0})
    monkeypatch.setattr(segmentation, "mask_targets", lambda store, split, names: np.zeros((2, len(names))))
    with pytest.raises(IgclError, match="no row of valid has a mask to choose the epoch by dice_positives"):
        protocol.check(store, [])


def emptied(data):
    """An image as it is, a mask without a pixel."""
    pixels = decode_grey(data)
    return pixels if len(np.unique(pixels)) > 2 else np.zeros_like(pixels)


def test_a_group_of_options_that_is_a_single_value_is_one_line(checkpoint, phantom_store, tmp_path, capsys):
    for name, options in (("segmentation", {"decoder": 5}), ("fine_tune", {"lora": 5})):
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"protocol": name, **options}))
        words = ["--store", str(phantom_store), "--checkpoint", f"ours={checkpoint}", "--out", str(tmp_path / "out")]
        assert main(["evaluate", "--protocol", str(path), *words]) == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("igcl: error")]
        assert f"{name}.yaml: {next(iter(options))} is not a mapping of options" in line


def test_organs_may_be_named_as_labels(checkpoint, phantom_store, tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "_start", Forked)
    small = {**SMALL, "fractions": [1.0], "epochs": [1], "draws": 1}
    words = ["--checkpoint", f"ours={checkpoint}", "--labels", "left_lung"]
    assert evaluate(tmp_path / "out", small, phantom_store, *words) == 0
    records = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {each["label"] for each in records} == {"left_lung", "mean"}


def test_stores_and_contestants_that_cannot_be_asked(phantom_store, tmp_path):
    studies = [lambda index=index: phantom_study(index, size=64, views="frontal") for index in range(4)]
    prepare_studies(studies, tmp_path / "bare", labels=FINDINGS, options=Options(size=64, lossless=True))
    with pytest.raises(IgclError, match="bare: the store has no masks; prepare a data set"):
        SegmentationProtocol().check(Store(tmp_path / "bare"), [])
    assert (
        SegmentationProtocol().why_not(Contestant("f", features="f.parquet"))
        == "is a file of features, without an encoder"
    )
    planned = Contestant("igcl", words=["--config", "x"], architecture={"backbone": "test_vit", "size": 32})
    with pytest.raises(IgclError, match="test_vit: no feature maps of several scales for a U-Net"):
        SegmentationProtocol(decoder={"kind": "unet"}).check(Store(phantom_store), [planned])
