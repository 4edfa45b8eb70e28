"""One study into rows: reports in every state, regions, headers, flags, views, names of labels."""

from dataclasses import replace

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from igcl_lightning.cli.prepare import summary
from igcl_lightning.data.images import decode_grey
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.regions import Box, RunLengths
from igcl_lightning.data.store import Store
from igcl_lightning.data.study import Study, StudyImage, wanted_views
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.schema import Entity, ReportGraph
from stores import prepare_studies

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


def study(number, **fields):
    pixels = np.random.default_rng(number).integers(0, 256, (20, 30), dtype=np.uint8)
    image = StudyImage(f"i{number}", pixels, **fields.pop("image", {}))
    return Study(f"s{number}", fields.pop("patient_id", f"p{number}"), (image,), split="train", **fields)


def rows(tmp_path, studies, **how):
    prepare_studies(studies, tmp_path / "store", **how)
    return Store(tmp_path / "store").table("train")


@pytest.fixture
def reports(tmp_path):
    """Studies with reports in every state."""
    (tmp_path / "good.txt").write_text("FINDINGS: Small effusion.")
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "pointer.txt").write_text(POINTER)
    (tmp_path / "broken.txt").write_bytes(b"\xff\xfe\x00\xd8")
    (tmp_path / "western.txt").write_bytes("Étude: effusion.".encode("cp1252"))
    (tmp_path / "wide.txt").write_bytes("Mass.\r\n".encode("utf-16"))
    files = [study(number, report=tmp_path / f"{name}.txt") for number, name in enumerate(NAMES)]
    texts = [{"report": "Effusion."}, {"findings": "NaN"}, {"report": POINTER}, {}]
    return [*files, *(study(10 + number, report=text) for number, text in enumerate(texts))]


NAMES = ("good", "empty", "pointer", "broken", "gone", "western", "wide")
STATES = {"present": 4, "empty": 2, "Git-LFS pointer": 2, "not readable": 1, "none": 2}


def test_reports_in_every_state_are_counted_and_keep_their_images(tmp_path, reports):
    manifest = prepare_studies(reports, tmp_path / "store", options=Options(size=16))
    assert manifest["rows_by_report"] == STATES
    assert manifest["rows"] == {"train": 11}
    assert manifest["rows_with_empty_graph"] == 7
    table = Store(tmp_path / "store").table("train")
    texts = [text["report"] for text in table["report"]]
    assert texts.count(None) == 7
    assert {"Étude: effusion.", "Mass.\n"} < set(texts)
    assert {row["row"]: " ".join(row["flags"]) for row in manifest["flagged_rows"]} == {
        **dict.fromkeys(("i1", "i11"), "report blank"),
        **dict.fromkeys(("i2", "i12"), "report is a Git-LFS pointer"),
        "i3": "report not readable",
        "i4": "report file missing",
        "i5": "report read as Windows-1252",
        "i6": "report read as UTF-16",
    }


def test_studies_without_reports_are_dropped_on_demand_and_named(tmp_path, reports):
    manifest = prepare_studies(reports, tmp_path / "store", options=Options(size=16, on_missing_report="drop"))
    assert manifest["rows"] == {"train": 4}
    assert manifest["dropped"] == {f"report {state}": count for state, count in STATES.items() if state != "present"}
    details = {drop["row"]: drop["detail"] for drop in manifest["dropped_rows"]}
    assert "pointer.txt: a Git-LFS pointer in place of a report; fetch it with git lfs pull" in details["i2"]
    assert "gone.txt: no such file" in details["i4"]


def test_a_study_without_report_stops_the_work_on_demand(tmp_path, reports):
    with pytest.raises(
        IgclError, match=r"study 's1': .*empty.txt: the report is empty; --on-missing-report keep-image keeps"
    ):
        prepare_studies(reports, tmp_path / "store", options=Options(size=16, on_missing_report="error"))


def test_a_shipped_graph_stands_for_a_report(tmp_path):
    graph = ReportGraph("effusion", (Entity("effusion", "OBS-DP", 0, 0),))
    options = Options(size=16, on_missing_report="drop")
    manifest = prepare_studies([study(1, graph=graph), study(2)], tmp_path / "store", options=options)
    assert manifest["rows"] == {"train": 1}


def test_boxes_are_moved_with_the_image(tmp_path):
    # 20 x 30 pixels become 10 x 15 on a square of 15, with 2 black rows above (and 3 below)
    box, outside = Box("Mass", 6, 4, 12, 20), Box("Nodule", 40, 0, 50, 5)
    table = rows(tmp_path, [study(1, image={"boxes": (box, outside)})], boxes=True, options=Options(size=15))
    assert table[0]["flags"] == ["a box ends outside the image"]
    assert table[0]["boxes"] == {"label": ["Mass"], "x_min": [3], "y_min": [4], "x_max": [6], "y_max": [12]}


def test_masks_are_moved_with_the_image(tmp_path):
    mask = np.zeros((20, 30), bool)
    mask[4:20, 6:12] = True
    Image.fromarray(mask).save(tmp_path / "mask.png")
    masks = {
        "array": mask,
        "file": tmp_path / "mask.png",
        "runs": RunLengths(tuple((20 * x + 4, 16) for x in range(6, 12)), 20, 30),
    }
    table = rows(tmp_path, [study(1, image={"masks": masks})], masks=True, options=Options(size=15))
    expected = np.zeros((15, 15), bool)
    expected[4:12, 3:6] = True
    stored = table[0]["masks"]
    assert stored["label"] == ["array", "file", "runs"]
    for png in stored["png"]:
        np.testing.assert_array_equal(decode_grey(png) > 0, expected)


@pytest.mark.parametrize("mask", [np.ones((3, 3), bool), RunLengths(((0, 8100),), 90, 90)])
def test_a_mask_that_does_not_fit_costs_its_row_and_is_named(tmp_path, mask):
    studies = [study(1, image={"masks": {"lung": mask}}), study(2)]
    manifest = prepare_studies(studies, tmp_path / "store", masks=True, options=Options(size=16))
    assert manifest["dropped"] == {"mask of another size than the image": 1}
    assert manifest["dropped_rows"][0]["row"] == "i1"


def test_flags_of_source_and_decoder_are_kept_and_counted(tmp_path):
    Image.fromarray(np.full((20, 30), 9, np.uint8)).save(tmp_path / "a.png")
    odd = Study("s", "p", (StudyImage("i", tmp_path / "a.png", flags=("upside down",)),), split="train")
    manifest = prepare_studies([study(1), odd], tmp_path / "store", options=Options(size=16))
    assert manifest["flags"] == {"constant": 1, "upside down": 1}
    assert manifest["flagged_rows"] == [{"row": "i", "flags": ["constant", "upside down"]}]
    assert Store(tmp_path / "store").table("train")["flags"][:] == [[], ["constant", "upside down"]]


def test_rows_are_named_for_each_reason(tmp_path, monkeypatch):
    monkeypatch.setattr("igcl_lightning.data.preparing.manifest.MAX_NAMED", 2)
    gone = [replace(study(n), images=(StudyImage(f"g{n}", tmp_path / "gone.png"),)) for n in range(4)]
    flags = [["often"], ["often"], ["often"], ["often", "rare"]]
    odd = [study(10 + n, image={"flags": tuple(words)}) for n, words in enumerate(flags)]
    none = replace(study(20), images=())
    manifest = prepare_studies([*gone, *odd, none], tmp_path / "store", options=Options(size=16))
    assert manifest["dropped"] == {"image missing": 4, "no image": 1}
    assert [drop["row"] for drop in manifest["dropped_rows"]] == ["g0", "g1", "s20"]
    assert manifest["flags"] == {"often": 4, "rare": 1}
    assert [row["row"] for row in manifest["flagged_rows"]] == ["i10", "i11", "i13"]


def dicom(path, **header):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid(entropy_srcs=[path.name])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.Rows, file.Columns, file.SamplesPerPixel = 8, 8, 1
    file.BitsAllocated = file.BitsStored = 8
    file.HighBit, file.PixelRepresentation, file.PhotometricInterpretation = 7, 0, "MONOCHROME2"
    file.PixelData = bytes(range(64))
    for name, value in header.items():
        setattr(file, name, value)
    file.save_as(path, enforce_file_format=True)
    return path


def test_a_dicom_header_fills_in_what_the_source_does_not_know(tmp_path):
    header = {"PatientID": "X7", "PatientAge": "045Y", "PatientSex": "F", "ViewPosition": "AP"}
    first = StudyImage("a", dicom(tmp_path / "a.dcm", **header))
    second = StudyImage("b", dicom(tmp_path / "b.dcm", **header), "PA", "pa erect")
    studies = [
        Study("s1", None, (first,), split="train"),
        Study("s2", "mine", (second,), split="train", age=3.0, sex="M"),
    ]
    table = rows(tmp_path, studies, options=Options(size=16))
    names = ("patient", "age", "sex", "view", "source_view", "height", "width")
    assert [table[0][name] for name in names] == ["X7", 45.0, "F", "AP", "AP", 8, 8]
    assert [table[1][name] for name in names] == ["mine", 3.0, "M", "PA", "pa erect", 8, 8]


def test_unknown_words_for_sex_in_headers_are_counted(tmp_path):
    words = [("O", None), ("DIVERS", None), ("", None), ("NONE", None), ("FEMALE", None), ("O", "M")]
    studies = []
    for number, (word, known) in enumerate(words):
        image = StudyImage(f"i{number}", dicom(tmp_path / f"{number}.dcm", PatientSex=word))
        studies.append(Study(f"s{number}", "p", (image,), split="train", sex=known))
    manifest = prepare_studies(studies, tmp_path / "store", options=Options(size=16))
    assert manifest["flags"] == {"sex of the header not known": 2}
    assert [row["row"] for row in manifest["flagged_rows"]] == ["i0", "i1"]
    assert Store(tmp_path / "store").table("train")["sex"] == [None, None, None, None, "F", "M"]


def test_a_study_without_patient_stands_for_one(tmp_path):
    row = rows(tmp_path, [study(1, patient_id=None)])[0]
    assert (row["patient"], row["flags"]) == ("s1", ["without patient id, so a patient each"])


def test_only_wanted_views_are_kept(tmp_path):
    studies = [
        study(number, image={"view": view}) for number, view in enumerate(("PA", "frontal", "lateral", "unknown"))
    ]
    manifest = prepare_studies(studies, tmp_path / "store", options=Options(size=16, views=("PA", "AP")))
    assert manifest["rows"] == {"train": 2}  # "frontal" is PA or AP
    assert manifest["dropped"] == {"view lateral is not wanted": 1, "view unknown is not wanted": 1}
    assert manifest["records_read"] == 4
    assert len(Store(tmp_path / "store", ["PA", "AP"]).table("train")) == 2
    assert len(Store(tmp_path / "store", ["PA"]).table("train")) == 1
    assert [wanted_views(views) for views in (["frontal", "lateral"], ["PA", "frontal"])] == [
        ("frontal", "lateral", "PA", "AP"),
        ("PA", "frontal"),
    ]


def test_words_for_unknown_views_are_counted_and_named(tmp_path):
    words = ("frontale", "frontale", "seitlich", "Unknown")
    studies = [study(number, image={"source_view": word}) for number, word in enumerate(words)]
    manifest = prepare_studies(studies, tmp_path / "store", options=Options(size=16))
    assert manifest["views_not_known"] == {"frontale": 2, "seitlich": 1}
    said = summary(tmp_path / "store", manifest)
    assert "  noticed: 3 images whose view is not known, such as 'frontale'" in said
    with pytest.raises(IgclError, match=r"view unknown is not wanted \(4, such as i0: 'frontale'\)"):
        prepare_studies(studies, tmp_path / "none", options=Options(size=16, views=("lateral",)))


def test_labels_get_other_names_on_demand(tmp_path):
    options = Options(size=16, rename_labels={"Effusion": "Pleural Effusion"})
    regions = {"boxes": (Box("Effusion", 1, 1, 9, 9),), "masks": {"Effusion": np.ones((20, 30), bool)}}
    studies = [study(1, labels={"Effusion": 1.0, "Mass": 0.0}, image=regions)]
    row = rows(tmp_path, studies, labels=["Effusion", "Mass"], options=options, boxes=True, masks=True)[0]
    assert row["labels"] == {"Pleural Effusion": 1.0, "Mass": 0.0}
    assert row["boxes"]["label"] == row["masks"]["label"] == ["Pleural Effusion"]
    for names, message in (({"Edema": "A"}, "no label 'Edema'"), ({"Effusion": "Mass"}, "have the same name")):
        with pytest.raises(IgclError, match=message):
            prepare_studies([], tmp_path / "x", labels=["Effusion", "Mass"], options=Options(rename_labels=names))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "--size is 0, not 1 to 8192"),
        ({"quality": 101}, "--quality is 101, not 1 to 100"),
        ({"fit": "stretch"}, "--fit: 'stretch' is not one of letterbox, crop, authors"),
        ({"views": ("XY",)}, "--views: 'XY' is not one of PA, AP"),
        ({"on_missing_report": "shrug"}, "--on-missing-report: 'shrug' is not one of keep-image, drop, error"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(IgclError, match=message):
        Options(**options)
