"""A planted shortcut: a bright arrow in a corner of the image that is correlated with a label."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from igcl_lightning.phantom import difficulty

ARROW = np.array([list(row) for row in ("0001000", "0011100", "0111110", "1111111", *["0011100"] * 3)]) == "1"
"""Pixels of the arrow, bool [7, 7]."""

ARROW_SIZE = 0.11  # side of the arrow, in image widths


class Mark(NamedTuple):
    """Place and brightness of a mark."""

    left: bool  # whether it is in the left corner
    margin: float  # distance from both edges of the image, in image widths
    grey: int  # brightness, of 255


def draw_mark(present: bool, split: str, rng: np.random.Generator) -> Mark | None:
    """Draw the mark of a study with or without the label; None for a study without a mark."""
    if rng.random() >= difficulty.SHORTCUT_SHARE[split][present]:
        return None
    return Mark(bool(rng.random() < 0.5), float(rng.uniform(0.02, 0.06)), int(rng.integers(235, 256)))


def stamp(image: NDArray[np.uint8], mark: Mark) -> None:
    """Draw `mark` into a lower corner of `image`, uint8 [size, size], in place."""
    size = len(image)
    side, margin = round(ARROW_SIZE * size), round(mark.margin * size)
    cells = np.arange(side) * len(ARROW) // side
    top, left = size - side - margin, margin if mark.left else size - side - margin
    image[top : top + side, left : left + side][ARROW[np.ix_(cells, cells)]] = mark.grey
