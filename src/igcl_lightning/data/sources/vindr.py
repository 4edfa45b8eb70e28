"""VinDr-CXR, from the Kaggle challenge or from PhysioNet: one image per row, the labels of its readers aggregated."""

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
from igcl_lightning.data.sources.checks import refuse_cells, refuse_strangers, require, require_choice
from igcl_lightning.data.sources.image_folder import ImageFolder
from igcl_lightning.data.sources.rows import with_numbers
from igcl_lightning.data.sources.source import Source
from igcl_lightning.data.sources.tables import find_file, read_columns, table_patterns
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

PHYSIONET_FOLDERS = ("annotations/", "*/annotations/", "")

TEST_NAMES = {"Other disease": "Other diseases"}
"""Labels of PhysioNet's test tables, by the name in its training tables."""


@dataclass(frozen=True)
class _Readings:
    """Readers' labels and boxes of some images.

    Attributes:
        split: split of the images, None if the data set has none.
        votes: number of readers who gave a label, int by image and label.
        readers: number of readers, int by image.
        boxes: boxes of all readers, by image.
        inputs: tables that were read.
        counts: number of rows and boxes left out, by reason.
    """

    split: str | None
    votes: pd.DataFrame
    readers: pd.Series
    boxes: Mapping[str, tuple[Box, ...]]
    inputs: tuple[Path, ...]
    counts: Counter[str]

    def holds(self, aggregate: str) -> pd.DataFrame:
        """Return which labels hold, bool by image and label."""
        if aggregate == "majority":
            return self.votes.mul(2).gt(self.readers, axis=0)
        holds = self.votes > 0
        holds[NO_FINDING] = self.votes[NO_FINDING] == self.readers
        return holds

    def kept_boxes(self, aggregate: str) -> dict[str, tuple[Box, ...]]:
        """Return the boxes of each image whose labels hold for it."""
        return {
            str(image): tuple(box for box in self.boxes.get(str(image), ()) if labels[box.label])
            for image, labels in self.holds(aggregate).to_dict("index").items()
        }


def read_vindr(root: Path, *, aggregate: str = "majority", images: Path | None = None, seed: int = 0) -> Source:
    """Read Kaggle's `train.csv`, or PhysioNet's `annotations/image_labels_{train,test}.csv` and their boxes.

    A label holds for an image if more than half of its readers gave it ("majority"), or one of them ("any");
    `No finding` then needs all readers. Boxes of all readers are kept for labels that hold. There are no patient ids:
    each image counts as a patient. All images are PA, according to the data set's description.

    Args:
        root: folder of the unpacked data set.
        aggregate: one of `AGGREGATE`.
        images: folder of `train` and `test`, or of Kaggle's training images (default: `root`). Boxes are in pixels of
            the original images, so images of another size do not fit.
        seed: seed of the validation split that is lent from PhysioNet's training images; Kaggle's form has no splits.

    Raises:
        IgclError: a file or a column is missing, or a cell is wrong; the message names file and row.
    """
    require_choice("--aggregate", aggregate, AGGREGATE)
    patterns = [f"{folder}image_labels_{split}.csv" for folder in PHYSIONET_FOLDERS for split in ("train", "test")]
    table = find_file(root, *patterns, *table_patterns("train.csv"), what="table of labels")
    parts = [_read_kaggle(table)] if table.name.startswith("train.csv") else _read_physionet(table.parent)
    folders = [_folder(root if images is None else images, part.split or "train") for part in parts]
    return Source(
        name="vindr",
        items=partial(_studies, parts, folders, aggregate, seed),
        labels=tuple(parts[0].votes.columns),
        extra=("readers", "votes"),
        boxes=True,
        inputs=[path for part in parts for path in part.inputs],
        settings={"aggregate": aggregate, "seed": None if parts[0].split is None else seed},
        counts=_counts(parts, folders, aggregate),
        total=sum(len(part.votes) for part in parts),
    )


def _counts(parts: Sequence[_Readings], folders: Sequence[ImageFolder], aggregate: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    for part, folder in zip(parts, folders, strict=True):
        counts.update(part.counts)
        kept = sum(map(len, part.kept_boxes(aggregate).values()))
        counts["boxes of labels that do not hold"] += sum(map(len, part.boxes.values())) - kept
        counts.update(folder.noticed(map("{}.dicom".format, part.votes.index)))
    return counts


def _read_kaggle(path: Path) -> _Readings:
    """Read one row per mark of a reader, with the class No finding for readers who marked nothing."""
    frame = _read_marks(path, KEYS)
    boxes, counts = _boxes(path, frame, KAGGLE_LABELS)
    given = frame[[*KEYS, "class_name"]].drop_duplicates()
    votes = pd.crosstab(given["image_id"], given["class_name"]).reindex(columns=list(KAGGLE_LABELS), fill_value=0)
    return _Readings(None, votes, frame.groupby("image_id")["rad_id"].nunique(), boxes, (path,), counts)


def _read_physionet(folder: Path) -> list[_Readings]:
    """Read the tables of training and test images that exist."""
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
    frame = read_columns(path, (*keys, NO_FINDING), ("rad_id",), others=True).rename(columns=TEST_NAMES)
    labels = [*sorted(set(frame.columns) - {*KEYS, NO_FINDING}), NO_FINDING]
    require(path, frame, (*keys, *labels))
    values = with_numbers(path, frame, labels, binary=True)[labels]
    repeated = frame[list(KEYS)].duplicated()
    by_image = values[~repeated].astype(int).groupby(frame.loc[~repeated, "image_id"])
    marked = _read_marks(marks, ("image_id",))
    refuse_strangers(marks, marked["image_id"].tolist(), frame["image_id"].tolist())
    boxes, counts = _boxes(marks, marked.replace({"class_name": TEST_NAMES}), labels)
    counts["rows that repeat a reader"] = int(repeated.sum())
    return _Readings(split, by_image.sum(), by_image.size(), boxes, (path, marks), counts)


def _read_marks(path: Path, keys: Sequence[str]) -> pd.DataFrame:
    return read_columns(path, (*keys, "class_name", *BOX), filled=(*keys, "class_name"))


def _boxes(path: Path, marks: pd.DataFrame, labels: Sequence[str]) -> tuple[dict[str, tuple[Box, ...]], Counter[str]]:
    """Return the boxes of each image, and the number of boxes cut or left out."""
    names = marks["class_name"]
    refuse_cells(path, names, ~names.isin(labels), f"is none of {', '.join(labels)}")
    boxed = has_box(path, marks, BOX) & (names != NO_FINDING)
    rows = with_numbers(path, marks, BOX).loc[boxed, ["image_id", "class_name", *BOX]].itertuples(index=False)
    counts: Counter[str] = Counter()
    return boxes_by_image(((image, Box(*box)) for image, *box in rows), counts), counts


def _folder(images: Path, name: str) -> ImageFolder:
    return ImageFolder.scan(images / name if (images / name).is_dir() else images)


def _studies(parts: Sequence[_Readings], folders: Sequence[ImageFolder], aggregate: str, seed: int) -> Iterator[Study]:
    for part, folder in zip(parts, folders, strict=True):
        holds = part.holds(aggregate)
        names = holds.index.tolist()
        splits = [None] * len(names) if part.split is None else lend_validation([part.split] * len(names), names, seed)
        boxes = part.kept_boxes(aggregate)
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
    """Return the number of readers of an image and of votes for each label, which a consensus does not tell."""
    if part.split == "test":
        return {"readers": None, "votes": None}
    given = {label: count for label, count in votes.items() if count}
    return {"readers": int(part.readers[name]), "votes": json.dumps(given)}
