"""Data module of labelled images, or of their frozen features."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.utils.data import DataLoader

from igcl_lightning.data.features import FeatureModel, FeatureRows, frozen_features, read_features
from igcl_lightning.data.order import RowOrder
from igcl_lightning.data.row_datasets import LabeledDataset, WholeBatches, ready
from igcl_lightning.data.samples import FeatureBatch, ProbeDraw
from igcl_lightning.data.splits import check_fraction, describe_draws, draw_fraction, draw_shots
from igcl_lightning.data.store import Store
from igcl_lightning.data.store_module import StoreDataModule
from igcl_lightning.errors import IgclError


class LabeledDataModule(StoreDataModule):
    """Labelled images, or their frozen features, for heads and supervised training.

    A `FeatureModel` gets features, computed once per encoder and store or read from a file, and each of its training
    batches is a whole draw (`ProbeDraw`) on every process. Any other module gets images.

    Args:
        store: path of the prepared store.
        labels: labels to use (default: those of a trained module, otherwise all of the store's).
        fraction: share of the training rows whose labels are used, in (0, 1].
        shots: number of positive training rows per label, instead of a fraction.
        draws: number of draws of training rows; more than one only for heads on frozen features.
        draw_seed: seed of the first draw; later draws have consecutive seeds.
        batch_size: rows per step and device.
        num_workers: number of worker processes that decode images.
        augment: whether training images are augmented.
        feature_cache: folder of cached features (default: inside the store).
        features: Parquet file of precomputed features, instead of an encoder's (see `read_features`).
        views: projections of the images to keep, such as [PA, AP] (default: all).
        order_seed: seed of the order of training images (default: the seed of `seed_everything`).
        predict_splits: splits that `predict` scores (default: test, or all of a store without it or without labels).

    Raises:
        IgclError: an argument is out of range.
    """

    def __init__(
        self,
        store: str,
        labels: list[str] | None = None,
        fraction: float = 1.0,
        shots: int | None = None,
        draws: int = 1,
        draw_seed: int = 0,
        batch_size: int = 64,
        num_workers: int = 0,
        augment: bool = True,
        feature_cache: str | None = None,
        features: str | None = None,
        views: list[str] | None = None,
        order_seed: int | None = None,
        predict_splits: list[str] | None = None,
    ) -> None:
        super().__init__(store, batch_size, num_workers, augment, views, order_seed, predict_splits)
        check_fraction("data.fraction", fraction)
        if shots is not None and (shots < 1 or fraction != 1):
            raise IgclError("data.shots is at least 1 and excludes data.fraction")
        if draws < 1:
            raise IgclError(f"data.draws is {draws}, not at least 1")
        self.wanted_labels = labels
        self.fraction = fraction
        self.shots = shots
        self.draws = draws
        self.draw_seed = draw_seed
        self.feature_cache = feature_cache
        self.feature_file = features
        self._features: dict[str, FeatureBatch] = {}

    @cached_property
    def store(self) -> Store:
        """The opened store."""
        return Store(self.store_path, self.views)

    @property
    def label_names(self) -> list[str]:
        """Names of the labels, in the order of the targets."""
        if self.wanted_labels is not None:
            return list(self.wanted_labels)
        module = self.trainer.lightning_module if self.trainer is not None else None
        return list(getattr(module, "label_names", None) or self.store.labels)

    @property
    def labelled(self) -> bool:
        """Whether the store has any of the labels."""
        return any(name in self.store.labels for name in self.label_names)

    def setup(self, stage: str) -> None:
        """Check the options, and read a file of features.

        Features of an encoder are computed when the first loader is requested, after `--ckpt_path` is loaded.

        Raises:
            IgclError: there are no labels (but for `predict`), no validation rows, no such split to predict, or several
                draws or a file of features for a module that trains on images.
        """
        if stage == "predict":
            self.check_splits_to_predict()
        elif not (self.store.labels and self.label_names):
            raise IgclError(f"{self.store.path}: the store has no labels; only `igcl predict` of a head needs none")
        else:
            self.store.refuse_unknown_labels(self.label_names)
        if stage == "fit" and "valid" not in self.store.splits:
            raise IgclError(f"{self.store.path}: no split 'valid', needed to choose the penalty or the stopping point")
        self._features = {}
        splits = self._served_splits(stage)
        if self._feature_model() is not None:
            for split in splits if self.feature_file is not None else ():
                self._served(split)
        elif self.feature_file is not None:
            raise IgclError("data.features: only a probe on frozen features reads them; this module trains on images")
        elif self.draws > 1:
            raise IgclError("data.draws: only a head on frozen features can use several draws; run one fit per seed")
        if stage == "fit":
            rank_zero_info(f"{self.store.path}: trains on {self.describe_drawn_rows()}")

    def why_predict_all(self) -> str:
        """Return why `predict` reads all rows by default, "" if it reads the test split."""
        return super().why_predict_all() or ("" if self.labelled else "no labels of this head")

    @property
    def feature_channels(self) -> int | None:
        """Length of the features in the file, known after `setup`; None without a file."""
        return next((rows.feature.shape[1] for rows in self._features.values()), None) if self.feature_file else None

    def drawn_rows(self, seed: int) -> np.ndarray:
        """Return the indices of the training rows of one draw."""
        target = self.store.targets("train", self.label_names)
        if self.shots is not None:
            return draw_shots(target, self.shots, seed)
        return np.arange(len(target)) if self.fraction == 1 else draw_fraction(target, self.fraction, seed)

    def describe_drawn_rows(self) -> str:
        """Return how many labelled rows, patients and positives the fraction or the number of shots came to."""
        patients = np.array(self.store.column("train", "patient"), dtype=object)
        drawn = [patients[self.drawn_rows(seed)] for seed in self._seeds()]
        return describe_draws([target.numpy() for target in self.drawn_targets()], drawn, self.label_names)

    def drawn_setting(self) -> dict[str, float | int | None]:
        """Return fraction or shots of the training rows, and the seed of the first draw."""
        fraction = self.fraction if self.shots is None else None
        return {"fraction": fraction, "shots": self.shots, "draw_seed": self.draw_seed}

    def drawn_targets(self) -> list[Tensor]:
        """Return the labels of the training rows of each draw, each float32 [N, L]."""
        target = torch.from_numpy(self.store.targets("train", self.label_names))
        return [target[self.drawn_rows(seed)] for seed in self._seeds()]

    def train_dataloader(self) -> DataLoader[Any]:
        """Return whole draws of features, or shuffled images of the first draw."""
        if self._feature_model() is not None:
            draws: Any = self._draws()
            order = RowOrder(draws, 1)  # every process gets every draw
            self._continue(order)
            return DataLoader(draws, batch_size=None, sampler=order)
        rows = self.drawn_rows(self.draw_seed)
        return self._training_loader(LabeledDataset(self.store, "train", self.label_names, rows))

    def _served_splits(self, stage: str) -> list[str]:
        """Return the splits that a stage reads; raises an `IgclError` if the store lacks one."""
        splits = {"fit": ["train", "valid"], "validate": ["valid"], "predict": self.splits_to_predict()}
        wanted = splits.get(stage, ["test"])
        for split in wanted:
            self.store.table(split)
        return wanted

    def _feature_model(self) -> FeatureModel | None:
        """Return the module if it trains on features, None if it trains on images."""
        module = self.trainer.lightning_module if self.trainer is not None else None
        return module if isinstance(module, FeatureModel) else None

    def _served(self, split: str) -> FeatureBatch:
        if split not in self._features:
            self._features[split] = self._feature_batch(split)
        return self._features[split]

    def _feature_batch(self, split: str) -> FeatureBatch:
        images = LabeledDataset(self.store, split, self.label_names, may_lack=True)
        if self.feature_file is not None:
            features = read_features(Path(self.feature_file), self.store.column(split, "row"))
        else:
            features = self._computed_features(images, f"{self.store.fingerprint} {split}")
        return FeatureBatch(features, torch.from_numpy(images.target), torch.from_numpy(images.row))

    def _computed_features(self, images: LabeledDataset, content: str) -> Tensor:
        """Return features, computed by the first process and by processes that do not share its disk."""
        model, trainer = self._feature_model(), self.trainer
        assert model is not None
        assert trainer is not None
        options = self._loader_options() | {"persistent_workers": False}
        loader: DataLoader[Any] = DataLoader(WholeBatches(images), collate_fn=ready, **options)
        cache = Path(self.feature_cache) if self.feature_cache else self.store.path / "features"
        device = trainer.strategy.root_device
        compute = partial(frozen_features, model.feature_encoder(), loader, cache, content, device)
        first = compute() if trainer.is_global_zero else None
        trainer.strategy.barrier("features")
        return compute() if first is None else first

    def _draws(self) -> list[ProbeDraw]:
        train, valid = self._served("train"), self._served("valid")
        rows = {seed: self.drawn_rows(seed) for seed in self._seeds()}
        return [ProbeDraw(FeatureRows(train).batch(drawn), valid, seed) for seed, drawn in rows.items()]

    def _seeds(self) -> range:
        return range(self.draw_seed, self.draw_seed + self.draws)

    def evaluation_loader(self, splits: Sequence[str], stage: str) -> DataLoader[Any]:
        """Return images of some splits, or their features for a `FeatureModel`."""
        if self._feature_model() is None:
            return self._shared_loader(LabeledDataset(self.store, splits, self.label_names, may_lack=True))
        served = [self._served(split) for split in splits]
        rows = FeatureBatch(*(torch.cat(field) for field in zip(*served, strict=True)))
        return self._shared_loader(FeatureRows(rows), num_workers=0, persistent_workers=False)
