"""Checks of whole columns that name the first row that is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

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


def corners(path: Path, frame: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    """Return which rows have a box, bool by row: all four of its numbers rather than none.

    Raises:
        IgclError: a row has some of the four; the message names file and row.
    """
    given = frame[list(columns)].notna()
    refuse(path, given.any(axis=1) & ~given.all(axis=1), f"a box needs all of {', '.join(columns)}, or none")
    return given.all(axis=1)


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
        value, here = frame.loc[wrong, [key, column]].iloc[0]
        before = frame.index[frame[key] == value][0]
        message = f"{key} {value!r} has {column} {here!r}, but {first[wrong].iloc[0]!r} in row {before + 2}"
        refuse(path, wrong, message)


def split_names(path: Path, frame: pd.DataFrame, column: str, words: Mapping[str, str] | None = None) -> pd.Series:
    """Return the splits that the words of a column mean.

    Args:
        path: the table, for the message.
        frame: its rows.
        column: of the words.
        words: what some of them mean, where they are not the usual ones.

    Raises:
        IgclError: a cell is blank or names no split; the message names file and row.
    """
    require(path, frame, (column,))
    names = {}
    for word in frame[column].unique():
        try:
            names[word] = split_name((words or {}).get(word, word))
        except IgclError as error:
            refuse(path, frame[column] == word, str(error))
    return frame[column].map(names)


def records(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield the rows by column; dictionaries of all of them at once would be many times the frame."""
    names = list(frame.columns)
    for start in range(0, len(frame), BATCH):
        part = frame.iloc[start : start + BATCH]
        for values in zip(*(part[name].tolist() for name in names), strict=True):
            yield dict(zip(names, values, strict=True))
