"""Where the files of a data set are: tables by usual places, images by name."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from igcl_lightning.errors import IgclError
from igcl_lightning.reports.files import walk_folders

NAMED_TWICE = "image files with a name found twice"
IMAGE_SUFFIXES = (".dcm", ".dicom", ".png", ".jpg", ".jpeg")


def places(*names: str) -> list[str]:
    """Return patterns for `find_file`: each name at the root or one folder deeper, plain or gzipped."""
    return [f"{folder}{name}{ending}" for name in names for folder in ("", "*/") for ending in ("", ".gz")]


@dataclass(frozen=True)
class ImageFolder:
    """The images in a folder and below it, by file name without suffix.

    Attributes:
        folder: the folder.
        files: path by name; where two files share a name, the first in the order of folders and names.
        repeated: how many files have the name of one before, such as smaller copies in another folder.
    """

    folder: Path
    files: dict[str, Path]
    repeated: int = 0

    @classmethod
    def scan(cls, folder: Path) -> ImageFolder:
        """Find the images; only names are read, and links are followed.

        Raises:
            IgclError: there is no such folder, or no image in it.
        """
        files: dict[str, Path] = {}
        repeated = 0
        for parent, names in walk_folders(folder) if folder.is_dir() else ():
            for name in names:
                stem, suffix = os.path.splitext(name)
                if suffix.lower() in IMAGE_SUFFIXES:
                    repeated += stem in files
                    files.setdefault(stem, parent / name)
        if not files:
            state = "holds no images" if folder.is_dir() else "no such folder"
            raise IgclError(f"{folder}: {state} ({', '.join(IMAGE_SUFFIXES)}); name the folder of images with --images")
        return cls(folder, files, repeated)

    def path(self, file: str) -> Path:
        """Return where the image of a file name is, whatever its suffix; where it should be if there is none."""
        return self.files.get(os.path.splitext(file)[0], self.folder / file)

    def noticed(self, files: Iterable[str]) -> Counter[str]:
        """Return how many images have none of these file names, and how many files have a name found before."""
        strangers = self.files.keys() - {os.path.splitext(file)[0] for file in files}
        return +Counter({"images without row": len(strangers), NAMED_TWICE: self.repeated})
