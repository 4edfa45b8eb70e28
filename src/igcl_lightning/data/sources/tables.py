"""Tables of data sets: found by name, and read with every cell as stripped text or None."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from igcl_lightning.closing import write_note
from igcl_lightning.data.sources.checks import refuse, refuse_repeats, refuse_shortened
from igcl_lightning.data.sources.packed import unpacked
from igcl_lightning.data.sources.table_files import FOUND_OUT, TableForm, cell_text, open_table, reading
from igcl_lightning.errors import IgclError, suggestion
from igcl_lightning.reports.files import json_object
from igcl_lightning.texts import BLANK_WORDS, plain_id

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
    form: TableForm = FOUND_OUT,
) -> pd.DataFrame:
    """Read columns of a table in any form that `open_table` knows; cells are stripped texts, blank ones are None.

    Column names are stripped too, and found in any case; columns without a name and blank lines are left out. Row i of
    the frame's index is row i + 2 of the file: the header is row 1, and blank lines count. What the reading takes for
    granted, such as the encoding, is a note on standard error.

    Args:
        path: path of the file.
        required: columns that must exist.
        optional: columns that are added, all None, if they do not exist.
        filled: columns without blank cells, such as ids (`with_ids`).
        key: column without blank and repeated cells.
        others: whether all other columns are read too; this takes more time and memory.
        form: what the user says about its form.

    Raises:
        IgclError: the file does not exist or is not a table, a column is missing or named twice, a row has more or
            fewer cells than the header, or a cell of `filled` or `key` is blank or repeated.
    """
    table = open_table(path, required, form)
    places = _places(path, table.names, required, optional, others)
    frame = table.read(sorted(places.values()))
    frame.columns = pd.Index(sorted(places, key=places.__getitem__))
    text = text_or_none(frame).assign(**{name: None for name in optional if name not in places})
    renamed = {name: table.names[place] for name, place in places.items() if table.names[place] != name}
    how = [*table.how, *(f"column {there!r} is taken for {name!r}" for name, there in renamed.items())]
    if how:
        write_note(f"{path}: {', '.join(how)}")
    text = with_ids(path, text, filled if key is None else (key, *filled))
    if key is not None:
        refuse_repeats(path, text, key)
    return text


def _places(
    path: Path, names: Sequence[str], required: Sequence[str], optional: Sequence[str], others: bool
) -> dict[str, int]:
    """Return the place of each column to read, under its name as asked for."""
    wanted = dict.fromkeys((*required, *optional))
    found = {name: place for name in wanted if (place := _place(path, names, name)) is not None}
    for name in required:
        if name not in found:
            # A file without a header has data in its first line, which should not be quoted at length.
            present = ", ".join(repr(column if len(column) < 50 else f"{column[:20]}...") for column in names if column)
            raise IgclError(f"{path}: no column {name!r}; it has {present}{_advice(name, names)}")
    for name, count in Counter(filter(None, names)).items():
        if count > 1:
            raise IgclError(f"{path}: {count} columns are named {name!r}; keep one of them")
    rest = {name: place for place, name in enumerate(names) if name and others and place not in found.values()}
    return {**found, **rest}


def _advice(name: str, names: Sequence[str]) -> str:
    """Return the end of a message about a column that does not exist."""
    whole = [column for column in names if "," in column and name in map(str.strip, column.split(","))]
    quoted = f"; write it as '\"{whole[0]}\"', since it has a comma" if whole else ""
    return quoted or suggestion(name, filter(None, names))


def _place(path: Path, names: Sequence[str], wanted: str) -> int | None:
    """Return the place of a column, in another case if no name is the same; raise if there are several."""
    if wanted in names:
        return names.index(wanted)
    places = [place for place, name in enumerate(names) if name.casefold() == wanted.casefold()]
    if len(places) > 1:
        raise IgclError(f"{path}: no column {wanted!r}, but {names[places[0]]!r} and {names[places[1]]!r}; name one")
    return places[0] if places else None


def with_ids(path: Path, frame: pd.DataFrame, columns: Iterable[str], *, blank: bool = False) -> pd.DataFrame:
    """Return the frame with the ids of some columns in one spelling (`plain_id`).

    Raises:
        IgclError: an id lost digits when it was read as a number, or without `blank` a cell is blank.
    """
    columns = list(columns)
    ids = frame.assign(**{name: each_cell(frame[name], plain_id) for name in columns})
    for name in columns:
        refuse_shortened(path, ids[name])
        if not blank:
            refuse(path, ids[name].isna(), f"column {name!r} is empty, or NA or -; fill it in or leave the row out")
        changed = ids[name].notna() & (ids[name] != frame[name])
        if changed.any():
            example = f"{frame[name][changed].iloc[0]!r} is read as {ids[name][changed].iloc[0]!r}"
            more = int(changed.sum()) - 1
            write_note(f"{path}: column {name!r}: {example}{f', and {more:,} more so' if more else ''}")
        _note_zeros(path, ids[name].dropna())
    return ids


def _note_zeros(path: Path, ids: pd.Series) -> None:
    """Write a note if numbers among the ids differ in leading zeros only, as a spreadsheet cuts them from some."""
    numbers = ids[ids.str.isdecimal()].drop_duplicates()
    same = numbers.str.lstrip("0")
    again = same.duplicated()
    if again.any():
        pair = " and ".join(map(repr, numbers[same == same[again].iloc[0]]))
        more = f", and {int(again.sum()) - 1:,} more so" if again.sum() > 1 else ""
        write_note(f"{path}: column {ids.name!r}: {pair} stay different ids{more}; mend the table if they are one")


def each_cell(cells: pd.Series, change: Callable[[str], str | None]) -> pd.Series:
    """Return a column with each text changed, None where it is blank."""
    changed = [None if cell is None else change(cell) for cell in cells]
    return pd.Series(changed, index=cells.index, name=cells.name, dtype=object)


def text_or_none(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with stripped texts, and None for blank ones."""
    stripped = frame.apply(lambda column: column.str.strip())
    blank = stripped.apply(lambda column: column.str.lower().isin(BLANK_WORDS))
    text: pd.DataFrame = stripped.astype(object).mask(blank, None)
    return text


def read_json_lines(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read keys of the objects on a file's lines as `read_columns` does columns; null and absent values are None too.

    Numbers become texts, true and false "1" and "0". Blank lines are skipped; line i of the file has index i - 2, so
    that messages that count the rows of a CSV file name the line.

    Raises:
        IgclError: the file does not exist, a line is not a JSON object, a cell is a list or an object, or no line has
            one of the keys.
    """
    cells: dict[int, list[str | None]] = {}
    keys: set[str] = set()
    try:
        with reading(path), unpacked(path) as file:
            for number, line in enumerate(file, start=1):
                if not line.isspace():
                    record = {name.strip(): value for name, value in json_object(line).items()}
                    keys |= record.keys()
                    cells[number - 2] = [cell_text(name, _value(record, name)) for name in columns]
    except ValueError as error:
        raise IgclError(f"{path} line {number}: {error}") from None
    for name in columns:
        if name.casefold() not in map(str.casefold, keys):
            there = ", ".join(map(repr, sorted(keys)))
            raise IgclError(f"{path}: no line has the key {name!r}; there are {there}{suggestion(name, keys)}")
    frame = pd.DataFrame(list(cells.values()), index=list(cells), columns=list(columns), dtype=object)
    return text_or_none(frame.fillna(""))


def _value(record: Mapping[str, Any], name: str) -> Any:
    """Return the value of a key, in another case if the record does not have it as it is."""
    if name in record:
        return record[name]
    return next((value for key, value in record.items() if key.casefold() == name.casefold()), None)
