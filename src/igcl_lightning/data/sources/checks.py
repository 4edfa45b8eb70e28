"""Checks of tables. Each raises an `IgclError` that names the file and the first wrong row.

Frames are indexed as `read_columns` returns them: index i is row i + 2 of the file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import pandas as pd

from igcl_lightning.errors import IgclError, suggestion
from igcl_lightning.texts import is_shortened


def refuse(path: Path, wrong: pd.Series, message: str) -> None:
    """Raise if a row is wrong (bool by row)."""
    if wrong.any():
        raise IgclError(f"{path} row {_row_number(wrong)}: {message}")


def refuse_cells(path: Path, cells: pd.Series, wrong: pd.Series, message: str) -> None:
    """Raise if a cell of a column is wrong; the message follows the cell's text."""
    if wrong.any():
        cell = str(cells[wrong].iloc[0])
        raise IgclError(f"{path} row {_row_number(wrong)}, column {cells.name!r}: {cell!r} {message}")


def _row_number(wrong: pd.Series) -> int:
    return int(wrong.index[int(wrong.to_numpy().argmax())]) + 2


def require(path: Path, frame: pd.DataFrame, columns: Iterable[str]) -> None:
    """Raise if a cell of these columns is blank."""
    for column in columns:
        refuse(path, frame[column].isna(), f"column {column!r} is empty")


def refuse_shortened(path: Path, ids: pd.Series) -> None:
    """Raise if an id is a number without its last digits, as spreadsheets write long ones; several would be one."""
    lost = "has lost digits of an id in a spreadsheet; format the column as text and export it again"
    refuse_cells(path, ids, ids.map(is_shortened, na_action="ignore").eq(True), lost)


def refuse_repeats(path: Path, frame: pd.DataFrame, column: str) -> None:
    """Raise if two rows have the same id; the message names both rows."""
    repeated = frame[column].duplicated()
    if repeated.any():
        value = frame[column].loc[repeated].iloc[0]
        first = frame.index[frame[column] == value][0]
        refuse(path, repeated, f"column {column!r}: {value!r} is in row {first + 2} already")


def refuse_conflict(path: Path, frame: pd.DataFrame, key: str, column: str) -> None:
    """Raise if a row contradicts an earlier row with the same key, such as a patient in two splits."""
    first = frame.groupby(key, sort=False)[column].transform("first")
    wrong = first != frame[column]
    if wrong.any():
        value, here = frame.loc[wrong, [key, column]].astype(object).iloc[0]
        before = frame.index[frame[key] == value][0] + 2
        there = first[wrong].astype(object).iloc[0]
        refuse(path, wrong, f"{key} {value!r} has {column} {here!r}, but {there!r} in row {before}")


def refuse_strangers(path: Path, keys: Collection[str], wanted: Collection[str]) -> None:
    """Raise if no key of a table is in `wanted`, the keys of the table it is joined to."""
    if keys and wanted and set(keys).isdisjoint(wanted):
        here, there = next(iter(keys)), next(iter(wanted))
        raise IgclError(f"{path}: none of its ids, such as {here!r}, is in this data set, with ids such as {there!r}")


def require_choice(option: str, value: str, choices: Iterable[str]) -> None:
    """Raise if an option is not one of its choices; the message lists them."""
    if value not in choices:
        raise IgclError(f"{option}: {value!r} is not one of {', '.join(choices)}{suggestion(value, choices)}")
