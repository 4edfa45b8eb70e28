"""Writes the embeddings of a pretrained model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer

from igcl_lightning.atomic import replacing
from igcl_lightning.callbacks.gathered import GatheringCallback, ids_of
from igcl_lightning.data.interfaces import row_lookup
from igcl_lightning.modules.contrastive import PairEmbedding


class WriteEmbeddings(GatheringCallback):
    """After `predict`, write `embeddings.parquet` into the run folder.

    Columns: `row`, `study`, `patient`, `split`, the unit vectors of each side under its name, and `feature`, the
    encoding of the first side for probes.
    """

    def __init__(self) -> None:
        super().__init__(PairEmbedding)

    def write(self, outputs: PairEmbedding, folder: Path, trainer: Trainer, pl_module: Any, job: str) -> None:
        """Write the file."""
        if job != "predict":
            return
        frame = ids_of(outputs.row, row_lookup(trainer, type(self).__name__))
        first, second = pl_module.sides
        frame[first] = outputs.first.float().tolist()
        frame[second] = outputs.second.float().tolist()
        frame["feature"] = outputs.pooled.float().tolist()
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / "embeddings.parquet") as temporary:
            frame.to_parquet(temporary)
