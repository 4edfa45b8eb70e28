"""Image files into grey pixels and back: any format, mode and bit depth, judged by the bytes and not by the suffix."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from igcl_lightning.errors import IgclError

JPEG_QUALITY = 95


def read_grey(path: Path) -> np.ndarray:
    """Decode an image file to grey pixels, uint8 [H, W]; orientation tags are applied, transparency becomes black.

    Raises:
        IgclError: the file is missing, or is not a complete image.
    """
    try:
        with Image.open(path) as image:
            return _to_grey(ImageOps.exif_transpose(image))
    except FileNotFoundError as error:
        raise IgclError(f"{path}: no such image file") from error
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise IgclError(f"{path}: cannot be decoded as an image ({error})") from error


def decode_grey(data: bytes) -> np.ndarray:
    """Decode the bytes of a stored image to uint8 [H, W]."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("L"))


def encode_grey(pixels: np.ndarray, lossless: bool) -> bytes:
    """Encode grey pixels uint8 [H, W] as PNG, or as JPEG of quality `JPEG_QUALITY`."""
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    if lossless:
        image.save(buffer, "PNG")
    else:
        image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def letterbox(pixels: np.ndarray, size: int) -> np.ndarray:
    """Resize uint8 [H, W] so that its long side is `size` and centre it on black, uint8 [size, size]."""
    height, width = pixels.shape
    if (height, width) == (size, size):
        return pixels
    scale = size / max(height, width)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    resized = Image.fromarray(pixels).resize(inner, Image.Resampling.LANCZOS, reducing_gap=3.0)
    canvas = Image.new("L", (size, size))
    canvas.paste(resized, ((size - inner[0]) // 2, (size - inner[1]) // 2))
    return np.asarray(canvas)


def _to_grey(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I") or image.mode == "F":
        return _window(np.asarray(image, dtype=np.float64))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        opaque = Image.new("RGBA", image.size, "black")
        image = Image.alpha_composite(opaque, image.convert("RGBA"))
    return np.asarray(image.convert("L"))


def _window(values: np.ndarray) -> np.ndarray:
    """Map the value range of a deep image to 0-255; a constant image becomes black."""
    low, high = float(values.min()), float(values.max())
    return np.round((values - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)
