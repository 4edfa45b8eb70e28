"""Decode compressed DICOM files with GDCM in a child process, because GDCM crashes on damaged files.

The process starts with the first such file and serves all later ones. It receives files and returns arrays in
NumPy's format: the stored values, or the text of an error. Each message follows its length in 8 bytes.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from functools import cache
from threading import Lock, Timer
from typing import IO

import numpy as np
import pydicom
from pydicom.pixels.utils import pixel_array
from pydicom.uid import JPEGExtended12Bit

from igcl_lightning.errors import IgclError

SECONDS = 60  # per file
_one_at_a_time = Lock()


def decode_apart(data: bytes) -> np.ndarray:
    """Return the stored values of a DICOM file, [H, W] or [H, W, 3].

    Raises:
        IgclError: the decoder crashed, or exceeded `SECONDS`.
        ValueError: the decoder refused the file.
    """
    with _one_at_a_time:
        process = _decoder(os.getpid())
        assert process.stdin
        assert process.stdout
        watch = Timer(SECONDS, process.kill)
        watch.start()
        try:
            _send(process.stdin, data)
            answer = np.asarray(np.load(io.BytesIO(_receive(process.stdout)), allow_pickle=False))
        except (OSError, ValueError, EOFError) as error:  # a broken pipe or a truncated answer
            process.kill()
            process.wait()
            _decoder.cache_clear()
            raise IgclError("its compressed pixels are damaged: the decoder crashed or hung") from error
        finally:
            watch.cancel()
    if answer.dtype.kind == "U":
        raise ValueError(str(answer))
    return answer


@cache
def _decoder(owner: int) -> subprocess.Popen[bytes]:
    """Return the decoder of the process `owner`, since a fork must not share its parent's."""
    command = [sys.executable, "-m", "igcl_lightning.data.pictures.compressed"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _send(pipe: IO[bytes], message: bytes) -> None:
    pipe.write(len(message).to_bytes(8, "little"))
    pipe.write(message)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> bytes:
    """Return the next message, empty once the pipe is closed."""
    return pipe.read(int.from_bytes(pipe.read(8), "little"))


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Decode files until the pipe is closed."""
    while data := _receive(requests):
        try:
            dataset = pydicom.dcmread(io.BytesIO(data), force=True)
            twelve = dataset.file_meta.TransferSyntaxUID == JPEGExtended12Bit
            stored = _by_own_reader(data) if twelve else pixel_array(dataset)
        except Exception as error:  # sent as the result
            stored = np.array(f"{type(error).__name__}: {error}")
        answer = io.BytesIO()
        np.save(answer, stored, allow_pickle=False)
        _send(answers, answer.getvalue())


def _by_own_reader(data: bytes) -> np.ndarray:
    """Return the stored values by GDCM's reader of files, since pydicom does not give it JPEG of 12 bits."""
    import gdcm

    with tempfile.NamedTemporaryFile(suffix=".dcm") as file:
        file.write(data)
        file.flush()
        reader = gdcm.ImageReader()
        reader.SetFileName(file.name)
        values = reader.GetImage().GetBuffer() if reader.Read() else None
    if values is None:
        raise ValueError("its compressed pixels are damaged")
    width, height = reader.GetImage().GetDimensions()[:2]
    kind = reader.GetImage().GetPixelFormat()
    if kind.GetSamplesPerPixel() != 1 or kind.GetBitsAllocated() > 16:
        raise ValueError("JPEG Extended with more than 8 bits is read for one grey channel of at most 16")
    dtype = f"<{'iu'[not kind.GetPixelRepresentation()]}{kind.GetBitsAllocated() // 8}"
    return np.frombuffer(values.encode("utf-8", "surrogateescape"), dtype).reshape(height, width)


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
