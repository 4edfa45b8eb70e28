"""Decodes compressed DICOM files with GDCM in a process of its own: broken ones make GDCM crash, and what runs it.

The process starts with the first such file and serves all further ones. It is sent files and answers with arrays in
NumPy's format, the stored values or the text of what is wrong; the length of each goes before it, in 8 bytes.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from functools import cache
from threading import Lock, Timer
from typing import IO

import numpy as np
import pydicom
from pydicom.pixels.utils import pixel_array

from igcl_lightning.errors import IgclError

SECONDS = 60  # for one file
_one_at_a_time = Lock()


def decode_apart(data: bytes) -> np.ndarray:
    """The stored values of a DICOM file, [H, W] or [H, W, 3].

    Raises:
        IgclError: the decoder crashed, or took longer than `SECONDS`.
        ValueError: the decoder refused the file.
    """
    with _one_at_a_time:
        process = _decoder(os.getpid())
        watch = Timer(SECONDS, process.kill)
        watch.start()
        try:
            answer = _ask(process, data)
        except (OSError, ValueError, EOFError) as error:  # a pipe that broke, an answer that ends early
            process.kill()
            process.wait()
            _decoder.cache_clear()
            raise IgclError("its compressed pixels are broken: the decoder crashed or hung") from error
        finally:
            watch.cancel()
    if answer.dtype.kind == "U":
        raise ValueError(str(answer))
    return answer


@cache
def _decoder(owner: int) -> subprocess.Popen[bytes]:
    """The process that decodes for the process `owner`: a fork must not share its parent's."""
    command = [sys.executable, "-m", "igcl_lightning.data.pictures.compressed"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _ask(process: subprocess.Popen[bytes], data: bytes) -> np.ndarray:
    assert process.stdin
    assert process.stdout
    _send(process.stdin, data)
    return np.asarray(np.load(io.BytesIO(_receive(process.stdout)), allow_pickle=False))


def _send(pipe: IO[bytes], message: bytes) -> None:
    pipe.write(len(message).to_bytes(8, "little"))
    pipe.write(message)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> bytes:
    """The next message; empty where the other side has ended."""
    return pipe.read(int.from_bytes(pipe.read(8), "little"))


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer one file after the other until the other side ends."""
    while data := _receive(requests):
        try:
            stored = pixel_array(pydicom.dcmread(io.BytesIO(data), force=True))
        except Exception as error:  # whatever it is, it is told
            stored = np.array(f"{type(error).__name__}: {error}")
        answer = io.BytesIO()
        np.save(answer, stored, allow_pickle=False)
        _send(answers, answer.getvalue())


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
