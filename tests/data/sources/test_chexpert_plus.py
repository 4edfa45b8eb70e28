import json
import pickle

import numpy as np
import pandas as pd
import pytest

from igcl_lightning.cli import main
from igcl_lightning.data.sources.chexpert_plus import read_chexpert_plus
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.radgraph import to_radgraph
from igcl_lightning.graphs.radgraph_files import write_radgraph
from igcl_lightning.graphs.schema import Entity, ReportGraph
from image_files import dicom
from source_trees import CHEXPERT_LABELS, chexpert_plus_tree

TABLE = "df_chexpert_plus_240401.csv"
CLEAR = ReportGraph("Clear lungs .", (Entity("lungs", "ANAT-DP", 1, 1),))
EFFUSION = ReportGraph(
    "1 . Small effusion . 2 . No edema .", (Entity("effusion", "OBS-DP", 3, 3), Entity("edema", "OBS-DA", 8, 8))
)
EDEMA = ReportGraph("Edema is seen .", (Entity("Edema", "OBS-DP", 0, 0),))


@pytest.fixture
def root(tmp_path):
    return chexpert_plus_tree(tmp_path / "chexpert_plus")


@pytest.fixture
def annotations(tmp_path):
    """The folder of RadGraph-XL annotations: lists of what the package returns, in an order that means nothing."""
    folder = tmp_path / "radgraph-XL-annotations"
    folder.mkdir()
    for name, graphs in (("findings", [CLEAR]), ("impression", [EDEMA, EFFUSION])):
        results = [{"0": to_radgraph(graph, "xl")} for graph in graphs]
        (folder / f"section_{name}.json").write_text(json.dumps(results))
    return folder


def studies(root, **options):
    return {study.study_id: study for study in read_chexpert_plus(root, **options).items()}


def edit(path, change):
    """Change a table of the tree."""
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    change(frame).to_csv(path, index=False)


def positives(study):
    return {name for name, value in study.labels.items() if value == 1}


def test_images_are_grouped_by_study_the_first_view_first(root):
    source = read_chexpert_plus(root)
    found = {study.study_id: study for study in source.items()}
    assert source.total == len(found) == 4
    two = found["patient00002/study1"]
    assert (two.patient_id, two.age, two.sex, two.split) == ("p2", 60.0, "M", "train")
    names = [f"train/patient00002/study1/view{view}" for view in ("1_frontal", "2_lateral")]
    assert [image.image_id for image in two.images] == [f"{name}.jpg" for name in names]
    assert [image.source for image in two.images] == [root / "PNG" / f"{name}.png" for name in names]
    assert all(image.source.is_file() for study in found.values() for image in study.images)
    assert found["patient90001/study1"].split == "valid"


def test_the_first_image_gives_report_and_labels_of_a_study(root):
    source = read_chexpert_plus(root)
    study = {study.study_id: study for study in source.items()}["patient00002/study1"]
    assert study.report == {"indication": "Cough.", "findings": "Clear lungs.", "impression": "Normal."}
    assert positives(study) == {"No Finding"}
    assert source.counts["studies whose images have several reports"] == 1


def test_a_report_without_sections_is_kept_whole(root):
    report = studies(root)["patient00003/study1"].report
    assert report == {"indication": "Cough.", "report": "CHEST:   End."}


def test_views_and_those_in_doubt(root):
    views = {
        image.image_id: (image.view, image.source_view, image.flags)
        for study in read_chexpert_plus(root).items()
        for image in study.images
    }
    assert views["train/patient00002/study1/view2_lateral.jpg"] == ("lateral", "Lateral", ())
    assert views["train/patient00002/study1/view1_frontal.jpg"] == ("PA", "Frontal PA", ())
    assert views["train/patient00003/study1/view1_frontal.jpg"] == ("unknown", "Frontal RL", ("view in doubt",))


def test_age_zero_and_unknown_sex_are_not_known(root):
    study = studies(root)["patient00001/study2"]
    assert (study.age, study.sex) == (None, None)
    assert read_chexpert_plus(root).counts["rows of age 0, taken as not known"] == 1
    assert study.extra == {"patient_report_date_order": "2", "race": "Unknown", "ethnicity": None}


def test_ages_of_nobody_are_not_known_and_counted(root):
    edit(root / TABLE, lambda frame: frame.replace("73", "150"))
    source = read_chexpert_plus(root)
    assert {study.study_id: study.age for study in source.items()}["patient90001/study1"] is None
    assert source.counts["implausible ages"] == 1


def test_labels_are_joined_by_image_and_follow_the_policy(root):
    source = read_chexpert_plus(root, uncertain="positive", blank="negative")
    assert source.labels == CHEXPERT_LABELS
    study = {study.study_id: study for study in source.items()}["patient00001/study2"]
    assert positives(study) == {"Pleural Effusion", "Pneumonia"}
    assert (source.settings["uncertain"], source.settings["blank"]) == ("positive", "negative")
    missing = studies(root)["patient00001/study2"].labels
    assert (missing["Edema"], missing["Pneumonia"], missing["Fracture"]) == (0.0, None, None)


def test_labels_of_a_blank_section_are_not_known(root):
    assert set(studies(root)["patient00003/study1"].labels.values()) == {None}
    source = read_chexpert_plus(root, labels="chexbert-findings")
    assert source.counts["studies without the labelled text"] == 2
    labelled = {study.study_id for study in source.items() if set(study.labels.values()) != {None}}
    assert labelled == {"patient00002/study1", "patient90001/study1"}
    assert positives(studies(root, labels="chexbert-report")["patient00003/study1"]) == {"No Finding"}
    assert read_chexpert_plus(root, labels="none").labels == ()


def test_images_and_labels_without_the_other_are_counted(root):
    path = root / "chexbert_labels/impression_fixed.json"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0].replace("patient90001", "patient99999"), *lines[1:]]))
    source = read_chexpert_plus(root)
    assert source.counts["images without labels"] == 1
    assert source.counts["labels without images"] == 1


def test_graphs_are_found_by_the_text_of_the_sections(root, annotations):
    source = read_chexpert_plus(root, graphs=annotations)
    graphs = {study.study_id: study.graph for study in source.items()}
    assert graphs == {
        "patient00001/study2": EFFUSION,
        "patient00002/study1": CLEAR,
        "patient00003/study1": None,
        "patient90001/study1": EDEMA,
    }
    assert source.settings["graphs"]["impression"]["rows"] == {"found_by_key": 0, "found_by_text": 2, "not_found": 0}
    assert {path.name for path in source.inputs} >= {"section_findings.json", "section_impression.json"}


def test_a_graph_of_a_part_of_the_sections_is_none(root, annotations):
    edit(root / TABLE, lambda frame: frame.replace("Edema.", "Edema as before."))
    assert studies(root, graphs=annotations)["patient90001/study1"].graph is None
    single = studies(root, graphs=annotations / "section_impression.json")
    assert single["patient90001/study1"].graph == EDEMA


def test_graphs_of_both_sections_are_joined(root, annotations):
    edit(root / TABLE, lambda frame: frame.replace("Normal.", "Edema is seen."))
    graph = studies(root, graphs=annotations)["patient00002/study1"].graph
    assert graph.text == "Clear lungs . Edema is seen ."
    assert [(entity.tokens, entity.start) for entity in graph.entities] == [("lungs", 1), ("Edema", 3)]


def test_graphs_of_our_own_are_found_by_image(root, tmp_path):
    write_radgraph({"train/patient00002/study1/view1_frontal.jpg": EDEMA}, tmp_path / "own.jsonl")
    assert studies(root, graphs=tmp_path / "own.jsonl")["patient00002/study1"].graph == EDEMA


def test_graphs_of_other_reports_are_refused(root, annotations):
    (annotations / "section_findings.json").write_text(json.dumps([{"0": to_radgraph(EFFUSION)}]))
    with pytest.raises(IgclError, match="no row finds its graph in section_findings.json: looked for by the text"):
        read_chexpert_plus(root, graphs=annotations)
    with pytest.raises(IgclError, match="contains neither section_findings.json nor section_impression.json"):
        read_chexpert_plus(root, graphs=root)


@pytest.mark.parametrize("folder", ["PNG", "PNG/PNG", ".", "CheXpert-v1.0-small"])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_images_are_found_where_they_were_unpacked(tmp_path, folder, suffix):
    root = chexpert_plus_tree(tmp_path, folder, suffix)
    assert all(image.source.is_file() for study in read_chexpert_plus(root).items() for image in study.images)


def test_images_may_be_dicom_and_elsewhere(root, tmp_path):
    image = tmp_path / "dicom/train/patient00001/study2/view1_frontal.dcm"
    image.parent.mkdir(parents=True)
    image.touch()
    found = studies(root, images=tmp_path / "dicom")
    assert found["patient00001/study2"].images[0].source == image
    (tmp_path / "empty").mkdir()
    with pytest.raises(IgclError, match="no images such as train/patient00001/.*; name their folder with --images"):
        read_chexpert_plus(root, images=tmp_path / "empty")


def test_a_source_travels_and_repeats(root, annotations):
    source = read_chexpert_plus(root, graphs=annotations)
    names = [study.study_id for study in source.items()]
    assert [study.study_id for study in pickle.loads(pickle.dumps(source)).items()] == names
    assert [study.study_id for study in source.items()] == names


def test_neither_the_order_of_columns_nor_that_of_rows_counts(root):
    before = {name: (study.labels, study.report) for name, study in studies(root).items()}
    edit(root / TABLE, lambda frame: frame[frame.columns[::-1]].iloc[::-1])
    assert {name: (study.labels, study.report) for name, study in studies(root).items()} == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.head(0), f"{TABLE}: contains no rows"),
        (lambda f: f.drop(columns="section_impression"), f"{TABLE}: no column 'section_impression'"),
        (lambda f: f.replace("p2", ""), f"{TABLE} row 2: column 'deid_patient_id' is empty"),
        (lambda f: f.replace("p9", "p1"), "row 6: deid_patient_id 'p1' has split 'valid', but 'train' in row 4"),
        (
            lambda f: f.assign(deid_patient_id=list("abcde")),
            "row 3: study 'patient00002/study1' has deid_patient_id 'b'",
        ),
        (lambda f: f.assign(split="fold"), "row 2: split 'fold' is not one of"),
        (lambda f: f.assign(age="old"), "row 2, column 'age': 'old' is not an age such as 58 or 058Y"),
        (
            lambda f: f.assign(path_to_image="x.jpg").head(1),
            "row 2: column 'path_to_image' is not a path such as",
        ),
        (lambda f: pd.concat([f, f]), "row 7: column 'path_to_image': .* is in row 2 already"),
    ],
)
def test_what_is_wrong_with_the_table_is_one_line(root, change, message):
    edit(root / TABLE, change)
    with pytest.raises(IgclError, match=message) as caught:
        read_chexpert_plus(root)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: ["[", *lines], "impression_fixed.json line 1: not JSON"),
        (lambda lines: [*lines, "[1,2]"], "impression_fixed.json line 6: not a JSON object"),
        (lambda lines: [*lines[:2], lines[2][:40], *lines[3:]], "impression_fixed.json line 3: not JSON"),
        (lambda lines: [line.replace("Edema", "oedema") for line in lines], "fixed.json: no line has the key 'Edema'"),
        (
            lambda lines: [line.replace("train/", "a/").replace("valid/", "a/") for line in lines],
            "impression_fixed.json: none of its ids, such as 'a/patient90001/study1/view1_frontal.jpg', is in this",
        ),
        (lambda lines: [*lines, lines[1]], "impression_fixed.json row 6: column 'path_to_image': .* row 2 already"),
        (
            lambda lines: [*lines[:2], lines[2].replace("-1.0", "7.0"), *lines[3:]],
            "row 3, column 'Pneumonia': '7.0' is not",
        ),
    ],
)
def test_what_is_wrong_with_the_labels_is_one_line(root, change, message):
    path = root / "chexbert_labels/impression_fixed.json"
    path.write_text("\n".join(change(path.read_text().splitlines())))
    with pytest.raises(IgclError, match=message) as caught:
        read_chexpert_plus(root)
    assert "\n" not in str(caught.value)


def test_wrong_options_and_missing_files_are_named(root):
    with pytest.raises(IgclError, match="--labels: 'gold' is not one of chexbert, chexbert-findings"):
        read_chexpert_plus(root, labels="gold")
    (root / "chexbert_labels/impression_fixed.json").unlink()
    with pytest.raises(IgclError, match="no file of the labels 'chexbert'; looked for impression_fixed.json"):
        read_chexpert_plus(root)
    (root / TABLE).unlink()
    with pytest.raises(IgclError, match="no df_chexpert_plus_240401.csv; looked for"):
        read_chexpert_plus(root)


def test_the_command_line_makes_a_store_of_png_or_dicom(root, annotations, tmp_path):
    command = ["prepare", "chexpert-plus", "--root", str(root), "--size", "16", "--jobs", "1"]
    assert not main([*command, "--out", str(tmp_path / "png"), "--graphs", str(annotations)])
    store = Store(tmp_path / "png")
    assert store.manifest["rows"] == {"train": 4, "valid": 1}
    rows = {row["row"]: row for split in store.splits for row in store.table(split)}
    assert rows["train/patient00001/study2/view1_frontal.jpg"]["graph"]["text"] == EFFUSION.text
    assert rows["train/patient00002/study1/view2_lateral.jpg"]["report"]["findings"] == "Clear lungs."
    pixels = np.arange(30 * 20, dtype=np.uint16).reshape(30, 20)
    for image in rows:
        path = (tmp_path / "dicom" / image).with_suffix(".dcm")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dicom(pixels))
    assert not main([*command, "--out", str(tmp_path / "dicom-store"), "--images", str(tmp_path / "dicom")])
    assert Store(tmp_path / "dicom-store").manifest["rows"] == {"train": 4, "valid": 1}
