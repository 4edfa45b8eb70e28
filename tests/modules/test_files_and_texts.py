"""A checkpoint turns files and texts into embeddings: those of the rows that `igcl predict` writes of a store."""

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer
from PIL import Image
from torch.utils.data import DataLoader

from igcl_lightning.cli import main
from igcl_lightning.data import inputs as reading
from igcl_lightning.data.modules import LabeledDataModule, PairedDataModule
from igcl_lightning.data.sources.phantom import phantom_study
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from igcl_lightning.modules import IGCL, BaseModule, ConVIRT, FewShotProbe, FineTune, LinearProbe, SimCLR
from image_files import dicom

ROWS = 24
LABELS = ["Pleural Effusion", "Edema", "No Finding"]
EXACT = {"rtol": 0, "atol": 1e-5}
SMALL = ["--model.image.backbone", "test_resnet", "--model.image.size", "32"]


def texts():
    """Reports as they come: with headers, without, with one section only, and empty."""
    for number in range(ROWS):
        report = phantom_study(number, size=64, views="frontal").report
        whole = " ".join(f"{name.upper()}: {text}" for name, text in report.items())
        kinds = [whole, report["findings"], f"IMPRESSION: {report['impression']}", "", "INDICATION: Cough. FINDINGS:"]
        yield kinds[number % len(kinds)]


def save_as(kind, pixels, folder, number):
    """Write grey pixels [H, W] as one of many kinds of file; return its name."""
    wide = pixels.astype(np.uint16) * 200 + 31
    if kind == 0:
        Image.fromarray(pixels).save(folder / f"{number}.png")
        return f"{number}.png"
    if kind == 1:
        Image.fromarray(wide).save(folder / f"{number}.png")
        return f"{number}.png"
    if kind == 2:
        Image.fromarray(np.repeat(np.repeat(pixels, 4, axis=0), 4, axis=1)).convert("RGB").save(
            folder / f"{number}.jpg"
        )
        return f"{number}.jpg"
    (folder / f"{number}.dcm").write_bytes(dicom(wide))
    return f"{number}.dcm"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    rows = []
    for number, text in enumerate(texts()):
        study = phantom_study(number, size=128, views="frontal")
        pixels = study.images[0].source[: 128 - 3 * number]  # from a square to flat ones
        name = save_as(number % 4, pixels, folder, number)
        split = ("train", "valid", "test")[number % 3] if number > 2 else "train"
        labels = {label: study.labels[label] for label in LABELS}
        rows.append({"file": name, "text": text, "patient": f"p{number}", "split": split, **labels})
    pd.DataFrame(rows).to_csv(folder / "table.csv", index=False)
    return folder


def prepare(table, out, *words):
    given = ["--csv", str(table / "table.csv"), "--image-column", "file", "--report-column", "text", "--size", "48"]
    given += ["--patient-column", "patient", "--split-column", "split", "--label-columns", ",".join(LABELS)]
    assert main(["prepare", "table", *given, "--jobs", "1", "--out", str(out), *words]) is None
    return out


def run(job, folder, name, *words):
    """Run a job in a folder of its own and return that."""
    logger = ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", str(folder), "--trainer.logger.name", name]
    quiet = ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false", "--trainer.devices", "1"]
    assert main([job, *words, *logger, *quiet]) == 0
    return sorted((folder / name).iterdir())[-1]


def pretrain(store, folder, *words):
    """Fit for an epoch; return the checkpoint, and what `predict` writes of every row by its file's name."""
    words = [*words, "--data.store", str(store), "--data.batch_size", "8", "--data.num_workers", "0", *SMALL]
    fitted = run("fit", folder, "fit", *words, "--trainer.max_epochs", "1") / "checkpoints" / "last.ckpt"
    splits = ["--data.predict_splits", "[train,valid,test]"]
    predicted = run("predict", folder, "predict", *words, "--ckpt_path", str(fitted), *splits)
    return fitted, pd.read_parquet(predicted / "embeddings.parquet").set_index("row")


def expected(frame, side):
    return torch.tensor(np.stack(frame[side].to_list()), dtype=torch.float32)


WAYS = {
    "lossless": (["--lossless"], "pretrain/phantom.yaml"),
    "jpeg": (["--quality", "80"], "pretrain/phantom.yaml"),
    "crop": (["--lossless", "--fit", "crop"], "pretrain/phantom.yaml"),
    "preset": (["--lossless", "--preset", "igcl-authors", "--size", "48"], "pretrain/phantom.yaml"),
    "impression": (["--lossless", "--sections", "impression"], "pretrain/phantom.yaml"),
    "words": (["--lossless"], "pretrain/phantom_convirt.yaml"),
}


@pytest.fixture(scope="module")
def pretrained(table, tmp_path_factory):
    """Checkpoint and predicted embeddings of each way, made when first asked for."""
    made = {}

    def of(way):
        if way not in made:
            options, config = WAYS[way]
            folder = tmp_path_factory.mktemp(way)
            store = prepare(table, folder / "store", *options)
            made[way] = (*pretrain(store, folder, "--config", config), store)
        return made[way]

    return of


@pytest.mark.parametrize("way", WAYS)
def test_files_and_texts_are_embedded_as_the_rows_of_the_store(pretrained, table, way):
    checkpoint, frame, _ = pretrained(way)
    model = BaseModule.load_from_checkpoint(checkpoint)
    given = pd.read_csv(table / "table.csv", keep_default_na=False).set_index("file").loc[frame.index]
    images = model.embed_images([table / name for name in frame.index], batch_size=5)
    torch.testing.assert_close(images, expected(frame, "image"), **EXACT)
    reports = model.embed_reports(given["text"], batch_size=5)
    torch.testing.assert_close(reports, expected(frame, model.sides[1]), **EXACT)
    assert len(reports.unique(dim=0)) > 5
    torch.testing.assert_close(images.norm(dim=1), torch.ones(len(images)))


def test_a_store_without_compression_is_near_one_with_it(pretrained, table):
    """How far JPEG moves an embedding; the reader compresses like the store, so this is not its error."""
    _, frame, _ = pretrained("jpeg")
    model = BaseModule.load_from_checkpoint(pretrained("lossless")[0])
    jpeg = BaseModule.load_from_checkpoint(pretrained("jpeg")[0])
    jpeg.input_record = model.input_record
    cosine = (jpeg.embed_images([table / name for name in frame.index]) * expected(frame, "image")).sum(dim=1)
    assert 0.99 < cosine.min() < 0.9999999


def test_node_text_is_read_again(table, tmp_path):
    pytest.importorskip("transformers", reason="the extra `text` is not installed")
    from tiny_bert import save_tiny_bert

    bert = save_tiny_bert(tmp_path / "bert")
    store = prepare(table, tmp_path / "store", "--lossless", "--node-text", bert)
    words = ["--config", "pretrain/phantom.yaml", "--data.node_text", "true", "--model.graph.node_text_channels", "16"]
    checkpoint, frame = pretrain(store, tmp_path, *words)
    model = BaseModule.load_from_checkpoint(checkpoint)
    given = pd.read_csv(table / "table.csv", keep_default_na=False).set_index("file").loc[frame.index]
    torch.testing.assert_close(model.embed_reports(given["text"]), expected(frame, "graph"), **EXACT)

    model.input_record["node_text"]["model"] = "bert-12345678"
    with pytest.raises(IgclError, match=r"node text: .*bert is bert-.*trained on .*bert-12345678"):
        model.embed_reports("Edema.")


def test_a_checkpoint_holds_its_tokenizer(table, tmp_path, pretrained):
    pytest.importorskip("transformers", reason="the extra `text` is not installed")
    from tiny_bert import save_tiny_bert

    bert = Path(save_tiny_bert(tmp_path / "bert"))
    words = ["--config", "pretrain/phantom_convirt.yaml", "--model.text.model", str(bert)]
    words += ["--data.tokenizer", str(bert), "--data.max_tokens", "20", "--model.text.frozen_layers", "1"]
    checkpoint, frame = pretrain(pretrained("lossless")[2], tmp_path, *words)
    for path in bert.iterdir():
        path.unlink()
    model = BaseModule.load_from_checkpoint(checkpoint)
    given = pd.read_csv(table / "table.csv", keep_default_na=False).set_index("file").loc[frame.index]
    torch.testing.assert_close(model.embed_reports(given["text"]), expected(frame, "report"), **EXACT)
    model.input_record["tokenizer"]["wordpieces"] = "{}"
    with pytest.raises(IgclError, match="the stored tokenizer is unreadable"):
        model.embed_reports("Edema.")


def test_images_and_reports_may_come_in_any_form(pretrained, table):
    checkpoint, frame, _ = pretrained("lossless")
    model = BaseModule.load_from_checkpoint(checkpoint)
    png, deep = table / "0.png", table / "1.png"
    one = model.embed_images(png)
    assert one.shape == (1, frame["image"].iloc[0].shape[0])
    opened, pixels = Image.open(png), np.asarray(Image.open(png))
    for same in (str(png), [png], opened, pixels, iter([pixels])):
        torch.testing.assert_close(model.embed_images(same), one, **EXACT)
    same = [deep, Image.open(deep), np.asarray(Image.open(deep)), np.asarray(Image.open(deep)).astype(np.float32)]
    same.append((np.asarray(same[1]).astype(np.int32) - 30_000).astype(np.int16))  # as a detector without an offset
    embedded = model.embed_images(same)
    torch.testing.assert_close(embedded, embedded[:1].expand(5, -1), **EXACT)
    assert model.embed_images([]).shape[0] == 0

    text = "FINDINGS: Small left pleural effusion. IMPRESSION: Edema."
    parts = {"findings": "Small left pleural effusion.", "impression": "Edema."}
    same = model.embed_reports([text, parts])
    torch.testing.assert_close(same[0], same[1], **EXACT)
    for single in (text, parts, (text for _ in range(1))):
        torch.testing.assert_close(model.embed_reports(single), same[:1], **EXACT)
    torch.testing.assert_close(model.embed_reports(["", {}])[0], model.embed_reports("INDICATION: Cough. FINDINGS:")[0])


def test_many_files_are_read_batch_by_batch(pretrained, table, monkeypatch):
    model = BaseModule.load_from_checkpoint(pretrained("lossless")[0])
    read, embedded = [], []
    store = reading.store_image
    monkeypatch.setattr(reading, "store_image", lambda *given: read.append(1) or store(*given))
    encoder = model.image_encoder.forward
    monkeypatch.setattr(model.image_encoder, "forward", lambda x: embedded.append((len(read), len(x))) or encoder(x))
    assert len(model.embed_images((table / "0.png" for _ in range(10)), batch_size=4)) == 10
    assert embedded == [(4, 4), (8, 4), (10, 2)]


def test_the_model_is_left_as_it_was(pretrained, table):
    model = BaseModule.load_from_checkpoint(pretrained("lossless")[0]).train()
    model.graph_encoder.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [part.training for part in model.modules()]
    assert not model.embed_images(table / "0.png").requires_grad
    assert [part.training for part in model.modules()] == modes
    with pytest.raises(IgclError, match="no such file"):
        model.embed_images(table / "none.png")
    assert [part.training for part in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_reports_are_scored_in_batches_as_in_one(pretrained, table):
    model = IGCL(image={"backbone": "test_resnet", "size": 32}, graph={"channels": 16}, matching={"weight": 1.0})
    model.input_record = BaseModule.load_from_checkpoint(pretrained("lossless")[0]).input_record
    given = pd.read_csv(table / "table.csv", keep_default_na=False)
    images, reports = [table / name for name in given["file"][:5]], list(given["text"][3:])
    whole = {name: model.score_reports(images, reports, name, batch_size=ROWS) for name in ("global", "local", "both")}
    for name, score in whole.items():
        torch.testing.assert_close(model.score_reports(images, reports, name, batch_size=4), score, **EXACT)
        pairs = [[model.score_reports(image, report, name).item() for report in reports[:3]] for image in images[:2]]
        torch.testing.assert_close(torch.tensor(pairs), score[:2, :3], **EXACT)
    cosine = model.embed_images(images) @ model.embed_reports(reports).T
    torch.testing.assert_close(whole["global"], cosine, **EXACT)
    torch.testing.assert_close(model.score_reports(images, reports), whole["both"], rtol=0, atol=0)
    assert model.training
    for wrong, said in (
        ((images, reports, "locall"), "score 'locall' is not one of global, local, both"),
        ((images, []), "no reports to score"),
        (([], reports), "no images to score"),
    ):
        with pytest.raises(IgclError, match=said):
            model.score_reports(*wrong)


def test_what_cannot_be_read_is_named(pretrained, table, tmp_path):
    model = BaseModule.load_from_checkpoint(pretrained("lossless")[0])
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "half.png").write_bytes((table / "0.png").read_bytes()[:900])
    for wrong, said in (
        (tmp_path / "text.png", "text.png: cannot be decoded"),
        (Image.open(tmp_path / "half.png"), "the image cannot be decoded"),
        ([np.zeros((2, 3, 4))], r"grey values \[H, W\]; this is an array \[2, 3, 4\]"),
        (np.zeros((0, 4)), r"an array \[0, 4\]"),
        (np.zeros((8, 8, 3), np.uint8), r"an array \[8, 8, 3\]"),
        (np.full((8, 8), np.nan), "values that are not finite"),
        ([table / "0.png", None], "a path, a PIL image or grey values .*, not NoneType"),
        (torch.zeros(8, 8), "not Tensor"),
        (3, "not int"),
    ):
        with pytest.raises(IgclError, match=said):
            model.embed_images(wrong)
    with pytest.raises(IgclError, match="a report is its text, or its texts by section, not float"):
        model.embed_reports([float("nan")])
    with pytest.raises(IgclError, match="a report has no section 'finding', only indication"):
        model.embed_reports({"finding": "Edema."})
    with pytest.raises(IgclError, match="batch_size is 0, not at least 1"):
        model.embed_images([table / "0.png"], batch_size=0)
    assert model.embed_images([]).shape == (0, model.embed_images([table / "0.png"]).shape[1])
    with pytest.raises(IgclError, match="Git-LFS pointer"):
        model.embed_reports("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n")


class Foreign(LightningDataModule):
    """A data module that knows nothing of stores."""

    def __init__(self, store):
        super().__init__()
        self.rows = PairedDataModule(str(store), batch_size=8)

    def train_dataloader(self) -> DataLoader:
        return self.rows.train_dataloader()


def quick_fit(module, data, path):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(accelerator="cpu", max_epochs=1, limit_val_batches=0, enable_checkpointing=False, **quiet)
    trainer.fit(module, data)
    trainer.save_checkpoint(path)
    return path


def test_a_model_that_cannot_know_says_so(pretrained, tmp_path):
    store = pretrained("lossless")[2]
    path = quick_fit(
        IGCL(image={"backbone": "test_resnet", "size": 32}, graph={"channels": 16}),
        Foreign(store),
        tmp_path / "foreign.ckpt",
    )
    with pytest.raises(IgclError, match="the preprocessing of this IGCL is unknown"):
        BaseModule.load_from_checkpoint(path).embed_images("a.png")
    path = quick_fit(
        SimCLR(image={"backbone": "test_resnet", "size": 32}),
        PairedDataModule(str(store), augment=False),
        tmp_path / "views.ckpt",
    )
    with pytest.raises(IgclError, match="SimCLR has no report side, only image and view"):
        BaseModule.load_from_checkpoint(path).embed_reports("Edema.")
    model = BaseModule.load_from_checkpoint(path)
    model.input_record["options"] = None
    with pytest.raises(IgclError, match="the preprocessing is unknown"):
        model.embed_images("a.png")


def test_a_fit_on_data_that_know_no_store_keeps_the_record(phantom_store, tmp_path):
    module = IGCL(image={"backbone": "test_resnet", "size": 32}, graph={"channels": 16})
    module.input_record = {"parser": "then"}
    path = quick_fit(module, Foreign(phantom_store), tmp_path / "foreign.ckpt")
    assert BaseModule.load_from_checkpoint(path).input_record == {"parser": "then"}


def test_a_validation_on_another_store_leaves_the_record_of_training(phantom_store, tmp_path):
    module = IGCL(image={"backbone": "test_resnet", "size": 32}, graph={"channels": 16})
    module.input_record = {"parser": "then"}
    quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
    trainer = Trainer(accelerator="cpu", **quiet)
    trainer.validate(module, PairedDataModule(str(phantom_store), batch_size=8), verbose=False)
    trainer.save_checkpoint(tmp_path / "validated.ckpt")
    assert BaseModule.load_from_checkpoint(tmp_path / "validated.ckpt").input_record == {"parser": "then"}


def test_right_after_training_nothing_has_to_be_loaded(pretrained, table):
    checkpoint, _, store = pretrained("lossless")
    module = BaseModule.load_from_checkpoint(checkpoint)
    module.input_record = None
    quick_fit(module, PairedDataModule(str(store), batch_size=8), checkpoint.with_name("again.ckpt"))
    again = BaseModule.load_from_checkpoint(checkpoint.with_name("again.ckpt"))
    torch.testing.assert_close(module.embed_images(table / "0.png"), again.embed_images(table / "0.png"), **EXACT)


def test_the_record_is_plain_data_and_says_how_inputs_were_made(pretrained):
    checkpoint, _, store = pretrained("crop")
    record = torch.load(checkpoint, weights_only=True)["inputs"]
    assert json.loads(json.dumps(record)) == record
    assert (record["options"]["size"], record["options"]["fit"], record["options"]["sections"]) == (48, "crop", "both")
    assert record["labels"] == LABELS
    assert record["store"]["fingerprint"] == Store(store).fingerprint
    assert record["store"]["source"]["uncertain"]
    assert record["parser"].startswith("spacy-rules-")
    assert (record["tokenizer"], record["views"]) == ({"model": None, "max_tokens": 256, "wordpieces": None}, None)


@pytest.mark.parametrize(
    ("probe", "data"),
    [
        (LinearProbe, {"draws": 2, "fraction": 0.9}),
        (FewShotProbe, {"shots": 2, "draws": 3}),
        (FineTune, {"batch_size": 8}),
    ],
)
def test_a_head_scores_files_and_keeps_both_records(pretrained, table, tmp_path, probe, data, recwarn):
    checkpoint, _, other = pretrained("crop")
    store = pretrained("lossless")[2]
    path = tmp_path / "head.ckpt"
    cache = str(tmp_path / "cache")
    quick_fit(probe(str(checkpoint)), LabeledDataModule(str(store), feature_cache=cache, **data), path)
    assert any("fit crop (here letterbox)" in str(warning.message) for warning in recwarn)
    taken = probe(checkpoint=str(path)).encoder.input_record["options"]["fit"]
    assert taken == ("letterbox" if probe is FineTune else "crop"), "a frozen encoder saw what it was pretrained on"
    again = tmp_path / "again.ckpt"  # what a loaded head saves holds both records too
    head = BaseModule.load_from_checkpoint(path)
    predicting = LabeledDataModule(str(store), feature_cache=cache, **data)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
    trainer = Trainer(accelerator="cpu", **quiet)
    batches = trainer.predict(head, predicting)
    trainer.save_checkpoint(again)
    score = torch.cat([batch.score for batch in batches])
    probabilities = score.sigmoid() if score.ndim == 2 else score.sigmoid().quantile(0.5, dim=1)
    frame = head.score_images([table / name for name in Store(store).column("test", "row")])
    assert list(frame.columns) == LABELS
    np.testing.assert_allclose(frame.to_numpy(), probabilities.numpy(), atol=1e-5)
    for saved in (path, again):
        stored = torch.load(saved, weights_only=True)
        fits = [stored[name]["options"]["fit"] for name in ("inputs", "encoder_inputs")]
        assert fits == ["letterbox", "crop"]
        assert stored["encoder_inputs"]["store"]["fingerprint"] == Store(other).fingerprint


def test_a_head_without_an_encoder_scores_no_files(pretrained, table):
    probe = LinearProbe(label_names=LABELS, in_channels=4)
    probe.input_record = BaseModule.load_from_checkpoint(pretrained("lossless")[0]).input_record
    with pytest.raises(IgclError, match="reads features of a file"):
        probe.score_images(table / "0.png")
    with pytest.raises(IgclError, match="never trained"):
        LinearProbe(image={"backbone": "test_resnet"}).score_images(table / "0.png")


def test_a_store_that_was_prepared_otherwise_is_one_warning(pretrained, tmp_path):
    checkpoint = pretrained("lossless")[0]
    words = ["--config", "pretrain/phantom.yaml", "--ckpt_path", str(checkpoint), "--data.batch_size", "8", *SMALL]

    def said(way, job="test"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run(job, tmp_path, job, *words, "--data.store", str(pretrained(way)[2]))
        return [str(note.message) for note in caught if "prepared differently" in str(note.message)]

    for way in ("lossless", "jpeg"):
        assert said(way) == []
    start = "the store was prepared differently from that of the checkpoint: "
    assert said("crop") == [f"{start}fit letterbox (here crop)"]
    assert said("crop", "predict") == [f"{start}fit letterbox (here crop)"]
    assert said("impression") == [f"{start}sections both (here impression)"]


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (("image",), ["size 48 (here 64)"]),
        (("image", "graph"), ["size 48 (here 64)", "parser a (here b)", "node text x (here None)"]),
        (("report",), ["parser a (here b)", "max_tokens 9 (here 8)"]),
        (("image", "label"), ["size 48 (here 64)", "uncertain ones (here zeros)"]),
        (("ecg", "view"), []),
    ],
)
def test_what_a_module_does_not_read_may_differ(kinds, expected):
    def record(size, parser, text, tokens, uncertain):
        return {
            "options": {"size": size, "fit": "crop", "sections": "both"},
            "parser": parser,
            "node_text": text and {"model": text},
            "tokenizer": {"model": None, "max_tokens": tokens},
            "store": {"source": {"uncertain": uncertain}, "fingerprint": str(size)},
        }

    first, second = record(48, "a", "x", 9, "ones"), record(64, "b", None, 8, "zeros")
    assert reading.differences(first, second, kinds) == expected
    assert reading.differences(first, first, kinds) == []


def test_another_policy_of_blank_labels_is_named():
    first, second = ({"store": {"source": {"uncertain": "ones", "blank": blank}}} for blank in ("unknown", "zeros"))
    assert reading.differences(first, second, ["label"]) == ["blank unknown (here zeros)"]


def test_another_parser_is_warned_of(pretrained):
    model = BaseModule.load_from_checkpoint(pretrained("words")[0])
    assert type(model) is ConVIRT
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.embed_reports("Edema.")
    model.input_record["parser"] = "spacy-rules-0-older"
    with pytest.warns(UserWarning, match="were parsed by spacy-rules-0-older, this one by"):
        model.embed_reports("Edema.")
