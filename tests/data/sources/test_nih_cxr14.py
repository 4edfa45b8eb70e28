import json
from collections import Counter

import pytest

from igcl_lightning.cli import main
from igcl_lightning.data.regions import Box
from igcl_lightning.data.sources.nih_cxr14 import LABELS, read_nih_cxr14
from igcl_lightning.errors import IgclError
from source_trees import write_image

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
ROWS = """\
90000001_000.png,Cardiomegaly,0,1,58,M,PA,2000,1800,0.15,0.15
90000001_001.png,Effusion|Infiltration|Mass,1,1,058Y,M,AP,2100,1900,0.15,0.15
90000002_000.png,No Finding,0,2,414,F,PA,2200,1700,0.16,0.16
90000003_000.png,Hernia,0,3,,F,PA,2300,1600,0.15,0.15
"""
BOXES = """\
Image Index,Finding Label,Bbox [x,y,w,h],,,
90000001_001.png,Infiltrate,100.5,200,50,25,,,
90000001_001.png,Mass,1,2,3,4,,,
90000001_001.png,Nodule,1,2,3,4,,,
90000099_000.png,Mass,1,2,3,4,,,
"""
OWN = """\
split,file,Image Index,Patient ID,Finding Labels,orientation_in_source,expert_Nodule or mass,Patient Sex
train,images/a.jpg,90000001_000.png,1,Edema,upright,,M
train,images/b.jpg,90000001_001.png,1,Mass,rotated_ccw90 (turned),YES,M
valid,images/c.jpg,90000002_000.png,2,No Finding,upside_down_180 (left as is),NO,F
"""


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "nih"
    for name, folder in (("90000001_000", 1), ("90000001_001", 1), ("90000002_000", 2), ("00000098_000", 12)):
        write_image(root / f"images_{folder:03}" / "images" / f"{name}.png")
    (root / "Data_Entry_2017_v2020.csv").write_text(f"{HEADER}\n{ROWS}")
    (root / "BBox_List_2017.csv").write_text(BOXES)
    return root


@pytest.fixture
def own(tmp_path):
    """A part of the data set with files and splits of its own."""
    root = tmp_path / "part"
    for name in "abc":
        write_image(root / "images" / f"{name}.jpg")
    (root / "labels.csv").write_text(OWN)
    return root


def write_lists(root, train, test):
    (root / "train_val_list.txt").write_text("\n".join(train))
    (root / "test_list.txt").write_text("\n".join(test) + "\n")


def by_id(source):
    return {study.study_id: study for study in source.items()}


def test_one_study_an_image(root):
    source = read_nih_cxr14(root)
    studies = by_id(source)
    assert list(studies) == ["90000001_000.png", "90000001_001.png", "90000002_000.png", "90000003_000.png"]
    study = studies["90000001_001.png"]
    assert (study.patient_id, study.sex, study.extra) == ("1", "M", {"follow_up": "1"})
    assert (study.images[0].view, study.images[0].source_view) == ("AP", "AP")
    assert (source.total, study.report, study.split) == (4, {}, None)


def test_findings_are_parted_and_all_others_absent(root):
    labels = by_id(read_nih_cxr14(root))["90000001_001.png"].labels
    assert tuple(labels) == LABELS
    assert {label for label, value in labels.items() if value == 1} == {"Effusion", "Infiltration", "Mass"}
    assert {label for label, value in labels.items() if value == 0} == {*LABELS} - {"Effusion", "Infiltration", "Mass"}


def test_images_are_found_in_any_of_the_folders(root):
    studies = by_id(read_nih_cxr14(root))
    assert studies["90000002_000.png"].images[0].source == root / "images_002" / "images" / "90000002_000.png"
    assert not studies["90000003_000.png"].images[0].source.exists()
    elsewhere = read_nih_cxr14(root, images=root / "images_001")
    assert elsewhere.counts["images without row"] == 0
    assert not by_id(elsewhere)["90000002_000.png"].images[0].source.exists()


def test_ages_are_years_and_impossible_ones_are_counted(root):
    source = read_nih_cxr14(root)
    assert [study.age for study in source.items()] == [58.0, 58.0, None, None]
    assert source.counts["implausible ages"] == 1


def test_boxes_are_those_of_findings_that_the_row_has(root):
    source = read_nih_cxr14(root)
    image = by_id(source)["90000001_001.png"].images[0]
    assert source.boxes
    assert image.boxes == (Box("Infiltration", 100.5, 200, 150.5, 225), Box("Mass", 1, 2, 4, 6))
    assert source.counts["boxes of labels the row lacks"] == 1
    assert source.counts["boxes of images without row"] == 1


def test_a_box_that_begins_outside_the_image_is_cut_and_counted(root):
    table = root / "BBox_List_2017.csv"
    table.write_text(table.read_text().replace("100.5,200", "-10.5,-2"))
    source = read_nih_cxr14(root)
    assert by_id(source)["90000001_001.png"].images[0].boxes[0] == Box("Infiltration", 0, 0, 39.5, 23)
    assert source.counts["boxes cut at the edge of the image"] == 1


def test_no_finding_beside_a_finding_is_counted(root):
    assert "rows of No Finding and a finding" not in read_nih_cxr14(root).counts
    table = root / "Data_Entry_2017_v2020.csv"
    table.write_text(table.read_text().replace("Effusion|Infiltration", "No Finding|Infiltration"))
    assert read_nih_cxr14(root).counts["rows of No Finding and a finding"] == 1


def test_smaller_copies_of_the_images_are_counted(root):
    write_image(root / "copies_224" / "90000001_000.png")
    source = read_nih_cxr14(root)
    assert source.counts["image files with a name found twice"] == 1
    assert by_id(source)["90000001_000.png"].images[0].source.parent.name == "copies_224"


def test_columns_are_read_by_name(root):
    table = root / "Data_Entry_2017_v2020.csv"
    before = [(study.labels, study.patient_id, study.images[0].view) for study in read_nih_cxr14(root).items()]
    lines = [line.split(",") for line in table.read_text().splitlines()]
    table.write_text("\n".join(",".join(reversed(line)) for line in lines))
    after = [(study.labels, study.patient_id, study.images[0].view) for study in read_nih_cxr14(root).items()]
    assert after == before


def test_the_official_lists_give_the_split_and_some_training_patients_are_lent(tmp_path):
    rows = [f"{n:08}_{k:03}.png,Edema,{k},{n},50,M,PA,1,1,1,1" for n in range(200) for k in range(2)]
    write_image(tmp_path / "images" / "90000000_000.png")
    (tmp_path / "Data_Entry_2017_v2020.csv").write_text("\n".join([HEADER, *rows]))
    names = [row.partition(",")[0] for row in rows]
    write_lists(tmp_path, names[:300], [*names[300:], "99999999_000.png"])
    source = read_nih_cxr14(tmp_path)
    patients = {
        split: {s.patient_id for s in source.items() if s.split == split} for split in ("train", "valid", "test")
    }
    assert patients["test"] == {str(n) for n in range(150, 200)}
    assert 5 <= len(patients["valid"]) <= 30
    assert not patients["valid"] & patients["train"]
    assert source.counts["listed images without row"] == 1
    assert {path.name for path in source.inputs} == {
        "Data_Entry_2017_v2020.csv",
        "train_val_list.txt",
        "test_list.txt",
    }
    assert source.settings == {"validation_seed": 0}
    other = read_nih_cxr14(tmp_path, seed=1)
    assert [study.split for study in other.items()] != [study.split for study in source.items()]


def test_a_table_may_name_files_splits_and_readings_of_experts(own):
    source = read_nih_cxr14(own)
    first, second, third = source.items()
    assert first.images[0].source == own / "images" / "a.jpg"
    assert [study.split for study in (first, second, third)] == ["train", "train", "valid"]
    assert source.extra == ("follow_up", "expert_Nodule or mass")
    assert second.extra == {"follow_up": None, "expert_Nodule or mass": "YES"}
    assert third.sex == "F"


def test_either_name_of_the_column_of_sexes_will_do(own):
    table = own / "labels.csv"
    expected = [study.sex for study in read_nih_cxr14(own).items()]
    table.write_text(table.read_text().replace("Patient Sex", "Patient Gender"))
    assert [study.sex for study in read_nih_cxr14(own).items()] == expected == ["M", "M", "F"]
    lines = [f"{line},{'Patient Sex' if number == 0 else ''}" for number, line in enumerate(OWN.splitlines())]
    table.write_text("\n".join(lines).replace("Patient Sex", "Patient Gender", 1))
    assert [study.sex for study in read_nih_cxr14(own).items()] == expected


def test_images_that_lay_or_stand_wrong_are_flagged(own):
    assert [study.images[0].flags for study in read_nih_cxr14(own).items()] == [
        (),
        ("lay on its side in the source",),
        ("upside down",),
    ]


def test_the_image_that_is_known_to_be_upside_down_is_flagged(root):
    table = root / "Data_Entry_2017_v2020.csv"
    table.write_text(table.read_text().replace("90000003_000.png", "00003490_011.png"))
    assert by_id(read_nih_cxr14(root))["00003490_011.png"].images[0].flags == ("upside down",)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("Data_Entry_2017_v2020.csv", "Patient ID", "Patient", "no column 'Patient ID'; it has 'Image Index'"),
        ("Data_Entry_2017_v2020.csv", "Mass,1", "Cough,1", "row 3, column 'Finding Labels': 'Cough' is not one of"),
        ("Data_Entry_2017_v2020.csv", "No Finding,0", ",0", "row 4: column 'Finding Labels' is empty"),
        ("Data_Entry_2017_v2020.csv", "0001_001", "0001_000", "row 3: column 'Image Index': .* row 2 already"),
        ("BBox_List_2017.csv", "200,50", "200,wide", r"BBox_List_2017.csv row 2, column 'w': 'wide' is not a number"),
        ("BBox_List_2017.csv", "200,50", "200,-50", "BBox_List_2017.csv row 2: the box has no area"),
        ("Data_Entry_2017_v2020.csv", ",0.15\n", "\n", "row 2: 10 cells, the header has 11; is the file cut off"),
        ("BBox_List_2017.csv", "Nodule", "Cough", "row 4: column 'Finding Label' is not one of the 14 labels"),
    ],
)
def test_what_is_wrong_in_a_table_is_named(root, file, old, new, message):
    path = root / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(IgclError, match=message) as error:
        read_nih_cxr14(root)
    assert "\n" not in str(error.value)


def test_lists_that_do_not_fit_are_named(root):
    write_lists(root, ["90000001_000.png", "90000001_001.png"], ["90000002_000.png"])
    with pytest.raises(IgclError, match="row 5: this image is neither in train_val_list.txt nor in test_list.txt"):
        read_nih_cxr14(root)
    write_lists(root, ["90000001_000.png"], ["90000001_001.png", "90000002_000.png", "90000003_000.png"])
    with pytest.raises(IgclError, match="row 3: patient '1' has split 'test', but 'train' in row 2"):
        read_nih_cxr14(root)
    write_lists(root, ["90000001_000.png", "90000001_001.png", "90000003_000.png"], ["90000002_000.png"] * 2)
    read_nih_cxr14(root)
    write_lists(root, ["90000001_000.png", "90000001_001.png"], ["90000001_001.png", "90000002_000.png"])
    with pytest.raises(IgclError, match="test_list.txt: image '90000001_001.png' is in .*train_val_list.txt too"):
        read_nih_cxr14(root)
    (root / "test_list.txt").unlink()
    with pytest.raises(IgclError, match="nih: train_val_list.txt without test_list.txt"):
        read_nih_cxr14(root)


def test_missing_tables_and_images_are_named(tmp_path, root):
    (tmp_path / "empty").mkdir()
    with pytest.raises(IgclError, match="empty: no table of NIH ChestX-ray14; looked for Data_Entry_2017_v2020.csv"):
        read_nih_cxr14(tmp_path / "empty")
    with pytest.raises(IgclError, match="empty: contains no images .*; name the folder of images with --images"):
        read_nih_cxr14(root, images=tmp_path / "empty")


def test_a_store_is_prepared(root, tmp_path):
    command = ["prepare", "nih-cxr14", "--root", str(root), "--out", str(tmp_path / "store"), "--size", "32"]
    assert not main(command)
    manifest = json.loads((tmp_path / "store" / "manifest.json").read_bytes())
    assert sum(manifest["rows"].values()) == 3
    assert manifest["dropped"] == {"image missing": 1}
    assert manifest["source_counts"]["images without row"] == 1


@pytest.mark.data
def test_the_real_part_has_the_counts_it_should_have(data_folder):
    source = read_nih_cxr14(data_folder / "nih_cxr14")
    studies = list(source.items())
    splits = {split: [study for study in studies if study.split == split] for split in ("train", "valid")}
    assert [len(rows) for rows in splits.values()] == [679, 138]
    assert [len({study.patient_id for study in rows}) for rows in splits.values()] == [468, 93]
    positives = {label: [sum(s.labels[label] for s in rows) for rows in splits.values()] for label in LABELS}
    assert positives == {
        "No Finding": [337, 69],
        "Pneumonia": [313, 64],
        "Infiltration": [122, 31],
        "Atelectasis": [75, 26],
        "Effusion": [67, 10],
        "Edema": [63, 14],
        "Consolidation": [25, 6],
        "Nodule": [22, 2],
        "Pleural_Thickening": [16, 5],
        "Cardiomegaly": [13, 3],
        "Mass": [13, 3],
        "Pneumothorax": [11, 2],
        "Emphysema": [11, 0],
        "Hernia": [4, 0],
        "Fibrosis": [3, 0],
    }
    assert Counter(study.images[0].view for study in studies) == {"AP": 451, "PA": 366}
    assert Counter(flag for study in studies for flag in study.images[0].flags) == {
        "lay on its side in the source": 38,
        "upside down": 1,
    }
    assert all(study.images[0].source.is_file() for study in studies)


@pytest.mark.data
def test_the_real_folder_is_prepared_as_it_is(data_folder, tmp_path):
    root, store = data_folder / "nih_cxr14", tmp_path / "store"
    assert not main(["prepare", "nih-cxr14", "--root", str(root), "--out", str(store), "--size", "64", "--jobs", "1"])
    manifest = json.loads((store / "manifest.json").read_bytes())
    assert (manifest["dropped"], sum(manifest["rows"].values())) == ({}, 817)
