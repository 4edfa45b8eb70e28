"""Losses of labels with missing values, over the batch of all processes."""

from __future__ import annotations

import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from igcl_lightning.losses.gather import world_size


def masked_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Return this process's share of the mean binary cross-entropy over known labels, a scalar.

    The mean of the shares, and of their gradients, over processes is that of the global batch, as distributed data
    parallel training needs. Every process must call this.

    Args:
        logits: [B, L].
        target: [B, L]; 1, 0, or nan if unknown. A batch without any known label gives zero.
    """
    known = ~target.isnan()
    loss = F.binary_cross_entropy_with_logits(
        logits, target.nan_to_num(), weight=known.to(logits.dtype), reduction="sum"
    )
    count = known.sum()
    if world_size() > 1:
        dist.all_reduce(count)
    return loss * world_size() / count.clamp(min=1)
