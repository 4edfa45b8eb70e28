"""Small marks at the border of an image, such as letters, arrows and stamps, as numbers by place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

SIDE = 64
"""Side, in pixels, to which images are reduced."""

PATCH, STRIDE = 8, 4
"""Side and distance of patches, in such pixels."""

FRAME = 0.13
"""Largest distance of the centre of a patch from an edge, as a share of the side."""

HAT = 9
"""Side of the square that a mark does not fill, in such pixels: what is larger is no mark."""

KINDS = "bright", "dark"


def _places() -> NDArray[np.intp]:
    """Return the upper left corners of the patches of the frame, [W, 2]."""
    corners = np.arange(0, SIDE - PATCH + 1, STRIDE)
    grid = np.stack(np.meshgrid(corners, corners, indexing="ij"), axis=-1).reshape(-1, 2)
    centre = grid + PATCH / 2
    return np.asarray(grid[(np.minimum(centre, SIDE - centre).min(axis=1)) <= FRAME * SIDE])


PLACES = _places()
"""Upper left corners (top, left) of the W patches, int [W, 2]."""

MIRRORED = np.array([PLACES.tolist().index([top, SIDE - PATCH - left]) for top, left in PLACES.tolist()])
"""Number of the patch at the same height on the other side, [W]."""


def border_marks(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return how far the brightest and the darkest small thing in each patch stands out, [2, W].

    It is the highest white or black top-hat: the grey value less that of the image without bright, or dark, things
    smaller than `HAT` (Serra 1982). Ribs, lungs and unexposed edges are larger, whatever their grey value.

    Args:
        pixels: grey values, [H, W].
    """
    small = np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BOX))
    hats = small - ndimage.grey_opening(small, HAT), ndimage.grey_closing(small, HAT) - small
    # Highest value of the patch that begins at each pixel.
    highest = [ndimage.maximum_filter(hat, PATCH, origin=-(PATCH // 2)) for hat in hats]
    return np.stack([each[PLACES[:, 0], PLACES[:, 1]] for each in highest])


def place_name(patch: int, both: bool) -> str:
    """Return where a patch is, in words, such as "lower left corner".

    Args:
        patch: number of the patch.
        both: whether the patch on the other side is meant, too.
    """
    row, column = ((SIDE - PATCH) / 3, 2 * (SIDE - PATCH) / 3), PLACES[patch]
    high, wide = (("upper", "", "lower")[int(np.searchsorted(row, at, "right"))] for at in column)
    side = {"upper": "left", "lower": "right", "": ""}[wide]
    if not side:
        return f"{high} edge"
    sides = "left and right" if both else side
    return f"{high} {sides} corner{'s' * both}" if high else f"{sides} edge{'s' * both}"
