"""The position of a run in its training data, which a checkpoint keeps."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_info

OPTIONS = {
    "batch_size": "data.batch_size",
    "processes": "the number of processes",
    "rows": "the number of training rows",
    "seed": "data.order_seed",
}
"""What the order of an epoch depends on, by the names of users."""


class Position(NamedTuple):
    """Batches that training has completed; workers prefetch further ones.

    Attributes:
        epoch: completed epochs.
        batch: completed batches of the current epoch.
    """

    epoch: int = 0
    batch: int = 0


def position(trainer: Trainer | None) -> Position:
    """Return the position of a fit; an epoch that `max_steps` ended early is the current one."""
    if trainer is None:
        return Position()
    loop: Any = trainer.fit_loop  # whose counters are declared without their fields
    epochs, batches = loop.epoch_progress.current, loop.epoch_loop.batch_progress.current
    cut = was_cut(trainer)
    begun = cut or epochs.started > epochs.processed
    return Position(epochs.processed - cut, batches.processed if begun else 0)


def was_cut(trainer: Trainer) -> bool:
    """Return whether the last epoch ended before its last batch."""
    loop: Any = trainer.fit_loop
    epochs, batches = loop.epoch_progress.current, loop.epoch_loop.batch_progress
    ended = 0 < epochs.started == epochs.processed
    return bool(ended and batches.current.processed > 0 and not batches.is_last_batch)


class Order(Protocol):
    """An order of training rows, or a stream of them."""

    num_rows: int
    batch_size: int
    num_replicas: int
    seed: int

    def start_at(self, epoch: int, samples: int) -> int:
        """Start one epoch after a number of samples, and return the number of batches left out."""

    def set_epoch(self, epoch: int) -> None:
        """Set the next epoch."""


def settings_of(order: Order) -> dict[str, int]:
    """Return what the order of an epoch depends on: the keys of `OPTIONS`."""
    return {
        "batch_size": order.batch_size,
        "processes": order.num_replicas,
        "rows": order.num_rows,
        "seed": order.seed,
    }


def continue_order(order: Order, stored: dict[str, int]) -> Position:
    """Set an order to the position that a checkpoint holds, and return it in batches of this order.

    With other settings it is the position after the same number of samples; a line says what differs.
    """
    epoch, samples = stored["epoch"], stored["batch"] * stored["batch_size"] * stored["processes"]
    order.set_epoch(epoch)
    say_changes(stored, settings_of(order), f"epoch {epoch} continues after {samples:,} samples")
    return Position(epoch, order.start_at(epoch, samples))


def say_changes(stored: dict[str, Any], now: dict[str, int], place: str) -> None:
    """Log in one line which settings of the order differ from those of a checkpoint."""
    differ = [(said, stored[name], now[name]) for name, said in OPTIONS.items() if stored[name] != now[name]]
    changes = [f"{said} was {before}, is {after}" for said, before, after in differ]
    if changes:
        rank_zero_info(
            f"{', '.join(changes)}: {place}; batches, augmentation and the schedule per sample are no longer those of "
            "an uninterrupted run"
        )
