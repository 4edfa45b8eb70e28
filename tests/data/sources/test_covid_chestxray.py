import csv
import json
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from igcl_lightning.cli import main
from igcl_lightning.data.masks import mask_targets
from igcl_lightning.data.regions import Box
from igcl_lightning.data.sources.covid_chestxray import LABELS, PARENT, read_covid_chestxray
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from source_trees import write_image

COLUMNS = [
    "patientid",
    "offset",
    "sex",
    "age",
    "finding",
    "RT_PCR_positive",
    "survival",
    "intubated",
    "intubation_present",
    "went_icu",
    "in_icu",
    "needed_supplemental_O2",
    "extubated",
    "temperature",
    "pO2_saturation",
    "leukocyte_count",
    "neutrophil_count",
    "lymphocyte_count",
    "view",
    "modality",
    "date",
    "location",
    "folder",
    "filename",
    "doi",
    "url",
    "license",
    "clinical_notes",
    "other_notes",
    "",
]
"""The last header cell of the collection's table is empty."""

ROWS = (
    {
        "patientid": "2",
        "age": "65",
        "sex": "M",
        "finding": "Pneumonia/Viral/COVID-19",
        "view": "PA",
        "filename": "a.jpg",
    },
    {"patientid": "2", "offset": "3", "finding": "Pneumonia/Viral/COVID-19", "view": "L", "filename": "b.png"},
    {"patientid": "2", "modality": "CT", "finding": "Pneumonia/Viral/COVID-19", "view": "Axial", "filename": "c.png"},
    {"patientid": "331b", "finding": "todo", "view": "AP Supine", "filename": "d.jpg", "license": "CC BY 4.0"},
    {"patientid": "97", "finding": "No Finding", "view": "?", "filename": "e.jpg"},
    {"patientid": "178", "finding": "COVID-19, ARDS", "filename": "f.jpg", "age": "512"},
    {"patientid": "9", "finding": "Glanders", "filename": "g.jpg"},
    {"patientid": "9", "finding": "Tuberculosis", "filename": "g.jpg"},
)
OWN = """\
split,lung_mask,file,src_filename,patientid,finding,view,clinical_notes,bbox_left_lung,bbox_right_lung,sex,age,license
train,lung_masks/a.png,images/a__jpg.jpg,a.jpg,4,COVID-19,AP,"Opacities, left.",20 2 10.5 30,1 2 10 30.5,F,50,CC BY
train,,images/b__png.jpg,b.png,4,COVID-19,AP,"Opacities, left.",,,F,50,CC BY
valid,,images/c__jpg.jpg,c.jpg,5,Lipoid,,,1 2 3 4,,,,
"""


def write_table(path, rows):
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for row in rows:
            table.writerow([{"modality": "X-ray", "folder": "images", **row}.get(name, "") for name in COLUMNS])


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "covid-chestxray-dataset"
    for name in "abdefg":
        write_image(root / "images" / f"{name}.{'png' if name == 'b' else 'jpg'}")
    notes = {"clinical_notes": "Edema on admission."}
    write_table(root / "metadata.csv", [row | (notes if row["patientid"] == "2" else {}) for row in ROWS])
    return root


@pytest.fixture
def own(tmp_path):
    """The form with files, splits, boxes and masks."""
    root = tmp_path / "notes"
    for name in ("a__jpg", "b__png", "c__jpg"):
        write_image(root / "images" / f"{name}.jpg", height=40, width=32)
    (root / "lung_masks").mkdir()
    Image.fromarray(np.ones((40, 32), dtype=bool)).save(root / "lung_masks" / "a.png")
    (root / "metadata.csv").write_text(OWN)
    return root


def by_id(source):
    return {study.study_id: study for study in source.items()}


def labels_of(finding, tmp_path):
    write_table(tmp_path / "metadata.csv", [{"patientid": "1", "finding": finding, "filename": "a.jpg"}])
    return next(iter(read_covid_chestxray(tmp_path).items())).labels


def test_one_study_a_radiograph(root):
    source = read_covid_chestxray(root)
    studies = by_id(source)
    assert list(studies) == ["a.jpg", "b.png", "d.jpg", "e.jpg", "f.jpg", "g.jpg"]
    study = studies["a.jpg"]
    assert (study.patient_id, study.age, study.sex, study.split) == ("2", 65.0, "M", None)
    assert study.images[0].source == root / "images" / "a.jpg"
    assert studies["b.png"].extra["offset"] == "3"
    assert studies["d.jpg"].extra["license"] == "CC BY 4.0"
    assert (source.boxes, source.masks, source.total, source.settings) == (False, False, 6, {})


def test_what_is_left_out_is_counted(root):
    assert read_covid_chestxray(root).counts == {
        "rows of no X-ray": 1,
        "rows of an image named before": 1,
        "findings with an unknown word": 1,
        "rows without label": 2,
        "implausible ages": 1,
    }


def test_older_tables_tell_a_ct_by_its_view(own):
    table = own / "metadata.csv"
    table.write_text(table.read_text().replace("Lipoid,,", "Lipoid,Coronal,"))
    source = read_covid_chestxray(own)
    assert [study.study_id for study in source.items()] == ["a.jpg", "b.png"]
    assert source.counts["rows of no X-ray"] == 1


def test_patients_97_and_178_are_one_person(root):
    studies = by_id(read_covid_chestxray(root))
    assert studies["e.jpg"].patient_id == studies["f.jpg"].patient_id == "97"
    assert studies["d.jpg"].patient_id == "331b"


def test_a_person_with_two_ids_is_in_one_split(own):
    table = own / "metadata.csv"
    lines = table.read_text().replace(",4,", ",392,").replace(",5,", ",269,")
    table.write_text(lines)
    source = read_covid_chestxray(own)
    assert [(study.patient_id, study.split) for study in source.items()] == [("269", "valid")]
    assert source.counts["rows of a person in another split, by a second id"] == 2
    table.write_text(lines.replace("valid,", "train,"))
    kept = {(study.patient_id, study.split) for study in read_covid_chestxray(own).items()}
    assert {patient for patient, _ in kept} == {"269"}
    table.write_text(lines.replace(",269,", ",5,"))
    assert [study.patient_id for study in read_covid_chestxray(own).items()] == ["269", "269", "5"]


def test_images_of_a_series_share_their_text(root):
    studies = by_id(read_covid_chestxray(root))
    assert studies["a.jpg"].report == studies["b.png"].report == {"report": "Edema on admission."}
    assert studies["d.jpg"].report == {"report": ""}


def test_views_keep_the_words_of_the_table(root):
    images = [study.images[0] for study in read_covid_chestxray(root).items()]
    assert [(image.view, image.source_view) for image in images] == [
        ("PA", "PA"),
        ("lateral", "L"),
        ("AP", "AP Supine"),
        ("unknown", "?"),
        ("unknown", None),
        ("unknown", None),
    ]


@pytest.mark.parametrize("finding", ["COVID-19", "Pneumonia/Viral/COVID-19"])
def test_old_and_new_findings_mean_the_same(finding, tmp_path):
    labels = labels_of(finding, tmp_path)
    assert [label for label in LABELS if labels[label] == 1] == ["Pneumonia", "Viral", "COVID-19"]
    assert [label for label in LABELS if labels[label] is None] == ["Tuberculosis", "ARDS"]


@pytest.mark.parametrize(
    ("finding", "present", "unknown"),
    [
        ("COVID-19, ARDS", {"Pneumonia", "Viral", "COVID-19", "ARDS"}, {"Tuberculosis"}),
        ("Pneumonia/Bacterial/E.Coli", {"Pneumonia", "Bacterial"}, {"Tuberculosis", "ARDS"}),
        ("Mycoplasma Bacterial Pneumonia", {"Pneumonia", "Bacterial"}, {"Tuberculosis", "ARDS"}),
        ("Pneumonia/Fungal", {"Pneumonia", "Fungal"}, {"Pneumocystis", "Tuberculosis", "ARDS"}),
        ("Pneumonia", {"Pneumonia"}, {*LABELS} - {"Pneumonia", "No Finding"}),
        ("ARDS", {"ARDS"}, {*LABELS} - {"ARDS", "No Finding"}),
        ("No Finding", {"No Finding"}, set()),
        ("todo", set(), set(LABELS)),
        ("Unknown", set(), set(LABELS)),
        ("", set(), set(LABELS)),
    ],
)
def test_a_finding_answers_the_labels_of_its_kind(finding, present, unknown, tmp_path):
    labels = labels_of(finding, tmp_path)
    assert {label for label in LABELS if labels[label] == 1} == present
    assert {label for label in LABELS if labels[label] is None} == unknown


@pytest.mark.parametrize("diagnosis", PARENT)
def test_every_diagnosis_alone_means_what_its_whole_path_means(diagnosis, tmp_path):
    path = [diagnosis]
    while PARENT[path[0]] is not None:
        path.insert(0, PARENT[path[0]])
    labels = labels_of("/".join(path), tmp_path)
    assert labels == labels_of(diagnosis, tmp_path)
    assert {name for name in path if name in LABELS} == {name for name in LABELS if labels[name] == 1}
    for wider, narrower in pairwise(path):
        siblings = {name for name in LABELS if PARENT[name] == wider} - {narrower}
        assert all(labels[name] == 0 for name in siblings)


def test_a_table_may_name_files_splits_boxes_and_masks(own):
    source = read_covid_chestxray(own)
    first, second, third = source.items()
    assert [study.split for study in (first, second, third)] == ["train", "train", "valid"]
    image = first.images[0]
    assert (image.image_id, image.source) == ("a.jpg", own / "images" / "a__jpg.jpg")
    assert image.boxes == (Box("right_lung", 1, 2, 11, 32.5), Box("left_lung", 20, 2, 30.5, 32))
    assert image.masks == {"lungs": own / "lung_masks" / "a.png"}
    assert (second.images[0].boxes, second.images[0].masks) == ((), {})
    assert third.images[0].boxes == (Box("left_lung", 1, 2, 4, 6),)
    assert (source.boxes, source.masks) == (True, True)


def test_images_may_lie_elsewhere(own, tmp_path):
    source = read_covid_chestxray(own, images=tmp_path / "other")
    assert next(iter(source.items())).images[0].source == tmp_path / "other" / "a__jpg.jpg"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("finding", "diagnosis", "no column 'finding'"),
        (",4,COVID-19,AP", ",,COVID-19,AP", "row 2: column 'patientid' is empty"),
        ("train,,", "fold3,,", "row 3: split 'fold3' is not one of train, valid, test"),
        ("train,,", "test,,", "row 3: patient '4' has split 'test', but 'train' in row 2"),
        ("1 2 10 30.5", "1 2 10", "row 2, column 'bbox_right_lung': '1 2 10' is not a box 'x y width height'"),
        ("1 2 10 30.5", "-1 2 10 30.5", "row 2, column 'bbox_right_lung': '-1 2 10 30.5' is not a box"),
        ("1 2 10 30.5", "1 2 10 -3", "row 2, column 'bbox_right_lung': '1 2 10 -3' is not a box"),
        ("images/b__png.jpg,b.png", ",", "row 3: columns 'filename' and 'file' are empty"),
    ],
)
def test_what_is_wrong_in_a_table_is_named(own, old, new, message):
    table = own / "metadata.csv"
    assert old in table.read_text()
    table.write_text(table.read_text().replace(old, new, 1))
    with pytest.raises(IgclError, match=message) as error:
        read_covid_chestxray(own)
    assert "\n" not in str(error.value)


def test_rows_are_named_as_the_file_counts_them(root):
    write_table(root / "metadata.csv", [*ROWS[1:], {"patientid": "5", "finding": "todo"}])
    with pytest.raises(IgclError, match="metadata.csv row 9: columns 'filename' and 'file' are empty"):
        read_covid_chestxray(root)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(IgclError, match="no table of the COVID-19 image data collection; looked for metadata.csv"):
        read_covid_chestxray(tmp_path)


def test_stores_are_prepared(root, own, tmp_path):
    manifests = []
    for folder in (root, own):
        store = tmp_path / "stores" / folder.name
        assert not main(["prepare", "covid-chestxray", "--root", str(folder), "--out", str(store), "--size", "32"])
        manifests.append(json.loads((store / "manifest.json").read_bytes()))
    assert (sum(manifests[0]["rows"].values()), manifests[0]["dropped"]) == (6, {})
    assert (manifests[1]["rows"], manifests[1]["dropped"]) == ({"train": 2, "valid": 1}, {})


@pytest.mark.data
def test_the_real_part_has_the_counts_it_should_have(data_folder):
    source = read_covid_chestxray(data_folder / "covid_cxr_notes")
    studies = list(source.items())
    assert Counter(study.split for study in studies) == {"train": 234, "valid": 45}
    people = {split: {study.patient_id for study in studies if study.split == split} for split in ("train", "valid")}
    assert (len(people["train"]), len(people["valid"])) == (
        128 - 3,
        29,
    )  # two are one person, two others too, and one is of "valid"
    assert sum(bool(study.report["report"]) for study in studies) == 198
    assert sum(len(study.images[0].boxes) == 2 for study in studies) == 277
    masks = [mask for study in studies for mask in study.images[0].masks.values()]
    assert (len(masks), all(mask.is_file() for mask in masks)) == (153, True)
    assert all(study.images[0].source.is_file() for study in studies)
    assert source.counts == {"rows without label": 61, "rows of a person in another split, by a second id": 1}
    assert sum(study.labels["COVID-19"] == 1 for study in studies) == 147 + 9


@pytest.mark.data
def test_the_real_folder_is_prepared_as_it_is(data_folder, tmp_path):
    root, store = data_folder / "covid_cxr_notes", tmp_path / "store"
    assert not main(
        ["prepare", "covid-chestxray", "--root", str(root), "--out", str(store), "--size", "64", "--jobs", "1"]
    )
    manifest = json.loads((store / "manifest.json").read_bytes())
    assert (manifest["dropped"], sum(manifest["rows"].values())) == ({}, 279)
    known = {split: mask_targets(Store(store), split, ["lungs"])[:, 0] == 1 for split in manifest["rows"]}
    assert {split: int(rows.sum()) for split, rows in known.items()} == {"train": 120, "valid": 33}
