"""A linear probe of the trained encoder, at the end of fit."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch.utils.data import DataLoader

from igcl_lightning.callbacks.outputs import prediction_table, write_and_log_results
from igcl_lightning.data.features import FeatureRows, frozen_features
from igcl_lightning.data.modules import LabeledDataModule
from igcl_lightning.data.row_datasets import LabeledDataset, WholeBatches, ready
from igcl_lightning.data.samples import FeatureBatch, ProbeDraw
from igcl_lightning.data.store_module import StoreDataModule
from igcl_lightning.data.store_path import is_address
from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.results import MEAN_LABEL, Record, summarise
from igcl_lightning.modules.classifier import Scores
from igcl_lightning.modules.linear_probe import LinearProbe
from igcl_lightning.modules.pretrained import FEATURES
from igcl_lightning.nn.checks import check_choice
from igcl_lightning.nn.logistic import trainable_labels
from igcl_lightning.run_folder import run_folder

PREFIX = "val/probe_auroc_"


class FinalProbe(Callback):
    """Probes the best checkpoint when a fit ends, as `probe/linear.yaml` does, and logs the AUROC on validation rows.

    It logs `val/probe_auroc_{label}` and their mean `val/probe_auroc_mean`, averaged over draws, once: what a sweep of
    pretraining optimises. The penalty is chosen on the same rows, and test rows are not read. `results.json` in the run
    folder has the values with intervals over patients. The best checkpoint is that of the first `ModelCheckpoint`, or
    the last without one. Only the first process works.

    Args:
        fraction: share of the training rows whose labels are used.
        draws: number of draws of these rows.
        labels: labels to score (default: all of the store's).
        features: "pooled", or "projected" into the space of the contrast.

    Raises:
        IgclError: before training, the store is a stream or lacks labels, an option is out of range, or no label has
            both classes among the training rows.
    """

    def __init__(
        self, fraction: float = 1.0, draws: int = 1, labels: list[str] | None = None, features: str = "pooled"
    ) -> None:
        check_choice("FinalProbe.features", features, FEATURES)
        self.fraction = fraction
        self.draws = draws
        self.labels = labels
        self.features = features
        self._rows: LabeledDataModule | None = None

    def logged_metrics(self, module: Any, data: Any) -> set[str]:
        """Return the names of the logged metrics."""
        labels = self.labels or list(getattr(getattr(data, "store", None), "labels", ()))
        return {f"{PREFIX}{name}" for name in (*labels, MEAN_LABEL)}

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Draw the labelled rows, so that their mistakes are known before training."""
        if stage != "fit":
            return
        data = getattr(trainer, "datamodule", None)
        if not isinstance(data, StoreDataModule) or is_address(data.store_path):
            raise IgclError("FinalProbe needs a prepared store on this machine: give --data.store a folder")
        self._rows = LabeledDataModule(
            data.store_path,
            self.labels,
            self.fraction,
            draws=self.draws,
            batch_size=data.batch_size,
            num_workers=data.num_workers,
            views=data.views,
        )
        if not self._rows.label_names:
            raise IgclError(f"FinalProbe: {data.store_path}: the store has no labels")
        if not self._trained().any():
            raise IgclError(f"FinalProbe: {data.store_path}: no label has both classes among the training rows")

    def _trained(self) -> torch.Tensor:
        """Return which labels have both classes in all draws, bool [L]."""
        assert self._rows is not None
        return torch.stack([trainable_labels(target) for target in self._rows.drawn_targets()]).all(dim=0)

    def on_fit_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Probe, write and log, while the other processes wait."""
        folder = run_folder(trainer)
        path = _best_checkpoint(trainer)
        if trainer.fast_dev_run or not path:  # type: ignore[attr-defined]  # set, but not declared
            rank_zero_warn("FinalProbe: this fit kept no checkpoint, nothing is probed")
            return
        if trainer.is_global_zero:
            records = self._probe(path, trainer.strategy.root_device)
            write_and_log_results(records, folder, trainer)
            means = [each for each in records if each["seed"] is None or self.draws == 1]
            values = {f"{PREFIX}{each['label']}": each["value"] for each in means if each["value"] is not None}
            for logger in trainer.loggers:
                logger.log_metrics(values, trainer.global_step)
                logger.save()
        trainer.strategy.barrier("FinalProbe")

    def _probe(self, checkpoint: str, device: torch.device) -> list[Record]:
        """Return the AUROC of the validation rows as records of `results.json`."""
        rows = self._rows
        assert rows is not None
        names = rows.label_names
        probe = LinearProbe(checkpoint, features=self.features, label_names=names, num_heads=self.draws)
        probe.origin = {"method": probe.default_name(), **rows.drawn_setting()}
        probe.trained.copy_(self._trained())
        draws = self._draws(probe, device)
        with torch.no_grad():
            for head, draw in enumerate(draws):
                weight, bias, *_ = probe.fit_draw(draw)
                probe.weight[head], probe.bias[head] = weight, bias
            valid = draws[0].valid
            scores = Scores(probe(valid.feature).masked_fill(~probe.trained, torch.nan), valid.target, valid.row)
        rank_zero_info(f"FinalProbe: fitted on {rows.describe_drawn_rows()}")
        return summarise(prediction_table(scores, probe, rows), protocol="probe", store=rows.store_path)

    def _draws(self, probe: LinearProbe, device: torch.device) -> list[ProbeDraw]:
        """Return the features of each draw and of the validation rows; other training rows are not encoded."""
        assert self._rows is not None
        drawn = {seed: self._rows.drawn_rows(seed) for seed in range(self.draws)}
        kept = np.unique(np.concatenate([*drawn.values()]))
        train = FeatureRows(self._encoded(probe, "train", device, kept))
        valid = self._encoded(probe, "valid", device)
        return [ProbeDraw(train.batch(np.searchsorted(kept, rows)), valid, seed) for seed, rows in drawn.items()]

    def _encoded(
        self, probe: LinearProbe, split: str, device: torch.device, kept: np.ndarray | None = None
    ) -> FeatureBatch:
        data = self._rows
        assert data is not None
        images = LabeledDataset(data.store, split, data.label_names, kept)
        loader: DataLoader[Any] = DataLoader(
            WholeBatches(images), data.batch_size, num_workers=data.num_workers, collate_fn=ready
        )
        with TemporaryDirectory() as cache:  # features of a trial are needed once
            features = frozen_features(probe.feature_encoder(), loader, Path(cache), split, device)
        return FeatureBatch(features, torch.from_numpy(images.target), torch.from_numpy(images.row))


def _best_checkpoint(trainer: Trainer) -> str:
    """Return the path of the best checkpoint of the first callback that keeps some, its last without a best one."""
    callback = trainer.checkpoint_callback
    return getattr(callback, "best_model_path", "") or getattr(callback, "last_model_path", "")
