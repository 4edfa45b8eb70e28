"""Probes on what is known without a model, and the audit below the tables of an evaluation."""

import json
from dataclasses import replace

import numpy as np
import pytest

from igcl_lightning.data.features import read_features, write_features
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.store import Store
from igcl_lightning.data.study import VIEWS, Study, StudyImage
from igcl_lightning.errors import IgclError
from igcl_lightning.metrics.clinical import auroc
from igcl_lightning.protocols.contestants import FLOORS, baseline, from_encoder
from igcl_lightning.protocols.evaluation_page import Page
from igcl_lightning.protocols.evaluation_report import Measured, write_report
from igcl_lightning.protocols.fine_tuning import FineTuning
from igcl_lightning.protocols.floors import SIDE, floor_features, write_floor
from igcl_lightning.protocols.groups import check_groups, group_table
from igcl_lightning.protocols.legacy import Legacy
from igcl_lightning.protocols.linear import FewShot, Linear
from igcl_lightning.protocols.localisation import Localisation
from igcl_lightning.protocols.segmentation import SegmentationProtocol
from igcl_lightning.protocols.shortcuts import audit_store
from igcl_lightning.protocols.zero_shot import ZeroShotProtocol
from stores import prepare_studies

LABELS = ("Edema", "Fracture")
NUMBER = 150


def studies(number=NUMBER):
    """Images with a bright corner where Edema is, except in test; Fracture goes with age; a column of sites."""
    rng = np.random.default_rng(0)
    for index in range(number):
        split = ("train", "train", "valid", "test")[index % 4]
        edema, age = float(rng.random() < 0.4), float(rng.integers(20, 90))
        pixels = rng.integers(60, 120, (64, 64), dtype=np.uint8)
        if rng.random() < (0.5 if split == "test" else 0.95 if edema else 0.05):
            pixels[55:60, 4:9] = 250
        view, sex = ("PA", "AP", "unknown")[rng.integers(3)], ("F", "M", None)[rng.integers(3)]
        yield Study(
            f"study-{index}",
            f"patient-{index}",
            (StudyImage(f"row-{index}", pixels, view),),
            labels={"Edema": edema, "Fracture": float(age + rng.normal(0, 5) > 60)},
            split=split,
            age=None if index % 9 == 0 else age,
            sex=sex,
            extra={"site": f"site {index % 3}", "serial": f"serial {index}"},
        )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "marked"
    options = Options(size=64, lossless=True)
    prepare_studies(list(studies()), path, labels=LABELS, extra=("site", "serial"), options=options)
    return Store(path)


def test_features_of_floors_are_those_of_loops(store):
    features = {name: floor_features(name, store, "valid") for name in FLOORS}
    table = store.table("valid")
    assert {values.dtype for values in features.values()} == {np.dtype(np.float32)}
    for number, row in enumerate(table):
        view = [float(row["view"] == name) for name in VIEWS]
        age = [0, 1] if row["age"] is None else [row["age"] / 100, 0]
        sex = [float(row["sex"] == "F"), float(row["sex"] == "M"), float(row["sex"] is None)]
        assert features["view"][number].tolist() == view
        assert features["metadata"][number].tolist() == pytest.approx([*age, *sex, *view])
        image = np.asarray(row["image"], dtype=float)
        areas = image.reshape(SIDE, 2, SIDE, 2).mean(axis=(1, 3)).ravel() / 255
        np.testing.assert_allclose(features["pixels"][number], areas, atol=1.01 / 255)  # Pillow rounds twice
    assert len(features["pixels"]) == len(table)


def test_a_file_of_features_is_read_as_it_was_written(store, tmp_path):
    path = write_floor("metadata", store, ["valid", "test"], tmp_path)
    rows = store.column("test", "row")[::-1]
    assert read_features(path, rows).tolist() == floor_features("metadata", store, "test")[::-1].tolist()
    write_features(tmp_path / "one.parquet", ["a"], np.ones((1, 2)))
    assert read_features(tmp_path / "one.parquet", ["a"]).tolist() == [[1, 1]]


def test_a_probe_on_metadata_ranks_by_age_and_one_on_views_by_view(store):
    protocol = Linear(fractions=[1.0], draws=1)
    for name in ("metadata", "view"):
        contestant = baseline(name, [])
        protocol.check(store, [contestant])
        frame = protocol.measure(contestant, store, {"fraction": 1.0})
        assert set(frame["method"]) == {name}
        rows = frame[(frame["label"] == "Fracture") & (frame["split"] == "test")]
        area = auroc(rows["score"], rows["target"])
        views = dict(zip(store.column("test", "row"), store.column("test", "view"), strict=True))
        if name == "metadata":
            assert area > 0.85
        else:
            assert rows.groupby(rows["row"].map(views))["score"].nunique().tolist() == [1, 1, 1]


def test_floors_are_asked_by_probes_only():
    contestant = baseline("pixels", [])
    assert Linear().why_not(contestant) == FewShot().why_not(contestant) == ""
    for protocol in (FineTuning(), SegmentationProtocol(), Localisation()):
        assert protocol.why_not(contestant).startswith("is a probe on what is known without a model, without ")
    assert ZeroShotProtocol().why_not(contestant)
    assert Legacy().why_not(contestant) == "is a probe on what is known without a model"


def test_a_label_of_an_older_store_may_not_be_called_as_the_mean(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("igcl_lightning.data.prepare.RESERVED", ())
        studies_ = [replace(each, labels={"mean": each.labels["Edema"]}, extra={}) for each in studies(8)]
        prepare_studies(studies_, tmp_path / "store", labels=("mean",), options=Options(size=64))
    with pytest.raises(IgclError, match="store: label 'mean' is called as a mean over labels is; rename it"):
        Linear(draws=1).check(Store(tmp_path / "store"), [])


def test_groups_are_those_of_the_store(store):
    table = group_table(store, ["valid", "test"], None)
    assert list(table) == ["sex", "age", "view"]
    assert table.index.tolist() == [*store.column("valid", "row"), *store.column("test", "row")]
    for row in store.table("test"):
        sex, age, view = table.loc[row["row"]]
        assert sex == row["sex"]
        assert view == (None if row["view"] == "unknown" else row["view"])
        assert age is None if row["age"] is None else int(age[:2]) <= row["age"]
    assert list(group_table(store, ["test"], ["site"])["site"].unique()) == ["site 0", "site 1", "site 2"]
    assert group_table(store, ["test"], []).empty


@pytest.mark.parametrize(
    ("names", "error"),
    [
        (["sit"], "has no column 'sit' to group by; it has sex, age, view, site, serial, did you mean site?"),
        (["site", "site"], "'site' is given twice"),
        (["serial"], "column 'serial' has 37 values, more than 20 groups"),
    ],
)
def test_columns_that_make_no_groups_are_refused(store, names, error):
    with pytest.raises(IgclError, match=error.replace("?", "\\?")):
        Linear(audit_by=names).check(store, [])
    check_groups("x", store, ["test"], ["site", "age"])


def test_groups_are_no_setting_of_what_is_measured():
    contestant, part = baseline("view", []), {"fraction": 1.0}
    for kind in (Linear, FineTuning):
        fractions = {"fractions": [1.0]} | ({"epochs": [1]} if kind is FineTuning else {})
        one, other = (kind(audit_by=names, **fractions).settings(contestant, part) for names in (None, ["site"]))
        assert one == other


def test_the_audit_of_a_store_names_the_mark_and_what_goes_along(store):
    records, text = audit_store(store)
    first, others = text.splitlines()
    assert first.startswith("warning: Edema can be told by something small and bright, lower left corner: AUROC 0.9")
    assert others.startswith("AUROC of a label by a column: Fracture by age 0.")
    train, test = [each for each in records if each["metric"] == "shortcut_patch"]
    assert (train["split"], test["split"]) == ("train", "test")
    assert train["value"] > 0.85
    assert train["n"] == len(store.table("train")) + len(store.table("valid"))
    assert {each["group"] for each in records} == {"lower left corner", "age"}


def test_a_report_has_groups_floors_and_what_tells_labels(store, tmp_path, capsys, blank_pictures):
    rng = np.random.default_rng(1)
    rows = [row for split in store.splits for row in store.column(split, "row")]
    target = np.concatenate([store.targets(split) for split in store.splits])
    write_features(tmp_path / "seen.parquet", rows, target + rng.normal(0, 1, target.shape))
    protocol, files = Linear(fractions=[1.0], draws=1, audit_by=["site"]), {}
    for contestant in (from_encoder(str(tmp_path / "seen.parquet")), baseline("metadata", []), baseline("pixels", [])):
        files[contestant] = [tmp_path / f"{contestant.method}-part.parquet"]
        protocol.measure(contestant, store, {"fraction": 1.0}).to_parquet(files[contestant][0])
    write_report([protocol], {"linear": Measured(files, [], {})}, {"linear": store.path}, tmp_path, Page())
    shown = capsys.readouterr().out
    assert "\nseen is not shown to be better than metadata alone at 100 %" in shown.replace("warning: ", "")
    assert "AUROC of groups less that of all other rows, means over labels, 100 %\n" in shown
    assert f"what tells a label of {store.path.name} without the finding\n\nwarning: Edema can be told by" in shown
    records = json.loads((tmp_path / "results.json").read_text())
    groups = {(each["group"], each["method"]) for each in records if each["protocol"] == "linear" and each["group"]}
    assert groups == {(f"site: site {number}", "seen") for number in range(3)}, "floors have no groups"
    assert {each["metric"] for each in records if each["protocol"] == "audit"} == {"shortcut_patch", "shortcut_column"}
    about = {"label": "mean", "seed": None, "metric": "auroc", "group": None, "versus": None}
    whole = [each["value"] for each in records if about.items() <= each.items()]
    table = (tmp_path / "table.md").read_text()
    assert len(whole) == 3
    assert all(f"{value:.3f}" in table for value in whole)
    silent = replace(protocol, audit_by=[])
    write_report([silent], {"linear": Measured(files, [], {})}, {"linear": store.path}, tmp_path, Page())
    assert not any(each["group"] for each in json.loads((tmp_path / "results.json").read_text()))
    assert "what tells" not in capsys.readouterr().out


def test_stores_without_labels_or_training_rows_are_not_audited(tmp_path):
    without = [Study("s", "p", (StudyImage("r", np.zeros((64, 64), np.uint8), "PA"),), split="test")]
    prepare_studies(without, tmp_path / "none", options=Options(size=64, lossless=True))
    assert audit_store(Store(tmp_path / "none")) == ([], "")
