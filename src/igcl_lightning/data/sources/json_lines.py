"""Tables as JSON lines: one object per line, its keys the columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from igcl_lightning.data.sources.tables import text_or_none
from igcl_lightning.errors import IgclError
from igcl_lightning.reports.files import json_object, numbered_lines

SUFFIXES = (".jsonl", ".ndjson")


def read_json_lines(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read columns as `read_columns` does: cells are stripped texts, None if blank, null or absent.

    Numbers become texts, true and false "1" and "0". Blank lines are skipped; line i of the file has index i - 2, so
    that messages that count the rows of a CSV file name the line.

    Args:
        path: the file.
        columns: keys to read; each must be in one line at least.

    Raises:
        IgclError: the file does not exist, a line is not a JSON object, a cell is a list or an object, or no line has
            a key.
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
