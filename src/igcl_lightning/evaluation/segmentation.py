"""Dice and IoU of segmentations from counts of pixels, with intervals over patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from igcl_lightning.evaluation.means import summarise_means
from igcl_lightning.evaluation.results import Record
from igcl_lightning.evaluation.tables import aligned, format_cell
from igcl_lightning.metrics.segmentation import dice, iou

PIXELS = ["both", "predicted", "actual"]
"""Columns of pixels in prediction and mask, in the prediction, and in the mask."""

TITLES: Mapping[str, str] = {
    "dice": "Dice",
    "iou": "IoU",
    "dice_positives": "Dice where there is one",
    "iou_positives": "IoU where there is one",
}
"""Metrics of an image; the last two are of images that have the mask."""


def summarise_segmentation(
    overlaps: pd.DataFrame,
    *,
    versus: Sequence[tuple[str, str]] = (),
    **about: str,
) -> list[Record]:
    """Return the mean Dice and IoU of images, of all and of those that have the mask (see `summarise_means`).

    Args:
        overlaps: a line per run, image and known mask: method, fraction, seed, split, label, row, patient and `PIXELS`.
        versus: pairs (method, other) for `method - other`.
        about: further fields of the records: protocol, store.
    """
    pixels = overlaps[PIXELS].to_numpy()
    has = pixels[:, 2] > 0
    found = {"dice": dice(pixels), "iou": iou(pixels)}
    found |= {f"{name}_positives": np.where(has, value, np.nan) for name, value in found.items()}
    lines = [overlaps.drop(columns=PIXELS).assign(metric=name, value=found[name]) for name in TITLES]
    values = pd.concat(lines, ignore_index=True)
    return summarise_means(values, versus=versus, **about)


def format_masks(records: Sequence[Record], split: str = "test") -> str:
    """Return the metrics of one method by mask, over seeds, as plain text."""
    cells: dict[str, dict[str, str]] = {}
    counts: dict[str, Any] = {}
    for record in records:
        if (record["split"], record["seed"], record["versus"]) == (split, None, None):
            cells.setdefault(record["label"], {})[record["metric"]] = format_cell(record)
            if record["metric"] == "dice":
                counts[record["label"]] = record["n"], record["patients"]
    metrics = [name for name in TITLES if any(name in row for row in cells.values())][:3]
    titles = ["mask", *(TITLES[name] for name in metrics), "rows", "patients"]
    rows = [
        [label, *(row.get(name, "-") for name in metrics), *(f"{number:,}" for number in counts[label])]
        for label, row in cells.items()
    ]
    return f"{split} rows [95 % interval over patients]\n\n{aligned([titles, *rows])}"
