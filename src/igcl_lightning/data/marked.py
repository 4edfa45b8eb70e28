"""Where labels are in the images of a store: its boxes and masks of the same name."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc

from igcl_lightning.data.images import decode_grey
from igcl_lightning.data.regions import Box
from igcl_lightning.data.store import Store

COLUMNS = ("boxes", "masks")


class Marked(NamedTuple):
    """A label that is marked in an image.

    Attributes:
        place: number of the row in its split.
        label: name of the label.
        boxes: its boxes, in stored pixels.
        pngs: its masks, each a PNG of the stored size.
    """

    place: int
    label: str
    boxes: tuple[Box, ...]
    pngs: tuple[bytes, ...]

    def mask(self) -> np.ndarray | None:
        """Return the pixels that any mask has, bool [H, W]; None without masks."""
        if not self.pngs:
            return None
        inside: np.ndarray = np.any([decode_grey(png) > 0 for png in self.pngs], axis=0)
        return inside


def marked_names(store: Store, split: str) -> set[str]:
    """Return the names of all boxes and masks of a split: labels, and organs."""
    columns = [name for name in COLUMNS if name in store.files(split).column_names]
    names = [pc.struct_field(store.table(split).data.column(name), "label") for name in columns]
    return {name for each in names for name in pc.unique(pc.list_flatten(each)).to_pylist()}


def marked_labels(
    store: Store, split: str, labels: Collection[str], places: Sequence[int] | None = None
) -> Iterator[Marked]:
    """Yield what is marked of some labels in the images of a split, row by row, labels in their order.

    Args:
        store: store with boxes or masks.
        split: the split.
        labels: names of the labels.
        places: numbers of the rows in the split (default: all).
    """
    columns = [name for name in COLUMNS if name in store.files(split).column_names]
    if not columns:
        return
    table = store.table(split).select_columns(columns)
    places = range(len(table)) if places is None else places
    for place, row in zip(places, table.select(places), strict=True):
        boxes, masks = (_by_label(row.get(name)) for name in COLUMNS)
        for label in labels:
            edges = tuple(Box(label, *(each[edge] for edge in Box._fields[1:])) for each in boxes.get(label, ()))
            pngs = tuple(each["png"] for each in masks.get(label, ()))
            if edges or pngs:
                yield Marked(place, label, edges, pngs)


def _by_label(column: dict[str, list[Any]] | None) -> dict[str, list[dict[str, Any]]]:
    """Return the items of a cell of flat lists, by label."""
    found: dict[str, list[dict[str, Any]]] = {}
    fields = column or {"label": []}
    for values in zip(*fields.values(), strict=True):
        item = dict(zip(fields, values, strict=True))
        found.setdefault(item["label"], []).append(item)
    return found
