"""`igcl evaluate --radiologists`: known answers, scikit-learn, a checkpoint against readers, and what is refused."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Trainer
from matplotlib.figure import Figure
from sklearn.metrics import f1_score, matthews_corrcoef, recall_score, roc_auc_score

from html_pages import faults_of
from igcl_lightning.callbacks import WritePredictions
from igcl_lightning.cli import main
from igcl_lightning.data.modules import LabeledDataModule
from igcl_lightning.data.store import Store
from igcl_lightning.evaluation.results import Record
from igcl_lightning.metrics.operating import patient_counts
from igcl_lightning.modules import IGCL, SimCLR
from igcl_lightning.modules.few_shot import FewShotProbe
from igcl_lightning.protocols.study_scores import of_studies
from reader_trees import FIVE, MODEL, READER, TRUTH, shuffled, write_tree
from saved import save_as_fit
from two_processes import save_blank

pytestmark = pytest.mark.usefixtures("blank_pictures")

SCORES = {
    "mcc": matthews_corrcoef,
    "f1": f1_score,
    "sensitivity": recall_score,
    "specificity": lambda target, answer: recall_score(target, answer, pos_label=0),
}
KNOWN = {
    "Atelectasis": ((123, 74, 30, 273), 0.703, 0.557, 0.8744),
    "Cardiomegaly": ((72, 16, 79, 333), 0.603, 0.520, 0.9330),
    "Consolidation": ((19, 52, 10, 419), 0.380, 0.365, 0.9160),
    "Edema": ((49, 36, 29, 386), 0.601, 0.524, 0.9209),
    "Pleural Effusion": ((85, 21, 19, 375), 0.810, 0.759, 0.9468),
}
IMAGE = {"backbone": "test_resnet", "size": 32}
LABELS = ["Cardiomegaly", "Edema", "Pleural Effusion"]


def compare(root, out, *words):
    return main(["evaluate", "--radiologists", str(root), "--out", str(out), *map(str, words)])


def read(out):
    return json.loads((out / "results.json").read_text())


def only(records, **wanted):
    (found,) = (each for each in records if all(each[name] == value for name, value in wanted.items()))
    return found


def test_readers_and_models_are_judged_as_by_scikit_learn(tmp_path, capsys):
    tables = write_tree(tmp_path / "tree")
    assert compare(tmp_path / "tree", tmp_path / "out") == 0
    records, truth = read(tmp_path / "out"), tables[TRUTH]
    for label in FIVE:
        for reader in ("r1", "r2"):
            for metric, judge in SCORES.items():
                found = only(records, method=reader, metric=metric, label=label)
                assert found["value"] == pytest.approx(judge(truth[label], tables[READER.replace("r1", reader)][label]))
                assert (found["protocol"], found["split"], found["n"]) == ("radiologists", "test", 40)
        found = only(records, method="m1_predictions", metric="auroc", label=label)
        assert found["value"] == pytest.approx(roc_auc_score(truth[label], tables[MODEL][label]))
    for metric in SCORES:
        values = [only(records, method="r1", metric=metric, label=label)["value"] for label in FIVE]
        assert only(records, method="r1", metric=metric, label="mean")["value"] == pytest.approx(np.mean(values))
    assert all(set(record) == set(Record.__annotations__) for record in records)
    said = capsys.readouterr().out
    assert "40 studies of 20 patients" in said
    assert f"mean over {', '.join(FIVE)}\n" in said
    assert "table.md also has No Finding, Lung Opacity, Lung Lesion\n\nAUROC\n" in said
    assert said.count("Lung Lesion") == 1
    assert "Lung Lesion" in (tmp_path / "out" / "table.md").read_text()
    files = "files   results.json, table.md, predictions.parquet, plots/roc_readers.png\n"
    assert said.endswith(f"{files}look    {tmp_path / 'out' / 'report.html'}\n")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert faults_of(page) == []
    assert str(tmp_path) not in page
    assert re.findall(r'<section id="([\w-]+)"', page) == ["readers", "roc", "run"]
    frame = pd.read_parquet(tmp_path / "out" / "predictions.parquet")
    assert set(frame["method"]) == {"m1_predictions"}
    assert len(frame) == 40 * 5


def test_shuffled_rows_and_exchanged_columns_change_nothing(tmp_path):
    tables = write_tree(tmp_path / "tree")
    compare(tmp_path / "tree", tmp_path / "first")
    for seed, (name, frame) in enumerate(tables.items()):
        shuffled(frame, 50 + seed).to_csv(tmp_path / "tree" / name, index=False)
    compare(tmp_path / "tree", tmp_path / "second")
    first, second = (tmp_path / out / "results.json" for out in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


def test_a_label_without_positives_is_reported_and_restricted_studies_are_said(tmp_path, capsys):
    tables = write_tree(tmp_path / "tree", models=())
    tables[TRUTH].assign(Edema=0).to_csv(tmp_path / "tree" / TRUTH, index=False)
    tables[READER].iloc[4:].to_csv(tmp_path / "tree" / READER, index=False)
    assert compare(tmp_path / "tree", tmp_path / "out") == 0
    records = read(tmp_path / "out")
    for metric in ("mcc", "f1", "sensitivity"):
        found = only(records, method="r2", metric=metric, label="Edema")
        assert (found["value"], found["n"], found["positives"]) == (None, 40, 0)
    assert only(records, method="r1", metric="mcc", label="Atelectasis")["n"] == 36
    said = capsys.readouterr().out
    assert "mean over Atelectasis, Cardiomegaly, Consolidation, Pleural Effusion\n" in said
    assert "no positives, so neither sensitivity, F1, MCC nor AUROC: Edema\n" in said
    assert "r1: studies that are missing: 4 of 40; compared on the other 36\n" in said
    assert not (tmp_path / "out" / "predictions.parquet").exists()


def test_an_incomplete_model_leaves_the_predictions_of_the_studies_that_all_score(tmp_path):
    tables = write_tree(tmp_path / "tree", models=("m1", "m2"))
    tables[MODEL].iloc[4:].to_csv(tmp_path / "tree" / MODEL, index=False)
    assert compare(tmp_path / "tree", tmp_path / "out") == 0
    assert only(read(tmp_path / "out"), method="m2_predictions", metric="auroc", label="Edema")["n"] == 40
    frame = pd.read_parquet(tmp_path / "out" / "predictions.parquet")
    assert (frame.groupby(["method", "label"])["study"].nunique() == 36).all()


@pytest.mark.data
def test_the_public_reader_and_model_have_their_known_numbers(data_folder, tmp_path):
    root = data_folder / "chexpert_test"
    assert compare(root, tmp_path / "out") == 0
    records = read(tmp_path / "out")
    truth, reader = (
        pd.read_csv(root / name).set_index("Study").sort_index()
        for name in (TRUTH, "radiologists/benchmark_radiologists/bc4.csv")
    )
    for label, (counts, f1, mcc, auroc) in KNOWN.items():
        found = patient_counts(reader[label], truth[label], np.zeros(500, dtype=int), 1)
        assert tuple(found[0]) == counts
        rounded = {name: only(records, method="bc4", metric=name, label=label)["value"] for name in SCORES}
        tp, fp, fn, tn = counts
        assert rounded["sensitivity"] == pytest.approx(tp / (tp + fn), abs=1e-12)
        assert rounded["specificity"] == pytest.approx(tn / (tn + fp), abs=1e-12)
        assert (round(rounded["f1"], 3), round(rounded["mcc"], 3)) == (f1, mcc)
        area = only(records, method="desmond_predictions", metric="auroc", label=label)
        assert (round(area["value"], 4), area["n"], area["patients"]) == (auroc, 500, 500)
    means = [only(records, method="bc4", metric=metric, label="mean")["value"] for metric in ("f1", "mcc")]
    assert [round(mean, 3) for mean in means] == [0.619, 0.545]
    area = only(records, method="desmond_predictions", metric="auroc", label="mean")
    assert round(area["value"], 4) == 0.9182


@pytest.fixture(scope="module")
def tree(tmp_path_factory, phantom_store):
    """Readers of the test studies of the phantoms; the labels of the ground truth are not those of the store."""
    root, store = tmp_path_factory.mktemp("readers"), Store(phantom_store)
    ids = sorted(set(store.column("test", "study")))
    write_tree(root, labels=(*FIVE, "No Finding"), ids=[f"{study}/" for study in ids])
    return root


@pytest.fixture(scope="module")
def probe(tmp_path_factory, phantom_store):
    """The checkpoint of two few-shot probes, as in a run folder."""
    folder, module = tmp_path_factory.mktemp("run"), FewShotProbe(image=IMAGE, name="probe")
    data = LabeledDataModule(str(phantom_store), labels=LABELS, shots=2, draws=2, feature_cache=str(folder))
    trainer = Trainer(
        accelerator="cpu", logger=False, max_epochs=1, enable_progress_bar=False, enable_checkpointing=False
    )
    trainer.fit(module, data)
    trainer.save_checkpoint(folder / "checkpoints" / "last.ckpt")
    return folder / "checkpoints" / "last.ckpt"


@pytest.fixture(scope="module")
def igcl(tmp_path_factory, phantom_store):
    torch.manual_seed(0)
    module = IGCL(image=IMAGE, graph={"channels": 16}, projection={"channels": 16})
    return save_as_fit(module, tmp_path_factory.mktemp("pretrained") / "igcl.ckpt", phantom_store)


@pytest.fixture(scope="module")
def compared(tree, probe, igcl, phantom_store, tmp_path_factory):
    """The results of two checkpoints."""
    out = tmp_path_factory.mktemp("compared") / "out"
    words = ("--checkpoint", probe, "--checkpoint", f"mine={igcl}", "--store", phantom_store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", save_blank)
        assert compare(tree, out, *words) == 0
    return out


def best_mcc(score, target):
    """The best MCC of all thresholds, by trying each."""
    levels = np.unique(score)
    return max(matthews_corrcoef(target, score >= level) for level in (*levels, np.inf))


def test_a_checkpoint_is_compared_at_thresholds_of_the_validation_studies(compared, tree, phantom_store):
    records, frame = read(compared), pd.read_parquet(compared / "predictions.parquet")
    truth = pd.read_csv(tree / TRUTH).set_index("Study").rename(index=lambda study: study.strip("/"))
    store = Store(phantom_store)
    patients = dict(zip(store.column("test", "study"), store.column("test", "patient"), strict=True))
    for method, labels in (("probe", LABELS), ("mine", [*FIVE, "No Finding"])):
        for label in labels:
            own = frame[(frame["method"] == method) & (frame["label"] == label)].set_index("study")
            test, valid = own[own["split"] == "test"], own[own["split"] == "valid"]
            assert (test["target"] == truth[label][test.index]).all()
            assert test["patient"].to_dict() == patients
            if valid["target"].nunique() < 2:
                continue
            sensitivity = only(records, method=method, metric="sensitivity", label=label, versus=None)
            threshold = sensitivity["threshold"]
            chosen = matthews_corrcoef(valid["target"], valid["score"] >= threshold)
            assert chosen == pytest.approx(best_mcc(valid["score"], valid["target"]))
            for metric, judge in SCORES.items():
                value = judge(test["target"], test["score"] >= threshold)
                found = only(records, method=method, metric=metric, label=label, versus=None)
                assert found["value"] == pytest.approx(value)
                for reader in ("r1", "r2"):
                    theirs = only(records, method=reader, metric=metric, label=label)["value"]
                    apart = only(records, method=method, versus=reader, metric=metric, label=label)
                    assert apart["value"] == pytest.approx(value - theirs)
                    assert apart["threshold"] == threshold
                    assert apart["patients"] == len(set(patients.values()))
    text = (compared / "table.md").read_text()
    assert "**mine - r2: better or worse**" in text
    assert re.search("probe: thresholds have the best MCC on 8 validation studies, few of them positive: ", text)
    assert "Holm" in text
    assert "mine: no threshold, one class only among the validation studies: Consolidation" in text


def test_scores_are_those_of_the_checkpoint_the_median_of_its_heads(compared, probe, phantom_store):
    frame = pd.read_parquet(compared / "predictions.parquet").set_index(["method", "study", "label"])["score"]
    images = [row["image"] for row in Store(phantom_store).table("test").select_columns(["image"])]
    pixels = torch.stack([torch.from_numpy(np.array(image))[None] for image in images])
    with torch.no_grad():
        logits = FewShotProbe.load_from_checkpoint(probe).eval().score_image(pixels)
    middle = np.median(logits.numpy(), axis=1)
    for place, label in enumerate(LABELS):
        for row, study in enumerate(Store(phantom_store).column("test", "study")):
            assert frame["probe", study, label] == pytest.approx(middle[row, place], abs=1e-4)


def test_the_score_of_a_study_is_the_highest_of_its_images():
    """Two images of a study, three heads; the median is taken over heads first."""
    scores = {("a", 0): 1.0, ("a", 1): 2.0, ("a", 2): 9.0, ("b", 0): 3.0, ("b", 1): 3.0, ("b", 2): 3.0}
    rows = [
        {"split": "test", "study": "test/patient1/study2", "patient": "patient1", "label": "Edema", "row": row}
        | {"target": float(row == "b"), "score": score, "seed": seed}
        for (row, seed), score in scores.items()
    ]
    (found,) = of_studies(pd.DataFrame(rows)).to_dict("records")
    assert (found["study"], found["target"], found["score"]) == ("patient1/study2", 1.0, 3.0)


def test_thresholds_do_not_depend_on_the_test_studies(compared, tree, probe, phantom_store, tmp_path):
    other = shutil.copytree(tree, tmp_path / "tree")
    frame = pd.read_csv(other / TRUTH)
    frame[FIVE] = 1 - frame[FIVE]
    frame.to_csv(other / TRUTH, index=False)
    assert compare(other, tmp_path / "out", "--checkpoint", probe, "--store", phantom_store) == 0
    assert thresholds(tmp_path / "out") == thresholds(compared)
    assert set(thresholds(compared)) == set(LABELS)


def thresholds(out):
    return {each["label"]: each["threshold"] for each in read(out) if each["threshold"] and each["method"] == "probe"}


def test_without_validation_rows_only_stored_ones_choose_thresholds(
    compared, tree, probe, phantom_store, tmp_path, capsys
):
    store = shutil.copytree(phantom_store, tmp_path / "store", ignore=shutil.ignore_patterns("valid", "features"))
    run = shutil.copytree(probe.parent, tmp_path / "run" / "checkpoints").parent
    words = ("--checkpoint", run / "checkpoints" / "last.ckpt", "--store", store)
    assert compare(tree, tmp_path / "out", *words) == 1
    said = capsys.readouterr().err
    assert "store: no split 'valid' to choose thresholds on, and no validation rows of this model in " in said
    assert said.count("\n") == 1
    data = LabeledDataModule(str(phantom_store), predict_splits=["valid"])
    trainer = Trainer(logger=False, default_root_dir=run, callbacks=[WritePredictions()], enable_progress_bar=False)
    trainer.predict(FewShotProbe.load_from_checkpoint(probe), data, return_predictions=False)
    assert compare(tree, tmp_path / "out", *words) == 0
    assert thresholds(tmp_path / "out") == thresholds(compared)


@pytest.mark.parametrize("split", ["train", "valid"])
def test_studies_that_are_not_test_rows_are_refused(tree, probe, phantom_store, tmp_path, capsys, split):
    root = shutil.copytree(tree, tmp_path / "tree")
    study = Store(phantom_store).column(split, "study")[0]
    frame = pd.read_csv(root / TRUTH)
    pd.concat([frame, frame.iloc[:1].assign(Study=study)]).to_csv(root / TRUTH, index=False)
    assert compare(root, tmp_path / "out", "--checkpoint", probe, "--store", phantom_store) == 1
    assert f"1 studies of {root / TRUTH}, such as '{study}', are in its split '{split}'" in capsys.readouterr().err


def test_checkpoints_that_cannot_be_compared_are_refused(tree, probe, igcl, phantom_store, tmp_path, capsys):
    torch.manual_seed(0)
    simclr = save_as_fit(SimCLR(image=IMAGE), tmp_path / "simclr.ckpt", phantom_store)
    write_tree(tmp_path / "other", readers=("r1", "igcl"))
    store = ("--store", phantom_store)
    cases = {
        "SimCLR scores no labels and reads no reports; fit a probe on it": (tree, "--checkpoint", simclr, *store),
        "none of its test studies, such as": (tmp_path / "other", "--checkpoint", probe, *store),
        "'r1' is the name of another reader or model; give NAME=CKPT": (tree, "--checkpoint", f"r1={probe}", *store),
        "'probe' is the name of another": (tree, "--checkpoint", probe, "--checkpoint", f"probe={igcl}", *store),
        "igcl-1: models are compared with readers one by one": (tree, "--checkpoint", f"igcl:1={igcl}", *store),
    }
    for message, (root, *words) in cases.items():
        assert compare(root, tmp_path / "out", *words) == 1
        said = capsys.readouterr().err
        assert message in said.splitlines()[-1]


def test_options_that_do_not_apply_are_refused(tree, probe, phantom_store, tmp_path, capsys):
    cases = {
        "--protocol is no option of --radiologists": ("--protocol", "linear"),
        "--fast is no option of --radiologists": ("--fast",),
        "--seed is no option of --radiologists": ("--seed", "0"),
        "--jobs is no option of --radiologists": ("--jobs", "0"),
        "--radiologists compares --checkpoint on the images of --store; give both or neither": ("--checkpoint", probe),
        "; give both or neither": ("--store", phantom_store),
    }
    for message, words in cases.items():
        assert compare(tree, tmp_path / "out", *words) == 2
        assert message in capsys.readouterr().err
    assert compare(tree, tmp_path / "out", "--import", "no_such_module") != 0
    assert "no_such_module" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_results_of_something_else_are_kept(tmp_path, capsys):
    write_tree(tmp_path / "tree")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "results.json").write_text("[]")
    assert compare(tmp_path / "tree", tmp_path / "out") == 1
    assert "out: holds the results of something else; choose another --out" in capsys.readouterr().err
    assert (tmp_path / "out" / "results.json").read_text() == "[]"
    assert compare(tmp_path / "tree", tmp_path / "own") == compare(tmp_path / "tree", tmp_path / "own") == 0
