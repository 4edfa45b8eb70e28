"""Losses of masks, over the masks that are known."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FOCUS = 2.0
FOCAL_WEIGHT = 10.0
SMOOTH = 1.0
"""Pixels added to both parts of a soft Dice, so that empty masks which are predicted as such have a Dice of 1."""


def bce_dice(logits: Tensor, mask: Tensor, known: Tensor) -> Tensor:
    """Return the binary cross-entropy of pixels plus 1 - soft Dice.

    Args:
        logits: [B, M, H, W].
        mask: bool [B, M, H, W].
        known: whether a mask is known, bool [B, M]; others take no part. 0 if none is.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, mask.to(logits), reduction="none")
    return _mean(entropy, known) + 1 - soft_dice(logits, mask, known)


def focal_dice(logits: Tensor, mask: Tensor, known: Tensor) -> Tensor:
    """Return 10 times the focal loss with exponent 2 (Lin et al., ICCV 2017), less the log of the soft Dice.

    This is the loss of GLoRIA's segmentation (Huang et al., ICCV 2021). Arguments: see `bce_dice`.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, mask.to(logits), reduction="none")
    wrong = 1 - (-entropy).exp()  # the probability of the other class
    return FOCAL_WEIGHT * _mean(wrong**FOCUS * entropy, known) - soft_dice(logits, mask, known).log()


def soft_dice(logits: Tensor, mask: Tensor, known: Tensor) -> Tensor:
    """Return the Dice of probabilities, a scalar: of each mask over the pixels of the batch, then the mean over masks.

    Masks that no image of the batch has known are left out; 1 if none is known. Arguments: see `bce_dice`.
    """
    counts = known[:, :, None, None].to(logits)
    probability, target = logits.sigmoid() * counts, mask.to(logits) * counts
    both, either = (part.sum(dim=(0, 2, 3)) for part in (2 * probability * target, probability + target))
    dice = (both + SMOOTH) / (either + SMOOTH)
    some = known.any(dim=0)
    return dice[some].mean() if some.any() else dice.sum() * 0 + 1


def _mean(pixels: Tensor, known: Tensor) -> Tensor:
    """Return the mean of pixels [B, M, H, W] over the known masks [B, M]; 0 if none is."""
    by_mask = pixels.mean(dim=(2, 3))
    return torch.where(known, by_mask, 0).sum() / known.sum().clamp(min=1)


LOSSES = {"bce_dice": bce_dice, "focal_dice": focal_dice}
