"""Images of a store for a page: radiographs as they are, or with a map of where a model sees a label."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from igcl_lightning.data.images import decode_grey
from igcl_lightning.data.store import Store

SIDE = 240
"""Side of a picture, in pixels."""

OPAQUE = 0.45
"""How much of a map is seen over the image, where it is highest."""

EDGE = (0, 229, 255)
"""Colour of the edge of a region: no map has it."""

COLOURS = "inferno"


class Picture(NamedTuple):
    """An example of a page: title, what is read in place of the image, JPEG, and terms with what is said of each."""

    title: str
    alt: str
    jpeg: bytes
    text: Sequence[tuple[str, str]] = ()

    @property
    def base64(self) -> str:
        """The image as text."""
        return base64.b64encode(self.jpeg).decode()


class Examples(NamedTuple):
    """Examples of one kind: title, how they were chosen, the pictures, and whether these come with reports."""

    title: str
    about: str
    pictures: Sequence[Picture]
    reports: bool = False


def radiograph(store: Store, row: int) -> NDArray[np.uint8]:
    """Return the stored pixels [H, W] of a hashed row id."""
    _, record = store.record(row, "image")
    pixels: NDArray[np.uint8] = decode_grey(record["image"]["bytes"])
    return pixels


def as_jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """Return grey [H, W] or coloured [H, W, 3] pixels as JPEG of `SIDE` pixels, without any other data."""
    written = io.BytesIO()
    image = Image.fromarray(pixels)
    scale = SIDE / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    image.resize(size, Image.Resampling.BICUBIC).save(written, "JPEG", quality=85)
    return written.getvalue()


def with_map(pixels: NDArray[np.uint8], saliency: NDArray[np.float64], inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return an image [H, W] with a map over it and the edge of a region, enlarged, uint8 [H', W', 3].

    Args:
        pixels: grey values.
        saliency: the map in the pixels of the image, [H, W]; only its order within the image is shown.
        inside: the region, bool [H, W].
    """
    times = max(1, SIDE // max(pixels.shape))
    spread = saliency.max() - saliency.min()
    height = (saliency - saliency.min()) / spread if spread > 0 else np.zeros(saliency.shape)
    colour = 255 * colormaps[COLOURS](height)[..., :3]
    share = (OPAQUE * height)[..., None]
    blended = _enlarged((1 - share) * pixels[..., None] + share * colour, times)
    inside = _enlarged(inside, times)
    edge = inside & ~ndimage.binary_erosion(inside, iterations=max(1, times // 2))
    blended[edge] = EDGE
    drawn: NDArray[np.uint8] = blended.round().astype(np.uint8)
    return drawn


def _enlarged(pixels: NDArray[Any], times: int) -> NDArray[Any]:
    return pixels.repeat(times, 0).repeat(times, 1)
