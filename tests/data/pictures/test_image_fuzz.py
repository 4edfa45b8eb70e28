"""Broken image files, thousands of them: each gives sane pixels or one line, never anything else.

Batches run in a process of their own, with a clock for each file and a limit of memory, so that a crash, a hang and an
allocation without bounds are seen and the seed that does it is named. `bytes_of(seed)` makes the file of a seed again.
"""

import os
import re
import resource
import signal
import struct
import subprocess
import sys
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import (
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from igcl_lightning.data.images import encode_grey, read_picture
from igcl_lightning.data.pictures.fit import Fit
from igcl_lightning.data.pictures.picture import MAX_PIXELS
from igcl_lightning.data.sources.phantom import phantom_study
from igcl_lightning.errors import IgclError
from image_files import bare_dicom, dataset_of, dicom, file_of, gdcm_dicom, raster, turned

SECONDS = 10  # for one file
MEMORY = 3 * 2**30  # of address space, libraries included
BATCH = 500


@cache
def base_files() -> list[bytes]:
    """Whole files of every kind, small ones of phantoms, and real ones where there are any."""
    phantom = phantom_study(3, size=80, views="frontal").images[0].source
    grey = np.ascontiguousarray(np.asarray(phantom)[:, :66])
    deep = grey.astype(np.uint16) * 16 + 5
    rgb = np.stack([grey, grey[::-1], grey[:, ::-1]], axis=-1)
    return [*rasters(grey, deep, rgb), *dicoms(grey, deep, rgb), *real_files()]


def rasters(grey, deep, rgb) -> list[bytes]:
    return [
        raster(grey, "JPEG"),
        raster(rgb, "JPEG", exif=turned(6)),
        raster(grey, "JPEG", progressive=True),
        raster(rgb, "JPEG", "CMYK"),
        raster(grey, "MPO", save_all=True, append_images=[Image.fromarray(grey)]),
        raster(grey, "PNG", exif=turned(3)),
        raster(deep, "PNG"),
        raster(grey, "PNG", "P", transparency=3),
        raster(rgb, "PNG", "RGBA"),
        raster(grey > 99, "PNG"),
        raster(grey, "GIF"),
        raster(grey, "GIF", save_all=True, append_images=[Image.fromarray(255 - grey)]),
        raster(grey, "TIFF"),
        raster(deep, "TIFF", compression="tiff_lzw"),
        raster(rgb, "TIFF", compression="jpeg"),
        raster(grey > 99, "TIFF", compression="group4"),
        raster(deep.astype(np.float32), "TIFF", compression="tiff_adobe_deflate", exif=turned(8)),
        raster(grey, "WEBP", "RGB", lossless=True),
        raster(rgb, "WEBP", exif=turned(5)),
        raster(grey, "BMP"),
        raster(rgb, "BMP"),
        raster(deep, "JPEG2000"),
        raster(rgb, "JPEG2000", irreversible=True),
        raster(deep, "PPM"),
    ]


def dicoms(grey, deep, rgb) -> list[bytes]:
    header = {"PatientID": "p", "ViewPosition": "PA", "PatientOrientation": ["L", "F"], "PatientAge": "061Y"}
    shown = {"WindowCenter": 2000, "WindowWidth": 3000, "RescaleSlope": 1, "RescaleIntercept": -10}
    compressed = dataset_of(deep, **header, **shown)
    compressed.compress(RLELossless)
    files = [
        dicom(deep, **header, **shown, PixelPaddingValue=5),
        dicom(deep, ImplicitVRLittleEndian, **header, PhotometricInterpretation="MONOCHROME1"),
        dicom(deep.astype(np.int16), ExplicitVRBigEndian, **header),
        dicom(rgb, **header),
        bare_dicom(deep, implicit=True, **header, **shown),
        bare_dicom(grey, implicit=False, **header),
        file_of(compressed),
        dicom(grey, JPEGBaseline8Bit, raster(grey, "JPEG"), **header),
        dicom(deep, JPEG2000Lossless, raster(deep, "JPEG2000", no_jp2=True), **header),
    ]
    try:
        names = ("JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEGExtendedProcess2_4")
        return files + [gdcm_dicom(deep, name) for name in names]
    except ImportError:
        return files


def real_files() -> list[bytes]:
    folder = os.environ.get("IGCL_DATA")
    if not folder:
        return []
    patterns = {"nih_cxr14": 4, "covid_cxr_notes": 2, "openi": 2, "edge_cases": 3}
    files = (
        path for name, count in patterns.items() for path in sorted(Path(folder, name).rglob("*.[jp][pn]g"))[:count]
    )
    return [path.read_bytes() for path in files]


def bytes_of(seed: int) -> bytes:
    """The broken file of a seed: one to three mutations of a whole one, mostly one."""
    generator = np.random.default_rng(seed)
    files = base_files()
    data = bytearray(files[seed % len(files)])
    for _ in range(generator.choice([1, 1, 1, 2, 3])):
        if len(data) > 8:
            mutation = MUTATIONS[generator.integers(len(MUTATIONS))]
            data = mutation(data, generator)
    if data[:4] == b"\x89PNG" and generator.random() < 0.7:
        data = with_checksums(data)
    return bytes(data)


def place(data, generator) -> int:
    """A place in the file, in its header more often than not."""
    start, end = 0, len(data) if generator.random() < 0.3 else min(len(data), 700)
    frame = data.find(b"\xff\xd8\xff")
    if frame > 0 and generator.random() < 0.5:  # the header of what is inside another file
        start, end = frame, min(len(data), frame + 100)
    return int(generator.integers(start, end))


def flip_bits(data, generator):
    for _ in range(generator.integers(1, 9)):
        data[place(data, generator)] ^= 1 << int(generator.integers(8))
    return data


def overwrite(data, generator):
    start, count = place(data, generator), int(generator.integers(1, 17))
    data[start : start + count] = generator.bytes(count)
    return data


def truncate(data, generator):
    return data[: generator.integers(1, len(data))]


def huge_length(data, generator):
    start, value = place(data, generator), (b"\xff" * 4, b"\xff" * 2, b"\x7f\xff\xff\xff", b"\0" * 4)
    new = value[generator.integers(len(value))]
    data[start : start + len(new)] = new
    return data


def duplicate(data, generator):
    start = place(data, generator)
    piece = data[start : start + int(generator.integers(1, 300))]
    return data[:start] + piece * int(generator.integers(1, 4)) + data[start:]


def cut_out(data, generator):
    start = place(data, generator)
    del data[start : start + int(generator.integers(1, 100))]
    return data


def splice(data, generator):
    other = base_files()[generator.integers(len(base_files()))]
    return data[: place(data, generator)] + other[place(other, generator) :]


MUTATIONS = (flip_bits, overwrite, truncate, huge_length, duplicate, cut_out, splice)


def with_checksums(data):
    """Mend the checksums of PNG chunks, or nothing but the checksum would ever be wrong."""
    start = 8
    while start + 12 <= len(data):
        end = start + 8 + int.from_bytes(data[start : start + 4], "big")
        if end + 4 > len(data):
            break
        data[end : end + 4] = struct.pack(">I", zlib.crc32(data[start + 4 : end]))
        start = end + 4
    return data


def outcome(path: Path, seed: int) -> str:
    """ "picture", "refused", or what is wrong with what the reader did."""
    try:
        picture = read_picture(path, at_least=40 if seed % 2 else None)
    except IgclError as error:
        message = str(error)
        bad = "\n" in message or str(path) not in message or not message.isprintable() or len(message) > 600
        return f"bad message {message!r}" if bad or re.search("MemoryError|allocate", message) else "refused"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    pixels = picture.pixels
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or not 0 < pixels.size <= MAX_PIXELS:
        return f"pixels {pixels.dtype} {pixels.shape}"
    if not all(text.isprintable() for text in (*picture.flags, *picture.header.values())):
        return f"unprintable {picture.flags} {picture.header}"
    return "picture" if encode_grey(Fit.of(picture.shape, 32).image(pixels), lossless=True) else "nothing"


def read_all(first: int, count: int, folder: Path) -> None:
    """Read the files of the seeds, writing each seed before and its outcome after."""
    base_files()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    path = folder / "image.jpg"
    for seed in range(first, first + count):
        path.write_bytes(bytes_of(seed))
        os.write(1, f"{seed} ".encode())
        signal.setitimer(signal.ITIMER_REAL, SECONDS)  # nothing catches it: it ends the process
        result = outcome(path, seed)
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.write(1, (" ".join(result.split()) + "\n").encode())


def fuzz(first: int, count: int, folder: Path) -> dict[str, int]:
    """Read the files of the seeds in another process and count the two outcomes that are allowed."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, str(first), str(count), str(folder)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=count * SECONDS, check=False
    )
    lines = done.stdout.splitlines()
    wrong = [line for line in lines if line.split(" ", 1)[1] not in ("picture", "refused")]
    assert not wrong, "\n".join(wrong)
    assert done.returncode == 0, f"status {done.returncode} in the seed that comes last: {lines[-1:]} {done.stderr}"
    assert done.stderr == ""
    return {name: sum(line.endswith(f" {name}") for line in lines) for name in ("picture", "refused")}


def test_broken_files_give_pixels_or_one_line(tmp_path):
    counts = fuzz(0, 400, tmp_path)
    assert sum(counts.values()) == 400
    assert min(counts.values()) > 40


@pytest.mark.soak
@pytest.mark.parametrize("first", range(400, 10_000, BATCH))
def test_ten_thousand_broken_files_give_pixels_or_one_line(tmp_path, first):
    counts = fuzz(first, BATCH, tmp_path)
    assert sum(counts.values()) == BATCH


if __name__ == "__main__":
    read_all(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
