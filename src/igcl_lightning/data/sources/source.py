"""What a data set is to `prepare`: its studies, what their columns are called, and what it was read from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from igcl_lightning.data.study import Study

Item: TypeAlias = Study | Callable[[], Study]
"""A study, or a picklable call that makes one where making it is the expensive part."""


@dataclass(frozen=True)
class Source:
    """A data set as its reader found it.

    Tables are read and checked when a reader makes this; images and report files are opened by `prepare`, in worker
    processes.

    Attributes:
        name: as on the command line.
        items: yields the studies, in the same order at each call.
        labels: names of the labels.
        extra: names of the further columns (`Study.extra`).
        arrays: names of the columns of numbers (`Study.arrays`).
        boxes: whether images may have boxes.
        masks: whether images may have masks.
        inputs: the tables that were read; the manifest holds their sha256.
        settings: the options and policies that rows depend on, as JSON has them, for the manifest.
        counts: what the reader left out or noticed, such as "images without row" or "reports without image". Readers
            fill it when they read the tables.
        total: number of items, where it is known.
    """

    name: str
    items: Callable[[], Iterator[Item]]
    labels: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    arrays: tuple[str, ...] = ()
    boxes: bool = False
    masks: bool = False
    inputs: tuple[Path, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    total: int | None = None

    @classmethod
    def of(cls, studies: Sequence[Item], name: str = "studies", **fields: Any) -> Source:
        """Return a list of studies, or of calls that make them, as a source; `fields` as above."""
        return cls(name, lambda: iter(studies), total=len(studies), **fields)
