"""Files that appear whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write to; the file takes the place of `path` when the block ends, and is removed if it raises.

    The name of that file is new on every call, so that processes and threads that write one file do not disturb each
    other: the last to finish wins, and readers always find a whole file. A device or a pipe is written to as it is.

    Args:
        path: the file to write; its folder must exist.

    Raises:
        OSError: the file cannot be written, such as where the folder does not exist.
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
            error.filename = str(path)  # the name that a message should show
        raise
    finally:
        temporary.unlink(missing_ok=True)
