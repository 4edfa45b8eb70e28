"""Checks of labels: number of known and positive rows in each split."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc

from igcl_lightning.doctor.findings import Finding, number, such_as
from igcl_lightning.doctor.opened import OpenedStore

DIFFERING = 1.5
"""Ratio of two prevalences that counts as different, unless chance explains it."""

CERTAIN = 4.0
"""Number of standard errors that chance explains."""


class Prevalence(NamedTuple):
    """Number of rows of a split with a known label, and with the label 1."""

    label: str
    split: str
    known: int
    positive: int

    @property
    def share(self) -> float:
        """Share of positives among the known rows; NaN without any."""
        return self.positive / self.known if self.known else math.nan


def prevalences(store: OpenedStore) -> list[Prevalence]:
    """Return the prevalence of each label in each split, by label and then by split."""
    return [
        Prevalence(label, split, int((~np.isnan(values)).sum()), int((values == 1).sum()))
        for label, split, values in label_values(store)
        if values is not None
    ]


def label_values(store: OpenedStore) -> Iterator[tuple[str, str, np.ndarray | None]]:
    """Yield each label in each split, float64 [N], NaN if unknown; None if the table lacks the label."""
    for label, split in product(store.labels, store.tables):
        column = store.column("labels", split) if "labels" in store.tables[split].column_names else None
        known = column is not None and column.type.get_field_index(label) >= 0
        yield label, split, pc.struct_field(column, label).to_numpy().astype(float) if known else None


def check_labels(store: OpenedStore) -> Iterator[Finding]:
    """Find missing labels, values other than 0 and 1, labels of one class, and shifts between splits."""
    if not store.labels:
        yield Finding("ok", "labels", "none stored" if store.is_new else "none stored: pretraining only")
        return
    table = prevalences(store)
    yield from _check_values(store)
    yield from _check_classes(table)
    yield from _check_shift(table)
    numbers = [row._asdict() | {"share": row.share if row.known else None} for row in table]
    yield Finding(
        "ok", "labels", f"{number(len(store.labels), 'label')}: {_summary(table)}", numbers={"prevalence": numbers}
    )


def _check_values(store: OpenedStore) -> Iterator[Finding]:
    for label, split, values in label_values(store):
        if values is None:
            yield Finding("error", "labels", f"{label!r} is in the manifest, not among the {split} rows")
            continue
        odd = np.unique(values[~np.isnan(values) & (values != 0) & (values != 1)])
        if len(odd):
            message = f"{label!r} has the value {odd[0]:g} in {split}, expected 1, 0 or none; prepare again"
            yield Finding("error", "labels", message)


def _check_classes(table: list[Prevalence]) -> Iterator[Finding]:
    lacks = {
        "no known value": [row for row in table if not row.known],
        "no positives": [row for row in table if row.share == 0],
        "no negatives": [row for row in table if row.share == 1],
    }
    for lack, rows in lacks.items():
        for split in dict.fromkeys(row.split for row in rows):
            names = [row.label for row in rows if row.split == split]
            use = "cannot be learnt" if split == "train" else "is left out of the mean"
            message = f"{lack} in {split}: {', '.join(names)}; such a label {use}"
            yield Finding("warning", "labels", message, numbers={"split": split, "labels": names})


def _check_shift(table: list[Prevalence]) -> Iterator[Finding]:
    train = {row.label: row for row in table if row.split == "train"}
    for split in dict.fromkeys(row.split for row in table if row.split != "train"):
        pairs = [(train[row.label], row) for row in table if row.split == split and row.label in train]
        shifted = [f"{one.label} {one.share:.1%} to {row.share:.1%}" for one, row in pairs if _differ(one, row)]
        if shifted:
            yield Finding("warning", "labels", f"prevalence differs from train to {split}: {', '.join(shifted)}")


def _differ(first: Prevalence, second: Prevalence) -> bool:
    """Return whether two shares differ by a factor that matters, and by more than chance explains."""
    if not first.known or not second.known:
        return False
    pooled = (first.positive + second.positive) / (first.known + second.known)
    error = math.sqrt(pooled * (1 - pooled) * (1 / first.known + 1 / second.known))
    low, high = sorted((first.share, second.share))
    return high > DIFFERING * low and high - low > CERTAIN * error


def _summary(table: list[Prevalence]) -> str:
    rows = [row for row in table if row.split == "train"]
    train = sorted((row for row in rows if row.known), key=lambda row: row.share)
    if not train:
        return "none is known in train"
    rare, common = train[0], train[-1]
    if len(rows) == 1:
        return f"{rare.label} in {rare.share:.1%} of the train rows"
    unknown = such_as(row.label for row in rows if not row.known).replace("such as", "unknown:")
    return f"in train from {rare.share:.1%} ({rare.label}) to {common.share:.1%} ({common.label}){unknown}"
