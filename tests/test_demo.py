import json

import pandas as pd

from igcl_lightning.cli import main


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
    assert "synthetic phantoms" in printed
