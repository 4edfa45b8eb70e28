"""Fine-tuning as a protocol: runs, seeds, settings, refusals, and its place in tables and plots."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from lightning.pytorch import Trainer, seed_everything
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score

from igcl_lightning.callbacks.outputs import KeepPredictions
from igcl_lightning.cli import main
from igcl_lightning.data.modules import LabeledDataModule
from igcl_lightning.data.store import Store
from igcl_lightning.evaluation.report_page import efficiency_groups
from igcl_lightning.modules import FineTune, SimCLR
from igcl_lightning.modules.optim import OptimOptions
from igcl_lightning.protocols import evaluation
from igcl_lightning.protocols.contestants import Contestant, from_checkpoint
from igcl_lightning.protocols.evaluation_cell import Plan, run_cell
from igcl_lightning.protocols.evaluation_table import read_protocols
from igcl_lightning.protocols.fine_tuning import FineTuning
from saved import save_as_fit
from seen_fits import see_fits
from two_processes import save_blank

pytestmark = pytest.mark.usefixtures("blank_pictures")

IMAGE = {"backbone": "test_resnet", "size": 32}
LABELS = ["Edema", "Pleural Effusion"]
ASKED = {
    "protocol": "fine_tune",
    "labels": LABELS,
    "fractions": [0.5, 1.0],
    "epochs": [1, 2],
    "draws": 2,
    "tune": "last_block",
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, phantom_store):
    torch.manual_seed(0)
    model = SimCLR(image=IMAGE, projection={"channels": 8})
    return save_as_fit(model, tmp_path_factory.mktemp("pretrained") / "simclr.ckpt", phantom_store)


@pytest.fixture(scope="module")
def features(tmp_path_factory, phantom_store):
    path, store = tmp_path_factory.mktemp("features") / "given.parquet", Store(phantom_store)
    rows = [row for split in store.splits for row in store.column(split, "row")]
    pd.DataFrame({"row": rows, "feature": [[0.0, float(at % 7)] for at in range(len(rows))]}).to_parquet(path)
    return str(path)


@pytest.fixture
def known(checkpoint, features):
    return {"CKPT": ["--checkpoint", checkpoint], "FEATURES": ["--encoder", features]}


def evaluate(folder, content, store, *words):
    (folder / "asked.yaml").write_text(yaml.safe_dump(content))
    given = ["--protocol", f"{folder / 'asked.yaml'},LINEAR", "--store", str(store), "--out", str(folder / "out")]
    linear = {"protocol": "linear", "labels": LABELS, "fractions": [0.5], "draws": 1}
    (folder / "linear.yaml").write_text(yaml.safe_dump(linear | {"supervised_epochs": [1], "baseline_seeds": 1}))
    words = [word.replace("LINEAR", str(folder / "linear.yaml")) for word in (*given, *words)]
    return main(["evaluate", *words])


def run_here(made, jobs, child):
    """Run the cells in this process: others prove that they run in their own."""
    for cell in made:
        cell.folder.mkdir()
        run_cell(cell.folder, Plan(**json.loads(json.dumps(cell.plan))))
    return []


@pytest.fixture(scope="module")
def evaluated(checkpoint, features, phantom_store, tmp_path_factory):
    """An evaluation of all kinds of contestants, by fine-tuning and by probes; returns its folder."""
    folder = tmp_path_factory.mktemp("evaluated")
    words = [f"--checkpoint=mine:3={checkpoint}", "--encoder", features, "--baselines", "random,supervised"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "run_cells", run_here)
        patch.setattr(Figure, "savefig", save_blank)
        assert evaluate(folder, ASKED, phantom_store, *words) == 0
    return folder / "out"


def records(out, **wanted):
    found = json.loads((out / "results.json").read_text())
    return [each for each in found if all(each[name] == value for name, value in wanted.items())]


def test_it_asks_encoders_and_training_from_scratch(evaluated):
    assert {each["method"] for each in records(evaluated, protocol="fine_tune")} == {"mine", "random"}
    assert {each["method"] for each in records(evaluated, protocol="linear")} == {
        *("mine", "given", "random", "supervised")
    }
    seeds = {
        (each["method"], each["fraction"]): {
            other["seed"] for other in records(evaluated, protocol="fine_tune", method=each["method"])
        }
        for each in records(evaluated, protocol="fine_tune")
    }
    both = [0.5, 1.0]
    assert seeds == {("mine", at): {None, 3000, 3001} for at in both} | {("random", at): {None, 0, 1} for at in both}
    assert len(records(evaluated, protocol="fine_tune", metric="auroc", versus="random", label="mean")) == 2


def test_scores_are_apart_from_those_of_probes(evaluated):
    """Both have runs of the same method, fraction and seed."""
    for name, wanted in (("predictions", {0.5}), ("fine_tuned_predictions", {0.5, 1.0})):
        frame = pd.read_parquet(evaluated / f"{name}.parquet")
        assert set(frame["fraction"]) == wanted
        parts = "fine_tune-*" if name.startswith("fine") else "linear-*"
        assert len(frame) == sum(len(pd.read_parquet(path)) for path in evaluated.glob(f"*/{parts}.parquet"))


def test_columns_and_plots_are_apart_from_those_of_probes(evaluated):
    titles, _, *lines = (evaluated / "table.md").read_text().splitlines()[2:]
    assert [title.strip() for title in titles.strip("|").split("|")] == ["method", "tuned 50 %", "tuned 100 %", "50 %"]
    assert [line.split("|")[1].strip() for line in lines] == ["mine", "random", "given", "supervised"]
    plots = {path.name for path in (evaluated / "plots").iterdir()}
    assert {"label_efficiency.png", "fine_tuning.png", "per_label.png", "roc_fine_tune.png"} < plots


def test_no_plot_mixes_fine_tuning_with_probes(evaluated):
    drawn = efficiency_groups(records(evaluated), "test")
    protocols = {name: {each["protocol"] for each in own} for name, own in drawn.items()}
    assert protocols == {"fine_tuning": {"fine_tune"}, "label_efficiency": {"linear"}}


def by_hand(store, checkpoint, draw, fraction, epochs, tune):
    """Train and score as the protocol is to; returns the scores by row and label, of the best epoch."""
    seed_everything(draw, verbose=False)
    module = FineTune(checkpoint, tune=tune, optim=OptimOptions(3e-4))
    data = LabeledDataModule(str(store), labels=LABELS, fraction=fraction, draw_seed=draw)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "devices": 1}
    kept, best = KeepPredictions(), SimpleNamespace(value=-1.0)
    quiet |= {"enable_checkpointing": False}
    run = Trainer(**quiet, max_epochs=epochs, num_sanity_val_steps=0, gradient_clip_val=1.0, callbacks=[kept])
    module.on_validation_end = lambda: keep_best(module, run, best)
    run.fit(module, data)
    module.load_state_dict(best.state)
    run.predict(module, data, return_predictions=False)
    return kept.frame.set_index(["row", "label"])["score"]


def keep_best(module, run, best):
    if (value := run.callback_metrics["val/auroc_mean"].item()) > best.value:
        best.value, best.state = value, {name: each.clone() for name, each in module.state_dict().items()}


@pytest.mark.parametrize(("draw", "fraction", "epochs"), [(1, 0.5, 1), (0, 1.0, 2)])
def test_a_run_is_fine_tuning_of_the_module(evaluated, checkpoint, phantom_store, draw, fraction, epochs):
    expected = by_hand(phantom_store, checkpoint, draw, fraction, epochs, "last_block")
    frame = pd.read_parquet(evaluated / "mine-3" / f"fine_tune-{fraction:g}-{draw}.parquet")
    assert set(frame["seed"]) == {3000 + draw}
    found = frame.set_index(["row", "label"])["score"].reindex(expected.index)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    label = frame[(frame["label"] == "Edema") & (frame["split"] == "test")]
    (value,) = records(evaluated, **about(fraction, draw), label="Edema", method="mine")
    assert value["value"] == pytest.approx(roc_auc_score(label["target"], label["score"]))


def about(fraction, draw):
    return {"protocol": "fine_tune", "fraction": fraction, "seed": 3000 + draw, "metric": "auroc"}


def test_where_all_rows_are_used_draws_differ_in_their_training(evaluated):
    for name in ("mine-3", "random"):
        frames = [pd.read_parquet(evaluated / name / f"fine_tune-1-{draw}.parquet") for draw in (0, 1)]
        assert frames[0]["row"].tolist() == frames[1]["row"].tolist()
        assert not np.allclose(frames[0]["score"], frames[1]["score"])


def test_options_reach_the_training(checkpoint, phantom_store, monkeypatch):
    fitted = see_fits(monkeypatch)
    protocol = FineTuning(
        fractions=[0.1, 0.5], epochs=[9, 60], tune="last_block", learning_rate=0.02, patience=7, draws=4
    )
    protocol.measure(from_checkpoint(checkpoint), Store(phantom_store), {"fraction": 0.5, "draw": 3})
    (trainer, module, data), best = fitted
    assert (best, trainer.max_epochs, trainer.check_val_every_n_epoch) == ("best", 60, 3)
    assert trainer.early_stopping_callback.patience == 7
    assert (module.optim.learning_rate, data.fraction, data.draw_seed) == (0.02, 0.5, 3)
    assert not next(module.encoder.parameters()).requires_grad
    protocol.measure(Contestant("random", image=IMAGE), Store(phantom_store), {"fraction": 0.5, "draw": 3})
    assert all(part.requires_grad for part in fitted[2][1].parameters()), "from scratch, all weights are trained"


def test_a_draw_depends_on_its_own_options_only():
    one, scratch, part = Contestant("one", checkpoint="a.ckpt"), Contestant("random", image=IMAGE), {"fraction": 0.5}
    usual = FineTuning(fractions=[0.5, 1.0], epochs=[1, 2])
    for other, is_new, is_new_from_scratch in (
        (FineTuning(fractions=[0.5, 1.0], epochs=[3, 2]), True, True),
        (FineTuning(fractions=[0.5, 1.0], epochs=[1, 3]), False, False),
        (FineTuning(fractions=[0.5], epochs=[1], draws=9), False, False),
        (FineTuning(fractions=[0.5], epochs=[1], learning_rate=0.1), True, True),
        (FineTuning(fractions=[0.5], epochs=[1], patience=9), True, True),
        (FineTuning(fractions=[0.5], epochs=[1], tune="last_block"), True, False),
    ):
        assert (other.settings(one, part) != usual.settings(one, part)) == is_new
        assert (other.settings(scratch, part) != usual.settings(scratch, part)) == is_new_from_scratch


def test_adapters_are_read_from_a_file(tmp_path):
    path = tmp_path / "lora.yaml"
    path.write_text(yaml.safe_dump({"protocol": "fine_tune", "tune": "lora", "lora": {"rank": 2}}))
    (protocol,) = read_protocols([str(path)])
    assert (protocol.lora.rank, protocol.lora.alpha) == (2, 16.0)
    vit, part = Contestant("vit", image={"backbone": "test_vit", "size": 160}), {"fraction": 1.0, "draw": 0}
    settings = protocol.settings(vit, part)
    assert settings["lora"] == {"rank": 2, "alpha": 16.0, "dropout": 0.0}
    plain = {**yaml.safe_load(path.read_text()), "lora": dict(settings["lora"])}  # as a plan of a cell has them
    plain.pop("protocol")
    assert FineTuning(**plain).settings(vit, part) == settings
    (fast,) = read_protocols(["fine_tune"], fast=True)
    assert (fast.epochs, fast.draws) == ([1, 1], 2)


@pytest.mark.parametrize(
    ("options", "contestant", "message"),
    [
        ({"tune": "lora"}, "CKPT", "model.tune lora: test_resnet has no linear layers of attention"),
        ({"tune": "some"}, "CKPT", "model.tune 'some' is not one of full, last_block, lora"),
        ({"lora": {"rank": 2}}, "CKPT", "model.lora is of model.tune lora, not of full: leave it out"),
        ({"fractions": [0.5, 2]}, "CKPT", "protocol fine_tune: fractions are [0.5, 2.0], not numbers above 0"),
        ({"epochs": [1]}, "CKPT", "protocol fine_tune: epochs are [1], not 2 numbers of at least 1"),
        ({"draws": 0}, "CKPT", "protocol fine_tune: draws is 0, not at least 1"),
        ({"patience": 0}, "CKPT", "protocol fine_tune: patience is 0, not at least 1"),
        ({"learning_rate": 0}, "CKPT", "protocol fine_tune: learning_rate is 0.0, not above 0"),
        ({"learn_rate": 1}, "CKPT", "learn_rate: unknown option, did you mean learning_rate?"),
        ({}, "FEATURES", "given: is a file of features, without an encoder to train; no use for it in fine_tune"),
    ],
)
def test_what_cannot_be_tuned_is_one_line(options, contestant, message, known, phantom_store, tmp_path, capsys):
    path, out = tmp_path / "asked.yaml", tmp_path / "out"
    path.write_text(yaml.safe_dump({"protocol": "fine_tune", "fractions": [0.5, 1.0], "epochs": [1, 1], **options}))
    words = ["--protocol", str(path), "--store", str(phantom_store), "--out", str(out), *known[contestant]]
    assert main(["evaluate", *words]) in (1, 2)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("igcl: error")]
    assert message in line
    assert not list(out.glob("*/*")), "nothing is measured"
