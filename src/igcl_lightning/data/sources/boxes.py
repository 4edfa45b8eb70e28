"""Boxes of tables, checked and grouped by image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from igcl_lightning.data.regions import Box
from igcl_lightning.data.sources.checks import refuse


def has_box(path: Path, frame: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    """Return which rows have all numbers of a box rather than none, bool by row.

    Raises:
        IgclError: a row has some of the numbers; the message names file and row.
    """
    given = frame[list(columns)].notna()
    refuse(path, given.any(axis=1) & ~given.all(axis=1), f"a box needs all of {', '.join(columns)}, or none")
    return given.all(axis=1)


def boxes_by_image(marks: Iterable[tuple[str, Box]], counts: Counter[str]) -> dict[str, tuple[Box, ...]]:
    """Return the boxes of each image, cut at its left and upper edge and without boxes that have no area.

    Args:
        marks: image id and box.
        counts: counter of the boxes that are cut or left out.
    """
    boxes: dict[str, tuple[Box, ...]] = {}
    for image, whole in marks:
        box = whole._replace(x_min=max(whole.x_min, 0.0), y_min=max(whole.y_min, 0.0))
        if box.x_max <= box.x_min or box.y_max <= box.y_min:
            counts["boxes without area"] += 1
            continue
        if box != whole:
            counts["boxes cut at the edge of the image"] += 1
        boxes[image] = (*boxes.get(image, ()), box)
    return boxes
