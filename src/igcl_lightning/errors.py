"""The one error that is meant for the person at the keyboard."""

from __future__ import annotations


class IgclError(Exception):
    """The work could not be done.

    The message is one line that names the file, row or option, says what is wrong and what to do about it. The command
    line shows it without a traceback and exits with status 1.
    """
