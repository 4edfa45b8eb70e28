"""Data module of images with masks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data import DataLoader

from igcl_lightning.data.masks import check_masks, mask_targets
from igcl_lightning.data.row_datasets import MaskedDataset
from igcl_lightning.data.samples import MaskedBatch
from igcl_lightning.data.splits import check_fraction, describe_draws, draw_fraction
from igcl_lightning.data.store import Store
from igcl_lightning.data.store_module import StoreDataModule
from igcl_lightning.errors import IgclError


class SegmentationDataModule(StoreDataModule):
    """Images with masks, for segmentation.

    A mask that a row lacks is empty if a label of its name is absent, and otherwise unknown (see `masks.mask_targets`).
    Rows without a known mask are left out, but for `predict`.

    Args:
        store: path of the prepared store, with masks.
        masks: names of the masks to use (default: those of a trained module, otherwise all of the store's).
        fraction: share of the training rows with masks that are used, in (0, 1].
        draw_seed: seed of their draw.
        batch_size: rows per step and device.
        num_workers: number of worker processes that decode images.
        augment: whether training images are augmented, with their masks.
        views: projections of the images to keep, such as [PA, AP] (default: all).
        order_seed: seed of the order of training images (default: the seed of `seed_everything`).
        predict_splits: splits that `predict` segments (default: test, or all of a store without it).

    Raises:
        IgclError: an argument is out of range.
    """

    def __init__(
        self,
        store: str,
        masks: list[str] | None = None,
        fraction: float = 1.0,
        draw_seed: int = 0,
        batch_size: int = 16,
        num_workers: int = 0,
        augment: bool = True,
        views: list[str] | None = None,
        order_seed: int | None = None,
        predict_splits: list[str] | None = None,
    ) -> None:
        super().__init__(store, batch_size, num_workers, augment, views, order_seed, predict_splits)
        check_fraction("data.fraction", fraction)
        self.wanted_masks = masks
        self.fraction = fraction
        self.draw_seed = draw_seed
        self._targets: dict[str, np.ndarray] = {}

    @cached_property
    def store(self) -> Store:
        """The opened store."""
        return Store(self.store_path, self.views)

    @cached_property
    def mask_names(self) -> list[str]:
        """Names of the M masks, in the order of the batches.

        Raises:
            IgclError: none are given, and the store has no masks.
        """
        module = self.trainer.lightning_module if self.trainer is not None else None
        if self.wanted_masks is not None:
            return list(self.wanted_masks)
        return list(getattr(module, "mask_names", None) or check_masks(self.store, None))

    def setup(self, stage: str) -> None:
        """Check the options and the rows.

        Raises:
            IgclError: the store lacks a mask (but for `predict`), or a split has no row with a known one.
        """
        if stage == "predict":
            self.check_splits_to_predict()
            return
        check_masks(self.store, self.mask_names)
        for split in {"fit": ("train", "valid"), "validate": ("valid",)}.get(stage, ("test",)):
            if split not in self.store.splits:
                needed = ", needed to choose the stopping point" if stage == "fit" and split == "valid" else ""
                raise IgclError(f"{self.store.path}: no split {split!r}{needed}")
            rows = self._known_rows(split)
            if not len(rows):
                raise IgclError(
                    f"{self.store.path}: no row of {split} has a known mask of {', '.join(self.mask_names)}"
                )
            if left := self.store.num_rows(split) - len(rows):
                rank_zero_info(f"{self.store.path}: {left:,} {split} rows without a known mask are left out")
        if stage == "fit":
            drawn = self.drawn_rows()
            patients = np.array(self.store.column("train", "patient"), dtype=object)[drawn]
            told = describe_draws([self._target("train")[drawn]], [patients], self.mask_names)
            rank_zero_info(f"{self.store.path}: trains on {told}")

    def drawn_rows(self) -> np.ndarray:
        """Return the indices of the training rows that are used."""
        rows = self._known_rows("train")
        if self.fraction == 1:
            return rows
        drawn: np.ndarray = rows[draw_fraction(self._target("train")[rows], self.fraction, self.draw_seed)]
        return drawn

    def drawn_setting(self) -> dict[str, float | int]:
        """Return `fraction` of the training rows, and `draw_seed`, the seed of their draw."""
        return {"fraction": self.fraction, "draw_seed": self.draw_seed}

    def train_dataloader(self) -> DataLoader[MaskedBatch]:
        """Return the drawn images, shuffled."""
        return self._training_loader(self._rows(["train"], self.drawn_rows()))

    def evaluation_loader(self, splits: Sequence[str], stage: str) -> DataLoader[MaskedBatch]:
        """Return the rows of some splits that have a known mask; all of them for "predict"."""
        if stage == "predict":
            return self._shared_loader(self._rows(splits))
        first = np.cumsum([0, *(self.store.num_rows(split) for split in splits)])
        known = [start + self._known_rows(split) for start, split in zip(first, splits, strict=False)]
        return self._shared_loader(self._rows(splits, np.concatenate(known)))

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Augment training images on the device, and move their masks alike."""
        training = self.trainer is not None and self.trainer.training
        if self.augmentation is None or not training:
            return batch
        draw = self.draw_augmentation(batch.image)
        moved = self.augmentation.apply_masks(batch.mask, draw)
        return batch._replace(image=self.augmentation.apply(batch.image, draw), mask=moved)

    def _rows(self, splits: Sequence[str], rows: np.ndarray | None = None) -> MaskedDataset:
        known = ~np.isnan(np.concatenate([self._target(split) for split in splits]))
        return MaskedDataset(self.store, splits, self.mask_names, known, rows)

    def _known_rows(self, split: str) -> np.ndarray:
        return np.flatnonzero(~np.isnan(self._target(split)).all(axis=1))

    def _target(self, split: str) -> np.ndarray:
        """Return which masks the rows have, float32 [N, M] (see `mask_targets`)."""
        if split not in self._targets:
            self._targets[split] = mask_targets(self.store, split, self.mask_names)
        return self._targets[split]
