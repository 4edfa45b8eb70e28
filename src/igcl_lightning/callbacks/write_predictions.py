"""Writes what a head predicted, in the form every evaluation reads."""

from __future__ import annotations

from typing import Any

import pandas as pd
from lightning.pytorch import Trainer

from igcl_lightning.callbacks.gathered import GatheringCallback
from igcl_lightning.evaluation.predictions import write_predictions
from igcl_lightning.evaluation.results import summarise, write_results
from igcl_lightning.modules.classifier import ClassifierModule, Scores
from igcl_lightning.run_folder import run_folder


class WritePredictions(GatheringCallback):
    """After `test` or `predict`, write `predictions.parquet` into the run folder; after `test`, `results.json` too."""

    def __init__(self) -> None:
        super().__init__(Scores)
        self.frame = pd.DataFrame()

    def write(self, outputs: Scores, trainer: Trainer, pl_module: Any, job: str) -> None:
        """Write the files."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]  # Lightning does not type it
        folder = run_folder(trainer)
        folder.mkdir(parents=True, exist_ok=True)
        self.frame = predictions_frame(outputs, pl_module, data)
        write_predictions(self.frame, folder / "predictions.parquet")
        if job == "test":
            records = summarise(self.frame, protocol="probe", store=data.store_path, split="test")
            write_results(records, folder / "results.json")


def predictions_frame(scores: Scores, module: ClassifierModule, data: Any) -> pd.DataFrame:
    """Return the rows of `predictions.parquet`, each head under the seed of its draw.

    Args:
        scores: of the whole split, each row once.
        module: what scored them.
        data: the `LabeledDataModule` that served the rows.
    """
    score, target = scores.score.float().numpy(), scores.target.float().numpy()
    heads = score if score.ndim == 3 else score[:, None]
    ids = pd.DataFrame([data.row_ids(row) for row in scores.row.tolist()], columns=["row", "study", "patient"])
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
