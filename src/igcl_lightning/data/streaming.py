"""Stores at a URL, whose rows are streamed, for data larger than the disk.

`fsspec` opens the URL (s3://, hf://, https://, ...) with its own credentials; `datasets` streams the Arrow files,
shuffles them and a buffer of rows, and distributes them to processes and workers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import datasets
import fsspec
import pyarrow as pa
import pyarrow.compute as pc
from datasets.distributed import split_dataset_by_node
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from igcl_lightning.data.collation import PairCollator, with_graph_fields
from igcl_lightning.data.samples import PairBatch
from igcl_lightning.data.store import StoreDescription, label_array, states
from igcl_lightning.data.store_path import MANIFEST
from igcl_lightning.data.study import SPLITS
from igcl_lightning.errors import IgclError, one_line
from igcl_lightning.graphs.schema import stable_hash

BUFFER_ROWS = 2048
"""Rows in the shuffle buffer of a worker: about 50 MB of images of 256 pixels."""


class StreamedStore(StoreDescription):
    """A store at a URL, whose rows are streamed.

    Looking up a row (`ids`, `report_text`, `report_graph`, `row_labels`, `split_of`) reads whole splits, the smallest
    first, until the row is found, and keeps all but their images.

    Args:
        path: URL of the folder that `igcl prepare` wrote; anything that fsspec opens.
        views: projections of the images to keep; all by default.

    Raises:
        IgclError: the store is unreadable or was written by a newer version, or a view is unknown.
    """

    path: str

    def __init__(self, path: str, views: Sequence[str] | None = None) -> None:
        path = path.rstrip("/")
        super().__init__(path, _read(f"{path}/{MANIFEST}"), views)
        self.splits = tuple(split for split in SPLITS if self.manifest["rows"].get(split))
        self._unread = sorted(self.splits, key=lambda split: self.manifest["rows"][split], reverse=True)
        self._records: dict[int, tuple[str, pa.Table, int]] = {}

    def shards(self, split: str) -> list[str]:
        """Return the URLs of the Arrow files of a split; raises `IgclError` if it cannot be read."""
        if split not in self.splits:
            raise IgclError(f"{self.path}: no split {split!r}, only {', '.join(self.splits)}")
        state = json.loads(_read(f"{self.path}/{split}/state.json"))
        return [f"{self.path}/{split}/{file['filename']}" for file in state["_data_files"]]

    def stream(self, splits: Sequence[str], columns: Sequence[str]) -> datasets.IterableDataset:
        """Return some columns of some splits as a stream of Arrow tables."""
        files = [shard for split in splits for shard in self.shards(split)]
        stream = datasets.load_dataset("arrow", data_files=files, split="train", streaming=True)
        return stream.select_columns(list(columns)).with_format("arrow")

    @property
    def empty_rows(self) -> tuple[int, int]:
        """Number of rows of all splits whose graph states nothing, and number of all rows."""
        return int(self.manifest["rows_with_empty_graph"]), sum(map(int, self.manifest["rows"].values()))

    def record(self, row: int, *columns: str) -> tuple[str, dict[str, Any]]:
        """Return the split and some columns of a hashed row id, of its ids, report, graph and labels."""
        while row not in self._records:
            self._read_split(self._unread.pop())
        split, table, index = self._records[row]
        return split, {name: table[name][index].as_py() for name in columns}

    def _read_split(self, split: str) -> None:
        columns = ["row", "study", "patient", "report", "graph", *(["labels"] if self.labels else [])]
        for table in self.stream([split], columns).iter(BUFFER_ROWS):
            kept = table.take(pa.array(range(len(table))))  # a copy: parts of the file would keep its images in memory
            rows = enumerate(kept["row"].to_pylist())
            self._records |= {stable_hash(row): (split, kept, index) for index, row in rows}


@dataclass(eq=False)
class PairStream(IterableDataset[PairBatch | None]):
    """Batches of pairs of a streamed store.

    Each pass is the next epoch, in a new order. In training each worker leaves out rows that do not fill a batch;
    several processes read different Arrow files and yield the same number of batches: a process with fewer rows repeats
    them, one with more stops early. In evaluation each process reads all rows and takes its part of each batch, so that
    every row is embedded.

    Args:
        store: the streamed store.
        splits: names of the splits.
        collate: collator of the batches.
        batch_size: pairs per step and process.
        shuffled: whether the rows are for training.
        seed: seed of the order.
        num_replicas: number of processes.
        rank: rank of this process.
        epoch: epoch of the first pass.
        stating: sides, "graph" or "report"; rows that state nothing on one of them are left out. The length of an
            epoch of several processes assumes that all rows with an empty graph, of any split, are among these.

    Raises:
        IgclError: there are fewer Arrow files than processes, or less than a batch for each; or views or arrays are
            selected with several processes, so that the number of rows is unknown.
    """

    store: StreamedStore
    splits: Sequence[str]
    collate: PairCollator
    batch_size: int
    shuffled: bool
    seed: int = 0
    num_replicas: int = 1
    rank: int = 0
    epoch: int = 0
    stating: Sequence[str] = ()

    def __post_init__(self) -> None:
        empty, _ = self.store.empty_rows
        self.stating = tuple(self.stating) if empty else ()
        self.start = (-1, 0)
        self.num_shards = sum(len(self.store.shards(split)) for split in self.splits)
        rows = sum(int(self.store.manifest["rows"][split]) for split in self.splits)
        self.num_rows = rows - (empty if self.stating and self.num_replicas > 1 else 0)
        self.most_batches = self.num_rows // (self.num_replicas * self.batch_size)
        self.steps = self._equal_steps() if self.shuffled and self.num_replicas > 1 else None
        if self.shuffled and self.most_batches < 1:
            raise IgclError(
                f"{self.store.path}: {self.num_rows} rows give {self.num_replicas} processes no batch of "
                f"{self.batch_size}; make data.batch_size smaller"
            )

    def left_out(self, epoch: int) -> int:
        """Return the number of batches of an epoch that are left out."""
        return self.start[1] if epoch == self.start[0] else 0

    @property
    def most_workers(self) -> int:
        """Largest number of workers per process that all have an Arrow file and, in training, rows for a batch."""
        return min(self.num_shards // self.num_replicas, self.most_batches) if self.shuffled else self.num_shards

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next pass; in Lightning passes count themselves."""
        self.epoch = epoch

    def start_at(self, epoch: int, samples: int) -> int:
        """Leave out the batches that hold this number of samples of all processes in one epoch; return their number."""
        self.start = epoch, samples // (self.num_replicas * self.batch_size)
        return self.start[1]

    def __iter__(self) -> Iterator[PairBatch | None]:
        """Yield the batches of the next epoch, or a worker's part of them; None for those that are left out.

        Rows of batches that are left out are read, since the shuffle depends on them, but not decoded.
        """
        worker = get_worker_info()
        workers, number = (worker.num_workers, worker.id) if worker else (1, 0)
        tables = self._training(workers, number) if self.shuffled else self._evaluation(workers, number)
        epoch = self.epoch if self.shuffled else 0
        left_out = self.left_out(self.epoch)
        self.epoch += 1
        for index, table in enumerate(tables):
            # Workers take turns while they have batches, so at least this many of a worker's batches are left out.
            if index < len(range(number, left_out, workers)):
                yield None
                continue
            labels = table["labels"] if self.store.labels else range(len(table))
            yield self.collate(with_graph_fields(table), label_array(labels, self.store.labels), epoch)

    def _training(self, workers: int, number: int) -> Iterator[pa.Table]:
        """Yield the whole batches of one worker of this process; raises if other processes would wait forever."""
        rows = self._rows().shuffle(seed=self.seed, buffer_size=BUFFER_ROWS)
        part, parts = self.rank * workers + number, self.num_replicas * workers
        rows = rows if self.steps is None else rows.repeat(None)
        batches = _dealt(rows, part, parts, self.epoch).iter(self.batch_size, drop_last_batch=True)
        planned = None if self.steps is None else len(range(number, self.steps, workers))
        taken = 0
        for table in islice(batches, planned):
            yield table
            taken += 1
        if planned is not None and taken < planned:
            raise IgclError(f"{self.store.path}: no row of one process's Arrow files states anything; copy it to disk")
        if not taken and workers == 1:  # without a plan, empty epochs would follow each other forever
            raise IgclError(f"{self.store.path}: no batch of {self.batch_size} training rows that state anything")

    def _evaluation(self, workers: int, number: int) -> Iterator[pa.Table]:
        """Yield this process's part of the batches of one worker, which are the same in all processes."""
        for table in _dealt(self._rows(), number, workers).iter(self.batch_size * self.num_replicas):
            # Processes wait for each other, so each takes a row per round; a short last round repeats rows.
            rounds = range(0, len(table), self.num_replicas)
            yield table.take([(start + self.rank) % len(table) for start in rounds])

    def _rows(self) -> datasets.IterableDataset:
        needed = {column.split(".")[0] for column in self.collate.columns}
        columns = [*needed, "image", "view", *(["labels"] if self.store.labels else [])]
        rows = self.store.stream(self.splits, columns)
        all_wanted = self.store.views is None and not self.collate.shapes and not self.stating
        return rows if all_wanted else rows.filter(self._wanted, batched=True)

    def _wanted(self, table: pa.Table) -> pa.Array:
        """Return which rows have a wanted view, all array columns, and something stated on each side of `stating`."""
        views = self.store.views
        wanted = pc.is_valid(table["row"]) if views is None else pc.is_in(table["view"], pa.array(views, pa.string()))
        for name in self.collate.shapes:
            wanted = pc.and_(wanted, pc.is_valid(table[name]))
        for side in self.stating:
            wanted = pc.and_(wanted, states(table["graph"], side))
        return wanted

    def _equal_steps(self) -> int:
        path, world = self.store.path, self.num_replicas
        if self.num_shards < world:
            raise IgclError(f"{path}: {self.num_shards} Arrow files are too few for {world} processes; copy it")
        if self.store.views is not None or self.collate.shapes:
            raise IgclError(f"{path}: data.views and data.arrays select rows of a stream; use one process, or copy it")
        return self.most_batches


def _dealt(rows: datasets.IterableDataset, part: int, parts: int, epoch: int = 0) -> datasets.IterableDataset:
    """Return one of several parts of a stream, a set of Arrow files that depends on the epoch."""
    dealt = rows if parts == 1 else split_dataset_by_node(rows, part, parts, strategy="shards")
    dealt.set_epoch(epoch)  # derived streams lose the epoch
    return dealt


def _read(address: str) -> bytes:
    """Read a small file."""
    try:
        with fsspec.open(address) as file:
            content: bytes = file.read()
            return content
    except FileNotFoundError:  # also raised when a server denies access
        hint = "no such file, or one that may not be read; is this the address of a store?"
        raise IgclError(f"{address}: {hint}") from None
    except (OSError, ValueError, ImportError) as error:
        raise IgclError(f"{address}: cannot be opened ({one_line(error)})") from error


class StreamLoader(DataLoader[PairBatch]):
    """The loader of a `PairStream`, without the batches that are left out."""

    def __init__(self, stream: PairStream, **options: Any) -> None:
        super().__init__(stream, **options)  # type: ignore[arg-type]  # None is dropped
        self.stream = stream
        self.epoch = stream.epoch

    def __iter__(self) -> Any:
        """Yield the batches of the next epoch."""
        left_out = self.stream.left_out(self.epoch)
        self.epoch += 1
        return islice(super().__iter__(), left_out, None)
