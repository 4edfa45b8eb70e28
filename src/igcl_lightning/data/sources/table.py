"""Any CSV file with one row per image: the columns are named on the command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from igcl_lightning.data.splits import split_name, split_of_patient
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.errors import IgclError

VALID_SHARE = {"train": 0.9, "valid": 0.1}

UNCERTAIN = {"ignore": None, "positive": 1.0, "negative": 0.0}
"""What the label value -1 becomes."""

_VIEWS = {
    "pa": "PA",
    "ap": "AP",
    "ap supine": "AP",
    "ap_horizontal": "AP",
    "l": "lateral",
    "ll": "lateral",
    "rl": "lateral",
    "lateral": "lateral",
}


@dataclass(frozen=True)
class TableColumns:
    """Which column holds what; None where the table has no such column.

    Attributes:
        image: path of the image, relative to the table's root.
        patient: id of the person; without it every study is taken for a person of its own.
        study: id of the study; without it every row is a study.
        report: report text.
        labels: label columns with values 1, 0, -1 (uncertain) or blank (not known).
        split: a word for train, valid or test.
        view: projection, such as PA or AP.
        age: in years.
        sex: F or M.
        extra: further columns to keep.
        arrays: columns that name `.npy` files of numbers, relative to the table's root.
    """

    image: str
    patient: str | None = None
    study: str | None = None
    report: str | None = None
    labels: Sequence[str] = field(default_factory=tuple)
    split: str | None = None
    view: str | None = None
    age: str | None = None
    sex: str | None = None
    extra: Sequence[str] = field(default_factory=tuple)
    arrays: Sequence[str] = field(default_factory=tuple)

    def named(self) -> list[str]:
        """Return the columns that must exist."""
        single = (self.image, self.patient, self.study, self.report, self.split, self.view, self.age, self.sex)
        return [name for name in single if name is not None] + [*self.labels, *self.extra, *self.arrays]


def read_table(
    csv: Path,
    columns: TableColumns,
    *,
    root: Path | None = None,
    split_values: Mapping[str, str] | None = None,
    uncertain: str = "ignore",
    seed: int = 0,
) -> Iterator[Study]:
    """Yield one study per row of a CSV file.

    When the table names splits but no row is "valid", a tenth of the training patients becomes "valid", so that a test
    split of the table's own stays untouched.

    Args:
        csv: the table.
        columns: which column holds what.
        root: folder that image paths are relative to; the table's own by default.
        split_values: split for values of the split column, such as {"fold0": "test"}.
        uncertain: what the label value -1 becomes, one of `UNCERTAIN`.
        seed: of the drawn validation split.

    Raises:
        IgclError: the file or a column is missing, or a cell cannot be read; the message names file, row and column.
    """
    frame = _read_frame(csv, columns)
    folder = csv.parent if root is None else root
    splits = _splits(csv, frame, columns, split_values or {}, seed)
    for number, record in enumerate(frame.to_dict("records")):
        where = f"{csv} row {number + 2}"
        image = record[columns.image]
        if image is None:
            raise IgclError(f"{where}: column {columns.image!r} is empty")
        if columns.patient is not None and record[columns.patient] is None:
            raise IgclError(f"{where}: column {columns.patient!r} is empty; without a patient no split is safe")
        study = _text(record, columns.study) or image
        yield Study(
            study_id=study,
            patient_id=_text(record, columns.patient) or study,
            images=(StudyImage(image, folder / image, view_name(_text(record, columns.view))),),
            report={"report": report} if (report := _text(record, columns.report)) else {},
            labels={label: _label(record[label], f"{where}, column {label!r}", uncertain) for label in columns.labels},
            split=splits[number],
            age=_number(_text(record, columns.age), f"{where}, column {columns.age!r}"),
            sex=_sex(_text(record, columns.sex)),
            extra={name: record[name] for name in columns.extra},
            arrays={name: None if record[name] is None else folder / record[name] for name in columns.arrays},
        )


def view_name(value: str | None) -> str:
    """Return the project's name of a projection, "unknown" for a word it does not know."""
    return _VIEWS.get((value or "").strip().lower(), "unknown")


def _read_frame(csv: Path, columns: TableColumns) -> pd.DataFrame:
    """Read the table as text, blank cells as None."""
    try:
        frame = pd.read_csv(csv, dtype=str, keep_default_na=False, skipinitialspace=True)
    except FileNotFoundError:
        raise IgclError(f"{csv}: no such file") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise IgclError(f"{csv}: not a CSV file ({str(error).strip()})") from None
    for name in columns.named():
        if name not in frame.columns:
            raise IgclError(f"{csv}: no column {name!r}; it has {', '.join(map(repr, frame.columns))}")
    stripped = frame.apply(lambda column: column.str.strip())
    blank = stripped.apply(lambda column: column.str.lower().isin(("", "nan")))
    text: pd.DataFrame = stripped.astype(object).mask(blank, None)
    return text.reset_index(drop=True)


def _splits(
    csv: Path, frame: pd.DataFrame, columns: TableColumns, split_values: Mapping[str, str], seed: int
) -> list[str | None]:
    """Return the split of each row, None where `prepare` is to draw it."""
    if columns.split is None:
        return [None] * len(frame)
    splits: list[str | None] = []
    for number, value in enumerate(frame[columns.split]):
        if value is None:
            raise IgclError(f"{csv} row {number + 2}: column {columns.split!r} is empty")
        try:
            splits.append(split_name(split_values.get(value, value)))
        except IgclError as error:
            raise IgclError(f"{csv} row {number + 2}: {error}") from None
    if "valid" in splits:
        return splits
    patients = frame[columns.patient or columns.study or columns.image]
    return [
        split_of_patient(str(patient), VALID_SHARE, seed) if split == "train" else split
        for patient, split in zip(patients, splits, strict=True)
    ]


def _text(record: Mapping[Any, Any], column: str | None) -> str | None:
    return None if column is None else record[column]


def _sex(value: str | None) -> str | None:
    first = (value or "")[:1].upper()
    return first if first in ("F", "M") else None


def _number(value: str | None, where: str) -> float | None:
    if value is None:
        return None
    try:
        return float(value)
    except ValueError:
        raise IgclError(f"{where}: {value!r} is not a number") from None


def _label(value: str | None, where: str, uncertain: str) -> float | None:
    number = _number(value, where)
    if number == -1:
        return UNCERTAIN[uncertain]
    if number not in (None, 0, 1):
        raise IgclError(f"{where}: label {value!r} is not 1, 0, -1 or blank")
    return number
