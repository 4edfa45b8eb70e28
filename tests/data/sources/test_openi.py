import json
import tarfile
from collections import Counter

import pytest

from igcl_lightning.cli import main
from igcl_lightning.data.sources.openi import LABELS, read_openi
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.radgraph_files import write_radgraph
from igcl_lightning.graphs.schema import Entity, ReportGraph
from source_trees import write_image

XML = """\
<?xml version="1.0" encoding="utf-8"?>
<eCitation>
  <uId id="{id}"/>
  <MedlineCitation><Article><Abstract>
    <AbstractText Label="COMPARISON">None.</AbstractText>
    <AbstractText Label="INDICATION"/>
    <AbstractText Label="FINDINGS">{findings}</AbstractText>
    <AbstractText Label="IMPRESSION">{impression}</AbstractText>
  </Abstract></Article></MedlineCitation>
  <MeSH>{mesh}</MeSH>
  {images}
</eCitation>
"""
REPORTS = {
    # findings, impression, codes, caption, images
    "CXR1": ("Clear lungs.", "Normal.", ("normal",), "PA and Lateral", ("1_IM-9001-3001", "1_IM-9001-4001")),
    "CXR2": ("Effusion.", "", ("Pericardial Effusion/mild",), "Chest AP", ("IM-9652-1001",)),
    "CXR10": ("", "", ("No Indexing",), "Two views", ("IM-9002-1001", "IM-9002-2001")),
    "CXR11": ("", "Stable.", (), "", ()),
}
PROJECTIONS = """\
projection,filename,uid
Lateral,1_IM-9001-3001.dcm.png,1
Frontal,1_IM-9001-4001.dcm.png,1
Frontal,2_IM-9652-1001.dcm.png,2
Frontal,10_IM-9002-1001.dcm.png,10
"""
MASS = ReportGraph("Mass .", (Entity("Mass", "OBS-DP", 0, 0),))


def write_xml(folder):
    folder.mkdir(parents=True)
    for name, (findings, impression, mesh, caption, images) in REPORTS.items():
        codes = "".join(f"<major>{code}</major>" for code in mesh)
        pictures = "".join(f'<parentImage id="{name}_{x}"><caption>{caption}</caption></parentImage>' for x in images)
        content = XML.format(id=name, findings=findings, impression=impression, mesh=codes, images=pictures)
        (folder / f"{name.removeprefix('CXR')}.xml").write_text(content)


def write_gold(root):
    positive = {"CXR1": "normal", "CXR2": "Effusion", "CXR99": "Mass"}
    rows = [",".join([name, *(str(int(label == positive[name])) for label in LABELS)]) for name in positive]
    (root / "openi_gld_std14.csv").write_text("\n".join([",".join(["filename", *LABELS]), *rows]))


@pytest.fixture
def library(tmp_path):
    """What the National Library of Medicine publishes, with the tables that others made for it."""
    root = tmp_path / "openi"
    write_xml(root / "ecgen-radiology")
    (root / "indiana_projections.csv").write_text(PROJECTIONS)
    write_gold(root)
    for name in ("CXR1_1_IM-9001-3001", "CXR2_IM-9652-1001", "CXR77_IM-9001-1001"):
        write_image(root / "NLMCXR_png" / f"{name}.png")
    return root


@pytest.fixture
def kaggle(tmp_path):
    root = tmp_path / "kaggle"
    write_image(root / "images" / "images_normalized" / "1_IM-9001-4001.dcm.png")
    (root / "indiana_projections.csv").write_text(PROJECTIONS)
    lines = ["uid,MeSH,Problems,image,indication,comparison,findings,impression"]
    for name, (findings, impression, mesh, caption, images) in reversed(REPORTS.items()):
        if images:
            uid = name.removeprefix("CXR")
            lines.append(f"{uid},{';'.join(mesh)},,{caption},,None.,{findings},{impression}")
    (root / "indiana_reports.csv").write_text("\n".join(lines))
    return root


def by_id(source):
    return {study.study_id: study for study in source.items()}


def views(study):
    return {image.image_id: (image.view, image.source_view) for image in study.images}


def test_one_study_a_report_in_the_order_of_their_numbers(library):
    source = read_openi(library)
    studies = by_id(source)
    assert list(studies) == ["CXR1", "CXR2", "CXR10", "CXR11"]
    assert [study.patient_id for study in studies.values()] == list(studies)
    assert studies["CXR1"].report == {"comparison": "None.", "findings": "Clear lungs.", "impression": "Normal."}
    assert studies["CXR10"].report == {"comparison": "None."}
    assert studies["CXR2"].extra == {"mesh": "Pericardial Effusion/mild"}
    assert {study.split for study in studies.values()} == {None}
    assert source.total == 4


def test_images_are_found_by_their_id_and_missing_ones_keep_their_place(library):
    study = by_id(read_openi(library))["CXR1"]
    assert [image.source for image in study.images] == [
        library / "NLMCXR_png" / "CXR1_1_IM-9001-3001.png",
        library / "images" / "CXR1_1_IM-9001-4001.png",
    ]


def test_views_follow_the_projections_and_the_name_of_the_examination(library):
    studies = by_id(read_openi(library))
    assert views(studies["CXR1"]) == {
        "CXR1_1_IM-9001-3001": ("lateral", "Lateral"),
        "CXR1_1_IM-9001-4001": ("PA", "Frontal"),
    }
    assert views(studies["CXR2"]) == {"CXR2_IM-9652-1001": ("AP", "Frontal")}
    assert views(studies["CXR10"]) == {
        "CXR10_IM-9002-1001": ("frontal", "Frontal"),
        "CXR10_IM-9002-2001": ("unknown", None),
    }


def test_without_projections_no_view_is_guessed(library):
    (library / "indiana_projections.csv").unlink()
    assert {view for study in read_openi(library).items() for view in views(study).values()} == {("unknown", None)}


def test_labels_are_those_of_the_gold_table_and_not_known_where_it_has_no_row(library):
    source = read_openi(library)
    studies = by_id(source)
    assert source.labels == LABELS
    assert [name for name, value in studies["CXR1"].labels.items() if value == 1] == ["normal"]
    assert studies["CXR1"].labels["Hernia"] == 0.0
    assert studies["CXR10"].labels == {}


def test_without_the_gold_table_there_are_no_labels(library):
    (library / "openi_gld_std14.csv").unlink()
    source = read_openi(library)
    assert source.labels == ()
    assert "reports without labels" not in source.counts


def test_what_is_lacking_is_counted(library):
    assert read_openi(library).counts == {
        "reports without findings": 2,
        "reports without impression": 2,
        "reports without text": 1,
        "reports without labels": 2,
        "labels without report": 1,
        "images without row": 1,
        "frontal images, PA or AP not known": 1,
        "Effusion that is pericardial": 1,
    }


def test_an_archive_gives_the_same_studies_as_its_folder(library, tmp_path):
    studies = by_id(read_openi(library))
    with tarfile.open(library / "NLMCXR_reports.tgz", "w:gz") as archive:
        archive.add(library / "ecgen-radiology", "ecgen-radiology")
    (library / "ecgen-radiology").rename(tmp_path / "elsewhere")
    source = read_openi(library)
    assert library / "NLMCXR_reports.tgz" in source.inputs
    for name, study in by_id(source).items():
        assert (study.report, study.extra, views(study)) == (
            studies[name].report,
            studies[name].extra,
            views(studies[name]),
        )


def test_the_hash_of_a_folder_follows_its_reports(library):
    before = read_openi(library).settings["reports_sha256"]
    assert read_openi(library).settings["reports_sha256"] == before
    (library / "ecgen-radiology" / "2.xml").unlink()
    assert read_openi(library).settings["reports_sha256"] != before


def test_the_tables_on_kaggle_give_the_same_ids(library, kaggle):
    studies = by_id(read_openi(library))
    found = by_id(read_openi(kaggle))
    assert list(found) == ["CXR1", "CXR2", "CXR10"]
    for name, study in found.items():
        assert (study.report, study.extra) == (studies[name].report, studies[name].extra)
        assert views(study).items() <= views(studies[name]).items()
    images = {image.image_id: image.source for image in found["CXR1"].images}
    assert images["CXR1_1_IM-9001-4001"] == kaggle / "images" / "images_normalized" / "1_IM-9001-4001.dcm.png"


def test_r2gen_names_splits(tmp_path):
    write_image(tmp_path / "images" / "CXR5_IM-1" / "0.png")
    examination = {"id": "CXR5_IM-1", "report": "Clear.", "image_path": ["CXR5_IM-1/0.png", "CXR5_IM-1/1.png"]}
    other = {"id": "CXR7_IM-2", "report": "Mass.", "image_path": ["CXR7_IM-2/0.png"]}
    (tmp_path / "annotation.json").write_text(json.dumps({"val": [examination], "train": [], "test": [other]}))
    first, second = read_openi(tmp_path).items()
    assert (first.split, second.split) == ("valid", "test")
    assert first.report == {"report": "Clear."}
    assert [(image.image_id, image.source) for image in first.images] == [
        (f"CXR5_IM-1/{number}", tmp_path / "images" / "CXR5_IM-1" / f"{number}.png") for number in (0, 1)
    ]


def test_graphs_are_found_by_id_and_by_text(library, tmp_path):
    write_radgraph({"CXR2": MASS, "x": ReportGraph("clear lungs. normal.")}, tmp_path / "graphs.json")
    source = read_openi(library, graphs=tmp_path / "graphs.json")
    assert [study.graph for study in source.items()] == [ReportGraph("clear lungs. normal."), MASS, None, None]
    assert source.settings["graphs"]["rows"] == {"found_by_key": 1, "found_by_text": 1, "not_found": 2}
    assert tmp_path / "graphs.json" in source.inputs


@pytest.mark.parametrize(
    ("codes", "count"),
    [("Pericardial Effusion/mild", 1), ("Pericardial Effusion;Pleural Effusion/left", 0), ("Pleural Effusion", 0)],
)
def test_an_effusion_is_pericardial_alone_where_no_pleural_one_is_coded(kaggle, codes, count):
    write_gold(kaggle)
    table = kaggle / "indiana_reports.csv"
    table.write_text(table.read_text().replace("Pericardial Effusion/mild", codes))
    assert read_openi(kaggle).counts["Effusion that is pericardial"] == count


def test_tables_that_do_not_belong_together_are_refused(kaggle):
    write_gold(kaggle)
    gold = kaggle / "openi_gld_std14.csv"
    content = gold.read_text()
    gold.write_text(content.replace("CXR", "IM"))
    with pytest.raises(
        IgclError, match="std14.csv: none of its ids, such as 'IM1', is in this data set, with ids such as 'C"
    ):
        read_openi(kaggle)
    gold.write_text(content)
    table = kaggle / "indiana_reports.csv"
    header, *rows = table.read_text().splitlines()
    expected = [study.patient_id for study in read_openi(kaggle).items()]
    table.write_text("\n".join([header, *(row.replace(",", ".0,", 1) for row in rows)]))
    assert [study.patient_id for study in read_openi(kaggle).items()] == expected
    table.write_text("\n".join([header, *(row.replace(",", "x,", 1) for row in rows)]))
    with pytest.raises(IgclError, match="indiana_projections.csv: none of its ids, such as 'CXR1', is in this"):
        read_openi(kaggle)


def test_the_images_of_r2gen_lie_beside_its_annotation(tmp_path):
    folder = tmp_path / "iu_xray"
    image = write_image(folder / "images" / "CXR5_IM-1" / "0.png")
    examination = {"id": "CXR5_IM-1", "report": "Clear.", "image_path": ["CXR5_IM-1/0.png"]}
    (folder / "annotation.json").write_text(json.dumps({"train": [examination]}))
    (study,) = read_openi(tmp_path).items()
    assert study.images[0].source == image
    (folder / "annotation.json").write_text(json.dumps({"fold": [examination]}))
    with pytest.raises(IgclError, match="annotation.json: split 'fold' is not one of train, valid, test$"):
        read_openi(tmp_path)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("ecgen-radiology/2.xml", '"CXR2"', '"CXR1"', r"2.xml: report CXR1 is in an earlier file too"),
        ("ecgen-radiology/2.xml", "</eCitation>", "", r"2.xml: not XML"),
        ("ecgen-radiology/2.xml", "uId", "uid", r"2.xml: no <uId id=...>"),
        ("indiana_projections.csv", "projection,", "view,", r"projections.csv: no column 'projection'"),
        ("indiana_projections.csv", "1_IM-9001-3001", "1_IM-9001-4001", r"row 3: column 'filename': .* row 2 already"),
        ("openi_gld_std14.csv", "CXR2,", ",", r"std14.csv row 3: column 'filename' is empty"),
        ("openi_gld_std14.csv", "CXR1,0", "CXR1,2", r"std14.csv row 2: column 'Atelectasis' is not 0 or 1"),
        ("openi_gld_std14.csv", "CXR1,0", "CXR1,x", r"std14.csv row 2, column 'Atelectasis': 'x' is not a number"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(library, file, old, new, message):
    path = library / file
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))
    with pytest.raises(IgclError, match=message) as error:
        read_openi(library)
    assert "\n" not in str(error.value)


def test_a_folder_without_reports_or_images_is_named(tmp_path, library):
    with pytest.raises(IgclError, match=r"no reports of Open-i; looked for ecgen-radiology/\*.xml"):
        read_openi(tmp_path / "openi" / "NLMCXR_png")
    with pytest.raises(IgclError, match="ecgen-radiology: contains no images"):
        read_openi(library, images=library / "ecgen-radiology")


def test_a_json_file_of_another_kind_is_named(tmp_path):
    (tmp_path / "annotation.json").write_text('{"train": [{"id": 1}]}')
    with pytest.raises(IgclError, match="annotation.json: not R2Gen's annotation of IU X-ray"):
        read_openi(tmp_path)


def test_a_damaged_archive_is_named(tmp_path):
    (tmp_path / "NLMCXR_reports.tgz").write_bytes(b"no archive at all" * 100)
    with pytest.raises(IgclError, match="NLMCXR_reports.tgz: damaged archive"):
        read_openi(tmp_path)


def test_a_store_is_prepared(library, tmp_path):
    command = ["prepare", "openi", "--root", str(library), "--out", str(tmp_path / "store"), "--size", "32"]
    assert not main(command)
    manifest = json.loads((tmp_path / "store" / "manifest.json").read_bytes())
    assert sum(manifest["rows"].values()) == 2
    assert manifest["dropped"] == {"image missing": 3, "no image": 1}
    assert manifest["source_counts"]["Effusion that is pericardial"] == 1


@pytest.mark.data
def test_real_reports_have_the_counts_they_should_have(data_folder):
    source = read_openi(data_folder / "openi")
    studies = list(source.items())
    images = [image for study in studies for image in study.images]
    assert (len(studies), len({image.image_id for image in images})) == (3184, 5967)
    assert sum(not study.images for study in studies) == 104
    assert sum(image.source.exists() for image in images) == 4
    assert Counter(image.source_view for image in images) == {"Frontal": 3056, "Lateral": 2907, None: 4}
    assert source.counts["reports without findings"] == 409
    assert source.counts["reports without impression"] == 28
    assert source.counts["reports without text"] == 24
    assert source.counts["Effusion that is pericardial"] == 4
    positives = [sum(study.labels.get(label) == 1 for study in studies) for label in LABELS]
    assert positives == [258, 269, 121, 43, 12, 86, 35, 15, 22, 31, 73, 18, 40, 0, 1097]


@pytest.mark.data
def test_the_real_folder_is_prepared_as_it_is(data_folder, tmp_path):
    root, store = data_folder / "openi", tmp_path / "store"
    assert not main(["prepare", "openi", "--root", str(root), "--out", str(store), "--size", "64", "--jobs", "1"])
    manifest = json.loads((store / "manifest.json").read_bytes())
    assert (manifest["dropped"], sum(manifest["rows"].values())) == ({"image missing": 5963, "no image": 104}, 4)
