"""What heads and callbacks ask of a data module, and the one way in which they get at it."""

from __future__ import annotations

from typing import Protocol, cast

from lightning.pytorch import Trainer
from torch import Tensor

from igcl_lightning.errors import IgclError


class RowLookup(Protocol):
    """A data module that knows its rows by the hashes of their ids, which batches carry."""

    def row_ids(self, row: int) -> tuple[str, str, str]:
        """Return row, study and patient id of a hashed row id."""

    def row_split(self, row: int) -> str:
        """Return the split of a hashed row id."""


class LabeledRows(RowLookup, Protocol):
    """A data module that serves labelled rows to heads; `LabeledDataModule` is one."""

    @property
    def label_names(self) -> list[str]:
        """Names of the L labels, in the order of the targets."""

    @property
    def draws(self) -> int:
        """Number of draws of training rows, each of which trains a head of its own."""

    @property
    def shots(self) -> int | None:
        """Positive training rows drawn per label; None where a fraction of the rows is drawn."""

    @property
    def feature_file(self) -> str | None:
        """File of features made elsewhere; None where images or an encoder's features are served."""

    @property
    def feature_channels(self) -> int | None:
        """Length of the features of that file, from `setup` on; None without a file."""

    @property
    def store_path(self) -> str:
        """What the rows come from, for `results.json`."""

    def drawn_setting(self) -> dict[str, float | int | None]:
        """Return how training rows are drawn: `fraction`, `shots` and `draw_seed`, the seed of the first draw."""

    def drawn_targets(self) -> list[Tensor]:
        """Return the labels of the training rows of each draw, each float32 [N, L]; 1, 0 or nan."""


def row_lookup(trainer: Trainer, asker: str) -> RowLookup:
    """Return the trainer's data module as what knows its rows.

    Args:
        trainer: of the run.
        asker: who asks, for the message.

    Raises:
        IgclError: there is no data module, or one of another kind.
    """
    return cast(RowLookup, _fitting(trainer, asker, RowLookup, "PairedDataModule or LabeledDataModule"))


def labeled_rows(trainer: Trainer, asker: str) -> LabeledRows:
    """Return the trainer's data module as what serves labelled rows.

    Args:
        trainer: of the run.
        asker: who asks, for the message.

    Raises:
        IgclError: there is no data module, or one of another kind.
    """
    return cast(LabeledRows, _fitting(trainer, asker, LabeledRows, "LabeledDataModule"))


def _fitting(trainer: Trainer, asker: str, protocol: type, example: str) -> object:
    data = getattr(trainer, "datamodule", None)  # absent from Lightning's types
    if data is None:
        raise IgclError(f"{asker} needs a data module, such as {example}; none was given")
    # Looked up without calling properties: some are known only after `setup`.
    lacking = [name for name in _members(protocol) if name not in vars(data) and not hasattr(type(data), name)]
    if lacking:
        raise IgclError(f"{asker} needs a data module such as {example}; {type(data).__name__} lacks {lacking[0]!r}")
    return data


def _members(protocol: type) -> list[str]:
    parts = [part for part in protocol.__mro__ if getattr(part, "_is_protocol", False) and part is not Protocol]
    return [name for part in parts for name in vars(part) if not name.startswith("_")]
