"""Where reports come from: JSON lines, a CSV file, a folder of texts, Open-i's XML as a folder or an archive.

Each source is read as a stream, in two steps: `items` yields raw records in the main process, cheaply; `read` makes a
report of one, and runs in worker processes.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import tarfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from igcl_lightning.errors import IgclError
from igcl_lightning.reports.lfs import LFS_POINTER
from igcl_lightning.reports.openi_xml import openi_report
from igcl_lightning.reports.sections import SECTION_CHOICES, choose_sections, choose_text

ID_NAMES = ("id", "uid")
TEXT_NAMES = ("text", "findings", "impression")
NOT_REPORTS = frozenset({"LICENSE.txt", "README.txt", "SHA256SUMS.txt"})
"""Files that data sets put beside their reports."""

MAX_POINTER_BYTES = 1024
"""Git LFS allows its pointers less."""

_BLOCK = 1 << 20


class Report(NamedTuple):
    """A report whose text is to be parsed."""

    id: str | int
    text: str


class Item(NamedTuple):
    """A raw record: where it stands (a line, a row, a file) and what the source needs to read it."""

    where: int | str
    content: Any


class Survey(NamedTuple):
    """What is known of a source before it is read.

    Attributes:
        identity: names, sizes and times, as far as they tell whether the same command would read the same.
        total: number of reports where it costs little to know, else None; blank lines may count.
        pointers: names of the first and number of all Git-LFS pointers, which hold no report.
    """

    identity: dict[str, Any]
    total: int | None = None
    pointers: tuple[str, int] = ("", 0)


@dataclass(frozen=True)
class ReportSource(ABC):
    """Reports at a path.

    Attributes:
        path: the file or folder.
        sections: one of `SECTION_CHOICES`: what of a report is parsed.
        id_column: name of the column or key that holds the id, instead of `ID_NAMES`.
        text_column: name of the column or key that holds the text, instead of `TEXT_NAMES`.
    """

    path: Path
    sections: str = "both"
    id_column: str | None = None
    text_column: str | None = None

    @abstractmethod
    def items(self) -> Iterator[Item]:
        """Yield the raw record of each report, always in the same order.

        Raises:
            ValueError: the file cannot be read any further; the message names file and place.
        """

    @abstractmethod
    def read(self, item: Item) -> Report:
        """Return the report of a raw record.

        Raises:
            ValueError: it holds no report; the message names file and line, row or member.
            OSError: a file cannot be read.
        """

    def survey(self) -> Survey:
        """Return what is known before reading."""
        return Survey(_file_identity(self.path))

    def place(self, where: int | str) -> str:
        """Return how a message names the place of a record."""
        return f"{self.path.name}/{where}"

    def _report(self, record: Mapping[str, Any], place: str) -> Report:
        """Return the report of named values: the chosen sections, else what is chosen of the text."""
        id_names = (self.id_column,) if self.id_column else ID_NAMES
        text_names = (self.text_column,) if self.text_column else TEXT_NAMES
        id_name = next((name for name in id_names if name in record), None)
        if id_name is None or not any(name in record for name in text_names):
            raise ValueError(f"{place}: expected {_expected(id_names, text_names)}")
        report_id = record[id_name]
        if not isinstance(report_id, str | int) or isinstance(report_id, bool):
            raise ValueError(f'{place}: "{id_name}" is neither a string nor a whole number')
        sections = {name: _string(record, name, place, null="") for name in text_names[1:] if name in record}
        chosen = choose_sections(sections, self.sections)
        if chosen is None:
            text = text_names[0]
            chosen = choose_text(_string(record, text, place), self.sections) if text in record else ""
        return Report(report_id, chosen)


class JsonLines(ReportSource):
    """One JSON object a line: an id, and a text or sections; other keys are left out, blank lines skipped."""

    def items(self) -> Iterator[Item]:
        """Yield number and bytes of each line."""
        with self.path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.isspace():
                    yield Item(number, line)

    def read(self, item: Item) -> Report:
        """Return the report of a line."""
        place = self.place(item.where)
        try:
            record = json.loads(item.content.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise ValueError(f"{place}: not UTF-8: {error.reason}") from error
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{place}: not JSON: {error}") from error
        return self._report(record if isinstance(record, dict) else {}, place)

    def survey(self) -> Survey:
        """Count the lines: reading a file takes a fraction of parsing it."""
        lines, last = 0, b"\n"
        with self.path.open("rb") as file:
            while block := file.read(_BLOCK):
                lines, last = lines + block.count(b"\n"), block[-1:]
        return Survey(_file_identity(self.path), lines + (last != b"\n"))

    def place(self, where: int | str) -> str:
        """Return file and line."""
        return f"{self.path.name} line {where}"


class CsvTable(ReportSource):
    """One row a report, in columns named on the first row."""

    def items(self) -> Iterator[Item]:
        """Yield number and named cells of each row that is not blank; the header is row 1."""
        with self.path.open(encoding="utf-8-sig", newline="") as file, self._complaints() as count:
            rows = csv.reader(file)
            header = [name.strip() for name in next(rows, [])]
            kept = self._kept(header)
            for row in rows:
                count[0] += 1
                if len(row) > max(kept.values()) and not any(row[len(header) :]):
                    yield Item(count[0], {name: row[index] for name, index in kept.items()})
                elif row:
                    raise ValueError(f"{self.place(count[0])}: {len(row)} cells, the first row has {len(header)}")

    def read(self, item: Item) -> Report:
        """Return the report of a row."""
        return self._report(item.content, self.place(item.where))

    def survey(self) -> Survey:
        """Look at the header, so that a missing column is named before any work is done."""
        next(self.items(), None)
        return super().survey()

    def place(self, where: int | str) -> str:
        """Return file and row."""
        return f"{self.path.name} row {where}"

    def _kept(self, header: list[str]) -> dict[str, int]:
        """Return the index of each column that is read."""
        index = {name: place for place, name in reversed(list(enumerate(header)))}
        found: dict[str, int] = {}
        for wanted, option in ((self.id_column, "--id-column"), (self.text_column, "--text-column")):
            known = (ID_NAMES if option == "--id-column" else TEXT_NAMES) if wanted is None else (wanted,)
            names = [name for name in known if name in index]
            if not names:
                hint = f"; {option} names another" if wanted is None else ""
                columns = ", ".join(map(repr, header))
                raise ValueError(f"{self.path.name}: no column {' or '.join(map(repr, known))}{hint}; it has {columns}")
            found |= {name: index[name] for name in names}
        return found

    @contextmanager
    def _complaints(self) -> Iterator[list[int]]:
        """Name file and row in what the reader complains of; yields the counter of rows."""
        count = [1]
        try:
            yield count
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.path.name}: not UTF-8 after row {count[0]}: {error.reason}") from error
        except csv.Error as error:
            raise ValueError(f"{self.place(count[0] + 1)}: not CSV: {error}") from error


class TextFolder(ReportSource):
    """A folder of `.txt` files, one a report, its id the path within the folder; Git-LFS pointers are left out."""

    def items(self) -> Iterator[Item]:
        """Yield the name of each file, sorted by folder."""
        for name, entry in _files(self.path, ".txt"):
            if not _is_pointer(entry):
                yield Item(name, None)

    def read(self, item: Item) -> Report:
        """Return the report of a file."""
        try:
            text = (self.path / str(item.where)).read_text("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.place(item.where)}: not UTF-8: {error.reason}") from error
        return Report(str(item.where), choose_text(text, self.sections))

    def survey(self) -> Survey:
        """Walk through the folder: names, sizes and times of all files are its identity."""
        identity, total, pointers = _folder_survey(self.path, ".txt")
        return Survey(identity, total - len(pointers), (pointers[0] if pointers else "", len(pointers)))


class XmlFolder(ReportSource):
    """A folder of Open-i's XML files."""

    def items(self) -> Iterator[Item]:
        """Yield the name of each file, sorted by folder."""
        for name, _ in _files(self.path, ".xml"):
            yield Item(name, None)

    def read(self, item: Item) -> Report:
        """Return the report of a file."""
        return _openi(self, (self.path / str(item.where)).read_bytes(), item)

    def survey(self) -> Survey:
        """Walk through the folder: names, sizes and times of all files are its identity."""
        identity, total, _ = _folder_survey(self.path, ".xml")
        return Survey(identity, total)


class XmlArchive(ReportSource):
    """A tar archive of Open-i's XML files, in the order of the archive; nothing is extracted."""

    def items(self) -> Iterator[Item]:
        """Yield name and bytes of each XML file."""
        try:
            with tarfile.open(self.path, "r|*") as archive:
                while (member := archive.next()) is not None:
                    # tarfile remembers every member, also of a stream; its stubs do not know the list
                    archive.members.clear()  # type: ignore[attr-defined]
                    if member.isfile() and _is_wanted(member.name.rpartition("/")[2], ".xml"):
                        file = archive.extractfile(member)
                        yield Item(member.name, file.read() if file else b"")
        except (tarfile.TarError, EOFError, zlib.error) as error:
            raise ValueError(f"{self.path.name}: damaged archive: {error}") from error

    def read(self, item: Item) -> Report:
        """Return the report of a member."""
        return _openi(self, item.content, item)


def open_source(
    path: Path, sections: str = "both", id_column: str | None = None, text_column: str | None = None
) -> ReportSource:
    """Return the source at a path, by what is there.

    Args:
        path: JSON lines, a CSV file (`.csv`), a tar archive, or a folder of `.txt` or `.xml` files.
        sections: one of `SECTION_CHOICES`.
        id_column: column or key of the id; `ID_NAMES` by default.
        text_column: column or key of the text; `TEXT_NAMES` by default.

    Raises:
        FileNotFoundError: there is no such file.
        IgclError: a folder or archive that holds no reports or those of two kinds, an unknown choice of sections, or
            columns named for a source that has none.
    """
    if sections not in SECTION_CHOICES:
        raise IgclError(f"--sections {sections!r}: expected one of {', '.join(SECTION_CHOICES)}")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    kind = _folder_kind(path) if path.is_dir() else _file_kind(path)
    if kind not in (JsonLines, CsvTable) and (id_column or text_column):
        option = "--id-column" if id_column else "--text-column"
        raise IgclError(f"{option}: {path} has no columns; the option is for CSV files and JSON lines")
    return kind(path, sections, id_column, text_column)


def _file_kind(path: Path) -> type[ReportSource]:
    if path.suffix.lower() == ".csv":
        return CsvTable
    if tarfile.is_tarfile(path):
        return XmlArchive
    if path.suffix.lower() in (".tgz", ".tar", ".gz", ".zip"):
        raise IgclError(f"{path}: no tar archive; unpack it and give the folder or file")
    return JsonLines


def _folder_kind(path: Path) -> type[ReportSource]:
    kinds: dict[str, type[ReportSource]] = {".txt": TextFolder, ".xml": XmlFolder}
    found = [suffix for suffix in kinds if next(_files(path, suffix), None)]
    if len(found) != 1:
        what = "both .txt and .xml files; give the folder of one kind" if found else "no .txt and no .xml files"
        raise IgclError(f"{path}: holds {what}")
    return kinds[found[0]]


def _files(folder: Path, suffix: str, above: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield path within the folder and entry of each file with a suffix, one folder in memory at a time."""
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir():
            yield from _files(Path(entry.path), suffix, f"{above}{entry.name}/")
        elif _is_wanted(entry.name, suffix):
            yield above + entry.name, entry


def _is_wanted(name: str, suffix: str) -> bool:
    return name.lower().endswith(suffix) and not name.startswith(".") and name not in NOT_REPORTS


def _is_pointer(entry: os.DirEntry[str]) -> bool:
    """Tell whether a file holds the place of another that Git LFS has not fetched."""
    if entry.stat().st_size > MAX_POINTER_BYTES:
        return False
    with open(entry.path, "rb") as file:
        return file.read(len(LFS_POINTER)) == LFS_POINTER


def _folder_survey(path: Path, suffix: str) -> tuple[dict[str, Any], int, list[str]]:
    """Return identity and number of the files of a folder, and the names of the pointers among the texts."""
    digest, total, pointers = hashlib.sha256(), 0, []
    for name, entry in _files(path, suffix):
        status = entry.stat()
        digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
        total += 1
        if suffix == ".txt" and _is_pointer(entry):
            pointers.append(name)
    return {"path": str(path.resolve()), "files": total, "listing": digest.hexdigest()}, total, pointers


def _file_identity(path: Path) -> dict[str, Any]:
    status = path.stat()
    return {"path": str(path.resolve()), "size": status.st_size, "mtime_ns": status.st_mtime_ns}


def _openi(source: ReportSource, content: bytes, item: Item) -> Report:
    """Return the report of one of Open-i's files; one with neither findings nor impression has no text."""
    try:
        report_id, sections = openi_report(content)
    except ValueError as error:
        raise ValueError(f"{source.place(item.where)}: {error}") from error
    return Report(report_id, choose_sections(sections, source.sections) or "")


def _string(record: Mapping[str, Any], name: str, place: str, null: str | None = None) -> str:
    value = null if record[name] is None else record[name]
    if not isinstance(value, str):
        raise ValueError(f'{place}: "{name}" is no string')
    return value


def _expected(id_names: tuple[str, ...], text_names: tuple[str, ...]) -> str:
    sections = f" or {json.dumps(list(text_names[1:]))} in its place" if len(text_names) > 1 else ""
    return f'{{"{id_names[0]}": ..., "{text_names[0]}": ...}}{sections}'
