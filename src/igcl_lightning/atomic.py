"""Atomic writing of files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to, which replaces `path` when the block ends or is removed if it raises.

    The temporary name is unique, so that processes and threads can write one file at the same time: the last to finish
    wins, and readers always find a complete file. Devices and pipes are written directly.

    Raises:
        OSError: the file cannot be written, for example because its folder does not exist.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:12]}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.filename == str(temporary):
            error.filename = str(path)  # the name for messages
        raise
    finally:
        temporary.unlink(missing_ok=True)
