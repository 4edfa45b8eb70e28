"""Read and write images as grey pixels: any format, mode and bit depth, recognised by content, not suffix."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from igcl_lightning.data.pictures.picture import Picture, printable_line
from igcl_lightning.data.pictures.raster import FORMATS, read_raster
from igcl_lightning.errors import IgclError
from igcl_lightning.reports.files import LFS_POINTER, read_bytes

JPEG_QUALITY = 95
SUFFIXES = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP", ".gif": "GIF",
    ".webp": "WEBP", ".jp2": "JPEG2000", ".pgm": "PPM", ".ppm": "PPM", ".dcm": "DICOM", ".dicom": "DICOM",
}  # fmt: skip


def read_picture(path: Path, at_least: int | None = None) -> Picture:
    """Decode one image file: DICOM (`dicom.read_dicom`), or what Pillow reads (`raster.read_raster`).

    Args:
        path: image file; a suffix that contradicts the content is flagged.
        at_least: pixels that the long side of a JPEG keeps if it is decoded at 1/2, 1/4 or 1/8 of its size.

    Raises:
        IgclError: the file is missing, or not a single complete image of at most `picture.MAX_PIXELS` pixels.
    """
    data = read_bytes(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings of libraries are errors or flags here
            content, picture = _decode(data, at_least)
    except IgclError as error:
        raise IgclError(f"{path}: {printable_line(str(error))}") from error
    except Exception as error:  # libraries raise any exception on damaged files
        said = printable_line(str(error)) or type(error).__name__
        raise IgclError(f"{path}: cannot be decoded as an image ({said})") from error
    return picture._replace(flags=(*picture.flags, *_observed(path, content, picture.pixels)))


def read_grey(path: Path) -> np.ndarray:
    """Decode an image file at full size, uint8 [H, W]; see `read_picture`."""
    return read_picture(path).pixels


def decode_grey(data: bytes) -> np.ndarray:
    """Decode the bytes of a stored image to uint8 [H, W]."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("L"))


def encode_grey(pixels: np.ndarray, lossless: bool, quality: int = JPEG_QUALITY) -> bytes:
    """Encode grey pixels uint8 [H, W], or a mask bool [H, W], as PNG, or grey pixels as JPEG of quality 1 to 100."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG" if lossless else "JPEG", **({} if lossless else {"quality": quality}))
    return buffer.getvalue()


def _decode(data: bytes, at_least: int | None) -> tuple[str, Picture]:
    if _is_dicom(data):
        from igcl_lightning.data.pictures.dicom import read_dicom  # pydicom is slow to import

        return "DICOM", read_dicom(data)
    if not data:
        raise IgclError("cannot be decoded as an image (the file is empty)")
    if data.startswith(LFS_POINTER):
        raise IgclError("cannot be decoded as an image (a Git LFS pointer: fetch the file with `git lfs pull`)")
    try:
        return read_raster(data, at_least)
    except UnidentifiedImageError as error:
        known = ", ".join(("DICOM", *FORMATS))
        raise IgclError(f"cannot be decoded as an image (its content is none of {known})") from error


def _is_dicom(data: bytes) -> bool:
    """Return whether bytes are a DICOM file, with or without preamble."""
    if data[128:132] == b"DICM":
        return True
    if data[:2] not in (b"\x02\x00", b"\x08\x00") or len(data) < 16:  # group of the first element
        return False
    length = int.from_bytes(data[4:8], "little")
    return (data[4:6].isalpha() and data[4:6].isupper()) or length <= min(len(data), 1024)


def _observed(path: Path, content: str, pixels: np.ndarray) -> list[str]:
    wrong = SUFFIXES.get(path.suffix.lower(), content) != content
    flags = [f"suffix says {path.suffix}, content is {content}"] if wrong else []
    return [*flags, "constant"] if (pixels[0] == pixels[0, 0]).all() and (pixels == pixels[0, 0]).all() else flags
