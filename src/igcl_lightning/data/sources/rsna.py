"""RSNA Pneumonia Detection Challenge 2018: one image per row of the store, with the boxes of its opacities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd

from igcl_lightning.data.regions import Box
from igcl_lightning.data.sources.boxes import boxes_by_image, has_box
from igcl_lightning.data.sources.layout import ImageFolder, places
from igcl_lightning.data.sources.rows import refuse, refuse_conflict, refuse_strangers, require, with_numbers
from igcl_lightning.data.sources.source import Source
from igcl_lightning.data.sources.tables import find_file, read_columns
from igcl_lightning.data.study import Study, StudyImage

LABEL = "Pneumonia"
BOX = ("x", "y", "width", "height")


def read_rsna(root: Path, *, images: Path | None = None) -> Source:
    """Read the labelled images: `stage_2_train_labels.csv`, and `stage_2_detailed_class_info.csv` where it is there.

    `patientId` is the only id the data set has; it counts as image, study and patient. View, age and sex are in the
    DICOM headers alone.

    Args:
        root: folder of the unpacked challenge.
        images: folder of `{patientId}.dcm`; `stage_2_train_images` beside the table by default. Boxes count in the
            pixels of the original images: no copies of another size.

    Raises:
        IgclError: a file or a column is missing, a cell cannot be read, or rows contradict one another; the message
            names file and row.
    """
    table = find_file(root, *places("stage_2_train_labels.csv"), what="table of boxes")
    frame, counts = _read_boxes(table)
    folder = ImageFolder.scan(table.parent / "stage_2_train_images" if images is None else images)
    targets = dict(zip(frame["patientId"], frame["Target"], strict=True))
    class_table = table.with_name("stage_2_detailed_class_info.csv")
    classes = _read_classes(class_table) if class_table.exists() else {}
    if classes:
        refuse_strangers(class_table, classes, targets)
    boxes = _boxes(frame, counts)
    counts.update(folder.noticed(map("{}.dcm".format, targets)))
    counts["classes without row"] = len(classes.keys() - targets.keys())
    return Source(
        name="rsna",
        items=partial(_studies, targets, boxes, classes, folder),
        labels=(LABEL,),
        extra=("class",),
        boxes=True,
        inputs=(table, class_table) if classes else (table,),
        counts=counts,
        total=len(targets),
    )


def _read_boxes(path: Path) -> tuple[pd.DataFrame, Counter[str]]:
    """Return one row per box and per image without boxes, its numbers as numbers; and what was left out."""
    frame = read_columns(path, ("patientId", *BOX, "Target"))
    require(path, frame, ("patientId", "Target"))
    boxed = has_box(path, frame, BOX)
    frame = with_numbers(path, frame, (*BOX, "Target"))
    refuse(path, ~frame["Target"].isin((0, 1)), "column 'Target' is not 0 or 1")
    refuse(path, boxed & (frame["Target"] == 0), "a box, and column 'Target' is 0")
    refuse(path, ~boxed & (frame["Target"] == 1), "no box, and column 'Target' is 1")
    refuse_conflict(path, frame, "patientId", "Target")
    repeated = frame[["patientId", *BOX]].duplicated()
    return frame[~repeated], Counter({"duplicate rows": int(repeated.sum())})


def _read_classes(path: Path) -> dict[str, str]:
    """Return the class of each image; the table repeats it for each box."""
    frame = read_columns(path, ("patientId", "class"))
    require(path, frame, ("patientId", "class"))
    refuse_conflict(path, frame, "patientId", "class")
    return dict(zip(frame["patientId"], frame["class"], strict=True))


def _boxes(frame: pd.DataFrame, counts: Counter[str]) -> dict[str, tuple[Box, ...]]:
    marks = frame.loc[frame["x"].notna(), ["patientId", *BOX]].itertuples(index=False)
    return boxes_by_image(((patient, Box.of_size(LABEL, *box)) for patient, *box in marks), counts)


def _studies(
    targets: dict[str, float], boxes: dict[str, tuple[Box, ...]], classes: dict[str, str], folder: ImageFolder
) -> Iterator[Study]:
    for patient, target in targets.items():
        image = StudyImage(patient, folder.path(f"{patient}.dcm"), boxes=boxes.get(patient, ()))
        yield Study(
            study_id=patient,
            patient_id=patient,
            images=(image,),
            labels={LABEL: float(target)},
            extra={"class": classes.get(patient)},
        )
