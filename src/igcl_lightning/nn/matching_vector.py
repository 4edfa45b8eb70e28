"""Matchings as vectors, of which semantic relations and scores are read (SGRAF, Diao et al., AAAI 2021)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

FORMS = ("cosine", "sqdiff", "hadamard")
_TINY = 1e-12  # least length of a vector


def compare(form: str, first: Tensor, second: Tensor) -> Tensor:
    """Return the squared difference ("sqdiff") or the product ("hadamard") of vectors [..., D], element by element."""
    return (first - second).square() if form == "sqdiff" else first * second


def length_of(vector: Tensor) -> Tensor:
    """Return the length of vectors [..., D], above zero, [..., 1]."""
    length: Tensor = torch.linalg.vector_norm(vector, dim=-1, keepdim=True)
    return length.clamp(min=_TINY)


def unit_length(vector: Tensor, length: float = 1.0) -> Tensor:
    """Scale vectors [..., D] to a length, as `F.normalize`; the gradient of a product is cheaper than a division's."""
    return vector * (length / length_of(vector))


class MatchingVector(nn.Module):
    """Matching vector of two compared unit vectors: W x + b, scaled to length sqrt(out_channels).

    Its elements are then of size one, as the layers that follow expect; SGRAF scales to length one.

    Args:
        in_channels: length of the unit vectors.
        out_channels: length of the matching vector.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, out_channels)
        self.length = math.sqrt(out_channels)

    def forward(self, compared: Tensor) -> Tensor:
        """Map the comparison of two vectors, [..., in_channels], to [..., out_channels]."""
        return unit_length(self.linear(compared), self.length)


class GlobalNode(nn.Module):
    """Matching vector of a whole image and a whole report, with weights of its own.

    Args:
        pooled_channels: length of the pooled vector of the image, and of the report.
        form: "sqdiff" or "hadamard".
        channels: length of the unit vectors that are compared.
        form_channels: length of the matching vector.
    """

    def __init__(self, pooled_channels: tuple[int, int], form: str, channels: int, form_channels: int) -> None:
        super().__init__()
        self.form = form
        self.image = nn.Linear(pooled_channels[0], channels)
        self.report = nn.Linear(pooled_channels[1], channels)
        self.vector = MatchingVector(channels, form_channels)

    def forward(self, image: Tensor, report: Tensor) -> Tensor:
        """Map unit vectors of images and reports, [..., channels], broadcast, to [..., form_channels]."""
        vector: Tensor = self.vector(compare(self.form, image, report))
        return vector
