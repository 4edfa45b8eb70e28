"""Order of rows; in training it depends only on seed, epoch, world size and rank.

It is independent of the number of workers and of random states, so that an interrupted epoch can resume at any batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sized

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DistributedSampler

Ids = NDArray[np.int64]

POOL_BATCHES = 32
"""Number of batches of all processes whose rows are sorted by length together: enough for similar lengths within a
batch, few enough that batches stay random."""


class RowOrder(DistributedSampler[int]):
    """Rows of one process in whole batches, in order; an epoch can start after any number of its samples.

    A `DistributedSampler`, so that Lightning keeps it and sets its epoch.

    Args:
        rows: rows to sample; only their number is used.
        batch_size: rows per step and process.
        seed: seed of the order.
        num_replicas: number of processes.
        rank: rank of this process.
    """

    def __init__(self, rows: Sized, batch_size: int, seed: int = 0, num_replicas: int = 1, rank: int = 0) -> None:
        # torch types the rows as a dataset, but only uses their number.
        super().__init__(rows, num_replicas, rank, seed=seed, drop_last=True)  # type: ignore[arg-type]
        self.num_rows = len(rows)
        self.batch_size = batch_size
        self._start = (-1, 0)

    @property
    def step(self) -> int:
        """Rows per step of all processes."""
        return self.batch_size * self.num_replicas

    def start_at(self, epoch: int, samples: int) -> int:
        """Start one epoch after this number of samples of all processes, and return the number of batches left out.

        All other epochs are complete. Samples need not be whole batches; the last batches of the epoch remain whole.
        """
        self._start = (epoch, samples)
        return self.num_rows // self.step - max(0, self.num_rows - samples) // self.step

    def __iter__(self) -> Iterator[int]:
        """Yield the row numbers of this process."""
        epoch, samples = self._start
        rest = self.order()[samples if epoch == self.epoch else 0 :]
        return iter(self._numbers(rest[: len(rest) // self.num_replicas * self.num_replicas]))

    def order(self) -> Ids:
        """Return the order of the current epoch over all processes, to which its rows are dealt in turn."""
        return np.arange(self.num_rows)

    def _numbers(self, rows: Ids) -> list[int]:
        numbers: list[int] = rows[self.rank :: self.num_replicas].tolist()
        return numbers


class EpochOrder(RowOrder):
    """Shuffled rows of one process, in whole batches; each epoch is divided among the processes.

    Args:
        rows: rows to sample; only their number is used.
        batch_size: rows per step and process.
        seed: seed of the order.
        num_replicas: number of processes.
        rank: rank of this process.
        lengths: lengths of the rows, [N]; if given, a step of all processes holds rows of similar length.
        weights: how many times as often rows are drawn, [N], each rounded up or down at random; if given, an epoch has
            N draws, with repetitions.
        numbered: whether a row is yielded as row + epoch * N, for rows that differ between epochs.
    """

    def __init__(
        self,
        rows: Sized,
        batch_size: int,
        seed: int = 0,
        num_replicas: int = 1,
        rank: int = 0,
        lengths: Ids | None = None,
        weights: NDArray[np.float64] | None = None,
        numbered: bool = False,
    ) -> None:
        super().__init__(rows, batch_size, seed, num_replicas, rank)
        self.lengths = lengths
        self.weights = weights
        self.numbered = numbered

    def order(self) -> Ids:
        """Return the order of the current epoch over all processes, to which its rows are dealt in turn."""
        rng = np.random.default_rng((self.seed, self.epoch))
        order = rng.permutation(self.num_rows)
        if self.weights is not None:
            order = _by_weight(order, self.weights, rng)
        return order if self.lengths is None else _by_length(order, self.lengths, self.step, rng)

    def _numbers(self, rows: Ids) -> list[int]:
        return super()._numbers(rows + self.numbered * self.epoch * self.num_rows)


class SharedOrder(DistributedSampler[int]):
    """Rows in order for evaluation; each process takes every `num_replicas`-th.

    The k-th batches of W processes together are the k-th batch of one process with W times the batch size, so that no
    metric depends on the number of processes. If the rows do not divide evenly, the last one is repeated in the last
    batch; losses and metrics count it once.

    A `DistributedSampler`, so that Lightning does not replace it with its own, which repeats the first rows. The
    arguments are those of `EpochOrder`.
    """

    def __init__(self, rows: Sized, num_replicas: int = 1, rank: int = 0) -> None:
        super().__init__(rows, num_replicas, rank, shuffle=False)  # type: ignore[arg-type]  # as above

    def __iter__(self) -> Iterator[int]:
        """Yield the row numbers of this process."""
        last = len(self.dataset) - 1  # type: ignore[arg-type]  # as above
        return (min(row, last) for row in range(self.rank, self.total_size, self.num_replicas))


def _by_weight(order: Ids, weights: NDArray[np.float64], rng: np.random.Generator) -> Ids:
    """Return as many rows in random order, each as often as its weight says, rounded up or down at random.

    Systematic sampling: equal steps along the cumulative weights of the rows in random order. Drawing rows one by one
    would leave out a third of the rows with a share of 1.
    """
    ends = np.cumsum(weights[order])
    steps = (np.arange(len(order)) + rng.random()) * (ends[-1] / len(order))
    return rng.permutation(order[np.searchsorted(ends, steps, side="right").clip(max=len(order) - 1)])


def _by_length(order: Ids, lengths: Ids, step: int, rng: np.random.Generator) -> Ids:
    """Return a random order whose steps hold rows of similar length.

    The rows of each `POOL_BATCHES` steps are sorted by length and split into steps, which are then shuffled. Rows that
    do not fill a step stay last, so that the rows left out are not biased in length.
    """
    whole = len(order) // step * step
    pools = np.split(order[:whole], range(POOL_BATCHES * step, whole, POOL_BATCHES * step))
    steps = [pool[np.argsort(lengths[pool], kind="stable")].reshape(-1, step) for pool in pools]
    shuffled = rng.permutation(np.concatenate(steps))
    return np.concatenate([shuffled.ravel(), order[whole:]])
