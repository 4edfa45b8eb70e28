"""Tables of data sets: found by name, and read with every cell as stripped text or None."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from igcl_lightning.data.sources.checks import refuse_repeats, require
from igcl_lightning.errors import IgclError
from igcl_lightning.reports.files import json_object, numbered_lines

BLANK_WORDS = ("", "nan")
JSON_LINES = (".jsonl", ".ndjson")


def table_patterns(*names: str) -> list[str]:
    """Return patterns for `find_file`: each name in the folder or one folder deeper, plain or gzipped."""
    return [f"{folder}{name}{ending}" for name in names for folder in ("", "*/") for ending in ("", ".gz")]


def find_file(root: Path, *patterns: str, what: str) -> Path:
    """Return the first file that matches a glob pattern such as "*/train.csv", patterns in order.

    Raises:
        IgclError: the folder or the file does not exist; the message says `what` the file is.
    """
    if not root.is_dir():
        raise IgclError(f"--root {root}: no such folder")
    path = find_optional(root, *patterns)
    if path is None:
        raise IgclError(f"{root}: no {what}; looked for {', '.join(patterns)}")
    return path


def find_optional(root: Path, *patterns: str) -> Path | None:
    """Return the first file that matches a pattern, patterns in order, or None."""
    paths = (path for pattern in patterns for path in sorted(root.glob(pattern)))
    return next(filter(Path.is_file, paths), None)


def read_columns(
    path: Path,
    required: Sequence[str],
    optional: Sequence[str] = (),
    *,
    filled: Sequence[str] = (),
    key: str | None = None,
    others: bool = False,
) -> pd.DataFrame:
    """Read columns of a CSV file as text, `.gz` included; cells are stripped, blank ones and "nan" are None.

    Column names are stripped too; columns without a name and blank lines are left out. Row i of the frame's index is
    row i + 2 of the file: the header is row 1, and blank lines count.

    Args:
        path: path of the file.
        required: columns that must exist.
        optional: columns that are added, all None, if they do not exist.
        filled: columns without blank cells.
        key: column without blank and repeated cells.
        others: whether all other columns are read too; this takes more time and memory.

    Raises:
        IgclError: the file does not exist or is not a CSV file, a column is missing or named twice, a row has more or
            fewer cells than the header, or a cell of `filled` or `key` is blank or repeated.
    """
    text = _read_text(path, required, optional, others)
    require(path, text, filled if key is None else (key, *filled))
    if key is not None:
        refuse_repeats(path, text, key)
    return text


def _read_text(path: Path, required: Sequence[str], optional: Sequence[str], others: bool) -> pd.DataFrame:
    try:
        names, widths = _header_and_widths(path)
        _check_names(path, names, required)
        _check_widths(path, widths, len(names))
        used = [place for place, name in enumerate(names) if name and (others or name in (*required, *optional))]
        frame = pd.read_csv(
            path,
            usecols=used,
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
    frame.columns = pd.Index([names[place] for place in used])
    text = text_or_none(frame[widths > 0])
    return text.assign(**{name: None for name in optional if name not in text})


def _header_and_widths(path: Path) -> tuple[list[str], np.ndarray]:
    """Return the stripped names of the columns, and the number of cells of each further line, int [N]."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, skipinitialspace=True)
        header = next(rows, [])
        widths = np.fromiter((0 if row == [""] else len(row) for row in rows), dtype=np.int64)
    if not header:
        raise IgclError(f"{path}: not a CSV file (its first line is blank, but must name the columns)")
    return [name.strip() for name in header], widths


def _check_names(path: Path, names: list[str], required: Sequence[str]) -> None:
    for name in required:
        if name not in names:
            # A file without a header has data in its first line, which should not be quoted at length.
            present = ", ".join(repr(column if len(column) < 50 else f"{column[:20]}...") for column in names if column)
            raise IgclError(f"{path}: no column {name!r}; it has {present}")
    for name, count in Counter(filter(None, names)).items():
        if count > 1:
            raise IgclError(f"{path}: {count} columns are named {name!r}; keep one of them")


def _check_widths(path: Path, widths: np.ndarray, width: int) -> None:
    wrong = np.flatnonzero((widths != width) & (widths > 0))
    if len(wrong):
        cells = f"{widths[wrong[0]]} cells, the header has {width}"
        advice = "put cells with a comma in quotes" if widths[wrong[0]] > width else "is the file cut off?"
        raise IgclError(f"{path} row {wrong[0] + 2}: {cells}; {advice}")


def text_or_none(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with stripped texts, and None for blank ones."""
    stripped = frame.apply(lambda column: column.str.strip())
    blank = stripped.apply(lambda column: column.str.lower().isin(BLANK_WORDS))
    text: pd.DataFrame = stripped.astype(object).mask(blank, None)
    return text


def read_json_lines(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read keys of the objects on a file's lines as `read_columns` does; null and absent values are None too.

    Numbers become texts, true and false "1" and "0". Blank lines are skipped; line i of the file has index i - 2, so
    that messages that count the rows of a CSV file name the line.

    Raises:
        IgclError: the file does not exist, a line is not a JSON object, a cell is a list or an object, or no line has
            one of the keys.
    """
    cells: dict[int, list[str | None]] = {}
    keys: set[str] = set()
    try:
        for number, line in numbered_lines(path):
            record = {name.strip(): value for name, value in json_object(line).items()}
            keys |= record.keys()
            cells[number - 2] = [_cell(name, record.get(name)) for name in columns]
    except FileNotFoundError:
        raise IgclError(f"{path}: no such file") from None
    except ValueError as error:
        raise IgclError(f"{path} line {number}: {error}") from None
    for name in columns:
        if name not in keys:
            raise IgclError(f"{path}: no line has the key {name!r}; there are {', '.join(map(repr, sorted(keys)))}")
    frame = pd.DataFrame(list(cells.values()), index=list(cells), columns=list(columns), dtype=object)
    return text_or_none(frame.fillna(""))


def _cell(name: str, value: Any) -> str | None:
    if isinstance(value, list | dict):
        raise ValueError(f"key {name!r}: a list or an object instead of a text or a number")
    if value is None or isinstance(value, str):
        return value
    return str(int(value)) if isinstance(value, bool) else str(value)
