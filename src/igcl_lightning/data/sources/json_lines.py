"""Tables as JSON lines: one object a line, its keys the columns."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from igcl_lightning.data.sources.tables import text_or_none
from igcl_lightning.errors import IgclError

SUFFIXES = (".jsonl", ".ndjson")


def read_json_lines(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read columns as `read_columns` does: cells are stripped texts, None where blank, null or not there.

    Numbers become texts, true and false 1 and 0. Blank lines are skipped; line i of the file has index i - 2, so that
    messages that count the rows of a CSV file name the line.

    Args:
        path: the file.
        columns: keys to read; each must be in one line at least.

    Raises:
        IgclError: there is no such file, a line is no JSON object, a cell is a list or an object, or no line has a key.
    """
    lines, cells = [], []
    keys: set[str] = set()
    for number, record in _records(path):
        keys |= record.keys()
        lines.append(number)
        cells.append([_cell(f"{path} line {number}, key {name!r}", record.get(name)) for name in columns])
    for name in columns:
        if name not in keys:
            raise IgclError(f"{path}: no line has the key {name!r}; there are {', '.join(map(repr, sorted(keys)))}")
    frame = text_or_none(pd.DataFrame(cells, columns=list(columns), dtype=object).fillna(""))
    return frame.set_axis(pd.Index([number - 2 for number in lines]), axis="index")


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield number and object of each line that is not blank."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, _object(f"{path} line {number}", line)
    except FileNotFoundError:
        raise IgclError(f"{path}: no such file") from None


def _object(where: str, line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise IgclError(f"{where}: not JSON ({error})") from None
    if not isinstance(record, dict):
        raise IgclError(f"{where}: not a JSON object")
    return {name.strip(): value for name, value in record.items()}


def _cell(where: str, value: Any) -> str | None:
    if isinstance(value, list | dict):
        raise IgclError(f"{where}: a list or an object, where a text or a number belongs")
    if value is None or isinstance(value, str):
        return value
    return str(int(value)) if isinstance(value, bool) else str(value)
