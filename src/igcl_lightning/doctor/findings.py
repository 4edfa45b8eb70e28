"""What the doctor says: findings, their order, and their forms as lines and as data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Level = Literal["error", "warning", "ok"]
LEVELS: tuple[Level, ...] = ("error", "warning", "ok")
"""Worst first: training would be wrong or fail; look at it; as it should be."""

MAX_NAMED_ROWS = 100


class Place(NamedTuple):
    """Where a row stands in a store.

    Attributes:
        split: its split.
        number: its number within the split.
        row: its id.
    """

    split: str
    number: int
    row: str


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at, and what was seen.

    Attributes:
        level: one of `LEVELS`.
        check: what was looked at, in a word or two.
        message: one line for a person: what was seen and, where something is wrong, what to do.
        rows: the rows that it concerns; at most `MAX_NAMED_ROWS` are kept.
        numbers: the counts behind the message, JSON-able.
    """

    level: Level
    check: str
    message: str
    rows: tuple[Place, ...] = ()
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", tuple(self.rows[:MAX_NAMED_ROWS]))
        object.__setattr__(self, "message", " ".join(self.message.split()))

    def line(self) -> str:
        """Return the finding as a line of text."""
        return f"{self.level:8} {self.check:13} {self.message}"

    def record(self) -> dict[str, Any]:
        """Return the finding as data; rows as [split, row id]."""
        rows = [[place.split, place.row] for place in self.rows]
        return {"level": self.level, "check": self.check, "message": self.message, "rows": rows} | (
            {"numbers": dict(self.numbers)} if self.numbers else {}
        )


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings by level, those of one level in the order of the checks."""
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def counted(findings: Sequence[Finding]) -> str:
    """Return how many findings of each level there are, such as "1 error, 2 warnings, 9 ok"."""
    counts = Counter(finding.level for finding in findings)
    return f"{number(counts['error'], 'error')}, {number(counts['warning'], 'warning')}, {counts['ok']} ok"


def share(part: int, whole: int) -> str:
    """Return "12 of 3,000 (0.4 %)"."""
    return f"{part:,} of {whole:,} ({percent(part, whole)})"


def percent(part: int, whole: int) -> str:
    """Return a share as "12 %", small ones as "0.4 %"."""
    value = 100 * part / max(whole, 1)
    return f"{value:.1f} %" if 0 < value < 10 else f"{value:.0f} %"


def number(count: int, noun: str) -> str:
    """Return "1 row" or "1,200 rows"."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def such_as(names: Iterable[object], most: int = 3) -> str:
    """Return ", such as 'a', 'b'" with the first of the names, or nothing where there are none."""
    shown = [repr(str(name)) for name, _ in zip(names, range(most), strict=False)]
    return f", such as {', '.join(shown)}" if shown else ""
