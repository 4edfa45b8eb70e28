"""Columns of a store by which results are shown apart: sex, age, view, and any other with few values."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError, suggestion
from igcl_lightning.evaluation.shortcuts import MAX_LEVELS
from igcl_lightning.evaluation.subgroups import age_band

PEOPLE = "sex", "age", "view"
"""Columns of all stores, by which results are shown unless others are asked for; ages are in bands."""


def group_values(store: Store, split: str, name: str) -> list[str | None]:
    """Return the group of each row of a split by a column, None if it is not known."""
    values = store.column(split, name)
    if name == "age":
        return [age_band(value) for value in values]
    return [None if value is None or value in ("", "unknown") else str(value) for value in values]


def known_columns(store: Store) -> list[str]:
    """Return the columns of a store that groups can be made of."""
    extra = [name for name in store.manifest.get("extra") or () if name in store.files(store.splits[0]).column_names]
    return [*PEOPLE, *extra]


def group_table(store: Store, splits: Sequence[str], names: Sequence[str] | None) -> pd.DataFrame:
    """Return a column of groups for each name, by row id.

    Args:
        store: the store.
        splits: splits whose rows are evaluated.
        names: columns (default: those of `PEOPLE` with more than one value in these splits).
    """
    index = [row for split in splits for row in store.column(split, "row")]
    columns = {
        name: [value for split in splits for value in group_values(store, split, name)]
        for name in (PEOPLE if names is None else names)
    }
    kept = {name: values for name, values in columns.items() if names is not None or len(set(values) - {None}) > 1}
    return pd.DataFrame(kept, index=index, dtype=object)


def check_groups(option: str, store: Store, splits: Sequence[str], names: Sequence[str] | None) -> None:
    """Raise `IgclError` for a name of no column, for one given twice, or for a column of too many values."""
    known = known_columns(store)
    for number, name in enumerate(names or ()):
        if name not in known:
            there = f"it has {', '.join(known)}{suggestion(name, known)}"
            raise IgclError(f"{option}: {store.path} has no column {name!r} to group by; {there}")
        if name in (names or ())[:number]:
            raise IgclError(f"{option}: {name!r} is given twice")
        levels = {value for split in splits for value in group_values(store, split, name)}
        if len(levels) > MAX_LEVELS:
            raise IgclError(f"{option}: column {name!r} has {len(levels):,} values, more than {MAX_LEVELS} groups")
