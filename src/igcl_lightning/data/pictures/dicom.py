"""DICOM files: from stored values to grey levels, and header values.

The steps follow PS3.3: modality LUT or rescale (C.11.1), VOI LUT or window (C.11.2), inversion of MONOCHROME1
(C.7.6.3.1.2). Stored values have at most 16 bits, so each step is applied to a table of values instead of all pixels.
"""

from __future__ import annotations

import io
import logging

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi, apply_windowing
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
)

from igcl_lightning.data.pictures.compressed import decode_apart
from igcl_lightning.data.pictures.picture import (
    Picture,
    count_levels,
    printable_line,
    refuse_size,
    stretch_range,
    to_bytes,
)
from igcl_lightning.errors import IgclError

HEADER = (
    "PatientID", "PatientSex", "PatientAge", "PatientOrientation", "StudyInstanceUID", "SeriesInstanceUID",
    "SOPInstanceUID", "AccessionNumber", "StudyDate", "Modality", "BodyPartExamined", "ViewPosition", "Laterality",
    "ImageLaterality", "PhotometricInterpretation", "Manufacturer", "BurnedInAnnotation",
)  # fmt: skip
BY_PILLOW = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEG2000Lossless, JPEG2000)
BY_GDCM = (JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, JPEGLSNearLossless)  # the extra `dicom`
LOSSY = (JPEGExtended12Bit, JPEG2000, JPEGLSNearLossless)  # those that may keep more bits than are stored
DEFLATED = b"1.2.840.10008.1.2.1.99"
MAY_BE_EMPTY = (
    "ModalityLUTSequence", "RescaleSlope", "RescaleIntercept", "VOILUTSequence", "VOILUTFunction", "WindowCenter",
    "WindowWidth", "PixelPaddingValue", "PixelPaddingRangeLimit",
)  # fmt: skip
HIDDEN = 0.7  # share of black, or of white pixels from which a window does not fit
FRONTAL, LATERAL = ("PA", "AP"), ("LL", "RL", "LATERAL")

logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # its warnings are errors or flags here


def read_dicom(data: bytes) -> Picture:
    """Decode the bytes of a DICOM file with one frame, at full size.

    Applies the first VOI LUT, whose largest entry becomes 255, or else the first window, or else `stretch_range`,
    which ignores padding. Padding becomes black. Colour becomes grey as in Pillow.

    Raises:
        IgclError: no image, several frames, too many pixels, more than 16 bits, or no decoder is installed.
        Exception: any exception of pydicom's, for an incomplete image.
    """
    if DEFLATED in data[:4096]:  # pydicom would inflate it without a limit
        raise IgclError("a deflated DICOM file: inflate it first, for example with `dcmconv`")
    dataset = pydicom.dcmread(io.BytesIO(data), force=True)
    _refuse_shape(dataset)
    _refuse_syntax(dataset)
    stored = decode_apart(data) if _needs_gdcm(dataset) else _stored(dataset)
    _refuse_other_size(dataset, stored.shape[1], stored.shape[0])
    stored, ignored = _used_bits(stored, dataset)
    pixels, flags = _render(stored, dataset)
    header = _header(dataset)
    return Picture(pixels, pixels.shape, ignored + flags + _orientation(header), header)


def _refuse_shape(dataset: Dataset) -> None:
    if "PixelData" not in dataset:
        kind = UID(dataset.get("SOPClassUID") or "unknown").name
        raise IgclError(f"a DICOM file without pixels, of the class {kind}")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise IgclError(f"a DICOM file of {frames} frames: save the one you want as its own file")
    refuse_size(dataset.Columns, dataset.Rows)
    if dataset.BitsAllocated > 16:
        raise IgclError(f"a DICOM file of {dataset.BitsAllocated} bits per pixel; a radiograph has at most 16")


def _refuse_syntax(dataset: Dataset) -> None:
    """Reject a transfer syntax without decoder; a file without preamble gets the syntax of its encoding."""
    if "TransferSyntaxUID" not in dataset.file_meta:
        if bytes(dataset.PixelData[:4]) == b"\xfe\xff\x00\xe0":
            raise IgclError("a DICOM file with compressed pixels that names no transfer syntax")
        implicit = dataset.original_encoding[0]
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    syntax, by_gdcm = dataset.file_meta.TransferSyntaxUID, _needs_gdcm(dataset)
    try:  # Pillow decodes JPEG Extended of 8 bits only, GDCM is there for all its syntaxes or for none
        available = get_decoder(JPEGLossless if by_gdcm and syntax == JPEGExtended12Bit else syntax).is_available
    except NotImplementedError:
        available = False
    if not available:
        remedy = "pip install igcl-lightning[dicom]" if by_gdcm else "convert the file to an uncompressed one"
        raise IgclError(f"no decoder for the transfer syntax {syntax.name} ({syntax}): {remedy}")


def _needs_gdcm(dataset: Dataset) -> bool:
    syntax = dataset.file_meta.TransferSyntaxUID
    return syntax in BY_GDCM or (syntax == JPEGExtended12Bit and dataset.BitsStored > 8)


def _stored(dataset: Dataset) -> np.ndarray:
    """Return the stored values, [H, W] or [H, W, 3]."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        return _uncompressed(dataset)
    if syntax not in BY_PILLOW:
        return pixel_array(dataset)
    frame = io.BytesIO(get_frame(dataset.PixelData, 0, number_of_frames=1))
    with Image.open(frame, formats=("JPEG", "JPEG2000")) as image:  # before a frame of another size is allocated
        _refuse_other_size(dataset, *image.size)
    return pixel_array(dataset, decoding_plugin="pillow")


def _uncompressed(dataset: Dataset) -> np.ndarray:
    """Return the values of a file without compression, shifted down where old files keep them in the high bits."""
    low = int(dataset.get("HighBit", dataset.BitsStored - 1)) + 1 - dataset.BitsStored
    if low <= 0 or dataset.BitsStored + low > dataset.BitsAllocated:
        return pixel_array(dataset)
    bits, dataset.BitsStored = dataset.BitsStored, dataset.BitsStored + low  # or pydicom cuts the high bits off
    stored: np.ndarray = pixel_array(dataset) >> low
    dataset.BitsStored = bits
    return stored


def _refuse_other_size(dataset: Dataset, width: int, height: int) -> None:
    if (width, height) != (dataset.Columns, dataset.Rows):
        raise IgclError(f"says {dataset.Columns} x {dataset.Rows} pixels, its compressed frame {width} x {height}")


def _used_bits(stored: np.ndarray, dataset: Dataset) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return stored values without the bits above those stored, which hold overlays in old files, and flags."""
    unused = 8 * stored.itemsize - dataset.BitsStored
    if unused <= 0:
        return stored, ()
    high = (1 << (dataset.BitsStored - dataset.PixelRepresentation)) - 1
    if dataset.file_meta.TransferSyntaxUID in LOSSY and high < stored.max() <= high + high // 16:
        stored = stored.clip(max=high)  # compression exceeds the largest value slightly
    used = stored << unused >> unused
    return used, () if np.array_equal(used, stored) else ("bits above those stored left out",)


def _colour_to_grey(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    bits = dataset.BitsStored
    if stored.ndim == 2:
        stored = apply_color_lut(stored, dataset)[..., :3]
        bits = 8 * stored.itemsize
    if bits > 8:
        stored = stored >> (bits - 8)
    return np.asarray(Image.fromarray(np.ascontiguousarray(stored, np.uint8)).convert("L"))


def _render(stored: np.ndarray, dataset: Dataset) -> tuple[np.ndarray, tuple[str, ...]]:
    if stored.ndim == 3 or "PALETTE" in dataset.PhotometricInterpretation:
        return _colour_to_grey(stored, dataset), ()
    for name in MAY_BE_EMPTY:
        if name in dataset and dataset[name].is_empty:
            del dataset[name]
    levels, index, counts = count_levels(stored)
    padding = _padding(levels, dataset)
    values = apply_modality_lut(levels, dataset)
    grey, flags = _windowed(values, np.where(padding, 0, counts), dataset)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        grey, flags = 255 - grey, (*flags, "inverted (MONOCHROME1)")
    if counts[padding].any():
        grey, flags = np.where(padding, np.uint8(0), grey), (*flags, "padding made black")
    return grey[index], flags


def _padding(levels: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Return which stored values are padding (C.7.5.1.1.2), bool [V]."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.zeros(levels.shape, bool)
    low, high = sorted((value, dataset.get("PixelPaddingRangeLimit", value)))
    return np.asarray((low <= levels) & (levels <= high))


def _windowed(values: np.ndarray, counts: np.ndarray, dataset: Dataset) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return modality values, number [V], after VOI LUT, window or stretch, and flags; `counts` are pixels by value."""
    if "VOILUTSequence" in dataset:
        return _looked_up(values, dataset), ()
    whole, flags = _whole_range(values, counts, dataset)
    if "WindowCenter" not in dataset or "WindowWidth" not in dataset:
        return whole, flags
    try:
        shown = apply_windowing(values, dataset)
    except ValueError:  # a width below 1, or an unknown function
        return whole, ("window is not valid", *flags)
    grey = to_bytes(shown, *apply_windowing(np.array([-np.inf, np.inf]), dataset))  # range of the function
    return grey, ("window does not fit the pixels",) if _hides(grey, counts) else ()


def _whole_range(values: np.ndarray, counts: np.ndarray, dataset: Dataset) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return grey levels without a window: of 8 bits as they are, as those of a PNG file; deeper ones are stretched."""
    if dataset.BitsStored <= 8 and "ModalityLUTSequence" not in dataset:
        low, high = (-128, 127) if dataset.PixelRepresentation else (0, 255)
        ends = np.array([low, high]) >> (8 - dataset.BitsStored)
        return to_bytes(values, *sorted(apply_modality_lut(ends, dataset))), ()
    return to_bytes(values, *stretch_range(values, counts)), ("range stretched to 8 bits",)


def _hides(grey: np.ndarray, counts: np.ndarray) -> bool:
    """Return whether a window hides the picture: most pixels black, or white, or all in an eighth of the range.

    A window for 8 bits does so on pixels of 12 bits, and the reverse. The lowest and the highest value do not count:
    they are the border and letters.
    """
    inner = np.flatnonzero(counts)[1:-1]
    grey, counts = grey[inner], counts[inner]
    if not counts.size:
        return False
    low, high = stretch_range(grey, counts)
    return bool(max(counts[grey == 0].sum(), counts[grey == 255].sum()) > HIDDEN * counts.sum() or high - low < 32)


def _looked_up(values: np.ndarray, dataset: Dataset) -> np.ndarray:
    item = dataset.VOILUTSequence[0]
    entries, first, _ = item.LUTDescriptor
    item.LUTDescriptor = [entries, first, 16]  # for 8, pydicom also stores the index of an entry in 8 bits
    ends = np.array([first, first + (entries or 2**16) - 1])
    inside = np.clip(np.rint(values).astype(np.int64), *ends)
    largest = int(apply_voi(np.arange(ends[0], ends[1] + 1), dataset).max())
    return to_bytes(apply_voi(inside, dataset), 0, max(1, largest))


def _header(dataset: Dataset) -> dict[str, str]:
    return {name: value for name in HEADER if (value := _text(dataset, name))}


def _text(dataset: Dataset, name: str) -> str:
    """Return a header value, its parts joined by a backslash; "" if it is damaged."""
    try:
        value = dataset.get(name)
    except Exception:  # a value that is invalid for its type
        return ""
    parts = value if isinstance(value, pydicom.multival.MultiValue) else [value]
    return printable_line("\\".join(str(part) for part in parts if part is not None))


def _orientation(header: dict[str, str]) -> tuple[str, ...]:
    """Flag lateral views, and rows not to the patient's left (lateral: front or back) or columns not to the feet."""
    orientation, view = header.get("PatientOrientation"), header.get("ViewPosition", "").upper()
    flags = ("lateral view",) if view in LATERAL else ()
    if orientation:
        rows = "L" if view in FRONTAL else "AP" if view in LATERAL else "LAP"
        row, _, column = orientation.partition("\\")
        if row[:1] not in tuple(rows) or column[:1] != "F":
            flags = (*flags, f"patient orientation {orientation} is not upright")
    return flags
