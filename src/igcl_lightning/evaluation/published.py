"""Numbers that the paper of IGCL publishes (`published.yaml`), for display beside our own and never mixed with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from igcl_lightning.errors import IgclError, suggestion
from igcl_lightning.evaluation.tables import aligned

FILE = Path(__file__).with_name("published.yaml")

MARKS: Mapping[str, str] = {
    "text": "as stated in the paper",
    "figure": "read off a figure",
    "derived": "computed from other numbers",
}
"""How sure a number is, by its mark."""

LOWEST: Mapping[str, float] = {"auroc": 0.0, "f1": 0.0, "mcc": -1.0}
"""Metrics with their lowest value; the highest is 1."""


@dataclass(frozen=True)
class Number:
    """A published value with its interval of 95 %, whose ends are None where none is published."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class PublishedTable:
    """One figure, table or statement of the paper.

    Attributes:
        title: what the numbers are.
        protocols: files of `configs/protocol` that show it, or "ablation".
        metric: one of `LOWEST`.
        source: figure or table, or what it was computed from.
        mark: one of `MARKS`.
        columns: labels, "mean", or settings such as "5-shot".
        numbers: numbers by name of the row, one for each column; None where the paper has none.
        versus: method that is compared with each row: the numbers are those of versus - row.
        fraction, shots: labelled share of the training images, or positive training images of each label.
        precision: how far numbers that were read off a figure may be from those that were plotted.
    """

    title: str
    protocols: Sequence[str]
    metric: str
    source: str
    mark: str
    columns: Sequence[str]
    numbers: Mapping[str, Sequence[Number | None]]
    versus: str | None = None
    fraction: float | None = None
    shots: int | None = None
    precision: float | None = None

    def number(self, row: str, column: str) -> Number:
        """Return a number; a `KeyError` or `ValueError` if there is none."""
        found = self.numbers[row][self.columns.index(column)]
        if found is None:
            raise KeyError(f"{self.title}: {row} has no {column}")
        return found

    @property
    def origin(self) -> str:
        """Where the numbers come from, and how sure they are."""
        near = f" to within {self.precision:.3f}" if self.precision else ""
        return f"{self.source}; {MARKS[self.mark]}{near}"


@dataclass(frozen=True)
class Published:
    """All published numbers.

    Attributes:
        paper: where they are published.
        test_set: the images that they are of.
        tables: the tables by name.
    """

    paper: str
    test_set: str
    tables: Mapping[str, PublishedTable]

    @property
    def about(self) -> str:
        """What the numbers are, in two lines."""
        title = f"published, not measured here: on {self.test_set}"
        about = f"{self.paper}; the mean has its interval of 95 %; comparable with results on that test set only"
        return f"{title}\n{about}"

    def of(self, protocol: str) -> list[PublishedTable]:
        """Return the tables that a file of `configs/protocol` shows, or "ablation"."""
        return [table for table in self.tables.values() if protocol in table.protocols]


def read_published(path: Path = FILE) -> Published:
    """Read the published numbers.

    Raises:
        IgclError: a key is unknown or missing, a value has the wrong type or is out of its range; the message names the
            file, the table and the row.
    """
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    _refuse_keys(f"{path}", content, {each.name: True for each in fields(Published)})
    tables = {name: _table(f"{path}: {name}", given) for name, given in content["tables"].items()}
    return Published(content["paper"], content["test_set"], tables)


def _table(where: str, given: Any) -> PublishedTable:
    optional = ("versus", "fraction", "shots", "precision")
    _refuse_keys(where, given, {each.name: each.name not in optional for each in fields(PublishedTable)})
    for key, known in (("mark", MARKS), ("metric", LOWEST)):
        if given[key] not in known:
            raise IgclError(f"{where}: {key} is {given[key]!r}, not one of {', '.join(known)}")
    if ("precision" in given) != (given["mark"] == "figure"):
        raise IgclError(f"{where}: precision is that of numbers read off a figure, and only theirs")
    least = -1.0 if "versus" in given else LOWEST[given["metric"]]
    numbers = {}
    for row, line in given["numbers"].items():
        numbers[row] = [_number(f"{where}: {row}", each, least) for each in line]
        if len(line) != len(given["columns"]):
            raise IgclError(f"{where}: {row}: {len(line)} numbers for {len(given['columns'])} columns")
    return PublishedTable(**{**given, "numbers": numbers})


def _refuse_keys(where: str, given: Any, required: Mapping[str, bool]) -> None:
    if not isinstance(given, dict):
        raise IgclError(f"{where}: {given!r} is not a mapping")
    for key in given:
        if key not in required:
            raise IgclError(f"{where}: {key}: unknown key{suggestion(str(key), required)}")
    for key, needed in required.items():
        if needed and key not in given:
            raise IgclError(f"{where}: lacks {key}")


def _number(where: str, given: Any, least: float) -> Number | None:
    if given is None:
        return None
    parts = given if isinstance(given, list) else [given]
    if len(parts) not in (1, 3) or not all(isinstance(part, float) for part in parts):
        raise IgclError(f"{where}: {given!r} is neither a number nor [value, low, high]")
    if not all(least <= part <= 1 for part in parts) or (len(parts) == 3 and not parts[1] <= parts[0] <= parts[2]):
        raise IgclError(f"{where}: {given!r} is out of range, or the value outside of its interval")
    return Number(*parts)


def format_published(protocol: str, published: Published | None = None) -> str:
    """Return the tables that a protocol shows as plain text, below a line that says what they are; "" without any.

    Args:
        protocol: name of a file of `configs/protocol`, or "ablation".
        published: the numbers (default: those of the package).
    """
    published = read_published() if published is None else published
    shown = published.of(protocol)
    return "\n\n".join([published.about, *map(format_published_table, shown)]) if shown else ""


def format_published_table(table: PublishedTable) -> str:
    """Return a table as plain text: title, source, mark and numbers."""
    return "\n".join([table.title, table.origin, aligned(published_rows(table))])


def published_rows(table: PublishedTable) -> list[list[str]]:
    """Return the numbers as text, titles first; intervals of the last column only, for a narrow page."""
    rows = [["", *table.columns]]
    for name, line in table.numbers.items():
        row = name if table.versus is None else f"{table.versus} - {name}"
        rows.append([row, *(_cell(each, table, column == len(line) - 1) for column, each in enumerate(line))])
    return rows


def _cell(number: Number | None, table: PublishedTable, with_interval: bool) -> str:
    if number is None:
        return "-"
    sign = "" if table.versus is None else "+"
    digits = 2 if table.mark == "text" and round(number.value, 2) == number.value else 3
    if number.low is None or not with_interval:
        return f"{number.value:{sign}.{digits}f}"
    return f"{number.value:{sign}.{digits}f} [{number.low:{sign}.2f}, {number.high:{sign}.2f}]"
