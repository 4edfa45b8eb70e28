"""Where a saliency map points: the pointing game, and boxes around what it marks.

The pointing game (Zhang et al., Top-down neural attention by excitation backprop, IJCV 2018) asks whether the pixel
with the highest value lies in a region; here without their margin of 15 pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from igcl_lightning.nn.checks import check_choice

INTERPOLATIONS = ("nearest", "bilinear")
OVERLAPS = (0.1, 0.3, 0.5)

TIE = 1e-6
"""How far a value may be below the maximum and count as equal, as a share of the map's largest absolute value: about
what single precision leaves undecided."""

_TOUCHING = np.ones((3, 3), bool)  # pixels of a part touch at an edge or a corner


class PixelBox(NamedTuple):
    """A box of whole pixels; `bottom` and `right` are exclusive."""

    top: int
    left: int
    bottom: int
    right: int


def to_pixels(saliency: ArrayLike, size: tuple[int, int], interpolation: str = "nearest") -> NDArray[np.float64]:
    """Bring a map [R, C] over a whole image to its pixels, float64 [H, W].

    "nearest" gives each pixel the value of the cell that its centre is in. The highest value is then that of a whole
    cell, and the pointing game of a random map has the value of `chance` on average, whatever the grid. "bilinear"
    (`align_corners=False`) interpolates between the centres of cells, and takes the values of the border beyond the
    outer centres. A high corner cell then points into the very corner of the image, and any other cell to its centre,
    so that maps on different grids have different chances: those of 2 x 2 regions always point into a corner.

    Double precision keeps equal values equal.
    """
    check_choice("interpolation", interpolation, INTERPOLATIONS)
    given = torch.as_tensor(np.asarray(saliency), dtype=torch.float64)[None, None]
    if interpolation == "nearest":
        found = F.interpolate(given, size, mode="nearest-exact")
    else:
        found = F.interpolate(given, size, mode="bilinear", align_corners=False)
    pixels: NDArray[np.float64] = found[0, 0].numpy()
    return pixels


def pointing(saliency: NDArray[np.float64], inside: NDArray[np.bool_]) -> float:
    """Return 1 if the highest value of a map [H, W] lies inside a region, bool [H, W], and 0 if not.

    Of several highest pixels (see `TIE`) the share inside counts: the probability that a random one of them is. A map
    that is the same everywhere thus has what `chance` says.
    """
    return float(inside[_highest(saliency)].mean())


def chance(inside: NDArray[np.bool_]) -> float:
    """Return the pointing game's value for a random pixel: the share of the image in a region, bool [H, W]."""
    return float(inside.mean())


def box_hits(
    saliency: NDArray[np.float64], boxes: Sequence[PixelBox], overlaps: Sequence[float] = OVERLAPS
) -> NDArray[np.float64]:
    """Return whether the box around what a map [H, W] marks fits one of the true boxes, [T] for T overlaps.

    The map is cut at half of its range, and the part that has the highest value is boxed. It hits if its overlap with
    a true box (see `overlap`) is at least as required. If several parts have the highest value, each counts as its
    share of the highest pixels. A map that is the same everywhere marks nothing, and hits nothing.
    """
    highest = _highest(saliency)
    required = np.asarray(overlaps, np.float64)
    if highest.all():
        return np.zeros(len(required))
    cut = (saliency.min() + saliency.max()) / 2
    parts, _ = ndimage.label((saliency >= cut) | highest, _TOUCHING)
    number, pixels = np.unique(parts[highest], return_counts=True)
    found = _boxes(parts)
    best = [max((overlap(found[each - 1], box) for box in boxes), default=0.0) for each in number]
    hits: NDArray[np.float64] = pixels @ (np.array(best)[:, None] >= required) / pixels.sum()
    return hits


def pixel_box(edges: Sequence[float], size: tuple[int, int]) -> PixelBox:
    """Return the pixels, one at least, of a box (x_min, y_min, x_max, y_max) in an image [H, W]; edges are rounded."""
    ends = []
    for low, high, limit in ((edges[1], edges[3], size[0]), (edges[0], edges[2], size[1])):
        first = min(max(round(low), 0), limit - 1)
        ends.append((first, min(max(round(high), first + 1), limit)))
    (top, bottom), (left, right) = ends
    return PixelBox(top, left, bottom, right)


def part_boxes(inside: NDArray[np.bool_]) -> list[PixelBox]:
    """Return the boxes around the parts of a mask, bool [H, W]; pixels that touch at an edge or a corner are a part."""
    return _boxes(ndimage.label(inside, _TOUCHING)[0])


def overlap(one: PixelBox, other: PixelBox) -> float:
    """Return the intersection of two boxes over their union, in [0, 1]."""
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    width = min(one.right, other.right) - max(one.left, other.left)
    both = max(height, 0) * max(width, 0)
    return both / (_area(one) + _area(other) - both)


def _highest(saliency: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which pixels have the highest value, bool [H, W]; at least one."""
    highest: NDArray[np.bool_] = saliency >= saliency.max() - TIE * np.abs(saliency).max()
    return highest


def _boxes(parts: NDArray[np.int32]) -> list[PixelBox]:
    """Return the box of each numbered part of [H, W], in the order of the numbers from 1."""
    found = ndimage.find_objects(parts)
    return [PixelBox(rows.start, columns.start, rows.stop, columns.stop) for rows, columns in found]


def _area(box: PixelBox) -> int:
    return (box.bottom - box.top) * (box.right - box.left)
