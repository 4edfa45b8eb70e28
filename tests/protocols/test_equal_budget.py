"""What the seed of `igcl demo` and `igcl compare` changes, and what it leaves alone."""

import pandas as pd
import pytest
import torch

from igcl_lightning.cli import main
from igcl_lightning.protocols.equal_budget import Comparison, Scale

pytestmark = pytest.mark.long
TINY = Scale(0, 1, {1.0: 1}, fractions=(1.0,), shots=(), draws=1, seeds=1)
SMALL = {"image": {"backbone": "test_resnet", "size": 32}}


@pytest.fixture(scope="module")
def pretrained(phantom_store, tmp_path_factory):
    """Weights after one epoch, the predictions of baselines run after it, and names of files, by name of the run."""

    def run(seed):
        out, labels = tmp_path_factory.mktemp("demo"), ["Edema", "Atelectasis"]
        one = Comparison(out, phantom_store, TINY, labels, seed=seed)
        weights = torch.load(one.pretrain("igcl"), weights_only=True)["state_dict"]
        frame = pd.concat([*one.probe_random(SMALL), *one.supervise(SMALL)])
        return weights, frame, {path.name for path in out.rglob("*")}

    return {"default": run(None), "42": run(42), "7": run(7)}


def test_the_seed_is_that_of_pretraining(pretrained):
    weights = {name: run[0] for name, run in pretrained.items()}
    for name, value in weights["42"].items():
        torch.testing.assert_close(weights["default"][name], value, rtol=0, atol=0)
    changed = [not torch.equal(value, weights["42"][name]) for name, value in weights["7"].items() if value.ndim > 1]
    assert changed
    assert all(changed)


def test_the_seed_of_pretraining_changes_no_baseline(pretrained):
    frames = [run[1] for run in pretrained.values()]
    assert set(frames[0]["method"]) == {"random", "supervised"}
    for frame in frames[1:]:
        pd.testing.assert_frame_equal(frame, frames[0])


def test_a_run_within_a_comparison_writes_no_results_of_its_own(pretrained):
    for _, _, names in pretrained.values():
        assert "last.ckpt" in names
        assert not names & {"results.json", "predictions.parquet"}


@pytest.mark.parametrize(
    ("words", "seed"), [(["demo"], None), (["demo", "--seed", "7"], 7), (["compare", "--seed=0"], 0)]
)
def test_the_command_takes_a_seed(words, seed, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(Comparison, "prepare_phantoms", lambda self: made.append(self))
    monkeypatch.setattr("igcl_lightning.protocols.compare.run_comparison", lambda *_, **__: None)
    assert not main([*words, "--fast", "--out", str(tmp_path / "out")])
    assert [one.seed for one in made] == [seed]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["demo", "--seed", "-1"], "--seed"),
        (["demo", "--seed", "4294967296"], "'4294967296' is not a whole number from 0 to 4294967295"),
        (["compare", "--store", "STORE", "--encoder", "timm:resnet18", "--seed", "1"], "nothing is pretrained here"),
    ],
)
def test_a_seed_that_cannot_be_used_is_refused_in_one_line(words, message, phantom_store, tmp_path, capsys):
    words = [str(phantom_store) if word == "STORE" else word for word in words]
    assert main([*words, "--out", str(tmp_path / "out")]) in (1, 2)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
