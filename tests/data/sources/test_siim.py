import json

import numpy as np
import pytest
from PIL import Image

from igcl_lightning.cli import main
from igcl_lightning.data.images import decode_grey
from igcl_lightning.data.prepare import prepare
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.sources.siim import read_siim
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from image_files import dicom

HEADER = "ImageId, EncodedPixels"
NEGATIVE, ONE, SEVERAL, STUDY = (f"1.2.276.0.7230010.3.1.4.8323329.{number}.151787" for number in range(1, 5))
ROWS = (
    f"{NEGATIVE}, -1",
    f"{ONE}, 1024 3 1021 2",
    f"{SEVERAL}, 5 2",
    f"{STUDY},-1",
    f"{SEVERAL}, 6 3 1048567 0",
)


def write_tree(root, rows=ROWS, header=HEADER, table="train-rle.csv", size=8):
    root.mkdir(parents=True, exist_ok=True)
    (root / table).write_text("\n".join((header, *rows)) + "\n")
    for number, name in enumerate((NEGATIVE, ONE, SEVERAL, STUDY, f"{STUDY}9")):
        folder = root / "dicom-images-train" / f"1.2.{number}" / f"1.3.{number}"
        folder.mkdir(parents=True)
        pixels = np.arange(size**2).reshape(size, size).astype(np.uint8) + number
        person = f"person {number // 2}"
        data = dicom(pixels, ViewPosition="AP", PatientAge="033Y", PatientSex="M", PatientID=person)
        (folder / f"{name}.dcm").write_bytes(data)
    return root


@pytest.fixture
def root(tmp_path):
    return write_tree(tmp_path / "siim")


def by_id(source):
    return {study.study_id: study for study in source.items()}


def pixels(mask):
    """(row, column) of the pixels inside."""
    return set(zip(*(axis.tolist() for axis in np.nonzero(mask.mask())), strict=True))


def test_a_row_per_image_with_its_label_and_mask(root):
    source = read_siim(root)
    studies = by_id(source)
    assert list(studies) == [NEGATIVE, ONE, SEVERAL, STUDY]
    assert (source.labels, source.masks, source.total) == (("Pneumothorax",), True, 4)
    assert [study.labels["Pneumothorax"] for study in studies.values()] == [0.0, 1.0, 1.0, 0.0]
    assert [list(study.images[0].masks) for study in studies.values()] == [[], ["Pneumothorax"], ["Pneumothorax"], []]
    study = studies[ONE]
    assert (study.images[0].image_id, study.split) == (ONE, None)


def test_patient_view_age_and_sex_are_left_to_the_dicom_header(root):
    study = by_id(read_siim(root))[ONE]
    assert (study.patient_id, study.images[0].view, study.age, study.sex) == (None, "unknown", None, None)


def test_runs_are_gap_and_length_down_the_columns(root):
    mask = by_id(read_siim(root))[ONE].images[0].masks["Pneumothorax"]
    assert mask.mask().shape == (1024, 1024)
    assert pixels(mask) == {(0, 1), (1, 1), (2, 1), (0, 2), (1, 2)}


def test_rows_of_one_image_are_one_mask(root):
    mask = by_id(read_siim(root))[SEVERAL].images[0].masks["Pneumothorax"]
    assert pixels(mask) == {(5, 0), (6, 0), (7, 0), (8, 0)}


def test_minus_one_is_no_pneumothorax_with_and_without_space(root):
    studies = by_id(read_siim(root))
    assert studies[NEGATIVE].labels == studies[STUDY].labels == {"Pneumothorax": 0.0}


@pytest.mark.parametrize("header", ["ImageId,EncodedPixels", "ImageId, EncodedPixels", " ImageId ,EncodedPixels "])
def test_the_column_has_a_leading_space_or_none(tmp_path, header):
    assert len(by_id(read_siim(write_tree(tmp_path, header=header)))) == 4


def test_columns_are_found_by_name(tmp_path):
    swapped = [",".join(reversed(row.split(","))) for row in ROWS]
    studies = by_id(read_siim(write_tree(tmp_path, swapped, header=" EncodedPixels,ImageId")))
    assert pixels(studies[SEVERAL].images[0].masks["Pneumothorax"]) == {(5, 0), (6, 0), (7, 0), (8, 0)}


def test_the_table_of_stage_2_is_read_alike(tmp_path):
    root = write_tree(tmp_path, header="ImageId,EncodedPixels", table="stage_2_train.csv")
    assert [path.name for path in read_siim(root).inputs] == ["stage_2_train.csv"]


def test_images_are_found_in_nested_folders_and_in_a_flat_one(root, tmp_path):
    source = by_id(read_siim(root))[ONE].images[0].source
    assert source == root / "dicom-images-train" / "1.2.1" / "1.3.1" / f"{ONE}.dcm"
    flat = tmp_path / "flat"
    flat.mkdir()
    Image.new("L", (8, 8)).save(flat / f"{ONE}.png")
    studies = by_id(read_siim(root, images=flat))
    assert studies[ONE].images[0].source == flat / f"{ONE}.png"
    assert studies[NEGATIVE].images[0].source == flat / f"{NEGATIVE}.dcm"  # prepare names it


def test_what_is_left_out_or_noticed_is_counted(tmp_path):
    rows = (*ROWS, ROWS[0], ROWS[2], f"{ONE}, -1")
    source = read_siim(write_tree(tmp_path, rows))
    assert source.counts == {"duplicate rows": 2, "images both marked and -1": 1, "images without row": 1}
    assert by_id(source)[ONE].labels == {"Pneumothorax": 1.0}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (", -1", "row 7: column 'ImageId' is empty"),
        ("x,", "row 7: column 'EncodedPixels' is empty"),
        ("x, 1 2 3", "row 7, column 'EncodedPixels': 3 run lengths, not pairs; expected gaps and lengths, or -1"),
        ("x, 1 two", "row 7, column 'EncodedPixels': invalid literal for int"),
        ("\n\nx, 5 -2", "row 9, column 'EncodedPixels': a run length is negative"),
        ("x, 5 -2", "row 7, column 'EncodedPixels': a run length is negative"),
        ("x, 1048575 2", "row 7, column 'EncodedPixels': a run ends after pixel 1048576, the last of 1024x1024"),
    ],
)
def test_a_mistake_in_the_table_is_one_line(tmp_path, row, message):
    root = write_tree(tmp_path, (*ROWS, row))
    with pytest.raises(IgclError, match=message) as error:
        read_siim(root)
    assert str(error.value).startswith(f"{root / 'train-rle.csv'} row")
    assert "\n" not in str(error.value)


def test_missing_tables_columns_and_images_are_named(tmp_path):
    with pytest.raises(IgclError, match="no table of run lengths; looked for train-rle.csv"):
        read_siim(tmp_path)
    with pytest.raises(IgclError, match="no column 'EncodedPixels'; it has 'ImageId', 'rle'"):
        read_siim(write_tree(tmp_path / "siim", header="ImageId,rle"))
    with pytest.raises(IgclError, match="nowhere: no such folder"):
        read_siim(write_tree(tmp_path / "two"), images=tmp_path / "nowhere")


def test_labels_and_masks_are_those_of_torchxrayvision(root):
    datasets = pytest.importorskip("torchxrayvision").datasets
    # Its reader has a row for each row of the table, knows -1 only with the space stripped, and of several rows of an
    # image keeps the mask of the last.
    table = root / "train-rle.csv"
    stripped = table.read_text().replace(", ", ",").replace("ImageId,", "ImageId, ")
    table.write_text(stripped)
    other = datasets.SIIM_Pneumothorax_Dataset(str(root), csvpath=str(table))
    studies = by_id(read_siim(root))
    for name, label in zip(other.csv["ImageId"], other.labels[:, 0].tolist(), strict=True):
        assert studies[name].labels["Pneumothorax"] == label
    theirs = other.get_pathology_mask_dict(ONE, 1024)[0][0]
    assert np.array_equal(studies[ONE].images[0].masks["Pneumothorax"].mask(), theirs > 0)


def test_prepare_takes_the_person_from_the_headers_and_shrinks_the_masks(tmp_path):
    rows = (ROWS[0], f"{ONE}, " + " ".join(["0 256", *["768 256"] * 511]), ROWS[2], ROWS[3])
    root = write_tree(tmp_path / "siim", rows, size=1024)
    next(root.rglob(f"{STUDY}.dcm")).unlink()
    manifest = prepare(read_siim(root), tmp_path / "store", options=Options(size=64))
    assert sum(manifest["rows"].values()) == 3
    assert manifest["dropped"] == {"image missing": 1}
    assert manifest["dropped_rows"][0]["row"] == STUDY
    store = Store(tmp_path / "store")
    rows = {row["row"]: row for split in store.splits for row in store.table(split)}
    assert {name: (row["labels"]["Pneumothorax"], row["patient"]) for name, row in rows.items()} == {
        NEGATIVE: (0.0, "person 0"),
        ONE: (1.0, "person 0"),
        SEVERAL: (1.0, "person 1"),
    }
    assert {(row["view"], row["age"], row["sex"]) for row in rows.values()} == {("AP", 33, "M")}
    assert rows[NEGATIVE]["masks"]["label"] == []
    mask = decode_grey(rows[ONE]["masks"]["png"][0]) > 0
    assert mask[:16, :32].all()
    assert mask.sum() == 16 * 32


def test_images_of_another_size_cost_their_marked_rows(root, tmp_path):
    manifest = prepare(read_siim(root), tmp_path / "store", options=Options(size=8))
    assert sum(manifest["rows"].values()) == 2
    assert manifest["dropped"] == {"mask of another size than the image": 2}


def test_command_line(root, tmp_path):
    (root / "train-rle.csv").write_text(f"{HEADER}\n{ROWS[0]}\n{ROWS[3]}\n")
    out = tmp_path / "store"
    command = ["prepare", "siim", "--root", str(root), "--out", str(out), "--size", "8", "--jobs", "1"]
    assert not main([*command, "--images", str(root / "dicom-images-train")])
    assert sum(len(Store(out).table(split)) for split in Store(out).splits) == 2


@pytest.mark.data
def test_the_columns_of_this_test_are_the_real_ones(data_folder):
    columns = json.loads((data_folder / "format_fixtures" / "headers.json").read_text())
    assert columns["siim_train-rle.csv"] == HEADER.split(",")
