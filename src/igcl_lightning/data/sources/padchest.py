"""PadChest: one image per row of the store, with the labels of its report."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from igcl_lightning.data.metadata import OLDEST
from igcl_lightning.data.sources.checks import refuse, refuse_conflict, require_choice
from igcl_lightning.data.sources.image_folder import ImageFolder
from igcl_lightning.data.sources.rows import image_of, records, study_of, with_numbers
from igcl_lightning.data.sources.source import Source
from igcl_lightning.data.sources.tables import find_file, read_columns, table_patterns
from igcl_lightning.data.study import Study
from igcl_lightning.errors import IgclError, suggestion

TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"

METHODS = {"all": None, "physician": "Physician", "rnn": "RNN_model"}
"""Value of the column `MethodLabel` by method."""

COLUMNS: Mapping[str, str] = {
    "ImageID": "image",
    "StudyID": "study",
    "PatientID": "patient",
    "Projection": "view",
    "PatientSex_DICOM": "sex",
}
REQUIRED = (*COLUMNS, "StudyDate_DICOM", "PatientBirth", "MethodLabel", "Labels")

EXTRA: Mapping[str, str] = {
    "Report": "report_spanish",
    "Labels": "all_labels",
    "Localizations": "localizations",
    "MethodLabel": "method_label",
    "StudyDate_DICOM": "study_date",
    "Pediatric": "pediatric",
}
"""Names of the further columns. The report is stemmed Spanish without stop words, which the parser cannot read."""

SAYS_NOTHING = frozenset({"unchanged", "exclude", "suboptimal study"})
"""Labels about the image or an earlier report, not about findings."""


def read_padchest(
    root: Path,
    *,
    labels: Sequence[str] | None = None,
    min_positives: int = 50,
    method: str = "all",
    images: Path | None = None,
) -> Source:
    """Read the images of PadChest's table, with the column `report_spanish` instead of a report.

    Labels are compared in lower case. A label that a row does not name is absent, or unknown if the row names a
    narrower label with all its words, such as "loculated pleural effusion" for "pleural effusion", or only labels of
    `SAYS_NOTHING`. The age is the year of the study minus the year of birth.

    Args:
        root: folder of the table.
        labels: labels to keep, in this order (default: those of at least `min_positives` rows, sorted).
        min_positives: number of rows of a label that is kept by default.
        method: rows to keep: "all", "physician" (labelled by a physician) or "rnn" (labelled by a model).
        images: folder of the images, with subfolders (default: `root`).

    Errors: see `data.sources`.
    """
    require_choice("--method", method, METHODS)
    table = find_file(root, *table_patterns(TABLE, "PADCHEST_*.csv"), what="table of images")
    frame, counts = _read_rows(table, method)
    kept = _chosen(table, frame["names"], labels, min_positives)
    folder = ImageFolder(root if images is None else images)
    counts |= folder.noticed(frame["image"])
    items, extra = partial(_studies, frame, kept, folder), tuple(EXTRA.values())
    settings = {"method": method, "min_positives": min_positives if labels is None else None}
    total = len(frame)
    return Source("padchest", items, kept, extra, inputs=(table,), settings=settings, counts=counts, total=total)


def _read_rows(path: Path, method: str) -> tuple[pd.DataFrame, Counter[str]]:
    """Return the rows of a method with the columns of `study_of` and `names` (of labels, None if unknown)."""
    frame = read_columns(path, REQUIRED, tuple(EXTRA), filled=("ImageID", "StudyID", "PatientID"))
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
    return frame[~repeated & ~other].rename(columns={**COLUMNS, **EXTRA}), counts


def _label_names(path: Path, column: pd.Series) -> pd.Series:
    """Return the sorted labels of each row, None if it has no list or an empty one."""
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
    """Return the years from birth to the study, nan if unknown, and the number of implausible ones."""
    given = with_numbers(path, frame, ("StudyDate_DICOM", "PatientBirth"))
    date = given["StudyDate_DICOM"]
    refuse(path, ~(date.isna() | date.between(19000101, 21001231)), "column 'StudyDate_DICOM' is not a date YYYYMMDD")
    age = date // 10_000 - given["PatientBirth"]
    odd = (age < 0) | (age > OLDEST)
    return age.mask(odd), int(odd.sum())


def _chosen(path: Path, names: pd.Series, labels: Sequence[str] | None, min_positives: int) -> tuple[str, ...]:
    """Return the labels to keep: the requested ones, or those in enough rows."""
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
            raise IgclError(f"--labels: no kept row of {path} has {label!r}{suggestion(label, positives)}")
    return asked


def _words(label: str) -> frozenset[str]:
    """Return the words of a label, in the singular."""
    return frozenset(word.removesuffix("s") for word in label.split())


def _values(
    names: tuple[str, ...] | None, labels: tuple[str, ...], wider: Mapping[str, Sequence[str]]
) -> dict[str, float | None]:
    """Return the labels of a row with these names."""
    silent = names is None or SAYS_NOTHING.issuperset(names)
    values: dict[str, float | None] = dict.fromkeys(labels, None if silent else 0.0)
    for name in names or ():
        values |= dict.fromkeys(wider[name])
    return values | {name: 1.0 for name in names or () if name in values}


def _studies(frame: pd.DataFrame, labels: tuple[str, ...], folder: ImageFolder) -> Iterator[Study]:
    named = {name for names in frame["names"].dropna() for name in names}
    words = {name: _words(name) for name in named | set(labels)}
    wider = {name: [label for label in labels if words[label] < words[name]] for name in named}
    for row in records(frame):
        yield study_of(
            row,
            [image_of({**row, "path": folder.path(row["image"])})],
            labels=_values(row["names"], labels, wider),
            extra={name: row[name] for name in EXTRA.values()},
        )
