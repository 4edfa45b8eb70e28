"""Cells: parts of a table of runs, each with a folder of its own, worked on in processes of their own, resumable.

FOLDER/plan.json    what to do
FOLDER/log.txt      what the process wrote
FOLDER/now.txt      what it does at present
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from igcl_lightning.atomic import locked, replacing
from igcl_lightning.closing import is_quiet, say_progress
from igcl_lightning.errors import IgclError, write_message
from igcl_lightning.protocols.children import run_as_child, run_children, start_child, why_failed

PLAN, NOW = "plan.json", "now.txt"
BUSY = 75
"""Exit status of a cell that another process works on; `log.txt` is that one's."""

TOLD_EVERY = 30.0
"""Seconds between lines that say what the cells do at present; a terminal shows it at once, in one line."""


class Cell(NamedTuple):
    """One part of a table: its title in messages, its folder, and what to do as plain values."""

    title: str
    folder: Path
    plan: Mapping[str, Any]


def digest(*parts: Any) -> str:
    """Return a hash of plain values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def write_json(content: Any, path: Path) -> None:
    """Write JSON atomically."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Return the mapping in a JSON file, an empty one if there is no file; `IgclError` if it holds anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError:  # not JSON, or not UTF-8
        content = None
    if not isinstance(content, dict):
        raise IgclError(f"{path}: damaged, not a mapping in JSON: delete it, and what it records is made again")
    return content


def run_cells(cells: Sequence[Cell], jobs: int, child: str) -> list[Cell]:
    """Work on cells, some at once, each in a process of its own, and return those that failed.

    Args:
        cells: the cells, in the order in which they begin.
        jobs: cells that are worked on at once, if more than one with one thread and a share of the GPUs each.
        child: Python code of the process; the folder of the cell is its argument.
    """
    failed: list[Cell] = []
    jobs = max(1, min(jobs, len(cells)))
    left, start = len(cells), time.monotonic()
    begun: dict[Path, float] = {}
    status_line = _StatusLine()

    def begin(cell: Cell, place: int) -> subprocess.Popen[bytes]:
        begun[cell.folder] = time.monotonic()
        return _start(cell, jobs, place, child)

    def ended(cell: Cell, status: int) -> None:
        nonlocal left
        left -= 1
        status_line.clear()
        seconds = time.monotonic() - begun.pop(cell.folder)
        (cell.folder / NOW).unlink(missing_ok=True)
        if status:
            failed.append(cell)
            busy = "another process works on it; wait for it, then run this again"
            write_message("error", f"{cell.title}: {busy if status == BUSY else why_failed(_log(cell), status)}")
        else:
            done = len(cells) - left
            minutes = (time.monotonic() - start) / done * left / 60
            rest = f"; about {minutes:.0f} min left" if left else ""
            say_progress(f"{done}/{len(cells)} {cell.title}: {seconds:.0f} s{rest}")

    def look(cell: Cell) -> bool:
        status_line.show([f"{each.title}: {now}" for each in cells if each.folder in begun and (now := _now(each))])
        return False

    try:
        run_children(cells, jobs, begin, ended, look)
    except KeyboardInterrupt:
        status_line.clear()
        write_message("warning", "interrupted; what is finished is kept: run the same command again")
        raise
    status_line.clear()
    return failed


def _start(cell: Cell, jobs: int, place: int, child: str) -> subprocess.Popen[bytes]:
    cell.folder.mkdir(parents=True, exist_ok=True)
    write_json(cell.plan, cell.folder / PLAN)
    return start_child(["-c", child, str(cell.folder), digest(cell.plan)], _log(cell), jobs, place)


def _log(cell: Cell) -> Path:
    return cell.folder / "log.txt"


def _now(cell: Cell) -> str:
    try:
        return (cell.folder / NOW).read_text(encoding="utf-8")
    except OSError:  # not begun, or being replaced
        return ""


class _StatusLine:
    """What the cells do at present: one line that is overwritten in a terminal, otherwise a line now and then."""

    def __init__(self) -> None:
        self._shown, self._at = "", time.monotonic()

    def show(self, parts: Sequence[str]) -> None:
        """Show the parts, if they have changed."""
        line = "; ".join(parts)
        if is_quiet() or not line or line == self._shown:
            return
        if sys.stderr.isatty():
            self.clear()
            sys.stderr.write(line[:78])
            sys.stderr.flush()
        elif time.monotonic() - self._at < TOLD_EVERY:
            return
        else:
            sys.stderr.write(f"{line}\n")
        self._shown, self._at = line, time.monotonic()

    def clear(self) -> None:
        """Make room for another line."""
        if self._shown and sys.stderr.isatty():
            sys.stderr.write(f"\r{' ' * 78}\r")
            sys.stderr.flush()
        self._shown = ""


def run_as_cell(work: Callable[[Path, dict[str, Any]], None]) -> None:
    """Do the work of a cell in its process: its folder and a hash of its plan are the arguments.

    The process ends as `BUSY` if another one works on the cell, or has been given another plan meanwhile.
    """
    run_as_child(partial(_locked, Path(sys.argv[1]), work))


def _locked(folder: Path, work: Callable[[Path, dict[str, Any]], None]) -> None:
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder))
        except IgclError:
            sys.exit(BUSY)
        plan = read_json(folder / PLAN)
        if sys.argv[2:] and digest(plan) != sys.argv[2]:
            sys.exit(BUSY)
        work(folder, plan)


def tell(folder: Path, what: str) -> None:
    """Say what the work on a cell does at present."""
    with replacing(folder / NOW) as temporary:
        temporary.write_text(what, encoding="utf-8")
