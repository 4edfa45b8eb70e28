"""Features of images: those of a frozen encoder, kept by content (weights + store + split), or those in a file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from igcl_lightning.atomic import replacing
from igcl_lightning.data.samples import FeatureBatch, LabeledBatch
from igcl_lightning.errors import IgclError

LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


@runtime_checkable
class FeatureModel(Protocol):
    """A module that trains on frozen features instead of images."""

    def feature_encoder(self) -> nn.Module:
        """Return what maps grey values 0-255 [B, 1, H, W] to features [B, D]."""


class FeatureRows(Dataset[FeatureBatch]):
    """Features of rows, in memory.

    Args:
        rows: features, labels and ids of all rows.
    """

    def __init__(self, rows: FeatureBatch) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows.row)

    def __getitem__(self, index: int) -> FeatureBatch:
        """Return one row: the fields of a batch without its first dimension."""
        return FeatureBatch(*(field[index] for field in self.rows))

    def batch(self, indices: Sequence[int]) -> FeatureBatch:
        """Return a batch of some rows."""
        return FeatureBatch(*(field[list(indices)] for field in self.rows))


def frozen_features(
    encoder: nn.Module, loader: DataLoader[LabeledBatch], cache: Path, content: str, device: torch.device
) -> Tensor:
    """Return the features of all images of a loader, float32 [N, D].

    They are read from `cache` when it holds features of this encoder and this content, and written there otherwise.

    Args:
        encoder: maps images to features.
        loader: yields the images in a fixed order.
        cache: folder of the cached features.
        content: hash of what the loader yields.
        device: where to compute.
    """
    path = cache / f"{_key(encoder, content)}.arrow"
    if not path.exists():
        _write(_compute(encoder, loader, device), path)
    return _read(path)


def read_features(path: Path, rows: Sequence[str]) -> Tensor:
    """Return the features of some rows from a Parquet file, float32 [N, D], in the order of `rows`.

    Args:
        path: columns `row`, the row's id in the store, and `feature`, a list of D numbers. It may hold further rows.
        rows: ids of the rows that are wanted.

    Raises:
        IgclError: there is no such file, it is no such table, holds a row twice or lacks a wanted one, or features have
            no or different lengths or a number that is not finite.
    """
    table = _feature_table(path)
    held = pd.Index([str(row) for row in table.column("row").to_pylist()])
    if not held.is_unique:
        raise IgclError(f"{path}: row {held[held.duplicated()][0]!r} stands there more than once")
    place = held.get_indexer(pd.Index(rows))
    absent = np.flatnonzero(place < 0)
    if len(absent):
        raise IgclError(f"{path}: lacks the features of {len(absent)} of {len(rows)} rows (first: {rows[absent[0]]!r})")
    features = table.column("feature").take(place).combine_chunks()
    lengths = features.value_lengths().unique().to_pylist()
    if len(lengths) != 1 or not lengths[0]:
        raise IgclError(f"{path}: features have no or different lengths: {', '.join(map(str, lengths))}")
    numbers = features.flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(-1, lengths[0])
    finite = np.isfinite(numbers).all(axis=1)
    if not finite.all():
        raise IgclError(f"{path}: the feature of row {rows[int(np.argmin(finite))]!r} holds what is no finite number")
    return torch.from_numpy(numbers)


def _feature_table(path: Path) -> pa.Table:
    try:
        table = pq.read_table(path, columns=["row", "feature"])
    except FileNotFoundError:
        raise IgclError(f"{path}: no such file of features") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise IgclError(f"{path}: not a Parquet file with columns row and feature") from error
    kind = table.schema.field("feature").type
    if not any(is_kind(kind) for is_kind in LISTS) or not pa.types.is_floating(kind.value_type):
        raise IgclError(f"{path}: column feature holds {kind}, not lists of numbers")
    return table


@torch.no_grad()
def _compute(encoder: nn.Module, loader: DataLoader[LabeledBatch], device: torch.device) -> np.ndarray:
    encoder = encoder.to(device).eval()
    batches = tqdm(loader, desc="features", leave=False)
    return torch.cat([encoder(batch.image.to(device)).float().cpu() for batch in batches]).numpy()


def _key(encoder: nn.Module, content: str) -> str:
    """Hash an encoder's structure, arguments and weights together with the content it is applied to."""
    digest = hashlib.sha256(f"{content}\n{encoder!r}\n".encode())
    for name, value in sorted(encoder.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]


def _write(features: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    column = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), features.shape[1])
    table = pa.table({"feature": column})
    with (
        replacing(path) as temporary,
        pa.OSFile(str(temporary), "wb") as file,
        pa.ipc.new_file(file, table.schema) as writer,
    ):
        writer.write_table(table)


def _read(path: Path) -> Tensor:
    with pa.memory_map(str(path)) as file:
        column = pa.ipc.open_file(file).read_all().column("feature").combine_chunks()
        width = column.type.list_size
        return torch.from_numpy(column.flatten().to_numpy().reshape(-1, width).copy())
