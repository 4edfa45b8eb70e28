"""Rows of a store as PyTorch datasets: ready batches by `dataset.batch(indices)`.

A single row, `dataset[index]`, is that of a batch of one, so that there is one way of reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from torch.utils.data import Dataset

from igcl_lightning.data.collation import PairCollator, collate_labelled, row_hashes
from igcl_lightning.data.kept_rows import known_rows
from igcl_lightning.data.samples import LabeledBatch, PairBatch
from igcl_lightning.data.store import Store
from igcl_lightning.graphs.tokens import ReportTokenizer

Ids = NDArray[np.int64]


class Rows(Protocol):
    """Rows that give whole batches."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def __getitem__(self, index: int, /) -> Any:
        """Return one row: the fields of a batch without its first dimension."""

    def batch(self, indices: Sequence[int]) -> Any:
        """Return a batch of some rows."""


class PairDataset(Dataset[PairBatch]):
    """Pairs of one or several splits, read from Arrow.

    Args:
        store: the opened store.
        split: which split; or several, whose rows then follow each other.
        tokenizer: makes tokens of a report.
        arrays: array columns to read; rows without one of them are left out.
        node_text: whether to read the language-model features of graph nodes.
        stating: sides, "graph" or "report"; rows that state nothing on one of them are left out.
    """

    def __init__(
        self,
        store: Store,
        split: str | Sequence[str],
        tokenizer: ReportTokenizer | None = None,
        arrays: Sequence[str] = (),
        node_text: bool = False,
        stating: Sequence[str] = (),
    ) -> None:
        splits = [split] if isinstance(split, str) else list(split)
        shapes = {name: store.array_shapes[name] for name in arrays}
        self.collate = PairCollator(shapes, store.node_text_channels if node_text else 0, tokenizer)
        kept = [known_rows(store, name, arrays, stating) for name in splits]
        files = [store.files(name) for name in splits]
        first = np.cumsum([0, *map(len, files)])
        self.places: Ids = np.concatenate(
            [start + store.row_indices(name)[rows] for start, name, rows in zip(first, splits, kept, strict=False)]
        )
        self.target = np.concatenate([store.targets(name)[rows] for name, rows in zip(splits, kept, strict=True)])
        columns = ["image", *self.collate.columns]
        self.table = _joined(files).flatten().select_columns(columns).with_format("arrow")

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> PairBatch:
        """Return one pair: the fields of a batch without its first dimension."""
        batch = self.batch([index])
        fields: dict[str, Any] = {name: field[0] for name, field in batch._asdict().items() if name != "extra"}
        return PairBatch(extra={name: value[0] for name, value in batch.extra.items()}, **fields)

    def batch(self, indices: Sequence[int]) -> PairBatch:
        """Return a batch of some rows.

        Raises:
            IgclError: a stored image cannot be decoded, or differs in size.
        """
        return self.collate(self.table[self.places[indices]], self.target[indices])

    def lengths(self, side: str) -> Ids:
        """Return how many units each row has, int64 [N].

        Args:
            side: "graph" counts entities, "report" words, as far as the tokenizer keeps them.
        """
        if side == "graph":
            lengths = pc.list_value_length(self.table.data.column("graph.tokens"))
        else:
            # An empty report counts as one word; nothing is padded to it.
            lengths = pc.add(pc.count_substring(self.table.data.column("graph.text"), " "), 1)
        counted: Ids = lengths.to_numpy()[self.places].astype(np.int64)
        return counted if side == "graph" else np.minimum(counted, self.collate.tokenizer.max_tokens)


class LabeledDataset(Dataset[LabeledBatch]):
    """Labelled images of one or several splits, or of some of their rows, in their order.

    Args:
        store: the opened store.
        split: which split; or several, whose rows then follow each other.
        labels: names of the labels.
        rows: indices of rows; all by default.
    """

    def __init__(
        self, store: Store, split: str | Sequence[str], labels: Sequence[str], rows: np.ndarray | None = None
    ) -> None:
        splits = [split] if isinstance(split, str) else list(split)
        indices = slice(None) if rows is None else rows
        files = [store.files(name) for name in splits]
        first = np.cumsum([0, *map(len, files)])
        places = [start + store.row_indices(name) for start, name in zip(first, splits, strict=False)]
        self.places: Ids = np.concatenate(places)[indices]
        self.target = np.concatenate([store.targets(name, labels) for name in splits])[indices]
        self.table = _joined(files).select_columns(["image", "row"]).with_format("arrow")

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> LabeledBatch:
        """Return one labelled image: the fields of a batch without its first dimension."""
        return LabeledBatch(*(field[0] for field in self.batch([index])))

    def batch(self, indices: Sequence[int]) -> LabeledBatch:
        """Return a batch of some rows.

        Raises:
            IgclError: a stored image cannot be decoded, or differs in size.
        """
        return collate_labelled(self.table[self.places[indices]], self.target[indices])

    @cached_property
    def row(self) -> Ids:
        """Hashes of the rows' ids, int64 [N]."""
        return row_hashes(self.table.data.column("row").take(pa.array(self.places)))


class WholeBatches(Dataset[Any]):
    """Rows as a `DataLoader` reads them: it asks for all rows of a batch at once and gets the batch ready.

    Its `collate_fn` is `ready`.

    Args:
        rows: what is read.
    """

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        """Return one row."""
        return self.rows[index]

    def __getitems__(self, indices: Sequence[int]) -> Any:
        """Return a batch of some rows."""
        return self.rows.batch(indices)


def ready(batch: Any) -> Any:
    """Return a batch as it is: nothing is left to collate."""
    return batch


def _joined(files: Sequence[datasets.Dataset]) -> datasets.Dataset:
    return files[0] if len(files) == 1 else datasets.concatenate_datasets(list(files))
