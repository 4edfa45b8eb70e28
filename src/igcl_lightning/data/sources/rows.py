"""Whole columns checked, with the first row that is wrong named; and rows one by one, or by group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from igcl_lightning.data.ages import age_in_years
from igcl_lightning.data.sources.tables import numbers
from igcl_lightning.data.splits import split_name
from igcl_lightning.errors import IgclError

BATCH = 10_000
"""Rows that are made dictionaries of together."""


def refuse(path: Path, wrong: pd.Series, message: str) -> None:
    """Stop at the first row that is wrong.

    Args:
        path: the table, for the message.
        wrong: bool by row, as `read_columns` returned them.
        message: what is wrong with the row.

    Raises:
        IgclError: a row is wrong; the message names file and row.
    """
    if wrong.any():
        raise IgclError(f"{path} row {int(wrong.index[int(wrong.to_numpy().argmax())]) + 2}: {message}")


def require(path: Path, frame: pd.DataFrame, columns: Sequence[str]) -> None:
    """Stop at the first blank cell of columns that may have none.

    Raises:
        IgclError: a cell is blank; the message names file, row and column.
    """
    for column in columns:
        refuse(path, frame[column].isna(), f"column {column!r} is empty")


def with_numbers(path: Path, frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return the frame with some columns as float, nan where blank.

    Raises:
        IgclError: a cell holds no finite number; the message names file, row and column.
    """
    changed = frame.copy()
    for column in columns:
        changed[column] = pd.Series(numbers(path, frame, column), index=frame.index, dtype=float)
    return changed


def refuse_repeats(path: Path, frame: pd.DataFrame, column: str) -> None:
    """Stop at the first id that stands in a row before.

    Raises:
        IgclError: two rows have one id; the message names both.
    """
    repeated = frame[column].duplicated()
    if repeated.any():
        value = frame[column].loc[repeated].iloc[0]
        first = frame.index[frame[column] == value][0]
        refuse(path, repeated, f"column {column!r}: {value!r} stands in row {first + 2} already")


def refuse_conflict(path: Path, frame: pd.DataFrame, key: str, column: str) -> None:
    """Stop at the first row that contradicts a row of the same key before it, such as a patient in two splits.

    Raises:
        IgclError: rows of one key differ in a column; the message names both.
    """
    first = frame.groupby(key, sort=False)[column].transform("first")
    wrong = first != frame[column]
    if wrong.any():
        value, here = frame.loc[wrong, [key, column]].astype(object).iloc[0]
        before = frame.index[frame[key] == value][0]
        message = (
            f"{key} {value!r} has {column} {here!r}, but {first[wrong].astype(object).iloc[0]!r} in row {before + 2}"
        )
        refuse(path, wrong, message)


def refuse_strangers(path: Path, keys: Collection[str], wanted: Collection[str]) -> None:
    """Stop where a table is joined to another one and not a single key is in both.

    Args:
        path: the table that is joined.
        keys: its keys.
        wanted: the keys of the other table.

    Raises:
        IgclError: both have keys, and no key is in both.
    """
    if keys and wanted and set(keys).isdisjoint(wanted):
        here, there = next(iter(keys)), next(iter(wanted))
        raise IgclError(f"{path}: none of its ids, such as {here!r}, is one of this data set, such as {there!r}")


def ages(
    path: Path, frame: pd.DataFrame, column: str, counts: Counter[str], *, zero_is_blank: bool = False
) -> pd.Series:
    """Return a column of ages in years as `age_in_years` reads them, nan where not known.

    Args:
        path: the table, for the message.
        frame: its rows.
        column: of the ages.
        counts: where cells are counted that hold no age of a person.
        zero_is_blank: the data set writes 0 where it does not know; counted too.

    Raises:
        IgclError: no cell is an age or any other number; the message names the first that is none.
    """
    years = frame[column].map(age_in_years).astype(float)
    odd = frame[column].notna() & years.isna()
    if odd.any() and not years.notna().any() and pd.to_numeric(frame[column], errors="coerce").isna().all():
        refuse(path, odd, f"column {column!r}: {frame[column][odd].iloc[0]!r} is no age such as 58 or 058Y")
    counts["implausible ages"] += int(odd.sum())
    if zero_is_blank:
        counts["rows of age 0, taken as not known"] += int((years == 0).sum())
        years = years.where(years > 0)
    return years


def split_names(
    path: Path, frame: pd.DataFrame, column: str, words: Mapping[str, str] | None = None, advice: str = ""
) -> pd.Series:
    """Return the splits that the words of a column mean.

    Args:
        path: the table, for the message.
        frame: its rows.
        column: of the words.
        words: what some of them mean, where they are not the usual ones.
        advice: what to do about a word that names no split.

    Raises:
        IgclError: a cell is blank or names no split; the message names file and row.
    """
    require(path, frame, (column,))
    names = {}
    for word in frame[column].unique():
        try:
            names[word] = split_name((words or {}).get(word, word))
        except IgclError as error:
            refuse(path, frame[column] == word, f"{error}{advice}")
    return frame[column].map(names)


def records(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield the rows by column; dictionaries of all of them at once would be many times the frame."""
    names = list(frame.columns)
    for start in range(0, len(frame), BATCH):
        part = frame.iloc[start : start + BATCH]
        for values in zip(*(part[name].tolist() for name in names), strict=True):
            yield dict(zip(names, values, strict=True))


def groups(table: pa.Table, key: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the rows of each key by column, those of one following one another; an Arrow table takes little memory."""
    rows = chain.from_iterable(batch.to_pylist() for batch in table.to_batches(max_chunksize=BATCH))
    for name, group in groupby(rows, key=itemgetter(key)):
        yield name, list(group)
