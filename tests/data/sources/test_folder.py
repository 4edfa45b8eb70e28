import json
import os

import numpy as np
import pytest

from igcl_lightning.cli import main
from igcl_lightning.data.sources.folder import read_folder
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from igcl_lightning.reports.files import walk_folders
from image_files import dicom
from source_trees import write_image


def write_dicom(path, **attributes):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dicom(np.arange(64, dtype=np.uint8).reshape(8, 8), **attributes))


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "images"
    for name in ("p1/a.png", "p1/b.jpg", "p2/deep/er/c.TIF", "p2/d.bmp", "p2/e.webp", "p2/f.jpeg"):
        write_image(root / name)
    (root / "p1" / "a.txt").write_text("FINDINGS: Clear lungs.")
    (root / "p1" / "readme.txt").write_text("not a report")
    (root / "p2" / "notes.csv").write_text("no image")
    return root


def by_id(source):
    return {study.study_id: study for study in source.items()}


def test_every_image_at_any_depth_is_a_study(root):
    source = read_folder(root)
    studies = by_id(source)
    assert list(studies) == ["p1/a.png", "p1/b.jpg", "p2/d.bmp", "p2/deep/er/c.TIF", "p2/e.webp", "p2/f.jpeg"]
    assert [study.images[0].image_id for study in studies.values()] == list(studies)
    assert studies["p2/deep/er/c.TIF"].images[0].source == root / "p2/deep/er/c.TIF"
    assert (source.total, source.labels, studies["p1/a.png"].split) == (6, (), None)


def test_a_text_of_the_same_name_is_the_report(root):
    (root / "1.2.840.7.txt").write_text("Mass.")
    write_dicom(root / "1.2.840.7")
    studies = by_id(read_folder(root))
    assert studies["p1/a.png"].report == root / "p1" / "a.txt"
    assert studies["1.2.840.7"].report == root / "1.2.840.7.txt"
    assert studies["p1/b.jpg"].report == {}
    assert read_folder(root).counts["texts without image"] == 1


def test_texts_are_found_beside_their_images_with_a_suffix_in_any_case(root, capsys):
    (root / "p1" / "b.TXT").write_text("Mass.")
    (root / "p1" / "a.TXT").write_text("Of a file system that tells the two apart.")
    studies = by_id(source := read_folder(root))
    assert [studies[f"p1/{name}"].report.name for name in ("a.png", "b.jpg")] == ["a.txt", "b.TXT"]
    assert source.counts["texts without image"] == 1
    assert not capsys.readouterr().err
    for name in ("a.txt", "a.TXT", "b.TXT"):
        (root / "p1" / name).unlink()
    read_folder(root)
    assert "no report: a text must lie beside its image and have its name" in capsys.readouterr().err


def test_a_name_that_is_no_utf_8_is_written_out(root, tmp_path, capsys):
    """As files from an old Windows share have them: images, reports, folders and broken images."""
    folder = root / os.fsdecode(b"R\xf6ntgen")
    for name in (b"M\xfcller.png", b"M\xe9ller.png"):
        write_image(folder / os.fsdecode(name))
    (folder / os.fsdecode(b"M\xe9ller.txt")).write_text("Mass.")
    (folder / os.fsdecode(b"broken\xe9.png")).write_bytes(b"broken")
    (folder / os.fsdecode(b"broken\xe9.txt")).mkdir()
    assert not main(["prepare", "folder", "--root", str(root), "--out", str(tmp_path / "store"), "--size", "16"])
    store = Store(tmp_path / "store")
    rows = {row["row"]: row for split in store.splits for row in store.table(split)}
    assert r"R\xf6ntgen/M\xfcller.png" in rows
    assert rows[r"R\xf6ntgen/M\xe9ller.png"]["report"]["report"] == "Mass."
    manifest = json.loads((tmp_path / "store" / "manifest.json").read_bytes())
    assert manifest["dropped"] == {"image not readable": 1}
    assert by_id(read_folder(root, patient_pattern="(.+?)/"))[r"R\xf6ntgen/M\xfcller.png"].patient_id == r"R\xf6ntgen"


def test_the_pattern_finds_the_patient_in_the_path(root):
    source = read_folder(root, patient_pattern=r"^(p\d+)/")
    assert [study.patient_id for study in source.items()] == ["p1", "p1", "p2", "p2", "p2", "p2"]
    assert source.settings == {"patient_pattern": r"^(p\d+)/"}
    assert {study.patient_id for study in read_folder(root).items()} == {None}


def test_files_without_suffix_are_images_where_they_look_like_dicom(root):
    for name in ("IM0001", "1.2.840.99", "DICOMDIR"):
        write_dicom(root / "disc" / name)
    (root / "disc" / "LICENSE").write_text("not an image")
    (root / "disc" / "short").write_bytes(b"")
    assert [name for name in by_id(read_folder(root)) if name.startswith("disc")] == ["disc/1.2.840.99", "disc/IM0001"]


@pytest.mark.parametrize(
    "name", [".hidden.png", "._a.png", ".cache/a.png", "__MACOSX/a.png", "thumbs/a.png", "p1/Thumbs.png"]
)
def test_hidden_files_and_small_copies_are_left_out(root, name):
    before = list(by_id(read_folder(root)))
    write_image(root / name)
    assert list(by_id(read_folder(root))) == before


def test_links_in_a_circle_end(root):
    before = list(by_id(read_folder(root)))
    (root / "p1" / "up").symlink_to(root)
    (root / "p2" / "p1").symlink_to(root / "p2")
    assert list(by_id(read_folder(root))) == before


def test_links_to_one_image_are_counted(root):
    for name in ("p1/z.png", "p2/z.png"):
        (root / name).symlink_to(root / "p1" / "a.png")
    source = read_folder(root)
    assert (source.total, source.counts["images that are links to an earlier one"]) == (8, 2)


def test_linked_folders_are_read_once(root, tmp_path):
    write_image(tmp_path / "elsewhere" / "x.png")
    (root / "first").symlink_to(tmp_path / "elsewhere")
    (root / "second").symlink_to(tmp_path / "elsewhere")
    assert [name for name in by_id(read_folder(root)) if name.endswith("x.png")] == ["first/x.png"]


def test_a_pipe_is_no_image(root):
    os.mkfifo(root / "pipe")
    assert "pipe" not in by_id(read_folder(root))


def test_a_folder_that_cannot_be_read_is_named(root, monkeypatch):
    scan = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(IgclError, match="p2/deep: permission denied"):
        list(walk_folders(root))
    source = read_folder(root)
    assert source.counts["folders that cannot be read"] == 1
    assert not any("deep" in name for name in by_id(source))


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", r"--patient-pattern '\(': not a regular expression"),
        ("p1", r"--patient-pattern 'p1': put the part that names the patient in parentheses"),
        ("(p1)/", r"images: --patient-pattern '\(p1\)/' finds no patient in 'p2/d.bmp'"),
        ("(x*)", r"finds no patient in 'p1/a.png'"),
    ],
)
def test_a_wrong_pattern_is_named(root, pattern, message):
    with pytest.raises(IgclError, match=message) as error:
        read_folder(root, patient_pattern=pattern)
    assert "\n" not in str(error.value)


def test_a_folder_without_images_is_named(tmp_path):
    with pytest.raises(IgclError, match=r"contains no images \(.png, .jpg, .*, or DICOM files without suffix\)"):
        read_folder(tmp_path)
    with pytest.raises(IgclError, match="--root .*gone: no such folder"):
        read_folder(tmp_path / "gone")


def test_a_store_takes_the_patient_from_the_header(root, tmp_path):
    for name in ("disc/a.dcm", "disc/b"):
        write_dicom(root / name, PatientID="of the header", PatientAge="033Y", ViewPosition="LL")
    for name, patient in (("c", "NA"), ("d", "NA"), ("e", "12.0"), ("f", "12")):
        write_dicom(root / "disc" / f"{name}.dcm", PatientID=patient)
    (root / "p1" / "b.jpg").write_bytes(b"broken")
    assert not main(["prepare", "folder", "--root", str(root), "--out", str(tmp_path / "store"), "--size", "16"])
    manifest = json.loads((tmp_path / "store" / "manifest.json").read_bytes())
    assert sum(manifest["rows"].values()) == 11
    assert manifest["dropped"] == {"image not readable": 1}
    assert manifest["flags"]["without patient id, so a patient each"] == 7, "5 pictures and 2 of patient NA"
    store = Store(tmp_path / "store")
    rows = {row["row"]: row for split in store.splits for row in store.table(split)}
    assert {rows["disc/a.dcm"]["patient"], rows["disc/b"]["patient"]} == {"of the header"}
    assert (rows["disc/b"]["view"], rows["disc/b"]["age"]) == ("lateral", 33.0)
    assert [rows[f"disc/{name}.dcm"]["patient"] for name in "cdef"] == ["disc/c.dcm", "disc/d.dcm", "12", "12"]
    assert rows["p1/a.png"]["patient"] == "p1/a.png"
    assert rows["p1/a.png"]["report"]["report"] == "FINDINGS: Clear lungs."
