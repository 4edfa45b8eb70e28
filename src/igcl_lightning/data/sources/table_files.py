"""Table files as people have them: text with any separator, Parquet, workbooks of Excel; recognised by content.

Row i of an opened table's frame is row i + 2 of the file, as messages count: the header is row 1.
"""

from __future__ import annotations

import codecs
import csv
import io
import lzma
import re
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from igcl_lightning.data.sources.packed import MOST_LINE, PACKED, refuse_expansion, unpacked
from igcl_lightning.errors import IgclError, one_line, suggestion
from igcl_lightning.reports.encodings import ENCODINGS, PLAIN, encoding_of
from igcl_lightning.reports.files import LFS_POINTER, near_path
from igcl_lightning.texts import encodable

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
"""Characters between cells, the usual one first, and their names for messages."""

MOST_CELLS = 2**15 - 1
"""Number up to which the cells of a line are counted."""

TABLES = (".csv", ".tsv", ".tab", ".psv", ".parquet", ".xlsx", ".xls")
"""Suffixes of tables, before that of packing."""

Names = tuple[str, ...]
"""Names that a column may have."""

_HEAD = 1 << 20
_SEP_LINE = re.compile(r'"?sep=(.)"?[ \t]*(?:\r\n|\r|\n)', re.IGNORECASE)
_OLD_EXCEL = b"\xd0\xcf\x11\xe0"
_DAMAGED = (
    *(pd.errors.ParserError, pa.ArrowException, csv.Error, UnicodeError, EOFError, OSError),
    *(zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError, NotImplementedError),
)
"""Errors of libraries on damaged files; zip archives with a password raise the last two."""

csv.field_size_limit(MOST_LINE)  # a cell may be long; `unpacked` bounds the line


class TableFile(ABC):
    """An opened table.

    Attributes:
        names: stripped names of the columns.
        how: what its reading took for granted, for messages.
    """

    names: list[str]
    how: list[str]

    @abstractmethod
    def read(self, places: Sequence[int]) -> pd.DataFrame:
        """Return the columns at these places, unnamed, as texts or None; rows without text are left out."""


@dataclass(frozen=True)
class TableForm:
    """What a user says about the form of a table.

    Attributes:
        encoding: encoding of a text; by default that of `encoding_of`.
        sheet: sheet of a workbook; by default the one that has the columns.
    """

    encoding: str | None = None
    sheet: str | None = None


FOUND_OUT = TableForm()


def open_table(path: Path, required: Collection[str | Names] = (), form: TableForm = FOUND_OUT) -> TableFile:
    """Open a table and read its header.

    Args:
        path: path of the file.
        required: names of columns, or several names for one; they tell the separator of a text, or the sheet of a
            workbook.
        form: what the user says about it.

    Raises:
        IgclError: the file does not exist, is no table, or can be read in two ways.
    """
    with reading(path):
        with path.open("rb") as file:
            head = file.read(64)
        if head.startswith(LFS_POINTER):
            raise IgclError(f"{path}: a Git-LFS pointer in place of a table; fetch it with git lfs pull")
        if head.startswith(b"PAR1"):
            return _ParquetTable(path)
        if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"[", b"{")):
            raise IgclError(f"{path}: JSON, not a table; write an object per line, in a file that ends in .jsonl")
        if head.startswith(_OLD_EXCEL):
            raise IgclError(f"{path}: a workbook of an old Excel, or one with a password; save it as .xlsx or .csv")
        if head[:4] in (b"PK", b"PK\x03", b"PK\x03\x04"):
            if not zipfile.is_zipfile(path):
                raise IgclError(f"{path}: a damaged workbook of Excel or zip archive; copy or save it again")
            with zipfile.ZipFile(path) as archive:
                members = {member.filename: member.file_size for member in archive.infolist()}
            if "xl/workbook.xml" in members:
                refuse_expansion(path, sum(members.values()))
                return _Workbook(path, required, form.sheet)
        if form.sheet is not None:
            raise IgclError(f"--sheet {form.sheet}: {path} is no workbook of Excel")
        return _TextTable(path, required, form.encoding)


def plain_suffix(path: Path) -> str:
    """Return the suffix of a file in lower case, without that of packing."""
    return (path.with_suffix("") if path.suffix.lower() in PACKED else path).suffix.lower()


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Convert the errors of libraries on a damaged file to an `IgclError`; raise it for a pipe or a device too."""
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise IgclError(f"{path}: a pipe or device, which can be read only once; save it as a file")
        yield
    except FileNotFoundError:
        raise IgclError(f"{path}: no such file{near_path(path)}") from None
    except IsADirectoryError:
        raise IgclError(f"{path}: a folder, not a table") from None
    except PermissionError:
        raise IgclError(f"{path}: cannot be read (permission denied)") from None
    except _DAMAGED as error:
        raise IgclError(f"{path}: not a CSV file ({one_line(error)})") from None


class _TextTable(TableFile):
    """Lines of cells between separators. A first line such as "sep=;", which is for Excel, names the separator."""

    def __init__(self, path: Path, required: Collection[str | Names], encoding: str | None) -> None:
        self.path = path
        self.encoding = encoding_of(path, partial(unpacked, path)) if encoding is None else _known(encoding)
        with self._opened() as file:
            head = file.read(_HEAD)
        said = _SEP_LINE.match(head)
        self.skipped = 1 if said else 0
        head = head[said.end() :] if said else head
        headers = {between: _header(head, between) for between in ([said[1]] if said else SEPARATORS)}
        self.separator = max(headers, key=lambda each: (_count(headers[each], required), len(headers[each])))
        self.names = headers[self.separator]
        if not self.names:
            raise IgclError(f"{path}: not a CSV file (its first line is blank, but must name the columns)")
        self.how = [f"read as {ENCODINGS.get(self.encoding, self.encoding)}"] * (self.encoding not in (PLAIN, encoding))
        self.how += [f"{SEPARATORS[self.separator]} between cells"] * (self.separator != "," and not said)

    def read(self, places: Sequence[int]) -> pd.DataFrame:
        """Return columns; raises `IgclError` if a row has more or fewer cells than the header."""
        with reading(self.path):
            widths = self._widths()
            self._check(widths)
            with self._opened() as file:
                frame = pd.read_csv(
                    file,
                    sep=self.separator,
                    skiprows=self.skipped,
                    usecols=list(places),
                    dtype=str,
                    keep_default_na=False,
                    skipinitialspace=True,
                    skip_blank_lines=False,
                    index_col=False,
                )
        frame.index += self.skipped
        return frame[widths > 0]

    @contextmanager
    def _opened(self) -> Iterator[io.TextIOWrapper]:
        with unpacked(self.path) as file, io.TextIOWrapper(file, encoding=self.encoding, newline="") as text:
            try:
                yield text
            except UnicodeError:
                name = "utf-8" if self.encoding == PLAIN else self.encoding
                advice = "leave --encoding out, or name another"
                raise IgclError(f"{self.path}: not a CSV file in the encoding {name}; {advice}") from None

    def _widths(self) -> np.ndarray:
        """Return the number of cells of each line after the header, 0 for lines without text, int16 [N]."""
        with self._opened() as file:
            sizes = (len(row) if any(map(str.strip, row)) else 0 for row in self._rows(file))
            return np.fromiter((min(size, MOST_CELLS) for size in sizes), dtype=np.int16)

    def _rows(self, file: Iterable[str]) -> Iterator[list[str]]:
        """Yield the cells of each row after the header; raises `IgclError` if a missing quotation mark joins rows."""
        lines: list[str] = []
        how: dict[str, Any] = {"delimiter": self.separator, "skipinitialspace": True}
        for number, row in enumerate(csv.reader(_collected(file, lines), **how), start=1):
            if len(lines) > 1:
                try:
                    next(csv.reader(lines, strict=True, **how))
                except csv.Error:
                    said = f"a cell of {len(lines)} lines whose quotation marks do not match"
                    raise IgclError(f"{self.path} row {number}: {said}; is one missing, or not doubled?") from None
            lines.clear()
            if number > self.skipped + 1:
                yield row

    def _check(self, widths: np.ndarray) -> None:
        wrong = np.flatnonzero((widths != len(self.names)) & (widths > 0))
        if len(wrong):
            cells = f"{widths[wrong[0]]} cells, the header has {len(self.names)}"
            mark = {",": "a comma", "\t": "a tab"}.get(self.separator, repr(self.separator))
            too_many = widths[wrong[0]] > len(self.names)
            advice = f"put cells with {mark} in quotes" if too_many else "is the file cut off?"
            raise IgclError(f"{self.path} row {wrong[0] + self.skipped + 2}: {cells}; {advice}")


class _ParquetTable(TableFile):
    """A Parquet file; messages count its first row as row 1."""

    def __init__(self, path: Path) -> None:
        self.path, self.how = path, []
        self.file = pq.ParquetFile(path)
        self.names = [name.strip() for name in self.file.schema_arrow.names]

    def read(self, places: Sequence[int]) -> pd.DataFrame:
        """Return columns; raises `IgclError` if a cell is a list or an object."""
        names = [self.file.schema_arrow.names[place] for place in places]
        with reading(self.path):
            refuse_expansion(self.path, self.file.metadata.num_rows * len(names))
            columns = self.file.read(columns=names)
        frame = _frame(self.path, names, [columns[name].to_pylist() for name in names])
        frame.index -= 1
        return frame


class _Workbook(TableFile):
    """The sheet of an Excel workbook whose first row has the columns."""

    def __init__(self, path: Path, required: Collection[str | Names], sheet: str | None) -> None:
        try:
            import openpyxl
        except ModuleNotFoundError:
            raise IgclError(f'{path}: needs python -m pip install ".[xlsx]"; or save the sheet as .csv') from None
        try:
            book = openpyxl.load_workbook(path, read_only=True, data_only=True)
            self.sheets = {sheet.title: sheet for sheet in book.worksheets}
            headers = {title: self._header(sheet) for title, sheet in self.sheets.items()}
        except (KeyError, ValueError, TypeError, AttributeError, SyntaxError) as error:
            raise IgclError(f"{path}: not a workbook of Excel ({one_line(error)})") from None
        self.path, self.title = path, _sheet(path, headers, required) if sheet is None else sheet
        if self.title not in headers:
            there = ", ".join(map(repr, headers))
            raise IgclError(f"--sheet: {path} has no sheet {sheet!r}, only {there}{suggestion(self.title, headers)}")
        self.names = headers[self.title]
        self.how = [f"sheet {self.title!r} is read"] if len(headers) > 1 and sheet is None else []

    def read(self, places: Sequence[int]) -> pd.DataFrame:
        """Return columns; formulas are their last results."""
        with reading(self.path):
            found = [*enumerate(self.sheets[self.title].iter_rows(min_row=2, values_only=True))]
        rows = {number: row for number, row in found if any(cell is not None for cell in row)}
        columns = [[row[place] if place < len(row) else None for row in rows.values()] for place in places]
        return _frame(self.path, [self.names[place] for place in places], columns).set_axis([*rows])

    @staticmethod
    def _header(sheet: Any) -> list[str]:
        first = next(sheet.iter_rows(max_row=1, values_only=True), ())
        return ["" if name is None else str(name).strip() for name in first]


def _sheet(path: Path, headers: Mapping[str, list[str]], required: Collection[str | Names]) -> str:
    """Return the sheet that has the columns, or else the first, by the names in the first row of each."""
    found = [title for title, names in headers.items() if _count(names, required) == len(set(required))]
    if len(found) > 1:
        raise IgclError(f"{path}: sheets {', '.join(map(repr, found))} have the columns; choose one with --sheet")
    return next(iter((*found, *headers)))


def cell_text(name: str, value: Any) -> str | None:
    """Return a value of a typed table as text, True as "1"; raises `ValueError` for lists and objects."""
    if isinstance(value, list | dict | bytes):
        raise ValueError(f"key {name!r}: a list or an object instead of a text or a number")
    if isinstance(value, str):
        return encodable(value)
    if value is None:
        return value
    return str(int(value)) if isinstance(value, bool) else str(value)


def _frame(path: Path, names: Sequence[str], columns: Iterable[Sequence[Any]]) -> pd.DataFrame:
    """Return columns of typed values as unnamed columns of texts."""
    try:
        cells = [[cell_text(name, value) for value in column] for name, column in zip(names, columns, strict=True)]
    except ValueError as error:
        raise IgclError(f"{path}: {error}") from None
    return pd.DataFrame(dict(enumerate(cells)), dtype=object)


def _collected(file: Iterable[str], lines: list[str]) -> Iterator[str]:
    """Yield the lines of a file, and add them to a list."""
    for line in file:
        lines.append(line)
        yield line


def _known(encoding: str) -> str:
    try:
        return PLAIN if codecs.lookup(encoding).name == "utf-8" else codecs.lookup(encoding).name
    except LookupError:
        raise IgclError(f"--encoding: unknown encoding {encoding!r}, such as utf-8 or windows-1252") from None


def _header(head: str, separator: str) -> list[str]:
    """Return the stripped names of the first line, none if it is blank."""
    rows = csv.reader(io.StringIO(head, newline=""), delimiter=separator, skipinitialspace=True)
    return [name.strip() for name in next(rows, [])]


def _count(names: Iterable[str], required: Iterable[str | Names]) -> int:
    """Return the number of required columns that are there, in any case."""
    there = {name.casefold() for name in names}
    wanted = {(each,) if isinstance(each, str) else each for each in required}
    return sum(any(name.casefold() in there for name in each) for each in wanted)
