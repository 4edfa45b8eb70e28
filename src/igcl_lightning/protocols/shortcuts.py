"""What tells the labels of a store without the finding, as `igcl evaluate` shows it below its tables."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from igcl_lightning.data.images import decode_grey
from igcl_lightning.data.store import Store
from igcl_lightning.evaluation.results import Record
from igcl_lightning.evaluation.shortcuts import AuditRows, column_cues, cue_records, format_cues, patch_cues
from igcl_lightning.metrics.border import border_marks
from igcl_lightning.protocols.groups import group_values, known_columns

MOST_ROWS = 4000
"""Most images that are opened, drawn evenly from the rows of a store."""


class Drawn(NamedTuple):
    """Rows of a split by their numbers among those that are kept."""

    split: str
    numbers: np.ndarray


def audit_store(store: Store) -> tuple[list[Record], str]:
    """Return what marks at the border of images and columns of a store tell of its labels, as records and as text.

    Up to `MOST_ROWS` images are opened.
    """
    if not store.labels or "train" not in store.splits:
        return [], ""
    drawn = _drawn(store)
    rows = AuditRows(
        store.labels,
        np.concatenate([store.targets(split)[numbers] for split, numbers in drawn]).T.astype(float),
        pd.factorize(np.array(_column(store, drawn, "patient"), dtype=object))[0],
        np.concatenate([np.full(len(numbers), split == "test") for split, numbers in drawn]),
        np.array(_column(store, drawn, "view"), dtype=object),
    )
    columns = {
        name: [value for split, numbers in drawn for value in _at(group_values(store, split, name), numbers)]
        for name in known_columns(store)
    }
    patches, told = patch_cues(_marks(store, drawn), rows), column_cues(columns, rows)
    text = format_cues(patches, told, rows.too_few)
    return cue_records([*patches, *told], rows, store.path.name), text


def _drawn(store: Store) -> list[Drawn]:
    total = sum(store.num_rows(split) for split in store.splits)
    every = max(1, -(-total // MOST_ROWS))
    return [Drawn(split, np.arange(0, store.num_rows(split), every)) for split in store.splits]


def _column(store: Store, drawn: list[Drawn], name: str) -> list[str | None]:
    return [value for split, numbers in drawn for value in _at(store.column(split, name), numbers)]


def _at(values: list[str | None], numbers: np.ndarray) -> list[str | None]:
    return [values[number] for number in numbers]


def _marks(store: Store, drawn: list[Drawn]) -> np.ndarray:
    """Return what stands out at the border of the drawn images, uint8 [N, 2, W]."""
    found = []
    for split, numbers in drawn:
        images: pa.ChunkedArray = store.files(split).data.column("image").take(store.row_indices(split)[numbers])
        found += [border_marks(decode_grey(data.as_py())) for data in pc.struct_field(images, "bytes")]
    return np.stack(found)
