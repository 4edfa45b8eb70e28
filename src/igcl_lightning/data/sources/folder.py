"""A folder of images without a table: only file names, and report texts beside the images."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath

from pydicom.misc import is_dicom

from igcl_lightning.closing import write_note
from igcl_lightning.data.sources.image_folder import UNREAD
from igcl_lightning.data.sources.image_names import same_pictures
from igcl_lightning.data.sources.source import Source
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.errors import IgclError
from igcl_lightning.reports.files import walk_folders

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".dcm", ".dicom")
SMALL_COPIES = ("thumbs", "thumbnails")
"""Names, without suffix, of small copies and of their folders."""


def read_folder(root: Path, *, patient_pattern: str | None = None) -> Source:
    """Read each image below a folder as a study of its own.

    A text of the same name, such as `a.txt` beside `a.png`, is the image's report. Without a pattern the patient is the
    PatientID of a DICOM file, which `prepare` reads with the image; without one each image counts as a patient, and is
    flagged. Files without suffix are images if they have the DICOM magic bytes. Hidden files and small copies
    ("thumbs") are left out.

    Args:
        root: path of the folder.
        patient_pattern: regular expression whose first group is the patient in a path, such as "^(p[0-9]+)/".

    Raises:
        IgclError: the folder does not exist or has no images, or the pattern is wrong or does not match a path.
    """
    if not root.is_dir():
        raise IgclError(f"--root {root}: no such folder")
    pattern = None if patient_pattern is None else _compiled(patient_pattern)
    unread: list[str] = []
    names, texts = _find(root, unread)
    if not names:
        raise IgclError(f"{root}: contains no images ({', '.join(SUFFIXES)}, or DICOM files without suffix)")
    studies = [(name, None if pattern is None else _patient(root, name, pattern), _text_of(name)) for name in names]
    alone = len(texts.keys() - {text for _, _, text in studies})
    if texts and alone == len(texts):
        write_note(f"{root}: no report: a text must lie beside its image and have its name, as a.txt beside a.png")
    links = same_pictures(root / name for name in names)
    counts = Counter({"texts without image": alone, UNREAD: len(unread), **links})
    items, settings = partial(_studies, root, studies, texts), {"patient_pattern": patient_pattern}
    return Source("folder", items, settings=settings, counts=+counts, total=len(names))


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise IgclError(f"--patient-pattern {pattern!r}: not a regular expression ({error})") from error
    if compiled.groups < 1:
        raise IgclError(f"--patient-pattern {pattern!r}: put the part that names the patient in parentheses: (...)")
    return compiled


def _find(root: Path, unread: list[str]) -> tuple[list[str], dict[str, str]]:
    """Return the relative paths of all images, sorted, and of all texts, by path with the suffix in lower case.

    Folders that cannot be read are noted.
    """
    images: list[str] = []
    texts: dict[str, str] = {}
    for folder, names in walk_folders(root, unread):
        within = folder.relative_to(root)
        if any(part.lower() in SMALL_COPIES for part in within.parts):
            continue
        images += [(within / name).as_posix() for name in names if _is_image(folder, name)]
        found = [within / name for name in names if name.lower().endswith(".txt")]
        found.sort(key=lambda path: path.suffix == ".txt")  # the last one counts
        texts |= {path.with_suffix(".txt").as_posix(): path.as_posix() for path in found}
    return sorted(images), texts


def _is_image(folder: Path, name: str) -> bool:
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in SUFFIXES:
        return PurePosixPath(name).stem.lower() not in SMALL_COPIES
    return _has_no_suffix(name) and name != "DICOMDIR" and _begins_like_dicom(folder / name)


def _has_no_suffix(name: str) -> bool:
    """Return whether a name has no suffix; the last number of a UID such as "1.2.840.7" is not one."""
    return PurePosixPath(name).suffix.lstrip(".").isdigit() or not PurePosixPath(name).suffix


def _begins_like_dicom(path: Path) -> bool:
    try:
        return path.is_file() and is_dicom(path)  # opening a pipe would block
    except OSError:
        return False


def _text_of(name: str) -> str:
    """Return the name of the text beside an image."""
    return f"{name}.txt" if _has_no_suffix(name) else str(PurePosixPath(name).with_suffix(".txt"))


def _patient(root: Path, name: str, pattern: re.Pattern[str]) -> str:
    match = pattern.search(name)
    if match is None or not match[1]:
        raise IgclError(f"{root}: --patient-pattern {pattern.pattern!r} finds no patient in {name!r}")
    return _in_unicode(match[1])


def _studies(root: Path, studies: list[tuple[str, str | None, str]], texts: dict[str, str]) -> Iterator[Study]:
    for name, patient, text in studies:
        report: Path | dict[str, str] = root / texts[text] if text in texts else {}
        shown = _in_unicode(name)
        yield Study(shown, patient, images=(StudyImage(shown, root / name),), report=report)


def _in_unicode(name: str) -> str:
    """Return a file name with each byte that is no UTF-8 written out, as in names from an old Windows share."""
    return os.fsencode(name).decode(errors="backslashreplace")
