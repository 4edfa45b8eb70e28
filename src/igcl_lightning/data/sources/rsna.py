"""RSNA Pneumonia Detection Challenge 2018: one image per row, with the boxes of its opacities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import pandas as pd

from igcl_lightning.data.regions import Box, RunLengths
from igcl_lightning.data.sources.checks import refuse, refuse_conflict, refuse_strangers, require
from igcl_lightning.data.sources.image_folder import ImageFolder
from igcl_lightning.data.sources.rows import boxes_by_image, has_box, with_numbers
from igcl_lightning.data.sources.source import Source
from igcl_lightning.data.sources.tables import find_file, read_columns, table_patterns
from igcl_lightning.data.study import Study, StudyImage

LABEL = "Pneumonia"
BOX = ("x", "y", "width", "height")


SIZE = 1024
"""Height and width of every image, in pixels."""


def read_rsna(root: Path, *, images: Path | None = None, masks: bool = False) -> Source:
    """Read the labelled images: `stage_2_train_labels.csv`, and `stage_2_detailed_class_info.csv` if it exists.

    `patientId` is the id of image, study and patient. View, age and sex are only in the DICOM headers. Images are
    `{patientId}.dcm` (default: in `stage_2_train_images` beside the table). With `masks`, the boxes of an image are
    also its mask, filled; marked images of another size than 1024 x 1024 are then dropped. Other arguments and errors:
    see `data.sources`.
    """
    table = find_file(root, *table_patterns("stage_2_train_labels.csv"), what="table of boxes")
    frame, counts = _read_boxes(table)
    folder = ImageFolder(table.parent / "stage_2_train_images" if images is None else images)
    targets = dict(zip(frame["patientId"], frame["Target"], strict=True))
    class_table = table.with_name("stage_2_detailed_class_info.csv")
    classes = _read_classes(class_table) if class_table.exists() else {}
    refuse_strangers(class_table, classes, targets)
    boxed = frame.loc[frame["x"].notna(), ["patientId", *BOX]].itertuples(index=False)
    boxes = boxes_by_image(((patient, Box.of_size(LABEL, *box)) for patient, *box in boxed), counts)
    counts.update(folder.noticed(map("{}.dcm".format, targets)))
    counts["classes without row"] = len(classes.keys() - targets.keys())
    items = partial(_studies, targets, boxes, classes, folder, masks)
    inputs = (table, class_table) if classes else (table,)
    named, total = ((LABEL,), ("class",)), len(targets)
    return Source("rsna", items, *named, boxes=True, masks=masks, inputs=inputs, counts=counts, total=total)


def _read_boxes(path: Path) -> tuple[pd.DataFrame, Counter[str]]:
    """Return one row per box and per image without boxes, with numbers, and the number of rows left out."""
    frame = read_columns(path, ("patientId", *BOX, "Target"), filled=("patientId",))
    require(path, frame, ("Target",))
    boxed = has_box(path, frame, BOX)
    frame = with_numbers(path, with_numbers(path, frame, BOX), ("Target",), binary=True)
    refuse(path, boxed & (frame["Target"] == 0), "a box, and column 'Target' is 0")
    refuse(path, ~boxed & (frame["Target"] == 1), "no box, and column 'Target' is 1")
    refuse_conflict(path, frame, "patientId", "Target")
    repeated = frame[["patientId", *BOX]].duplicated()
    return frame[~repeated], Counter({"duplicate rows": int(repeated.sum())})


def _read_classes(path: Path) -> dict[str, str]:
    """Return the class of each image, which the table repeats for each box."""
    frame = read_columns(path, ("patientId", "class"), filled=("patientId", "class"))
    refuse_conflict(path, frame, "patientId", "class")
    return dict(zip(frame["patientId"], frame["class"], strict=True))


def _studies(
    targets: Mapping[str, float],
    boxes: Mapping[str, tuple[Box, ...]],
    classes: Mapping[str, str],
    folder: ImageFolder,
    masks: bool,
) -> Iterator[Study]:
    for patient, target in targets.items():
        own = boxes.get(patient, ())
        filled = {LABEL: RunLengths.of_boxes(own, SIZE, SIZE)} if masks and own else {}
        yield Study(
            study_id=patient,
            patient_id=patient,
            images=(StudyImage(patient, folder.path(f"{patient}.dcm"), boxes=own, masks=filled),),
            labels={LABEL: float(target)},
            extra={"class": classes.get(patient)},
        )
