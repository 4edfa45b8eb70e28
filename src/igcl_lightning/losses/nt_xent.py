"""NT-Xent: loss of two views of each image, over the batch of all processes (SimCLR, Chen et al. 2020, eq. 1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from igcl_lightning.losses.gather import gather, repeats, shares_of, world_size
from igcl_lightning.nn.checks import check_positive
from igcl_lightning.nn.scoring import at_least_single


@dataclass(frozen=True)
class NTXentOptions:
    """NT-Xent loss.

    Args:
        temperature: tau; logits are cosines divided by it.
    """

    temperature: float = 0.1


class NTXentLoss(nn.Module):
    r"""Normalised-temperature cross-entropy over the 2N views of N images.

    .. math:: \ell_{i,j} = -\log \frac{\exp(s_{i,j} / \tau)}{\sum_{k \ne i} \exp(s_{i,k} / \tau)}

    averaged over all i, with j the other view of the image of i. Unlike the loss of two modalities, a view also
    repels the other images' views of its own side.

    Args:
        options: temperature.

    Raises:
        IgclError: the temperature is not above 0.
    """

    def __init__(self, options: NTXentOptions = NTXentOptions()) -> None:
        super().__init__()
        check_positive("model.loss.temperature", options.temperature)
        self.temperature = options.temperature

    def forward(self, first: Tensor, second: Tensor, row: Tensor) -> Tensor:
        """Return this process's share of the loss, a scalar; the mean over processes is the loss of the global batch.

        Args:
            first: unit vectors of one view of each image, [B, D].
            second: unit vectors of the other view, [B, D].
            row: ids of the images, int64 [B]; a repeated one counts once.
        """
        with torch.autocast(first.device.type, enabled=False):
            first, second = at_least_single(first), at_least_single(second)
            shares = shares_of(row)
            all_first, all_second, all_rows = (gather(value, shares) for value in (first, second, row))
            repeated = repeats(all_rows)
            batch_size, num_images = len(first), len(all_first)
            logits = torch.cat([first, second]) @ torch.cat([all_first, all_second]).T / self.temperature
            own = shares.own.start + torch.arange(batch_size, device=first.device)
            itself, other = torch.cat([own, own + num_images]), torch.cat([own + num_images, own])
            logits = logits.masked_fill(repeated.repeat(2), -torch.inf).scatter(1, itself[:, None], -torch.inf)
            loss = F.cross_entropy(logits, other, reduction="none").view(2, batch_size).mean(dim=0)
            # The mean over processes is that over all images, each counted once.
            counted = ~repeated
            return world_size() * loss.masked_fill(repeated[shares.own], 0).sum() / counted.sum()
