import csv
import json

import numpy as np
import pytest
from PIL import Image

from igcl_lightning.cli import main
from igcl_lightning.data.prepare import prepare
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.sources.padchest import read_padchest
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError

TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
HEADER = (
    "",
    "ImageID",
    "ImageDir",
    "StudyDate_DICOM",
    "StudyID",
    "PatientID",
    "PatientBirth",
    "PatientSex_DICOM",
    "ViewPosition_DICOM",
    "Projection",
    "MethodProjection",
    "Pediatric",
    "Modality_DICOM",
    "Manufacturer_DICOM",
    "PhotometricInterpretation_DICOM",
    "PixelRepresentation_DICOM",
    "PixelAspectRatio_DICOM",
    "SpatialResolution_DICOM",
    "BitsStored_DICOM",
    "WindowCenter_DICOM",
    "WindowWidth_DICOM",
    "Rows_DICOM",
    "Columns_DICOM",
    "XRayTubeCurrent_DICOM",
    "Exposure_DICOM",
    "ExposureInuAs_DICOM",
    "ExposureTime",
    "RelativeXRayExposure_DICOM",
    "ReportID",
    "Report",
    "MethodLabel",
    "Labels",
    "Localizations",
    "LabelsLocalizationsBySentence",
    "labelCUIS",
    "LocalizationsCUIS",
)
ROWS = (
    {"ImageID": "100_a.png", "StudyID": "s1", "PatientID": "p1", "Projection": "PA", "Labels": "['normal']"},
    {
        "ImageID": "100_b.png",
        "StudyID": "s1",
        "PatientID": "p1",
        "Projection": "L",
        "Labels": "['normal', ' Normal ', '']",
        "Report": "torax sin hallazg",
    },
    {
        "ImageID": "200_a.png",
        "StudyID": "s2",
        "PatientID": "p2",
        "Projection": "AP_horizontal",
        "Labels": "['pleural effusion', ' Cardiomegaly ', 'pleural  effusion']",
        "MethodLabel": "RNN_model",
        "PatientBirth": "1970.0",
        "PatientSex_DICOM": "F",
    },
    {"ImageID": "300_a.png", "StudyID": "s3", "PatientID": "p3", "Projection": "AP", "Labels": "nan"},
    {"ImageID": "300_b.png", "StudyID": "s3", "PatientID": "p3", "Projection": "COSTAL", "Labels": "['']"},
    {
        "ImageID": "400_a.png",
        "StudyID": "s4",
        "PatientID": "p4",
        "Projection": "PA",
        "Labels": "['cardiomegaly', \"kerley's lines\"]",
        "MethodLabel": "RNN_model",
        "PatientBirth": "",
        "PatientSex_DICOM": "O",
    },
)
USUAL = {
    "ImageDir": "0",
    "StudyDate_DICOM": "20140915",
    "PatientBirth": "1950",
    "PatientSex_DICOM": "M",
    "MethodLabel": "Physician",
}


def write_table(path, rows=ROWS, header=HEADER):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for number, row in enumerate(rows):
            cells = USUAL | {"": str(number)} | row
            writer.writerow([cells.get(column, "") for column in header])


def write_tree(root, rows=ROWS, header=HEADER, flat=False):
    root.mkdir(parents=True, exist_ok=True)
    write_table(root / TABLE, rows, header)
    for number, row in enumerate((*ROWS, {"ImageID": "no_row.png"})):
        folder = root if flat else root / str(number % 2)
        folder.mkdir(exist_ok=True)
        pixels = (np.arange(256, dtype=np.uint16).reshape(16, 16) * 200 + number).astype(np.uint16)
        Image.fromarray(pixels).save(folder / row["ImageID"])
    return root


@pytest.fixture
def root(tmp_path):
    return write_tree(tmp_path / "padchest")


def by_id(source):
    return {study.images[0].image_id: study for study in source.items()}


def test_a_row_per_image_with_its_study_and_patient(root):
    source = read_padchest(root, min_positives=1)
    studies = by_id(source)
    assert list(studies) == [row["ImageID"] for row in ROWS]
    assert [(study.study_id, study.patient_id) for study in studies.values()] == [
        (row["StudyID"], row["PatientID"]) for row in ROWS
    ]
    assert source.total == len(ROWS)
    assert {study.split for study in studies.values()} == {None}
    assert [path.name for path in source.inputs] == [TABLE]


def test_views_keep_the_words_of_the_source(root):
    images = [study.images[0] for study in read_padchest(root, min_positives=1).items()]
    assert [(image.source_view, image.view) for image in images] == [
        ("PA", "PA"),
        ("L", "lateral"),
        ("AP_horizontal", "AP"),
        ("AP", "AP"),
        ("COSTAL", "unknown"),
        ("PA", "PA"),
    ]


def test_labels_are_a_list_in_small_letters_without_spaces_and_repeats(root):
    source = read_padchest(root, min_positives=1)
    assert source.labels == ("cardiomegaly", "kerley's lines", "normal", "pleural effusion")
    studies = by_id(source)
    assert list(studies["200_a.png"].labels.values()) == [1.0, 0.0, 0.0, 1.0]
    assert list(studies["100_b.png"].labels.values()) == [0.0, 0.0, 1.0, 0.0]
    assert list(studies["400_a.png"].labels.values()) == [1.0, 1.0, 0.0, 0.0]


def test_a_row_without_labels_has_none_known_and_is_counted(root):
    source = read_padchest(root, min_positives=1)
    studies = by_id(source)
    assert set(studies["300_a.png"].labels.values()) == set(studies["300_b.png"].labels.values()) == {None}
    assert source.counts["rows without labels"] == 2


def test_a_label_is_not_known_where_a_narrower_one_is_named(tmp_path):
    rows = [
        {"ImageID": "n1.png", "Labels": "['loculated pleural effusion']"},
        {"ImageID": "n2.png", "Labels": "['multiple nodules', 'pleural effusion', 'loculated pleural effusion']"},
        {"ImageID": "n3.png", "Labels": "['cardiomegaly', 'nodule']"},
    ]
    usual = {"StudyID": "s9", "PatientID": "p9", "Projection": "PA"}
    root = write_tree(tmp_path, (*ROWS, *(usual | row for row in rows)))
    studies = by_id(read_padchest(root, labels=["pleural effusion", "nodule", "cardiomegaly"]))
    assert list(studies["n1.png"].labels.values()) == [None, 0.0, 0.0]
    assert list(studies["n2.png"].labels.values()) == [1.0, None, 0.0]
    assert list(studies["n3.png"].labels.values()) == [0.0, 1.0, 1.0]


def test_labels_that_say_nothing_of_findings_leave_them_open(tmp_path):
    usual = {"StudyID": "s9", "PatientID": "p9", "Projection": "PA"}
    says = {"u1.png": "['unchanged']", "u2.png": "['exclude', 'suboptimal study']", "u3.png": "['unchanged', 'normal']"}
    rows = [usual | {"ImageID": name, "Labels": labels} for name, labels in says.items()]
    source = read_padchest(write_tree(tmp_path, (*ROWS, *rows)), labels=["normal", "cardiomegaly", "unchanged"])
    assert [list(by_id(source)[name].labels.values()) for name in says] == [
        [None, None, 1.0],
        [None, None, None],
        [1.0, 0.0, 1.0],
    ]
    assert source.counts["rows whose labels say nothing of findings"] == 2


def test_a_study_of_two_patients_is_refused(tmp_path):
    root = write_tree(tmp_path, (*ROWS, ROWS[0] | {"ImageID": "x.png", "PatientID": "p7"}))
    with pytest.raises(IgclError, match="row 8: StudyID 's1' has PatientID 'p7', but 'p1' in row 2"):
        read_padchest(root)


def test_the_table_may_be_of_another_release(root):
    (root / TABLE).rename(root / "PADCHEST_chest_x_ray_images_labels_160K.csv")
    assert read_padchest(root, min_positives=1).total == len(ROWS)


def test_labels_are_those_with_enough_rows_or_those_asked_for(root):
    assert read_padchest(root, min_positives=2).labels == ("cardiomegaly", "normal")
    source = read_padchest(root, labels=["Pleural Effusion", " normal", "normal"])
    assert source.labels == ("pleural effusion", "normal")
    assert list(by_id(source)["200_a.png"].labels.values()) == [1.0, 0.0]
    assert read_padchest(root, labels=[]).labels == ()


def test_labels_of_physicians_or_of_the_model_alone(root):
    source = read_padchest(root, min_positives=1, method="physician")
    assert list(by_id(source)) == ["100_a.png", "100_b.png", "300_a.png", "300_b.png"]
    assert source.counts["rows of another method"] == 2
    assert source.labels == ("normal",)
    assert source.settings == {"method": "physician", "min_positives": 1}
    assert list(by_id(read_padchest(root, min_positives=1, method="rnn"))) == ["200_a.png", "400_a.png"]


def test_the_age_is_the_year_of_the_study_less_that_of_birth(tmp_path):
    rows = (*ROWS[:-1], ROWS[-1], ROWS[0] | {"ImageID": "x.png", "PatientBirth": "2020"})
    source = read_padchest(write_tree(tmp_path, rows), min_positives=1)
    studies = by_id(source)
    assert [studies[name].age for name in ("100_a.png", "200_a.png", "400_a.png", "x.png")] == [64, 44, None, None]
    assert source.counts["implausible ages"] == 1
    assert [studies[name].sex for name in ("100_a.png", "200_a.png", "400_a.png")] == ["M", "F", None]


def test_the_spanish_report_is_a_column_and_never_parsed(root):
    source = read_padchest(root, min_positives=1)
    study = by_id(source)["100_b.png"]
    assert study.report == {}
    assert study.graph is None
    assert study.extra["report_spanish"] == "torax sin hallazg"
    assert tuple(study.extra) == source.extra
    assert (study.extra["study_date"], study.extra["method_label"]) == ("20140915", "Physician")


@pytest.mark.parametrize("header", [HEADER, HEADER[::-1], HEADER[1:]])
def test_columns_are_found_by_name_and_the_first_has_none(tmp_path, header):
    studies = by_id(read_padchest(write_tree(tmp_path, header=header), min_positives=1))
    assert list(studies["200_a.png"].labels.values()) == [1.0, 0.0, 0.0, 1.0]
    assert studies["200_a.png"].age == 44


@pytest.mark.parametrize("flat", [False, True])
def test_images_are_found_in_many_folders_or_in_one(tmp_path, flat):
    root = write_tree(tmp_path, flat=flat)
    source = read_padchest(root, min_positives=1)
    sources = [study.images[0].source for study in source.items()]
    assert all(path.is_file() for path in sources)
    assert [path.parent.name for path in sources] == [root.name if flat else str(number % 2) for number in range(6)]
    assert source.counts["images without row"] == 1


def test_images_may_be_elsewhere_or_missing(root, tmp_path):
    other = tmp_path / "small"
    other.mkdir()
    (other / "100_a.jpg").touch()
    studies = by_id(read_padchest(root, min_positives=1, images=other))
    assert studies["100_a.png"].images[0].source == other / "100_a.jpg"
    assert studies["200_a.png"].images[0].source == other / "200_a.png"  # prepare names it


def test_the_first_row_of_an_image_counts(tmp_path):
    rows = (*ROWS, ROWS[0] | {"Labels": "['cardiomegaly']"})
    source = read_padchest(write_tree(tmp_path, rows), min_positives=1)
    assert source.counts["rows that repeat an image"] == 1
    assert by_id(source)["100_a.png"].labels["normal"] == 1.0
    assert source.total == len(ROWS)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ImageID": ""}, "row 8: column 'ImageID' is empty"),
        ({"PatientID": ""}, "row 8: column 'PatientID' is empty"),
        ({"Labels": "['normal'"}, r"row 8: column 'Labels' is not a list such as \['normal', 'pleural effusion'\]"),
        ({"Labels": "normal"}, "row 8: column 'Labels' is not a list"),
        ({"Labels": "{'normal'}"}, "row 8: column 'Labels' is not a list"),
        ({"Labels": "['normal', 3]"}, "row 8: column 'Labels' is not a list"),
        ({"Labels": "[open('x')]"}, "row 8: column 'Labels' is not a list"),
        ({"Labels": "[" * 5000}, "row 8: column 'Labels' is not a list"),
        ({"PatientBirth": "old"}, "row 8, column 'PatientBirth': 'old' is not a number"),
        ({"StudyDate_DICOM": "15/09/2014"}, "row 8, column 'StudyDate_DICOM': '15/09/2014' is not a number"),
        ({"StudyDate_DICOM": "2014"}, "row 8: column 'StudyDate_DICOM' is not a date YYYYMMDD"),
    ],
)
def test_a_mistake_in_the_table_is_one_line(tmp_path, changed, message):
    root = write_tree(tmp_path, (*ROWS, ROWS[0] | {"ImageID": "x.png"} | changed))
    with pytest.raises(IgclError, match=message) as error:
        read_padchest(root)
    assert str(error.value).startswith(f"{root / TABLE} row 8")
    assert "\n" not in str(error.value)


def test_wrong_options_and_missing_files_are_named(tmp_path, root):
    with pytest.raises(IgclError, match="--method: 'doctor' is not one of all, physician, rnn"):
        read_padchest(root, method="doctor")
    with pytest.raises(IgclError, match="no label is in 50 rows or more; lower --min-positives or name --labels"):
        read_padchest(root)
    with pytest.raises(IgclError, match="--labels: no kept row of .* has 'cardiomegalia', did you mean cardiomegaly?"):
        read_padchest(root, labels=["cardiomegalia"])
    with pytest.raises(IgclError, match="no table of images; looked for PADCHEST_chest_x_ray"):
        read_padchest(root / "0")
    with pytest.raises(IgclError, match="no column 'Labels'"):
        read_padchest(write_tree(tmp_path / "other", header=[name for name in HEADER if name != "Labels"]))
    with pytest.raises(IgclError, match="nowhere: no such folder"):
        read_padchest(root, min_positives=1, images=tmp_path / "nowhere")


@pytest.mark.filterwarnings("ignore:Parsing integer or float values")
def test_labels_are_those_of_torchxrayvision(tmp_path):
    datasets = pytest.importorskip("torchxrayvision").datasets
    # Its reader looks for small letters anywhere in the list; it leaves out rows without labels or year of birth.
    rows = [row | {"Labels": row["Labels"].lower(), "StudyDate_DICOM": "20140915"} for row in ROWS]
    narrower = rows[0] | {"ImageID": "narrow.png", "Labels": "['loculated pleural effusion']"}
    root = write_tree(tmp_path, [*(row for row in rows if row.get("PatientBirth") != ""), narrower])
    Image.fromarray(np.zeros((16, 16), dtype=np.uint16)).save(root / "0" / "narrow.png")
    other = datasets.PC_Dataset(
        str(root), csvpath=str(root / TABLE), views=["PA", "AP", "AP Supine", "L"], unique_patients=False
    )
    studies = by_id(read_padchest(root, min_positives=1))
    assert {"100_a.png", "100_b.png", "200_a.png"} <= set(other.csv["ImageID"])
    for name, row in zip(other.csv["ImageID"], other.labels.tolist(), strict=True):
        theirs = dict(zip(other.pathologies, row, strict=True))
        assert theirs["Cardiomegaly"] == studies[name].labels["cardiomegaly"]
        ours = studies[name].labels["pleural effusion"]
        assert (theirs["Effusion"], ours) == (1, None) if name == "narrow.png" else theirs["Effusion"] == ours
    assert "narrow.png" in set(other.csv["ImageID"])


def test_prepare_reads_16_bits_drops_a_broken_image_and_parses_no_spanish(root, tmp_path):
    broken = root / "1" / "400_a.png"
    broken.write_bytes(broken.read_bytes()[:60])
    source = read_padchest(root, labels=["normal", "pleural effusion"])
    manifest = prepare(source, tmp_path / "store", options=Options(size=16, lossless=True))
    assert sum(manifest["rows"].values()) == len(ROWS) - 1
    assert manifest["dropped"] == {"image not readable": 1}
    assert str(broken) in manifest["dropped_rows"][0]["detail"]
    assert manifest["labels"] == ["normal", "pleural effusion"]
    assert manifest["rows_with_empty_graph"] == len(ROWS) - 1
    store = Store(tmp_path / "store")
    rows = {row["row"]: row for split in store.splits for row in store.table(split)}
    assert rows["100_a.png"]["patient"] == rows["100_b.png"]["patient"] == "p1"
    assert rows["100_b.png"]["report_spanish"] == "torax sin hallazg"
    assert set(rows["100_b.png"]["report"].values()) == {None}
    assert rows["300_a.png"]["labels"] == {"normal": None, "pleural effusion": None}
    assert (rows["200_a.png"]["view"], rows["200_a.png"]["source_view"]) == ("AP", "AP_horizontal")
    pixels = np.asarray(rows["100_a.png"]["image"])
    assert (pixels[0, 0], pixels[-1, -1]) == (0, 255)


def test_command_line(root, tmp_path):
    out = tmp_path / "store"
    command = ["prepare", "padchest", "--root", str(root), "--out", str(out), "--size", "8", "--jobs", "1"]
    assert not main([*command, "--labels", "pleural effusion,cardiomegaly", "--method", "rnn"])
    assert Store(out).labels == ("pleural effusion", "cardiomegaly")
    assert not main([*command, "--min-positives", "2", "--overwrite"])
    assert Store(out).labels == ("cardiomegaly", "normal")


@pytest.mark.data
def test_the_columns_of_this_test_are_the_real_ones(data_folder):
    columns = json.loads((data_folder / "format_fixtures" / "headers.json").read_text())
    assert columns["padchest_PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"] == list(HEADER)
