"""PadChest: one image per row of the store, with the labels of its report."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path

import pandas as pd

from igcl_lightning.data.ages import OLDEST
from igcl_lightning.data.sources.layout import ImageFolder, places
from igcl_lightning.data.sources.rows import records, refuse, refuse_conflict, require, with_numbers
from igcl_lightning.data.sources.source import Source
from igcl_lightning.data.sources.tables import find_file, read_columns, sex_name
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.data.views import view_name
from igcl_lightning.errors import IgclError

TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"

METHODS = {"all": None, "physician": "Physician", "rnn": "RNN_model"}
"""What the column `MethodLabel` must be, by the name of the option."""

REQUIRED = (
    "ImageID",
    "StudyDate_DICOM",
    "StudyID",
    "PatientID",
    "PatientBirth",
    "PatientSex_DICOM",
    "Projection",
    "MethodLabel",
    "Labels",
)

EXTRA = {
    "Report": "report_spanish",
    "Labels": "all_labels",
    "Localizations": "localizations",
    "MethodLabel": "method_label",
    "StudyDate_DICOM": "study_date",
    "Pediatric": "pediatric",
}
"""Further columns that are kept, and under which name.

The report is stemmed Spanish without stop words. It is not the study's report: the parser reads English.
"""


SAYS_NOTHING = frozenset({"unchanged", "exclude", "suboptimal study"})
"""Labels that speak of the image or of the report before it, not of findings."""


def read_padchest(
    root: Path,
    *,
    labels: Sequence[str] | None = None,
    min_positives: int = 50,
    method: str = "all",
    images: Path | None = None,
) -> Source:
    """Read the images of PadChest's table.

    Labels are compared in small letters without spaces around them. A label that a labelled row does not name is
    absent from it, but for two cases, where it is not known: the row names a narrower label, one with all words of
    this one and others, as "loculated pleural effusion" is a "pleural effusion"; or it has no label but those that say
    nothing of findings (`SAYS_NOTHING`). A row without labels has none known.

    There is no report: the data set's is stemmed Spanish, kept as the column `report_spanish`. The age is the year of
    the study less that of birth.

    Args:
        root: folder of the table.
        labels: the labels to keep, in this order; without it those of at least `min_positives` rows, by alphabet.
        min_positives: how many rows a label needs that is not asked for.
        method: whose labels: "all", "physician" (read by a physician) or "rnn" (by a model); other rows are left out.
        images: folder with the images, in one folder or many; the root by default.

    Raises:
        IgclError: a file, a column or a label is missing, or a cell cannot be read; the message names file and row.
    """
    if method not in METHODS:
        raise IgclError(f"--method: {method!r} is not one of {', '.join(METHODS)}")
    table = find_file(root, *places(TABLE, "PADCHEST_*.csv"), what="table of images")
    frame, counts = _read_rows(table, method)
    kept = _chosen(table, frame["names"], labels, min_positives)
    folder = ImageFolder.scan(root if images is None else images)
    counts |= folder.noticed(frame["ImageID"])
    return Source(
        name="padchest",
        items=partial(_studies, frame, kept, folder),
        labels=kept,
        extra=tuple(EXTRA.values()),
        inputs=(table,),
        settings={"method": method, "min_positives": min_positives if labels is None else None},
        counts=counts,
        total=len(frame),
    )


def _read_rows(path: Path, method: str) -> tuple[pd.DataFrame, Counter[str]]:
    """Return the rows of a method with columns `names` (of labels, None where not known) and `age`."""
    frame = read_columns(path, REQUIRED, tuple(EXTRA), others=False)
    require(path, frame, ("ImageID", "StudyID", "PatientID"))
    refuse_conflict(path, frame, "StudyID", "PatientID")
    frame["names"] = _label_names(path, frame["Labels"])
    frame["age"], odd = _ages(path, frame)
    silent = frame["names"].map(lambda names: names is not None and SAYS_NOTHING.issuperset(names))
    repeated = frame["ImageID"].duplicated()
    other = ~repeated & (frame["MethodLabel"] != METHODS[method]) if METHODS[method] else repeated & False
    counts = Counter(
        {
            "rows that repeat an image": int(repeated.sum()),
            "rows of another method": int(other.sum()),
            "rows without labels": int(frame.loc[~repeated & ~other, "names"].isna().sum()),
            "rows whose labels say nothing of findings": int(silent[~repeated & ~other].sum()),
            "implausible ages": odd,
        }
    )
    return frame[~repeated & ~other].reset_index(drop=True), counts


def _label_names(path: Path, column: pd.Series) -> pd.Series:
    """Return the labels of each row as a tuple by alphabet, None for a row that has no list or an empty one."""
    parsed = {text: _parse_list(text) for text in column.dropna().unique()}
    wrong = [text for text, names in parsed.items() if names is None]
    refuse(path, column.isin(wrong), "column 'Labels' is not a list such as ['normal', 'pleural effusion']")
    return column.map(lambda text: parsed.get(text) or None).astype(object)


def _parse_list(text: str) -> tuple[str, ...] | None:
    try:
        names = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    return tuple(sorted({" ".join(name.lower().split()) for name in names} - {""}))


def _ages(path: Path, frame: pd.DataFrame) -> tuple[pd.Series, int]:
    """Return the years from birth to the study, nan where not known; and how many could not be."""
    given = with_numbers(path, frame, ("StudyDate_DICOM", "PatientBirth"))
    date = given["StudyDate_DICOM"]
    refuse(path, ~(date.isna() | date.between(19000101, 21001231)), "column 'StudyDate_DICOM' is no date as YYYYMMDD")
    age = date // 10_000 - given["PatientBirth"]
    odd = (age < 0) | (age > OLDEST)
    return age.mask(odd), int(odd.sum())


def _chosen(path: Path, names: pd.Series, labels: Sequence[str] | None, min_positives: int) -> tuple[str, ...]:
    """Return the labels to keep.

    Raises:
        IgclError: a label that is asked for is in none of the rows, or no label is in enough rows.
    """
    positives = Counter(name for row in names.dropna() for name in row)
    if labels is None:
        kept = tuple(sorted(name for name, count in positives.items() if count >= min_positives))
        if not kept:
            raise IgclError(
                f"{path}: no label is in {min_positives} rows or more; lower --min-positives or name --labels"
            )
        return kept
    asked = tuple(dict.fromkeys(" ".join(label.lower().split()) for label in labels))
    for label in asked:
        if label not in positives:
            near = get_close_matches(label, positives, n=1)
            raise IgclError(
                f"--labels: {label!r} is in no row that is kept of {path}" + (f"; is it {near[0]!r}?" if near else "")
            )
    return asked


def _wider(names: Iterable[str], labels: Sequence[str]) -> dict[str, list[str]]:
    """Return, by name, the labels that the name is a narrower one of: it has all their words, and more."""
    words = {label: _words(label) for label in labels}
    return {name: [label for label in labels if words[label] < _words(name)] for name in names}


def _words(label: str) -> frozenset[str]:
    """Return the words of a label; "nodules" and "nodule" are one."""
    return frozenset(word.removesuffix("s") for word in label.split())


def _values(
    names: tuple[str, ...] | None, labels: tuple[str, ...], wider: Mapping[str, Sequence[str]]
) -> dict[str, float | None]:
    """Return the labels of a row that has these names."""
    silent = names is None or SAYS_NOTHING.issuperset(names)
    values: dict[str, float | None] = dict.fromkeys(labels, None if silent else 0.0)
    for name in names or ():
        values |= dict.fromkeys(wider[name])
    return values | {name: 1.0 for name in names or () if name in values}


def _studies(frame: pd.DataFrame, labels: tuple[str, ...], folder: ImageFolder) -> Iterator[Study]:
    wider = _wider({name for names in frame["names"].dropna() for name in names}, labels)
    for row in records(frame):
        image = StudyImage(
            image_id=row["ImageID"],
            source=folder.path(row["ImageID"]),
            view=view_name(row["Projection"]),
            source_view=row["Projection"],
        )
        yield Study(
            study_id=row["StudyID"],
            patient_id=row["PatientID"],
            images=(image,),
            labels=_values(row["names"], labels, wider),
            age=None if pd.isna(row["age"]) else row["age"],
            sex=sex_name(row["PatientSex_DICOM"]),
            extra={name: row[column] for column, name in EXTRA.items()},
        )
