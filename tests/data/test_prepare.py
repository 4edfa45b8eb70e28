import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from igcl_lightning.data.images import decode_grey
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.preparing.report_text import report_text
from igcl_lightning.data.sources.phantom import phantom_study
from igcl_lightning.data.store import Store
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.identity import graph_key
from igcl_lightning.graphs.schema import LABEL_ID, RELATION_ID, stable_hash
from igcl_lightning.phantom import FINDINGS
from stores import prepare_studies


def study(number, **fields):
    image = StudyImage(f"image-{number}", np.full((20, 30), number, dtype=np.uint8))
    defaults = {"study_id": f"study-{number}", "patient_id": f"patient-{number}", "images": (image,), "split": "train"}
    return Study(**(defaults | fields))


def prepared(tmp_path, studies, **options):
    prepare_studies(studies, tmp_path / "store", **options)
    return Store(tmp_path / "store")


def test_a_row_holds_what_the_study_said(tmp_path):
    source = study(
        7,
        report={"findings": "Small right pleural effusion.", "impression": "Effusion."},
        labels={"Edema": 1.0, "Fracture": None},
        age=61.0,
        sex="F",
        extra={"site": "north"},
    )
    store = prepared(tmp_path, [source], labels=["Edema", "Fracture"], extra=["site"], options=Options(size=16))
    row = store.table("train")[0]
    assert {key: row[key] for key in ("row", "study", "patient", "age", "sex", "site", "view")} == {
        "row": "image-7",
        "study": "study-7",
        "patient": "patient-7",
        "age": 61.0,
        "sex": "F",
        "site": "north",
        "view": "unknown",
    }
    assert row["labels"] == {"Edema": 1.0, "Fracture": None}
    assert row["report"]["findings"] == "Small right pleural effusion."
    assert row["report"]["indication"] is None
    graph = row["graph"]
    relations = {
        (graph["tokens"][head], kind, graph["tokens"][tail])
        for head, kind, tail in zip(graph["head"], graph["type"], graph["tail"], strict=True)
    }
    assert ("right", RELATION_ID["modify"], "pleural") in relations
    assert graph["label"][graph["tokens"].index("right")] == LABEL_ID["ANAT-DP"]


def test_images_are_letterboxed(tmp_path):
    store = prepared(tmp_path, [study(200)], options=Options(size=15, lossless=True))
    pixels = decode_grey(store.table("train").with_format("arrow")[0]["image"][0]["bytes"].as_py())
    assert pixels.shape == (15, 15)
    assert (pixels[:2] == 0).all()
    assert (pixels[3:12] == 200).all()


def test_targets_are_nan_where_unknown(tmp_path):
    studies = [study(1, labels={"Edema": 1.0}), study(2, labels={"Edema": 0.0}), study(3)]
    store = prepared(tmp_path, studies, labels=["Edema"])
    np.testing.assert_array_equal(store.targets("train"), [[1.0], [0.0], [np.nan]])


def test_an_empty_report_keeps_its_row_and_is_counted(tmp_path):
    store = prepared(tmp_path, [study(1, report={"findings": ""}), study(2, report={"findings": "Edema."}), study(3)])
    keys = [row["graph"]["key"] for row in store.table("train")]
    assert [key == -1 for key in keys] == [True, False, True]
    assert store.manifest["rows_with_empty_graph"] == 2
    assert store.manifest["rows"] == {"train": 3}


def test_an_image_that_cannot_be_decoded_costs_its_row_and_is_named(tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff not an image")
    missing = tmp_path / "missing.png"
    studies = [
        study(1),
        study(2, images=(StudyImage("bad", broken), StudyImage("good", np.zeros((4, 4), np.uint8)))),
        study(3, images=(StudyImage("gone", missing),)),
        study(4, images=()),
    ]
    store = prepared(tmp_path, studies)
    assert store.column("train", "row") == ["image-1", "good"]
    assert store.manifest["dropped"] == {"image missing": 1, "image not readable": 1, "no image": 1}
    bad, gone, none = store.manifest["dropped_rows"]
    assert bad["row"] == "bad"
    assert str(broken) in bad["detail"]
    assert str(missing) in gone["detail"]
    assert none["row"] == "study-4"


def test_splits_are_drawn_by_patient_and_do_not_depend_on_the_others(tmp_path):
    studies = [study(number, patient_id=f"p{number // 3}", split=None) for number in range(120)]
    store = prepared(tmp_path, studies)
    assert store.splits == ("train", "valid", "test")
    split_of = {p: s for s in store.splits for p in store.column(s, "patient")}
    prepare_studies(studies[60:], tmp_path / "half")
    half = Store(tmp_path / "half")
    assert all(split_of[p] == s for s in half.splits for p in half.column(s, "patient"))


def test_a_patient_in_two_splits_is_refused(tmp_path):
    studies = [study(1, patient_id="p"), study(2, patient_id="p", split="test")]
    with pytest.raises(IgclError, match="patient 'p' is in both train and test"):
        prepare_studies(studies, tmp_path / "store")
    assert not list(tmp_path.iterdir())


def test_a_patient_in_two_splits_is_found_on_opening(tmp_path):
    import shutil

    prepare_studies([study(1)], tmp_path / "one")
    prepare_studies([study(1, split="test")], tmp_path / "two")
    shutil.copytree(tmp_path / "two" / "test", tmp_path / "one" / "test")
    with pytest.raises(IgclError, match="patient 'patient-1' is in train and in test"):
        Store(tmp_path / "one")


def test_a_repeated_row_id_is_refused(tmp_path):
    with pytest.raises(IgclError, match="row 'image-1' occurs twice"):
        prepare_studies([study(1), study(1)], tmp_path / "store")


def test_an_existing_store_is_kept_unless_told_otherwise(tmp_path):
    prepare_studies([study(1)], tmp_path / "store")
    with pytest.raises(IgclError, match="exists already.*--overwrite"):
        prepare_studies([study(2)], tmp_path / "store")
    for how in ({"overwrite": True}, {"update": True}, {"update": True, "resume": True}):
        for options, studies, said in (
            (Options(), [], "no usable row, since it has no rows; .*store stays as it was$"),
            (
                Options(views=("lateral",)),
                [study(1), study(2)],
                r"row: view \w+ is not wanted \(2, such as image-1\); ",
            ),
        ):
            with pytest.raises(IgclError, match=said):
                prepare_studies(studies, tmp_path / "store", options=options, **how)
    assert [path.name for path in tmp_path.iterdir()] == ["store"], "nothing is left to resume"
    assert Store(tmp_path / "store").column("train", "row") == ["image-1"]
    prepare_studies([study(2)], tmp_path / "store", overwrite=True)
    assert Store(tmp_path / "store").column("train", "row") == ["image-2"]


def test_extra_columns_may_not_hide_the_stores_own(tmp_path):
    with pytest.raises(IgclError, match="extra column 'row'"):
        prepare_studies([study(1)], tmp_path / "store", extra=["row"])


@pytest.mark.parametrize("name", ["mean", "labels"])
def test_a_label_may_not_have_a_name_of_the_results(tmp_path, name):
    with pytest.raises(IgclError, match=f"no label can be called '{name}'.* --rename-labels"):
        prepare_studies([study(1)], tmp_path / "store", labels=[name])


def test_the_shipped_graph_is_used_unless_reparsed(tmp_path):
    source = phantom_study(0, size=64)
    other = {**source.report, "findings": "Hiatal hernia.", "impression": ""}
    changed = Study(source.study_id, source.patient_id, source.images, other, source.graph, split="train")
    shipped = prepared(tmp_path, [changed])
    assert shipped.table("train")[0]["graph"]["key"] == graph_key(source.graph)
    prepare_studies([changed], tmp_path / "parsed", options=Options(reparse=True))
    assert "hernia" in Store(tmp_path / "parsed").table("train")[0]["graph"]["tokens"]


def test_rows_are_found_by_their_hash(phantom_store):
    store = Store(phantom_store)
    (identity,) = store.column("valid", "row")[:1]
    row = stable_hash(identity)
    assert store.ids(row)[0] == identity
    assert set(store.row_labels(row)) == set(FINDINGS)
    assert isinstance(store.report_text(row), str)


def test_a_folder_that_is_no_store_is_named(tmp_path, phantom_store):
    near = f"{phantom_store}s: no such store, did you mean {phantom_store.name}"
    with pytest.raises(IgclError, match=re.escape(near)):
        Store(f"{phantom_store}s")
    with pytest.raises(IgclError, match="not a store.*igcl prepare"):
        Store(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(IgclError, match="manifest.json: not valid JSON"):
        Store(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"format_version": 99}))
    with pytest.raises(IgclError, match="store format 99"):
        Store(tmp_path)
    with pytest.raises(IgclError, match="no split 'fold1'"):
        Store(phantom_store).table("fold1")
    with pytest.raises(IgclError, match="no label 'Hernia'; it has Atelectasis"):
        Store(phantom_store).targets("train", ["Hernia"])


def with_signal(number, signal):
    return replace(study(number), arrays={"ecg": signal})


def test_arrays_are_stored_with_their_shape(tmp_path):
    np.save(tmp_path / "signal.npy", np.arange(6, dtype=np.int16).reshape(2, 3))
    studies = [with_signal(1, tmp_path / "signal.npy"), with_signal(2, np.ones((2, 3)))]
    manifest = prepare_studies(studies, tmp_path / "store", arrays=["ecg"])
    assert manifest["arrays"] == {"ecg": [2, 3]}
    assert Store(tmp_path / "store").column("train", "ecg") == [[0, 1, 2, 3, 4, 5], [1] * 6]


def test_the_fingerprint_covers_arrays(tmp_path):
    long = np.zeros(10_000)  # numpy leaves the middle out where it prints one
    changed = long.copy()
    changed[5000] = 1
    one = prepare_studies([with_signal(1, long)], tmp_path / "one", arrays=["ecg"])
    other = prepare_studies([with_signal(1, changed)], tmp_path / "other", arrays=["ecg"])
    assert one["fingerprint"] != other["fingerprint"]


@pytest.mark.parametrize(
    ("content", "message"), [(None, "signal.npy: no such file"), (b"not numbers", "signal.npy: not a .npy file")]
)
def test_a_row_whose_array_cannot_be_read_is_dropped_and_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "signal.npy").write_bytes(content)
    manifest = prepare_studies(
        [with_signal(1, np.ones(3)), with_signal(2, tmp_path / "signal.npy")], tmp_path / "store", arrays=["ecg"]
    )
    assert manifest["dropped"] == {"array not readable": 1}
    assert message in manifest["dropped_rows"][0]["detail"]


def test_a_pickle_is_never_loaded(tmp_path):
    np.save(tmp_path / "signal.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    studies = [with_signal(1, np.ones(3)), with_signal(2, tmp_path / "signal.npy")]
    assert prepare_studies(studies, tmp_path / "store", arrays=["ecg"])["dropped"] == {"array not readable": 1}


def test_arrays_of_one_column_have_one_shape(tmp_path):
    signals = [np.ones(3), np.ones(4), np.ones((3, 1)), np.ones(3)]
    studies = [with_signal(number, signal) for number, signal in enumerate(signals)]
    manifest = prepare_studies(studies, tmp_path / "store", arrays=["ecg"])
    assert manifest["dropped"] == {"array of another shape": 2}
    assert manifest["dropped_rows"][0]["detail"] == "ecg has shape [4], earlier rows have [3]"
    assert (manifest["arrays"], manifest["rows"]) == ({"ecg": [3]}, {"train": 2})


def test_names_and_texts_that_utf_8_lacks_and_odd_arrays_cost_their_row_only(tmp_path):
    odd = [
        study(1, report={"findings": "No \ud800 edema."}),
        study(2, images=(StudyImage("image-2", Path("\ud800.png")),)),
        study(3, images=(StudyImage("\udcff", Path("\udcff.png")),), patient_id=None, study_id="\udcff", split=None),
        study(4, images=(StudyImage("image-4", np.zeros((5, 5, 3), np.uint8)),)),
        study(5, images=(StudyImage("image-5", np.zeros((0, 5), np.uint8)),)),
    ]
    manifest = prepare_studies(odd, tmp_path / "store")
    assert manifest["dropped"] == {"image not readable": 3, "id is not UTF-8": 1}
    assert Store(tmp_path / "store").table("train")[0]["report"]["findings"] == "No ? edema."


WHOLE = "INDICATION: Edema? FINDINGS: Small effusion. IMPRESSION: No edema."


@pytest.mark.parametrize(
    ("report", "sections", "expected"),
    [
        ({"findings": "Small effusion.", "impression": "No edema."}, "both", "Small effusion.\n\nNo edema."),
        ({"findings": "Small effusion.", "impression": "No edema."}, "impression", "No edema."),
        ({"findings": None, "impression": "No edema."}, "findings", ""),
        ({"report": WHOLE}, "both", "Small effusion.\n\nNo edema."),
        ({"report": WHOLE}, "findings", "Small effusion."),
        ({"indication": "Cough.", "findings": "Edema.", "impression": " "}, "both", "Edema."),
        ({"report": "Small effusion."}, "impression", "Small effusion."),
        ({}, "both", ""),
    ],
)
def test_the_chosen_sections_of_a_report_are_parsed(report, sections, expected):
    assert report_text(report, sections) == expected


def test_the_manifest_names_the_sections(tmp_path):
    pixels = np.zeros((32, 32), np.uint8)
    studies = [Study("s", "p", (StudyImage("i", pixels),), report={"report": WHOLE}, split="train")]

    manifest = prepare_studies(studies, tmp_path / "store", options=Options(size=32, sections="impression"))

    assert manifest["sections"] == ["impression"]
    assert Store(tmp_path / "store").table("train")[0]["graph"]["tokens"] == ["edema"]
