import errno
from pathlib import Path

import pytest

from igcl_lightning.data.sources.image_folder import ImageFolder
from igcl_lightning.errors import IgclError


def write(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_images_are_found_by_name_without_suffix_however_deep(tmp_path):
    write(tmp_path, "one.PNG", "notes.txt", "1.2.840.113.dcm")
    write(tmp_path / "b" / "c", "two.dicom", "one.jpg")
    folder = ImageFolder(tmp_path)
    assert folder.path("one.dcm") == tmp_path / "one.PNG"
    assert folder.path("two.dicom") == tmp_path / "b" / "c" / "two.dicom"
    assert folder.path("1.2.840.113.dcm") == tmp_path / "1.2.840.113.dcm"
    assert folder.noticed(["one.dcm"])["images without row"] == 2


def test_a_folder_that_cannot_be_read_is_counted(tmp_path, monkeypatch):
    write(tmp_path, "one.png")
    write(tmp_path / "lost+found", "two.png")
    real = Path.stat

    def stat(path, **how):
        if path.name == "lost+found":
            raise OSError(errno.ESTALE, "Stale file handle", str(path))
        return real(path, **how)

    monkeypatch.setattr(Path, "stat", stat)
    folder = ImageFolder(tmp_path)
    assert list(folder.files) == ["one"]
    assert folder.noticed(["one.png"]) == {"folders that cannot be read": 1}


def test_an_image_that_is_not_there_gets_the_path_where_it_should_be(tmp_path):
    assert ImageFolder(write(tmp_path, "one.png")).path("two.dcm") == tmp_path / "two.dcm"


def test_linked_folders_are_searched(tmp_path):
    disk = write(tmp_path / "disk", "one.png")
    root = write(tmp_path / "root")
    (root / "images").symlink_to(disk)
    assert ImageFolder(root).path("one.png") == root / "images" / "one.png"


def test_of_two_files_of_a_name_the_first_folder_counts(tmp_path):
    for name in ("b", "a"):
        write(tmp_path / name, "one.png")
    folder = ImageFolder(tmp_path)
    assert folder.path("one.png") == tmp_path / "a" / "one.png"
    assert folder.noticed(["one.png"]) == {"image files with a name found twice": 1}


@pytest.mark.parametrize(("name", "state"), [("none", "no such folder"), ("empty", "contains no images")])
def test_a_folder_without_images_is_one_line(tmp_path, name, state):
    write(tmp_path / "empty", "notes.txt")
    with pytest.raises(IgclError, match=f"{name}: {state} .*; name the folder of images with --images"):
        ImageFolder(tmp_path / name)
