"""Protocols of the data modules that heads and callbacks need, and functions that check them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, cast

from lightning.pytorch import Trainer
from torch import Tensor
from torch_geometric.data import Batch

from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.schema import ReportGraph


class RowLookup(Protocol):
    """A data module that looks up rows by the hashed ids in batches."""

    def row_ids(self, row: int) -> tuple[str, str, str]:
        """Return row, study and patient id of a hashed row id."""

    def row_split(self, row: int) -> str:
        """Return the split of a hashed row id."""


class GraphLookup(RowLookup, Protocol):
    """A data module that looks up the graphs of reports too."""

    def report_graph(self, row: int) -> ReportGraph:
        """Return the graph of a hashed row id's report."""


class TrainingGraphs(Protocol):
    """A data module that gives the graphs of all training reports at once."""

    def training_graphs(self) -> Iterator[Batch]:
        """Return them in batches (see `graphs.featurizer.featurize`); `IgclError` if they are not there yet."""


class LabeledRows(RowLookup, Protocol):
    """A data module that serves labelled rows to heads, such as `LabeledDataModule`."""

    @property
    def label_names(self) -> list[str]:
        """Names of the L labels, in the order of the targets."""

    @property
    def draws(self) -> int:
        """Number of draws of training rows; each trains its own head."""

    @property
    def shots(self) -> int | None:
        """Number of positive training rows per label; None if a fraction is drawn."""

    @property
    def feature_file(self) -> str | None:
        """File of precomputed features; None if images or an encoder's features are served."""

    @property
    def feature_channels(self) -> int | None:
        """Length of the features in that file, known after `setup`; None without a file."""

    @property
    def store_path(self) -> str:
        """Path of the store, for `results.json`."""

    def drawn_setting(self) -> dict[str, float | int | None]:
        """Return `fraction` or `shots` of the training rows, and `draw_seed`, the seed of the first draw."""

    def drawn_targets(self) -> list[Tensor]:
        """Return the labels of the training rows of each draw, each float32 [N, L]; 1, 0 or nan."""


class MaskedRows(RowLookup, Protocol):
    """A data module that serves images with masks, such as `SegmentationDataModule`."""

    @property
    def mask_names(self) -> list[str]:
        """Names of the M masks, in the order of the batches."""

    @property
    def store_path(self) -> str:
        """Path of the store, for `results.json`."""

    def drawn_setting(self) -> dict[str, float | int]:
        """Return `fraction` of the training rows, and `draw_seed`, the seed of their draw."""


def row_lookup(trainer: Trainer, asker: str) -> RowLookup:
    """Return the trainer's data module; raises `IgclError`, which names `asker`, if it cannot look up rows."""
    return cast(RowLookup, _fitting(trainer, asker, RowLookup, "PairedDataModule or LabeledDataModule"))


def graph_lookup(trainer: Trainer, asker: str) -> GraphLookup:
    """Return the trainer's data module; raises `IgclError`, which names `asker`, if it cannot look up graphs."""
    return cast(GraphLookup, _fitting(trainer, asker, GraphLookup, "PairedDataModule"))


def training_graphs(trainer: Trainer, asker: str) -> Iterator[Batch]:
    """Return the graphs of the training reports; raises `IgclError`, which names `asker`, if the data has none."""
    return cast(TrainingGraphs, _fitting(trainer, asker, TrainingGraphs, "PairedDataModule")).training_graphs()


def labeled_rows(trainer: Trainer, asker: str) -> LabeledRows:
    """Return the trainer's data module; raises `IgclError`, which names `asker`, if it serves no labelled rows."""
    return cast(LabeledRows, _fitting(trainer, asker, LabeledRows, "LabeledDataModule"))


def masked_rows(trainer: Trainer, asker: str) -> MaskedRows:
    """Return the trainer's data module; raises `IgclError`, which names `asker`, if it serves no masks."""
    return cast(MaskedRows, _fitting(trainer, asker, MaskedRows, "SegmentationDataModule"))


def _fitting(trainer: Trainer, asker: str, protocol: type, example: str) -> object:
    data = getattr(trainer, "datamodule", None)  # absent from Lightning's types
    if data is None:
        raise IgclError(f"{asker} needs a data module, such as {example}; none was given")
    # Without reading properties, since some are known only after `setup`.
    members = [name for part in protocol.__mro__ if part.__module__ == __name__ for name in vars(part)]
    known = vars(data).keys() | set(dir(type(data)))
    if lacking := [name for name in members if not name.startswith("_") and name not in known]:
        raise IgclError(f"{asker} needs a data module such as {example}; {type(data).__name__} lacks {lacking[0]!r}")
    return data
