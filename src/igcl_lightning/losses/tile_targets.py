"""The targets of a contrastive loss, a tile at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from igcl_lightning.losses.semantic import FactLikeness
from igcl_lightning.losses.targets import PairIds, hard_targets, likeness, own_pairs


class TileTargets:
    """The targets of B rows against N columns, a tile at a time.

    The targets of a row are the sum over K kinds of weights, hard ones and likeness, each divided by its sum over the N
    columns and multiplied by its share.

    Args:
        kind: one of `TARGETS`.
        rows: ids of B consecutive pairs of `columns`, with what the source reads.
        columns: ids of the N pairs of all processes, by rank, each row once.
        first_row: index of the first of the B pairs among the N.
        dtype: that of the weights.
        source: one of `SEMANTIC_SOURCES`; None spreads nothing over pairs that are alike.
        share: part of the target of a row that is spread; a row that says nothing keeps its hard target.
        temperature: temperature of the softmax over similarities by which it is spread.

    Attributes:
        shares: parts of the target of each row that are shared out by each kind of weights, [K, B].
    """

    def __init__(
        self,
        kind: str,
        rows: PairIds,
        columns: PairIds,
        first_row: int,
        dtype: torch.dtype,
        source: str | None = None,
        share: float = 0.0,
        temperature: float = 1.0,
    ) -> None:
        self._kind, self._rows, self._columns, self._first_row, self._dtype = kind, rows, columns, first_row, dtype
        self._facts = FactLikeness(rows.graph_facts, columns.graph_facts, dtype) if kind == "soft" else None
        self._alike = None if source is None else likeness(source, rows, columns, dtype)
        self._temperature = temperature
        spread = rows.row.new_zeros(len(rows.row), dtype=dtype)
        if self._alike is not None:
            spread = share * self._alike.says_something.to(dtype)
        self.shares = torch.stack([1 - spread, spread][: 1 if self._alike is None else 2])

    def tile(self, rows: slice, columns: slice) -> tuple[dict[int, Tensor], Tensor | None]:
        """Return the weights of R rows and C columns, and which pairs take part.

        Returns:
            weights: [R, C] by kind, 0 for pairs left out, otherwise symmetric; all 0 if a kind is missing. They are the
                caller's to overwrite.
            keep: bool [R, C], or None if all take part.
        """
        first_row = self._first_row + rows.start - columns.start
        size = rows.stop - rows.start, columns.stop - columns.start
        weights: dict[int, Tensor] = {}
        keep = None
        if self._facts is not None:
            own = own_pairs(*size, first_row, self.shares.device)
            weights[0] = self._facts.tile(rows, columns).square_().masked_fill_(own, 1)
        elif self._kind != "identity" or -size[0] < first_row < size[1]:
            sides = self._rows.part(rows), self._columns.part(columns)
            positive, keep = hard_targets(self._kind, *sides, first_row)
            weights[0] = positive.to(self._dtype)
        if self._alike is not None:
            # At most 1, which a row that says something has with itself: the sum of a row is never 0.
            alike = (self._alike.tile(rows, columns) - 1).div_(self._temperature).exp_()
            weights[1] = alike if keep is None else alike.masked_fill_(~keep, 0)
        return weights, keep
