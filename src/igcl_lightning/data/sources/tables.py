"""Tables of data sets: found, read by name, every cell a stripped text or None."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from igcl_lightning.errors import IgclError

BLANK_WORDS = ("", "nan")


def find_file(root: Path, *patterns: str, what: str) -> Path:
    """Return the first file that matches a pattern, patterns in order.

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

    Names of columns are stripped too, and columns without a name left out, as are blank lines. Row i of the frame's
    index is row i + 2 of the file, the header being row 1 and a blank line a row.

    Args:
        path: the file.
        required: columns that must exist.
        optional: columns that are added, empty, where they do not exist.
        others: return all further columns too; without them a large table takes less time and memory.

    Raises:
        IgclError: there is no such file, it is no CSV file, a column is lacking or stands there twice, or a row has
            more cells than the header, or fewer: by such a row the cells of a column may be those of another.
    """
    try:
        names, widths = _header_and_widths(path)
        _check_names(path, names, required)
        rows = _rows(path, widths, len(names))
        places = [place for place, name in enumerate(names) if name and (others or name in (*required, *optional))]
        frame = pd.read_csv(
            path,
            usecols=places,
            dtype=str,
            keep_default_na=False,
            skipinitialspace=True,
            skip_blank_lines=False,
            encoding="utf-8-sig",
            index_col=False,
        )
    except FileNotFoundError:
        raise IgclError(f"{path}: no such file") from None
    except (pd.errors.ParserError, csv.Error, UnicodeDecodeError, EOFError, OSError, zlib.error) as error:
        raise IgclError(f"{path}: not a CSV file ({str(error).strip()})") from None
    frame.columns = pd.Index([names[place] for place in places])
    text = text_or_none(frame[rows])
    return text.assign(**{name: None for name in optional if name not in text.columns})


def _header_and_widths(path: Path) -> tuple[list[str], np.ndarray]:
    """Return the names of the columns, stripped, and how many cells each further row has, int [N]."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, skipinitialspace=True)
        header = next(rows, [])
        widths = np.fromiter((0 if row == [""] else len(row) for row in rows), dtype=np.int64)
    if not header:
        raise IgclError(f"{path}: not a CSV file (its first line is blank, where the names of the columns belong)")
    return [name.strip() for name in header], widths


def _check_names(path: Path, names: list[str], required: Sequence[str]) -> None:
    for name in required:
        if name not in names:
            # A table without a header has text of its first row there, which no message should spell out.
            present = ", ".join(repr(column if len(column) < 50 else f"{column[:20]}...") for column in names if column)
            raise IgclError(f"{path}: no column {name!r}; it has {present}")
    for name, count in Counter(filter(None, names)).items():
        if count > 1:
            raise IgclError(f"{path}: column {name!r} stands there {count} times; keep one of them")


def _rows(path: Path, widths: np.ndarray, width: int) -> np.ndarray:
    """Return which lines are rows rather than blank, bool [N].

    Raises:
        IgclError: a row has more or fewer cells than the header.
    """
    wrong = np.flatnonzero((widths != width) & (widths > 0))
    if len(wrong):
        cells = f"{widths[wrong[0]]} cells, the header has {width}"
        advice = "put cells that hold a comma in quotes" if widths[wrong[0]] > width else "is the file cut off?"
        raise IgclError(f"{path} row {wrong[0] + 2}: {cells}; {advice}")
    return widths > 0


def text_or_none(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with stripped texts, and None for blank ones."""
    stripped = frame.apply(lambda column: column.str.strip())
    blank = stripped.apply(lambda column: column.str.lower().isin(BLANK_WORDS))
    text: pd.DataFrame = stripped.astype(object).mask(blank, None)
    return text


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
