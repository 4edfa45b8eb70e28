"""Attention of the units of a report to the regions of an image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

ATTENTIONS = ("plain", "gloria", "scan")
_SLOPE = 0.1  # of SCAN's leaky ReLU
_TINY = 1e-8  # keeps SCAN's division by a norm finite


def attend(similarity: Tensor, mask: Tensor, kind: str, temperature: float) -> Tensor:
    """Return the weights of M regions for each of L units, [J, L, I, M]; they sum to one over the regions.

    "plain" is the softmax over regions of similarity / temperature (MGCA). The other two compare units first, for each
    region, and then take the softmax over regions of value / temperature. "gloria" compares by a softmax over units
    (GLoRIA's authors multiply it by 4: temperature 0.25). "scan" by the L2 norm over units of the leaky ReLU (SCAN and
    SGRAF multiply by 9: temperature 1/9).

    Args:
        similarity: cosines of J reports' units and I images' regions, [J, L, I, M].
        mask: True where there is a unit, bool, broadcast to [J, L, I, M]; at least one in each report.
        kind: one of `ATTENTIONS`.
        temperature: of the softmax over regions.
    """
    value = similarity
    if kind == "gloria":
        value = similarity.masked_fill(~mask, -torch.inf).softmax(dim=1)
    elif kind == "scan":
        leaky = F.leaky_relu(similarity, _SLOPE)
        norm = torch.linalg.vector_norm(leaky.masked_fill(~mask, 0), dim=1, keepdim=True)
        value = leaky / (norm + _TINY)
    return (value / temperature).softmax(dim=-1)
