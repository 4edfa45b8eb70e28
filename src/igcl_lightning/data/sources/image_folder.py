"""Image files of a folder by name."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from igcl_lightning.errors import IgclError
from igcl_lightning.reports.files import walk_folders

NAMED_TWICE = "image files with a name found twice"
UNREAD = "folders that cannot be read"
IMAGE_SUFFIXES = (".dcm", ".dicom", ".png", ".jpg", ".jpeg")


class ImageFolder:
    """The images in a folder and its subfolders, by file name without suffix; links are followed.

    Attributes:
        files: path by name; the first in the order of folders and names if a name occurs twice.
        repeated: number of files with the name of an earlier one, such as smaller copies in another folder.
        unread: subfolders that cannot be read.

    Raises:
        IgclError: the folder does not exist or has no images.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, Path] = {}
        self.repeated = 0
        self.unread: list[str] = []
        for parent, names in walk_folders(folder, self.unread) if folder.is_dir() else ():
            for name in names:
                stem, suffix = os.path.splitext(name)
                if suffix.lower() in IMAGE_SUFFIXES:
                    self.repeated += stem in self.files
                    self.files.setdefault(stem, parent / name)
        if not self.files:
            state = "contains no images" if folder.is_dir() else "no such folder"
            raise IgclError(f"{folder}: {state} ({', '.join(IMAGE_SUFFIXES)}); name the folder of images with --images")

    def path(self, file: str) -> Path:
        """Return the path of an image, whatever its suffix; `folder / file` if there is none."""
        return self.files.get(os.path.splitext(file)[0], self.folder / file)

    def noticed(self, files: Iterable[str]) -> Counter[str]:
        """Return what `noticed` counts of this folder."""
        return noticed([self], files)


def noticed(folders: Sequence[ImageFolder], files: Iterable[str]) -> Counter[str]:
    """Return the number of images that are not among these file names, of files with a repeated name, and of folders.

    A folder counts if it cannot be read; its images are missing.
    """
    strangers = {name for folder in folders for name in folder.files} - {os.path.splitext(file)[0] for file in files}
    repeated = sum(folder.repeated for folder in folders)
    unread = {path for folder in folders for path in folder.unread}
    return +Counter({"images without row": len(strangers), NAMED_TWICE: repeated, UNREAD: len(unread)})
