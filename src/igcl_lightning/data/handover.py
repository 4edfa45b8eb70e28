"""Transfer of tensors from a worker to the main process in few pieces of shared memory.

Each additional piece costs as much as tokenizing several reports. Outside workers, or if torch shares memory in another
way, tensors are ordinary.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.multiprocessing import get_sharing_strategy
from torch.utils.data import get_worker_info

from igcl_lightning.errors import IgclError


class Handover:
    """A tensor that is written in parts; in shared memory if this is a worker.

    A worker writes to the file of the shared memory, which is twice as fast as touching new pages. Raises `IgclError`
    if shared memory is full.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.descriptor: int | None = None
        size = int(np.prod(shape)) * dtype.itemsize
        if not size or not _shares_files():
            array = np.empty(shape, dtype)
            self.tensor, self.bytes = torch.from_numpy(array), array.reshape(-1).view(np.uint8)
            return
        try:
            storage = torch.UntypedStorage._new_shared(size, device="cpu")
            self.descriptor, _ = storage._share_fd_cpu_()
        except (RuntimeError, OSError) as error:
            raise _full() from error
        # torch has no types for a tensor on a storage.
        self.tensor = torch.from_numpy(np.empty(0, dtype)).set_(storage, 0, shape)  # type: ignore[call-overload]

    def write(self, part: np.ndarray, begin: int = 0) -> None:
        """Write a part of the tensor, starting at byte `begin`; raises `IgclError` if shared memory is full."""
        part = np.ascontiguousarray(part)
        if self.descriptor is None:
            self.bytes[begin : begin + part.nbytes] = part.reshape(-1).view(np.uint8)
            return
        try:
            written = os.pwrite(self.descriptor, part.data, begin)
        except OSError as error:
            raise _full() from error
        if written != part.nbytes:
            raise _full()


def _full() -> IgclError:
    return IgclError("shared memory is full: increase /dev/shm, or reduce data.batch_size or data.num_workers")


def _shares_files() -> bool:
    """Return whether this is a worker whose shared memory is a writable file."""
    writable = hasattr(torch.UntypedStorage, "_new_shared") and hasattr(torch.UntypedStorage, "_share_fd_cpu_")
    return get_worker_info() is not None and get_sharing_strategy() == "file_descriptor" and writable


def handed_over(values: np.ndarray) -> Tensor:
    """Return an array as a tensor, in shared memory if this is a worker."""
    handover = Handover(values.shape, values.dtype)
    handover.write(values)
    return handover.tensor


def in_one_storage(*groups: Mapping[str, NDArray[np.int64]]) -> list[dict[str, Tensor]]:
    """Return groups of named arrays as tensors in one storage."""
    arrays = [array for group in groups for array in group.values()]
    whole = handed_over(np.concatenate([array.ravel() for array in arrays]))
    parts = iter(whole.split([array.size for array in arrays]))
    return [{name: next(parts).view(array.shape) for name, array in group.items()} for group in groups]
