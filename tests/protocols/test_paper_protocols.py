"""The protocols of the paper by the command line: on CheXpert's layout, on phantoms, and what is refused."""

import io
import json
from contextlib import redirect_stdout
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from matplotlib.figure import Figure

from igcl_lightning.cli import main
from igcl_lightning.data.features import read_features
from igcl_lightning.data.label_policy import CHEXPERT_LABELS
from igcl_lightning.data.labeled_module import LabeledDataModule
from igcl_lightning.data.samples import FeatureBatch
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.published import format_published
from igcl_lightning.modules import SimCLR
from igcl_lightning.modules.linear_probe import LinearProbe
from igcl_lightning.modules.softmax_probe import SoftmaxOptions, SoftmaxProbe, fit_softmax
from igcl_lightning.protocols import evaluation, head_fits
from igcl_lightning.protocols.contestants import Contestant, baseline, check_names
from igcl_lightning.protocols.evaluation_cell import Plan, run_cell
from igcl_lightning.protocols.evaluation_table import read_protocols
from igcl_lightning.protocols.legacy import Legacy
from igcl_lightning.protocols.linear import FewShot, Linear
from saved import save_as_fit
from source_trees import write_image
from two_processes import save_blank

pytestmark = pytest.mark.long

COMPETITION = ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion"]
PAPER = ("chexpert_linear", "chexpert_few_shot", "igcl_legacy")
ROWS = {"train": 60, "valid": 24, "test": 24}


def labels_of(number):
    """Labels of a study: every third has each label at another offset; others are blank, absent or uncertain."""
    findings = {name: (1.0, 0.0, "")[(number + at) % 3] for at, name in enumerate(COMPETITION)}
    findings["Edema"] = -1.0 if number % 12 == 0 else findings["Edema"]
    return findings | {"No Finding": 1.0 if number % 5 == 0 else 0.0, "Fracture": 0.0}


@pytest.fixture(scope="module")
def chexpert(tmp_path_factory):
    """A store of CheXpert's layout, made by `igcl prepare`."""
    root = tmp_path_factory.mktemp("tree") / "CheXpert-v1.0-small"
    first = 0
    for split, rows in ROWS.items():
        table = []
        for number in range(first, first + rows):
            image = f"{split}/patient{number:05d}/study1/view1_frontal.jpg"
            write_image(root / image, number, 16, 16)
            about = {"Path": f"{root.name}/{image}", "Sex": "Male", "Age": 60, "Frontal/Lateral": "Frontal"}
            table.append({**about, "AP/PA": "AP", **labels_of(number)})
        first += rows
        columns = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT_LABELS]
        name = "test_labels" if split == "test" else split
        pd.DataFrame(table, columns=columns).to_csv(root / f"{name}.csv", index=False)
    store = root.parent / "store"
    assert main(["prepare", "chexpert", "--root", str(root), "--out", str(store), "--size", "16"]) in (0, None)
    return store


@pytest.fixture(scope="module")
def features(chexpert, tmp_path_factory):
    return write_features(chexpert, tmp_path_factory.mktemp("features"))


def write_features(store, folder):
    """A file of features that tell the labels with noise; returns words of the command line."""
    store, generator, frames = Store(store), np.random.default_rng(0), []
    for split in store.splits:
        known = np.nan_to_num(store.targets(split, COMPETITION), nan=0.5)
        feature = generator.normal(size=known.shape) + 1.5 * known
        frames.append(pd.DataFrame({"row": store.column(split, "row"), "feature": list(feature)}))
    pd.concat(frames).to_parquet(folder / "told.parquet")
    return ["--encoder", str(folder / "told.parquet")]


def run_here(made, jobs, child):
    """Run the cells in this process; other tests prove that they run in their own."""
    for cell in made:
        cell.folder.mkdir(exist_ok=True)
        run_cell(cell.folder, Plan(**json.loads(json.dumps(cell.plan))))
    return []


@pytest.fixture(scope="module")
def here():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "run_cells", run_here)
        patch.setattr(Figure, "savefig", save_blank)
        yield


@pytest.fixture(scope="module")
def evaluation_and_text(chexpert, features, tmp_path_factory, here):
    """All three as they are shipped; returns the folder, and what was printed."""
    out, printed = tmp_path_factory.mktemp("evaluated") / "out", io.StringIO()
    words = ["--protocol", ",".join(PAPER), "--store", str(chexpert), "--out", str(out), *features]
    with redirect_stdout(printed):
        assert main(["evaluate", *words]) == 0
    return out, printed.getvalue()


@pytest.fixture(scope="module")
def evaluated(evaluation_and_text):
    return evaluation_and_text[0]


@pytest.fixture(scope="module")
def told(evaluation_and_text):
    return evaluation_and_text[1]


def records(out, **wanted):
    found = json.loads((out / "results.json").read_text())
    return [each for each in found if all(each[name] == value for name, value in wanted.items())]


def test_they_ask_ten_draws_of_the_settings_of_the_paper(evaluated):
    frame = pd.read_parquet(evaluated / "predictions.parquet")
    assert frame.groupby("fraction")["seed"].nunique().to_dict() == {0.01: 10, 0.1: 10, 1.0: 1}
    assert frame.groupby("shots")["seed"].nunique().to_dict() == dict.fromkeys((5, 10, 20, 50, 100), 10)
    assert list(frame["label"].unique()) == COMPETITION


def test_single_averaged_and_ensembled_draws_have_records_and_a_table(evaluated, told):
    for metric in ("auroc", "auroc_pooled", "auroc_ensemble"):
        found = records(evaluated, protocol="few_shot", metric=metric, label="mean", seed=None, method="told")
        assert [each["shots"] for each in found] == [5, 10, 20, 50, 100]
    shown = told.partition("the draws of a model together")[2].partition("published")[0]
    for words in ("told, single", "told, averaged", "told, ensembled"):
        assert words in shown


def test_published_numbers_stand_in_blocks_of_their_own(evaluated, told):
    parts = told.split("published, not measured here")
    assert len(parts) == 4
    for name in PAPER:
        assert format_published(name) in told
    assert not [each for each in records(evaluated) if each["method"] in ("IGCL", "SupCon", "DenseNet-121")]
    assert "SupCon" not in (evaluated / "predictions.parquet").read_bytes().decode("latin-1")


def test_the_published_way_stands_beside_ours(evaluated, told):
    shown = told.partition("\nigcl_legacy\n")[2]
    for words in ("one softmax over all labels", "statistics alone: AUROC", "interval 0.", "told, 1 %, by label"):
        assert words in shown
    found = records(evaluated, protocol="igcl_legacy", label="mean", method="told")
    metrics = {f"{name}_{head}_{way}" for name in ("auroc", "mcc") for head in ("logistic", "softmax") for way in
               ("patients", "pooled")}  # fmt: skip
    assert {each["metric"] for each in found} == metrics
    assert all(each["seed"] is None for each in found)
    widths = {each["metric"]: each["ci_high"] - each["ci_low"] for each in found if each["ci_low"] is not None}
    assert widths["auroc_logistic_pooled"] < 0.6 * widths["auroc_logistic_patients"]
    assert "legacy" not in (evaluated / "table.md").read_text()
    assert "auroc_" not in (evaluated / "table.md").read_text()


def test_the_heads_of_ours_are_those_of_linear_probes(evaluated):
    (ours,) = records(evaluated, metric="auroc_logistic_patients", label="mean", method="told")
    (linear,) = records(
        evaluated, protocol="linear", fraction=0.01, label="mean", method="told", seed=None, versus=None
    )
    for name in ("value", "ci_low", "ci_high", "runs", "run_sd", "n"):
        assert ours[name] == pytest.approx(linear[name]), name


def test_runs_of_the_published_way_are_of_one_subset_and_train_no_finding_too(chexpert, features, monkeypatch):
    seen = []

    def spy(protocol, module, store, **setting):
        seen.append((type(module), protocol.labels_of(store), setting.get("draw_seed", 0), setting.get("draws", 1)))
        return head_fits.fit_head(protocol, module, store, **setting)

    monkeypatch.setattr("igcl_lightning.protocols.legacy.fit_head", spy)
    monkeypatch.setattr("igcl_lightning.protocols.linear.fit_head", spy)
    contestant = Contestant("told", 7, features=features[1])
    protocol = Legacy(labels=COMPETITION, fractions=[0.2], draws=3, epochs=[2])
    frame = protocol.measure(contestant, Store(chexpert), {"fraction": 0.2})
    assert seen == [(LinearProbe, COMPETITION, 0, 3), (SoftmaxProbe, [*COMPETITION, "No Finding"], 42, 1)]
    assert set(frame["split"]) == {"valid", "test"}
    assert set(frame["label"]) == set(COMPETITION)
    for head in ("logistic", "softmax"):
        runs = frame[frame["head"] == head].groupby("seed")["logit"].apply(tuple)
        assert list(runs.index) == [7000, 7001, 7002]
        assert len(set(runs)) == 3


def test_a_run_is_the_fit_of_its_seed_on_the_one_subset(chexpert, features):
    """Scores of run 2 are those of the head that `fit_softmax` gives with seed 2."""
    protocol = Legacy(labels=COMPETITION, fractions=[0.2], draws=3, epochs=[2], learning_rate=0.05, batch_size=4)
    frame = protocol.measure(Contestant("told", features=features[1]), Store(chexpert), {"fraction": 0.2})
    names = [*COMPETITION, "No Finding"]
    data, store = LabeledDataModule(str(chexpert), labels=names, fraction=0.2), Store(chexpert)
    rows = {}
    for split in ROWS:
        feature = read_features(Path(features[1]), store.column(split, "row"))
        rows[split] = FeatureBatch(feature, torch.tensor(store.targets(split, names)), torch.arange(ROWS[split]))
    train = FeatureBatch(*(field[data.drawn_rows(42)] for field in rows["train"]))
    weight, bias, _ = fit_softmax(train, rows["valid"], SoftmaxOptions(0.05, epochs=2, batch_size=4, seed=2))
    expected = rows["test"].feature @ weight.T + bias
    scored = frame[(frame["head"] == "softmax") & (frame["split"] == "test") & (frame["seed"] == 2)]
    found = scored.pivot(index="row", columns="label", values="logit").loc[store.column("test", "row"), COMPETITION]
    np.testing.assert_allclose(found.to_numpy(), expected[:, :5].numpy(), atol=1e-5)


def test_each_is_run_on_phantoms_with_encoders_and_baselines(phantom_store, tmp_path, here, capsys):
    """The shipped table, with one model, random weights and training from scratch of a named backbone."""
    torch.manual_seed(0)
    model = SimCLR(image={"backbone": "test_resnet", "size": 32}, projection={"channels": 16})
    path = save_as_fit(model, tmp_path / "simclr.ckpt", phantom_store)
    words = ["--table", "evaluation/chexpert.yaml", "--store", str(phantom_store), "--out", str(tmp_path / "out")]
    assert main(["evaluate", *words, "--checkpoint", path, "--fast", "--jobs", "1"]) == 0
    out = capsys.readouterr().out
    methods = {name: {each["method"] for each in records(tmp_path / "out", protocol=name)} for name in
               ("linear", "few_shot", "igcl_legacy")}  # fmt: skip
    assert methods["linear"] == {"simclr", "random", "supervised densenet121"}
    assert methods["few_shot"] == methods["igcl_legacy"] == {"simclr", "random"}
    assert "simclr - supervised densenet121" in out
    ensembles = records(tmp_path / "out", metric="auroc_ensemble")
    assert {each["method"] for each in ensembles} == {"simclr"}, "random encoders have one draw each"
    frame = pd.read_parquet(tmp_path / "out" / "predictions.parquet")
    assert set(frame["method"]) == {"simclr", "random", "supervised densenet121"}


def test_a_baseline_may_name_its_backbone():
    model = Contestant("a", architecture={"backbone": "test_resnet", "size": 32})
    named = baseline("supervised:test_vit", [model])
    assert (named.method, named.title, named.baseline) == ("supervised test_vit",) * 2 + ("supervised",)
    assert named.image == {"backbone": "test_vit", "size": 32}
    assert named.identity != baseline("supervised:test_resnet", [model]).identity
    assert baseline("random:test_vit", []).image == {"backbone": "test_vit"}
    assert baseline("random", []) is None
    assert (model.baseline, baseline("random", [model]).baseline) == ("", "random")
    with pytest.raises(IgclError, match="timm has no model 'densnet121', did you mean densenet121"):
        baseline("supervised:densnet121", [model])
    with pytest.raises(IgclError, match="'supervised mine' is the name of a baseline"):
        check_names([Contestant("supervised mine")])


def test_labels_that_a_store_lacks_are_left_out_or_an_error(phantom_store, tmp_path, capsys):
    store = Store(phantom_store)
    absent = Linear(labels=["Edema", "Hernia"], skip_absent=True)
    assert absent.labels_of(store) == ["Edema"]
    absent.check(store, [])
    assert capsys.readouterr().err == f"igcl: warning: linear: left out, no label of {phantom_store}: Hernia\n"
    Linear(labels=["Edema"], skip_absent=True).check(store, [])
    assert not capsys.readouterr().err
    with pytest.raises(IgclError, match="no label 'Hernia'"):
        Linear(labels=["Edema", "Hernia"]).check(store, [])
    with pytest.raises(IgclError, match="has none of the labels of few_shot, only Atel.*; choose with --labels"):
        FewShot(labels=["Hernia"], skip_absent=True).check(store, [])
    (protocol,) = read_protocols(["chexpert_linear"], labels=["Pneumothorax"])
    assert protocol.labels_of(store) == ["Pneumothorax"]


def test_what_no_part_depends_on_is_measured_once():
    contestant, part = Contestant("a"), {"fraction": 0.01}
    for protocol, same in (
        (Linear(), Linear(skip_absent=True, published="chexpert_linear")),
        (FewShot(), FewShot(together=True, published="chexpert_few_shot")),
        (Legacy(), Legacy(fractions=[0.01, 1.0], epochs=[100, 5], resamples=7, published=None)),
    ):
        assert protocol.settings(contestant, part) == same.settings(contestant, part)
    for other in (
        Legacy(epochs=[99]),
        Legacy(learning_rate=0.1),
        Legacy(eps=0.1),
        Legacy(batch_size=3),
        Legacy(draws=3),
    ):
        assert other.settings(contestant, part) != Legacy().settings(contestant, part)


def test_shares_are_those_of_the_paper_and_nested(chexpert):
    store = Store(chexpert)
    target = store.targets("train", COMPETITION)
    for seed in range(10):
        rows = [set(LabeledDataModule(str(chexpert), labels=COMPETITION, fraction=fraction).drawn_rows(seed).tolist())
                for fraction in (0.01, 0.1, 1.0)]  # fmt: skip
        assert all(few <= more for few, more in pairwise(rows))
        assert len(rows[2]) == len(target)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--baselines", "supervised:nothing"], "timm has no model 'nothing'"),
        (["--baselines", "trained:densenet121"], "--baselines: 'trained' is not one of random, supervised"),
        (["--baselines", "random,random"], "--baselines: 'random' is given twice"),
        ({"published": "paper"}, "protocol igcl_legacy: published: 'paper' has no published numbers"),
        ({"epochs": [1, 2]}, "protocol igcl_legacy: epochs are [1, 2], not 1 numbers"),
        ({"eps": 0.0}, "protocol igcl_legacy: eps"),
        ({"learning_rate": -1.0}, "protocol igcl_legacy: learning_rate"),
        ({"batch_size": 0}, "protocol igcl_legacy: batch_size is 0, not at least 1"),
        ({"resamples": 0}, "protocol igcl_legacy: resamples is 0, not at least 1"),
        ({"fractions": [2.0]}, "protocol igcl_legacy: fractions are [2.0]"),
    ],
)
def test_what_cannot_be_asked_is_one_line(words, message, chexpert, features, tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"protocol": "igcl_legacy"} | (words if isinstance(words, dict) else {})))
    given = ["--protocol", str(path), "--store", str(chexpert), "--out", str(tmp_path / "out"), *features]
    assert main(["evaluate", *given, *(words if isinstance(words, list) else [])]) in (1, 2)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("igcl: error")]
    assert message in line
    assert not list(tmp_path.glob("out/*/*"))
