"""Monitors collapse of the embedding space, without labels."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from igcl_lightning.losses.gather import gather, repeats
from igcl_lightning.metrics.collapse import alignment, embedding_std, rankme, uniformity
from igcl_lightning.modules.contrastive import PairEmbedding

SIDE_METRICS = {"rankme": rankme, "std": embedding_std, "uniformity": uniformity}


class CollapseMonitor(Callback):
    """Logs after each validation how much of its space each side uses, and warns once per collapsed side.

    Logs `val/rankme_{side}`, `val/std_{side}` and `val/uniformity_{side}` of each side, and `val/alignment` of both
    (see `metrics.collapse`), over the first rows of the split on all processes. RankMe depends on the number of
    rows: compare runs with equal `max_rows` and split.

    Args:
        max_rows: number of validation rows used.
        warn_below: std below which a side counts as collapsed; 1 is the whole sphere, 0 a point.
    """

    def __init__(self, max_rows: int = 2048, warn_below: float = 0.05) -> None:
        self.max_rows = max_rows
        self.warn_below = warn_below
        self._batches: list[PairEmbedding] = []
        self._warned: set[str] = set()

    def logged_metrics(self, module: Any, data: Any) -> set[str]:
        """Return the names of the logged metrics."""
        by_side = {f"val/{name}_{side}" for name in SIDE_METRICS for side in getattr(module, "sides", ())}
        return {*by_side, "val/alignment"} if by_side else set()

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Drop the rows of the previous epoch."""
        self._batches = []

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Keep the batch while more rows are needed."""
        wanted = isinstance(outputs, PairEmbedding) and not trainer.sanity_checking
        if wanted and sum(len(kept.row) for kept in self._batches) * trainer.world_size < self.max_rows:
            self._batches.append(outputs)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Log, and warn if a side collapses."""
        if not self._batches:
            return
        own = math.ceil(self.max_rows / trainer.world_size)
        fields = zip(*self._batches, strict=True)
        embedding = PairEmbedding(*(_in_order(torch.cat(field)[:own]) for field in fields))
        self._batches = []
        once = ~repeats(embedding.row)
        vectors = [side[once][: self.max_rows] for side in (embedding.first, embedding.second)]
        sides = list(zip(pl_module.sides, vectors, strict=True))
        values = {f"{name}_{side}": metric(vector) for name, metric in SIDE_METRICS.items() for side, vector in sides}
        values["alignment"] = alignment(*vectors)
        pl_module.log_dict({f"val/{name}": value for name, value in values.items()}, sync_dist=True)
        for side in pl_module.sides:
            std = float(values[f"std_{side}"])
            if std < self.warn_below and side not in self._warned:
                self._warned.add(side)
                rank_zero_warn(
                    f"the {side} side collapses: the std of its unit vectors is {std:.3f} of that of the whole sphere, "
                    f"below {self.warn_below} (epoch {trainer.current_epoch}); its inputs get nearly equal embeddings"
                )


def _in_order(own: Tensor) -> Tensor:
    """Return the rows [B, ...] of all processes in the order of the split; samplers distribute them in turn."""
    gathered = gather(own)
    return gathered.view(-1, *own.shape).transpose(0, 1).reshape(gathered.shape)
