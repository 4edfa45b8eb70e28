"""Findings of the doctor, as lines and as data, and the wording of counts."""

from __future__ import annotations

import sys
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Level = Literal["error", "warning", "not examined", "ok"]
LEVELS: tuple[Level, ...] = ("error", "warning", "not examined", "ok")
"""Levels, worst first: training fails or is wrong; check it; nothing was looked at; fine."""

MAX_NAMED_ROWS = 100


class Place(NamedTuple):
    """Position of a row in a store: its split, its index within the split (`number`), and its id."""

    split: str
    number: int
    row: str


@dataclass(frozen=True)
class Finding:
    """Result of a check.

    `level` is one of `LEVELS`, `check` the subject in a word or two, `message` one line: the observation and, if
    something is wrong, what to do. At most `MAX_NAMED_ROWS` of the affected rows are kept. `numbers` are the counts of
    the message, as JSON values.
    """

    level: Level
    check: str
    message: str
    rows: tuple[Place, ...] = ()
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", tuple(self.rows[:MAX_NAMED_ROWS]))
        object.__setattr__(self, "message", " ".join(self.message.split()))

    def line(self, width: int = sys.maxsize) -> str:
        """Return the finding as text, wrapped to lines of a width, but one word at least."""
        subject = f"{self.level:12} {self.check:13} "
        width = max(width, len(subject) + 24)
        how: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
        return textwrap.fill(self.message, width, initial_indent=subject, subsequent_indent=" " * 27, **how)

    def record(self) -> dict[str, Any]:
        """Return the finding as data; rows as [split, row id]."""
        rows = [[place.split, place.row] for place in self.rows]
        numbers = {"numbers": dict(self.numbers)} if self.numbers else {}
        return {"level": self.level, "check": self.check, "message": self.message, "rows": rows, **numbers}


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings sorted by level; the order within a level stays."""
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def counted(findings: Sequence[Finding]) -> str:
    """Return the number of findings by level, such as "1 error, 2 warnings, 1 not examined, 9 ok"."""
    counts = Counter(finding.level for finding in findings)
    unseen = f"{counts['not examined']} not examined, " if counts["not examined"] else ""
    return f"{number(counts['error'], 'error')}, {number(counts['warning'], 'warning')}, {unseen}{counts['ok']} ok"


def share(part: int, whole: int) -> str:
    """Return "12 of 3,000 (0.4 %)"."""
    return f"{part:,} of {whole:,} ({percent(part, whole)})"


def percent(part: int, whole: int) -> str:
    """Return a share as "12 %", a small one as "0.4 %"."""
    value = 100 * part / max(whole, 1)
    return f"{value:.1f} %" if 0 < value < 10 else f"{value:.0f} %"


def number(count: int, noun: str) -> str:
    """Return "1 row" or "1,200 rows"."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def such_as(names: Iterable[object], most: int = 3) -> str:
    """Return ", such as 'a', 'b'" with the first names, or "" if there are none."""
    shown = [repr(str(name)) for name, _ in zip(names, range(most), strict=False)]
    return f", such as {', '.join(shown)}" if shown else ""
