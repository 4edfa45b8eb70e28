"""`igcl search` on a few phantoms with models of random weights: their own scores say what must be found."""

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image

from igcl_lightning.cli import main
from igcl_lightning.data.inputs import describe_inputs
from igcl_lightning.data.modules import PairedDataModule
from igcl_lightning.data.store import Store
from igcl_lightning.data.words import training_words
from igcl_lightning.modules import IGCL, RECLF, BaseModule, SimCLR
from igcl_lightning.protocols import search
from igcl_lightning.protocols.hard_negatives import matched_pairs
from igcl_lightning.protocols.search import READ, nearest_images, read_query, searcher

IMAGE = {"image": {"backbone": "test_resnet", "size": 32}}
TEXT = "small left effusion"
MODELS = {
    "igcl": lambda: IGCL(**IMAGE, graph={"channels": 32}),
    "reclf": lambda: RECLF(**IMAGE, text={"channels": 32}, matching={"channels": 16, "score": "local"}),
    "simclr": lambda: SimCLR(**IMAGE),
}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory, phantom_store):
    """A checkpoint of each model, with the record of the store's inputs."""
    folder, paths = tmp_path_factory.mktemp("models"), {}
    for name, make in MODELS.items():
        torch.manual_seed(0)
        module = make()
        words = {side: training_words(Store(phantom_store), side) for side in module.sides if side in READ}
        module.input_record = describe_inputs(PairedDataModule(str(phantom_store))) | {"words": words}
        trainer = Trainer(logger=False, accelerator="cpu", enable_progress_bar=False, enable_checkpointing=False)
        trainer.strategy.connect(module)
        paths[name] = str(folder / f"{name}.ckpt")
        trainer.save_checkpoint(paths[name])
    return paths


def found(lines):
    """Rank, score, row and split of each line of the table."""
    return [line.split()[:4] for line in lines.splitlines()[1:] if line[:1].isdigit()]


def best(store, splits, score):
    """Rows of some splits by falling score, which `score` gives for a split."""
    rows = [(row, split) for split in splits for row in Store(store).column(split, "row")]
    values = torch.cat([score(split) for split in splits])
    return [(*rows[at], float(values[at])) for at in values.argsort(descending=True).tolist()]


@pytest.mark.parametrize("splits", [("train", "valid", "test"), ("test",)])
def test_the_nearest_images_of_a_text(checkpoints, phantom_store, tmp_path, capsys, splits):
    words = ["search", checkpoints["igcl"], str(phantom_store), TEXT, "--cache", str(tmp_path), "--top", "5"]
    words += ["--split", ",".join(splits)] if len(splits) == 1 else []
    assert main([*words, "--out", str(tmp_path / "found.png")]) is None
    out = capsys.readouterr().out
    module = BaseModule.load_from_checkpoint(checkpoints["igcl"])
    text, denial = module.embed_reports([TEXT, f"no {TEXT}"])
    contrast = text - denial
    expected = best(
        phantom_store, splits, lambda split: matched_pairs(module, phantom_store, 7, split).first @ contrast
    )
    assert [(row, split) for _, _, row, split in found(out)] == [(row, split) for row, split, _ in expected[:5]]
    assert [float(score) for _, score, _, _ in found(out)] == pytest.approx([s for *_, s in expected[:5]], abs=6e-4)
    assert "read as  small, left, effusion\nagainst  no small, left, no effusion\n" in out
    assert f"picture  {tmp_path / 'found.png'}" in out
    picture = np.asarray(Image.open(tmp_path / "found.png").convert("L"))
    assert picture.std() > 20
    assert len(list(tmp_path.glob("*.arrow"))) == len(splits)


def test_a_local_score_orders_the_nearest_by_cosine(checkpoints, phantom_store, tmp_path, monkeypatch):
    module, store = searcher(checkpoints["reclf"]), Store(phantom_store)
    query = read_query(module, TEXT)

    def scores(name):
        pairs = matched_pairs(module, phantom_store)
        with module.evaluating():
            text, denial = module._matched_inputs("report", [TEXT, f"no {TEXT}"], 1)
            return module.scorer(name)(pairs.first, text)[:, 0] - module.scorer(name)(pairs.first, denial)[:, 0]

    with torch.no_grad():
        local, cosine = scores("local"), scores("global")
    row = pd.Series(store.column("test", "row"))
    everything = nearest_images(module, store, query, ["test"], 8, tmp_path)
    assert [store.ids(hit.row)[0] for hit in everything] == row[local.argsort(descending=True)[:8].numpy()].tolist()
    assert [hit.score for hit in everything] == pytest.approx(local.sort(descending=True).values[:8].tolist(), abs=1e-5)
    monkeypatch.setattr(search, "SHORTLIST", 3)
    few = nearest_images(module, store, query, ["test"], 8, tmp_path)
    assert {store.ids(hit.row)[0] for hit in few} == {*row[cosine.argsort(descending=True)[:3].numpy()]}
    assert [hit.score for hit in few] == sorted((hit.score for hit in few), reverse=True)


@pytest.mark.parametrize(
    ("text", "words", "labels"),
    [
        ("Small left effusion.", "no Small left effusion .", ["OBS-DA", "ANAT-DP", "OBS-DA"]),
        ("no effusion", "effusion", ["OBS-DP"]),
        ("possible pneumonia", "no possible pneumonia", ["OBS-DA"]),
        ("Left effusion. No pneumothorax.", None, ["ANAT-DP", "OBS-DA", "OBS-DP"]),
        ("left lung", None, None),
    ],
)
def test_what_denies_a_text(checkpoints, text, words, labels):
    denial = read_query(searcher(checkpoints["reclf"]), text).denial
    assert (denial and denial.text) == words
    if labels:
        graph = read_query(searcher(checkpoints["igcl"]), text).denial
        assert [entity.label for entity in graph.entities] == labels


def test_without_a_denial_the_score_is_that_of_the_text(checkpoints, phantom_store, tmp_path):
    module, text = searcher(checkpoints["reclf"]), "Left effusion. No pneumothorax."
    hits = nearest_images(module, Store(phantom_store), read_query(module, text), ["test"], 3, tmp_path)
    with module.evaluating():
        (second,) = module._matched_inputs("report", [text], 1)
        expected = module.score(matched_pairs(module, phantom_store).first, second)[:, 0].sort(descending=True).values
    assert [hit.score for hit in hits] == pytest.approx(expected[:3].tolist(), abs=1e-5)


def test_rules_of_another_version_are_named_once(checkpoints):
    module = searcher(checkpoints["igcl"])
    module.input_record = module.input_record | {"parser": "spacy-rules-0"}
    with pytest.warns(UserWarning, match="were parsed by spacy-rules-0, this one by spacy-rules-") as told:
        [read_query(module, text) for text in (TEXT, "cardiomegaly")]
    assert len(told) == 1


def test_words_that_no_training_report_has_are_named(checkpoints, phantom_store, tmp_path, capsys):
    words = ["search", checkpoints["reclf"], str(phantom_store), "Small left wibble wobble", "--cache", str(tmp_path)]
    assert main([*words, "--split", "test"]) is None
    errors = capsys.readouterr().err
    assert "igcl: warning: no training report has 'wibble', 'wobble': the model never read it\n" in errors


@pytest.mark.parametrize(
    ("model", "text", "options", "expected"),
    [
        ("igcl", "wibble", [], "'wibble': nothing recognised, the parser finds no observation in it"),
        ("reclf", "...", [], "'...': has no words to search for"),
        ("simclr", TEXT, [], "simclr.ckpt: SimCLR has no side for images and one for reports or graphs"),
        ("igcl", TEXT, ["--split", "tset"], "no split 'tset', only train, valid, test"),
        ("igcl", TEXT, ["--top", "0"], "search: --top: 0 is not at least 1"),
        ("igcl", TEXT, ["--out", "found.jpg"], "search: --out: found.jpg is not a .png file"),
        ("igcl", TEXT, ["--out", "none/found.png"], "none: no such folder"),
    ],
)
def test_what_cannot_be_searched_is_one_line(checkpoints, phantom_store, capsys, model, text, options, expected):
    assert main(["search", checkpoints[model], str(phantom_store), text, *options]) in (1, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line


def test_missing_files_are_one_line(checkpoints, phantom_store, tmp_path, capsys):
    (tmp_path / "mine.ckpt").touch()
    assert main(["search", str(tmp_path / "mime.ckpt"), str(phantom_store), TEXT]) == 1
    assert main(["search", checkpoints["igcl"], str(tmp_path), TEXT]) == 1
    assert main(["search", "latest", str(phantom_store), TEXT]) == 2
    first, second, third = capsys.readouterr().err.splitlines()
    near = tmp_path / "mine.ckpt"
    assert first == f"igcl: error: {tmp_path / 'mime.ckpt'}: no such checkpoint, did you mean {near}?"
    assert "not a store" in second
    assert "latest: of which model?" in third
