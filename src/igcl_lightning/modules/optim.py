"""The optimiser of all modules: AdamW with a learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

SCHEDULES = ("cosine", "constant")


@dataclass(frozen=True)
class OptimOptions:
    """Optimiser and learning-rate schedule.

    Args:
        learning_rate: peak learning rate of AdamW.
        weight_decay: weight decay of weight matrices; biases, norms and the temperature have none.
        warmup_fraction: share of all steps during which the learning rate rises linearly.
        schedule: learning rate after the warm-up: "cosine", falling to zero at the last step, or "constant".
    """

    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup_fraction: float = 0.05
    schedule: str = "cosine"


class ParameterGroup(NamedTuple):
    """Parameters with the same optimiser settings.

    Attributes:
        parameters: trainable parameters.
        weight_decay: weight decay of AdamW.
        frozen_steps: optimiser steps at the start of training during which their learning rate is zero.
    """

    parameters: list[nn.Parameter]
    weight_decay: float
    frozen_steps: int = 0


def split_by_decay(
    parameters: Iterable[nn.Parameter], weight_decay: float, frozen_steps: int = 0
) -> list[ParameterGroup]:
    """Return the trainable parameters in two groups: weight matrices, and the rest without weight decay."""
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    return [
        ParameterGroup([p for p in trainable if p.ndim > 1], weight_decay, frozen_steps),
        ParameterGroup([p for p in trainable if p.ndim <= 1], 0.0, frozen_steps),
    ]


def scheduled_adamw(groups: list[ParameterGroup], options: OptimOptions, total_steps: int) -> dict[str, Any]:
    """Return optimiser and scheduler as `configure_optimizers` does, for a run of `total_steps` optimiser steps."""
    groups = [group for group in groups if group.parameters]
    optimizer = torch.optim.AdamW(
        [{"params": group.parameters, "weight_decay": group.weight_decay} for group in groups], lr=options.learning_rate
    )
    schedule = options.schedule, total_steps, options.warmup_fraction
    factors = [schedule_factor(*schedule, group.frozen_steps) for group in groups]
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": LambdaLR(optimizer, factors), "interval": "step"}}


def schedule_factor(
    schedule: str, total_steps: int, warmup_fraction: float, frozen_steps: int = 0
) -> Callable[[int], float]:
    """Return the factor of the learning rate as a function of the step; zero for the first `frozen_steps`."""
    warmup_steps = round(total_steps * warmup_fraction)

    def factor(step: int) -> float:
        if step < frozen_steps:
            return 0.0
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        if schedule == "constant":
            return 1.0
        progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
        return (1 + math.cos(math.pi * min(1.0, progress))) / 2

    return factor
