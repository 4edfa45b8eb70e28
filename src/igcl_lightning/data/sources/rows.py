"""Columns as values, and rows as studies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from igcl_lightning.data.metadata import age_in_years, sex_name, view_name
from igcl_lightning.data.regions import Box
from igcl_lightning.data.sources.checks import refuse, refuse_cells, refuse_conflict, require
from igcl_lightning.data.splits import lend_validation, split_name
from igcl_lightning.data.study import SPLITS, Study, StudyImage
from igcl_lightning.errors import IgclError, suggestion
from igcl_lightning.texts import plain_id

SEVERAL_REPORTS = "studies whose images have several reports"

BATCH = 10_000
"""Number of rows converted to dictionaries at once."""


def with_numbers(path: Path, frame: pd.DataFrame, columns: Iterable[str], *, binary: bool = False) -> pd.DataFrame:
    """Return the frame with some columns as float, nan where blank.

    Raises:
        IgclError: a cell is not a finite number, or with `binary` neither 0 nor 1.
    """
    changed = frame.copy()
    for column in columns:
        values = pd.to_numeric(frame[column], errors="coerce").astype(float)
        refuse_cells(path, frame[column], frame[column].notna() & ~(values.abs() < float("inf")), "is not a number")
        if binary:
            refuse(path, ~values.isin((0, 1)), f"column {column!r} is not 0 or 1")
        changed[column] = values
    return changed


def has_box(path: Path, frame: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    """Return which rows have all numbers of a box, bool by row; raise if a row has only some of them."""
    given = frame[list(columns)].notna()
    refuse(path, given.any(axis=1) & ~given.all(axis=1), f"a box needs all of {', '.join(columns)}, or none")
    return given.all(axis=1)


def boxes_by_image(marks: Iterable[tuple[str, Box]], counts: Counter[str]) -> dict[str, tuple[Box, ...]]:
    """Return the boxes by image id, cut at its left and upper edge; boxes cut or without area are counted."""
    boxes: dict[str, tuple[Box, ...]] = {}
    for image, whole in marks:
        box = whole._replace(x_min=max(whole.x_min, 0.0), y_min=max(whole.y_min, 0.0))
        if box.x_max <= box.x_min or box.y_max <= box.y_min:
            counts["boxes without area"] += 1
            continue
        if box != whole:
            counts["boxes cut at the edge of the image"] += 1
        boxes[image] = (*boxes.get(image, ()), box)
    return boxes


def ages(
    path: Path, frame: pd.DataFrame, column: str, counts: Counter[str], *, zero_is_blank: bool = False
) -> pd.Series:
    """Return a column of ages in years, nan where unknown; cells that are no plausible age are counted.

    With `zero_is_blank`, 0 means unknown, and such rows are counted too.

    Raises:
        IgclError: no cell of the column is an age or a number.
    """
    years = frame[column].map(age_in_years).astype(float)
    odd = frame[column].notna() & years.isna()
    if odd.any() and not years.notna().any() and pd.to_numeric(frame[column], errors="coerce").isna().all():
        refuse_cells(path, frame[column], odd, "is not an age such as 58 or 058Y")
    counts["implausible ages"] += int(odd.sum())
    if zero_is_blank:
        counts["rows of age 0, taken as not known"] += int((years == 0).sum())
        years = years.where(years > 0)
    return years


def patient_splits(
    path: Path,
    patients: pd.Series,
    words: pd.Series,
    seed: int,
    meanings: Mapping[str, str] | None = None,
    advice: str = "",
) -> pd.Series:
    """Return the split of each row by the words of a column, with some training patients moved to an empty "valid".

    Args:
        path: path of the table.
        patients: patient by row.
        words: column with names of splits.
        seed: seed of the draw of these patients (`lend_validation`).
        meanings: split by name, for names other than the usual ones.
        advice: end of the message about an unknown name.

    Raises:
        IgclError: a cell is blank or not a split, or a patient is in two splits.
    """
    require(path, words.to_frame(), (str(words.name),))
    names, known = {}, meanings or {}
    for word in words.unique():
        meant = known.get(word, known.get(plain_id(word) or "", word))
        try:
            names[word] = split_name(meant)
        except IgclError as error:
            refuse(path, words == word, f"{error}{advice}{suggestion(meant, SPLITS)}")
    splits = words.map(names)
    key = str(patients.name)
    refuse_conflict(path, pd.DataFrame({key: patients, "split": splits}), key, "split")
    return pd.Series(lend_validation(splits.tolist(), patients.tolist(), seed), index=words.index, dtype=object)


def records(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield each row as a dictionary; converting all rows at once would take many times the frame's memory."""
    names = [str(name) for name in frame.columns]
    if not names:
        yield from ({} for _ in range(len(frame)))
    for start in range(0, len(frame), BATCH):
        part = frame.iloc[start : start + BATCH]
        for values in zip(*(part[name].tolist() for name in names), strict=True):
            yield dict(zip(names, values, strict=True))


def groups(table: pa.Table, key: str) -> Iterator[list[dict[str, Any]]]:
    """Yield runs of consecutive rows with the same key, as dictionaries; an Arrow table takes little memory."""
    rows = chain.from_iterable(batch.to_pylist() for batch in table.to_batches(max_chunksize=BATCH))
    for _, group in groupby(rows, key=itemgetter(key)):
        yield list(group)


def image_of(row: Mapping[str, Any], **fields: Any) -> StudyImage:
    """Return the image of a row from its columns `image`, `path` and, if present, `view` (the source's words)."""
    words = row.get("view")
    return StudyImage(row["image"], Path(row["path"]), **{"view": view_name(words), "source_view": words, **fields})


def study_of(
    row: Mapping[str, Any], images: Sequence[StudyImage], labels: Mapping[str, float | None], **fields: Any
) -> Study:
    """Return the study of a row from its columns `study`, `patient` and, if present, `split`, `age` and `sex`.

    Labels that are None or nan are unknown; `fields` are further fields of `Study`.
    """
    age = row.get("age")
    return Study(
        study_id=row["study"],
        patient_id=row["patient"],
        images=tuple(images),
        labels={name: None if value is None or value != value else value for name, value in labels.items()},
        split=row.get("split"),
        age=None if pd.isna(age) else age,
        sex=sex_name(row.get("sex")),
        **fields,
    )
