"""CheXpert v1.0 and v1.0-small in any of their layouts, and the test set that came with CheXlocalize."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from igcl_lightning.data.label_policy import CHEXPERT_LABELS, LabelPolicy, LabelTable
from igcl_lightning.data.sources.layout import IMAGE_SUFFIXES, places
from igcl_lightning.data.sources.rows import ages, groups, refuse, refuse_repeats, require
from igcl_lightning.data.sources.source import Source
from igcl_lightning.data.sources.tables import find_optional, read_columns, sex_name
from igcl_lightning.data.splits import lend_validation
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.data.views import view_name
from igcl_lightning.errors import IgclError

TABLES: Mapping[str, tuple[str, ...]] = {
    "train": ("train.csv",),
    "valid": ("valid.csv", "val_labels.csv"),
    "test": ("test_labels.csv", "groundtruth.csv"),
}
"""Tables of each split; the first that is found counts."""

FOLDERS: Mapping[str, tuple[str, ...]] = {"train": ("train",), "valid": ("valid", "val"), "test": ("test",)}
"""Names of the folder of images of each split."""

IN_DOUBT = "view in doubt"
"""Flag of an image that its table calls frontal in one column and lateral in another."""

SIDE, PROJECTION = "Frontal/Lateral", "AP/PA"
ABOUT = (SIDE, PROJECTION, "Age", "Sex")
_STUDY = r"(?P<word>train|valid|val|test)/(?P<patient>patient\d+)/(?P<study>study\d+)"


def read_chexpert(
    root: Path,
    *,
    uncertain: str = "ignore",
    blank: str = "missing",
    images: Path | None = None,
    seed: int = 0,
) -> Source:
    """Read the splits whose tables are found; each table is a split.

    A table by `Path` names its images. A table by `Study`, as the test set has it, holds for all images in the folder
    of the study. Ids are "patient00001", "patient00001/study1" and "train/patient00001/study1/view1_frontal.jpg",
    whatever folder a `Path` begins with.

    Args:
        root: folder of `train.csv`, or a folder one or two above several with tables.
        uncertain: what the label value -1 becomes (`LabelPolicy.parse`).
        blank: what a label that a report does not mention becomes, one of `label_policy.BLANK`.
        images: folder of `train`, `valid` and `test`; that of each table by default, or the unpacked batches beside it.
        seed: of the training patients that become "valid" where there is no table of validation images.

    Raises:
        IgclError: no table or no folder of images is found, a column is missing, a cell cannot be read, or a patient
            stands in two tables; the message names file, row and column.
    """
    policy = LabelPolicy.parse(uncertain, blank)
    policy.check(CHEXPERT_LABELS)
    tables = _tables(root)
    counts = Counter(f"table of {split} images not found" for split in TABLES if split not in tables)
    read = [_read_split(split, path, policy, images, counts) for split, path in tables.items()]
    rows = pd.concat([frame for frame, _ in read], ignore_index=True)
    values = np.concatenate([values for _, values in read])
    _refuse_shared_patients(tables, rows)
    rows = rows.assign(split=lend_validation(rows["split"].tolist(), rows["patient"].tolist(), seed))
    labels = _labels_of_studies(rows["study"], values, counts)
    rows = rows.sort_values(["patient", "study", "image"], ignore_index=True)
    return Source(
        name="chexpert",
        items=partial(_studies, pa.Table.from_pandas(rows, preserve_index=False), labels),
        labels=CHEXPERT_LABELS,
        inputs=tuple(tables.values()),
        settings={**policy.described(), "validation_seed": seed},
        counts=counts,
        total=len(labels.row),
    )


def frontal_view(side: str | None, projection: str | None, name: str) -> tuple[str, str | None, bool]:
    """Return the view of an image, the source's words for it, and whether these contradict each other.

    Some rows of CheXpert are frontal in one column and "LL" or "RL" in the other: their view is unknown.

    Args:
        side: "Frontal" or "Lateral"; where blank, the name of the file tells.
        projection: "AP" or "PA"; blank for laterals.
        name: of the file.
    """
    words = " ".join(filter(None, (side, projection))) or None
    if "lateral" in (side or name).lower():
        return "lateral", words, False
    view = view_name(projection)
    if view == "unknown" and "frontal" in (side or name).lower():
        view = "frontal"
    return ("unknown", words, True) if view == "lateral" else (view, words, False)


def _tables(root: Path) -> dict[str, Path]:
    """Return the table of each split that has one."""
    if not root.is_dir():
        raise IgclError(f"--root {root}: no such folder")
    tables = {}
    for split, names in TABLES.items():
        path = find_optional(root, *places(*names), *(f"*/*/{name}" for name in names))
        if path is not None:
            tables[split] = path
    if not tables:
        looked = ", ".join(chain.from_iterable(TABLES.values()))
        raise IgclError(f"{root}: no table of CheXpert; looked for {looked} there and one or two folders deeper")
    return tables


def _read_split(
    split: str, path: Path, policy: LabelPolicy, images: Path | None, counts: Counter[str]
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return one row per image of a table, and its labels [N, L]."""
    frame = read_columns(path, CHEXPERT_LABELS, ABOUT)
    key = next((name for name in ("Path", "Study") if name in frame), None)
    if key is None:
        raise IgclError(f"{path}: no column 'Path' or 'Study'; it has {', '.join(map(repr, frame.columns))}")
    require(path, frame, (key,))
    refuse_repeats(path, frame, key)
    parts = frame[key].str.extract(_STUDY + ("/(?P<name>[^/]+)$" if key == "Path" else "/?$"))
    example = f"{split}/patient00001/study1" + ("/view1_frontal.jpg" if key == "Path" else "")
    refuse(path, parts["patient"].isna(), f"column {key!r} is no path such as {example}")
    values = policy.of_table(path, frame, CHEXPERT_LABELS)
    rows = parts.assign(
        split=split,
        age=ages(path, frame, "Age", counts, zero_is_blank=True),
        sex=frame["Sex"].map(sex_name),
        side=frame[SIDE],
        projection=frame[PROJECTION],
        folder=[*map(_folder_of(split, path, images), parts["patient"])],
    )
    if key == "Study":
        at, names = _listed(rows)
        counts["studies without images"] += len(rows) - len(set(at))
        rows, values = rows.iloc[at].assign(name=names), values[at]
    silent = rows["side"].isna() & ~rows["name"].str.contains("frontal|lateral", case=False)
    counts["images of which neither row nor name says the side"] += int(silent.sum())
    study = rows["patient"] + "/" + rows["study"]
    return rows.assign(study=study, image=rows["word"] + "/" + study + "/" + rows["name"]), values


def _folder_of(split: str, table: Path, images: Path | None) -> Callable[[str], str]:
    """Return what gives the folder that a patient's folder lies in.

    Raises:
        IgclError: there is no folder of images for this split.
    """
    base = table.parent if images is None else images
    names = FOLDERS[split]
    usual = [base / name for name in names] + [path for name in names for path in sorted(base.glob(f"*/{name}"))]
    if (folder := next(filter(Path.is_dir, usual), None)) is not None:
        return lambda patient: str(folder)
    batches = [batch for above in (base, base.parent) for batch in sorted(above.glob("*batch*(train*)/"))]
    if split == "train" and batches:
        # The unpacked parts of v1.0 hold patients without a folder "train" above them.
        where = {patient: str(batch) for batch in batches for patient in os.listdir(batch)}
        return lambda patient: where.get(patient, str(batches[0]))
    raise IgclError(
        f"{base}: no folder {' or '.join(names)} of images for {table.name}; name the one above it with --images"
    )


def _listed(rows: pd.DataFrame) -> tuple[list[int], list[str]]:
    """Return the images in the folders of the studies: the place of each one's study in the rows, and its name."""
    at, names = [], []
    for place, parts in enumerate(zip(rows["folder"], rows["patient"], rows["study"], strict=True)):
        folder = Path(*parts)
        listed = os.listdir(folder) if folder.is_dir() else []
        for name in sorted(name for name in listed if _is_image(name)):
            at.append(place)
            names.append(name)
    return at, names


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")  # macOS leaves "._view1_frontal.jpg"


def _refuse_shared_patients(tables: Mapping[str, Path], rows: pd.DataFrame) -> None:
    """Refuse a patient in two tables."""
    splits = rows.groupby("patient", sort=False)["split"].unique()
    shared = splits[splits.str.len() > 1]
    if len(shared):
        first, second = (tables[split] for split in shared.iloc[0][:2])
        raise IgclError(f"{second}: patient {shared.index[0]!r} stands in {first} too; splits must be by patient")


def _labels_of_studies(studies: pd.Series, values: np.ndarray, counts: Counter[str]) -> LabelTable:
    """Return the labels by study: those of its first image, which its other images repeat."""
    first: dict[str, int] = {}
    for row, study in enumerate(studies):
        first.setdefault(study, row)
    own = values[[first[study] for study in studies]]
    same = (own == values) | (np.isnan(own) & np.isnan(values))
    counts["images with other labels than their study's first"] = int((~same.all(axis=1)).sum())
    return LabelTable(CHEXPERT_LABELS, values, first)


def _studies(rows: pa.Table, labels: LabelTable) -> Iterator[Study]:
    """Yield the studies; the rows of one follow one another."""
    for study, own in groups(rows, "study"):
        yield Study(
            study_id=study,
            patient_id=own[0]["patient"],
            images=tuple(map(_image, own)),
            labels=labels.of(study),
            split=own[0]["split"],
            age=own[0]["age"],
            sex=own[0]["sex"],
        )


def _image(record: Mapping[str, Any]) -> StudyImage:
    view, words, doubt = frontal_view(record["side"], record["projection"], record["name"])
    path = Path(f"{record['folder']}/{record['study']}/{record['name']}")
    return StudyImage(record["image"], path, view, words, flags=(IN_DOUBT,) if doubt else ())
