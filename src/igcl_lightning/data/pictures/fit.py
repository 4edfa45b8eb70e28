"""Geometry from a source image to the stored square, for its pixels, masks and boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from igcl_lightning.errors import IgclError

Box = tuple[float, float, float, float]  # x_min, y_min, x_max, y_max
WAYS = ("letterbox", "crop", "authors")
GAP = 3.0  # a cheap reduction stops at this multiple of the size, and LANCZOS does the rest
ROUNDING = 1e-4  # tolerance for an area of exactly half


class MaskSizeError(IgclError):
    """A mask of another size than its image."""


@dataclass(frozen=True)
class Fit:
    """Geometry of one image; made by `Fit.of`.

    Args:
        shape: height and width of the image at full size.
        size: side of the stored square.
        region: part of the source that is kept, in its pixels.
        inner: width and height of that part on the square, where it is centred on black.
        gap: `reducing_gap` of Pillow's resize; None filters all pixels at once.
    """

    shape: tuple[int, int]
    size: int
    region: Box
    inner: tuple[int, int]
    gap: float | None = GAP

    @classmethod
    def of(cls, shape: tuple[int, int], size: int, how: str = "letterbox") -> Fit:
        """Fit an image of `shape` (height, width) into a square of `size` pixels.

        "letterbox" scales the long side to `size`, rounds the short one and centres on black. "crop" scales the short
        side to `size` and cuts both ends of the long one. "authors", the preprocessing of IGCL's authors and of
        CheXzero, is a letterbox that truncates both sides and applies LANCZOS to all source pixels; it needs a full
        decode. Any other raises `IgclError`.
        """
        height, width = shape
        whole = (0.0, 0.0, float(width), float(height))
        scale = size / max(shape)
        if how == "letterbox":
            return cls(shape, size, whole, (max(1, round(width * scale)), max(1, round(height * scale))))
        if how == "authors":
            return cls(shape, size, whole, (max(1, int(width * scale)), max(1, int(height * scale))), gap=None)
        if how != "crop":
            raise IgclError(f"fit {how!r} is not one of {', '.join(WAYS)}")
        side = min(shape)
        left, top = (width - side) / 2, (height - side) / 2
        return cls(shape, size, (left, top, left + side, top + side), (size, size))

    def image(self, pixels: np.ndarray) -> np.ndarray:
        """Resize grey pixels to the square, uint8 [size, size].

        Args:
            pixels: uint8 [H, W] of `shape`, or of `shape` reduced by a whole number, as JPEG decoders do.
        """
        factor = max(1, round(max(self.shape) / max(pixels.shape)))
        if pixels.shape != tuple(-(-side // factor) for side in self.shape):
            raise IgclError(_mismatch("pixels", pixels.shape, self.shape))
        if self.shape == pixels.shape == self.inner == (self.size, self.size):
            return pixels  # as it would be after the steps below
        left, top, right, bottom = (edge / factor for edge in self.region)
        image = Image.fromarray(pixels)
        image = image.resize(self.inner, Image.Resampling.LANCZOS, (left, top, right, bottom), self.gap)
        return self._centred(image)

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """Resize a mask to the square, bool [size, size].

        A stored pixel is set if the mask, which must have the `shape` of its image, covers at least half of its area,
        so parts thinner than half a stored pixel vanish. The black border is never set.

        Raises:
            MaskSizeError: the mask has another shape.
        """
        if mask.shape != self.shape:
            raise MaskSizeError(_mismatch("mask", mask.shape, self.shape))
        left, top, right, bottom = self.region
        columns = _overlaps(left, right, self.inner[0], self.shape[1])
        rows = _overlaps(top, bottom, self.inner[1], self.shape[0])
        covered = rows @ (mask != 0).astype(np.float32) @ columns.T
        return self._centred(Image.fromarray(covered)) >= 0.5 - ROUNDING

    def box(self, box: Box) -> Box | None:
        """Move a box from the source to the square and clip it to the picture; None if nothing is left.

        Pixels of both count from the outer edge of the first.
        """
        left, top, right, bottom = self.region
        x_min, x_max = _moved(box[0], box[2], left, right, self.inner[0], self.size)
        y_min, y_max = _moved(box[1], box[3], top, bottom, self.inner[1], self.size)
        return (x_min, y_min, x_max, y_max) if x_min < x_max and y_min < y_max else None

    def _centred(self, image: Image.Image) -> np.ndarray:
        if image.size == (self.size, self.size):
            return np.asarray(image)
        canvas = Image.new(image.mode, (self.size, self.size))
        canvas.paste(image, (_margin(self.size, self.inner[0]), _margin(self.size, self.inner[1])))
        return np.asarray(canvas)


def decode_size(size: int, how: str) -> int | None:
    """Return the long side that a decoder must keep (`at_least` of `read_picture`); None for all.

    Twice the stored size, so that the final resize still filters; three times for a crop, which leaves twice the size
    on the short side up to an aspect ratio of 3:2.
    """
    return {"letterbox": 2 * size, "crop": 3 * size}.get(how)


def nearest(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return a mask of another size, bool [height, width] of `shape`, with the nearest pixels."""
    return np.asarray(Image.fromarray(mask).resize(shape[::-1], Image.Resampling.NEAREST))


def _margin(size: int, inner: int) -> int:
    return (size - inner) // 2


def _moved(low: float, high: float, start: float, end: float, inner: int, size: int) -> tuple[float, float]:
    """Move an interval of the source to the square and clip it to the `inner` pixels of the picture."""
    moved = (np.array([low, high]) - start) * (inner / (end - start))
    low, high = _margin(size, inner) + moved.clip(0, inner)
    return float(low), float(high)


def _overlaps(start: float, end: float, inner: int, count: int) -> np.ndarray:
    """Return the share of each of `inner` stored pixels on each of `count` source pixels, float32 [inner, count]."""
    edges = np.linspace(start, end, inner + 1)[:, None]
    source = np.arange(count)
    shared = np.minimum(edges[1:], source + 1) - np.maximum(edges[:-1], source)
    return (shared.clip(0) * (inner / (end - start))).astype(np.float32)


def _mismatch(what: str, got: tuple[int, ...], expected: tuple[int, int]) -> str:
    height, width = expected
    return f"a {what} array of shape {list(got)} does not belong to an image of {height} x {width} (height x width)"
