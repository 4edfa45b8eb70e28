import json

import numpy as np
import pytest

from igcl_lightning.cli import main
from igcl_lightning.data.prepare import prepare
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.regions import Box
from igcl_lightning.data.sources.vindr import KAGGLE_LABELS, read_vindr
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from image_files import dicom

KAGGLE_HEADER = "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max"
KAGGLE_ROWS = (
    "a1,No finding,14,R1,,,,",
    "b2,Cardiomegaly,3,R8,691,1375,1653,1831",
    "a1,No finding,14,R2,,,,",
    "b2,Cardiomegaly,3,R9,700,1380,1650,1800",
    "b2,Aortic enlargement,0,R9,100,200,300,400",
    "b2,No finding,14,R10,,,,",
    "a1,Pleural effusion,10,R3,5,6,7,8",
    "c3,Nodule/Mass,8,R8,10,10,20,20",
    "c3,Nodule/Mass,8,R8,30,30,40,40",
    "c3,Other lesion,9,R9,10,10,20,20",
    "c3,Nodule/Mass,8,R10,11,11,21,21",
)

ONE_HOT = ("Aortic enlargement", "Cardiomegaly", "COPD", "Rib fracture", "Other diseases", "No finding")
TRAIN = ["a1", "b2", "c3", *(f"t{number}" for number in range(30))]
TEST = ["y8", "z9"]


def write_images(folder, names):
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        pixels = np.arange(64, dtype=np.uint8).reshape(8, 8) + number
        data = dicom(pixels, PhotometricInterpretation="MONOCHROME1" if number % 2 else "MONOCHROME2", PatientSex="F")
        (folder / f"{name}.dicom").write_bytes(data)


def write_table(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join((header, *rows)) + "\n")


def write_kaggle(root, rows=KAGGLE_ROWS, header=KAGGLE_HEADER):
    write_table(root / "train.csv", header, rows)
    write_images(root / "train", ("a1", "b2", "c3", "no-row"))
    write_images(root / "test", ("not-labelled",))
    return root


def one_hot(given):
    return ",".join(str(int(label in given)) for label in ONE_HOT)


def write_physionet(root, extra_train=(), extra_test=()):
    readings = {
        ("a1", "R1"): ("No finding",),
        ("a1", "R2"): ("No finding",),
        ("a1", "R3"): ("COPD",),
        ("b2", "R1"): ("Cardiomegaly", "Other diseases"),
        ("b2", "R4"): ("Cardiomegaly",),
        ("b2", "R5"): (),
        ("c3", "R1"): ("Aortic enlargement",),
        ("c3", "R4"): ("Rib fracture",),
        ("c3", "R5"): ("No finding",),
    } | {(name, "R1"): ("No finding",) for name in TRAIN[3:]}
    rows = [f"{image},{reader},{one_hot(given)}" for (image, reader), given in readings.items()]
    header = ",".join(ONE_HOT)
    folder = root / "annotations"
    write_table(folder / "image_labels_train.csv", f"image_id,rad_id,{header}", (*rows, *extra_train))
    rows = [f"y8,{one_hot(('Cardiomegaly', 'Other diseases'))}", f"z9,{one_hot(('No finding',))}"]
    write_table(
        folder / "image_labels_test.csv",
        f"image_id,{header}".replace("Other diseases", "Other disease"),
        (*rows, *extra_test),
    )
    write_table(
        folder / "annotations_train.csv",
        "image_id,rad_id,class_name,x_min,y_min,x_max,y_max",
        (
            "a1,R1,No finding,,,,",
            "b2,R1,Cardiomegaly,10.5,20.25,30.5,40",
            "b2,R4,Cardiomegaly,11,21,31,41",
            "c3,R1,Aortic enlargement,1,2,3,4",
        ),
    )
    write_table(
        folder / "annotations_test.csv",
        "image_id,class_name,x_min,y_min,x_max,y_max",
        ("y8,Cardiomegaly,5,6,7,8", "z9,No finding,,,,"),
    )
    write_images(root / "train", TRAIN)
    write_images(root / "test", TEST)
    return root


@pytest.fixture
def kaggle(tmp_path):
    return write_kaggle(tmp_path / "kaggle")


@pytest.fixture
def physionet(tmp_path):
    return write_physionet(tmp_path / "physionet")


def by_id(source):
    return {study.study_id: study for study in source.items()}


def positive(study):
    return [label for label, value in study.labels.items() if value]


def test_kaggle_has_a_row_per_labelled_image(kaggle):
    source = read_vindr(kaggle)
    studies = by_id(source)
    assert list(studies) == ["a1", "b2", "c3"]
    assert (source.labels, source.boxes, source.total) == (KAGGLE_LABELS, True, 3)
    assert [path.name for path in source.inputs] == ["train.csv"]
    study = studies["b2"]
    assert (study.patient_id, study.images[0].image_id, study.split) == ("b2", "b2", None)
    assert (study.images[0].source, study.images[0].view) == (kaggle / "train" / "b2.dicom", "PA")


def test_a_label_holds_by_the_majority_of_the_readers(kaggle):
    source = read_vindr(kaggle)
    assert {name: positive(study) for name, study in by_id(source).items()} == {
        "a1": ["No finding"],
        "b2": ["Cardiomegaly"],
        "c3": ["Nodule/Mass"],
    }
    assert set(by_id(source)["a1"].labels.values()) == {0.0, 1.0}
    assert source.settings == {"aggregate": "majority", "seed": None}


def test_a_label_holds_by_any_reader_and_no_finding_by_all(kaggle):
    source = read_vindr(kaggle, aggregate="any")
    assert {name: positive(study) for name, study in by_id(source).items()} == {
        "a1": ["Pleural effusion"],
        "b2": ["Aortic enlargement", "Cardiomegaly"],
        "c3": ["Nodule/Mass", "Other lesion"],
    }
    assert source.settings["aggregate"] == "any"


def test_half_of_the_readers_are_no_majority(tmp_path):
    rows = ("a1,Cardiomegaly,3,R1,1,2,3,4", "a1,No finding,14,R2,,,,")
    assert positive(by_id(read_vindr(write_kaggle(tmp_path, rows)))["a1"]) == []


def test_boxes_of_all_readers_are_kept_for_labels_that_hold(kaggle):
    studies = by_id(read_vindr(kaggle))
    assert studies["b2"].images[0].boxes == (
        Box("Cardiomegaly", 691, 1375, 1653, 1831),
        Box("Cardiomegaly", 700, 1380, 1650, 1800),
    )
    assert len(studies["c3"].images[0].boxes) == 3
    assert studies["a1"].images[0].boxes == ()
    assert len(by_id(read_vindr(kaggle, aggregate="any"))["b2"].images[0].boxes) == 3


def test_the_votes_and_the_number_of_readers_are_kept(kaggle):
    study = by_id(read_vindr(kaggle))["b2"]
    assert study.extra["readers"] == 3
    assert json.loads(study.extra["votes"]) == {"Aortic enlargement": 1, "Cardiomegaly": 2, "No finding": 1}


def test_several_boxes_of_a_reader_are_one_vote(tmp_path):
    rows = (
        "a1,Nodule/Mass,8,R1,1,2,3,4",
        "a1,Nodule/Mass,8,R1,5,6,7,8",
        "a1,No finding,14,R2,,,,",
        "a1,ILD,5,R3,1,2,3,4",
    )
    study = by_id(read_vindr(write_kaggle(tmp_path, rows)))["a1"]
    assert json.loads(study.extra["votes"])["Nodule/Mass"] == 1
    assert positive(study) == []


def test_a_consensus_has_no_number_of_readers(physionet):
    studies = by_id(read_vindr(physionet))
    assert studies["y8"].extra == {"readers": None, "votes": None}
    assert studies["a1"].extra["readers"] == 3


@pytest.mark.parametrize("gone", [(), ("test",), ("train",), ("train", "test")])
def test_images_of_the_other_split_are_not_images_without_row(physionet, gone):
    for split in gone:  # into one folder of all images, or not downloaded
        (physionet / "all").mkdir(exist_ok=True)
        (physionet / split).rename(physionet / "all" / f"{split}-images")
    source = read_vindr(physionet)
    assert source.counts["images without row"] == 0
    write_images(next(physionet.glob("**/*test*/")) / "more", ["no-row"])
    source = read_vindr(physionet)
    assert source.counts["images without row"] == 1
    assert all(study.images[0].source.is_file() for study in source.items())
    deeper = read_vindr(physionet.parent)
    assert deeper.counts == source.counts


def test_what_is_left_out_is_counted(tmp_path):
    source = read_vindr(write_kaggle(tmp_path, (*KAGGLE_ROWS, "c3,Nodule/Mass,8,R8,50,50,50,60")))
    assert source.counts == {
        "boxes without area": 1,
        "boxes of labels that do not hold": 3,
        "images without row": 1,
    }


@pytest.mark.parametrize("reverse", [False, True])
def test_columns_are_found_by_name_and_class_id_is_not_needed(tmp_path, reverse):
    cells = [line.split(",") for line in (KAGGLE_HEADER, *KAGGLE_ROWS)]
    cells = [row[:2] + row[3:] for row in cells]
    lines = [",".join(reversed(row) if reverse else row) for row in cells]
    root = write_kaggle(tmp_path / "changed", lines[1:], lines[0])
    expected = by_id(read_vindr(write_kaggle(tmp_path / "plain")))
    for name, study in by_id(read_vindr(root)).items():
        assert (study.labels, study.images[0].boxes) == (expected[name].labels, expected[name].images[0].boxes)


def test_physionet_has_its_labels_by_name_and_both_official_splits(physionet):
    source = read_vindr(physionet)
    studies = by_id(source)
    assert list(studies) == [*sorted(TRAIN), *TEST]
    assert source.labels == (
        "Aortic enlargement",
        "COPD",
        "Cardiomegaly",
        "Other diseases",
        "Rib fracture",
        "No finding",
    )
    assert {name: positive(studies[name]) for name in ("a1", "b2", "c3", "y8", "z9")} == {
        "a1": ["No finding"],
        "b2": ["Cardiomegaly"],
        "c3": [],
        "y8": ["Cardiomegaly", "Other diseases"],
        "z9": ["No finding"],
    }
    assert studies["y8"].images[0].source == physionet / "test" / "y8.dicom"
    assert {studies[name].split for name in TEST} == {"test"}


def test_a_tenth_of_physionets_training_images_is_lent_to_validation(physionet):
    splits = [study.split for study in read_vindr(physionet).items()]
    assert set(splits) == {"train", "valid", "test"}
    assert 0 < splits.count("valid") < 12
    assert splits == [study.split for study in read_vindr(physionet).items()]
    assert splits != [study.split for study in read_vindr(physionet, seed=1).items()]


def test_physionets_boxes_and_inputs(physionet):
    source = read_vindr(physionet)
    studies = by_id(source)
    assert studies["b2"].images[0].boxes == (
        Box("Cardiomegaly", 10.5, 20.25, 30.5, 40),
        Box("Cardiomegaly", 11, 21, 31, 41),
    )
    assert studies["y8"].images[0].boxes == (Box("Cardiomegaly", 5, 6, 7, 8),)
    assert studies["z9"].images[0].boxes == ()
    assert [path.name for path in source.inputs] == [
        "image_labels_train.csv",
        "annotations_train.csv",
        "image_labels_test.csv",
        "annotations_test.csv",
    ]
    assert source.counts["boxes of labels that do not hold"] == 1


def test_a_reader_who_is_repeated_counts_once(tmp_path):
    again = f"b2,R4,{one_hot(('Cardiomegaly',))}"
    source = read_vindr(write_physionet(tmp_path, extra_train=(again, again)))
    assert source.counts["rows that repeat a reader"] == 2
    assert by_id(source)["b2"].extra["readers"] == 3


def test_one_of_physionets_two_parts_is_enough(physionet):
    for name in ("image_labels_train.csv", "annotations_train.csv"):
        (physionet / "annotations" / name).unlink()
    source = read_vindr(physionet)
    assert (list(by_id(source)), source.total) == (TEST, 2)
    assert "Other diseases" in source.labels


@pytest.mark.parametrize("absent", ["train", "test"])
def test_one_part_of_the_images_is_enough(physionet, absent):
    whole = by_id(read_vindr(physionet))
    (physionet / absent).rename(physionet.parent / "on another disk")
    source = read_vindr(physionet)
    left = [study for study, made in whole.items() if (made.split == "test") == (absent == "train")]
    assert list(by_id(source)) == left
    assert source.total == len(left)
    counted = f"images of the {absent} part, of which none is there"
    assert source.counts[counted] == len(whole) - len(left) > 0


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (",Cardiomegaly,3,R1,1,2,3,4", "row 13: column 'image_id' is empty"),
        ("a1,,3,R1,1,2,3,4", "row 13: column 'class_name' is empty"),
        ("a1,Cardiomegaly,3,,1,2,3,4", "row 13: column 'rad_id' is empty"),
        ("a1,Cardiomegali,3,R1,1,2,3,4", "row 13, column 'class_name': 'Cardiomegali' is none of Aortic enlargement,"),
        ("a1,Cardiomegaly,3,R1,1,2,3,", "row 13: a box needs all of x_min, y_min, x_max, y_max, or none"),
        ("a1,Cardiomegaly,3,R1,1,2,3,x", "row 13, column 'y_max': 'x' is not a number"),
    ],
)
def test_a_mistake_in_kaggles_table_is_one_line(tmp_path, row, message):
    root = write_kaggle(tmp_path, (*KAGGLE_ROWS, row))
    with pytest.raises(IgclError, match=message) as error:
        read_vindr(root)
    assert str(error.value).startswith(f"{root / 'train.csv'} row 13")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("table", "old", "new", "message"),
    [
        ("image_labels_train.csv", "b2,R4,0,1", "b2,R4,0,2", "train.csv row 6: column 'Cardiomegaly' is not 0 or 1"),
        ("image_labels_train.csv", "b2,R4,0,1", "b2,,0,1", "train.csv row 6: column 'rad_id' is empty"),
        ("image_labels_train.csv", "rad_id", "reader", "train.csv: no column 'rad_id'"),
        ("image_labels_train.csv", "b2,R4,0,1", "b2,R4,0,", "train.csv row 6: column 'Cardiomegaly' is empty"),
        ("image_labels_test.csv", "z9,0", "z9,", "test.csv row 3: column 'Aortic enlargement' is empty"),
        ("image_labels_train.csv", "b2,R4,0,1", "b2,R4,0,x", "train.csv row 6, column 'Cardiomegaly': 'x' is not"),
        ("image_labels_train.csv", "No finding", "Nofinding", "train.csv: no column 'No finding'"),
        ("image_labels_test.csv", "COPD", "Copd", "label 'COPD' is in only one of image_labels_train.csv and "),
        ("image_labels_test.csv", "y8", "b2", "image 'b2' is in image_labels_train.csv and in image_labels_test.csv"),
        (
            "annotations_train.csv",
            "R4,Cardiomegaly",
            "R4,Mass",
            "row 4, column 'class_name': 'Mass' is none of Aortic enlargement, COPD",
        ),
    ],
)
def test_a_mistake_in_physionets_tables_is_one_line(physionet, table, old, new, message):
    path = physionet / "annotations" / table
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(IgclError, match=message) as error:
        read_vindr(physionet)
    assert "\n" not in str(error.value)


def test_marks_of_other_images_are_refused(physionet):
    path = physionet / "annotations" / "annotations_test.csv"
    path.write_text(path.read_text().replace("y8", "v8").replace("z9", "v9"))
    with pytest.raises(IgclError, match="annotations_test.csv: none of its ids, such as 'v8', is in this data set"):
        read_vindr(physionet)


def test_missing_tables_options_and_images_are_named(tmp_path, kaggle, physionet):
    with pytest.raises(
        IgclError, match="no table of labels; looked for annotations/image_labels_train.csv, .*train.csv"
    ):
        read_vindr(tmp_path / "kaggle" / "train")
    with pytest.raises(IgclError, match="--aggregate: 'mean' is not one of majority, any"):
        read_vindr(kaggle, aggregate="mean")
    with pytest.raises(IgclError, match="nowhere: no such folder"):
        read_vindr(kaggle, images=tmp_path / "nowhere")
    (physionet / "annotations" / "annotations_test.csv").unlink()
    with pytest.raises(IgclError, match="annotations_test.csv: no such file"):
        read_vindr(physionet)


def test_labels_of_any_reader_are_those_of_torchxrayvision(kaggle):
    datasets = pytest.importorskip("torchxrayvision").datasets
    other = datasets.VinDr_Dataset(str(kaggle / "train"), csvpath=str(kaggle / "train.csv"))
    names = {"Effusion": "Pleural effusion", "Pleural_Thickening": "Pleural thickening", "Other Lesion": "Other lesion"}
    names |= {"Pulmonary Fibrosis": "Pulmonary fibrosis"}
    studies = by_id(read_vindr(kaggle, aggregate="any"))
    assert sorted(names.get(name, name) for name in other.pathologies) == sorted({*KAGGLE_LABELS} - {"No finding"})
    for name, row in zip(other.csv["image_id"], other.labels.tolist(), strict=True):
        theirs = {names.get(label, label): value for label, value in zip(other.pathologies, row, strict=True)}
        assert {label: value for label, value in studies[name].labels.items() if label != "No finding"} == theirs


def test_prepare_keeps_the_official_test_images_and_turns_monochrome1(physionet, tmp_path):
    (physionet / "train" / "t7.dicom").write_bytes(b"DICM")
    manifest = prepare(read_vindr(physionet), tmp_path / "store", options=Options(size=8, lossless=True))
    assert manifest["rows"]["test"] == len(TEST)
    assert sum(manifest["rows"].values()) == len(TRAIN) + len(TEST) - 1
    assert manifest["dropped"] == {"image not readable": 1}
    assert manifest["source"]["aggregate"] == "majority"
    rows = {row["row"]: row for row in Store(tmp_path / "store").table("test")}
    assert {name: (row["view"], row["sex"], row["labels"]["No finding"]) for name, row in rows.items()} == {
        "y8": ("PA", "F", 0.0),
        "z9": ("PA", "F", 1.0),
    }
    assert rows["y8"]["boxes"] == {"label": ["Cardiomegaly"], "x_min": [5], "y_min": [6], "x_max": [7], "y_max": [8]}
    bright = {name: np.asarray(row["image"])[-1, -1] > np.asarray(row["image"])[0, 0] for name, row in rows.items()}
    assert bright == {"y8": True, "z9": False}


def test_prepare_draws_splits_of_kaggles_images(kaggle, tmp_path):
    manifest = prepare(read_vindr(kaggle, aggregate="any"), tmp_path / "store", options=Options(size=8))
    assert sum(manifest["rows"].values()) == 3
    assert manifest["labels"] == list(KAGGLE_LABELS)


def test_command_line(physionet, tmp_path):
    out = tmp_path / "store"
    command = ["prepare", "vindr", "--root", str(physionet), "--out", str(out), "--size", "8", "--jobs", "1"]
    assert not main([*command, "--aggregate", "any"])
    store = Store(out)
    assert store.splits == ("train", "valid", "test")
    assert store.manifest["source"]["aggregate"] == "any"


@pytest.mark.data
def test_the_columns_of_this_test_are_the_real_ones(data_folder):
    columns = json.loads((data_folder / "format_fixtures" / "headers.json").read_text())
    assert columns["vindr_kaggle_train.csv"] == KAGGLE_HEADER.split(",")
