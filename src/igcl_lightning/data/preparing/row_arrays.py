"""Further arrays of a study, such as a signal, as columns of a store."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from math import prod
from pathlib import Path

import numpy as np
from numpy.lib.format import read_array_header_1_0, read_array_header_2_0, read_magic

from igcl_lightning.data.pictures.picture import printable_line
from igcl_lightning.errors import IgclError
from igcl_lightning.reports.files import read_bytes

HEADERS = {(1, 0): read_array_header_1_0, (2, 0): read_array_header_2_0}

NOT_FINITE = "NaN or infinite numbers"
"""Flag of rows with such an array, after its name."""


def array_flags(arrays: Mapping[str, np.ndarray | None]) -> list[str]:
    """Return the flags of a row's arrays by name."""
    odd = (name for name, array in arrays.items() if array is not None and not np.isfinite(array).all())
    return [f"{name}: {NOT_FINITE}" for name in odd]


def row_array(source: np.ndarray | Path | None) -> np.ndarray | None:
    """Return an array of a study as float32 of any shape, None if it has none; pickles are never loaded.

    Raises:
        IgclError: the file cannot be read, is no .npy file, or holds other things than real numbers.
    """
    if source is None:
        return None
    array = _loaded(source) if isinstance(source, Path) else source
    if array.dtype.kind not in "buif":
        name = source if isinstance(source, Path) else "an array"
        raise IgclError(f"{name}: holds {array.dtype}, not real numbers")
    with np.errstate(over="ignore"):  # becomes infinite, which is flagged
        return np.asarray(array, np.float32)


def _loaded(path: Path) -> np.ndarray:
    """Return the array in a .npy file; its header may claim anything."""
    content = io.BytesIO(data := read_bytes(path))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about headers of old versions
            version = read_magic(content)
            if version not in HEADERS:
                raise ValueError(f"its header has the version {version[0]}.{version[1]}, not 1.0 or 2.0")
            header = HEADERS[version]
            shape, _, kind = header(content)
            if prod(shape) * kind.itemsize > len(data) - content.tell():  # before the memory is taken
                raise ValueError(f"its header claims {list(shape)} numbers, more than the file has")
            content.seek(0)
            return np.asarray(np.load(content, allow_pickle=False))
    except Exception as error:  # NumPy raises any exception on a damaged header
        raise IgclError(f"{path}: not a .npy file of numbers ({printable_line(str(error))})") from error
