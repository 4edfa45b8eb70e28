"""COVIDx, such as COVIDx CXR-4: one image per row, of one class, in the splits of its own lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from igcl_lightning.closing import write_note
from igcl_lightning.data.sources.checks import refuse_conflict
from igcl_lightning.data.sources.rows import image_of, records, study_of
from igcl_lightning.data.sources.source import Source
from igcl_lightning.data.splits import lend_validation
from igcl_lightning.data.study import SPLITS, Study
from igcl_lightning.errors import IgclError
from igcl_lightning.reports.files import reason

LABELS = ("Normal", "Pneumonia", "COVID-19")
COVID = LABELS[-1]
CLASSES: Mapping[str, str | None] = {
    **{name.lower(): name for name in LABELS},
    "covid19": COVID,
    "covid": COVID,
    "positive": COVID,
    "negative": None,
}
"""Class of each word of the lists; lists of two classes say "positive" and "negative"."""

FOLDERS: Mapping[str, tuple[str, ...]] = {"train": ("train",), "valid": ("val", "valid"), "test": ("test",)}
"""Names of the list of each split, and of the folder of its images."""


class _Line(NamedTuple):
    """A line of a list: patient, file, class and source, which older lists lack."""

    patient: str
    file: str
    word: str
    source: str | None

    @classmethod
    def parse(cls, text: str) -> _Line | None:
        """Read a line, None if it has no class; a file name may contain spaces."""
        words = text.split()
        for place in (-2, -1):
            if len(words) >= 2 - place and words[place].lower() in CLASSES:
                return cls(words[0], " ".join(words[1:place]), words[place].lower(), words[-1] if place == -2 else None)
        return None


def read_covidx(root: Path, *, images: Path | None = None, seed: int = 0) -> Source:
    """Read the lists `train.txt`, `val.txt` and `test.txt`, lines of patient, file, class and source.

    The classes are normal, pneumonia and COVID-19, one label each, or "positive" and "negative", one label, COVID-19.
    Where lists have both, normal and pneumonia of a "negative" image are unknown.
    The ids of patients count within a source. Training and validation images of a patient of a later split are left
    out.

    Args:
        root: folder of the lists, or its parent.
        images: folder of `train`, `val` and `test`, or of all images (default: beside the lists).
        seed: seed of the training patients that become "valid" if there is no list of them.

    Errors: see `data.sources`.
    """
    lists = _find_lists(root)
    counts: Counter[str] = Counter()
    rows = pd.concat([_read_list(split, path, images, counts) for split, path in lists.items()], ignore_index=True)
    rows = _apart(rows, counts)
    rows["split"] = lend_validation(rows["split"].tolist(), rows["patient"].tolist(), seed)
    binary = set(rows["word"]) <= {"positive", "negative"}
    labels = (COVID,) if binary else LABELS
    if binary:
        write_note(f"{root}: the lists say positive and negative only, so {COVID} is the only label")
    else:
        counts["negative images, normal or pneumonia unknown"] = int((rows["word"] == "negative").sum())
    return Source(
        name="covidx",
        items=partial(_studies, rows, labels),
        labels=labels,
        extra=("source",),
        inputs=tuple(lists.values()),
        settings={"validation_seed": seed},
        counts=+counts,
        total=len(rows),
    )


def _find_lists(root: Path) -> dict[str, Path]:
    """Return the list of each split that has one; those of training and test are needed."""
    lists = {}
    for split, names in FOLDERS.items():
        patterns = [f"{deeper}{name}{more}.txt" for more in ("", "_COVIDx*") for deeper in ("", "*/") for name in names]
        found = [paths for pattern in patterns if (paths := sorted(filter(Path.is_file, root.glob(pattern))))]
        if found and len(found[0]) > 1:
            first, second, *_ = found[0]
            raise IgclError(f"{root}: several lists of {split}, {first.name} and {second.name}; keep one of them")
        if found:
            lists[split] = found[0][0]
    for split in ("train", "test"):
        if split not in lists:
            raise IgclError(f"{root}: no list {split}.txt of COVIDx, there or one folder deeper")
    return lists


def _read_list(split: str, path: Path, images: Path | None, counts: Counter[str]) -> pd.DataFrame:
    """Return one row per image of a list."""
    lines = _lines(path)
    frame = pd.DataFrame(lines.values(), columns=_Line._fields, dtype=object, index=[number - 2 for number in lines])
    refuse_conflict(path, frame, "file", "word")
    repeated = frame["file"].duplicated()
    counts["lines of an image named before"] += int(repeated.sum())
    frame = frame[~repeated]
    base = path.parent if images is None else images
    folder = next((base / name for name in FOLDERS[split] if (base / name).is_dir()), base)
    image = f"{FOLDERS[split][0]}/" + frame["file"]
    patient = frame["source"].fillna("") + "/" + frame["patient"]
    return frame.assign(image=image, study=image, patient=patient, split=split, path=f"{folder}/" + frame["file"])


def _lines(path: Path) -> dict[int, _Line]:
    """Return the lines of a list that are not blank, by number from 1."""
    try:
        texts = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise IgclError(f"{path}: {reason(error) if isinstance(error, OSError) else error}") from error
    lines = {number: _Line.parse(text) for number, text in enumerate(texts, start=1) if text.strip()}
    for number, line in lines.items():
        if line is None:
            expected = f"a patient, a file, a class ({', '.join(CLASSES)}) and a source"
            raise IgclError(f"{path} line {number}: {texts[number - 1][:60]!r} is not {expected}")
    return {number: line for number, line in lines.items() if line is not None}


def _apart(rows: pd.DataFrame, counts: Counter[str]) -> pd.DataFrame:
    """Return the rows without those of patients who are also in a later split."""
    for place, split in enumerate(SPLITS[:-1]):
        later = set(rows.loc[rows["split"].isin(SPLITS[place + 1 :]), "patient"])
        shared = (rows["split"] == split) & rows["patient"].isin(later)
        counts[f"{split} images of patients of a later split, left out"] += int(shared.sum())
        rows = rows[~shared]
    return rows.reset_index(drop=True)


def _studies(rows: pd.DataFrame, labels: tuple[str, ...]) -> Iterator[Study]:
    for row in records(rows):
        held = CLASSES[row["word"]]
        absent = None if held is None else 0.0
        yield study_of(
            row,
            [image_of(row)],
            labels={label: 1.0 if label == held else 0.0 if label == COVID else absent for label in labels},
            extra={"source": row["source"]},
        )
