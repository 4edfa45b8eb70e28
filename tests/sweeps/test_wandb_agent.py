"""The real `wandb sweep` and `wandb agent` run shipped sweeps against a stand-in for their backend."""

import json
import signal
import time

import pytest
import yaml
from agents import PRETRAIN, SMALL, run_sweep, small_sweep, start_agent, start_sweep
from wandb_backend import Backend

from igcl_lightning.cli import main
from igcl_lightning.training.options import shipped_configs

WITNESS = """
import json, os
from pathlib import Path
from lightning.pytorch import Callback

class Witness(Callback):
    def on_fit_start(self, trainer, pl_module):
        path = Path(f"rank-{os.environ['WANDB_RUN_ID']}-{trainer.global_rank}.json")
        path.write_text(json.dumps(dict(pl_module.hparams)))
"""
WHOLE_PROBE = ["--trainer.callbacks.fraction", "1.0"]
"""The tiny store has too few rows for a share of them; the probe is the last callback of the shipped config."""


def proposed(point, config):
    """Return the values of a config.yaml at the options of a point."""
    found = {}
    for name in point:
        part, *path = name.split(".")
        value = config[part]["init_args"] if part in ("model", "data") else config[part]
        for key in path:
            value = value[key]
        found[name] = value
    return found


def tables(run):
    """Return the tables that a run has logged, by name."""
    media = {name: body for name, body in run.files.items() if name.startswith("media/table/")}
    return {name.split("/")[-1].split("_")[0]: json.loads(body) for name, body in media.items()}


@pytest.mark.long
@pytest.mark.parametrize("devices", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_a_trial_and_a_failing_one(devices, phantom_store, tmp_path):
    """One run each; all ranks have the proposed values; the failure is seen, though its logger never started."""
    (tmp_path / "witness.py").write_text(WITNESS)
    words = ["--trainer.devices", str(devices), *(["--trainer.strategy", "ddp"] * (devices > 1)), "--import", "witness"]
    words = [*PRETRAIN, *WHOLE_PROBE, *words, "--trainer.callbacks+=witness.Witness"]
    parameters = {
        "data.store": {"value": str(phantom_store)},
        "model.optim.learning_rate": {"values": [1e-05, 0.01]},
        "model.loss.targets": {"values": ["study", "wrong"]},
        "data.augment": {"value": False},
        "data.views": {"value": ["PA"]},
    }
    path = small_sweep(
        "pretrain_and_probe.yaml", tmp_path, phantom_store, *words, parameters=parameters, project="other"
    )
    with Backend() as backend:
        status, said = run_sweep(path, backend, tmp_path)
    assert status == 0, said
    assert backend.runs.keys() == {"trial0", "trial1"}, said
    good, bad = backend.runs["trial0"], backend.runs["trial1"]
    assert (good.sweep, good.exit_code) == (bad.sweep, 0) == ("sweep1", 0), said
    assert bad.exit_code == 1
    assert bad.summary["error"].startswith("model.loss.targets 'wrong' is not one of identity, study")

    folder = tmp_path / "runs" / "other" / "trial0"
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert proposed(backend.sweep.proposed["trial0"], config) == backend.sweep.proposed["trial0"]
    assert [each.name for each in folder.parent.iterdir()] == ["trial0"]
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    ranks = [json.loads((tmp_path / f"rank-trial0-{rank}.json").read_text()) for rank in range(devices)]
    assert ranks == [ranks[0]] * devices
    assert ranks[0]["optim"]["learning_rate"] == 1e-05

    assert 0 <= good.summary["val/probe_auroc_mean"] <= 1
    assert json.loads(good.files["results.json"]) == json.loads((folder / "results.json").read_text())
    assert tables(good)["retrieval"]["columns"][:2] == ["image", "own report"]
    assert good.config["model"] == {"class_path": "igcl_lightning.modules.IGCL"}
    assert good.config["data"]["init_args"]["views"] == ["PA"]
    assert (good.config["seed_everything"], good.config["trainer"]["devices"]) == (42, str(devices))
    assert good.config["model.optim.learning_rate"] == good.config["optim"]["learning_rate"] == 1e-05
    assert "_instantiator" not in good.config


@pytest.fixture(scope="module")
def checkpoint(phantom_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretrained")
    words = ["--data.store", str(phantom_store), "--trainer.logger", "CSVLogger"]
    words += ["--trainer.logger.save_dir", str(folder), *PRETRAIN, *SMALL]
    assert main(["fit", "--config", "pretrain/igcl.yaml", *words]) == 0
    return folder / "igcl" / "version_0" / "checkpoints" / "last.ckpt"


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(path.name for path in (shipped_configs() / "sweep").glob("*.yaml")))
def test_every_shipped_sweep_runs_two_trials(name, phantom_store, checkpoint, tmp_path):
    sweep = yaml.safe_load((shipped_configs() / "sweep" / name).read_text())
    probe, changes = name == "probe.yaml", {}
    if probe:
        changes["parameters"] = sweep["parameters"] | {
            "data.store": {"value": str(phantom_store)},
            "data.fraction": {"value": 1.0},
            "data.draws": {"value": 1},
            "model.checkpoint": {"value": str(checkpoint)},
        }
    words = [] if probe else PRETRAIN
    words = words + (WHOLE_PROBE if "callbacks/final_probe.yaml" in sweep["command"] else [])
    with Backend() as backend:
        status, said = run_sweep(small_sweep(name, tmp_path, phantom_store, *words, **changes), backend, tmp_path)
    assert status == 0, said
    assert backend.runs.keys() == backend.sweep.proposed.keys() == {"trial0", "trial1"}
    for number, run in backend.runs.items():
        assert (run.sweep, run.project, run.exit_code) == ("sweep1", "igcl", 0), said
        config = yaml.safe_load((tmp_path / "runs" / "igcl" / number / "config.yaml").read_text())
        point = backend.sweep.proposed[number]
        assert proposed(point, config) == {name: pytest.approx(value) for name, value in point.items()}
        assert isinstance(run.summary[sweep["metric"]["name"]], float)


@pytest.mark.soak
def test_a_hopeless_trial_is_stopped_and_the_next_one_runs(phantom_store, tmp_path):
    """As hyperband does: the backend has a run stopped that has logged its metric twice."""
    words = [
        *PRETRAIN,
        "--trainer.max_epochs",
        "2000",
        "--trainer.callbacks",
        "null",
        "--trainer.max_time",
        "00:00:02:00",
    ]

    def is_hopeless(run):
        return sum("val/image_to_graph_recall@5" in json.dumps(line) for line in run.history) >= 2

    with Backend(stops=is_hopeless) as backend:
        status, said = run_sweep(small_sweep("pretrain.yaml", tmp_path, phantom_store, *words), backend, tmp_path)
    assert status == 0, said
    for number in ("trial0", "trial1"):
        assert backend.runs[number].exit_code == 143, said
        assert (tmp_path / "runs" / "igcl" / number / "checkpoints" / "last.ckpt").exists()


@pytest.mark.soak
def test_the_sweep_of_a_killed_agent_goes_on(phantom_store, tmp_path):
    path = small_sweep("pretrain.yaml", tmp_path, phantom_store, *PRETRAIN)
    with Backend(trials=3) as backend:
        start_sweep(path, backend, tmp_path)
        agent = start_agent(backend, tmp_path)
        until = time.monotonic() + 300
        while "trial1" not in backend.sweep.proposed and time.monotonic() < until:
            time.sleep(0.2)
        agent.send_signal(signal.SIGKILL)
        agent.wait()
        assert start_agent(backend, tmp_path).wait(1200) == 0
        assert backend.runs["trial0"].exit_code == backend.runs["trial2"].exit_code == 0
    assert len([*(tmp_path / "runs" / "igcl").glob("trial*")]) >= 2
