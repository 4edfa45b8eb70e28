"""Scores of queries and candidates, for losses and for retrieval.

A scorer maps Q first sides and C second sides to their similarities, [Q, C]. A side is whatever the scorer reads: a
tensor [B, ...], or a named tuple of tensors [B, ...] and None, such as embeddings, units and their mask.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Scorer = Callable[[Any, Any], Tensor]


def cosine_similarity(first: Tensor, second: Tensor) -> Tensor:
    """Return the cosines [Q, C] of unit vectors [Q, D] and [C, D], in single precision at least."""
    with torch.autocast(first.device.type, enabled=False):
        return at_least_single(first) @ at_least_single(second).T


def at_least_single(value: Tensor) -> Tensor:
    """Return `value` in single precision, or in double when it is double."""
    return value if value.dtype == torch.float64 else value.float()
