"""Writes the embeddings of a pretrained model."""

from __future__ import annotations

from typing import Any

import pandas as pd
from lightning.pytorch import Trainer

from igcl_lightning.callbacks.gathered import GatheringCallback
from igcl_lightning.modules.contrastive import PairEmbedding
from igcl_lightning.run_folder import run_folder


class WriteEmbeddings(GatheringCallback):
    """After `predict`, write `embeddings.parquet` into the run folder.

    Columns: `row`, `study`, `patient`, `split`, the unit vectors of each side under its name, and `feature`, the
    encoding of the first side that probes read.
    """

    def __init__(self) -> None:
        super().__init__(PairEmbedding)

    def write(self, outputs: PairEmbedding, trainer: Trainer, pl_module: Any, job: str) -> None:
        """Write the file."""
        if job != "predict":
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]  # Lightning does not type it
        frame = pd.DataFrame([data.row_ids(row) for row in outputs.row.tolist()], columns=["row", "study", "patient"])
        frame["split"] = [data.row_split(row) for row in outputs.row.tolist()]
        first, second = pl_module.sides
        frame[first] = outputs.first.float().tolist()
        frame[second] = outputs.second.float().tolist()
        frame["feature"] = outputs.pooled.float().tolist()
        folder = run_folder(trainer)
        folder.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(folder / "embeddings.parquet")
