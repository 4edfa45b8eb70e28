"""NIH ChestX-ray14: frontal radiographs with labels that were mined from unpublished reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from igcl_lightning.data.label_policy import NIH_LABELS, NO_FINDING
from igcl_lightning.data.regions import Box
from igcl_lightning.data.sources.checks import refuse, refuse_cells, require
from igcl_lightning.data.sources.image_folder import ImageFolder
from igcl_lightning.data.sources.rows import (
    ages,
    boxes_by_image,
    image_of,
    patient_splits,
    records,
    study_of,
    with_numbers,
)
from igcl_lightning.data.sources.source import Source
from igcl_lightning.data.sources.tables import find_file, find_optional, read_columns, table_patterns
from igcl_lightning.data.study import Study
from igcl_lightning.errors import IgclError

LABELS = (*NIH_LABELS, NO_FINDING)

TABLES = table_patterns("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv", "labels.csv")
LISTS: Mapping[str, str] = {"train_val_list.txt": "train", "test_list.txt": "test"}
"""Split of each list; both lists are by patient."""

NAMES: Mapping[str, str] = {
    "Image Index": "image",
    "Finding Labels": "findings",
    "Patient ID": "patient",
    "Patient Age": "age",
    "Patient Gender": "sex",
    "Patient Sex": "sex",
    "View Position": "view",
    "Follow-up #": "follow_up",
    "file": "file",
    "split": "split",
    "orientation_in_source": "orientation",
}
"""Names of the columns; some may be missing in a table."""

EXPERT = "expert_"
"""Prefix of the columns of an expert panel's labels."""

BOX = ("Bbox [x", "y", "w", "h]")
"""The column "Bbox [x,y,w,h]", split by its unquoted commas."""

UPSIDE_DOWN = ("00003490_011.png",)
"""Images that are upside down as published."""

FLAGS: Mapping[str, str] = {"rotated": "lay on its side in the source", "upside_down": "upside down"}
"""Flag of an image by the beginning of its orientation."""


def read_nih_cxr14(root: Path, *, images: Path | None = None, seed: int = 0) -> Source:
    """Read one study per image from `Data_Entry_2017_v2020.csv`, or from a table that also has `file` and `split`.

    A label is 1 if "Finding Labels" names it and 0 otherwise. A table without splits takes them from
    `train_val_list.txt` and `test_list.txt`; a tenth of the training patients then becomes "valid". Boxes come from
    `BBox_List_2017.csv`, in pixels of the published 1024 x 1024 images: leave it out for smaller copies. Arguments and
    errors: see `data.sources`.
    """
    table = find_file(root, *TABLES, what="table of NIH ChestX-ray14")
    counts: Counter[str] = Counter()
    frame = _read_entries(table, counts)
    lists = [] if "split" in frame else _find_lists(root)
    if lists:
        frame["split"] = _listed_splits(table, frame, lists, counts)
    if "split" in frame:
        frame["split"] = patient_splits(table, frame["patient"], frame["split"], seed)
    box_table = find_optional(root, *table_patterns("BBox_List_2017.csv"))
    boxes = {} if box_table is None else _read_boxes(box_table, frame, counts)
    frame["path"] = pd.Series(_paths(table, frame, root, images, counts), index=frame.index, dtype=object)
    extra = ("follow_up", *(column for column in frame.columns if column.startswith(EXPERT)))
    return Source(
        name="nih-cxr14",
        items=partial(_studies, frame, boxes, extra),
        labels=LABELS,
        extra=extra,
        boxes=box_table is not None,
        inputs=[*filter(None, (table, *lists, box_table))],
        settings={"validation_seed": seed} if lists else {},
        counts=+counts,
        total=len(frame),
    )


def _read_entries(path: Path, counts: Counter[str]) -> pd.DataFrame:
    """Return the rows under the names of `NAMES`: findings as lists, ages in years.

    The comma in "OriginalImage[Width,Height]" splits that column in two; the others are still read by name.
    """
    required = ("Image Index", "Finding Labels", "Patient ID")
    optional = ("Patient Age", "View Position", "Follow-up #")
    frame = read_columns(path, required, optional, filled=required, key="Image Index", others=True)
    if "file" in frame:
        require(path, frame, ("file",))
    years = ages(path, frame, "Patient Age", counts)
    findings = _findings(path, frame["Finding Labels"], counts)
    kept = [name for name in frame.columns if name in NAMES or name.startswith(EXPERT)]
    frame = frame[kept].rename(columns=NAMES)
    return frame.loc[:, ~frame.columns.duplicated()].assign(findings=findings, age=years)


def _findings(path: Path, cells: pd.Series, counts: Counter[str]) -> pd.Series:
    """Return the labels that each cell names."""
    findings = cells.str.split("|").map(lambda names: [name.strip() for name in names])
    wrong = findings.map(lambda names: next((name for name in names if name not in LABELS), None))
    refuse_cells(path, wrong.rename("Finding Labels"), wrong.notna(), "is not one of the 14 labels")
    healthy = findings.map(lambda names: NO_FINDING in names and len(names) > 1)
    counts["rows of No Finding and a finding"] = int(healthy.sum())
    return findings


def _find_lists(root: Path) -> list[Path]:
    """Return both lists or none."""
    found = {name: find_optional(root, name, f"*/{name}") for name in LISTS}
    present = [path for path in found.values() if path is not None]
    if len(present) == 1:
        missing = next(name for name, path in found.items() if path is None)
        raise IgclError(f"{root}: {present[0].name} without {missing}; add it, or remove both to draw a split")
    return present


def _listed_splits(table: Path, frame: pd.DataFrame, lists: Sequence[Path], counts: Counter[str]) -> pd.Series:
    """Return the split of each row by the lists."""
    names = [path.read_text("utf-8").split() for path in lists]
    for image in sorted(set(names[0]) & set(names[1])):
        raise IgclError(f"{lists[1]}: image {image!r} is in {lists[0].name} too; it can be in one split only")
    split_of = {image: LISTS[path.name] for path, listed in zip(lists, names, strict=True) for image in listed}
    splits = frame["image"].map(split_of)
    refuse(table, splits.isna(), f"this image is neither in {lists[0].name} nor in {lists[1].name}")
    counts["listed images without row"] = len(split_of.keys() - set(frame["image"]))
    return splits


def _read_boxes(path: Path, frame: pd.DataFrame, counts: Counter[str]) -> dict[str, tuple[Box, ...]]:
    """Return the boxes of each image for findings of its row; "Infiltrate" is Infiltration."""
    columns = ("Image Index", "Finding Label", *BOX)
    boxes = read_columns(path, columns, filled=columns[:2])[list(columns)]
    require(path, boxes, BOX)
    boxes = with_numbers(path, boxes, BOX).replace({"Finding Label": {"Infiltrate": "Infiltration"}})
    refuse(path, ~boxes["Finding Label"].isin(LABELS), "column 'Finding Label' is not one of the 14 labels")
    refuse(path, (boxes[["w", "h]"]] <= 0).any(axis=1), "the box has no area")
    findings = dict(zip(frame["image"], frame["findings"], strict=True))
    marks = [(image, Box.of_size(*box)) for image, *box in boxes.itertuples(index=False)]
    kept = [(image, box) for image, box in marks if box.label in findings.get(image, ())]
    strange = sum(image not in findings for image, _ in marks)
    counts["boxes of images without row"] = strange
    counts["boxes of labels the row lacks"] = len(marks) - len(kept) - strange
    return boxes_by_image(kept, counts)


def _paths(table: Path, frame: pd.DataFrame, root: Path, images: Path | None, counts: Counter[str]) -> list[Path]:
    """Return the path of each image by the column `file`, or by its name in the folder of images."""
    if "file" in frame and images is None:
        return [table.parent / file for file in frame["file"]]
    folder = ImageFolder(root if images is None else images)
    counts.update(folder.noticed(frame["image"]))
    return [folder.path(image) for image in frame["image"]]


def _studies(frame: pd.DataFrame, boxes: Mapping[str, tuple[Box, ...]], extra: Sequence[str]) -> Iterator[Study]:
    for row in records(frame):
        yield study_of(
            {**row, "study": row["image"]},
            [image_of(row, boxes=boxes.get(row["image"], ()), flags=_flags(row))],
            labels={label: float(label in row["findings"]) for label in LABELS},
            extra={name: row[name] for name in extra},
        )


def _flags(row: Mapping[str, str | None]) -> tuple[str, ...]:
    said = {flag for words, flag in FLAGS.items() if (row.get("orientation") or "").startswith(words)}
    return tuple(sorted(said | ({"upside down"} if row["image"] in UPSIDE_DOWN else set())))
