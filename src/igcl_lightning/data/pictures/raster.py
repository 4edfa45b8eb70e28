"""Images that Pillow decodes (JPEG, PNG, TIFF, ...), in every mode and depth, as upright grey pixels."""

from __future__ import annotations

import io
import logging
from contextlib import nullcontext

import numpy as np
from PIL import ExifTags, Image, ImageChops

from igcl_lightning.data.pictures.picture import Picture, count_levels, muted, refuse_size, stretch_range, to_bytes
from igcl_lightning.errors import IgclError

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000", "PPM")  # none that starts an external program
DEEP = ("I", "F")  # first letters of the modes with more than 8 bits
UPRIGHT = {  # by EXIF tag Orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

logging.getLogger("PIL").setLevel(logging.CRITICAL)  # its warnings are errors or flags here


def read_raster(data: bytes, at_least: int | None = None) -> tuple[str, Picture]:
    """Decode the bytes of an image file; return Pillow's name of the format, and the picture.

    Transparency becomes black, the orientation tag is applied, and `stretch_range` maps deep pixels.

    Args:
        data: content of the file.
        at_least: pixels that the long side of a JPEG keeps if it is decoded at 1/2, 1/4 or 1/8 of its size. A reduced
            JPEG is decoded to luminance directly, not through RGB; one with an orientation tag is not reduced.

    Raises:
        IgclError: it is too large, or holds several images.
        Exception: any exception of Pillow's, for an incomplete image.
    """
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        refuse_size(*image.size)
        if image.format != "MPO" and getattr(image, "is_animated", False):  # an MPO's further frames are by-products
            raise IgclError("has several frames: save the one you want as its own file")
        height, width = image.height, image.width
        orientation = _orientation(image)
        reduced = bool(at_least) and orientation not in UPRIGHT and _reduce(image, at_least or 0)
        with muted() if image.format == "TIFF" else nullcontext():
            pixels, flags = _to_grey(image)
        name = "JPEG" if image.format == "MPO" else str(image.format)
    if name == "PNG" and data[24] == 16 and "range stretched to 8 bits" not in flags:
        flags = (*flags, "colour of 16 bits cut to 8")  # Pillow keeps 16 only of a grey channel alone
    if orientation in UPRIGHT:
        flags = ("turned by its EXIF tag", *flags)
        pixels = _upright(pixels, orientation, name)
    return name, Picture(pixels, (height, width) if reduced else pixels.shape, flags, {})


def grey_pixels(image: Image.Image) -> np.ndarray:
    """Return the upright grey pixels of an opened image, uint8 [H, W]; raises `IgclError` if it is too large."""
    refuse_size(*image.size)
    orientation = _orientation(image)
    pixels, _ = _to_grey(image)
    return _upright(pixels, orientation, str(image.format))


def to_grey(values: np.ndarray) -> np.ndarray:
    """Return finite grey values, number [H, W], as uint8 [H, W]; `stretch_range` maps deep ones."""
    if values.ndim != 2 or not values.size or values.dtype.kind not in "uif":
        raise IgclError(f"an image is grey values [H, W]; this is an array {list(values.shape)} of {values.dtype}")
    refuse_size(values.shape[1], values.shape[0])
    if values.dtype == np.uint8:
        return values
    if not np.isfinite(values).all():
        raise IgclError("an image has values that are not finite")
    return _deep_to_grey(values)


def _reduce(image: Image.Image, at_least: int) -> bool:
    """Let the decoder reduce an image, keeping at least `at_least` pixels; return whether it does."""
    full = image.size
    factor = next((factor for factor in (8, 4, 2) if max(full) >= factor * at_least), 1)
    image.draft("L", (max(1, image.width // factor), max(1, image.height // factor)))
    return image.size != full


def _orientation(image: Image.Image) -> int:
    """Return the orientation tag; 1, upright, if it is missing or unreadable."""
    if image.format == "JPEG" and image.info.keys().isdisjoint(("exif", "xmp")):
        return 1  # for speed: most have no tags
    if image.format == "PNG":
        image.load()  # its tags may follow the pixels; their errors must not be caught below
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged tags do not affect the pixels
        return 1


def _upright(pixels: np.ndarray, orientation: int, name: str) -> np.ndarray:
    if orientation not in UPRIGHT or name == "TIFF":  # Pillow turns TIFFs itself
        return pixels
    return np.asarray(Image.fromarray(pixels).transpose(UPRIGHT[orientation]))


def _to_grey(image: Image.Image) -> tuple[np.ndarray, tuple[str, ...]]:
    if image.mode.startswith(DEEP):
        values = np.asarray(image)
        flags = () if np.isfinite(values).all() else ("NaN or infinite pixels",)
        return _deep_to_grey(values), ("range stretched to 8 bits", *flags)
    if "transparency" in image.info:
        image = image.convert("RGBA")
    if "A" not in image.getbands():
        return np.asarray(image if image.mode == "L" else image.convert("L")), ()
    alpha, grey = image.getchannel("A"), image.convert("RGB").convert("L")
    opaque = alpha.getextrema() == (255, 255)
    return np.asarray(ImageChops.multiply(grey, alpha)), () if opaque else ("transparency made black",)


def _deep_to_grey(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind in "iu" and int(values.max()) - int(values.min()) < 2**16:
        levels, index, counts = count_levels(values)
        return np.asarray(to_bytes(levels, *stretch_range(levels, counts))[index])
    levels, counts = np.unique(values, return_counts=True)
    return to_bytes(values, *stretch_range(levels, np.where(np.isfinite(levels), counts, 0)))
