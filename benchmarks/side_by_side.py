"""What the benchmarks share: two functions in turns, the ratio of their times, and a flat record of the claim."""

from __future__ import annotations

import json
import platform
import re
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

Record = dict[str, Any]

COLUMNS = {"measure": "ours", "other": "against", "ratio": "ratio", "reach": "reach", "reached": "reached"}


class Claim(NamedTuple):
    """A row of the table of speeds.

    Attributes:
        measure: what is done, in which size.
        other: what does the same, or what else it does.
        unit: what the ratio is: "times faster", "of its time", "of its memory", "of its rate", "exponent".
        reach: what the ratio should be.
    """

    measure: str
    other: str
    unit: str
    reach: float

    @property
    def more_is_better(self) -> bool:
        return self.unit in ("times faster", "of its rate")

    def record(self, ratios: Sequence[float], note: str = "", threads: int | None = None) -> Record:
        middle = statistics.median(ratios)
        return {
            "measure": self.measure,
            "other": self.other,
            "unit": self.unit,
            "machine": machine(),
            "threads": threads or torch.get_num_threads(),
            "rounds": len(ratios),
            "ratio_min": round(min(ratios), 4),
            "ratio_median": round(middle, 4),
            "ratio_max": round(max(ratios), 4),
            "reach": self.reach,
            "reached": middle >= self.reach if self.more_is_better else middle <= self.reach,
            "note": note,
        }


def times_in_turns(
    ours: Callable[[], object],
    other: Callable[[], object],
    rounds: int = 7,
    clock: Callable[[], float] = time.perf_counter,
    repeats: int = 1,
) -> list[tuple[float, float]]:
    """Return the seconds of both in each round, one after the other, after a round that does not count.

    The least of `repeats` is the time in a round: other programs only add to it.
    """

    def seconds(function: Callable[[], object]) -> float:
        best = float("inf")
        for _ in range(repeats):
            start = clock()
            function()
            best = min(best, clock() - start)
        return best

    ours(), other()
    return [(seconds(ours), seconds(other)) for _ in range(rounds)]


def faster(times: Iterable[tuple[float, float]]) -> list[float]:
    """Return how many times faster ours was in each round."""
    return [other / ours for ours, other in times]


def share(times: Iterable[tuple[float, float]]) -> list[float]:
    """Return the time of ours as a share of that of the other, in each round."""
    return [ours / other for ours, other in times]


def machine() -> str:
    """Return processor, number of cores and versions in one line."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    if torch.cuda.is_available():
        found_name = torch.cuda.get_device_name()
    else:
        found_name = found[1].strip() if found else platform.processor()
    return f"{found_name}, torch {torch.__version__}"


def write(records: Sequence[Record], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(record) for record in records)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def as_table(records: Sequence[Record]) -> str:
    """Return the claims as a Markdown table."""
    lines = ["| ours | against | ratio: median (least, most) | reach | |", "| --- | --- | --- | --- | --- |"]
    for record in records:
        least, middle, most = (shown(record[f"ratio_{which}"]) for which in ("min", "median", "max"))
        bound = "at least" if Claim("", "", record["unit"], 0).more_is_better else "at most"
        note = f"; {record['note']}" if record["note"] else ""
        lines.append(
            f"| {record['measure']} | {record['other']} | {middle} {record['unit']} ({least}, {most}) | "
            f"{bound} {shown(record['reach'])} | {'reached' if record['reached'] else 'missed'}{note} |"
        )
    return "\n".join(lines)


def shown(number: float) -> str:
    return f"{number:.2f}" if abs(number) < 10 else f"{number:,.0f}"
