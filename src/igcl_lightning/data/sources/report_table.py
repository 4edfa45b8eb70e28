"""Tables of reports in any form, and JSON lines, folders and archives of reports: what `igcl graphs` reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from igcl_lightning.closing import write_note
from igcl_lightning.data.sources.checks import refuse
from igcl_lightning.data.sources.packed import PACKED
from igcl_lightning.data.sources.rows import records
from igcl_lightning.data.sources.table_files import TABLES, TableFile, TableForm, open_table, plain_suffix
from igcl_lightning.data.sources.tables import JSON_LINES, read_columns
from igcl_lightning.errors import IgclError, suggestion
from igcl_lightning.reports.sources import Item, Report, ReportSource, Survey, open_source

OTHERS = (".tar", *JSON_LINES)
"""Suffixes of packed files that are no tables."""


def open_reports(
    path: Path,
    sections: str = "both",
    id_column: str | None = None,
    text_column: str | None = None,
    headers: Mapping[str, str] | None = None,
    form: TableForm | None = None,
) -> ReportSource:
    """Return the source of reports at a path: a table, or else that of `open_source`, which names the arguments.

    Raises:
        FileNotFoundError: `path` does not exist.
        IgclError: as `open_source`, or `form` is given for what is no table.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise IgclError(f"{path}: a pipe or device; save it as a file")
    suffix, packed = plain_suffix(path), path.suffix.lower() in PACKED
    if path.is_file() and (suffix in (".txt", *TABLES) or (packed and suffix not in OTHERS)):
        return ReportTable(path, sections, id_column, text_column, headers or {}, **asdict(form or TableForm()))
    if form is not None and (given := [name for name, value in asdict(form).items() if value is not None]):
        raise IgclError(f"--{given[0]}: {path} is no table")
    return open_source(path, sections, id_column, text_column, headers)


@dataclass(frozen=True)
class ReportTable(ReportSource):
    """One report per row of a table, whose rows are kept in memory.

    Attributes:
        encoding: encoding of a text (default: found out).
        sheet: sheet of a workbook (default: the one that has the columns).
    """

    encoding: str | None = None
    sheet: str | None = None

    unit = " row "

    def items(self) -> Iterator[Item]:
        """Yield number and named cells of each row; the header is row 1."""
        numbers = (int(row) + 2 for row in self._rows.index)
        return map(Item, numbers, records(self._rows))

    def read(self, item: Item) -> Report:
        """Return the report of a row."""
        return self._report(item.content, self.place(item.where))

    def survey(self) -> Survey:
        """Read the table, so that its faults are reported before any work.

        Raises:
            IgclError: a column is missing, an id is blank, or two reports have the same id.
        """
        return super().survey()._replace(total=len(self._rows))

    @cached_property
    def _rows(self) -> pd.DataFrame:
        """The plain id and the texts of each report, "" where blank."""
        form = TableForm(self.encoding, self.sheet)
        id_names, text_names = map(tuple, self._names())
        try:
            table = open_table(self.path, [id_names, text_names], form)
            key, *_ = _found(self.path, table, id_names, "--id-column")
            texts = _found(self.path, table, text_names, "--text-column")
        except IgclError as error:
            if self.path.suffix.lower() != ".txt":
                raise
            raise IgclError(f"{error}; if it is the text of one report, give its folder") from error
        return _once(self.path, read_columns(self.path, [key, *texts], filled=[key], form=form).fillna(""), key)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the rows: a worker gets those of its chunk."""
        return {name: value for name, value in vars(self).items() if name != "_rows"}


def _once(path: Path, frame: pd.DataFrame, key: str) -> pd.DataFrame:
    """Return each report once; raises `IgclError` if two have the same id."""
    again = frame.duplicated()
    if again.any():
        write_note(f"{path}: {int(again.sum()):,} rows repeat id and report of an earlier row, which is read once")
        frame = frame[~again]
    repeated = frame[key].duplicated()
    if repeated.any():
        value = frame[key][repeated].iloc[0]
        first = int(frame.index[frame[key] == value][0]) + 2
        advice = "keep one, or name the column of another id with --id-column"
        refuse(path, repeated, f"{key} {value!r} has another report in row {first}; {advice}")
    return frame


def _found(path: Path, table: TableFile, names: tuple[str, ...], option: str) -> list[str]:
    """Return those of several names of columns that a table has."""
    there = {name.casefold() for name in table.names}
    found = [name for name in names if name.casefold() in there]
    if not found:
        columns = ", ".join(map(repr, filter(None, table.names)))
        wanted, near = " or ".join(map(repr, names)), suggestion(names[0], filter(None, table.names))
        hint = f"; {option} names another" if len(names) > 1 else ""
        raise IgclError(f"{path}: no column {wanted}{hint}; it has {columns}{near}")
    return found
