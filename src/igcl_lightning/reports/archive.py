"""Texts in a zip archive, read without unpacking it."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from igcl_lightning.errors import IgclError
from igcl_lightning.reports.encodings import decoded
from igcl_lightning.reports.files import reason

MAX_BYTES = 1 << 20
"""Size of the largest text that is read: more is no report."""


def zipped_texts(path: Path, name: re.Pattern[str]) -> Iterator[tuple[str, str | None]]:
    """Yield the first group of `name` in the path of each member that has it, and its text, None if not readable.

    Raises:
        IgclError: the file is missing, damaged, encrypted, or not a zip archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if match := name.search(member.filename):
                    yield match[1], _text(archive, member)
    except OSError as error:
        raise IgclError(f"{path}: {reason(error)}") from error
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:  # RuntimeError: encrypted
        raise IgclError(f"{path}: not a readable zip archive ({error}); unzip it and give the folder") from error


def _text(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> str | None:
    if member.file_size > MAX_BYTES:
        return None
    try:
        return decoded(Path(member.filename), archive.read(member))[0]
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError):
        return None
