"""Writes what a head predicted on the test split, in the form every evaluation reads."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer

from igcl_lightning.evaluation.predictions import write_predictions
from igcl_lightning.evaluation.results import summarise, write_results
from igcl_lightning.modules.classifier import ClassifierModule, Scores
from igcl_lightning.run_folder import run_folder


class WritePredictions(Callback):
    """After `test`, write `predictions.parquet` and `results.json` into the run folder.

    Args:
        method: name the results are reported under; the module's own by default.
    """

    def __init__(self, method: str | None = None) -> None:
        self.method = method
        self.frame = pd.DataFrame()
        self._batches: list[Scores] = []

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start anew."""
        self._batches = []

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the scores of a batch."""
        if isinstance(outputs, Scores):
            self._batches.append(Scores(*(value.detach().float().cpu() for value in outputs[:2]), outputs.row.cpu()))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the files, once for all processes."""
        folder = run_folder(trainer)
        parts = _from_all_ranks(self._batches)
        if not (trainer.is_global_zero and parts and isinstance(pl_module, ClassifierModule)):
            return
        scores = Scores(*(torch.cat(field) for field in zip(*parts, strict=True)))
        self.frame = predictions_frame(scores, pl_module, trainer.datamodule, self.method)  # type: ignore[attr-defined]
        folder.mkdir(parents=True, exist_ok=True)
        write_predictions(self.frame, folder / "predictions.parquet")
        store = trainer.datamodule.store_path  # type: ignore[attr-defined]  # Lightning types the base class
        records = summarise(self.frame, protocol="probe", store=store, split="test")
        write_results(records, folder / "results.json")


def predictions_frame(scores: Scores, module: ClassifierModule, data: Any, method: str | None = None) -> pd.DataFrame:
    """Return the rows of `predictions.parquet`: each row id once, each head under the seed of its draw.

    Args:
        scores: of the whole split.
        module: what scored them.
        data: the `LabeledDataModule` that served the rows.
        method: name of the method; the module's own by default.
    """
    first = torch.from_numpy(~pd.Series(scores.row.numpy()).duplicated().to_numpy())
    score, target = scores.score[first], scores.target[first]
    heads = score if score.ndim == 3 else score[:, None]
    ids = pd.DataFrame([data.row_ids(row) for row in scores.row[first].tolist()], columns=["row", "study", "patient"])
    setting = {
        "method": method or module.method_name,
        "fraction": data.fraction if data.shots is None else None,
        "shots": data.shots,
    }
    frames = [
        ids.assign(
            **setting, label=name, target=target[:, label], score=heads[:, head, label], seed=data.draw_seed + head
        )
        for head in range(heads.shape[1])
        for label, name in enumerate(module.label_names or [])
        if module.trained[label]
    ]
    return pd.concat(frames, ignore_index=True)


def _from_all_ranks(batches: list[Scores]) -> list[Scores]:
    if not (dist.is_available() and dist.is_initialized()):
        return batches
    parts: list[list[Scores]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(parts, batches)
    return [batch for part in parts for batch in part]
