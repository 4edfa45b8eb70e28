"""What a model may read instead of a finding: marks at the border of images, and columns that tell a label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from igcl_lightning.doctor.findings import Finding, Place
from igcl_lightning.doctor.label_checks import label_values
from igcl_lightning.doctor.looks import Looks, evenly
from igcl_lightning.doctor.opened import OpenedStore
from igcl_lightning.evaluation.shortcuts import (
    COLUMN,
    MOST_SHOWN,
    AuditRows,
    Cue,
    column_cues,
    patch_cues,
    strongest_first,
)
from igcl_lightning.evaluation.subgroups import age_band

MOST_ROWS = 8000
"""Most images whose borders are compared."""

SHOWN_ROWS = 8


def check_shortcuts(store: OpenedStore, looks: Looks) -> Iterator[Finding]:
    """Find labels that a mark at the border of an image tells, or a column that tells less in test."""
    if not store.labels or not store.sizes.get("train"):
        return
    seen = np.flatnonzero(~looks.blank)
    seen = seen[evenly(len(seen), MOST_ROWS)]
    numbers = looks.number[seen]
    rows = _audit_rows(store, numbers)
    judged = len(store.labels) - len(rows.too_few)
    if not judged:
        yield Finding("not examined", "shortcuts", "each label has too few patients with or without it in training")
        return
    patches, columns = patch_cues(looks.marks[seen], rows), column_cues(_columns(store, numbers), rows)
    for cue in [*strongest_first(patches)[0], *strongest_first(columns)[0]]:
        what = "this" if cue.kind == COLUMN else "this mark"
        places = _examples(store, rows, cue, numbers)
        text = f"{cue.words()}; a model may read {what} instead of the finding"
        yield Finding("warning", "shortcuts", text, places, _numbers(cue))
    if not any(cue.alarm for cue in patches):
        text = f"no mark at the border tells one of {judged} labels; most: {max(patches, key=_train).brief()}"
        yield Finding("ok", "shortcuts", text)
    if others := strongest_first(columns)[1]:
        text = f"AUROC of a label by a column: {'; '.join(cue.brief() for cue in others[:MOST_SHOWN])}"
        yield Finding("ok", "associations", text, numbers={"cues": [_numbers(cue) for cue in others]})


def _train(cue: Cue) -> float:
    return cue.train


def _audit_rows(store: OpenedStore, numbers: np.ndarray) -> AuditRows:
    ids = store.ids.iloc[numbers]
    by_label: dict[str, list[np.ndarray]] = {label: [] for label in store.labels}
    for label, split, values in label_values(store):
        by_label[label].append(np.full(store.sizes[split], np.nan) if values is None else values)
    target = np.stack([np.concatenate(values)[numbers] for values in by_label.values()])
    target[~np.isin(target, (0, 1))] = np.nan
    patient = pd.factorize(ids["patient"], use_na_sentinel=False)[0]
    view = ids["view"].to_numpy(dtype=object)
    return AuditRows(store.labels, target, patient, (ids["split"] == "test").to_numpy(), view)


def _columns(store: OpenedStore, numbers: np.ndarray) -> dict[str, Sequence[str | None]]:
    """Return view, sex, age band and further columns of some rows."""
    ids = store.ids.iloc[numbers]
    columns: dict[str, Sequence[str | None]] = {
        "view": _words(ids["view"]),
        "sex": _words(ids["sex"]),
        "age": [age_band(age) for age in ids["age"]],
    }
    for name in store.manifest.get("extra") or ():
        if all(name in table.column_names for table in store.tables.values()):
            columns[name] = _words(store.column(name).take(numbers).to_pandas())
    return columns


def _words(values: pd.Series[str]) -> list[str | None]:
    return [str(value) if known else None for value, known in zip(values, values.notna(), strict=True)]


def _examples(store: OpenedStore, rows: AuditRows, cue: Cue, numbers: np.ndarray) -> tuple[Place, ...]:
    """Return rows of training that have the label and most of what tells it."""
    has = ~rows.test & (rows.target[list(rows.labels).index(cue.label)] == 1)
    first = np.argsort(np.where(has, -cue.score, np.inf), kind="stable")[: min(SHOWN_ROWS, has.sum())]
    return store.places(numbers[first])


def _numbers(cue: Cue) -> dict[str, object]:
    names = "label", "by", "kind", "train", "train_interval", "test", "test_interval", "p_change"
    return {name: getattr(cue, name) for name in names}
