"""Random numbers as functions of their keys, such as seed, epoch and row: no batch, worker or order has a say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from igcl_lightning.graphs.batching import Ids

Numbers = NDArray[np.uint64]


def random_numbers(*keys: int | Ids) -> Numbers:
    """Return a random number below 2 ** 64 for each element of the keys [N] (SplitMix64)."""
    value = np.zeros(1, np.uint64)
    with np.errstate(over="ignore"):
        for key in keys:
            value = mixed(value + np.asarray(key).astype(np.uint64))
    return value


def uniform(*keys: int | Ids) -> NDArray[np.float64]:
    """Return a random number in [0, 1) for each element of the keys [N]."""
    return (random_numbers(*keys) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def mixed(value: Numbers) -> Numbers:
    """Return well-mixed numbers (Steele et al., OOPSLA 2014, figure 17: one step of SplitMix64)."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
