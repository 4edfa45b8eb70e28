"""Tables of data sets: found, read by name, every cell a stripped text or None."""

from __future__ import annotations

import csv
import gzip
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pandas as pd

from igcl_lightning.errors import IgclError

BLANK_WORDS = ("", "nan")


def find_file(root: Path, *patterns: str, what: str) -> Path:
    """Return the first file that matches a pattern, patterns in order; `root` may be the file itself.

    Args:
        root: folder of the data set.
        patterns: relative to it, such as "train.csv" or "*/train.csv".
        what: what is looked for, for the message.

    Raises:
        IgclError: there is no such folder or file.
    """
    if not root.is_dir():
        raise IgclError(f"--root {root}: no such folder")
    path = find_optional(root, *patterns)
    if path is None:
        raise IgclError(f"{root}: no {what}; looked for {', '.join(patterns)}")
    return path


def find_optional(root: Path, *patterns: str) -> Path | None:
    """Return the first file that matches a pattern, patterns in order, or None where there is none."""
    paths = (path for pattern in patterns for path in sorted(root.glob(pattern)))
    return next((path for path in paths if path.is_file()), None)


def read_columns(
    path: Path, required: Sequence[str], optional: Sequence[str] = (), *, others: bool = True
) -> pd.DataFrame:
    """Read a CSV file as text, `.gz` included; cells are stripped, blank ones and "nan" are None.

    Names of columns are stripped too. Row i of the frame is row i + 2 of the file.

    Args:
        path: the file.
        required: columns that must exist.
        optional: columns that are added, empty, where they do not exist.
        others: return all further columns too; without them a large table takes less time and memory.

    Raises:
        IgclError: there is no such file, it is no CSV file, or lacks a column; a repeated column counts as lacking.
    """
    try:
        with warnings.catch_warnings():
            # Without index_col=False, rows with more cells than the header would shift their columns unseen; with it
            # they are cut, with a warning; with usecols there would be none.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                path, dtype=str, keep_default_na=False, skipinitialspace=True, encoding="utf-8-sig", index_col=False
            )
    except FileNotFoundError:
        raise IgclError(f"{path}: no such file") from None
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise IgclError(f"{path}{_longer_row(path) or f': not a CSV file ({str(error).strip()})'}") from None
    except (pd.errors.EmptyDataError, UnicodeDecodeError, EOFError, OSError) as error:
        raise IgclError(f"{path}: not a CSV file ({str(error).strip()})") from None
    frame.columns = frame.columns.str.strip()
    for name in required:
        if name not in frame.columns:
            # A table without a header has text of its first row there, which no message should spell out.
            present = ", ".join(repr(column if len(column) < 50 else f"{column[:20]}...") for column in frame.columns)
            raise IgclError(f"{path}: no column {name!r}; it has {present}")
    if not others:
        frame = frame[[name for name in frame.columns if name in (*required, *optional)]]
    text = text_or_none(frame)
    return text.assign(**{name: None for name in optional if name not in text.columns})


def _longer_row(path: Path) -> str:
    """Return what to say of the first row that has more cells than the header, "" where none has."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as file, suppress(csv.Error):
        rows = csv.reader(file, skipinitialspace=True)
        width = len(next(rows))
        for number, row in enumerate(rows, start=2):
            if len(row) > width:
                return f" row {number}: {len(row)} cells, the header has {width}; put cells that hold a comma in quotes"
    return ""


def text_or_none(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with stripped texts, and None for blank ones."""
    stripped = frame.apply(lambda column: column.str.strip())
    blank = stripped.apply(lambda column: column.str.lower().isin(BLANK_WORDS))
    text: pd.DataFrame = stripped.astype(object).mask(blank, None)
    return text.reset_index(drop=True)


def numbers(path: Path, frame: pd.DataFrame, column: str) -> list[float | None]:
    """Return a column of numbers, None where blank.

    Raises:
        IgclError: a cell holds no finite number; the message names file, row and column.
    """
    values = pd.to_numeric(frame[column], errors="coerce")
    wrong = frame[column].notna() & ~(values.abs() < float("inf"))
    if wrong.any():
        row = frame.index[int(wrong.to_numpy().argmax())]
        raise IgclError(f"{path} row {row + 2}, column {column!r}: {frame[column][row]!r} is not a number")
    return [None if pd.isna(value) else float(value) for value in values]


def sex_name(value: str | None) -> str | None:
    """Return F or M, or None for any other word."""
    first = (value or "")[:1].upper()
    return first if first in ("F", "M") else None
