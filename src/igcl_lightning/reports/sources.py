"""Sources of reports: JSON lines, a folder of texts, Open-i's XML as a folder or an archive; `data` adds tables.

Each source is a stream, read in two steps: `items` yields raw records in the main process, cheaply; `read` turns one
into a report, in worker processes.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from igcl_lightning.errors import IgclError
from igcl_lightning.reports.encodings import decoded
from igcl_lightning.reports.files import (
    is_lfs_pointer,
    json_object,
    near_path,
    numbered_lines,
    read_bytes,
    walk_folders,
)
from igcl_lightning.reports.openi_xml import openi_record
from igcl_lightning.reports.sections import SECTION_CHOICES, choose_sections, choose_text

ID_NAMES = ("id", "uid")
TEXT_NAMES = ("text", "findings", "impression")
NOT_REPORTS = frozenset({"LICENSE.txt", "README.txt", "SHA256SUMS.txt"})
"""Files that data sets ship with their reports."""


class Report(NamedTuple):
    """A report whose text is to be parsed, and the encoding of its file if it is not UTF-8."""

    id: str | int
    text: str
    encoding: str = ""


class Item(NamedTuple):
    """A raw record: its line, row or file, and the content that `read` needs."""

    where: int | str
    content: Any = None


class Survey(NamedTuple):
    """Facts about a source that are known before it is read.

    Attributes:
        identity: names, sizes and times of its files; the same identity means the same reports.
        total: number of reports, blank lines included; None if counting is expensive.
        pointers: names of the Git LFS pointers, which are skipped.
    """

    identity: dict[str, Any]
    total: int | None = None
    pointers: Sequence[str] = ()


@dataclass(frozen=True)
class ReportSource(ABC):
    """Reports at a path.

    Attributes:
        path: the file or folder.
        sections: parsed part of a report, one of `SECTION_CHOICES`.
        id_column: column or key of the id; default: one of `ID_NAMES`.
        text_column: column or key of the text; default: those of `TEXT_NAMES` that exist.
        headers: section of each further header (see `read_headers`).
    """

    path: Path
    sections: str = "both"
    id_column: str | None = None
    text_column: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    unit: ClassVar[str] = "/"
    """Text between file name and place of a record in messages."""

    @abstractmethod
    def items(self) -> Iterator[Item]:
        """Yield the raw record of each report, always in the same order.

        Raises:
            ValueError: the file is damaged; the message names file and place.
        """

    @abstractmethod
    def read(self, item: Item) -> Report:
        """Return the report of a raw record.

        Raises:
            ValueError: it holds no report; the message names file and line, row or member.
            OSError: a file cannot be read.
        """

    def survey(self) -> Survey:
        """Return the facts that are known before reading."""
        status = self.path.stat()
        return Survey({"path": str(self.path.resolve()), "size": status.st_size, "mtime_ns": status.st_mtime_ns})

    def place(self, where: int | str) -> str:
        """Return the name of a record for messages, such as "reports.csv row 3"."""
        return f"{self.path.name}{self.unit}{where}"

    def _chosen(self, text: str) -> str:
        return choose_text(text, self.sections, self.headers)

    def _names(self) -> tuple[Sequence[str], Sequence[str]]:
        """Return the names of the id, best first, and those of the text: of the whole text, then of its sections."""
        return [self.id_column] if self.id_column else ID_NAMES, [self.text_column] if self.text_column else TEXT_NAMES

    def _report(self, record: Mapping[str, Any], place: str) -> Report:
        """Return the report of named values: its chosen sections, or those found in its text."""
        id_names, text_names = self._names()
        id_name = next((name for name in id_names if name in record), None)
        text_name, *section_names = text_names
        if id_name is None or not any(name in record for name in text_names):
            instead = f" or {json.dumps(section_names)} in its place" if section_names else ""
            raise ValueError(f'{place}: expected {{"{id_names[0]}": ..., "{text_name}": ...}}{instead}')
        report_id = record[id_name]
        if not isinstance(report_id, str | int) or isinstance(report_id, bool):
            raise ValueError(f'{place}: "{id_name}" is neither a string nor a whole number')
        sections = {name: _string(record, name, place, null="") for name in section_names if name in record}
        chosen = choose_sections(sections, self.sections)
        if chosen is None:
            chosen = self._chosen(_string(record, text_name, place)) if text_name in record else ""
        return Report(report_id, chosen)


class JsonLines(ReportSource):
    """One JSON object per line: an id, and a text or sections. Other keys are ignored, blank lines skipped."""

    unit = " line "

    def items(self) -> Iterator[Item]:
        """Yield number and bytes of each line."""
        return (Item(number, line) for number, line in numbered_lines(self.path))

    def read(self, item: Item) -> Report:
        """Return the report of a line."""
        place = self.place(item.where)
        try:
            record = json_object(item.content)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error
        return self._report(record, place)

    def survey(self) -> Survey:
        """Count the lines and look for repeated ids: reading a file takes a fraction of parsing it.

        Raises:
            IgclError: two reports have the same id.
        """
        first: dict[str, int] = {}
        number = 0
        for number, line in numbered_lines(self.path, blank=True):
            report_id = self._id(line)
            if report_id is not None and first.setdefault(report_id, number) != number:
                said = f"id {report_id!r} is that of line {first[report_id]}"
                raise IgclError(f"{self.path} line {number}: {said}; keep one, or name another key with --id-column")
        return super().survey()._replace(total=number)

    def _id(self, line: bytes) -> str | None:
        """Return the id on a line as text, None for a line that is to be refused when it is read."""
        try:
            record = json_object(line)
        except ValueError:
            return None
        found = next((record[name] for name in self._names()[0] if name in record), None)
        return str(found) if isinstance(found, str | int) else None


class ReportFolder(ReportSource):
    """A folder of files with one suffix, one report each."""

    suffix: ClassVar[str]

    def items(self) -> Iterator[Item]:
        """Yield the name of each file, sorted by folder."""
        return (Item(name) for name, path in self.files() if not self._is_pointer(path))

    def survey(self) -> Survey:
        """Walk the folder: names, sizes and times of all files are its identity."""
        files = list(self.files())
        digest = hashlib.sha256()
        for name, path in files:
            status = path.stat()
            digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
        pointers = [name for name, path in files if self._is_pointer(path)]
        identity = {"path": str(self.path.resolve()), "files": len(files), "listing": digest.hexdigest()}
        return Survey(identity, len(files) - len(pointers), pointers)

    def files(self) -> Iterator[tuple[str, Path]]:
        """Yield path within the folder and full path of each file."""
        for folder, names in walk_folders(self.path):
            within = folder.relative_to(self.path)
            for name in names:
                if _is_report(name, self.suffix):
                    yield (within / name).as_posix(), folder / name

    def _is_pointer(self, path: Path) -> bool:
        return False


class TextFolder(ReportFolder):
    """A folder of `.txt` files; the id is the path within the folder. Git LFS pointers are skipped."""

    suffix = ".txt"

    def read(self, item: Item) -> Report:
        """Return the report of a file."""
        try:
            text, encoding = decoded(self.path, read_bytes(self.path / str(item.where)))
        except ValueError as error:
            raise ValueError(f"{self.place(item.where)}: {error}") from error
        return Report(str(item.where), self._chosen(text), encoding)

    def _is_pointer(self, path: Path) -> bool:
        return is_lfs_pointer(path)


class _OpeniReports(ReportSource):
    """Reports of Open-i's XML files."""

    def read(self, item: Item) -> Report:
        """Return the report of a file; its text is "" if it has neither findings nor impression."""
        content = read_bytes(self.path / str(item.where)) if item.content is None else item.content
        try:
            record = openi_record(content)
        except ValueError as error:
            raise ValueError(f"{self.place(item.where)}: {error}") from error
        return Report(record.id, choose_sections(record.sections, self.sections) or "")


class XmlFolder(_OpeniReports, ReportFolder):
    """A folder of Open-i's XML files."""

    suffix = ".xml"


class XmlArchive(_OpeniReports):
    """A tar archive of Open-i's XML files, in the order of the archive; nothing is extracted."""

    def items(self) -> Iterator[Item]:
        """Yield name and bytes of each XML file."""
        try:
            with tarfile.open(self.path, "r|*") as archive:
                while (member := archive.next()) is not None:
                    # tarfile keeps every member, even of a stream; its stubs lack the list
                    archive.members.clear()  # type: ignore[attr-defined]
                    if member.isfile() and _is_report(member.name.rpartition("/")[2], ".xml"):
                        file = archive.extractfile(member)
                        yield Item(member.name, file.read() if file else b"")
        except (tarfile.TarError, EOFError, zlib.error) as error:
            raise ValueError(f"{self.path.name}: damaged archive: {error}") from error


def open_source(
    path: Path,
    sections: str = "both",
    id_column: str | None = None,
    text_column: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> ReportSource:
    """Return the source at a path: JSON lines, a tar archive, or a folder of `.txt` or `.xml` files.

    The arguments are those of `ReportSource`; only JSON lines have names to choose.

    Raises:
        FileNotFoundError: `path` does not exist.
        IgclError: a folder or archive holds no reports or two kinds, the choice of sections is unknown, or a source
            without columns is given a column.
    """
    if sections not in SECTION_CHOICES:
        raise IgclError(f"--sections {sections!r}: expected one of {', '.join(SECTION_CHOICES)}")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file{near_path(path)}")
    kind = _folder_kind(path) if path.is_dir() else _file_kind(path)
    if kind is not JsonLines and (id_column or text_column):
        option = "--id-column" if id_column else "--text-column"
        raise IgclError(f"{option}: {path} has no columns; the option is for tables and JSON lines")
    return kind(path, sections, id_column, text_column, headers or {})


def _file_kind(path: Path) -> type[ReportSource]:
    if tarfile.is_tarfile(path):
        return XmlArchive
    if path.suffix.lower() in (".tgz", ".tar", ".gz", ".zip"):
        raise IgclError(f"{path}: not a tar archive; unpack it and give the folder or file")
    return JsonLines


def _folder_kind(path: Path) -> type[ReportSource]:
    found = [kind for kind in (TextFolder, XmlFolder) if next(kind(path).files(), None)]
    if len(found) != 1:
        content = "both .txt and .xml files; give a folder of one kind" if found else "no .txt and no .xml files"
        raise IgclError(f"{path}: contains {content}")
    return found[0]


def _is_report(name: str, suffix: str) -> bool:
    return name.lower().endswith(suffix) and not name.startswith(".") and name not in NOT_REPORTS


def _string(record: Mapping[str, Any], name: str, place: str, null: str | None = None) -> str:
    value = null if record[name] is None else record[name]
    if not isinstance(value, str):
        raise ValueError(f'{place}: "{name}" is not a string')
    return value
