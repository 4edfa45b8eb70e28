import json

import pandas as pd
import pytest

from igcl_lightning.cli import main


@pytest.mark.soak
def test_the_full_demo_keeps_what_it_promises(tmp_path):
    assert not main(["demo", "--out", str(tmp_path / "demo")])
    records = json.loads((tmp_path / "demo" / "results.json").read_text())
    mean = {
        (record["method"], record["fraction"]): record["value"]
        for record in records
        if record["metric"] == "auroc" and record["label"] == "mean" and record["seed"] is None and not record["versus"]
    }
    assert mean["igcl", 0.01] >= mean["random", 0.01] + 0.10
    assert mean["igcl", 0.01] >= mean["supervised", 0.01] + 0.08
    assert mean["igcl", 0.01] >= mean["supervised", 0.1]
    assert mean["igcl", 0.01] <= 0.97


def test_the_demo_does_not_delete_a_folder_of_something_else(tmp_path, capsys):
    (tmp_path / "thesis.tex").touch()
    assert main(["demo", "--out", str(tmp_path)]) == 1
    assert "not empty and not an earlier comparison" in capsys.readouterr().err
    assert (tmp_path / "thesis.tex").exists()


@pytest.mark.long
def test_the_fast_demo_writes_everything_it_promises(tmp_path, capsys):
    assert not main(["demo", "--fast", "--out", str(tmp_path / "demo")])
    out = tmp_path / "demo"
    records = json.loads((out / "results.json").read_text())
    assert {record["method"] for record in records} == {"igcl", "random", "supervised"}
    assert {(record["method"], record["versus"]) for record in records if record["versus"]} == {
        ("igcl", "random"),
        ("igcl", "supervised"),
    }
    frame = pd.read_parquet(out / "predictions.parquet")
    assert set(frame["shots"].dropna()) == {5}
    assert set(frame["fraction"].dropna()) == {0.1, 1.0}
    for picture in ("plots/label_efficiency.png", "plots/per_label.png", "igcl/version_0/plots/learning_curve.png"):
        assert (out / picture).stat().st_size > 5000
    assert (out / "igcl/version_0/config.yaml").exists()
    printed = capsys.readouterr().out
    assert "igcl - supervised" in printed
    assert "synthetic phantoms: they show only that" in printed
