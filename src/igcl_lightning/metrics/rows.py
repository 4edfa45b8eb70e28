"""Metrics over rows that count each row once, although a distributed sampler repeats rows to fill every process."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


def first_of_each(ids: Tensor) -> Tensor:
    """Return the index of the first occurrence of each id of [N], ordered by id; int64, on the CPU."""
    return torch.from_numpy(np.unique(ids.cpu().numpy(), return_index=True)[1])


class RowMetric(Metric):
    """Collects tensors of rows in lists, one list for each name in `collected`, and the row ids in `row`."""

    is_differentiable = False
    full_state_update = False
    collected: ClassVar[tuple[str, ...]]
    row: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for state in (*self.collected, "row"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    def each_row_once(self, state: str) -> Tensor:
        """Return a collected tensor without repeated rows, ordered by row id."""
        collected = dim_zero_cat(getattr(self, state))
        return collected[first_of_each(dim_zero_cat(self.row)).to(collected.device)]
