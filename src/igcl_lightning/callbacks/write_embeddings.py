"""Writes the embeddings of a pretrained model."""

from __future__ import annotations

from typing import Any

import pandas as pd
from lightning.pytorch import Trainer

from igcl_lightning.callbacks.gathered import GatheringCallback
from igcl_lightning.modules.contrastive import PairEmbedding
from igcl_lightning.run_folder import run_folder


class WriteEmbeddings(GatheringCallback):
    """After `predict`, write `embeddings.parquet` into the run folder: row, study, patient, and both unit vectors."""

    def __init__(self) -> None:
        super().__init__(PairEmbedding)

    def write(self, outputs: PairEmbedding, trainer: Trainer, pl_module: Any, job: str) -> None:
        """Write the file."""
        if job != "predict":
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]  # Lightning does not type it
        frame = pd.DataFrame([data.row_ids(row) for row in outputs.row.tolist()], columns=["row", "study", "patient"])
        frame["image"] = outputs.image.float().tolist()
        frame["graph"] = outputs.graph.float().tolist()
        folder = run_folder(trainer)
        folder.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(folder / "embeddings.parquet")
