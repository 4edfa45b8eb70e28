"""Rows of a store as samples: PyTorch datasets that read Arrow one row at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torch_geometric.data import Data

from igcl_lightning.data.images import decode_grey
from igcl_lightning.data.samples import LabeledBatch, PairBatch
from igcl_lightning.data.store import NODE_TEXT, Store
from igcl_lightning.graphs.featurizer import NUM_FACTS, GraphFeaturizer
from igcl_lightning.graphs.schema import stable_hash
from igcl_lightning.graphs.tokens import ReportTokenizer


class PairDataset(Dataset[PairBatch]):
    """Pairs of one split, read from Arrow one at a time.

    Args:
        store: the opened store.
        split: which split.
        tokenizer: makes tokens of a report.
        arrays: array columns to read; rows without one of them are left out.
        node_text: whether to read the language-model features of graph nodes.
    """

    def __init__(
        self,
        store: Store,
        split: str,
        tokenizer: ReportTokenizer | None = None,
        arrays: Sequence[str] = (),
        node_text: bool = False,
    ) -> None:
        columns = ["row", "study", "patient", "image", "graph", *arrays, *([NODE_TEXT] if node_text else [])]
        table = store.table(split).select_columns(columns).with_format("arrow")
        self.indices = known_rows(store, split, arrays)
        self.table = table
        self.target = store.targets(split)
        self.shapes = {name: store.array_shapes[name] for name in arrays}
        self.node_text_channels = store.node_text_channels if node_text else 0
        self.featurizer = GraphFeaturizer()
        self.tokenizer = tokenizer or ReportTokenizer()

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> PairBatch:
        place = int(self.indices[index])
        record = self.table[place]
        graph = record["graph"][0]
        facts = torch.zeros(NUM_FACTS, dtype=torch.uint8)
        facts[torch.from_numpy(_numbers(graph["facts"]) % NUM_FACTS)] = 1
        return PairBatch(
            image=_image(record),
            graph=self._graph(record),
            report=self.tokenizer(graph["text"].as_py()),
            target=torch.from_numpy(self.target[place]),
            extra={name: _array(record, name).view(shape) for name, shape in self.shapes.items()},
            row=_hash(record, "row"),
            study=_hash(record, "study"),
            patient=_hash(record, "patient"),
            graph_key=torch.tensor(graph["key"].as_py()),
            graph_facts=facts,
        )

    def _graph(self, record: pa.Table) -> Data:
        graph = record["graph"][0]
        data = self.featurizer.featurize_arrays(
            graph["tokens"].values.to_pylist(),
            _numbers(graph["label"]),
            np.stack([_numbers(graph["head"]), _numbers(graph["tail"])]),
            _numbers(graph["type"]),
        )
        if self.node_text_channels:
            data.text = _array(record, NODE_TEXT).view(-1, self.node_text_channels)
        return data


def known_rows(store: Store, split: str, arrays: Sequence[str]) -> np.ndarray:
    """Return the indices of the rows of a split that have all of these array columns."""
    known = np.ones(len(store.table(split)), dtype=bool)
    for name in arrays:
        known &= store.known(split, name)
    return np.flatnonzero(known)


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


def _image(record: pa.Table) -> Tensor:
    """Decode the image of a one-row table to uint8 [1, H, W]."""
    pixels = decode_grey(record["image"][0]["bytes"].as_py())
    return torch.from_numpy(pixels.copy())[None]


def _numbers(values: pa.ListScalar) -> np.ndarray:
    """Return a list of numbers as int64 array."""
    numbers: np.ndarray = values.values.to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers


def _array(record: pa.Table, column: str) -> Tensor:
    """Return an array column of a one-row table, float32 and flat."""
    values = record[column][0].values.to_numpy(zero_copy_only=False)
    return torch.from_numpy(values.astype(np.float32))


def _hash(record: pa.Table, column: str) -> Tensor:
    return torch.tensor(stable_hash(record[column][0].as_py()))
