"""Errors for the user, and their wording: one line each."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable


class IgclError(Exception):
    """An error that the user can act on, shown without a traceback; the exit status is 1.

    The message is one line that names the file, row or option, says what is wrong and what to do.
    """


class UsageError(SystemExit):
    """Wrong usage of a command: exit status 2 and one line that names the option.

    A `SystemExit`, as raised by argparse, so that jsonargparse does not catch it as a value of the wrong type.
    """

    def __init__(self, message: str) -> None:
        super().__init__(2)
        self.message = one_line(message)


def one_line(text: object) -> str:
    """Return `text` without line breaks, repeated spaces and memory addresses, which differ from run to run."""
    return re.sub(r" <_io\.\w+ object at 0x\w+>|(?<=\w) at 0x[0-9A-Fa-f]+", "", " ".join(str(text).split()))


def message_of(error: BaseException) -> str:
    """Return the message of an error as one line, without the traceback that a loader's worker adds."""
    text = str(error)
    if text.startswith("Caught ") and "Original Traceback" in text:
        text = text[text.rindex(f"{type(error).__name__}: ") :].partition(": ")[2]
    return one_line(text)


def write_message(kind: str, message: str) -> None:
    """Write one line to standard error: kind is "error" or "warning"."""
    sys.stderr.write(f"igcl: {kind}: {message}\n")


def suggestion(word: str, known: Iterable[str], before: str = "") -> str:
    """Return ", did you mean X?" with the closest of `known`, after `before`, or nothing when none is close."""
    names = sorted(set(known))
    near = difflib.get_close_matches(word, names, n=1) or [name for name in names if name.startswith(word)]
    return f", did you mean {before}{near[0]}?" if near else ""
