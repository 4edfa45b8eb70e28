"""SIIM-ACR Pneumothorax Segmentation 2019: one image per row, with the mask of its pneumothorax."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd

from igcl_lightning.data.regions import RunLengths
from igcl_lightning.data.sources.image_folder import ImageFolder
from igcl_lightning.data.sources.source import Source
from igcl_lightning.data.sources.tables import find_file, read_columns, table_patterns
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.errors import IgclError

LABEL = "Pneumothorax"
NONE = "-1"
SIZE = 1024
"""Height and width of every image, in pixels."""


def read_siim(root: Path, *, images: Path | None = None) -> Source:
    """Read the images of `train-rle.csv`, or of `stage_2_train.csv`.

    An image has a row for each marked region, or one row with -1; its mask is the union of its rows. `ImageId` is the
    id of image and study; images are `{ImageId}.dcm` or `.png`, and marked ones of another size are dropped. Patient,
    view, age and sex are only in the DICOM headers. Arguments and errors: see `data.sources`.
    """
    table = find_file(root, *table_patterns("train-rle.csv", "stage_2_train.csv"), what="table of run lengths")
    frame, counts = _read_rows(table)
    folder = ImageFolder(root if images is None else images)
    marks = {
        str(name): [text for text in rows if text != NONE] for name, rows in frame.groupby("ImageId")["EncodedPixels"]
    }
    counts.update(folder.noticed(map("{}.dcm".format, marks)))
    items = partial(_studies, marks, folder)
    return Source("siim", items, (LABEL,), masks=True, inputs=(table,), counts=counts, total=len(marks))


def _read_rows(path: Path) -> tuple[pd.DataFrame, Counter[str]]:
    """Return the distinct rows, with every run length checked, and the number of rows left out."""
    frame = read_columns(path, ("ImageId", "EncodedPixels"), filled=("ImageId", "EncodedPixels"))
    for index, text in zip(frame.index, frame["EncodedPixels"], strict=True):
        try:
            _runs(text).check()
        except ValueError as error:
            message = f"{error}; expected gaps and lengths, or -1"
            raise IgclError(f"{path} row {index + 2}, column 'EncodedPixels': {message}") from None
    marked = frame["EncodedPixels"] != NONE
    repeated = frame.duplicated()
    both = set(frame.loc[marked, "ImageId"]) & set(frame.loc[~marked, "ImageId"])
    return frame[~repeated], Counter({"duplicate rows": int(repeated.sum()), "images both marked and -1": len(both)})


def _runs(text: str) -> RunLengths:
    return RunLengths.parse("" if text == NONE else text, SIZE, SIZE)


def _studies(marks: dict[str, list[str]], folder: ImageFolder) -> Iterator[Study]:
    for name, texts in marks.items():
        runs = tuple(run for text in texts for run in _runs(text).runs)
        masks = {LABEL: RunLengths(runs, SIZE, SIZE)} if texts else {}
        image = StudyImage(name, folder.path(f"{name}.dcm"), masks=masks)
        yield Study(study_id=name, patient_id=None, images=(image,), labels={LABEL: float(bool(texts))})
