"""What the machine allows: measured rates of matrix products and of copies, and the limits that follow."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

SIDE, MEGABYTES, REPEATS = 1024, 256, 7


@cache
def product_rate() -> float:
    """Floating-point operations a second in a product of two float32 matrices, on the threads of this process."""
    first, second = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    return 2 * SIDE**3 / _least(lambda: first @ second)


@cache
def copy_rate() -> float:
    """Bytes a second that a copy in memory reads and writes."""
    source = torch.zeros(MEGABYTES << 20, dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2 * len(source) / _least(lambda: target.copy_(source))


def products_of(function: Callable[[], object]) -> int:
    """Floating-point operations in the matrix products and convolutions of a call, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def products_limit(function: Callable[[], object], times: Sequence[tuple[float, float]]) -> str:
    """How many times faster than the other side a call could be if it did nothing but its matrix products."""
    seconds = products_of(function) / product_rate()
    return f"its products alone would be {min(other for _, other in times) / seconds:.1f} times faster"


def _least(function: Callable[[], object]) -> float:
    """Return the least seconds of some calls: other programs only add to them."""
    function()
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return best
