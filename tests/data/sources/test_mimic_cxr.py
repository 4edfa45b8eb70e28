import pickle
import shutil
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from igcl_lightning.cli import main
from igcl_lightning.data.sources.mimic_cxr import LABELS, read_mimic_cxr
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.radgraph_files import write_radgraph
from igcl_lightning.graphs.schema import Entity, ReportGraph
from source_trees import MIMIC_LABELS, dicom_id, mimic_cxr_tree, mimic_sections

EFFUSION = ReportGraph("Effusion .", (Entity("Effusion", "OBS-DP", 0, 0),))
SPLIT, METADATA, CHEXPERT = (f"mimic-cxr-2.0.0-{name}.csv" for name in ("split", "metadata", "chexpert"))


@pytest.fixture
def root(tmp_path):
    return mimic_cxr_tree(tmp_path / "mimic-cxr-jpg", gzipped=False)


def studies(root, **options):
    return {study.study_id: study for study in read_mimic_cxr(root, **options).items()}


def edit(path, change):
    """Change a table of the tree."""
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    change(frame).to_csv(path, index=False)


def test_images_are_grouped_by_study_in_the_order_of_their_ids(root):
    source = read_mimic_cxr(root)
    found = list(source.items())
    assert [study.study_id for study in found] == [f"5000000{number}" for number in range(1, 6)]
    assert source.total == 5
    both = found[1]
    assert both.patient_id == "10000001"
    assert [image.image_id for image in both.images] == [dicom_id("a"), dicom_id("b")]
    folder = root / "files/p10/p10000001/s50000002"
    assert [image.source for image in both.images] == [folder / f"{dicom_id(x)}.jpg" for x in "ab"]
    assert all(image.source.is_file() for study in found for image in study.images)


def test_the_official_split_is_kept(root):
    assert {name: study.split for name, study in studies(root).items()} == {
        "50000001": "train",
        "50000002": "train",
        "50000003": "valid",
        "50000004": "test",
        "50000005": "test",
    }


def test_views_fall_back_on_the_meaning_of_their_code(root):
    views = {
        image.image_id[0]: (image.view, image.source_view) for study in studies(root).values() for image in study.images
    }
    assert views == {
        "a": ("PA", "PA"),
        "b": ("lateral", "LATERAL"),
        "c": ("AP", "antero-posterior"),
        "d": ("lateral", "LL"),
        "e": ("AP", "AP"),
        "f": ("unknown", None),
    }


def test_labels_are_read_by_name_and_blank_is_not_absent(root):
    source = read_mimic_cxr(root)
    assert source.labels == tuple(sorted(source.labels)) == LABELS
    labels = {study.study_id: study.labels for study in source.items()}
    for study, values in MIMIC_LABELS.items():
        expected = {name: None if values.get(name) == -1 else values.get(name) for name in LABELS}
        assert labels[str(study)] == expected
    assert labels["50000005"] == dict.fromkeys(LABELS)
    assert source.counts["studies without labels"] == 1


def test_the_order_of_columns_does_not_count(root):
    before = {name: study.labels for name, study in studies(root).items()}
    edit(root / CHEXPERT, lambda frame: frame[frame.columns[::-1]].iloc[::-1])
    edit(root / SPLIT, lambda frame: frame[frame.columns[::-1]].iloc[::-1])
    assert {name: study.labels for name, study in studies(root).items()} == before


def test_policies_are_applied_and_described(root):
    source = read_mimic_cxr(root, uncertain="per-label", blank="no-finding", labels="negbio")
    labels = {study.study_id: study.labels for study in source.items()}
    assert (labels["50000002"]["Edema"], labels["50000002"]["Cardiomegaly"]) == (1.0, 0.0)
    assert (labels["50000001"]["Edema"], labels["50000001"]["Support Devices"]) == (0.0, None)
    assert source.settings["labels"] == "negbio"
    assert source.settings["blank"] == "no-finding"
    assert source.settings["uncertain_by_label"]["Edema"] == "positive"


def test_labels_of_the_radiologists(root):
    names = [name for name in LABELS if name not in ("No Finding", "Lung Opacity")]
    frame = pd.DataFrame({"study_id": [50000004], **{name: [0] for name in names}, "Airspace Opacity": [1]})
    frame.to_csv(root / "mimic-cxr-2.1.0-test-set-labeled.csv", index=False)
    source = read_mimic_cxr(root, labels="radiologists")
    assert source.labels == tuple(name for name in LABELS if name != "No Finding")
    labels = {study.study_id: study.labels for study in source.items()}
    assert labels["50000004"]["Lung Opacity"] == 1.0
    assert labels["50000004"]["Edema"] == 0.0
    assert source.counts["studies without labels"] == 4


def test_labels_may_be_left_out(root):
    (root / CHEXPERT).unlink()
    assert read_mimic_cxr(root, labels="none").labels == ()
    with pytest.raises(IgclError, match=r"no table of chexpert labels; looked for mimic-cxr-2.\*-chexpert.csv"):
        read_mimic_cxr(root)


def test_reports_lie_beside_the_images_or_in_a_folder_of_their_own(root, tmp_path):
    text = "p10/p10000001/s50000001.txt"
    assert studies(root)["50000001"].report == root / "files" / text
    (root / "mimic-cxr-reports/files/p10").mkdir(parents=True)
    assert studies(root)["50000001"].report == root / "mimic-cxr-reports/files" / text
    (tmp_path / "notes/p10").mkdir(parents=True)
    assert studies(root, reports=tmp_path / "notes")["50000001"].report == tmp_path / "notes" / text


def zipped_reports(root, path, **more):
    """Move the reports of the tree to an archive as PhysioNet has it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for text in sorted(root.glob("files/p1?/*/*.txt")):
            archive.write(text, text.relative_to(root))
            text.unlink()
        for name, content in more.items():
            archive.writestr(f"files/p10/p10000001/{name}.txt", content)
    return path


@pytest.mark.parametrize("place", ["mimic-cxr-jpg", ".", "mimic-cxr/2.0.0"])
@pytest.mark.parametrize("unzipped", [False, True])
def test_reports_are_found_zipped_and_beside_the_root(root, tmp_path, monkeypatch, place, unzipped):
    expected = {name: study.report.read_text() for name, study in studies(root).items() if study.report.is_file()}
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    archive = zipped_reports(root, tmp_path / place / "mimic-cxr-reports.zip")
    if unzipped:
        zipfile.ZipFile(archive).extractall(archive.with_suffix(""))
        archive.unlink()
        found = {name: study.report.read_text() for name, study in studies(root).items() if study.report.is_file()}
    else:
        monkeypatch.chdir(root)
        found = {name: study.report["report"] for name, study in studies(Path()).items() if study.report}
        assert archive in read_mimic_cxr(root).inputs
    assert found == expected
    assert len(found) == 4


def test_an_archive_of_reports_is_read_where_it_is(root, tmp_path):
    archive = zipped_reports(root, tmp_path / "texts.zip", s50000005=b"\xff\xfe\x00\xd8", s59999999="Another patient.")
    source = read_mimic_cxr(root, reports=archive)
    reports = {study.study_id: study.report for study in source.items()}
    assert reports["50000003"] == {"report": "Pneumonia in the right lower lobe."}
    assert reports["50000005"] == {}
    assert source.counts["reports in the archive that cannot be read"] == 1
    assert source.counts["reports without images"] == 1
    (root / "mimic-cxr-reports").mkdir()  # of an unzip that was stopped
    with pytest.raises(IgclError, match="mimic-cxr-reports: no folder of reports"):
        read_mimic_cxr(root)
    shutil.copy(archive, tmp_path / "mimic-cxr-reports.zip")
    assert {study.study_id: study.report for study in read_mimic_cxr(root).items()} == reports
    archive.write_bytes(archive.read_bytes()[:200])
    with pytest.raises(IgclError, match=r"texts.zip: not a readable zip archive .*; unzip it"):
        read_mimic_cxr(root, reports=archive)
    with pytest.raises(IgclError, match=r"--reports .*texts.tar.gz: unpack it and give the folder"):
        read_mimic_cxr(root, reports=archive.with_name("texts.tar.gz"))
    with zipfile.ZipFile(archive, "w") as empty:
        empty.writestr("README.txt", "none")
    with pytest.raises(IgclError, match=r"texts.zip: contains no report such as files/p10/p10000001/s50000001.txt"):
        read_mimic_cxr(root, reports=archive)


def test_a_store_without_a_report_is_an_error_unless_it_is_asked_for(root, tmp_path, capsys):
    for text in root.glob("files/p1?/*/*.txt"):
        text.unlink()
    command = ["prepare", "mimic-cxr", "--root", str(root), "--out", str(tmp_path / "store"), "--size", "16"]
    assert main(command) == 1
    said = capsys.readouterr().err
    assert "no report gives a graph (5 missing; the first: " in said
    assert "no such file); name their folder with --reports; --allow-no-graphs makes a store without graphs" in said
    assert not (tmp_path / "store.partial").exists()
    assert not main([*command, "--allow-no-graphs"])
    assert "  reports: none\n" in capsys.readouterr().out


def test_reports_may_be_a_table_of_sections(root, tmp_path):
    table = mimic_sections(tmp_path / "mimic_cxr_sectioned.csv")
    source = read_mimic_cxr(root, reports=table)
    reports = {study.study_id: study.report for study in source.items()}
    assert reports["50000001"] == {"findings": "The lungs are clear.", "impression": "Normal chest."}
    assert reports["50000002"]["comparison"] == "None."
    assert reports["50000003"] == {"report": "Pneumonia in the right lower lobe."}
    assert reports["50000004"] == {}
    assert source.counts["reports without images"] == 1
    assert table in source.inputs
    edit(table, lambda frame: frame.assign(study="p" + frame["study"]))
    with pytest.raises(IgclError, match="sectioned.csv: none of its ids, such as 'ps50000001', is in this data set"):
        read_mimic_cxr(root, reports=table)


def test_a_table_that_was_cut_off_is_refused(root):
    table = root / METADATA
    table.write_text(table.read_text().rsplit(",", 11)[0])
    with pytest.raises(IgclError, match="metadata.csv row 7: 1 cells, the header has 12; is the file cut off"):
        read_mimic_cxr(root)


def test_graphs_are_found_by_study(root, tmp_path):
    write_radgraph({"p10/p10000001/s50000002.txt": EFFUSION}, tmp_path / "graphs.json")
    source = read_mimic_cxr(root, graphs=tmp_path / "graphs.json")
    assert {study.study_id: study.graph for study in source.items() if study.graph} == {"50000002": EFFUSION}
    assert source.settings["graphs"]["rows"] == {"found_by_key": 1, "found_by_text": 0, "not_found": 4}
    write_radgraph({"p10/p10000001/s51111111.txt": EFFUSION}, tmp_path / "graphs.json")
    with pytest.raises(IgclError, match="no row finds its graph in graphs.json"):
        read_mimic_cxr(root, graphs=tmp_path / "graphs.json")


def test_dates_are_kept(root):
    source = read_mimic_cxr(root)
    assert source.extra == ("StudyDate", "StudyTime", "PerformedProcedureStepDescription")
    assert next(iter(source.items())).extra == {
        "StudyDate": "21800508",
        "StudyTime": "213014.5",
        "PerformedProcedureStepDescription": "CHEST",
    }


def test_without_metadata_views_are_unknown_and_it_is_counted(root):
    (root / METADATA).unlink()
    source = read_mimic_cxr(root)
    assert {image.view for study in source.items() for image in study.images} == {"unknown"}
    assert source.counts["images without metadata"] == 6


def test_rows_of_one_table_alone_are_counted(root):
    edit(root / METADATA, lambda frame: frame[frame["dicom_id"] != dicom_id("a")])
    edit(root / SPLIT, lambda frame: frame[frame["dicom_id"] != dicom_id("d")])
    source = read_mimic_cxr(root)
    assert source.counts["images without metadata"] == 1
    assert source.counts["metadata without split"] == 1
    assert source.counts["labels without images"] == 1


def test_a_part_of_the_data_without_validation_rows_lends_some(root):
    many = pd.DataFrame({"subject_id": range(13000000, 13000400), "study_id": range(51000000, 51000400)})
    many = many.assign(dicom_id=many["study_id"].astype(str), split="train")
    edit(root / SPLIT, lambda frame: pd.concat([frame[frame["split"] != "validate"], many.astype(str)]))
    splits = [study.split for study in read_mimic_cxr(root).items()]
    assert 20 < splits.count("valid") < 60
    assert splits.count("test") == 2


def test_gzipped_tables_and_the_folder_above_them(tmp_path):
    root = mimic_cxr_tree(tmp_path / "above" / "mimic-cxr-jpg-2.1.0")
    assert read_mimic_cxr(tmp_path / "above").total == 5
    other = tmp_path / "resized"
    (root / "files").rename(other)
    assert studies(root, images=other)["50000003"].images[0].source.is_relative_to(other / "p11")
    with pytest.raises(IgclError, match=r"no folder of images, files/p10 to files/p19; name it with --images"):
        read_mimic_cxr(root)


def test_a_source_travels_and_repeats(root):
    source = read_mimic_cxr(root)
    copy = pickle.loads(pickle.dumps(source))
    names = [study.study_id for study in source.items()]
    assert [study.study_id for study in copy.items()] == names == [study.study_id for study in source.items()]


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        (SPLIT, lambda f: f.head(0), "split.csv: contains no rows"),
        (SPLIT, lambda f: f.drop(columns="split"), "split.csv: no column 'split'"),
        (SPLIT, lambda f: f.replace("validate", "dunno"), "split.csv row 5: split 'dunno' is not one of"),
        (
            SPLIT,
            lambda f: f.replace(dicom_id("c"), dicom_id("a")),
            "split.csv row 4: column 'dicom_id': 'aaaaaaaa-.* in row 3",
        ),
        (
            SPLIT,
            lambda f: f.replace("50000005", "50000001"),
            "row 7: study_id '50000001' has subject_id '12000001', but",
        ),
        (
            SPLIT,
            lambda f: f.replace("12000001", "11000001"),
            "subject_id '11000001' has split 'test', but 'valid' in",
        ),
        (SPLIT, lambda f: f.replace("12000001", ""), "split.csv row 6: column 'subject_id' is empty"),
        (METADATA, lambda f: f.drop(columns="ViewPosition"), "metadata.csv: no column 'ViewPosition'"),
        (METADATA, lambda f: pd.concat([f, f.tail(1)]), "metadata.csv row 8: column 'dicom_id': .* in row 7 already"),
        (CHEXPERT, lambda f: f.drop(columns="Edema"), "chexpert.csv: no column 'Edema'"),
        (CHEXPERT, lambda f: f.replace("-1.0", "2"), "chexpert.csv row 3, column 'Cardiomegaly': '2' is not 1, 0, -1"),
        (
            METADATA,
            lambda f: f.assign(dicom_id="x" + f["dicom_id"]),
            "metadata.csv: none of its ids, such as 'xffffffff-.*', is in this data set, with ids such as 'cccccccc-",
        ),
        (
            CHEXPERT,
            lambda f: f.assign(study_id="s" + f["study_id"]),
            "chexpert.csv: none of its ids, such as 's50000001', is in this data set, with ids such as '50000001'",
        ),
        (
            CHEXPERT,
            lambda f: pd.concat([f, f]),
            "chexpert.csv row 6: column 'study_id': '50000001' is in row 2",
        ),
    ],
)
def test_what_is_wrong_with_a_table_is_one_line(root, table, change, message):
    edit(root / table, change)
    with pytest.raises(IgclError, match=message) as caught:
        read_mimic_cxr(root)
    assert "\n" not in str(caught.value)


def test_wrong_options_and_missing_files_are_named(root, tmp_path):
    with pytest.raises(IgclError, match="--labels: 'gold' is not one of chexpert, negbio, radiologists, none"):
        read_mimic_cxr(root, labels="gold")
    with pytest.raises(IgclError, match="--uncertain: 'maybe' is not one of"):
        read_mimic_cxr(root, uncertain="maybe")
    with pytest.raises(IgclError, match="sections.csv: no such file"):
        read_mimic_cxr(root, reports=tmp_path / "sections.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        IgclError,
        match="empty: no folder of reports, files/p10 .* and no mimic-cxr-reports.zip; name",
    ):
        read_mimic_cxr(root, reports=tmp_path / "empty")
    (root / SPLIT).unlink()
    with pytest.raises(IgclError, match="no table of the official split; looked for mimic-cxr-2"):
        read_mimic_cxr(root)


def test_the_command_line_makes_a_store(root, tmp_path, capsys):
    write_radgraph({"p10/p10000001/s50000002.txt": EFFUSION}, tmp_path / "graphs.json")
    image = next(root.glob("files/p12/p12000001/s50000004/*.jpg"))
    image.write_bytes(image.read_bytes()[:300])
    (root / "files/p11/p11000001/s50000003.txt").write_text("version https://git-lfs.github.com/spec/v1\noid")
    command = ["prepare", "mimic-cxr", "--root", str(root), "--out", str(tmp_path / "store"), "--size", "16"]
    assert not main([*command, "--jobs", "1", "--graphs", str(tmp_path / "graphs.json"), "--uncertain", "positive"])
    store = Store(tmp_path / "store")
    assert store.manifest["rows"] == {"train": 3, "valid": 1, "test": 1}
    assert store.manifest["dropped"] == {"image not readable": 1}
    assert store.manifest["dropped_rows"][0]["row"] == dicom_id("e")
    assert store.manifest["rows_by_report"] == {"present": 3, "Git-LFS pointer": 1, "none": 1}
    rows = {row["row"]: row for row in store.table("train")}
    assert rows[dicom_id("a")]["graph"]["text"] == EFFUSION.text
    assert rows[dicom_id("a")]["labels"]["Edema"] == 1.0
    assert "lungs" in rows[dicom_id("c")]["graph"]["tokens"]
    assert rows[dicom_id("a")]["StudyDate"] == "21800507"
    said = capsys.readouterr().out
    assert "noticed: 1 study without labels" in said
    assert "  reports: 3 found, 0 blank, 1 missing, 1 a Git-LFS pointer, 0 not English\n" in said
    assert "  graphs: 3 with entities, 2 without\n" in said


@pytest.mark.data
def test_tables_of_another_project(data_folder, tmp_path):
    fixtures = data_folder / "format_fixtures"
    for name in ("metadata", "negbio"):
        (tmp_path / f"mimic-cxr-2.0.0-{name}.csv").symlink_to(fixtures / f"SYNTHETIC_mimic-cxr-2.0.0-{name}.csv")
    ids = pd.read_csv(tmp_path / METADATA, dtype=str)[["dicom_id", "study_id", "subject_id"]]
    ids.assign(split="train").to_csv(tmp_path / SPLIT, index=False)
    (tmp_path / "files/p10").mkdir(parents=True)
    source = read_mimic_cxr(tmp_path, labels="negbio")
    views = [image.view for study in source.items() for image in study.images]
    assert (views.count("PA"), views.count("lateral"), len(views)) == (53, 47, 100)
    assert source.counts["studies without labels"] == source.counts["images without metadata"] == 0
