"""VinDr-CXR, from the Kaggle challenge or from PhysioNet: one image per row, the readers' labels put together."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from igcl_lightning.data.regions import Box
from igcl_lightning.data.sources.boxes import boxes_by_image, has_box
from igcl_lightning.data.sources.layout import ImageFolder, places
from igcl_lightning.data.sources.rows import refuse, refuse_strangers, require, with_numbers
from igcl_lightning.data.sources.source import Source
from igcl_lightning.data.sources.tables import find_file, read_columns
from igcl_lightning.data.splits import lend_validation
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.errors import IgclError

AGGREGATE = ("majority", "any")

NO_FINDING = "No finding"

KAGGLE_LABELS = (
    "Aortic enlargement",
    "Atelectasis",
    "Calcification",
    "Cardiomegaly",
    "Consolidation",
    "ILD",
    "Infiltration",
    "Lung Opacity",
    "Nodule/Mass",
    "Other lesion",
    "Pleural effusion",
    "Pleural thickening",
    "Pneumothorax",
    "Pulmonary fibrosis",
    NO_FINDING,
)

KEYS = ("image_id", "rad_id")
BOX = ("x_min", "y_min", "x_max", "y_max")

PHYSIONET_PLACES = ("annotations/", "*/annotations/", "")

TEST_NAMES = {"Other disease": "Other diseases"}
"""What PhysioNet's tables of the test images call otherwise than those of the training images."""


@dataclass(frozen=True)
class _Readings:
    """What the readers of some images said.

    Attributes:
        split: of the images; None where the data set has none.
        votes: how many readers gave a label, int by image and label.
        readers: how many read the image, int by image.
        boxes: of all readers, by image.
        inputs: the tables.
        counts: what was left out.
    """

    split: str | None
    votes: pd.DataFrame
    readers: pd.Series
    boxes: Mapping[str, tuple[Box, ...]]
    inputs: tuple[Path, ...]
    counts: Counter[str]


def read_vindr(root: Path, *, aggregate: str = "majority", images: Path | None = None, seed: int = 0) -> Source:
    """Read Kaggle's `train.csv`, or PhysioNet's `annotations/image_labels_{train,test}.csv` and their boxes.

    A label holds for an image where more than half of its readers gave it ("majority"), or one of them ("any"); who
    read the image and did not give the label counts against it. With "any", `No finding` needs every reader. Boxes of
    all readers are kept, side by side, for labels that hold. There are no patient ids: each image counts as a patient.
    All images are postero-anterior, as the data set describes itself.

    Args:
        root: folder of the unpacked data set.
        aggregate: one of `AGGREGATE`.
        images: folder that holds `train` and `test`, or Kaggle's training images themselves; the root by default. Boxes
            count in the pixels of the original images: no copies of another size.
        seed: of the validation split that is lent from PhysioNet's training images; Kaggle's form names no splits.

    Raises:
        IgclError: a file or a column is missing, or a cell cannot be read; the message names file and row.
    """
    if aggregate not in AGGREGATE:
        raise IgclError(f"--aggregate: {aggregate!r} is not one of {', '.join(AGGREGATE)}")
    patterns = [f"{place}image_labels_{split}.csv" for place in PHYSIONET_PLACES for split in ("train", "test")]
    table = find_file(root, *patterns, *places("train.csv"), what="table of labels")
    parts = [_read_kaggle(table)] if table.name.startswith("train.csv") else _read_physionet(table.parent)
    folders = [_folder(root if images is None else images, part.split or "train") for part in parts]
    counts: Counter[str] = Counter()
    for part, folder in zip(parts, folders, strict=True):
        counts.update(part.counts)
        kept = sum(map(len, _kept_boxes(part, _holds(part, aggregate)).values()))
        counts["boxes of labels that do not hold"] += sum(map(len, part.boxes.values())) - kept
        counts.update(folder.noticed(map("{}.dicom".format, part.votes.index)))
    return Source(
        name="vindr",
        items=partial(_studies, parts, folders, aggregate, seed),
        labels=tuple(parts[0].votes.columns),
        extra=("readers", "votes"),
        boxes=True,
        inputs=tuple(path for part in parts for path in part.inputs),
        settings={"aggregate": aggregate, "seed": None if parts[0].split is None else seed},
        counts=counts,
        total=sum(len(part.votes) for part in parts),
    )


def _read_kaggle(path: Path) -> _Readings:
    """Read one row per mark of a reader; who marked nothing has a row with the class No finding."""
    frame = read_columns(path, (*KEYS, "class_name", *BOX))
    require(path, frame, (*KEYS, "class_name"))
    _refuse_unknown(path, frame["class_name"], KAGGLE_LABELS)
    boxes, counts = _boxes(path, frame)
    given = frame[[*KEYS, "class_name"]].drop_duplicates()
    votes = pd.crosstab(given["image_id"], given["class_name"]).reindex(columns=list(KAGGLE_LABELS), fill_value=0)
    return _Readings(None, votes, frame.groupby("image_id")["rad_id"].nunique(), boxes, (path,), counts)


def _read_physionet(folder: Path) -> list[_Readings]:
    """Read the tables of the training and of the test images, those that are there."""
    splits = [split for split in ("train", "test") if (folder / f"image_labels_{split}.csv").exists()]
    parts = [_read_split(folder, split) for split in splits]
    first, last = parts[0].votes, parts[-1].votes
    for label in first.columns.symmetric_difference(last.columns):
        raise IgclError(f"{folder}: label {label!r} is in one of image_labels_train.csv and image_labels_test.csv only")
    for image in first.index.intersection(last.index) if len(parts) == 2 else ():
        raise IgclError(f"{folder}: image {image!r} is in image_labels_train.csv and in image_labels_test.csv")
    return parts


def _read_split(folder: Path, split: str) -> _Readings:
    """Read one row per image and reader, 1 under each label given; a test image has one row, of all its readers."""
    path, marks = folder / f"image_labels_{split}.csv", folder / f"annotations_{split}.csv"
    keys = KEYS if split == "train" else ("image_id",)
    frame = read_columns(path, (*keys, NO_FINDING), ("rad_id",)).rename(columns=TEST_NAMES)
    labels = [*sorted(set(frame.columns) - {*KEYS, NO_FINDING}), NO_FINDING]
    require(path, frame, (*keys, *labels))
    values = with_numbers(path, frame, labels)[labels]
    for label in labels:
        refuse(path, ~values[label].isin((0, 1)), f"column {label!r} is not 0 or 1")
    repeated = frame[list(KEYS)].duplicated()
    by_image = values[~repeated].astype(int).groupby(frame.loc[~repeated, "image_id"])
    boxes, counts = _read_marks(marks, labels, frame["image_id"].tolist())
    counts["rows that repeat a reader"] = int(repeated.sum())
    return _Readings(split, by_image.sum(), by_image.size(), boxes, (path, marks), counts)


def _read_marks(path: Path, labels: list[str], images: list[str]) -> tuple[dict[str, tuple[Box, ...]], Counter[str]]:
    frame = read_columns(path, ("image_id", "class_name", *BOX))
    require(path, frame, ("image_id", "class_name"))
    refuse_strangers(path, frame["image_id"].tolist(), images)
    frame["class_name"] = frame["class_name"].replace(TEST_NAMES)
    _refuse_unknown(path, frame["class_name"], labels)
    return _boxes(path, frame)


def _refuse_unknown(path: Path, names: pd.Series, labels: Sequence[str]) -> None:
    unknown = ~names.isin(labels)
    value = next(iter(names[unknown]), None)
    refuse(path, unknown, f"column 'class_name' is {value!r}, none of {', '.join(labels)}")


def _boxes(path: Path, frame: pd.DataFrame) -> tuple[dict[str, tuple[Box, ...]], Counter[str]]:
    """Return the boxes of a table of marks by image; and how many were none, or were cut."""
    boxed = has_box(path, frame, BOX) & (frame["class_name"] != NO_FINDING)
    marks = with_numbers(path, frame, BOX).loc[boxed, ["image_id", "class_name", *BOX]]
    counts: Counter[str] = Counter()
    return boxes_by_image(((image, Box(*box)) for image, *box in marks.itertuples(index=False)), counts), counts


def _folder(images: Path, name: str) -> ImageFolder:
    return ImageFolder.scan(images / name if (images / name).is_dir() else images)


def _holds(readings: _Readings, aggregate: str) -> pd.DataFrame:
    """Return which labels hold, bool by image and label."""
    if aggregate == "majority":
        return readings.votes.mul(2).gt(readings.readers, axis=0)
    holds = readings.votes > 0
    holds[NO_FINDING] = readings.votes[NO_FINDING] == readings.readers
    return holds


def _kept_boxes(readings: _Readings, holds: pd.DataFrame) -> dict[str, tuple[Box, ...]]:
    """Return, by image that was read, its boxes of labels that hold for it."""
    labels_of = holds.to_dict("index")
    return {
        str(image): tuple(box for box in readings.boxes.get(str(image), ()) if labels[box.label])
        for image, labels in labels_of.items()
    }


def _studies(parts: Sequence[_Readings], folders: Sequence[ImageFolder], aggregate: str, seed: int) -> Iterator[Study]:
    for part, folder in zip(parts, folders, strict=True):
        yield from _studies_of_part(part, folder, _holds(part, aggregate), seed)


def _studies_of_part(part: _Readings, folder: ImageFolder, holds: pd.DataFrame, seed: int) -> Iterator[Study]:
    names = holds.index.tolist()
    splits = [None] * len(names) if part.split is None else lend_validation([part.split] * len(names), names, seed)
    boxes = _kept_boxes(part, holds)
    rows = zip(names, splits, holds.to_dict("records"), part.votes.to_dict("records"), strict=True)
    for name, split, labels, votes in rows:
        yield Study(
            study_id=name,
            patient_id=name,
            images=(StudyImage(name, folder.path(f"{name}.dicom"), "PA", boxes=boxes[name]),),
            labels={str(label): float(value) for label, value in labels.items()},
            split=split,
            extra=_opinions(part, name, votes),
        )


def _opinions(part: _Readings, name: str, votes: Mapping[Hashable, int]) -> dict[str, int | str | None]:
    """Return how many readers an image had, and how many gave each label; a consensus does not say."""
    if part.split == "test":
        return {"readers": None, "votes": None}
    given = {label: count for label, count in votes.items() if count}
    return {"readers": int(part.readers[name]), "votes": json.dumps(given)}
