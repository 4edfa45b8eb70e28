"""AUROC with missing labels, and resampling of patients for its interval."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from igcl_lightning.metrics.rows import RowMetric

CHUNK_CELLS = 4_000_000
"""Cells of a [resamples, rows] table processed at once: about 32 MB in float64."""


def auroc(score: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None) -> NDArray[np.float64]:
    """Return the area under the ROC curve as a weighted Mann-Whitney statistic, [] or [R]; ties count half.

    It is the share of (positive, negative) pairs in which the positive scores higher, each pair weighted by the product
    of its two weights; NaN where one of the two classes has no weight.

    Args:
        score: float [N]; higher means more likely present.
        target: [N], 1 present, 0 absent, NaN unknown (the row is ignored).
        weight: non-negative, [N], or [R, N] for R weightings at once, such as resamples of the rows.

    Raises:
        ValueError: shapes differ, a target is not 0, 1 or NaN, or a row with a known target has the score NaN.
    """
    score, target = np.asarray(score, dtype=np.float64), np.asarray(target, dtype=np.float64)
    weight = np.ones(len(score)) if weight is None else np.asarray(weight)
    if score.ndim != 1 or target.shape != score.shape or weight.shape[-1:] != score.shape:
        raise ValueError(f"auroc: score {score.shape}, target {target.shape} and weight {weight.shape} do not fit")
    known = ~np.isnan(target)
    if not np.isin(target[known], (0.0, 1.0)).all():
        raise ValueError("auroc: targets must be 0, 1 or NaN")
    if np.isnan(score[known]).any():
        raise ValueError(f"auroc: {np.isnan(score[known]).sum()} of {known.sum()} scores are NaN")

    positive, negative = np.flatnonzero(target == 1), np.flatnonzero(target == 0)
    negative = negative[np.argsort(score[negative])]
    below, not_above = (np.searchsorted(score[negative], score[positive], side) for side in ("left", "right"))
    weightings = np.atleast_2d(weight)
    chunk = max(1, CHUNK_CELLS // max(1, len(score)))
    parts = [
        _share_won(part[:, positive], part[:, negative], below, not_above)
        for part in np.split(weightings, range(chunk, len(weightings), chunk))
    ]
    return np.concatenate(parts).reshape(weight.shape[:-1])


def _share_won(
    positive: NDArray[Any], negative: NDArray[Any], below: NDArray[np.intp], not_above: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return the weighted share of pairs in which the positive scores higher, [R], given weights [R, P] and [R, N].

    `below` and `not_above` are the numbers of negatives that score lower than each positive, or lower or the same, [P].
    """
    weight_of_lowest = np.zeros((len(negative), negative.shape[1] + 1))
    np.cumsum(negative, axis=1, out=weight_of_lowest[:, 1:])
    won = np.einsum("rp,rp->r", positive, (weight_of_lowest[:, below] + weight_of_lowest[:, not_above]) / 2)
    with np.errstate(invalid="ignore"):
        share: NDArray[np.float64] = won / (positive.sum(axis=1) * weight_of_lowest[:, -1])
    return share


def patient_bootstrap_weights(patients: ArrayLike, resamples: int, seed: int) -> NDArray[np.int32]:
    """Resample patients with replacement and return how often each row's patient was drawn, int32 [R, N].

    Rows of one patient resemble each other: resampling rows as if they were independent makes intervals too narrow.
    Each of the R `resamples` (a `ValueError` if fewer than 1) draws as many patients as there are. The draws depend on
    the set of patients only, not on the order of the rows.
    """
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, not {resamples}")
    names, patient_of_row = np.unique(np.asarray(patients), return_inverse=True)
    drawn = np.random.default_rng(seed).integers(len(names), size=(resamples, len(names)))
    times = np.stack([np.bincount(draw, minlength=len(names)) for draw in drawn]).astype(np.int32)
    return times[:, patient_of_row]


def macro_mean(values: Tensor) -> tuple[Tensor, int]:
    """Return the mean over the entries of `values` [L] that are not NaN (NaN if all are) and their number."""
    return values.nanmean(), int((~values.isnan()).sum())


class MultilabelAuroc(RowMetric):
    """AUROC of each label over all rows. Labels may be missing; a repeated row counts once."""

    higher_is_better = True
    collected = ("score", "target")
    score: list[Tensor]
    target: list[Tensor]

    def update(self, score: Tensor, target: Tensor, row: Tensor) -> None:
        """Add a batch: score float [B, L], target [B, L] of 0, 1 and NaN for unknown, row id int64 [B]."""
        self.score.append(score.detach().float())
        self.target.append(target.detach().float())
        self.row.append(row.detach())

    def compute(self) -> Tensor:
        """Return float32 [L]; NaN for a label with rows of one class only."""
        score, target = self.each_row_once("score"), self.each_row_once("target")
        columns = zip(score.cpu().numpy().T, target.cpu().numpy().T, strict=True)
        return torch.tensor([float(auroc(*column)) for column in columns], device=score.device)


class KnownMean(RowMetric):
    """Mean over all known entries, such as the losses of labels. A repeated row counts once."""

    collected = ("value",)
    value: list[Tensor]

    def update(self, value: Tensor, row: Tensor) -> None:
        """Add a batch: value float [B, L], NaN where unknown, and row id int64 [B]."""
        self.value.append(value.detach().float())
        self.row.append(row.detach())

    def compute(self) -> Tensor:
        """Return a float32 scalar; NaN if nothing is known."""
        # In double precision and in the order of row ids: the same on any number of processes.
        return self.each_row_once("value").cpu().double().nanmean().float().to(self.device)
