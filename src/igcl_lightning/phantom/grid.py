"""Drawing tools: coordinates, soft edges, lines, curves and smooth random fields.

Coordinates do not depend on the image size, so that a scene looks the same at any size. Lengths are in half image
widths. Arrays are float32 [size, size] unless another shape is given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.floating[Any]]
Mask: TypeAlias = NDArray[np.bool_]

EDGE = 0.022  # width of a sharp border: about one pixel and a half at 128 pixels

HEIGHTS: Array = np.linspace(-1.6, 1.6, 1024, dtype=np.float32)
"""Heights y at which profiles of the body are tabulated, [1024]."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Pixels in the patient's coordinates: x to the patient's left, y downwards, 0 in the middle of the chest."""

    x: Array  # x of each pixel
    y: Array  # y of each pixel
    row: NDArray[np.intp]  # index of y in `HEIGHTS`
    size: int  # height and width of the image, in pixels
    placement: Array  # matrix [2, 3] from (x, y, 1) to the column and row of a pixel

    def at_height(self, profile: Array) -> Array:
        """Return the value of a profile over `HEIGHTS` at each pixel."""
        return np.take(profile, self.row)


@lru_cache(maxsize=8)
def pixel_centers(size: int) -> tuple[Array, Array]:
    """Return the image coordinates of the pixels, both -1 to 1: [1, size] to the right, [size, 1] downwards."""
    centers = ((np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1).astype(np.float32)
    return centers[None, :], centers[:, None]


def patient_frame(shift: tuple[float, float], zoom: float, rotation: float, size: int) -> Frame:
    """Return the frame of a patient rotated by `rotation` (radians), scaled by `zoom`, then moved by `shift`."""
    right, down = pixel_centers(size)
    right, down = right - shift[0], down - shift[1]
    cosine, sine = float(np.cos(rotation)) / zoom, float(np.sin(rotation)) / zoom
    x, y = right * cosine + down * sine, down * cosine - right * sine
    step = (HEIGHTS[-1] - HEIGHTS[0]) / (len(HEIGHTS) - 1)
    row = np.clip((y - HEIGHTS[0]) / step + 0.5, 0, len(HEIGHTS) - 1).astype(np.intp)
    half, center = size / 2, (size - 1) / 2
    along, across = float(np.cos(rotation)) * zoom * half, float(np.sin(rotation)) * zoom * half
    placement = ((along, -across, half * shift[0] + center), (across, along, half * shift[1] + center))
    return Frame(x, y, row, size, np.array(placement, dtype=np.float32))


def soft(distance: Array, width: float = EDGE) -> Array:
    """Return 0 outside (distance < 0), 1 inside, and a ramp of `width` around the border."""
    inside = distance * (1 / width)
    inside += 0.5
    return np.clip(inside, 0, 1, out=inside)


def bump(distance: Array, width: float) -> Array:
    """Return 1 at distance 0, falling along a parabola to 0 at `width`."""
    inside: Array = distance * (1 / width)
    inside *= inside
    np.subtract(1, inside, out=inside)
    np.clip(inside, 0, 1, out=inside)  # faster than np.maximum
    return inside


def chord(across: Array) -> Array:
    """Return the thickness of a round body: 1 in its middle, 0 if |across| is 1 or more."""
    thickness: Array = bump(across, 1.0)
    np.sqrt(thickness, out=thickness)
    return thickness


def hollow(across: Array) -> Array:
    """Return the profile of a hollow bone over |across| < 1, denser at its borders than in the middle."""
    square = across * across
    wall: Array = 3 - 3 * square
    np.clip(wall, 0, 1, out=wall)
    wall *= 0.72 + 0.28 * square
    return wall


def length(x: Array, y: Array) -> Array:
    """Return the lengths of vectors; several times faster than `np.hypot`."""
    square: Array = x * x + y * y
    return np.sqrt(square, out=square)


def inside(*distances: Array, width: float = EDGE) -> Array:
    """Return the region inside all borders, given the distance inside each, with an edge as in `soft`."""
    return soft(reduce(np.minimum, distances), width)


def trace(points: Sequence[tuple[float, float]], size: int) -> Array:
    """Return the smooth curve through `points` as points less than a pixel apart, [2, n]."""
    extent = sum(math.dist(start, end) for start, end in pairwise(points))
    places = np.linspace(0, len(points) - 1, max(2, round(extent * size * 0.7)), dtype=np.float32)
    return curve([(place, *point) for place, point in enumerate(points)], places)


def stroke(frame: Frame, path: Array, width: float) -> Array:
    """Return a line along the points of `path` [2, n], from 0 to 1, `width` wide but at least one pixel."""
    pixels = frame.placement[:, :2] @ path + frame.placement[:, 2:]
    centers = np.rint(pixels).astype(np.intp)
    seen = ((centers >= 0) & (centers < frame.size)).all(axis=0)
    column, row = (centers[:, seen] - pixels[:, seen])[:, :, None, None]
    half = max(width * frame.size / 4, 0.5)
    reach = int(half + 1.5)
    brush = np.arange(-reach, reach + 1)
    ink = np.clip(half + 0.5 - length(column + brush, row + brush[:, None]), 0, 1).astype(np.float32)
    padded = np.zeros((frame.size + 2 * reach, frame.size + 2 * reach), dtype=np.float32)
    corner = centers[1, seen] * len(padded) + centers[0, seen]
    under_brush = (brush[:, None] + reach) * len(padded) + brush + reach
    np.maximum.at(padded.reshape(-1), (corner[:, None, None] + under_brush).ravel(), ink.ravel())
    return padded[reach:-reach, reach:-reach]


def smooth_field(rng: np.random.Generator, cells: int, size: int) -> Array:
    """Return a smooth random field of mean 0 and variance near 1, with hills about two cells wide."""
    basis = spline_basis(cells, size)
    values = rng.standard_normal((cells + 3, cells + 3), dtype=np.float32)
    field: Array = basis @ values @ basis.T
    field *= 2
    return field


@lru_cache(maxsize=64)
def spline_basis(cells: int, size: int) -> Array:
    """Return the cubic B-splines over `cells` equal cells at the pixel centres, [size, cells + 3]."""
    from scipy.interpolate import BSpline  # slow to import, and only drawing needs it

    knots = np.arange(-3, cells + 4)
    positions = (np.arange(size) + 0.5) * (cells / size)
    return np.asarray(BSpline.design_matrix(positions, knots, k=3).toarray(), dtype=np.float32)


def curve(points: Sequence[tuple[float, ...]], places: Array) -> Array:
    """Return the smooth curves through `points` at `places`, constant beyond the last point.

    Args:
        points: rows of (place, value of curve 1, value of curve 2, ...), sorted by place.
        places: where to evaluate, [n].

    Returns:
        One row for each curve, [curves, n].
    """
    knots, *values = zip(*points, strict=True)
    table = _curve_basis(knots) @ np.array(values, dtype=np.float32).T
    index = np.clip((places - knots[0]) * ((len(table) - 1) / (knots[-1] - knots[0])) + 0.5, 0, len(table) - 1)
    curves: Array = table[index.astype(np.intp)].T
    return curves


@lru_cache(maxsize=32)
def _curve_basis(knots: tuple[float, ...]) -> Array:
    """Return the matrix from the values of a curve at `knots` to 1024 values between them, [1024, knots]."""
    from scipy.interpolate import CubicSpline  # slow to import, and only drawing needs it

    spline = CubicSpline(np.asarray(knots), np.eye(len(knots)), bc_type="natural")
    return np.asarray(spline(np.linspace(knots[0], knots[-1], 1024)), dtype=np.float32)
