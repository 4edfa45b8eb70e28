"""Whether probabilities mean what they say: Brier score, calibration error, reliability, temperature of logits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit
from torchmetrics.functional.classification import binary_calibration_error

BINS = 10
"""Bins of equal width of the calibration error and of reliability, as in Guo et al. (ICML 2017)."""

LOG_TEMPERATURES = (-5.0, 5.0)


class Reliability(NamedTuple):
    """Bins of probabilities that are not empty: mean probability, share of positive rows, number of rows, [B] each."""

    said: NDArray[np.float64]
    found: NDArray[np.float64]
    rows: NDArray[np.int64]


def choose_temperature(score: ArrayLike, target: ArrayLike) -> float:
    """Return the temperature T at which expit(score / T) has the highest likelihood (Guo et al., ICML 2017).

    It changes no ranking, so AUROC stays. Between exp(-5) and exp(5).

    Args:
        score: logits, float [N]; choose on validation rows.
        target: [N], 1 present, 0 absent.

    Raises:
        ValueError: the rows are of one class, which every temperature towards one end suits better.
    """
    score, present = np.asarray(score, dtype=float), np.asarray(target, dtype=float)
    if present.min(initial=1) == present.max(initial=0):
        raise ValueError("no temperature can be chosen on rows of one class")

    def loss(log_temperature: float) -> float:
        scaled = score / np.exp(log_temperature)
        return float((np.logaddexp(0, scaled) - present * scaled).mean())

    return float(np.exp(minimize_scalar(loss, bounds=LOG_TEMPERATURES, method="bounded").x))


def probabilities(score: ArrayLike, temperature: ArrayLike = 1.0) -> NDArray[np.float64]:
    """Return the probabilities of logits [N] at a temperature, or at one for each, [N]."""
    probability: NDArray[np.float64] = expit(np.asarray(score, dtype=float) / np.asarray(temperature))
    return probability


def squared_errors(probability: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
    """Return the squared errors [N] of probabilities, whose mean is the Brier score (Monthly Weather Review 1950)."""
    error: NDArray[np.float64] = (np.asarray(probability, dtype=float) - np.asarray(target, dtype=float)) ** 2
    return error


def calibration_error(probability: ArrayLike, target: ArrayLike) -> float:
    """Return the expected calibration error over `BINS`: mean distance of share and probability, weighted by rows.

    It has no interval here: it is above zero for perfect probabilities too, the more so the fewer the rows.
    """
    said, present = torch.as_tensor(np.asarray(probability)), torch.as_tensor(np.asarray(target)).long()
    return float(binary_calibration_error(said, present, n_bins=BINS, norm="l1"))


def reliability(probability: ArrayLike, target: ArrayLike) -> Reliability:
    """Return mean probability, share of positives and number of rows by bin of probability."""
    probability, target = np.asarray(probability, dtype=float), np.asarray(target, dtype=float)
    which = np.clip((probability * BINS).astype(int), 0, BINS - 1)
    rows = np.bincount(which, minlength=BINS)
    some = rows > 0
    said, found = (np.bincount(which, each, BINS)[some] / rows[some] for each in (probability, target))
    return Reliability(said, found, rows[some])
