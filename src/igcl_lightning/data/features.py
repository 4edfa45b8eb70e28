"""Features of images: computed by a frozen encoder and cached by weights, store and split, or read from a file."""

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
from torch.utils.data import DataLoader

from igcl_lightning.atomic import replacing
from igcl_lightning.data.samples import FeatureBatch, LabeledBatch
from igcl_lightning.errors import IgclError
from igcl_lightning.quiet import progress_bar


@runtime_checkable
class FeatureModel(Protocol):
    """A module that trains on frozen features instead of images."""

    def feature_encoder(self) -> nn.Module:
        """Return the encoder, which maps grey values 0-255 [B, 1, H, W] to features [B, D]."""


class FeatureRows:
    """Features, labels and ids of rows, held in memory."""

    def __init__(self, rows: FeatureBatch) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows.row)

    def batch(self, indices: Sequence[int] | np.ndarray) -> FeatureBatch:
        """Return a batch of some rows."""
        return FeatureBatch(*(field[np.asarray(indices)] for field in self.rows))


def frozen_features(
    encoder: nn.Module, loader: DataLoader[LabeledBatch], cache: Path, content: str, device: torch.device
) -> Tensor:
    """Return the features of all images of a loader, float32 [N, D], from the cache or computed and cached.

    Args:
        encoder: maps images to features.
        loader: yields the images in a fixed order.
        cache: folder of cached features.
        content: identifies the images that the loader yields.
        device: device to compute on.
    """
    path = cache / f"{_key(encoder, content)}.arrow"
    if not path.exists():
        _write(_compute(encoder, loader, device), path)
    return _read(path)


def read_features(path: Path, rows: Sequence[str]) -> Tensor:
    """Read the features of some rows from a Parquet file, float32 [N, D], in the order of `rows`.

    Args:
        path: file with the columns `row`, the row's id in the store, and `feature`, a list of D numbers.
        rows: ids of the rows to read; the file may have others.

    Raises:
        IgclError: the file does not exist or is no such table, has a row twice or lacks one, or features are empty,
            differ in length or are not finite.
    """
    table = _feature_table(path)
    held = pd.Index([str(row) for row in table.column("row").to_pylist()])
    if not held.is_unique:
        raise IgclError(f"{path}: row {held[held.duplicated()][0]!r} occurs more than once")
    found = held.get_indexer(pd.Index(rows))
    absent = np.flatnonzero(found < 0)
    if len(absent):
        raise IgclError(f"{path}: lacks the features of {len(absent)} of {len(rows)} rows (first: {rows[absent[0]]!r})")
    features = table.column("feature").take(found).combine_chunks()
    lengths = features.value_lengths().unique().to_pylist()
    if len(lengths) != 1 or not lengths[0]:
        some = ", ".join([*map(str, lengths[:3]), *(["..."] * (len(lengths) > 3))])
        raise IgclError(f"{path}: features have no or different lengths: {some}")
    with np.errstate(over="ignore"):  # the next check names the row
        numbers = features.flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(-1, lengths[0])
    finite = np.isfinite(numbers).all(axis=1)
    if not finite.all():
        raise IgclError(f"{path}: the feature of row {rows[int(np.argmin(finite))]!r} has a number that is not finite")
    return torch.from_numpy(numbers)


def write_features(path: Path, rows: Sequence[str], features: np.ndarray) -> None:
    """Write features [N, D] of some rows as `read_features` reads them."""
    column = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), features.shape[1])
    with replacing(path) as temporary:
        pq.write_table(pa.table({"row": list(rows), "feature": column}), temporary)


def _feature_table(path: Path) -> pa.Table:
    try:
        table = pq.read_table(path, columns=["row", "feature"])
    except FileNotFoundError:
        raise IgclError(f"{path}: no such file of features") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise IgclError(f"{path}: not a Parquet file with columns row and feature") from error
    kind = table.schema.field("feature").type
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(is_list(kind) for is_list in lists) or not pa.types.is_floating(kind.value_type):
        raise IgclError(f"{path}: column feature contains {kind}, not lists of numbers")
    return table


@torch.no_grad()
def _compute(encoder: nn.Module, loader: DataLoader[LabeledBatch], device: torch.device) -> np.ndarray:
    encoder = encoder.to(device).eval()
    batches = progress_bar(loader, desc="features", leave=False)
    return torch.cat([encoder(batch.image.to(device)).float().cpu() for batch in batches]).numpy()


def _key(encoder: nn.Module, content: str) -> str:
    """Hash an encoder's structure, arguments and weights, and the images."""
    digest = hashlib.sha256(f"{content}\n{encoder!r}\n".encode())
    for name, value in sorted(encoder.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]


def _write(features: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    column = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), features.shape[1])
    table = pa.table({"feature": column})
    with replacing(path) as temporary, pa.ipc.new_file(str(temporary), table.schema) as writer:
        writer.write_table(table)


def _read(path: Path) -> Tensor:
    with pa.memory_map(str(path)) as file:
        column = pa.ipc.open_file(file).read_all().column("feature").combine_chunks()
        return torch.from_numpy(column.flatten().to_numpy().reshape(-1, column.type.list_size).copy())
