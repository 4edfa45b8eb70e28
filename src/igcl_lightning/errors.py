"""Errors that are meant for the person at the keyboard, and how they are worded: in one line."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable


class IgclError(Exception):
    """The work could not be done.

    The message is one line that names the file, row or option, says what is wrong and what to do about it. The command
    line shows it without a traceback and exits with status 1.
    """


class UsageError(SystemExit):
    """The command cannot be understood: exit status 2 and one line that names the option.

    A `SystemExit`, as argparse itself raises, so that no parser in between takes it for one failed reading of many.
    """

    def __init__(self, message: str) -> None:
        super().__init__(2)
        self.message = one_line(message)


def one_line(text: object) -> str:
    """Return `text` with every run of white space, line breaks too, as one space."""
    return " ".join(str(text).split())


def message_of(error: BaseException) -> str:
    """Return the message of an error as one line; of one that a loader's worker raised, without the trace there."""
    text = str(error)
    if text.startswith("Caught ") and "Original Traceback" in text:
        text = text[text.rindex(f"{type(error).__name__}: ") :].partition(": ")[2]
    return one_line(text)


def write_message(kind: str, message: str) -> None:
    """Write one line to standard error: kind is "error" or "warning"."""
    sys.stderr.write(f"igcl: {kind}: {message}\n")


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return ", did you mean X?" with the closest of `known`, or nothing when none is close."""
    names = sorted(set(known))
    near = difflib.get_close_matches(word, names, n=1) or [name for name in names if name.startswith(word)]
    return f", did you mean {near[0]}?" if near else ""
