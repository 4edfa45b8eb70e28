"""CheXpert v1.0 and v1.0-small in any of their layouts, and the test set that came with CheXlocalize.

A table with the column `Path` has a row per image. A table with the column `Study`, such as that of the test set,
stands for all images in the folder of the study. Ids are "patient00001", "patient00001/study1" and
"train/patient00001/study1/view1_frontal.jpg", regardless of the first folder of `Path`.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from igcl_lightning.data.label_policy import CHEXPERT_LABELS, LabelPolicy
from igcl_lightning.data.metadata import view_name
from igcl_lightning.data.sources.checks import refuse, refuse_repeats, refuse_strangers, require
from igcl_lightning.data.sources.chexlocalize import Regions, read_regions
from igcl_lightning.data.sources.image_folder import IMAGE_SUFFIXES
from igcl_lightning.data.sources.rows import ages, groups, image_of, records, study_of
from igcl_lightning.data.sources.source import Notes, Source
from igcl_lightning.data.sources.subset import EXACT, subset_rows
from igcl_lightning.data.sources.tables import find_optional, read_columns, table_patterns
from igcl_lightning.data.splits import lend_validation
from igcl_lightning.data.study import CLASS, Study, StudyImage
from igcl_lightning.errors import IgclError

TABLES: Mapping[str, tuple[str, ...]] = {
    "train": ("train.csv",),
    "valid": ("valid.csv", "val_labels.csv"),
    "test": ("test_labels.csv", "groundtruth.csv"),
}
"""File names of the table of each split, best first."""

FOLDERS: Mapping[str, tuple[str, ...]] = {"train": ("train",), "valid": ("valid", "val"), "test": ("test",)}
"""Names of the folder of images of each split."""

SIDE, PROJECTION = "Frontal/Lateral", "AP/PA"
_STUDY = r"(?P<word>train|valid|val|test)/(?P<patient>patient\d+)/(?P<study>study\d+)"


def read_chexpert(
    root: Path,
    *,
    uncertain: str = "ignore",
    blank: str = "missing",
    images: Path | None = None,
    masks: Path | None = None,
    subset: str | None = None,
    seed: int = 0,
) -> Source:
    """Read the splits whose tables are found, one table per split.

    Args:
        root: folder of `train.csv`, or a folder one or two levels above the tables.
        uncertain: value of the label -1 (`LabelPolicy.parse`).
        blank: value of a label that is not mentioned, one of `label_policy.BLANK`.
        images: folder of `train`, `valid` and `test` (default: beside each table, or in unpacked batches).
        masks: file of CheXlocalize's segmentations or annotations, or the folder of these files.
        subset: "5x200" or a file of image ids: only these images, all as test images (`sources.subset`).
        seed: seed of the training patients that become "valid" if no row is, and of the subset.

    Errors: see `data.sources`.
    """
    policy = LabelPolicy.parse(uncertain, blank)
    tables = _find_tables(root)
    counts = Counter(f"table of the {split} split not found" for split in TABLES if split not in tables)
    rows = _read_splits(tables, policy, images, counts)
    rows = rows.assign(split=lend_validation(rows["split"].tolist(), rows["patient"].tolist(), seed))
    notes = Notes([*tables.values()], {**vars(policy), "validation_seed": seed}, counts)
    if subset is not None:
        exact = _read_splits(tables, EXACT, images, Counter())[list(CHEXPERT_LABELS)]
        views = (chexpert_image(row).view for row in records(rows))
        rows = subset_rows(rows, exact, views, subset, seed, notes, _image_id)
    rows = rows.sort_values(["patient", "study", "image"], ignore_index=True)
    regions = {} if masks is None else _find_regions(masks, rows, notes)
    extra = () if subset is None else (CLASS,)
    items = partial(_studies, pa.Table.from_pandas(rows, preserve_index=False), regions, extra)
    total = rows["study"].nunique()
    return Source("chexpert", items, CHEXPERT_LABELS, extra, masks=masks is not None, total=total, **vars(notes))


def chexpert_image(row: Mapping[str, Any]) -> StudyImage:
    """Return the image of a row from `image`, `path`, `name` (of the file), `side` and `projection`.

    If the side is None, the name is used. Some rows are frontal in one column and "LL" or "RL" in the other: their view
    is unknown, and they are flagged.
    """
    side = (row["side"] or row["name"]).lower()
    view = view_name(row["projection"])
    flags: tuple[str, ...] = ()
    if "lateral" in side:
        view = "lateral"
    elif view == "lateral":
        view, flags = "unknown", ("view in doubt",)
    elif view == "unknown" and "frontal" in side:
        view = "frontal"
    words = " ".join(filter(None, (row["side"], row["projection"]))) or None
    return image_of(row, view=view, source_view=words, flags=flags)


def _find_tables(root: Path) -> dict[str, Path]:
    """Return the table of each split that has one."""
    if not root.is_dir():
        raise IgclError(f"--root {root}: no such folder")
    found = {
        split: find_optional(root, *table_patterns(*names), *(f"*/*/{name}" for name in names))
        for split, names in TABLES.items()
    }
    tables = {split: path for split, path in found.items() if path is not None}
    if not tables:
        looked = ", ".join(chain.from_iterable(TABLES.values()))
        raise IgclError(f"{root}: no table of CheXpert; looked for {looked} there and one or two folders deeper")
    return tables


def _read_splits(
    tables: Mapping[str, Path], policy: LabelPolicy, images: Path | None, counts: Counter[str]
) -> pd.DataFrame:
    """Return one row per image, with the labels of the first row of its study."""
    parts = [_read_split(split, path, policy, images, counts) for split, path in tables.items()]
    rows = pd.concat(parts, ignore_index=True)
    splits = rows.groupby("patient", sort=False)["split"].unique()
    shared = splits[splits.str.len() > 1]
    if len(shared):
        first, second = (tables[split] for split in shared.iloc[0][:2])
        raise IgclError(f"{second}: patient {shared.index[0]!r} is in {first} too; splits must be by patient")
    labels = list(CHEXPERT_LABELS)
    of_study = rows.drop_duplicates("study").set_index("study").loc[rows["study"], labels].to_numpy()
    same = np.isclose(of_study, rows[labels].to_numpy(), equal_nan=True).all(axis=1)
    counts["images with other labels than their study's first"] = int((~same).sum())
    rows[labels] = of_study
    return rows


def _read_split(split: str, path: Path, policy: LabelPolicy, images: Path | None, counts: Counter[str]) -> pd.DataFrame:
    """Return one row per image of a table, with its labels."""
    frame, by_image = _read_table(split, path)
    labels = policy.of_table(path, frame, CHEXPERT_LABELS)
    rows = frame[["word", "patient", *(["name"] if by_image else [])]].assign(
        study=frame["patient"] + "/" + frame["study"],
        split=split,
        age=ages(path, frame, "Age", counts, zero_is_blank=True),
        sex=frame["Sex"],
        side=frame[SIDE],
        projection=frame[PROJECTION],
        **labels,
    )
    rows["folder"] = _patient_folders(split, path, images, rows["patient"]) + "/" + rows["study"]
    if not by_image:
        names = [_image_names(folder) for folder in rows["folder"]]
        number = np.array([len(listed) for listed in names], dtype=int)
        counts["studies without images"] += int((number == 0).sum())
        rows = rows.loc[rows.index.repeat(number)].assign(name=[*chain.from_iterable(names)])
    silent = rows["side"].isna() & ~rows["name"].str.contains("frontal|lateral", case=False)
    counts["images of which neither row nor name says the side"] += int(silent.sum())
    image = rows["word"] + "/" + rows["study"] + "/" + rows["name"]
    return rows.assign(image=image, path=rows["folder"] + "/" + rows["name"])


def _read_table(split: str, path: Path) -> tuple[pd.DataFrame, bool]:
    """Return the rows of a table with the parts of their paths, and whether each is an image rather than a study."""
    frame = read_columns(path, CHEXPERT_LABELS, (SIDE, PROJECTION, "Age", "Sex"), others=True)
    key = next((name for name in ("Path", "Study") if name in frame), None)
    if key is None:
        raise IgclError(f"{path}: no column 'Path' or 'Study'; it has {', '.join(map(repr, frame.columns))}")
    require(path, frame, (key,))
    refuse_repeats(path, frame, key)
    by_image = key == "Path"
    parts = frame[key].str.extract(_STUDY + ("/(?P<name>[^/]+)$" if by_image else "/?$"))
    example = f"{split}/patient00001/study1" + ("/view1_frontal.jpg" if by_image else "")
    refuse(path, parts["patient"].isna(), f"column {key!r} is not a path such as {example}")
    return frame.assign(**parts), by_image


def _patient_folders(split: str, table: Path, images: Path | None, patients: pd.Series) -> pd.Series:
    """Return the folder above the folder of each patient."""
    base = table.parent if images is None else images
    names = FOLDERS[split]
    usual = [base / name for name in names] + [path for name in names for path in sorted(base.glob(f"*/{name}"))]
    folder = next(filter(Path.is_dir, usual), None)
    if folder is not None:
        return patients.map(lambda _: str(folder))
    batches = [batch for above in (base, base.parent) for batch in sorted(above.glob("*batch*(train*)/"))]
    if split == "train" and batches:
        # The unpacked batches of v1.0 hold patients without a folder "train".
        batch_of = {patient: str(batch) for batch in batches for patient in os.listdir(batch)}
        return patients.map(lambda patient: batch_of.get(patient, str(batches[0])))
    raise IgclError(f"{base}: no folder {' or '.join(names)} of images for {table.name}; name its parent with --images")


def _image_names(folder: str) -> list[str]:
    """Return the sorted names of the images in the folder of a study."""
    try:
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    except OSError:  # its images are counted as missing
        names = []
    # macOS leaves "._view1_frontal.jpg".
    return [name for name in names if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")]


def _image_id(name: str) -> str:
    """Return the id of an image by its path in any of the layouts."""
    match = re.search(_STUDY + r"/(?P<name>[^/]+)$", name)
    return name if match is None else "/".join(match.group("word", "patient", "study", "name"))


def _find_regions(masks: Path, rows: pd.DataFrame, notes: Notes) -> Regions:
    """Return the regions of CheXlocalize by its names of the images."""
    regions, files = read_regions(masks, notes.counts)
    names = set(map(_region_name, rows["study"], rows["name"]))
    refuse_strangers(files[0], regions, names)
    notes.inputs.extend(files)
    notes.counts["images with regions that are not in the tables"] = len(regions.keys() - names)
    return regions


def _region_name(study: str, name: str) -> str:
    return f"{study.replace('/', '_')}_{name.partition('.')[0]}"


def _studies(rows: pa.Table, regions: Regions, extra: tuple[str, ...]) -> Iterator[Study]:
    for own in groups(rows, "study"):
        images = []
        for row in own:
            found = regions.get(_region_name(row["study"], row["name"]), {})
            masks = {label: region.runs() for label, region in found.items()}
            images.append(replace(chexpert_image(row), masks=masks))
        labels = {name: own[0][name] for name in CHEXPERT_LABELS}
        yield study_of(own[0], images, labels, extra={name: own[0][name] for name in extra})
