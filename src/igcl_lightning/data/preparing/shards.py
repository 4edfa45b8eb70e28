"""Shards of a store: chunks prepared on several machines, and their merge into the store of one run.

A shard is a folder beside the store, such as STORE.shard-2-of-8, with the files of STORE.partial for its chunks, and
`shard.json`: the shard is complete, and what all shards must agree on.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from igcl_lightning.atomic import locked
from igcl_lightning.data.preparing.earlier import NOTES
from igcl_lightning.data.preparing.manifest import Tally
from igcl_lightning.data.preparing.options import Columns
from igcl_lightning.data.preparing.survey import refuse_no_graphs
from igcl_lightning.data.preparing.unfinished import (
    WORK,
    UnfinishedStore,
    damage,
    difference,
    is_store,
    named,
    read_record,
    write_text,
)
from igcl_lightning.data.store import store_features
from igcl_lightning.data.study import SPLITS
from igcl_lightning.errors import IgclError

SHARD = "shard.json"


class Shard(NamedTuple):
    """Shard `number` of `total`, from 1: every `total`-th chunk of a store."""

    number: int = 1
    total: int = 1

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    def has(self, chunk: int) -> bool:
        """Return whether a chunk, counted from 0, belongs to this shard."""
        return chunk % self.total == self.number - 1

    def folder(self, out: Path) -> Path:
        """Return the folder of this shard while the store `out` is not complete."""
        shard = "partial" if self.total == 1 else f"shard-{self.number}-of-{self.total}"
        return out.with_name(f"{out.name}.{shard}")


WHOLE = Shard()


def write_shard(store: UnfinishedStore, shard: Shard, agreed: Mapping[str, Any]) -> dict[str, Any]:
    """Mark a shard as complete, and return its record.

    Args:
        store: the folder of the shard, with all its chunks.
        shard: number and total.
        agreed: what all shards of a store must agree on, besides their work, as JSON.
    """
    record = {"shard": str(shard), **agreed}
    with store.resumable():
        write_text(store.path / SHARD, json.dumps(record, indent=1))
    return record


def merge(out: Path, *, overwrite: bool = False, allow_no_graphs: bool = False) -> dict[str, Any]:
    """Make the store `out` of its shards, which are removed, and return its manifest.

    The store has the bytes of one run over the whole source.

    Args:
        out: folder of the store, beside those of the shards.
        overwrite: replace an existing store.
        allow_no_graphs: make the store even if there are reports, but none gives a graph.

    Raises:
        IgclError: a shard is missing, incomplete, damaged, or made with other inputs or options than the first; a row
            is in two shards or a patient in two splits; no report gives a graph; `out` exists; the disk is full. The
            shards are kept.
    """
    out = named(out)
    if out.exists() and not (overwrite and is_store(out)):
        raise IgclError(f"{out}: exists already; " + ("--overwrite replaces it" if is_store(out) else "it is no store"))
    folders = _folders(out)
    with ExitStack() as locks:
        for folder in folders:
            locks.enter_context(locked(folder))
        work, agreed = _agreed(folders)
        notes = _notes(folders, range(-(-agreed["studies"] // work["chunk"])))
        manifest = Tally(notes).manifest(work, agreed["source_counts"])
        refuse_no_graphs(manifest, agreed.get("paired", False) and not allow_no_graphs, "igcl merge")
        features = store_features(Columns(**work["columns"]), work["node_text"] is not None)
        store = UnfinishedStore(out, features, out.with_name(f"{out.name}.merge"), "run the same command again")
        with store.open(work, resume=False):
            with store.resumable():
                for folder in folders:
                    _take(folder, store.path)
                (store.path / WORK).unlink()  # so that nothing is left over if the run is killed as it ends
            store.finish(manifest)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
    return manifest


def _folders(out: Path) -> list[Path]:
    """Return the folders of all shards, in order."""
    found = {}
    for path in out.parent.glob("*.shard-*-of-*"):
        if match := re.fullmatch(rf"{re.escape(out.name)}\.shard-(\d+)-of-(\d+)", path.name):
            found[Shard(int(match[1]), int(match[2]))] = path
    counts = sorted({shard.total for shard in found})
    if not counts:
        raise IgclError(f"{out}: no shards here, such as {Shard(1, 2).folder(out)}; igcl prepare --shard 1/2 makes it")
    if len(counts) > 1:
        raise IgclError(f"{out}: there are shards of {counts[0]} and shards of {counts[1]}; remove one of the two")
    shards = [Shard(number, counts[0]) for number in range(1, counts[0] + 1)]
    if missing := [shard for shard in shards if shard not in found]:
        raise IgclError(f"{missing[0].folder(out)}: missing; prepare it with --shard {missing[0]}, or move it here")
    return [found[shard] for shard in shards]


def _agreed(folders: Sequence[Path]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the work of all shards and their record, without what is different by intention."""
    first: dict[str, Any] = {}
    for number, folder in enumerate(folders, start=1):
        work, record = read_record(folder / WORK), read_record(folder / SHARD)
        if work is None or record is None:
            raise IgclError(f"{folder}: not complete; run its command again with --resume")
        if (held := record.pop("shard")) != str(shard := Shard(number, len(folders))):
            raise IgclError(f"{folder}: holds shard {held}, perhaps a copy; prepare shard {shard} again")
        made = {"work": work, **record}
        first = first or made
        if apart := difference(first, made):
            raise IgclError(f"{folder}: differs from shard 1 in {apart}; prepare one of them again with --overwrite")
    return first.pop("work"), first


def _notes(folders: Sequence[Path], chunks: Iterable[int]) -> Iterator[dict[str, Any]]:
    """Yield the notes of all chunks in order; `IgclError` if notes or rows of one are missing or damaged."""
    for chunk in chunks:
        folder = folders[chunk % len(folders)]
        notes = read_record(folder / NOTES / f"{chunk:05d}.json")
        if notes is None:
            raise IgclError(f"{folder}: notes of chunk {chunk} are missing; prepare it again with --resume")
        if (damaged := damage(folder, chunk, notes)) is not None:
            raise IgclError(f"{damaged}; copy it again, or prepare it again with --resume")
        yield notes


def _take(folder: Path, target: Path) -> None:
    """Add the chunks of a shard to a store: as links, which take no space, or as copies from another disk."""
    for path in (path for part in (NOTES, *SPLITS) for path in folder.glob(f"{part}/*[0-9].*")):
        new = target / path.relative_to(folder)
        new.parent.mkdir(exist_ok=True)
        try:
            os.link(path, new)
        except OSError:  # a file system without links
            shutil.copyfile(path, new)
