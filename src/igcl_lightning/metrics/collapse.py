"""Measures of the collapse of an embedding space, without labels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

EPSILON = 1e-7
"""Added to each share of `rankme`, as in the paper for float32."""


def rankme(embeddings: Tensor) -> Tensor:
    """Return the effective rank of embeddings [N, D], the exponential of the entropy of their singular values.

    RankMe (Garrido et al., ICML 2023, eq. 1), in float32. It lies between 1 (all on one line) and min(N, D): compare
    values for equal N only. NaN if an embedding is not finite.
    """
    if not embeddings.isfinite().all():
        return embeddings.new_full((), torch.nan, dtype=torch.float32)
    singular = torch.linalg.svdvals(embeddings.float())
    share = singular / singular.sum().clamp(min=EPSILON) + EPSILON
    entropy: Tensor = -(share * share.log()).sum()
    return entropy.exp()


def embedding_std(embeddings: Tensor) -> Tensor:
    """Return the mean standard deviation of the channels of unit vectors [N, D], times the root of their number.

    It is 1 if they are spread evenly over the sphere, less otherwise, and 0 if all are the same (Chen and He, CVPR
    2021, section 4.1).
    """
    mean_std: Tensor = embeddings.float().std(dim=0, correction=0).mean()
    return mean_std * math.sqrt(embeddings.shape[1])


def alignment(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean squared distance between pairs of unit vectors [N, D]; lower is better.

    Wang and Isola, ICML 2020.
    """
    return (first.float() - second.float()).square().sum(dim=1).mean()


def uniformity(embeddings: Tensor) -> Tensor:
    """Return the log of the mean Gaussian kernel, t = 2, over all pairs (Wang and Isola, ICML 2020); lower is better.

    It is 0 if all unit vectors [N, D], N at least 2, are the same, and falls towards -4 as they spread over the sphere.
    """
    return torch.pdist(embeddings.float()).square().mul(-2).exp().mean().log()
