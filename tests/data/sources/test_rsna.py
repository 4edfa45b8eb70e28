import json
import pickle

import numpy as np
import pytest

from igcl_lightning.cli import main
from igcl_lightning.data.images import decode_grey
from igcl_lightning.data.prepare import prepare
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.regions import Box
from igcl_lightning.data.sources.rsna import read_rsna
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from image_files import dicom

HEADER = "patientId,x,y,width,height,Target"
ROWS = (
    "aaaa-1,,,,,0",
    "bbbb-2,264.0,152.0,213.0,379.0,1",
    "bbbb-2,562.0,152.0,256.0,453.0,1",
    "cccc-3,10,20,30,40,1",
    "dddd-4,,,,,0",
)
CLASSES = (
    "patientId,class",
    "aaaa-1,No Lung Opacity / Not Normal",
    "bbbb-2,Lung Opacity",
    "bbbb-2,Lung Opacity",
    "cccc-3,Lung Opacity",
)


def write_tree(root, rows=ROWS, header=HEADER, classes=CLASSES, size=8):
    folder = root / "stage_2_train_images"
    folder.mkdir(parents=True)
    (root / "stage_2_train_labels.csv").write_text("\n".join((header, *rows)) + "\n")
    if classes:
        (root / "stage_2_detailed_class_info.csv").write_text("\n".join(classes) + "\n")
    views = {"aaaa-1": "PA", "bbbb-2": "AP", "cccc-3": "PA", "dddd-4": "AP", "eeee-5": "PA"}
    for number, (name, view) in enumerate(views.items()):
        pixels = np.full((size, size), 20 * number, dtype=np.uint8)
        pixels[: size // 2] += 100
        data = dicom(pixels, ViewPosition=view, PatientSex="F", PatientAge="051Y", PatientID=name)
        (folder / f"{name}.dcm").write_bytes(data)
    return root


@pytest.fixture
def root(tmp_path):
    return write_tree(tmp_path / "rsna")


def by_id(source):
    return {study.study_id: study for study in source.items()}


def test_a_row_per_image_with_its_label_class_and_boxes(root):
    source = read_rsna(root)
    studies = by_id(source)
    assert list(studies) == ["aaaa-1", "bbbb-2", "cccc-3", "dddd-4"]
    assert source.total == 4
    assert (source.labels, source.extra, source.boxes) == (("Pneumonia",), ("class",), True)
    assert [study.labels["Pneumonia"] for study in studies.values()] == [0.0, 1.0, 1.0, 0.0]
    assert [study.extra["class"] for study in studies.values()] == [
        "No Lung Opacity / Not Normal",
        "Lung Opacity",
        "Lung Opacity",
        None,
    ]
    study = studies["bbbb-2"]
    assert (study.patient_id, study.images[0].image_id, study.split) == ("bbbb-2", "bbbb-2", None)
    assert study.images[0].source == root / "stage_2_train_images" / "bbbb-2.dcm"


def test_several_boxes_of_an_image_are_kept_and_a_negative_has_none(root):
    studies = by_id(read_rsna(root))
    assert studies["bbbb-2"].images[0].boxes == (
        Box("Pneumonia", 264, 152, 264 + 213, 152 + 379),
        Box("Pneumonia", 562, 152, 562 + 256, 152 + 453),
    )
    assert studies["aaaa-1"].images[0].boxes == ()


def test_view_age_and_sex_are_left_to_the_dicom_header(root):
    study = by_id(read_rsna(root))["aaaa-1"]
    assert (study.images[0].view, study.age, study.sex) == ("unknown", None, None)


def test_columns_are_found_by_name(root):
    table = root / "stage_2_train_labels.csv"
    expected = [(study.study_id, study.labels, study.images[0].boxes) for study in read_rsna(root).items()]
    lines = [line.split(",") for line in table.read_text().splitlines()]
    table.write_text("\n".join(",".join(reversed(line)) for line in lines) + "\n")
    assert [(study.study_id, study.labels, study.images[0].boxes) for study in read_rsna(root).items()] == expected


def test_what_is_left_out_or_noticed_is_counted(tmp_path):
    rows = (*ROWS, ROWS[1], ROWS[0], "cccc-3,50,60,0,5,1")
    source = read_rsna(write_tree(tmp_path, rows, classes=(*CLASSES, "zzzz-9,Normal")))
    assert source.counts == {
        "duplicate rows": 2,
        "boxes without area": 1,
        "images without row": 1,
        "classes without row": 1,
    }
    assert len(by_id(source)["bbbb-2"].images[0].boxes) == 2
    assert len(by_id(source)["cccc-3"].images[0].boxes) == 1


def test_classes_are_optional_and_tables_that_were_read_are_named(tmp_path):
    source = read_rsna(write_tree(tmp_path / "one"))
    assert [path.name for path in source.inputs] == ["stage_2_train_labels.csv", "stage_2_detailed_class_info.csv"]
    source = read_rsna(write_tree(tmp_path / "two", classes=()))
    assert [path.name for path in source.inputs] == ["stage_2_train_labels.csv"]
    assert {study.extra["class"] for study in source.items()} == {None}


def test_images_may_be_elsewhere_in_another_format_or_missing(root, tmp_path):
    other = tmp_path / "png"
    other.mkdir()
    (other / "aaaa-1.png").touch()
    studies = by_id(read_rsna(root, images=other))
    assert studies["aaaa-1"].images[0].source == other / "aaaa-1.png"
    assert studies["bbbb-2"].images[0].source == other / "bbbb-2.dcm"  # prepare names it


def test_items_start_afresh_and_travel_to_other_processes(root):
    source = read_rsna(root)
    assert by_id(source).keys() == by_id(source).keys()
    study = pickle.loads(pickle.dumps(next(source.items())))
    assert study.images[0].image_id == "aaaa-1"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (("aaaa-1,,,,,0", ",,,,,0"), "row 3: column 'patientId' is empty"),
        (("aaaa-1,,,,,",), "row 2: column 'Target' is empty"),
        (("aaaa-1,,,,,2",), "row 2: column 'Target' is not 0 or 1"),
        (("aaaa-1,,,,,yes",), "row 2, column 'Target': 'yes' is not a number"),
        (("aaaa-1,1,2,3,four,1",), "row 2, column 'height': 'four' is not a number"),
        (("aaaa-1,1,2,,4,1",), "row 2: a box needs all of x, y, width, height, or none"),
        (("aaaa-1,1,2,3,4,0",), "row 2: a box, and column 'Target' is 0"),
        (("aaaa-1,,,,,1",), "row 2: no box, and column 'Target' is 1"),
        (("aaaa-1,1,2,3,4,1", "aaaa-1,,,,,0"), "row 3: patientId 'aaaa-1' has Target 0.0, but 1.0 in row 2"),
    ],
)
def test_a_mistake_in_the_table_is_one_line(tmp_path, rows, message):
    root = write_tree(tmp_path, rows)
    with pytest.raises(IgclError, match=message) as error:
        read_rsna(root)
    assert str(error.value).startswith(f"{root / 'stage_2_train_labels.csv'} row")
    assert "\n" not in str(error.value)


def test_missing_tables_columns_and_images_are_named(tmp_path):
    with pytest.raises(IgclError, match="no table of boxes; looked for stage_2_train_labels.csv"):
        read_rsna(tmp_path)
    root = write_tree(tmp_path / "rsna", header="patientId,x,y,width,height,Targets")
    with pytest.raises(IgclError, match="no column 'Target'; it has 'patientId'"):
        read_rsna(root)
    root = write_tree(tmp_path / "two")
    with pytest.raises(IgclError, match="nowhere: no such folder .* name the folder of images with --images"):
        read_rsna(root, images=root / "nowhere")
    (root / "empty").mkdir()
    with pytest.raises(IgclError, match="empty: contains no images"):
        read_rsna(root, images=root / "empty")


def test_different_classes_of_an_image_are_refused(tmp_path):
    root = write_tree(tmp_path, classes=(*CLASSES, "cccc-3,Normal"))
    with pytest.raises(
        IgclError, match="class_info.csv row 6: patientId 'cccc-3' has class 'Normal', but 'Lung Opacity' in row 5"
    ):
        read_rsna(root)


def test_classes_of_other_images_are_refused(tmp_path):
    root = write_tree(tmp_path, classes=("patientId,class", "zzzz-9,Normal"))
    with pytest.raises(IgclError, match="class_info.csv: none of its ids, such as 'zzzz-9', is in this data set"):
        read_rsna(root)


def test_a_box_that_begins_outside_the_image_is_cut_and_counted(tmp_path):
    source = read_rsna(write_tree(tmp_path, (*ROWS, "eeee-5,-4,6,10,20,1", "eeee-5,-40,6,10,20,1")))
    assert by_id(source)["eeee-5"].images[0].boxes == (Box("Pneumonia", 0, 6, 6, 26),)
    assert (source.counts["boxes cut at the edge of the image"], source.counts["boxes without area"]) == (1, 1)


def test_labels_and_boxes_are_those_of_torchxrayvision(root):
    datasets = pytest.importorskip("torchxrayvision").datasets
    headers = root / "headers.csv"
    headers.write_text("PatientID,ViewPosition\naaaa-1,PA\nbbbb-2,AP\ncccc-3,PA\ndddd-4,AP\n")
    other = datasets.RSNA_Pneumonia_Dataset(
        str(root), csvpath=str(root / "stage_2_train_labels.csv"), dicomcsvpath=str(headers), views=["PA", "AP"]
    )
    target = other.labels[:, other.pathologies.index("Pneumonia")]
    studies = by_id(read_rsna(root))
    assert {name: study.labels["Pneumonia"] for name, study in studies.items()} == dict(
        zip(other.csv["patientid"], target.tolist(), strict=True)
    )
    for name, study in studies.items():
        mask = np.zeros((1024, 1024), dtype=bool)
        for box in study.images[0].boxes:
            mask[int(box.y_min) : int(box.y_max), int(box.x_min) : int(box.x_max)] = True
        if study.images[0].boxes:
            assert np.array_equal(other.get_mask_dict(name, 1024)[0][0] > 0, mask)


def test_prepare_takes_views_from_the_headers_and_moves_the_boxes(tmp_path):
    root = write_tree(tmp_path / "rsna", size=1024)
    broken = root / "stage_2_train_images" / "dddd-4.dcm"
    broken.write_bytes(broken.read_bytes()[:5000])
    manifest = prepare(read_rsna(root), tmp_path / "store", options=Options(size=64))
    assert sum(manifest["rows"].values()) == 3
    assert manifest["dropped"] == {"image not readable": 1}
    assert manifest["dropped_rows"][0]["row"] == "dddd-4"
    assert str(broken) in manifest["dropped_rows"][0]["detail"]
    assert manifest["source_counts"]["images without row"] == 1
    store = Store(tmp_path / "store")
    rows = {row["row"]: row for split in store.splits for row in store.table(split)}
    assert {name: (row["view"], row["age"], row["sex"]) for name, row in rows.items()} == {
        "aaaa-1": ("PA", 51, "F"),
        "bbbb-2": ("AP", 51, "F"),
        "cccc-3": ("PA", 51, "F"),
    }
    assert {name: (row["labels"]["Pneumonia"], row["class"]) for name, row in rows.items()} == {
        "aaaa-1": (0.0, "No Lung Opacity / Not Normal"),
        "bbbb-2": (1.0, "Lung Opacity"),
        "cccc-3": (1.0, "Lung Opacity"),
    }
    assert rows["bbbb-2"]["boxes"]["x_min"] == [264 / 16, 562 / 16]
    assert rows["bbbb-2"]["boxes"]["y_max"] == [(152 + 379) / 16, (152 + 453) / 16]
    assert rows["aaaa-1"]["boxes"]["label"] == []


def test_command_line(root, tmp_path, capsys):
    command = ["prepare", "rsna", "--out", str(tmp_path / "store"), "--size", "8", "--jobs", "1"]
    assert not main([*command, "--root", str(root)])
    said = capsys.readouterr().out
    assert "noticed: 1 image without row" in said
    assert ": 0 " not in said
    assert sum(len(Store(tmp_path / "store").table(split)) for split in Store(tmp_path / "store").splits) == 4
    assert main([*command, "--root", str(tmp_path / "nowhere"), "--overwrite"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.data
def test_the_columns_of_this_test_are_the_real_ones(data_folder):
    columns = json.loads((data_folder / "format_fixtures" / "headers.json").read_text())
    assert columns["rsna_stage_2_train_labels.csv"] == HEADER.split(",")


def test_boxes_are_filled_as_masks_on_request(root):
    assert not any(study.images[0].masks for study in read_rsna(root).items())
    source = read_rsna(root, masks=True)
    assert source.masks
    studies = by_id(source)
    assert studies["aaaa-1"].images[0].masks == {}
    mask = studies["bbbb-2"].images[0].masks["Pneumonia"].mask()
    expected = np.zeros((1024, 1024), bool)
    expected[152 : 152 + 379, 264 : 264 + 213] = True
    expected[152 : 152 + 453, 562 : 562 + 256] = True
    assert np.array_equal(mask, expected)


def test_masks_are_stored_and_need_the_size_of_the_images(root, tmp_path):
    words = ["prepare", "rsna", "--root", str(root), "--size", "64", "--lossless", "--masks"]
    assert main([*words, "--out", str(tmp_path / "small")]) is None
    assert Store(tmp_path / "small").manifest["dropped"] == {"mask of another size than the image": 2}
    whole = write_tree(tmp_path / "whole", ("aaaa-1,,,,,0", "bbbb-2,512,256,256,128,1"), size=1024)
    words[3] = str(whole)
    assert main([*words, "--out", str(tmp_path / "store")]) is None
    store = Store(tmp_path / "store")
    rows = {row["row"]: row["masks"] for split in store.splits for row in store.table(split)}
    assert rows["aaaa-1"] == {"label": [], "png": []}
    expected = np.zeros((64, 64), bool)
    expected[16:24, 32:48] = True
    assert np.array_equal(decode_grey(rows["bbbb-2"]["png"][0]) > 0, expected)
