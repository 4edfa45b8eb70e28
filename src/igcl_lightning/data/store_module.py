"""Base class of the data modules: store, loaders, augmentation, and look-up of rows."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor
from torch.utils.data import DataLoader

from igcl_lightning.data.augment import Augment, AugmentDraw
from igcl_lightning.data.order import EpochOrder, SharedOrder
from igcl_lightning.data.position import Order, Position, continue_order, position, settings_of
from igcl_lightning.data.row_datasets import Rows, WholeBatches, ready
from igcl_lightning.data.splits import refuse_unknown_splits
from igcl_lightning.data.store import Store, StoreDescription
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.schema import ReportGraph


class StoreDataModule(LightningDataModule):
    """Base class of the data modules, whose docstrings describe the arguments."""

    def __init__(
        self,
        store: str,
        batch_size: int,
        num_workers: int,
        augment: bool,
        views: list[str] | None,
        order_seed: int | None,
        predict_splits: list[str] | None,
    ) -> None:
        super().__init__()
        self.store_path = store
        self.views = views
        self.batch_size = batch_size
        self.num_workers = num_workers
        if batch_size < 1:
            raise IgclError(f"data.batch_size is {batch_size}, not at least 1")
        if order_seed is not None and order_seed < 0:
            raise IgclError(f"data.order_seed is {order_seed}, not at least 0")
        # Set by `seed_everything`, for this process and its children.
        self.order_seed = int(os.environ.get("PL_GLOBAL_SEED") or 0) if order_seed is None else order_seed
        self.predict_splits = predict_splits
        self.augmentation = Augment() if augment else None
        self.start = Position()
        """Where the first epoch of this fit starts, in batches of this run."""
        self._stored: dict[str, Any] = {}
        self._settings: dict[str, int] = {}

    @cached_property
    def store(self) -> StoreDescription:
        """The opened store."""
        return Store(self.store_path, self.views)

    def state_dict(self) -> dict[str, Any]:
        """Return the position of a fit, what the order depends on, and which rows they are, for a checkpoint."""
        if self.trainer is None or not self._settings:
            return {}
        about = {"store": self.store.fingerprint, "max_epochs": self.trainer.max_epochs}
        options = {"options": self.training_options()}
        return {**position(self.trainer)._asdict(), **self._settings, **about, **options}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Start the next training loader at the position of a checkpoint."""
        self._stored = dict(state_dict)

    def training_options(self) -> dict[str, Any]:
        """Return what training reads of a store beside its order, by the names of users; a resumed fit compares it."""
        return {}

    @abstractmethod
    def evaluation_loader(self, splits: Sequence[str], stage: str) -> DataLoader[Any]:
        """Return the rows of some splits in their order, for "validate", "test" or "predict"."""

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the validation rows."""
        return self.evaluation_loader(["valid"], "validate")

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the test rows."""
        return self.evaluation_loader(["test"], "test")

    def predict_dataloader(self) -> DataLoader[Any]:
        """Return the rows of `splits_to_predict`."""
        return self.evaluation_loader(self.splits_to_predict(), "predict")

    def splits_to_predict(self) -> list[str]:
        """Return `predict_splits`; by default the test split, or all splits (see `why_predict_all`)."""
        if self.predict_splits is not None:
            return self.predict_splits
        return [*self.store.splits] if self.why_predict_all() else ["test"]

    def why_predict_all(self) -> str:
        """Return why `predict` reads all rows by default, "" if it reads the test split."""
        return "" if "test" in self.store.splits else "no test split"

    def check_splits_to_predict(self) -> None:
        """Raise an `IgclError` for a split that the store lacks; say in one line what is read by default."""
        splits, why = self.splits_to_predict(), self.why_predict_all()
        refuse_unknown_splits(splits, self.store.splits)
        if self.predict_splits is None:
            rows = f"{sum(map(self.store.num_rows, splits)):,}"
            what = f"{why}, so predict reads every row ({rows})" if why else f"predict reads the test rows ({rows})"
            rank_zero_info(f"{self.store.path}: {what} (--data.predict_splits chooses others)")

    def report_text(self, row: int) -> str:
        """Return the report of a hashed row id."""
        return self.store.report_text(row)

    def report_graph(self, row: int) -> ReportGraph:
        """Return the graph of a hashed row id's report; its words are those that text encoders read."""
        return self.store.report_graph(row)

    def row_labels(self, row: int) -> dict[str, float | None]:
        """Return the labels of a hashed row id."""
        return self.store.row_labels(row)

    def row_ids(self, row: int) -> tuple[str, str, str]:
        """Return row, study and patient id of a hashed row id."""
        return self.store.ids(row)

    def row_split(self, row: int) -> str:
        """Return the split of a hashed row id."""
        return self.store.split_of(row)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Augment training images on the device."""
        training = self.trainer is not None and self.trainer.training
        if self.augmentation is None or not training or not hasattr(batch, "image"):
            return batch
        return batch._replace(image=self.augmentation.apply(batch.image, self.draw_augmentation(batch.image)))

    def draw_augmentation(self, image: Tensor) -> AugmentDraw:
        """Draw the augmentation of a training batch, a function of `order_seed`, epoch, batch and rank."""
        assert self.augmentation is not None
        numbers = (self.order_seed, *position(self.trainer), self._processes()[1])
        return self.augmentation.draw_from(numbers, len(image), image.device)

    def _whole_batch(self, num_rows: int) -> int:
        """Return the batch size, reduced if needed for each process to get one whole batch of the training rows."""
        world_size, _ = self._processes()
        if num_rows < world_size:
            raise IgclError(f"{self.store.path}: {num_rows} training rows for {world_size} processes")
        return min(self.batch_size, num_rows // world_size)

    def _processes(self) -> tuple[int, int]:
        """Return the number of training processes and the rank of this one."""
        return (1, 0) if self.trainer is None else (self.trainer.world_size, self.trainer.global_rank)

    def _training_loader(self, rows: Rows, **order: Any) -> DataLoader[Any]:
        """Return shuffled whole batches of rows; `order` are further arguments of `EpochOrder`."""
        # No shorter last batch, since batch norm over one row has no variance; a tiny store is one batch.
        batch_size = self._whole_batch(len(rows))
        sampler = EpochOrder(rows, batch_size, self.order_seed, *self._processes(), **order)
        self._continue(sampler)
        options = self._loader_options() | {"batch_size": batch_size}
        return DataLoader(WholeBatches(rows), sampler=sampler, drop_last=True, collate_fn=ready, **options)

    def _continue(self, order: Order) -> None:
        """Start an order where the checkpoint of a resumed fit says."""
        self._settings = settings_of(order)
        stored, self._stored = self._stored, {}  # a later fit starts anew
        if stored:
            self._say_other_run(stored)
        self.start = continue_order(order, stored) if stored else Position()

    def _say_other_run(self, stored: dict[str, Any]) -> None:
        """Warn if a checkpoint is of other rows; say if the run had other training options, or another length."""
        if stored.get("store", self.store.fingerprint) != self.store.fingerprint:
            rank_zero_warn(
                f"{self.store_path}: not the rows that this run was trained on: patients of its training may be among "
                "those that measure it; start a new run, unless you know better"
            )
        before, now = stored.get("options", {}), self.training_options()
        changed = [name for name in now if name in before and before[name] != now[name]]
        if changed:
            changes = ", ".join(f"{name} was {before[name]}, is {now[name]}" for name in changed)
            rank_zero_info(f"{changes}: from here training reads other pairs, or other errors in them")
        epochs = self.trainer.max_epochs if self.trainer is not None else None
        if stored.get("max_epochs", epochs) != epochs:
            rank_zero_info(
                f"trainer.max_epochs was {stored['max_epochs']}, is {epochs}: from here the learning rate follows the "
                "schedule of the new length"
            )

    def _shared_loader(self, rows: Rows, **options: Any) -> DataLoader[Any]:
        """Return batches of rows in their order, divided among the processes (see `SharedOrder`)."""
        processes = self._processes()
        order = SharedOrder(rows, *processes) if processes[0] > 1 else None
        return DataLoader(WholeBatches(rows), sampler=order, collate_fn=ready, **self._loader_options() | options)

    def _loader_options(self) -> dict[str, Any]:
        return {
            "batch_size": self.batch_size,
            "num_workers": self.num_workers,
            "persistent_workers": self.num_workers > 0,
            "pin_memory": torch.cuda.is_available(),
            # Seeds of workers, which draw nothing, would come from the random state of the model.
            "generator": torch.Generator(),
        }
