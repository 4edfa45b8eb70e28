"""How well prompts of one label separate its rows, and how far they agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata
from torch import Tensor

from igcl_lightning.metrics.clinical import auroc
from igcl_lightning.metrics.rows import RowMetric


class PromptQuality(RowMetric):
    """AUROC of each of P prompts over all rows, and its agreement with the label's other prompts.

    Args:
        label: index of each prompt's label, [P].
    """

    collected = ("score", "target")
    score: list[Tensor]
    target: list[Tensor]

    def __init__(self, label: Sequence[int]) -> None:
        super().__init__()
        self.label = np.asarray(label)

    def update(self, score: Tensor, target: Tensor, row: Tensor) -> None:
        """Add a batch: score float [B, P], target of the labels [B, L], NaN for unknown, row id int64 [B]."""
        self.score.append(score.detach().float())
        self.target.append(target.detach().float())
        self.row.append(row.detach())

    def compute(self) -> Tensor:
        """Return AUROC and agreement (see `rank_agreement`), float32 [P, 2]; NaN where one is not defined."""
        score, target = (self.each_row_once(name).cpu().numpy() for name in self.collected)
        values = np.full((len(self.label), 2), np.nan)
        for label in np.unique(self.label):
            own = np.flatnonzero(self.label == label)
            values[own, 0] = [auroc(score[:, prompt], target[:, label]) for prompt in own]
            values[own, 1] = rank_agreement(score[:, own])
        return torch.tensor(values, dtype=torch.float32, device=self.device)


def rank_agreement(score: ArrayLike) -> NDArray[np.float64]:
    """Return Spearman's rank correlation over N rows of each of P scores [N, P] with the others, on average, [P].

    NaN for a single score, and for one that is the same on all rows.
    """
    ranks = rankdata(score, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        each = np.atleast_2d(np.corrcoef(ranks, rowvar=False))
        agreement: NDArray[np.float64] = (each.sum(axis=1) - 1) / (len(each) - 1)
    return agreement
