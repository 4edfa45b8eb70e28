"""Atomic writing of files, and folders that one process writes to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from igcl_lightning.errors import IgclError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


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


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder against other processes until the block or this process ends, where the system has such locks.

    Raises:
        IgclError: another process has locked it.
    """
    if fcntl is None:
        yield  # type: ignore[unreachable]  # except on Windows
        return
    opened = os.open(folder, os.O_RDONLY)
    _held.add(opened)
    try:
        _lock(opened, folder)
        yield
    finally:
        if opened in _held:  # not in a process that was forked in between
            _held.remove(opened)
            os.close(opened)


_held: set[int] = set()
"""Open folders of this process's locks."""


def _forget_locks() -> None:
    """Close the folders in a forked process, such as a loader's worker, which would keep them locked if it lived on."""
    for opened in _held:
        os.close(opened)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_locks)


def _lock(opened: int, folder: Path) -> None:
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise IgclError(f"{folder}: another run is writing to it; wait for its end, or use another folder") from None
    except OSError:  # a file system without locks
        return
