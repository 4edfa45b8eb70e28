"""Dice and IoU of masks, from counts of pixels: exact, and the same for any size of batches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from igcl_lightning.metrics.rows import RowMetric


def overlap(predicted: Tensor, mask: Tensor) -> Tensor:
    """Return the pixels in both, in the prediction and in the mask, int64 [..., 3], of bool [..., H, W]."""
    parts = predicted & mask, predicted, mask
    return torch.stack([part.sum(dim=(-2, -1)) for part in parts], dim=-1)


def dice(pixels: Any) -> Any:
    """Return 2 |A and B| / (|A| + |B|) of pixels as of `overlap` [..., 3] (tensor or array); 1 where both are empty."""
    both, predicted, actual = (pixels[..., part] for part in range(3))
    empty = predicted + actual == 0
    return (2 * both + empty) / (predicted + actual + empty)


def iou(pixels: Any) -> Any:
    """Return |A and B| / |A or B| of pixels as of `overlap` [..., 3] (tensor or array); 1 where both are empty."""
    both, predicted, actual = (pixels[..., part] for part in range(3))
    either = predicted + actual - both
    return (both + (either == 0)) / (either + (either == 0))


class MaskOverlap(RowMetric):
    """Dice and IoU per image, averaged over the images whose mask is known. A repeated row counts once."""

    collected = ("pixels", "known")
    pixels: list[Tensor]
    known: list[Tensor]

    def update(self, pixels: Tensor, known: Tensor, row: Tensor) -> None:
        """Add a batch: pixels int64 [B, M, 3] (see `overlap`), whether a mask is known, bool [B, M], row id [B]."""
        self.pixels.append(pixels)
        self.known.append(known)
        self.row.append(row)

    def compute(self) -> dict[str, Tensor]:
        """Return `dice`, `iou` and `dice_positives`, that of images with the mask; float32 [M], NaN without images."""
        pixels, known = self.each_row_once("pixels").cpu(), self.each_row_once("known").cpu()
        shown = known & (pixels[..., 2] > 0)
        values = {"dice": (dice(pixels), known), "iou": (iou(pixels), known), "dice_positives": (dice(pixels), shown)}
        return {
            name: value.double().masked_fill(~kept, torch.nan).nanmean(dim=0).float().to(self.device)
            for name, (value, kept) in values.items()
        }
