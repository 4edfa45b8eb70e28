"""Losses of cosine similarities, a tile of the matrix at a time: neither the matrix nor its targets ever stand whole.

A process scores its B rows with all N columns. InfoNCE passes over the tiles twice, for the sums of both softmaxes and
for the gradients; SigLIP once. The sums of a column are those of all processes, so only second sides are sent. Both
gradients are known when the loss is: the backward pass scales them. Memory grows with N, not with B x N.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from igcl_lightning.losses.gather import Shares, gather
from igcl_lightning.losses.tile_targets import TileTargets

CPU_TILE = 512  # rows and columns; a tile and its copies stay in the cache
DEVICE_TILE = 4096  # so that starting kernels costs little


class Cosines(NamedTuple):
    """Similarities that are dot products, as the sides that give them.

    Attributes:
        first: unit vectors of the first sides of this process's B pairs, [B, D].
        second: those of the second sides, [B, D].
    """

    first: Tensor
    second: Tensor

    def kept(self, own: Tensor, every: Tensor) -> Cosines:
        """Return the similarities among some pairs: `own` of this process, bool [B], of `every` of all, bool [N]."""
        return Cosines(self.first[own], self.second[own])


def tiled_cross_entropy(
    first: Tensor, second: Tensor, scale: Tensor, targets: TileTargets, first_weight: float, shares: Shares
) -> Tensor:
    """Return this process's part of the sum over all N pairs of the cross-entropies of both directions, a scalar.

    Every process must call this, and pass equal gradients to what it returns.

    Args:
        first: first sides of this process's B pairs, [B, D].
        second: second sides of all N pairs, by rank, [N, D].
        scale: 1 / temperature, [1].
        targets: those of the B rows.
        first_weight: weight of the direction from first to second sides; that of the other is 1 less it.
        shares: numbers of pairs of the processes.
    """
    wanted = _wanted(first, second, scale)
    parts = list(tiles(len(first), len(second), first.device))
    with torch.no_grad(), torch.autocast(first.device.type, enabled=False):
        scaled, kinds = first * scale, len(targets.shares)
        row_sum, column_sum = (first.new_full((len(side),), -math.inf) for side in (first, second))
        total, row_dot, column_dot = (first.new_zeros(kinds, len(side)) for side in (first, first, second))
        for r, c in parts:
            logits = scaled[r] @ second[c].T
            weights, keep = targets.tile(r, c)
            for kind, weight in weights.items():
                total[kind, r] += weight.sum(dim=1)
                weight.mul_(logits)
                row_dot[kind, r] += weight.sum(dim=1)
                column_dot[kind, c] += weight.sum(dim=0)
            _leave_out(logits, keep)
            for sums, at, dim in ((row_sum, r, 1), (column_sum, c, 0)):
                sums[at] = torch.logaddexp(sums[at], logits.logsumexp(dim=dim))
        column_sum = gather(column_sum[None], Shares((1,) * len(shares.counts))).logsumexp(dim=0)
        row_share = targets.shares / total
        # Weights are symmetric before they are shared out: the total of a column is that of the row of its pair.
        column_share = gather(row_share.T, shares).T
        row_loss = row_sum - (row_share * row_dot).sum(dim=0)
        column_loss = -(column_share * column_dot).sum(dim=0)
        column_loss[shares.own] += column_sum[shares.own]
        loss = first_weight * row_loss.sum() + (1 - first_weight) * column_loss.sum()
        if not wanted:
            return loss
        # exp(logit - (log-sum - log weight)) is weight times softmax.
        row_sum -= _log(first_weight)
        column_sum -= _log(1 - first_weight)
        row_share, column_share = first_weight * row_share, (1 - first_weight) * column_share
        gradient = _Gradient(first, second)
        for r, c in parts:
            logits = scaled[r] @ second[c].T
            weights, keep = targets.tile(r, c)
            _leave_out(logits, keep)
            slope = (logits - row_sum[r, None]).exp_()
            slope += logits.sub_(column_sum[c]).exp_()
            for kind, weight in weights.items():
                slope -= weight.mul_(row_share[kind, r, None] + column_share[kind, c])
            gradient.add(slope, r, c)
        gradients = gradient.of_sides_and_scale(scale)
    return _with_gradients(loss, gradients, first, second, scale)


def tiled_sigmoid_cross_entropy(
    first: Tensor, second: Tensor, scale: Tensor, bias: Tensor, targets: TileTargets
) -> Tensor:
    """Return the sum of the binary cross-entropies of B rows and N columns, a scalar (`siglip` has the equation).

    Args:
        first: first sides of this process's B pairs, [B, D].
        second: second sides of all N pairs, by rank, [N, D].
        scale: 1 / temperature, [1].
        bias: what is added to logits, [1].
        targets: those of the B rows.
    """
    wanted = _wanted(first, second, scale, bias)
    with torch.no_grad(), torch.autocast(first.device.type, enabled=False):
        scaled, loss, of_bias = first * scale, first.new_zeros(len(first)), first.new_zeros(len(first))
        gradient = _Gradient(first, second)
        for r, c in tiles(len(first), len(second), first.device):
            logits = (scaled[r] @ second[c].T).add_(bias)
            weights, keep = targets.tile(r, c)
            for weight in weights.values():
                loss[r] -= (weight * logits).sum(dim=1)
            _leave_out(logits, keep)
            loss[r] -= F.logsigmoid(-logits).sum(dim=1)
            if wanted:
                slope = logits.sigmoid_()
                for weight in weights.values():
                    slope -= weight
                of_bias[r] += slope.sum(dim=1)
                gradient.add(slope, r, c)
        if not wanted:
            return loss.sum()
        gradients = (*gradient.of_sides_and_scale(scale), of_bias.sum()[None])
    return _with_gradients(loss.sum(), gradients, first, second, scale, bias)


def tiles(num_rows: int, num_columns: int, device: torch.device) -> Iterator[tuple[slice, slice]]:
    """Yield the rows and columns of each tile of a matrix; there is none if the matrix is empty."""
    size = CPU_TILE if device.type == "cpu" else DEVICE_TILE
    for row in range(0, num_rows, size):
        for column in range(0, num_columns, size):
            yield slice(row, min(row + size, num_rows)), slice(column, min(column + size, num_columns))


class _Gradient:
    """Gradients of both sides, from those of the logits of one tile after another."""

    def __init__(self, first: Tensor, second: Tensor) -> None:
        self.sides = first, second
        self.first, self.second = torch.zeros_like(first), torch.zeros_like(second)

    def add(self, slope: Tensor, rows: slice, columns: slice) -> None:
        """Add what follows from the gradient of the logits of a tile."""
        first, second = self.sides
        self.first[rows].addmm_(slope, second[columns])
        self.second[columns].addmm_(slope.T, first[rows])

    def of_sides_and_scale(self, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of both sides and, [1], of the scale, by which cosines become logits."""
        of_scale = (self.first * self.sides[0]).sum(dim=1).sum()[None]
        return self.first.mul_(scale), self.second.mul_(scale), of_scale


class _WithGradients(torch.autograd.Function):
    """A scalar whose gradients are known."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: Sequence[Tensor], *inputs: Tensor) -> Tensor:
        ctx.save_for_backward(*gradients)
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(gradient * known for known in ctx.saved_tensors)


def _with_gradients(value: Tensor, gradients: Sequence[Tensor], *inputs: Tensor) -> Tensor:
    result: Tensor = _WithGradients.apply(value, gradients, *inputs)
    return result


def _wanted(*inputs: Tensor) -> bool:
    return torch.is_grad_enabled() and any(value.requires_grad for value in inputs)


def _leave_out(logits: Tensor, keep: Tensor | None) -> None:
    if keep is not None:
        logits.masked_fill_(~keep, -math.inf)


def _log(weight: float) -> float:
    return math.log(weight) if weight else -math.inf
