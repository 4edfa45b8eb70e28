"""Rows of a table: models that are pretrained first, each with its own options of `igcl fit` and its seeds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from igcl_lightning.errors import suggestion
from igcl_lightning.protocols.pretraining import epoch_words
from igcl_lightning.training.options import plain_key

NAME = re.compile(r"[\w+][\w+.,% -]*")
"""Names of what an evaluation compares, which become names of folders."""

NAMED = "letters, digits, spaces and . , + - % _"
"""What `NAME` allows, in words."""

MAX_SEED = 2**32 - 1

ELSEWHERE = {
    "config": "it is a key of the row, not one of its options",
    "data.store": "set pairs instead",
    "seed_everything": "set seeds instead",
    "trainer.logger": "all runs are logged as CSV files, in folders of their own",
    "trainer.devices": "every row is pretrained on one device",
    "trainer.fast_dev_run": "it leaves no model; --fast makes a short run of a table",
}
"""Options of `igcl fit` that a row may not set, and why."""


@dataclass(frozen=True)
class Row:
    """One model of a table.

    Args:
        name: its name.
        config: its pretraining config (default: that of the table).
        options: options of `igcl fit` by name, such as `{model.matching.weight: 0}`.
        epochs: epochs of pretraining (default: those of the table).
        seeds: seeds of pretraining (default: those of the table).
        versus: names of the rows to compare it with (default: the first row).
    """

    name: str
    config: str | None = None
    options: Mapping[Any, Any] = field(default_factory=dict)
    epochs: int | None = None
    seeds: list[int] | None = None
    versus: list[str] | None = None

    @property
    def words(self) -> list[str]:
        """The options of `igcl fit`, without seed and folders."""
        words = ["--config", str(self.config), *epoch_words(self.epochs)]
        return [*words, *(f"--{name}={_as_word(value)}" for name, value in self.options.items())]


def mistakes(rows: Sequence[Row]) -> Iterator[str]:
    """Yield what is wrong with the values of complete rows."""
    names = [row.name for row in rows]
    for row in rows:
        if names.count(row.name) > 1:
            yield f"rows: two rows are called {row.name!r}"
        for other in row.versus or ():
            if other not in names:
                yield f"rows: {row.name!r} is compared with {other!r}, which is no row{suggestion(other, names)}"
        if row.name in (row.versus or ()) or len({*(row.versus or ())}) < len(row.versus or ()):
            yield f"rows: {row.name!r} is compared with {row.versus}, not with different other rows"
        yield from _mistakes_of(row)


def _mistakes_of(row: Row) -> Iterator[str]:
    if not NAME.fullmatch(row.name):
        yield f"rows: {row.name!r} is not a name of {NAMED}"
    if row.config is None:
        yield f"rows: {row.name!r} has no config, and the table has none"
    for option in row.options:
        if not isinstance(option, str):
            yield f"rows: {row.name!r} has an option {option!r}, which is no name"
    for option in _names_of(row.options):
        key = plain_key(option)
        why = (reason for name, reason in ELSEWHERE.items() if key == name or key.startswith(f"{name}."))
        if reason := next(why, ""):
            yield f"rows: {row.name!r} sets {option}; {reason}"
    if row.epochs is not None and row.epochs < 1:
        yield f"epochs of {row.name!r} is {row.epochs}, not at least 1"
    seeds = row.seeds or []
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0 or max(seeds) > MAX_SEED:
        yield f"seeds of {row.name!r} are {seeds}, not different numbers from 0 to {MAX_SEED}"


def _names_of(options: Mapping[Any, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of options, at and below groups of them."""
    for name, value in options.items():
        yield f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _names_of(value, f"{prefix}{name}.")


def _as_word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
