"""SigLIP: each pair on its own, by a sigmoid (Zhai et al. 2023, "Sigmoid loss for language image pre-training")."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def sigmoid_cross_entropy(logits: Tensor, positive: Tensor, keep: Tensor) -> Tensor:
    r"""Return the binary cross-entropy of each row, summed over the kept columns, [B].

    .. math:: -\sum_j y_{ij} \log \sigma(\ell_{ij}) + (1 - y_{ij}) \log \sigma(-\ell_{ij})

    Its mean over rows is the loss of the paper (section 3.2) where y is 1 for a row's own pair and 0 elsewhere; soft
    targets and pairs left out are additions of ours.

    Args:
        logits: similarities divided by the temperature, plus the bias, [B, N].
        positive: y, from 0 to 1, [B, N].
        keep: True where the pair takes part, bool [B, N].
    """
    loss = F.binary_cross_entropy_with_logits(logits, positive.to(logits.dtype), reduction="none")
    return loss.masked_fill(~keep, 0).sum(dim=1)
