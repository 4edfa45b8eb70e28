"""VinDr-CXR, from the Kaggle challenge or from PhysioNet: one image per row, with aggregated labels of its readers."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from igcl_lightning.data.regions import Box
from igcl_lightning.data.sources.checks import refuse_cells, refuse_strangers, require, require_choice
from igcl_lightning.data.sources.image_folder import ImageFolder, noticed
from igcl_lightning.data.sources.rows import boxes_by_image, has_box, image_of, records, study_of, with_numbers
from igcl_lightning.data.sources.source import Notes, Source
from igcl_lightning.data.sources.tables import find_file, read_columns, table_patterns
from igcl_lightning.data.splits import lend_validation
from igcl_lightning.data.study import Study
from igcl_lightning.errors import IgclError

AGGREGATE = ("majority", "any")

NO_FINDING = "No finding"

KAGGLE_LABELS = (
    "Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Consolidation", "ILD", "Infiltration",
    "Lung Opacity", "Nodule/Mass", "Other lesion", "Pleural effusion", "Pleural thickening", "Pneumothorax",
    "Pulmonary fibrosis", NO_FINDING,
)  # fmt: skip

KEYS = ("image_id", "rad_id")
BOX = ("x_min", "y_min", "x_max", "y_max")

PHYSIONET_FOLDERS = ("annotations/", "*/annotations/", "")

TEST_NAMES = {"Other disease": "Other diseases"}
"""Labels of PhysioNet's test tables, by the name in its training tables."""


@dataclass(frozen=True)
class _Readings:
    """Readings of the images of a split: votes for each label, number of readers, and boxes, by image."""

    split: str | None
    votes: pd.DataFrame
    readers: pd.Series
    boxes: Mapping[str, tuple[Box, ...]]

    def holds(self, aggregate: str) -> pd.DataFrame:
        """Return which labels hold, bool by image and label."""
        if aggregate == "majority":
            return self.votes.mul(2).gt(self.readers, axis=0)
        holds = self.votes > 0
        holds[NO_FINDING] = self.votes[NO_FINDING] == self.readers
        return holds


def read_vindr(root: Path, *, aggregate: str = "majority", images: Path | None = None, seed: int = 0) -> Source:
    """Read Kaggle's `train.csv`, or PhysioNet's `annotations/image_labels_{train,test}.csv` and their boxes.

    A label holds for an image if more than half of its readers gave it ("majority"), or one of them ("any");
    `No finding` then needs all readers. Boxes of all readers are kept for labels that hold. There are no patient ids:
    each image counts as a patient. All images are PA, according to the data set's description.

    Args:
        root: folder of the unpacked data set.
        aggregate: one of `AGGREGATE`.
        images: folder of `train` and `test`, or of Kaggle's training images (default: `root`).
        seed: seed of the images that become "valid" in PhysioNet's form; Kaggle's has no splits.
    """
    require_choice("--aggregate", aggregate, AGGREGATE)
    patterns = [f"{folder}image_labels_{split}.csv" for folder in PHYSIONET_FOLDERS for split in ("train", "test")]
    table = find_file(root, *patterns, *table_patterns("train.csv"), what="table of labels")
    notes = Notes()
    parts = [_read_kaggle(table, notes)] if table.name.startswith("train.csv") else _read_physionet(table.parent, notes)
    folders = [_image_folder(images, table, part.split) for part in parts]
    found = zip(parts, folders, strict=True)
    frames = [_aggregate(*part, aggregate, notes.counts) for part in found]
    frame = pd.concat(_leave_out_absent(frames, notes.counts), ignore_index=True)
    notes.counts.update(noticed(folders, map("{}.dicom".format, frame["image"])))
    with_splits = parts[0].split is not None
    if with_splits:
        frame["split"] = lend_validation(frame["split"].tolist(), frame["image"].tolist(), seed)
    notes.settings.update(aggregate=aggregate, seed=seed if with_splits else None)
    labels, extra = tuple(parts[0].votes.columns), ("readers", "votes")
    return Source("vindr", partial(_studies, frame), labels, extra, boxes=True, total=len(frame), **vars(notes))


def _read_kaggle(path: Path, notes: Notes) -> _Readings:
    """Read one row per mark of a reader, with the class No finding for readers who marked nothing."""
    frame = _read_marks(path, KEYS)
    boxes = _boxes(path, frame, KAGGLE_LABELS, notes.counts)
    given = frame[[*KEYS, "class_name"]].drop_duplicates()
    votes = pd.crosstab(given["image_id"], given["class_name"]).reindex(columns=list(KAGGLE_LABELS), fill_value=0)
    notes.inputs.append(path)
    return _Readings(None, votes, frame.groupby("image_id")["rad_id"].nunique(), boxes)


def _read_physionet(folder: Path, notes: Notes) -> list[_Readings]:
    """Read the tables of training and test images that exist."""
    splits = [split for split in ("train", "test") if (folder / f"image_labels_{split}.csv").exists()]
    parts = [_read_split(folder, split, notes) for split in splits]
    first, last = parts[0].votes, parts[-1].votes
    for label in first.columns.symmetric_difference(last.columns):
        raise IgclError(f"{folder}: label {label!r} is in only one of image_labels_train.csv and image_labels_test.csv")
    for image in first.index.intersection(last.index) if len(parts) == 2 else ():
        raise IgclError(f"{folder}: image {image!r} is in image_labels_train.csv and in image_labels_test.csv")
    return parts


def _read_split(folder: Path, split: str, notes: Notes) -> _Readings:
    """Read one row per image and reader, 1 under each label given; a test image has one row, of all its readers."""
    path, marks = folder / f"image_labels_{split}.csv", folder / f"annotations_{split}.csv"
    keys = KEYS if split == "train" else ("image_id",)
    frame = read_columns(path, (*keys, NO_FINDING), ("rad_id",), others=True).rename(columns=TEST_NAMES)
    labels = [*sorted(set(frame.columns) - {*KEYS, NO_FINDING}), NO_FINDING]
    require(path, frame, (*keys, *labels))
    values = with_numbers(path, frame, labels, binary=True)[labels]
    repeated = frame[list(KEYS)].duplicated()
    by_image = values[~repeated].astype(int).groupby(frame.loc[~repeated, "image_id"])
    marked = _read_marks(marks, ("image_id",))
    refuse_strangers(marks, marked["image_id"].tolist(), frame["image_id"].tolist())
    boxes = _boxes(marks, marked.replace({"class_name": TEST_NAMES}), labels, notes.counts)
    notes.inputs.extend((path, marks))
    notes.counts["rows that repeat a reader"] += int(repeated.sum())
    return _Readings(split, by_image.sum(), by_image.size(), boxes)


def _read_marks(path: Path, keys: Sequence[str]) -> pd.DataFrame:
    return read_columns(path, (*keys, "class_name", *BOX), filled=(*keys, "class_name"))


def _boxes(path: Path, marks: pd.DataFrame, labels: Sequence[str], counts: Counter[str]) -> dict[str, tuple[Box, ...]]:
    """Return the boxes of each image; those cut or left out are counted."""
    names = marks["class_name"]
    refuse_cells(path, names, ~names.isin(labels), f"is none of {', '.join(labels)}")
    boxed = has_box(path, marks, BOX) & (names != NO_FINDING)
    rows = with_numbers(path, marks, BOX).loc[boxed, ["image_id", "class_name", *BOX]].itertuples(index=False)
    return boxes_by_image(((image, Box(*box)) for image, *box in rows), counts)


def _leave_out_absent(frames: list[pd.DataFrame], counts: Counter[str]) -> list[pd.DataFrame]:
    """Leave out a part without any image where the other part has some: each can be downloaded alone."""
    here = [frame for frame in frames if any(map(os.path.exists, frame["path"]))]
    for frame in frames if here else ():
        if not any(frame is other for other in here):
            counts[f"images of the {frame['split'].iloc[0]} part, of which none is there"] = len(frame)
    return here or frames


def _image_folder(images: Path | None, table: Path, split: str | None) -> ImageFolder:
    """Return the images of a split: those in its folder, or all of them."""
    beside = table.parent.parent if table.parent.name == "annotations" else table.parent
    folder = images or beside
    subfolder = folder / (split or "train")
    return ImageFolder(subfolder if subfolder.is_dir() else folder)


def _aggregate(part: _Readings, folder: ImageFolder, aggregate: str, counts: Counter[str]) -> pd.DataFrame:
    """Return one row per image with its boxes of labels that hold, its labels, and the opinions of its readers."""
    rows = []
    for image, labels in part.holds(aggregate).to_dict("index").items():
        boxes = part.boxes.get(str(image), ())
        kept = tuple(box for box in boxes if labels[box.label])
        rows.append((image, folder.path(f"{image}.dicom"), part.split, kept, labels))
    frame = pd.DataFrame(rows, columns=["image", "path", "split", "boxes", "labels"], dtype=object)
    dropped = sum(map(len, part.boxes.values())) - sum(map(len, frame["boxes"]))
    counts["boxes of labels that do not hold"] += dropped
    if part.split == "test":  # a consensus has no votes
        return frame.assign(readers=None, votes=None)
    votes = [
        json.dumps({label: count for label, count in given.items() if count}) for given in part.votes.to_dict("records")
    ]
    return frame.assign(readers=part.readers[frame["image"]].tolist(), votes=votes)


def _studies(frame: pd.DataFrame) -> Iterator[Study]:
    for row in records(frame.assign(study=frame["image"], patient=frame["image"])):
        yield study_of(
            row,
            [image_of(row, view="PA", boxes=row["boxes"])],
            labels={label: float(value) for label, value in row["labels"].items()},
            extra={"readers": row["readers"], "votes": row["votes"]},
        )
