"""Hashes of the inputs of a study, an image or a report: the same hash means that reading again gives the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np


def identity(*values: Any) -> str:
    """Return a hash of plain values, dataclasses, arrays, partial calls, and files by path, size and time."""
    digest = hashlib.sha256()
    for value in values:
        for part in _parts(value):
            digest.update(part)
    return digest.hexdigest()[:32]


def _parts(value: Any) -> Iterator[bytes]:
    """Yield bytes that are unique to a value."""
    if isinstance(value, Path):
        yield _file(value)
    elif isinstance(value, np.ndarray):
        yield f"array {value.dtype} {value.shape} ".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif isinstance(value, partial):
        yield f"call {value.func.__module__}.{value.func.__qualname__} ".encode()
        yield from _parts((value.args, value.keywords))
    elif is_dataclass(value) and not isinstance(value, type):
        yield from _parts([getattr(value, field.name) for field in fields(value)])
    elif isinstance(value, Mapping):
        yield from _parts(list(value.items()))
    elif isinstance(value, list | tuple):
        yield f"list {len(value)} ".encode()
        for item in value:
            yield from _parts(item)
    else:
        yield f"{type(value).__name__} {value!r} ".encode("utf-8", "surrogatepass")


def _file(path: Path) -> bytes:
    try:
        status = path.stat()
    except OSError as error:
        return f"file {path} {type(error).__name__} ".encode("utf-8", "surrogateescape")
    return f"file {path} {status.st_size} {status.st_mtime_ns} ".encode("utf-8", "surrogateescape")
