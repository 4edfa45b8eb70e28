"""Small image files of every kind that a source may hold, made here."""

import io
import tempfile
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from igcl_lightning.data.images import read_picture
from igcl_lightning.errors import IgclError

ORIENTATION = 0x0112  # the EXIF tag


def raster(pixels, format, mode=None, **options) -> bytes:
    """Encode pixels with Pillow, after conversion to `mode`."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, format, **options)
    return buffer.getvalue()


def assert_refused_or_equal(path: Path, expected: np.ndarray) -> None:
    """Part of a file is refused in one line that names it, unless it holds all pixels."""
    try:
        pixels = read_picture(path).pixels
    except IgclError as error:
        message = str(error)
    else:
        np.testing.assert_array_equal(pixels, expected)
        return
    assert message.startswith(f"{path}: ")
    assert "\n" not in message


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def dataset_of(stored, syntax=ExplicitVRLittleEndian, frame: bytes | None = None, **attributes) -> Dataset:
    """A radiograph of the stored values [H, W] or [H, W, 3]; `frame` are its compressed bytes."""
    bits = 8 * stored.itemsize
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=["image"])
    dataset.Rows, dataset.Columns = stored.shape[:2]
    dataset.SamplesPerPixel = 3 if stored.ndim == 3 else 1
    if stored.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = "RGB" if stored.ndim == 3 else "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(np.issubdtype(stored.dtype, np.signedinteger))
    if frame is None:
        data = stored.astype(stored.dtype.newbyteorder("<" if syntax.is_little_endian else ">")).tobytes()
        dataset.PixelData = data + b"\0" * (len(data) % 2)
    else:
        dataset.PixelData = encapsulate([frame])
        dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
    for name, value in attributes.items():
        setattr(dataset, name, value)
    return dataset


def dicom(stored, syntax=ExplicitVRLittleEndian, frame: bytes | None = None, **attributes) -> bytes:
    """The bytes of a DICOM file; see `dataset_of`."""
    return file_of(dataset_of(stored, syntax, frame, **attributes))


def file_of(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def bare_dicom(stored, implicit: bool, **attributes) -> bytes:
    """A data set alone: no preamble and nothing that names its transfer syntax."""
    dataset = dataset_of(stored, **attributes)
    del dataset.file_meta
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, implicit_vr=implicit, little_endian=True)
    return buffer.getvalue()


def gdcm_dicom(stored, syntax: str, **attributes) -> bytes:
    """A DICOM file that GDCM has compressed to the transfer syntax of this name in GDCM."""
    import gdcm

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source.dcm", Path(folder) / "target.dcm"
        source.write_bytes(dicom(stored, **attributes))
        reader = gdcm.ImageReader()
        reader.SetFileName(str(source))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(target))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        return target.read_bytes()
