"""Scores of queries and candidates, for losses and retrieval, and padding of their inputs.

A scorer maps Q first sides and C second sides to their similarities, [Q, C]. A side is the input of the scorer: a
tensor [B, ...], or a named tuple of tensors [B, ...] and None, such as embeddings, units and their mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Scorer = Callable[[Any, Any], Tensor]


def cosine_similarity(first: Tensor, second: Tensor) -> Tensor:
    """Return the cosines [Q, C] of unit vectors [Q, D] and [C, D], in single precision at least."""
    with torch.autocast(first.device.type, enabled=False):
        return at_least_single(first) @ at_least_single(second).T


def pad_to(value: Tensor, shape: Sequence[int]) -> Tensor:
    """Return `value` [B, ...] with zeros (False) at the end of each dimension but the first, [B, *shape]."""
    sizes = zip(value.shape[:0:-1], shape[::-1], strict=True)
    missing = [size for length, wanted in sizes for size in (0, wanted - length)]
    return F.pad(value, missing) if any(missing) else value


def concatenate(parts: Sequence[Tensor]) -> Tensor:
    """Concatenate tensors [B, ...] along the first dimension, the other dimensions padded to the largest."""
    shape = [max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True)]
    return torch.cat([pad_to(part, shape) for part in parts])


def at_least_single(value: Tensor) -> Tensor:
    """Return `value` in single precision, unless it is double."""
    return value if value.dtype == torch.float64 else value.float()
