import json
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Trainer
from scipy.stats import spearmanr
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from igcl_lightning.callbacks import WritePredictions, WritePrompts
from igcl_lightning.callbacks.prompts import robustness
from igcl_lightning.cli import main
from igcl_lightning.data.inputs import describe_inputs
from igcl_lightning.data.modules import LabeledDataModule, PairedDataModule
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.sources import subset
from igcl_lightning.data.sources.nih_cxr14 import LABELS as LABELS_OF_NIH
from igcl_lightning.data.store import Store
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.data.words import training_words
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.prompts import read_prompts
from igcl_lightning.graphs.schema import stable_hash
from igcl_lightning.modules import IGCL, RECLF, ConVIRT, SimCLR, ZeroShot
from igcl_lightning.modules.zero_shot import prompt_contrast
from igcl_lightning.protocols.contestants import from_checkpoint
from igcl_lightning.protocols.hard_negatives import matched_pairs
from igcl_lightning.protocols.retrieval import retrieval_answers
from igcl_lightning.protocols.zero_shot import ZeroShotProtocol
from saved import save_as_fit
from source_trees import CHEXPERT_LABELS, CLASSES, chexpert_classes_tree, mimic_classes_tree, nih_tree
from stores import prepare_studies

IMAGE = {"backbone": "test_resnet", "size": 32}
GRAPH = {"channels": 16}
LABELS = ["Edema", "Pleural Effusion"]
PROMPTS = """Edema\t[{|mild}] (pulmonary) [edema]
Edema\t(interstitial) [edema]\tthe (lungs) are [clear]
Pleural Effusion\t({left|right} pleural) [effusion]\tno (pleural) [-effusion]
"""
MODELS = {
    "graph": lambda: IGCL(image=IMAGE, graph=GRAPH),
    "graph, local branch": lambda: IGCL(image=IMAGE, graph=GRAPH, matching={"weight": 1.0, "channels": 8}),
    "text": lambda: ConVIRT(image=IMAGE, text={"channels": 16, "layers": 1}),
    "text and graph": lambda: RECLF(image=IMAGE, units="both", text={"channels": 16, "layers": 1}, graph=GRAPH),
}


def trainer(folder, *callbacks):
    return Trainer(
        accelerator="cpu",
        default_root_dir=folder,
        callbacks=list(callbacks),
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        max_epochs=1,
    )


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    path = tmp_path_factory.mktemp("prompts") / "mine.tsv"
    path.write_text(PROMPTS)
    return str(path)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, phantom_store):
    torch.manual_seed(0)
    return save_as_fit(MODELS["graph"](), tmp_path_factory.mktemp("pretrained") / "igcl.ckpt", phantom_store)


@pytest.mark.parametrize(
    ("kind", "score"),
    [("graph", None), ("text", None)]
    + [("graph, local branch", score) for score in ("global", "local", "both")]
    + [("text and graph", "both")],
)
def test_scores_are_those_of_a_loop_over_single_images_and_prompts(kind, score, phantom_store, prompts, tmp_path):
    torch.manual_seed(0)
    model = MODELS[kind]().eval()
    zero = ZeroShot(save_as_fit(model, tmp_path / "a.ckpt", phantom_store), prompts, 2, score, label_names=LABELS)
    image = torch.randint(0, 256, (3, 1, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        got = zero.score_image(image)
        temperature = {"local_": model.local_loss} if score in ("local", "both") else {}
        scale = {name: loss.logit_scale.exp() for name, loss in ({"": model.loss} | temperature).items()}
        seen = [model.encode("image", one[None]) for one in image]
        seen = [model.matched("image", one, model.project("image", one)) for one in seen]

        def logit(one, graph):
            (encoded,) = model.encode_inputs(model.report_side, [graph])
            prompt = model.matched(model.report_side, encoded, model.project(model.report_side, encoded))
            if score is None:
                return float(scale[""] * (one * prompt).sum())
            values = {"": (one.embedding * prompt.embedding).sum()}
            if score != "global":
                values["local_"] = model.local.score(one.regions, prompt.units)
            if score == "local":
                del values[""]
            return float(sum(scale[name] * value for name, value in values.items()) / len(values))

        for row, one in enumerate(seen):
            for label, name in enumerate(LABELS):
                own = [prompt for prompt in zero.prompts if prompt.label == name]
                stated, denied = (np.exp([logit(one, prompt[side]) for prompt in own]) for side in (1, 2))
                assert float(got[row, label]) == pytest.approx(np.log(sum(stated) / sum(denied)), abs=2e-4)
        torch.testing.assert_close(zero.score_image(image[1:2]), got[1:2], rtol=0, atol=1e-5)
    assert [prompt.label for prompt in zero.prompts] == ["Edema"] * 3 + ["Pleural Effusion"] * 2


def test_absent_in_place_of_present_inverts_the_score():
    generator = torch.Generator().manual_seed(0)
    label, target = torch.tensor([0, 1, 0]), torch.tensor([1.0, 0.0] * 50).numpy()
    present, absent = torch.randn(2, 100, 3, generator=generator)
    score, other = prompt_contrast(present, absent, label, 2), prompt_contrast(absent, present, label, 2)
    assert torch.equal(score, -other)
    for each in range(2):
        inverted = roc_auc_score(target, other[:, each].numpy())
        assert inverted == pytest.approx(1 - roc_auc_score(target, score[:, each].numpy()), abs=1e-6)


def asked(zero, store, folder, labels=LABELS):
    """Test a module; return its predictions, prompts and warnings."""
    writer = WritePredictions()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer(folder, writer, WritePrompts()).test(zero, LabeledDataModule(str(store), labels=labels), verbose=False)
    return writer.frame, pd.read_csv(folder / "prompts.csv"), [str(each.message) for each in caught]


def test_a_test_writes_predictions_and_prompts_and_names_the_inverted_ones(
    checkpoint, phantom_store, prompts, tmp_path, capsys
):
    zero = ZeroShot(checkpoint, prompts, 1)
    frame, table, messages = asked(zero, phantom_store, tmp_path)
    assert set(frame["method"]) == {"igcl"}
    assert len(frame) == 2 * len(Store(phantom_store).table("test"))
    assert '"protocol": "zero_shot"' in (tmp_path / "results.json").read_text()
    assert "each prompt alone, test rows" in capsys.readouterr().out

    data = LabeledDataModule(str(phantom_store), labels=LABELS)
    for split, loader in (("valid", data.val_dataloader()), ("test", data.test_dataloader())):
        with torch.no_grad():
            each = [(torch.sub(*zero.score_prompts(batch.image)), batch.target) for batch in loader]
        score, target = (torch.cat(parts).numpy() for parts in zip(*each, strict=True))
        for number, line in table.iterrows():
            truth = target[:, LABELS.index(line["label"])]
            assert line[f"{split}_auroc"] == pytest.approx(roc_auc_score(truth, score[:, number]), abs=1e-5)
            own = [other for other in table.index if table["label"][other] == line["label"] and other != number]
            agreement = np.mean([spearmanr(score[:, number], score[:, other]).statistic for other in own])
            assert line[f"{split}_agreement"] == pytest.approx(agreement, abs=1e-4)
    below = table[table["valid_auroc"] < 0.5]
    assert len(below) > 0
    (warning,) = (message for message in messages if "AUROC below .5" in message)
    assert warning.startswith(f"{len(below)} of {len(table)} prompts have an AUROC below .5 on the validation rows")
    for _, line in below.iterrows():
        assert f"{line['label']} '{line['present'].removesuffix(' .')}' {line['valid_auroc']:.2f}" in warning
    summary = robustness(table).loc["Edema"]
    value = table[table["label"] == "Edema"]["test_auroc"]
    assert summary[["prompts", "mean", "sd", "lowest", "highest"]].tolist() == pytest.approx(
        [3, value.mean(), np.std(value), value.min(), value.max()]
    )


def test_a_model_with_inverted_embeddings_is_caught(checkpoint, phantom_store, prompts, tmp_path):
    zero = ZeroShot(checkpoint, prompts, 1)
    _, upright, _ = asked(zero, phantom_store, tmp_path)
    zero.pretrained.image_projection[-1].weight.data.neg_()
    _, inverted, messages = asked(zero, phantom_store, tmp_path)
    np.testing.assert_allclose(inverted["valid_auroc"], 1 - upright["valid_auroc"], atol=1e-6)
    assert any(f"{(upright['valid_auroc'] > 0.5).sum()} of 5 prompts have an AUROC below .5" in m for m in messages)


@pytest.mark.parametrize("side", ["image", "graph"])
def test_a_model_without_normalisation_is_caught(side, checkpoint, phantom_store, prompts, tmp_path):
    zero = ZeroShot(checkpoint, prompts)
    projection = getattr(zero.pretrained, f"{side}_projection")
    projection.forward = projection.project
    with pytest.raises(IgclError, match=f"the {side} embeddings of IGCL have lengths .* {side}_projection does not"):
        trainer(tmp_path).test(zero, LabeledDataModule(str(phantom_store), labels=LABELS), verbose=False)


def test_words_that_training_never_had_are_counted_and_named(checkpoint, phantom_store, tmp_path):
    (tmp_path / "mine.tsv").write_text("Edema\t[wet] (lungs) [Edema] of [brol]\nEdema\t(pulmonary) [edema]\n")
    zero = ZeroShot(checkpoint, str(tmp_path / "mine.tsv"))
    _, _, messages = asked(zero, phantom_store, tmp_path, ["Edema"])
    warning = "2 of 5 words of the prompts are in no training report: brol, wet"
    assert warning in messages
    run, data = trainer(tmp_path), LabeledDataModule(str(phantom_store), labels=["Edema"])
    run.strategy.connect(zero)
    run.save_checkpoint(tmp_path / "zero.ckpt")
    rebuilt = ZeroShot(**{name: value for name, value in zero.portable_hyperparameters().items() if name[0] != "_"})
    with pytest.warns(UserWarning, match=warning):  # what the checkpoint knows is restored after `setup`
        trainer(tmp_path).test(rebuilt, data, verbose=False, ckpt_path=tmp_path / "zero.ckpt", weights_only=True)
    (tmp_path / "mine.tsv").write_text("Edema\t[wet] [brol] of the\tno (pulmonary) [-edema]\n")
    with pytest.raises(IgclError, match="no training report had any word of the prompt 'wet brol of the .' for Edema"):
        asked(ZeroShot(checkpoint, str(tmp_path / "mine.tsv")), phantom_store, tmp_path, ["Edema"])


def test_the_words_of_training_reports_are_those_of_a_loop_over_its_graphs(phantom_store):
    store = Store(phantom_store)
    graphs = [store.report_graph(stable_hash(row)) for row in store.column("train", "row")]
    entities = {word for graph in graphs for entity in graph.entities for word in entity.tokens.lower().split()}
    assert training_words(store, "graph").split() == sorted(entities)
    assert training_words(store, "report").split() == sorted(
        {word for graph in graphs for word in graph.text.lower().split()}
    )
    some = Store(phantom_store, views=["AP"])
    views = zip(graphs, store.column("train", "view"), strict=True)
    expected = {word for graph, view in views if view == "AP" for word in graph.text.lower().split()}
    assert training_words(some, "report").split() == sorted(expected)
    assert describe_inputs(PairedDataModule(str(phantom_store)), words=True)["words"] == {
        "graph": training_words(store, "graph")
    }


def test_prompts_and_labels_travel_in_the_checkpoint(checkpoint, phantom_store, prompts, tmp_path):
    zero = ZeroShot(checkpoint, prompts, 2, label_names=LABELS)
    run = trainer(tmp_path)
    run.strategy.connect(zero)
    run.save_checkpoint(tmp_path / "zero.ckpt")
    stored = torch.load(tmp_path / "zero.ckpt", weights_only=True)["hyper_parameters"]
    assert (stored["checkpoint"], stored["prompts"], stored["label_names"]) == (None, None, LABELS)
    loaded = ZeroShot.load_from_checkpoint(tmp_path / "zero.ckpt")
    assert loaded.prompts == zero.prompts
    assert loaded.pretrained.input_record == zero.pretrained.input_record
    image = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    pd.testing.assert_frame_equal(loaded.score_images(image), zero.score_images(image))


def test_statements_are_as_many_as_the_model_read(checkpoint, phantom_store, tmp_path):
    sentences = ZeroShot(save_as_fit(MODELS["text"](), tmp_path / "text.ckpt", phantom_store))
    assert (sentences.statements, ZeroShot(checkpoint).statements) == (1, 5)


def test_what_cannot_be_asked_is_one_line(checkpoint, phantom_store, prompts, tmp_path):
    with pytest.raises(IgclError, match="zero-shot needs a pretrained model: give its checkpoint with --model.check"):
        ZeroShot()
    views = save_as_fit(SimCLR(image=IMAGE), tmp_path / "simclr.ckpt", phantom_store)
    with pytest.raises(IgclError, match="simclr.ckpt: SimCLR reads no reports, and so no prompts"):
        ZeroShot(views)
    with pytest.raises(IgclError, match="model.statements is 0, not at least 1"):
        ZeroShot(checkpoint, statements=0)
    with pytest.raises(IgclError, match="model.score 'local' is not one of global"):
        ZeroShot(checkpoint, score="local")
    data = LabeledDataModule(str(phantom_store), labels=["Edema", "Cardiomegaly"])
    with pytest.raises(IgclError, match="no prompts for Cardiomegaly: add a line for each to a file of your own"):
        trainer(tmp_path).test(ZeroShot(checkpoint, prompts), data, verbose=False)
    with pytest.raises(IgclError, match="ZeroShot has nothing to train"):
        trainer(tmp_path).fit(ZeroShot(checkpoint, prompts), data)


def test_new_images_are_scored_by_all_labels_of_the_prompts_without_a_fit(checkpoint, tmp_path, capsys):
    blank = StudyImage("i", np.zeros((64, 64), np.uint8))
    prepare_studies([Study("s", "p", (blank,))], tmp_path / "new", options=Options(size=64))
    words = ["--config", "probe/zero_shot.yaml", "--data.store", str(tmp_path / "new")]
    words += ["--trainer.accelerator", "cpu", "--trainer.logger", "false", "--trainer.default_root_dir", str(tmp_path)]
    assert main(["predict", *words, "--model.checkpoint", checkpoint]) == 0
    assert "without --ckpt_path" not in capsys.readouterr().err
    labels = dict.fromkeys(line.name for line in read_prompts())
    labels = [name for name in labels if name in CHEXPERT_LABELS]
    assert len(labels) == 14
    assert list(pd.read_csv(tmp_path / "predictions.csv").columns) == ["row", "study", "patient", *labels]
    assert main(["predict", *words, "--model.checkpoint", checkpoint, "--ckpt_path", checkpoint]) == 1
    assert f"a pretrained IGCL; give it with --model.checkpoint {checkpoint}" in capsys.readouterr().err


TREES = {"mimic-cxr": mimic_classes_tree, "chexpert": chexpert_classes_tree}


def run_test(checkpoint, store, folder, *words):
    """Test zero-shot through the command line, and return its exit code."""
    command = ["test", "--config", "probe/zero_shot.yaml", "--data.store", str(store), "--model.checkpoint", checkpoint]
    run = ["--trainer.accelerator", "cpu", "--trainer.logger", "false", "--trainer.default_root_dir", str(folder)]
    return main([*command, *run, *words])


@pytest.fixture(params=TREES)
def of_classes(request, tmp_path, monkeypatch):
    """A 5x200 set of four images a class, from a tree in the layout of the data set."""
    monkeypatch.setattr(subset, "EACH", 4)
    root = TREES[request.param](tmp_path / "root")
    command = ["prepare", request.param, "--root", str(root), "--size", "64", "--subset", "5x200"]
    assert main([*command, "--out", str(tmp_path / request.param)]) is None
    return tmp_path / request.param


def test_a_5x200_set_is_served_by_zero_shot_and_retrieval(checkpoint, of_classes, tmp_path, capsys, caplog):
    assert run_test(checkpoint, of_classes, tmp_path) == 0
    store, frame = Store(of_classes), pd.read_parquet(tmp_path / "predictions.parquet")
    own = dict(zip(store.column("test", "row"), store.column("test", "class"), strict=True))
    assert sorted(own.values()) == sorted(CLASSES * 4)
    scores = frame[frame["label"].isin(CLASSES)].pivot_table(index="row", columns="label", values="score")
    truth, said = [own[row] for row in scores.index], scores.idxmax(axis=1)
    records = json.loads((tmp_path / "results.json").read_text())
    found = {(each["metric"], each["label"]): each["value"] for each in records if each["seed"] is None}
    assert found["accuracy", "mean"] == pytest.approx(accuracy_score(truth, said))
    assert found["f1", "mean"] == pytest.approx(f1_score(truth, said, average="macro"))
    for name in CLASSES:
        is_of = np.array(truth) == name
        assert found["f1", name] == pytest.approx(f1_score(is_of, said == name))
        assert found["auroc", name] == pytest.approx(roc_auc_score(is_of, scores[name]))
    assert "one of 5 classes: 20 test rows of 20 patients" in capsys.readouterr().out
    assert run_test(checkpoint, of_classes, tmp_path / "b", "--data.labels", "[Edema, Cardiomegaly]") == 0
    assert '"accuracy"' not in (tmp_path / "b/results.json").read_text()
    contestant, protocol = from_checkpoint(str(checkpoint)), ZeroShotProtocol(labels=[*CLASSES])
    evaluated, text = protocol.report({contestant: protocol.measure(contestant, store, {})}, store)
    wanted = {(each["metric"], each["label"]): each["value"] for each in evaluated if each["seed"] is None}
    assert wanted["accuracy", "mean"] == found["accuracy", "mean"]
    assert "one of 5 classes: 20 test rows of 20 patients" in text
    lacking = "Atelectasis, Consolidation, Pleural Effusion are classes of the store, and not scored"
    assert lacking in caplog.text

    module = IGCL.load_from_checkpoint(checkpoint)
    if of_classes.name == "chexpert":
        with pytest.raises(IgclError, match="no row of test has a report; nothing to retrieve"):
            retrieval_answers(module, of_classes)
        return
    there, back = retrieval_answers(module, of_classes, k=(3,))
    assert (there.labels, back.direction) == (CLASSES, "graph_to_image")
    pairs = matched_pairs(module, of_classes)
    names = np.array([own[store.ids(row)[0]] for row in pairs.row.tolist()])
    scores = (pairs.second @ pairs.first.T).numpy()  # each report with each image
    for query, name in enumerate(names):
        alike = names[np.argsort(-scores[query])[:3]] == name
        assert back.precision[0, query, 0, CLASSES.index(name)] == pytest.approx(alike.mean())


def test_a_store_of_chestx_ray14_needs_no_prompts_of_ones_own(checkpoint, tmp_path):
    root = nih_tree(tmp_path / "nih")
    assert main(["prepare", "nih-cxr14", "--root", str(root), "--size", "64", "--out", str(tmp_path / "store")]) is None
    assert run_test(checkpoint, tmp_path / "store", tmp_path) == 0
    records = json.loads((tmp_path / "results.json").read_text())
    values = {each["label"]: each["value"] for each in records if each["seed"] is None}
    assert {label for label, value in values.items() if value is None} == {"No Finding"}
    assert values.keys() == {*LABELS_OF_NIH, "mean"}
    prompts = pd.read_csv(tmp_path / "prompts.csv").groupby("label")["present"].first()
    assert "effusion" in prompts["Effusion"]
    assert "thickening" in prompts["Pleural_Thickening"]
