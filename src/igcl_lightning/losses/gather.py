"""Tensors gathered from all processes, by rank and with gradients."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from igcl_lightning.nn.scoring import pad_to


class Shares(NamedTuple):
    """How the N rows of a batch are shared out among the processes.

    Attributes:
        counts: number of rows of each process, by rank.
    """

    counts: tuple[int, ...]

    @property
    def own(self) -> slice:
        """The rows of this process among those of all."""
        first = sum(self.counts[: rank()])
        return slice(first, first + self.counts[rank()])


def shares_of(value: Tensor) -> Shares:
    """Return how many rows each process has, from the `value` [B, ...] of each; every process must call this."""
    if world_size() == 1:
        return Shares((len(value),))
    counts = torch.zeros(world_size(), dtype=torch.int64, device=value.device)
    counts[rank()] = len(value)
    dist.all_reduce(counts)
    return Shares(tuple(counts.tolist()))


def gather(value: Tensor, shares: Shares | None = None) -> Tensor:
    """Concatenate `value` [B, ...] of all processes, [N, ...].

    Args:
        value: rows of this process; processes may have different numbers of them, but otherwise the same shape.
        shares: numbers of rows, if they are known; saves an exchange.
    """
    if world_size() == 1:
        return value
    gathered: Tensor = _Gather.apply(value, shares or shares_of(value))
    return gathered


def gather_units(value: Any) -> Any:
    """Concatenate a tensor [B, ...], or each tensor of a named tuple of such tensors and of None, of all processes.

    Tensors of a named tuple may differ in size between processes: all dimensions but the first are padded with zeros
    (False) to the largest. A plain tensor may differ in its number of rows only.
    """
    if world_size() == 1:
        return value
    if isinstance(value, Tensor):
        return gather(value)
    present = {name: part for name, part in value._asdict().items() if part is not None}
    shapes = _largest_shapes(list(present.values()))
    padded = {name: pad_to(part, shape) for (name, part), shape in zip(present.items(), shapes, strict=True)}
    shares = shares_of(next(iter(padded.values())))
    return value._replace(**{name: gather(part, shares) for name, part in padded.items()})


def world_size() -> int:
    """Return the number of processes, 1 without distributed training."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return this process's rank, 0 without distributed training."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def repeats(row: Tensor) -> Tensor:
    """Return whether each id of [N] occurs earlier in the tensor, bool [N]; samplers repeat rows to fill processes."""
    ordered, place = row.sort(stable=True)
    repeated = torch.zeros_like(row, dtype=torch.bool)
    repeated[place[1:]] = ordered[1:] == ordered[:-1]
    return repeated


def _largest_shapes(parts: list[Tensor]) -> list[list[int]]:
    """Return for each tensor the largest size over all processes of each dimension but the first."""
    sizes = torch.tensor([size for part in parts for size in part.shape[1:]], device=parts[0].device)
    dist.all_reduce(sizes, op=dist.ReduceOp.MAX)
    remaining = iter(sizes.tolist())
    return [[next(remaining) for _ in part.shape[1:]] for part in parts]


class _Gather(torch.autograd.Function):
    """All-gather whose backward pass sums the gradients of all processes for the rows of this process."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, shares: Shares) -> Tensor:
        ctx.own = shares.own
        missing = max(shares.counts) - len(value)
        padded = torch.cat([value, value.new_zeros(missing, *value.shape[1:])]) if missing else value.contiguous()
        parts = [torch.empty_like(padded, memory_format=torch.contiguous_format) for _ in shares.counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, shares.counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        # A copy, since autograd may pass the same tensor to other functions.
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        return gradient[ctx.own], None
