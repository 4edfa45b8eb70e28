"""Images of a study as columns of a store: decoded, fitted and encoded, with their boxes and masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from igcl_lightning import __version__
from igcl_lightning.data.images import encode_grey, read_grey, read_picture
from igcl_lightning.data.metadata import age_in_years, sex_name, view_name
from igcl_lightning.data.pictures.fit import Fit, decode_size, nearest
from igcl_lightning.data.pictures.picture import Picture
from igcl_lightning.data.preparing.earlier import RowNote, identity
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.regions import Box, RunLengths
from igcl_lightning.data.store import FORMAT_VERSION
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.errors import IgclError
from igcl_lightning.reports.files import is_lfs_pointer
from igcl_lightning.texts import encodable, is_blank

BOX_FIELDS = ("label", *Box._fields[1:])
MISSING, POINTER, BROKEN = "image missing", "image is a Git-LFS pointer", "image not readable"


class StoredImage(NamedTuple):
    """An image of the source, its encoded square, and the note of its row, not yet with text."""

    image: StudyImage
    content: bytes
    note: RowNote

    @property
    def view(self) -> str:
        """View of the source, or else of the header."""
        return self.image.view if self.image.view != "unknown" else view_name(self.note.header.get("ViewPosition"))

    @property
    def source_view(self) -> str | None:
        """The view in the words of the source, or else of the header."""
        words = self.image.source_view or self.note.header.get("ViewPosition")
        return words and encodable(words)

    def columns(self, study: Study) -> dict[str, Any]:
        """Return the columns of the image; its DICOM header fills in values that the source lacks."""
        header, (height, width) = self.note.header, self.note.shape
        flags = {*self.image.flags, *self.note.flags}
        if any(box.x_max > width + 1 or box.y_max > height + 1 for box in self.image.boxes):
            flags.add("a box ends outside the image")  # it refers to another image size
        if any(_is_scaled(mask, self.note.shape) for mask in self.image.masks.values()):
            flags.add("masks rescaled to the image")
        sex = header.get("PatientSex") or ""
        if study.sex is None and not is_blank(sex) and sex_name(sex) is None:
            flags.add("sex of the header not known")
        return {
            "row": self.image.image_id,
            "view": self.view,
            "source_view": self.source_view,
            "age": age_in_years(header.get("PatientAge")) if study.age is None else study.age,
            "sex": study.sex or sex_name(sex),
            "height": height,
            "width": width,
            "flags": sorted(flags),
            "image": {"bytes": self.content, "path": None},
        }

    def regions(self, options: Options, boxes: bool, masks: bool) -> dict[str, Any]:
        """Return the columns of boxes and masks, in pixels of the stored square.

        Raises:
            MaskSizeError: a mask has another size than its image. Scalable run lengths, as of CheXpert's images, are
                rescaled.
            IgclError: a mask cannot be read.
            ValueError: run lengths do not fit the image.
        """
        columns: dict[str, Any] = {}
        if not (boxes or masks):
            return columns
        fit, names = Fit.of(self.note.shape, options.size, options.fit), options.rename_labels
        if boxes:
            moved = [(names.get(box.label, box.label), fit.box(box[1:])) for box in self.image.boxes]
            kept = [(label, *edges) for label, edges in moved if edges]
            columns["boxes"] = {field: [box[place] for box in kept] for place, field in enumerate(BOX_FIELDS)}
        if masks:
            pixels = {label: fit.mask(_mask(mask, self.note.shape)) for label, mask in self.image.masks.items()}
            encoded = [encode_grey(mask, lossless=True) for mask in pixels.values()]
            columns["masks"] = {"label": [names.get(label, label) for label in pixels], "png": encoded}
        return columns


def image_identity(image: StudyImage, options: Options) -> str:
    """Return a hash of an image's inputs."""
    how = (options.size, options.fit, options.quality, options.lossless, options.full_decode)
    return identity(image.source, how, __version__, FORMAT_VERSION)


def store_image(image: StudyImage, options: Options) -> StoredImage:
    """Decode, fit and encode an image; raises `IgclError` if it cannot be read."""
    made_from = image_identity(image, options)
    if isinstance(image.source, Path):
        at_least = None if options.full_decode else decode_size(options.size, options.fit)
        picture = read_picture(image.source, at_least)
    else:
        shape, kind = image.source.shape, image.source.dtype
        if len(shape) != 2 or kind != np.uint8 or 0 in shape:
            raise IgclError(f"an array {list(shape)} of {kind}, not grey pixels uint8 [H, W]")
        height, width = shape
        picture = Picture(image.source, (height, width))
    pixels = Fit.of(picture.shape, options.size, options.fit).image(picture.pixels)
    content = encode_grey(pixels, options.lossless, options.quality)
    note = RowNote(image.image_id, made_from, picture.shape, picture.flags, dict(picture.header))
    return StoredImage(image, content, note)


def why_unreadable(image: StudyImage) -> str:
    """Return the reason under which an unreadable image is counted."""
    try:
        return POINTER if isinstance(image.source, Path) and is_lfs_pointer(image.source) else BROKEN
    except (FileNotFoundError, NotADirectoryError):
        return MISSING
    except (OSError, ValueError):  # no permission, a broken disk, a name that no file can have
        return BROKEN


def _mask(mask: np.ndarray | Path | RunLengths, shape: tuple[int, int]) -> np.ndarray:
    """Return a mask, bool [H, W], of `shape` if it is of run lengths for a copy of the image."""
    if isinstance(mask, RunLengths):
        pixels = mask.mask()
        return nearest(pixels, shape) if _is_scaled(mask, shape) else pixels
    return read_grey(mask) > 0 if isinstance(mask, Path) else mask


def _is_scaled(mask: np.ndarray | Path | RunLengths, shape: tuple[int, int]) -> bool:
    """Return whether scalable runs are for an image of another size and the same proportions, within a pixel."""
    if not isinstance(mask, RunLengths) or not mask.scalable or (mask.height, mask.width) == shape:
        return False
    height, width = shape
    return abs(mask.height * width / mask.width - height) < 1 or abs(mask.width * height / mask.height - width) < 1
