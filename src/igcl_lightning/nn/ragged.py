"""Padding of tensors with different numbers of units to one shape."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def pad_to(value: Tensor, shape: Sequence[int]) -> Tensor:
    """Return `value` [B, ...] with zeros (False) at the end of each dimension but the first, [B, *shape]."""
    missing = [
        size for length, wanted in zip(value.shape[:0:-1], shape[::-1], strict=True) for size in (0, wanted - length)
    ]
    return F.pad(value, missing) if any(missing) else value


def concatenate(parts: Sequence[Tensor]) -> Tensor:
    """Concatenate tensors [B, ...] along the first dimension, the other dimensions padded to the largest."""
    shape = [max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True)]
    return torch.cat([pad_to(part, shape) for part in parts])
