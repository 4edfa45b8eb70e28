"""Features of a frozen encoder, computed once and kept by content: weights + store + split."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from igcl_lightning.data.samples import LabeledBatch


@runtime_checkable
class FeatureModel(Protocol):
    """A module that trains on frozen features instead of images."""

    @property
    def feature_encoder(self) -> nn.Module:
        """Maps grey values 0-255 [B, 1, H, W] to features [B, D]."""


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
    unfinished = path.with_suffix(".partial")
    with pa.OSFile(str(unfinished), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    unfinished.rename(path)


def _read(path: Path) -> Tensor:
    with pa.memory_map(str(path)) as file:
        column = pa.ipc.open_file(file).read_all().column("feature").combine_chunks()
        width = column.type.list_size
        return torch.from_numpy(column.flatten().to_numpy().reshape(-1, width).copy())
