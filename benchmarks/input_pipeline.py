"""From the store to the training process: how fast, how much memory, how much padding. Stores are made of phantoms.

Each line is a claim, what was measured, and whether the claim holds. What is compared runs side by side, in rounds that
alternate, because one machine is not equally fast at all times.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import datasets
import numpy as np
import psutil
import pyarrow as pa
import torch
from datasets.arrow_writer import ArrowWriter
from PIL import Image

from igcl_lightning.data.images import decode_grey
from igcl_lightning.data.modules import PairedDataModule
from igcl_lightning.data.order import EpochOrder
from igcl_lightning.data.pictures.fit import Fit
from igcl_lightning.data.prepare import prepare
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.row_datasets import PairDataset
from igcl_lightning.data.sources.phantom import phantom_study
from igcl_lightning.data.sources.source import Source
from igcl_lightning.data.store import Store
from igcl_lightning.data.twins import TwinDraw
from igcl_lightning.phantom import FINDINGS

BATCH = 128  # as in configs/pretrain/igcl.yaml
ORIGINAL = (2544, 3056)  # width and height of a chest radiograph as it is published
MANY_ROWS = 400_000
ROWS_PER_FILE = 16  # copies of the small store that one Arrow file of the large one holds


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2048, help="rows of the store that is timed")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of worker processes")
    parser.add_argument("--size", type=int, default=256, help="side of the stored images")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each comparison")
    parser.add_argument("--many", type=int, default=MANY_ROWS, help="rows of the store that is opened")
    args = parser.parse_args()
    torch.set_num_threads(1)
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        store = phantom_store(Path(folder) / "timed", args.rows, args.size)
        originals = original_files(Path(folder) / "originals", 16)
        for workers in args.workers:
            compare_decoding(store, workers, args.rounds)
            compare_originals(store, originals, workers, args.size)
        report_padding(store)
        compare_twins(store, args.rounds)
        many = repeated_store(phantom_store(Path(folder) / "small", 512, 64), Path(folder) / "many", args.many)
        report_opening(many)
        report_same_words(many)
        report_memory(many)


def say(claim, measured, holds):
    print(f"{'holds' if holds else 'FAILS'}  {claim}: {measured}", flush=True)


def phantom_store(path, rows, size):
    studies = [partial(training_phantom, index, size) for index in range(rows)]
    prepare(Source.of(studies, labels=FINDINGS), path, options=Options(size=size), chunk=256)
    return path


def training_phantom(index, size):
    return replace(phantom_study(index, size=size, views="frontal"), split="train")


def compare_decoding(store, workers, rounds):
    """The training loader against processes that decode the same JPEGs and do nothing else.

    Beside the rates stands the ratio of the processor time that their processes take for an image, which other programs
    on the machine disturb less.
    """
    table = Store(store).files("train").select_columns(["image"]).with_format("arrow")
    others = set(psutil.Process().children())
    loader = PairedDataModule(str(store), batch_size=BATCH, num_workers=workers).train_dataloader()
    run_loader(loader)  # workers start, files come into memory
    own = set(psutil.Process().children()) - others
    rates, times = [], []
    for _ in range(rounds):
        before = processor_time(own)
        loaded = run_loader(loader)
        busy = processor_time(own) - before
        before = os.times().children_user + os.times().children_system
        bare = in_processes(decode_rows, table, workers)
        times.append((os.times().children_user + os.times().children_system - before) / busy)
        rates.append((loaded / bare, loaded, bare))
    ratio, loaded, bare = (statistics.median(column) for column in zip(*rates, strict=True))
    numbers = f"{ratio:.2f} ({loaded:.0f} of {bare:.0f} images/s, medians of {rounds} rounds)"
    numbers += f"; by processor time {statistics.median(times):.2f}"
    say(f"{workers} worker(s): at least 0.9 of bare decoding", numbers, ratio >= 0.9)


def processor_time(processes):
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def compare_originals(store, files, workers, size):
    """The training loader against decoding and shrinking originals."""
    loader = PairedDataModule(str(store), batch_size=BATCH, num_workers=workers).train_dataloader()
    run_loader(loader)
    measured = [(in_processes(shrink_files, files, workers, size), run_loader(loader)) for _ in range(3)]
    ratio = statistics.median(own / other for other, own in measured)
    shrunk, loaded = (statistics.median(column) for column in zip(*measured, strict=True))
    numbers = f"{ratio:.1f} times ({loaded:.0f} and {shrunk:.1f} images/s)"
    say(f"{workers} worker(s): at least 5 times decoding originals of {ORIGINAL}", numbers, ratio >= 5)


def run_loader(loader):
    """Images a second of one epoch."""
    begin, images = time.perf_counter(), 0
    for batch in loader:
        images += len(batch.image)
    return images / (time.perf_counter() - begin)


def in_processes(work, items, workers, *args):
    """Items a second of processes that each do their share, from when all have started to when the last is done."""
    context = multiprocessing.get_context("fork")
    start = context.Barrier(workers + 1)
    shares = [range(worker, len(items), workers) for worker in range(workers)]
    processes = [context.Process(target=run_share, args=(start, work, items, share, *args)) for share in shares]
    for process in processes:
        process.start()
    start.wait()
    begin = time.perf_counter()
    for process in processes:
        process.join()
    return len(items) / (time.perf_counter() - begin)


def run_share(start, work, items, share, *args):
    torch.set_num_threads(1)
    start.wait()
    work(items, share, *args)


def decode_rows(table, share):
    """Decode rows in random order, as training reads them."""
    order = np.random.default_rng(0).permutation(share)
    for begin in range(0, len(order), BATCH):
        for chunk in table[order[begin : begin + BATCH]]["image"].chunks:
            decode_grey(chunk.field("bytes")[0].as_buffer())


def shrink_files(files, share, size):
    for number in share:
        with Image.open(files[number]) as image:
            pixels = np.asarray(image.convert("L"))
            Fit.of(pixels.shape, size).image(pixels)


def original_files(folder, count):
    """JPEGs of the size of originals: enlarged phantoms with the noise of a detector."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(count):
        enlarged = Image.fromarray(phantom_study(index, size=512).images[0].source).resize(ORIGINAL)
        noisy = np.asarray(enlarged, np.float32) + rng.normal(0, 4, ORIGINAL[::-1]).astype(np.float32)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{index}.jpg", quality=90)
    return sorted(folder.iterdir())


def report_padding(store):
    """Padding of batches of rows of similar length, and of batches of any rows."""
    pairs = PairDataset(Store(store), "train")
    for side in ("graph", "report"):
        lengths = pairs.lengths(side)
        shares = []
        for aware in (False, True):
            order = list(EpochOrder(pairs, BATCH, lengths=lengths if aware else None))
            steps = lengths[order][: len(pairs) // BATCH * BATCH].reshape(-1, BATCH)
            shares.append(1 - steps.sum() / (steps.max(axis=1).sum() * BATCH))
        numbers = f"{shares[0]:.1%} of the units without, {shares[1]:.1%} with data.length_aware"
        say(f"batches of {BATCH} {side}s of similar length pad less", numbers, shares[1] < shares[0])


def compare_twins(store, rounds, batch=64):
    """Batches with side twins against batches without, by processor time, in the first epoch and later."""
    plain, edited = (PairDataset(Store(store), "train", draw=draw) for draw in (None, TwinDraw(["side"])))
    batch_time(plain, batch)  # files come into memory
    first = batch_time(edited, batch)
    times = [(batch_time(plain, batch), batch_time(edited, batch)) for _ in range(rounds)]
    bare, later = (statistics.median(column) for column in zip(*times, strict=True))
    numbers = f"{later / bare - 1:.0%} of {bare * 1e3:.1f} ms; in the first epoch {(first - bare) * 1e3:.1f} ms more"
    say(f"side twins of a batch of {batch} cost less than 25 % of its collation", numbers, later < 1.25 * bare)


def batch_time(pairs, batch):
    """Processor time of a batch, over all rows."""
    begin = time.process_time()
    count = len(pairs) // batch
    for number in range(count):
        pairs.batch(range(number * batch, number * batch + batch))
    return (time.process_time() - begin) / count


def repeated_store(small, path, rows):
    """A store of many rows: those of a small one over and over, each with ids of its own, straight as Arrow files."""
    table = Store(small).files("train").with_format("arrow")[:].combine_chunks()
    features = Store(small).files("train").features
    (path / "train").mkdir(parents=True)
    copies = -(-rows // len(table))
    names = [f"data-{number:05d}.arrow" for number in range(-(-copies // ROWS_PER_FILE))]
    for number, name in enumerate(names):
        with ArrowWriter(features=features, path=str(path / "train" / name), writer_batch_size=256) as writer:
            for copy in range(number * ROWS_PER_FILE, min(copies, (number + 1) * ROWS_PER_FILE)):
                part = with_own_ids(table, copy).slice(0, min(len(table), rows - copy * len(table)))
                writer.write_table(part)
            writer.finalize()
    state = json.loads((small / "train" / "state.json").read_text())
    state["_data_files"] = [{"filename": name} for name in names]
    (path / "train" / "state.json").write_text(json.dumps(state))
    (path / "train" / "dataset_info.json").write_bytes((small / "train" / "dataset_info.json").read_bytes())
    manifest = json.loads((small / "manifest.json").read_text()) | {"rows": {"train": rows}}
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


def with_own_ids(table, copy):
    for name in ("row", "study", "patient"):
        own = pa.array([f"{value}-{copy}" for value in table.column(name).to_pylist()])
        table = table.set_column(table.column_names.index(name), name, own)
    return table


def report_opening(store):
    begin = time.perf_counter()
    opened = Store(store)
    rows, targets = opened.table("train"), opened.targets("train")
    seconds = time.perf_counter() - begin
    size = sum(file.stat().st_size for file in store.glob("train/*.arrow")) / 1e9
    say(
        f"a store of {len(rows):,} rows ({size:.1f} GB; images of 64 pixels) opens in 2 seconds, labels included",
        f"{seconds:.2f} s, {targets.shape[1]} labels",
        seconds < 2,
    )


def report_same_words(store):
    pairs = PairDataset(Store(store), "train")
    begin = time.perf_counter()
    share = pairs.same_words().mean()
    seconds = time.perf_counter() - begin
    say(
        f"rows of {len(pairs):,} that name both sides are found in 10 seconds (data.same_words_weight)",
        f"{seconds:.2f} s, {share:.1%} of them",
        seconds < 10,
    )


def report_memory(store, batches=500):
    """What two workers add, beside what they share with the training process."""
    before = set(psutil.Process().children())
    loader = PairedDataModule(str(store), batch_size=BATCH, num_workers=2).train_dataloader()
    for number, _ in enumerate(loader):
        if number == batches:
            break
    for worker in set(psutil.Process().children()) - before:
        uss = worker.memory_full_info().uss / 1e6
        of_files = sum(
            part.private_clean + part.private_dirty for part in worker.memory_maps() if str(store) in part.path
        )
        numbers = (
            f"{uss:.0f} MB after {batches} batches, of which {of_files / 1e6:.0f} MB are pages of the store's files"
        )
        say(f"a worker on {len(loader.dataset):,} rows adds less than 200 MB (USS)", numbers, uss < 200)


if __name__ == "__main__":
    main()
