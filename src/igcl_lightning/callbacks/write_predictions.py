"""Predictions of a head in the format of every evaluation, kept or written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from lightning.pytorch import Trainer

from igcl_lightning.callbacks.gathered import GatheringCallback, ids_of
from igcl_lightning.data.interfaces import RowLookup, row_lookup
from igcl_lightning.evaluation.predictions import write_predictions
from igcl_lightning.evaluation.results import summarise, write_results
from igcl_lightning.modules.classifier import ClassifierModule, Scores


class KeepPredictions(GatheringCallback):
    """After `test` or `predict`, keep the predictions in `frame`, on the first process, without writing them."""

    def __init__(self) -> None:
        super().__init__(Scores)
        self.frame = pd.DataFrame()

    def write(self, outputs: Scores, folder: Path, trainer: Trainer, pl_module: Any, job: str) -> None:
        """Keep the predictions."""
        self.frame = predictions_frame(outputs, pl_module, row_lookup(trainer, type(self).__name__))


class WritePredictions(KeepPredictions):
    """After `test` or `predict`, write `predictions.parquet` into the run folder; after `test`, `results.json` too."""

    def write(self, outputs: Scores, folder: Path, trainer: Trainer, pl_module: Any, job: str) -> None:
        """Write the files."""
        super().write(outputs, folder, trainer, pl_module, job)
        write_predictions(self.frame, folder / "predictions.parquet")
        if job == "test":
            records = summarise(self.frame, protocol="probe", store=pl_module.data.store_path)
            write_results(records, folder / "results.json")


def predictions_frame(scores: Scores, module: ClassifierModule, data: RowLookup) -> pd.DataFrame:
    """Return the rows of `predictions.parquet`, each head with the seed of its draw.

    Args:
        scores: scores of all rows, each row once.
        module: module that computed them.
        data: data module of the rows.
    """
    score, target = scores.score.double().numpy(), scores.target.float().numpy()
    heads = score if score.ndim == 3 else score[:, None]
    ids = ids_of(scores.row, data)
    origin = module.origin or {}
    setting = {"method": module.method_name, "fraction": origin.get("fraction"), "shots": origin.get("shots")}
    seed = origin.get("draw_seed", 0)
    frames = [
        ids.assign(**setting, label=name, target=target[:, label], score=heads[:, head, label], seed=seed + head)
        for head in range(heads.shape[1])
        for label, name in enumerate(module.label_names or [])
        if module.trained[label]
    ]
    return pd.concat(frames, ignore_index=True)
