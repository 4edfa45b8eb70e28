"""Coordinates, soft edges and smooth random fields: the few tools that every part of the picture is drawn with.

All shapes are given in coordinates that do not know the image size, so that one scene looks the same at any size.
Arrays are float32 [size, size].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.floating[Any]]
Mask: TypeAlias = NDArray[np.bool_]

EDGE = 0.022
"""Width of a sharp border: about one pixel and a half at 128 pixels."""

HEIGHTS: Array = np.linspace(-1.6, 1.6, 2048, dtype=np.float32)
"""Heights y at which profiles of the body are tabulated."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """The pixels in the patient's coordinates: x to the patient's left, y downwards, 0 in the middle of the chest.

    Attributes:
        x: [size, size].
        y: [size, size].
        row: index of y in `HEIGHTS`, [size, size].
        size: of the image, in pixels.
    """

    x: Array
    y: Array
    row: NDArray[np.intp]
    size: int

    def at_height(self, profile: Array) -> Array:
        """Spread a profile over `HEIGHTS` to the pixels."""
        return np.take(profile, self.row)


@lru_cache(maxsize=8)
def pixel_centers(size: int) -> tuple[Array, Array]:
    """Return the image coordinates of the pixels, both -1 to 1: [1, size] to the right, [size, 1] downwards."""
    centers = ((np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1).astype(np.float32)
    return centers[None, :], centers[:, None]


def patient_frame(shift: tuple[float, float], zoom: float, rotation: float, size: int) -> Frame:
    """Return the frame of a patient who is turned by `rotation`, then enlarged by `zoom`, then moved by `shift`."""
    right, down = pixel_centers(size)
    right, down = right - shift[0], down - shift[1]
    cosine, sine = float(np.cos(rotation)) / zoom, float(np.sin(rotation)) / zoom
    x, y = right * cosine + down * sine, down * cosine - right * sine
    step = (HEIGHTS[-1] - HEIGHTS[0]) / (len(HEIGHTS) - 1)
    row = np.clip((y - HEIGHTS[0]) / step + 0.5, 0, len(HEIGHTS) - 1).astype(np.intp)
    return Frame(x, y, row, size)


def soft(distance: Array, width: float = EDGE) -> Array:
    """Return 0 well outside (distance < 0), 1 well inside, and a ramp of `width` between."""
    inside = distance * (1 / width)
    inside += 0.5
    return np.clip(inside, 0, 1, out=inside)


def bump(distance: Array, width: float) -> Array:
    """Return 1 at distance 0, falling along a parabola to 0 at `width`."""
    inside: Array = distance * (1 / width)
    inside *= inside
    np.subtract(1, inside, out=inside)
    np.clip(inside, 0, 1, out=inside)  # faster than maximum
    return inside


def chord(across: Array) -> Array:
    """Return how thick a round body is: 1 in its middle, 0 where |across| is 1 or more."""
    thickness: Array = bump(across, 1.0)
    np.sqrt(thickness, out=thickness)
    return thickness


def smooth_field(rng: np.random.Generator, cells: int, size: int) -> Array:
    """Return a smooth random field of mean 0 and variance near 1, whose hills are about two of `cells` wide."""
    basis = spline_basis(cells, size)
    values = rng.standard_normal((cells + 3, cells + 3), dtype=np.float32)
    field: Array = basis @ values @ basis.T
    field *= 2
    return field


@lru_cache(maxsize=64)
def spline_basis(cells: int, size: int) -> Array:
    """Return the cubic B-splines over `cells` equal cells at the pixel centres, float32 [size, cells + 3]."""
    from scipy.interpolate import BSpline  # slow to import, and only drawing needs it

    knots = np.arange(-3, cells + 4)
    positions = (np.arange(size) + 0.5) * (cells / size)
    return np.asarray(BSpline.design_matrix(positions, knots, k=3).toarray(), dtype=np.float32)


def curve(points: Sequence[tuple[float, ...]], places: Array) -> Array:
    """Return the smooth curves through `points` at `places`, beyond the last point as at it.

    Args:
        points: rows of (place, value of curve 1, value of curve 2, ...), places ascending.
        places: [n].

    Returns:
        One row for each curve, float32 [curves, n].
    """
    knots, *values = zip(*points, strict=True)
    table = _curve_basis(knots) @ np.array(values, dtype=np.float32).T
    index = np.clip((places - knots[0]) * ((len(table) - 1) / (knots[-1] - knots[0])) + 0.5, 0, len(table) - 1)
    curves: Array = table[index.astype(np.intp)].T
    return curves


@lru_cache(maxsize=8)
def _curve_basis(knots: tuple[float, ...]) -> Array:
    """Return the matrix from the values of a curve at `knots` to 1024 values between them, [1024, knots]."""
    from scipy.interpolate import CubicSpline  # slow to import, and only drawing needs it

    spline = CubicSpline(np.asarray(knots), np.eye(len(knots)), bc_type="natural")
    return np.asarray(spline(np.linspace(knots[0], knots[-1], 1024)), dtype=np.float32)
