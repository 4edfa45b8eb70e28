"""Losses of labels, some of which may be missing, over the batch of all ranks."""

from __future__ import annotations

import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from igcl_lightning.losses.gather import world_size


def masked_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Return this rank's share of the mean binary cross-entropy over the labels that are known, a scalar.

    The mean of the shares over ranks is the mean over all known labels of the global batch, however they are
    distributed, and so is the mean of their gradients, which is what distributed data parallel training takes. On one
    rank the share is the mean itself. Every rank must call this.

    Args:
        logits: [B, L].
        target: [B, L]; 1, 0, or nan for not known. A batch without any known label gives zero.
    """
    known = ~target.isnan()
    loss = F.binary_cross_entropy_with_logits(
        logits, target.nan_to_num(), weight=known.to(logits.dtype), reduction="sum"
    )
    count = known.sum()
    if world_size() > 1:
        dist.all_reduce(count)
    return loss * world_size() / count.clamp(min=1)
