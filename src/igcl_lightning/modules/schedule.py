"""Learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable

SCHEDULES = ("cosine", "constant")


def schedule_factor(
    schedule: str, total_steps: int, warmup_fraction: float, frozen_steps: int = 0
) -> Callable[[int], float]:
    """Return the factor on the learning rate at each step.

    Args:
        schedule: "cosine" falls along half a cosine to zero at the last step, "constant" stays.
        total_steps: planned optimiser steps.
        warmup_fraction: share of them during which the factor rises linearly from near zero.
        frozen_steps: steps at the start during which the factor is zero.
    """
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
