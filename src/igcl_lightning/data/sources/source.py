"""A data set as read by `prepare`: its studies, their columns, and the files they come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from igcl_lightning.data.study import Study

Item: TypeAlias = Study | Callable[[], Study]
"""A study, or a picklable call that returns it if this is expensive."""


@dataclass(frozen=True)
class Source:
    """A data set, returned by its reader.

    Readers read and check all tables; `prepare` opens images and report files, in worker processes.

    Attributes:
        name: name on the command line.
        items: yields the studies, in the same order at each call.
        labels: names of the labels.
        extra: names of the further columns (`Study.extra`).
        arrays: names of the array columns (`Study.arrays`).
        boxes: whether images may have boxes.
        masks: whether images may have masks.
        inputs: tables that were read; the manifest holds their sha256.
        settings: options and policies that the rows depend on, as JSON values for the manifest.
        counts: number of rows and files left out or noticed, by reason.
        total: number of items, if known.
    """

    name: str
    items: Callable[[], Iterator[Item]]
    labels: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    arrays: tuple[str, ...] = ()
    boxes: bool = False
    masks: bool = False
    inputs: Sequence[Path] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    total: int | None = None

    @classmethod
    def of(cls, studies: Sequence[Item], name: str = "studies", **fields: Any) -> Source:
        """Return a source of listed studies, or of calls that return them; `fields` are further attributes."""
        return cls(name, lambda: iter(studies), total=len(studies), **fields)


@dataclass(frozen=True)
class Notes:
    """Notes of a reader for the manifest: `inputs`, `settings` and `counts` of its `Source`."""

    inputs: list[Path] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
