"""Rows of a store as PyTorch datasets: `dataset.batch(indices)` is a ready batch, `dataset[index]` one row of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Protocol

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from torch.utils.data import Dataset
from torch_geometric.data import Batch

from igcl_lightning.data.collation import PairCollator, collate_labelled, collate_masked, row_hashes
from igcl_lightning.data.exchanged_reports import ReportExchange
from igcl_lightning.data.kept_rows import pair_rows
from igcl_lightning.data.report_noise import GraphNoise, NoiseOptions
from igcl_lightning.data.samples import LabeledBatch, MaskedBatch, PairBatch, Twin
from igcl_lightning.data.store import Store
from igcl_lightning.data.twins import TwinDraw, same_words
from igcl_lightning.graphs.tokens import ReportTokenizer

Ids = NDArray[np.int64]


class Rows(Protocol):
    """Rows that are read in whole batches."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def batch(self, indices: Sequence[int]) -> Any:
        """Return a batch of some rows."""


class _StoreRows(Dataset[Any]):
    """Rows of splits of a store, split by split: their `places` [N] in `table`, and `target` [N, L]."""

    def __init__(
        self,
        store: Store,
        splits: Sequence[str],
        columns: Sequence[str],
        labels: Sequence[str] | None = None,
        rows: np.ndarray | None = None,
        may_lack: bool = False,
    ) -> None:
        kept = slice(None) if rows is None else rows
        files = [store.files(name) for name in splits]
        first = np.cumsum([0, *map(len, files)])
        places = [start + store.row_indices(name) for start, name in zip(first, splits, strict=False)]
        self.places: Ids = np.concatenate(places)[kept]
        self.target = np.concatenate([store.targets(name, labels, may_lack) for name in splits])[kept]
        joined = files[0] if len(files) == 1 else datasets.concatenate_datasets(files)
        self.table = joined.flatten().select_columns(list(columns)).with_format("arrow")

    def __len__(self) -> int:
        return len(self.places)


class PairDataset(_StoreRows):
    """Pairs of one or several splits.

    Args:
        store: the opened store.
        split: name of the split, or names of several.
        tokenizer: tokenizer of the reports; hashed subwords by default.
        arrays: array columns to read; rows without one of them are left out.
        node_text: whether to read the language-model features of graph nodes.
        stating: sides, "graph" or "report"; rows that state nothing on one of them are left out.
        draw: draws the rows' twins; none by default. Twins of row `index` in epoch E are those of index + E * N.
        fraction: share of the patients whose pairs are kept (see `draw_patients`).
        noise: errors in the reports, drawn by epoch like twins; none by default.
        seed: seed of the noise.
    """

    def __init__(
        self,
        store: Store,
        split: str | Sequence[str],
        tokenizer: ReportTokenizer | None = None,
        arrays: Sequence[str] = (),
        node_text: bool = False,
        stating: Sequence[str] = (),
        draw: TwinDraw | None = None,
        fraction: float = 1.0,
        noise: NoiseOptions = NoiseOptions(),
        seed: int = 0,
    ) -> None:
        splits = [split] if isinstance(split, str) else list(split)
        shapes = {name: store.array_shapes[name] for name in arrays}
        errors = GraphNoise(noise, seed) if noise.in_graphs else None
        self.collate = PairCollator(shapes, store.node_text_channels if node_text else 0, tokenizer, draw, errors)
        kept = pair_rows(store, splits, arrays, stating, fraction)
        super().__init__(store, splits, ["image", *self.collate.columns], rows=kept)
        self.exchange = self._exchange(noise, seed) if noise.reports else None

    def __getitem__(self, index: int) -> PairBatch:
        """Return one pair: the fields of a batch without the first dimension."""
        batch = self.batch([range(len(self))[index]])
        whole = {"extra", "twin"}
        fields: dict[str, Any] = {name: field[0] for name, field in batch._asdict().items() if name not in whole}
        twin = None if batch.twin is None else Twin(*(field[0] for field in batch.twin))
        return PairBatch(extra={name: value[0] for name, value in batch.extra.items()}, twin=twin, **fields)

    def batch(self, indices: Sequence[int]) -> PairBatch:
        """Return a batch of some pairs (see `decode_images`)."""
        epoch, index = np.divmod(np.asarray(indices, np.int64), len(self))
        rows = self.table[self.places[index]]
        if self.exchange is not None:
            rows = self._with_exchanged(rows, self.exchange, index, epoch)
        return self.collate(rows, self.target[index], epoch)

    def _with_exchanged(self, rows: pa.Table, exchange: ReportExchange, index: Ids, epoch: Ids) -> pa.Table:
        """Return B rows with the reports that they have in their epochs."""
        source = np.array([exchange.sources(number)[row] for number, row in zip(epoch.tolist(), index, strict=True)])
        reports = self._reports[self.places[source]]
        for name in reports.column_names:
            rows = rows.set_column(rows.column_names.index(name), name, reports.column(name))
        return rows

    @cached_property
    def _reports(self) -> datasets.Dataset:
        return self.table.select_columns(self.collate.report_columns)

    def _exchange(self, noise: NoiseOptions, seed: int) -> ReportExchange:
        columns = (self.table.data.column(name).take(pa.array(self.places)) for name in ("patient", "study"))
        patient, study = (column.combine_chunks() for column in columns)
        return ReportExchange(patient, study, noise, seed)

    def graphs(self, batch_size: int = 1024) -> Iterator[Batch]:
        """Yield the graphs of all rows in their order, in batches; images stay unread."""
        table = self.table.select_columns(self.collate.graph_columns)
        for first in range(0, len(self), batch_size):
            yield self.collate.graphs(table[self.places[first : first + batch_size]])

    def lengths(self, side: str) -> Ids:
        """Return the entities ("graph"), or the words up to `max_tokens` ("report"), of each row, int64 [N].

        Reports are those of epoch 0; entities that noise drops are counted.
        """
        columns = self.table.data
        if side == "graph":
            lengths = pc.list_value_length(columns.column("graph.tokens")).to_numpy()
        else:  # an empty report counts as one word; nothing is padded to it
            words = pc.add(pc.count_substring(columns.column("graph.text"), " "), 1).to_numpy()
            lengths = np.minimum(words, self.collate.tokenizer.max_tokens)
        own = np.asarray(lengths[self.places], np.int64)
        return own if self.exchange is None else own[self.exchange.sources(0)]

    def same_words(self) -> NDArray[np.bool_]:
        """Return the rows whose graph names the same words when left and right are exchanged, bool [N].

        Whether such a graph then states something else is not asked: of Open-i's, 87 % do.
        """
        return same_words(self.table.data.column("graph.tokens"))[self.places]


class LabeledDataset(_StoreRows):
    """Labelled images of one or several splits, or of some of their rows.

    Args:
        store: the opened store.
        split: name of the split, or names of several.
        labels: names of the labels.
        rows: indices of the rows to keep, in this order; all by default.
        may_lack: whether a label that the store lacks is unknown, and not an error.
    """

    def __init__(
        self,
        store: Store,
        split: str | Sequence[str],
        labels: Sequence[str],
        rows: np.ndarray | None = None,
        may_lack: bool = False,
    ) -> None:
        splits = [split] if isinstance(split, str) else split
        super().__init__(store, splits, ["image", "row"], labels, rows, may_lack)

    def __getitem__(self, index: int) -> LabeledBatch:
        """Return one labelled image: the fields of a batch without the first dimension."""
        return LabeledBatch(*(field[0] for field in self.batch([index])))

    def batch(self, indices: Sequence[int]) -> LabeledBatch:
        """Return a batch of some labelled images (see `decode_images`)."""
        return collate_labelled(self.table[self.places[indices]], self.target[indices])

    @cached_property
    def row(self) -> Ids:
        """Hashes of the rows' ids, int64 [N]."""
        return row_hashes(self.table.data.column("row").take(pa.array(self.places)))


class MaskedDataset(_StoreRows):
    """Images of one or several splits with masks, or of some of their rows.

    Args:
        store: the opened store; one without masks has images of unknown masks.
        splits: names of the splits.
        names: names of the masks.
        known: whether a mask of a row is known, bool [N, M] (see `masks.mask_targets`).
        rows: indices of the rows to keep, in this order; all by default.
    """

    def __init__(
        self,
        store: Store,
        splits: Sequence[str],
        names: Sequence[str],
        known: NDArray[np.bool_],
        rows: np.ndarray | None = None,
    ) -> None:
        has = all("masks" in store.files(split).column_names for split in splits)
        super().__init__(store, splits, ["row", "image", *["masks.label", "masks.png"] * has], rows=rows)
        self.names = list(names)
        self.known = known if rows is None else known[rows]

    def __getitem__(self, index: int) -> MaskedBatch:
        """Return one image with masks: the fields of a batch without the first dimension."""
        return MaskedBatch(*(field[0] for field in self.batch([range(len(self))[index]])))

    def batch(self, indices: Sequence[int]) -> MaskedBatch:
        """Return a batch of some images with masks (see `collate_masked`)."""
        return collate_masked(self.table[self.places[indices]], self.names, self.known[indices])


class WholeBatches(Dataset[Any]):
    """Rows for a `DataLoader` with `collate_fn=ready`, whose batches are already collated."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: Sequence[int]) -> Any:
        """Return a batch of some rows."""
        return self.rows.batch(indices)


def ready(batch: Any) -> Any:
    """Return a batch unchanged, since `WholeBatches` has collated it."""
    return batch
