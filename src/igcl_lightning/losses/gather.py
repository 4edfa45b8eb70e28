"""Tensors gathered from all processes, by rank and with gradients."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import FunctionCtx

from igcl_lightning.nn.scoring import pad_to


def gather(value: Tensor) -> Tensor:
    """Concatenate `value` [B, ...] of all processes, [N, ...]; every process must hold the same shape."""
    if world_size() == 1:
        return value
    gathered: Tensor = _Gather.apply(value)
    return gathered


def gather_units(value: Any) -> Any:
    """Concatenate a tensor [B, ...], or each tensor of a named tuple of such tensors and of None, of all processes.

    Tensors of a named tuple may differ in size between processes: all dimensions but the first are padded with zeros
    (False) to the largest. A plain tensor must have the same shape everywhere.
    """
    if world_size() == 1:
        return value
    if isinstance(value, Tensor):
        return gather(value)
    present = {name: part for name, part in value._asdict().items() if part is not None}
    shapes = _largest_shapes(list(present.values()))
    padded = {name: pad_to(part, shape) for (name, part), shape in zip(present.items(), shapes, strict=True)}
    return value._replace(**{name: gather(part) for name, part in padded.items()})


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
    def forward(ctx: FunctionCtx, value: Tensor) -> Tensor:
        parts = [torch.empty_like(value, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, value.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        # A copy, since autograd may pass the same tensor to other functions.
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        return gradient.chunk(dist.get_world_size())[dist.get_rank()]
