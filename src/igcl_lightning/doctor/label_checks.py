"""Checks of labels: how many are known and positive in each split."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc

from igcl_lightning.doctor.findings import Finding, such_as
from igcl_lightning.doctor.opened import OpenedStore

DIFFERING = 1.5
CERTAIN = 4.0


class Prevalence(NamedTuple):
    """How often a label is known and positive in a split.

    Attributes:
        label: its name.
        split: the split.
        known: rows that have a value.
        positive: rows whose value is 1.
    """

    label: str
    split: str
    known: int
    positive: int

    @property
    def share(self) -> float:
        """Share of positives among the known rows; nan without any."""
        return self.positive / self.known if self.known else math.nan


def prevalences(store: OpenedStore) -> list[Prevalence]:
    """Return the prevalence of each label in each split, by label and then by split."""
    return [
        Prevalence(label, split, int((~np.isnan(values)).sum()), int((values == 1).sum()))
        for label in store.labels
        for split in store.tables
        if (values := label_values(store, split, label)) is not None
    ]


def label_values(store: OpenedStore, split: str, label: str) -> np.ndarray | None:
    """Return a label of each row of a split, float64 [N], nan where unknown; None where the table lacks it."""
    if "labels" not in store.tables[split].column_names:
        return None
    column = store.column(split, "labels")
    if column.type.get_field_index(label) < 0:
        return None
    parts = [pc.struct_field(chunk, label).to_numpy(zero_copy_only=False).astype(float) for chunk in column.chunks]
    return np.concatenate([np.zeros(0), *parts])


def check_labels(store: OpenedStore) -> Iterator[Finding]:
    """Look for labels that are missing, have values but 0 and 1, have one class only, or shift between splits."""
    if not store.labels:
        yield Finding("ok", "labels", "none stored: pretraining only")
        return
    table = prevalences(store)
    yield from _check_values(store)
    yield from _check_classes(table)
    yield from _check_shift(table)
    numbers = [row._asdict() | {"share": None if math.isnan(row.share) else row.share} for row in table]
    yield Finding("ok", "labels", f"{len(store.labels)} labels: {_summary(table)}", numbers={"prevalence": numbers})


def _check_values(store: OpenedStore) -> Iterator[Finding]:
    for label in store.labels:
        for split in store.tables:
            values = label_values(store, split, label)
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
        "no positives": [row for row in table if row.known and not row.positive],
        "no negatives": [row for row in table if row.known and row.positive == row.known],
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
        shifted = [row for row in table if row.split == split and row.label in train and _differ(train[row.label], row)]
        if shifted:
            texts = ", ".join(f"{row.label} {train[row.label].share:.1%} to {row.share:.1%}" for row in shifted)
            yield Finding("warning", "labels", f"prevalence differs from train to {split}: {texts}")


def _differ(first: Prevalence, second: Prevalence) -> bool:
    """Return whether two shares differ by a factor that matters, and by more than the rows' number explains."""
    if not first.known or not second.known:
        return False
    pooled = (first.positive + second.positive) / (first.known + second.known)
    error = math.sqrt(pooled * (1 - pooled) * (1 / first.known + 1 / second.known))
    low, high = sorted((first.share, second.share))
    return high > DIFFERING * low and high - low > CERTAIN * error


def _summary(table: list[Prevalence]) -> str:
    train = sorted((row for row in table if row.split == "train" and row.known), key=lambda row: row.share)
    if not train:
        return "none is known in train"
    rare, common = train[0], train[-1]
    unknown = [row.label for row in table if row.split == "train" and not row.known]
    return (
        f"in train from {rare.share:.1%} ({rare.label}) to {common.share:.1%} ({common.label})"
        f"{such_as(unknown).replace('such as', 'unknown:')}"
    )
