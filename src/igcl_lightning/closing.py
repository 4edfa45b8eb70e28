"""The last lines of a command: where things are, what was found, and what comes next; the same shape everywhere."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Mapping

from igcl_lightning.errors import write_message

QUIET = "IGCL_QUIET"
"""Environment variable of `--quiet`, for processes that are started too: only results, warnings, errors are written."""


def is_quiet() -> bool:
    """Return whether the command was given --quiet."""
    return os.environ.get(QUIET, "0") not in ("", "0")


def write_note(message: str) -> None:
    """Write a line about what a command took for granted to standard error, except with --quiet."""
    if not is_quiet():
        write_message("note", message)


def command(words: Iterable[str]) -> str:
    """Return the words of a command of this program, ready to paste."""
    return shlex.join(["igcl", *words])


def write_closing(lines: Mapping[str, str]) -> None:
    """Write what is not empty to standard output, a line each, such as `folder  runs/igcl/version_0`.

    Args:
        lines: text by title: "folder", "best", "files", "next", as far as they apply.
    """
    shown = {title: text for title, text in lines.items() if text}
    if is_quiet() or not shown:
        return
    width = max(map(len, shown))
    sys.stdout.writelines(f"{title:{width}}  {text}\n" for title, text in shown.items())
    sys.stdout.flush()


def say_progress(line: str) -> None:
    """Print a line that is no result: nothing with --quiet."""
    if not is_quiet():
        say(line)


def say(line: str) -> None:
    """Print a line without buffering."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
