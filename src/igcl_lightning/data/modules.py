"""Data modules: a store on one side, batches on the device on the other."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset as Table
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch_geometric.loader import DataLoader as GraphLoader

from igcl_lightning.data.augment import Augment
from igcl_lightning.data.features import FeatureModel, frozen_features
from igcl_lightning.data.images import decode_grey
from igcl_lightning.data.samples import FeatureBatch, LabeledBatch, PairBatch, ProbeDraw
from igcl_lightning.data.splits import draw_fraction, draw_shots
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.featurizer import NUM_FACTS, GraphFeaturizer
from igcl_lightning.graphs.schema import stable_hash


class StoreDataModule(LightningDataModule):
    """What the data modules share: the opened store, loaders, augmentation, and look-up of rows for callbacks.

    Args:
        store: folder that `igcl prepare` wrote.
        batch_size: rows per step and device.
        num_workers: processes that decode.
        augment: whether training images are augmented.
    """

    def __init__(self, store: str, batch_size: int = 64, num_workers: int = 0, augment: bool = True) -> None:
        super().__init__()
        self.store_path = store
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.augmentation = Augment() if augment else None

    @cached_property
    def store(self) -> Store:
        """The opened store."""
        return Store(self.store_path)

    def report_text(self, row: int) -> str:
        """Return the report of a hashed row id."""
        return self.store.report_text(row)

    def row_labels(self, row: int) -> dict[str, float | None]:
        """Return the labels of a hashed row id."""
        return self.store.row_labels(row)

    def row_ids(self, row: int) -> tuple[str, str, str]:
        """Return row, study and patient id of a hashed row id."""
        return self.store.ids(row)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Augment training images on the device."""
        trainer = self.trainer
        if self.augmentation is None or trainer is None or not trainer.training or not hasattr(batch, "image"):
            return batch
        return batch._replace(image=self.augmentation(batch.image))

    def _whole_batch(self, num_rows: int) -> int:
        """Return a batch size that gives each process at least one whole batch of so many training rows.

        Raises:
            IgclError: there are more processes than rows.
        """
        world_size = self.trainer.world_size if self.trainer is not None else 1
        if num_rows < world_size:
            raise IgclError(f"{self.store.path}: {num_rows} training rows for {world_size} processes")
        return min(self.batch_size, num_rows // world_size)

    def _loader_options(self) -> dict[str, Any]:
        return {
            "batch_size": self.batch_size,
            "num_workers": self.num_workers,
            "persistent_workers": self.num_workers > 0,
            "pin_memory": torch.cuda.is_available(),
        }


class PairedDataModule(StoreDataModule):
    """Images with the graphs of their reports, for pretraining.

    Args:
        store: folder that `igcl prepare` wrote.
        batch_size: pairs per step and device.
        num_workers: processes that decode.
        augment: whether training images are augmented.
    """

    def setup(self, stage: str) -> None:
        """Check that there is something to contrast.

        Raises:
            IgclError: no report of the training split has an entity.
        """
        if stage == "fit" and not self.store.has_graphs("train"):
            raise IgclError(f"{self.store.path}: no training row has a report with entities; nothing to contrast with")

    def train_dataloader(self) -> DataLoader[PairBatch]:
        """Return shuffled training pairs; an incomplete last batch is left out."""
        pairs = PairDataset(self.store.table("train"))
        # A batch norm over one row has no variance, hence never a shorter batch; a tiny store is one batch.
        options = self._loader_options() | {"batch_size": self._whole_batch(len(pairs))}
        loader: DataLoader[PairBatch] = GraphLoader(pairs, shuffle=True, drop_last=True, **options)
        return loader

    def val_dataloader(self) -> DataLoader[PairBatch]:
        """Return the validation pairs."""
        return self._evaluation_loader("valid")

    def test_dataloader(self) -> DataLoader[PairBatch]:
        """Return the test pairs."""
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> DataLoader[PairBatch]:
        """Return the test pairs."""
        return self._evaluation_loader("test")

    def _evaluation_loader(self, split: str) -> DataLoader[PairBatch]:
        pairs = PairDataset(self.store.table(split))
        loader: DataLoader[PairBatch] = GraphLoader(pairs, **self._loader_options())
        return loader


class LabeledDataModule(StoreDataModule):
    """Labelled images, or their frozen features, for heads and supervised training.

    A module that is a `FeatureModel` gets features, computed once per encoder and store, and its training batches are
    whole draws (`ProbeDraw`); any other module gets images.

    Args:
        store: folder that `igcl prepare` wrote.
        labels: reported labels; all of the store's by default.
        fraction: share of the training rows whose labels are used, in (0, 1].
        shots: positive training rows per label instead of a fraction.
        draws: number of draws of training rows; more than one only for heads on frozen features.
        draw_seed: seed of the first draw; the next ones count up.
        batch_size: rows per step and device.
        num_workers: processes that decode.
        augment: whether training images are augmented.
        feature_cache: folder of cached features; inside the store by default.

    Raises:
        IgclError: an argument is out of its range.
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
    ) -> None:
        super().__init__(store, batch_size, num_workers, augment)
        if not 0 < fraction <= 1:
            raise IgclError(f"data.fraction is {fraction}, not in (0, 1]")
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
        self._features: dict[str, FeatureBatch] = {}

    @property
    def label_names(self) -> list[str]:
        """Names of the reported labels, in the order of the targets."""
        return list(self.store.labels if self.wanted_labels is None else self.wanted_labels)

    def prepare_data(self) -> None:
        """Compute missing features, on one process."""
        if self._encoder() is not None:
            for split in self._served_splits():
                self._feature_batch(split)

    def setup(self, stage: str) -> None:
        """Load the features a head trains on.

        Raises:
            IgclError: there are no labels, no validation rows, or several draws for a module that trains on images.
        """
        if not self.label_names:
            raise IgclError(f"{self.store.path}: the store has no labels")
        if stage == "fit" and "valid" not in self.store.splits:
            raise IgclError(f"{self.store.path}: no split 'valid' to choose the penalty or the stopping point on")
        self._features = {}
        if self._encoder() is not None:
            self._features = {split: self._feature_batch(split) for split in self._served_splits()}
        elif self.draws > 1:
            raise IgclError("data.draws: only a head on frozen features can use several draws; run one fit per seed")

    def drawn_rows(self, seed: int) -> np.ndarray:
        """Return the indices of the training rows of one draw."""
        target = self.store.targets("train", self.label_names)
        if self.shots is not None:
            return draw_shots(target, self.shots, seed)
        return np.arange(len(target)) if self.fraction == 1 else draw_fraction(target, self.fraction, seed)

    def drawn_setting(self) -> dict[str, float | int | None]:
        """Return how the training rows are drawn: fraction or shots, and the seed of the first draw."""
        fraction = self.fraction if self.shots is None else None
        return {"fraction": fraction, "shots": self.shots, "draw_seed": self.draw_seed}

    def drawn_targets(self) -> list[Tensor]:
        """Return the labels of the training rows of each draw, each float32 [N, L]."""
        target = torch.from_numpy(self.store.targets("train", self.label_names))
        return [target[self.drawn_rows(seed)] for seed in self._seeds()]

    def train_dataloader(self) -> DataLoader[Any]:
        """Return whole draws of features, or shuffled images of the first draw."""
        if self._features:
            return DataLoader(self._draws(), batch_size=None)
        rows = self.drawn_rows(self.draw_seed)
        images = LabeledDataset(self.store, "train", self.label_names, rows)
        options = self._loader_options() | {"batch_size": self._whole_batch(len(rows))}
        return DataLoader(images, shuffle=True, drop_last=True, **options)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the validation rows."""
        return self._evaluation_loader("valid")

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the test rows."""
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> DataLoader[Any]:
        """Return the test rows."""
        return self._evaluation_loader("test")

    def _served_splits(self) -> tuple[str, ...]:
        """Return the splits that the trainer's present job reads."""
        assert self.trainer is not None
        job = self.trainer.state.fn
        wanted = {"fit": ("train", "valid"), "validate": ("valid",)}.get(str(job.value) if job else "", ("test",))
        return tuple(split for split in wanted if split in self.store.splits)

    def _encoder(self) -> torch.nn.Module | None:
        module = self.trainer.lightning_module if self.trainer is not None else None
        return module.feature_encoder if isinstance(module, FeatureModel) else None

    def _feature_batch(self, split: str) -> FeatureBatch:
        encoder = self._encoder()
        assert encoder is not None
        assert self.trainer is not None
        images = LabeledDataset(self.store, split, self.label_names)
        loader: DataLoader[LabeledBatch] = DataLoader(images, **self._loader_options() | {"persistent_workers": False})
        cache = Path(self.feature_cache) if self.feature_cache else self.store.path / "features"
        device = self.trainer.strategy.root_device
        features = frozen_features(encoder, loader, cache, f"{self.store.fingerprint} {split}", device)
        return FeatureBatch(features, torch.from_numpy(images.target), torch.from_numpy(images.row))

    def _draws(self) -> _ItemDataset:
        train, valid = self._features["train"], self._features["valid"]
        rows = {seed: self.drawn_rows(seed) for seed in self._seeds()}
        return _ItemDataset(
            [ProbeDraw(FeatureBatch(*(field[drawn] for field in train)), valid, seed) for seed, drawn in rows.items()]
        )

    def _seeds(self) -> range:
        return range(self.draw_seed, self.draw_seed + self.draws)

    def _evaluation_loader(self, split: str) -> DataLoader[Any]:
        if self._features:
            self.store.table(split)
            parts = zip(*(torch.split(field, self.batch_size) for field in self._features[split]), strict=True)
            return DataLoader(_ItemDataset([FeatureBatch(*part) for part in parts]), batch_size=None)
        return DataLoader(LabeledDataset(self.store, split, self.label_names), **self._loader_options())


class PairDataset(Dataset[PairBatch]):
    """Pairs of one split, read from Arrow one at a time.

    Args:
        table: rows of a store.
        featurizer: makes tensors of a graph.
    """

    def __init__(self, table: Table, featurizer: GraphFeaturizer | None = None) -> None:
        self.table = table.select_columns(["row", "study", "patient", "image", "graph"]).with_format("arrow")
        self.featurizer = featurizer or GraphFeaturizer()

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> PairBatch:
        record = self.table[index]
        graph = record["graph"][0]
        facts = torch.zeros(NUM_FACTS, dtype=torch.uint8)
        facts[torch.from_numpy(_numbers(graph["facts"]) % NUM_FACTS)] = 1
        return PairBatch(
            image=_image(record),
            graph=self.featurizer.featurize_arrays(
                graph["tokens"].values.to_pylist(),
                _numbers(graph["label"]),
                np.stack([_numbers(graph["head"]), _numbers(graph["tail"])]),
                _numbers(graph["type"]),
            ),
            row=_hash(record, "row"),
            study=_hash(record, "study"),
            patient=_hash(record, "patient"),
            graph_key=torch.tensor(graph["key"].as_py()),
            graph_facts=facts,
        )


class LabeledDataset(Dataset[LabeledBatch]):
    """Labelled images of one split, or of some of its rows, in their order.

    Args:
        store: the opened store.
        split: which split.
        labels: names of the labels.
        rows: indices within the split; all by default.
    """

    def __init__(self, store: Store, split: str, labels: Sequence[str], rows: np.ndarray | None = None) -> None:
        indices = np.arange(len(store.table(split))) if rows is None else rows
        self.table = store.table(split).select_columns(["image"]).with_format("arrow")
        self.indices = indices
        self.target = store.targets(split, labels)[indices]
        ids = store.column(split, "row")
        self.row = np.array([stable_hash(ids[index]) for index in indices], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> LabeledBatch:
        image = _image(self.table[int(self.indices[index])])
        return LabeledBatch(image, torch.from_numpy(self.target[index]), torch.tensor(self.row[index]))


class _ItemDataset(Dataset[Any]):
    """A list as a dataset."""

    def __init__(self, items: Sequence[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def _image(record: pa.Table) -> Tensor:
    """Decode the image of a one-row table to uint8 [1, H, W]."""
    pixels = decode_grey(record["image"][0]["bytes"].as_py())
    return torch.from_numpy(pixels.copy())[None]


def _numbers(values: pa.ListScalar) -> np.ndarray:
    """Return a list of numbers as int64 array."""
    numbers: np.ndarray = values.values.to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers


def _hash(record: pa.Table, column: str) -> Tensor:
    return torch.tensor(stable_hash(record[column][0].as_py()))
