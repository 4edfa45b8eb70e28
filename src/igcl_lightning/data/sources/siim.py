"""SIIM-ACR Pneumothorax Segmentation 2019: one image per row of the store, with the mask of its pneumothorax."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd

from igcl_lightning.data.regions import RunLengths, union
from igcl_lightning.data.sources.layout import ImageFolder, places
from igcl_lightning.data.sources.rows import require
from igcl_lightning.data.sources.source import Source
from igcl_lightning.data.sources.tables import find_file, read_columns
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.errors import IgclError

LABEL = "Pneumothorax"
NONE = "-1"
SIZE = 1024
"""Height and width of every image in pixels; run lengths count in them."""


def read_siim(root: Path, *, images: Path | None = None) -> Source:
    """Read the images of `train-rle.csv`, or of `stage_2_train.csv`.

    An image has a row for each marked region, or one row with -1; its mask is the union of its rows. `ImageId` counts
    as image and study: the table has no other id. Patient, view, age and sex are in the DICOM headers alone.

    Args:
        root: folder of the unpacked challenge.
        images: folder with `{ImageId}.dcm` or `.png`, however deep; the root by default. Masks count in the pixels of
            the original images, so copies of another size lose their marked rows.

    Raises:
        IgclError: a file or a column is missing, or run lengths are wrong; the message names file and row.
    """
    table = find_file(root, *places("train-rle.csv", "stage_2_train.csv"), what="table of run lengths")
    frame, counts = _read_rows(table)
    folder = ImageFolder.scan(root if images is None else images)
    marks = {
        str(name): [text for text in rows if text != NONE] for name, rows in frame.groupby("ImageId")["EncodedPixels"]
    }
    counts.update(folder.noticed(map("{}.dcm".format, marks)))
    return Source(
        name="siim",
        items=partial(_studies, marks, folder),
        labels=(LABEL,),
        masks=True,
        inputs=(table,),
        counts=counts,
        total=len(marks),
    )


def _read_rows(path: Path) -> tuple[pd.DataFrame, Counter[str]]:
    """Return the rows, each once, and what was left out; every run length is checked.

    The column is " EncodedPixels" in the challenge's table; names are stripped when a table is read.
    """
    frame = read_columns(path, ("ImageId", "EncodedPixels"), others=False)
    require(path, frame, ("ImageId", "EncodedPixels"))
    marked = frame["EncodedPixels"] != NONE
    for place, text in frame["EncodedPixels"].items():
        _check_runs(f"{path} row {int(str(place)) + 2}, column 'EncodedPixels'", text)
    repeated = frame.duplicated()
    both = set(frame.loc[marked, "ImageId"]) & set(frame.loc[~marked, "ImageId"])
    return frame[~repeated], Counter({"duplicate rows": int(repeated.sum()), "images both marked and -1": len(both)})


def _check_runs(where: str, text: str) -> None:
    try:
        if text != NONE:
            _runs(text).check()
    except ValueError as error:
        raise IgclError(f"{where}: {error}; expected gaps and lengths, or -1") from None


def _runs(text: str) -> RunLengths:
    return RunLengths.parse(text, SIZE, SIZE)


def _studies(marks: dict[str, list[str]], folder: ImageFolder) -> Iterator[Study]:
    for name, texts in marks.items():
        masks = {LABEL: union([_runs(text) for text in texts])} if texts else {}
        image = StudyImage(name, folder.path(f"{name}.dcm"), masks=masks)
        yield Study(study_id=name, patient_id=None, images=(image,), labels={LABEL: float(bool(texts))})
