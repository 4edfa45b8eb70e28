"""Readout of a sample's units as one vector, and the learned unit of a sample without units."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

READOUTS = ("max", "mean", "min", "attention")


def readout_gate(readout: str, channels: int, known: Sequence[str] = READOUTS) -> nn.Linear | None:
    """Return the gate of a readout over units of `channels`: a layer for "attention", None for the others.

    Raises:
        ValueError: the readout is not one of the `known`.
    """
    if readout not in known:
        raise ValueError(f"readout {readout!r} is not one of {', '.join(known)}")
    return nn.Linear(channels, 1) if readout == "attention" else None


def fill_empty(units: Tensor, mask: Tensor, empty: Tensor) -> tuple[Tensor, Tensor]:
    """Give each sample without units one learned unit, in the first place.

    Args:
        units: [B, U, D]; U may be 0.
        mask: True where there is a unit, bool [B, U].
        empty: the learned unit, [D].

    Returns:
        units [B, max(U, 1), D] and their mask, with at least one True in each row.
    """
    if units.shape[1] == 0:
        # Padded, not replaced: distributed training waits for the gradients of earlier layers even if all are empty.
        units = nn.functional.pad(units, (0, 0, 0, 1))
        mask = nn.functional.pad(mask, (0, 1))
    first = torch.zeros_like(mask)
    first[:, 0] = ~mask.any(dim=1)
    return torch.where(first[..., None], empty.to(units.dtype), units), mask | first


def read_out(units: Tensor, mask: Tensor, readout: str, gate: nn.Module | None = None) -> tuple[Tensor, Tensor]:
    """Return one vector per sample, [B, D], and the share of each unit in it, [B, U].

    Args:
        units: [B, U, D].
        mask: True where there is a unit, bool [B, U]; at least one in each row.
        readout: "max", "min" and "mean" over units, or "attention", the mean weighted by the softmax of the gate.
        gate: maps units to [B, U, 1]; for "attention" only.
    """
    if readout in ("max", "min"):
        filled = units.masked_fill(~mask[..., None], -torch.inf if readout == "max" else torch.inf)
        pooled, winner = filled.max(dim=1) if readout == "max" else filled.min(dim=1)
        # In single precision: sums of ones in bfloat16 stop at 256, unless the device accumulates in a wider type.
        ones = torch.ones_like(pooled, dtype=torch.promote_types(pooled.dtype, torch.float32))
        wins = ones.new_zeros(units.shape[:2]).scatter_add(1, winner, ones)
        return pooled, (wins / pooled.shape[1]).to(pooled.dtype)
    if gate is None:
        importance = mask / mask.sum(dim=1, keepdim=True)
    else:
        importance = gate(units)[..., 0].masked_fill(~mask, -torch.inf).softmax(dim=1)
    importance = importance.to(units.dtype)
    return torch.einsum("bu,bud->bd", importance, units), importance


def read_out_rows(
    x: Tensor, sample: Tensor, size: int, readout: str, gate: nn.Module | None = None
) -> tuple[Tensor, Tensor]:
    """Return what `read_out` does, of rows without padding: one vector per sample [B, D] and the share of each row [N].

    Args:
        x: rows [N, D] of all samples.
        sample: sample of each row, int64 [N]; each sample has at least one.
        size: number of samples, B.
        readout: as in `read_out`.
        gate: maps rows to [N, 1]; for "attention" only.
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    if readout in ("max", "min"):
        winner = _first_extreme(x.detach(), sample, size, "amax" if readout == "max" else "amin")
        wins = x.new_zeros(len(x), dtype=wide).index_add(0, winner.flatten(), x.new_ones(winner.numel(), dtype=wide))
        return x.gather(0, winner), (wins / x.shape[1]).to(x.dtype)
    score = x.new_zeros(len(x), dtype=wide) if gate is None else gate(x)[:, 0].to(wide)
    highest = score.new_zeros(size).scatter_reduce(0, sample, score.detach(), "amax", include_self=False)
    weight = (score - highest[sample]).exp()
    importance = (weight / weight.new_zeros(size).index_add(0, sample, weight)[sample]).to(x.dtype)
    return x.new_zeros(size, x.shape[1]).index_add(0, sample, importance[:, None] * x), importance


def _first_extreme(x: Tensor, sample: Tensor, size: int, reduce: str) -> Tensor:
    """Return the first row of each sample that has its extreme of a channel, int64 [B, D]; NaN is an extreme."""
    index = sample[:, None].expand_as(x)
    extreme = x.new_zeros(size, x.shape[1]).scatter_reduce(0, index, x, reduce, include_self=False)
    row = torch.arange(len(x), device=x.device)[:, None]
    of_extreme = torch.where((x == extreme[sample]) | x.isnan(), row, len(x))
    return row.new_full(extreme.shape, len(x)).scatter_reduce(0, index, of_extreme, "amin")


def shares(weight: Tensor, mask: Tensor) -> Tensor:
    """Return weights [B, U], not negative, scaled to sum to one over the units of each sample; padding gets 0."""
    weight = weight.masked_fill(~mask, 0)
    return weight / weight.sum(dim=1, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny)
