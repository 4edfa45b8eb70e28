"""Attention of the units of a report to the regions of an image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

ATTENTIONS = ("plain", "gloria", "scan")
_SLOPE = 0.1  # of SCAN's leaky ReLU
_TINY = 1e-8  # keeps SCAN's division by a norm finite


def attend(unit: Tensor, region: Tensor, mask: Tensor, kind: str, temperature: float) -> Tensor:
    """Return the weights of M regions for each of L units, [J, L, I, M]; they sum to one over the regions.

    "plain" is the softmax over regions of cosine / temperature (MGCA). The other two compare units first, for each
    region, and then take the softmax over regions of value / temperature. "gloria" compares by a softmax over units
    (GLoRIA's authors multiply it by 4: temperature 0.25), "scan" by the L2 norm over units of the leaky ReLU (SCAN and
    SGRAF multiply by 9: temperature 1/9).

    Args:
        unit: unit vectors of J reports, zero for padding, [1, J, L, D]; or, with reports of its own for each of I
            images, [I, J, L, D].
        region: unit vectors of the regions of I images, [I, M, D].
        mask: True where there is a unit, bool [1, J, L] or [I, J, L]; at least one in each report.
        kind: one of `ATTENTIONS`.
        temperature: of the softmax over regions.
    """
    if kind == "plain":  # divided before the product, which is larger
        return _products(unit / temperature, region).softmax(dim=-1)
    value = _products(unit, region)
    if kind == "gloria":
        mask = mask.permute(1, 2, 0)[..., None]
        return (value.masked_fill(~mask, -torch.inf).softmax(dim=1) / temperature).softmax(dim=-1)
    value = F.leaky_relu(value, _SLOPE)
    norm: Tensor = torch.linalg.vector_norm(value, dim=1, keepdim=True)  # padding is zero
    return (value * (1 / (temperature * (norm + _TINY)))).softmax(dim=-1)


def _products(unit: Tensor, region: Tensor) -> Tensor:
    """Return the inner products [J, L, I, M]: in this order a single matrix product makes them."""
    return torch.einsum("ijld,imd->jlim", unit, region)
