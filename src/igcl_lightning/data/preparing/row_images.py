"""The images of a study as columns of a store: decoded, fitted and encoded, with the boxes and masks on them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from igcl_lightning import __version__
from igcl_lightning.data.ages import age_in_years
from igcl_lightning.data.images import encode_grey, read_grey, read_picture
from igcl_lightning.data.pictures.fit import Fit, decode_size
from igcl_lightning.data.pictures.picture import Picture
from igcl_lightning.data.preparing.item_identity import identity
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.regions import RunLengths
from igcl_lightning.data.sources.tables import sex_name
from igcl_lightning.data.store import FORMAT_VERSION
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.data.views import view_name
from igcl_lightning.reports.files import LFS_POINTER

MISSING, POINTER, BROKEN = "image missing", "image is a Git-LFS pointer", "image not readable"


class StoredImage(NamedTuple):
    """One image on its way into the store.

    Attributes:
        image: as the source has it.
        content: the encoded square.
        shape: height and width of the source's picture.
        flags: what the decoder saw.
        header: what the header of a DICOM file says.
        identity: hash of what it was made from.
    """

    image: StudyImage
    content: bytes
    shape: tuple[int, int]
    flags: tuple[str, ...]
    header: Mapping[str, str]
    identity: str

    @property
    def view(self) -> str:
        """The source's view, or the one that the header names."""
        return self.image.view if self.image.view != "unknown" else view_name(self.header.get("ViewPosition"))

    def columns(self, study: Study) -> dict[str, Any]:
        """Return the columns of the image and what its header knows better than the source."""
        return {
            "row": self.image.image_id,
            "view": self.view,
            "source_view": self.image.source_view or self.header.get("ViewPosition"),
            "age": age_in_years(self.header.get("PatientAge")) if study.age is None else study.age,
            "sex": study.sex or sex_name(self.header.get("PatientSex")),
            "height": self.shape[0],
            "width": self.shape[1],
            "flags": sorted({*self.image.flags, *self.flags, *self._odd_boxes()}),
            "image": {"bytes": self.content, "path": None},
        }

    def _odd_boxes(self) -> tuple[str, ...]:
        """Return a flag where a box ends outside the image: it counts in the pixels of another size."""
        height, width = self.shape
        odd = any(box.x_max > width + 1 or box.y_max > height + 1 for box in self.image.boxes)
        return ("a box ends outside the image",) if odd else ()

    def regions(self, options: Options, boxes: bool, masks: bool) -> dict[str, Any]:
        """Return the columns of boxes and masks, moved to the stored square.

        Raises:
            IgclError: a mask cannot be read, or has not the size of its image.
            ValueError: run lengths do not fit the image.
        """
        fit = Fit.of(self.shape, options.size, options.fit)
        columns: dict[str, Any] = {}
        if boxes:
            moved = [(box.label, fit.box(box[1:])) for box in self.image.boxes]
            kept = [(label, *edges) for label, edges in moved if edges]
            names = ("label", "x_min", "y_min", "x_max", "y_max")
            columns["boxes"] = {name: [box[place] for box in kept] for place, name in enumerate(names)}
        if masks:
            pixels = {label: fit.mask(_mask(mask)) for label, mask in self.image.masks.items()}
            columns["masks"] = {"label": list(pixels), "png": [encode_mask(mask) for mask in pixels.values()]}
        return columns


def image_identity(image: StudyImage, options: Options) -> str:
    """Return a hash of what an image is made from."""
    how = (options.size, options.fit, options.quality, options.lossless, options.full_decode)
    return identity(image.source, how, __version__, FORMAT_VERSION)


def store_image(image: StudyImage, options: Options) -> StoredImage:
    """Decode, fit and encode an image.

    Raises:
        IgclError: it cannot be read.
    """
    made_from = image_identity(image, options)
    picture = _picture(image.source, None if options.full_decode else decode_size(options.size, options.fit))
    pixels = Fit.of(picture.shape, options.size, options.fit).image(picture.pixels)
    content = encode_grey(pixels, options.lossless, options.quality)
    return StoredImage(image, content, picture.shape, picture.flags, dict(picture.header), made_from)


def why_unreadable(image: StudyImage) -> str:
    """Return the reason under which an image that cannot be read is counted."""
    if not isinstance(image.source, Path):
        return BROKEN
    if not image.source.exists():
        return MISSING
    if not image.source.is_file():
        return BROKEN
    try:
        with image.source.open("rb") as file:
            start = file.read(len(LFS_POINTER))
    except OSError:
        return BROKEN
    return POINTER if start == LFS_POINTER else BROKEN


def encode_mask(mask: np.ndarray) -> bytes:
    """Encode a mask bool [H, W] as PNG of one bit."""
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG")
    return buffer.getvalue()


def decode_mask(data: bytes) -> np.ndarray:
    """Decode a stored mask to bool [H, W]."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("L")) > 0


def _picture(source: Path | np.ndarray, at_least: int | None) -> Picture:
    if isinstance(source, Path):
        return read_picture(source, at_least)
    height, width = source.shape
    return Picture(source, (height, width), flags=(), header={})


def _mask(mask: np.ndarray | Path | RunLengths) -> np.ndarray:
    if isinstance(mask, RunLengths):
        return mask.mask()
    return read_grey(mask) > 0 if isinstance(mask, Path) else mask
