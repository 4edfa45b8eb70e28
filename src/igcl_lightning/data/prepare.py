"""Source -> store: read, check, resize and parse each study once, and count dropped rows.

Studies are written in chunks, each complete or absent (`unfinished`), so an interrupted or killed run resumes and ends
with the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from igcl_lightning import __version__
from igcl_lightning.atomic import locked
from igcl_lightning.data.label_policy import RESERVED
from igcl_lightning.data.preparing.chunk import Chunk, chunk_identity
from igcl_lightning.data.preparing.earlier import EarlierRows, identity
from igcl_lightning.data.preparing.manifest import NoRowsError, Tally
from igcl_lightning.data.preparing.options import Columns, Options
from igcl_lightning.data.preparing.shards import SHARD, WHOLE, Shard, write_shard
from igcl_lightning.data.preparing.study_rows import Rows, node_text, study_rows
from igcl_lightning.data.preparing.survey import refuse_no_graphs, survey
from igcl_lightning.data.preparing.unfinished import UnfinishedStore, is_store, named, read_record, tidy
from igcl_lightning.data.sources.held_out import without_patients
from igcl_lightning.data.sources.source import Item, Source
from igcl_lightning.data.store import FIXED_COLUMNS, FORMAT_VERSION, store_features
from igcl_lightning.data.store_path import MANIFEST
from igcl_lightning.errors import IgclError, suggestion
from igcl_lightning.graphs.parser import default_parser
from igcl_lightning.processes import Map, chunks, ordered_map
from igcl_lightning.quiet import progress_bar
from igcl_lightning.texts import encodable

CHUNK = 1024
"""Studies per chunk: the most work that a kill loses."""

BATCH = 32
"""Studies sent to a process at a time: all images of a batch are decoded before its reports are parsed."""

NOTES_VERSION = 3
"""Version of the contents of a chunk's notes."""

DEFAULTS = Options()


def prepare(
    source: Source,
    out: Path,
    *,
    options: Options = DEFAULTS,
    jobs: int = 1,
    overwrite: bool = False,
    resume: bool = False,
    update: bool = False,
    shard: Shard = WHOLE,
    allow_no_graphs: bool = False,
    held_out: Sequence[Path] = (),
    chunk: int = CHUNK,
) -> dict[str, Any]:
    """Write a store and return its manifest. `out` appears when complete; until then the work is in `OUT.partial`.

    A shard is left in a folder of its own, for `merge`; its record is returned.

    Args:
        source: the data set.
        out: folder of the store.
        options: how studies become rows.
        jobs: number of processes that decode, resize and parse; the store does not depend on it.
        overwrite: replace an existing store, finished or not.
        resume: continue an interrupted run, redoing chunks whose files changed; keep a finished store of the same work.
        update: rebuild the store, reusing images and graphs of the existing one whose inputs are unchanged.
        shard: part of the store that is written; several machines can each write one.
        allow_no_graphs: make the store even if there are reports, but none gives a graph.
        held_out: stores whose patients are left out, such as that of a subset for evaluation.
        chunk: studies in a chunk.

    Raises:
        IgclError: the source, an option or `out` is invalid, no image exists, no report gives a graph, a process died,
            or the disk is full.
    """
    out = named(out)
    source = without_patients(source, held_out) if held_out else source
    columns = _columns(source, options)
    work = _work(source, columns, options, chunk)
    unfinished = UnfinishedStore(out, store_features(columns, bool(options.node_text)), shard.folder(out))
    _refuse(out, unfinished.path, overwrite=overwrite, resume=resume, update=update)
    if out.exists() and not (overwrite or update or unfinished.path.exists()):  # nothing to resume
        return _finished(out, work)
    existed = out.exists()
    found = survey(source, options, allow_no_graphs=allow_no_graphs)
    earlier = EarlierRows(out, bool(options.node_text)) if update and existed else None
    convert = partial(study_rows, columns=columns, options=options, earlier=earlier)
    with _nothing_kept(unfinished), unfinished.open(work, resume=resume):
        if out.exists() != existed:
            raise IgclError(f"{out}: another run has just finished it; this one is not needed")
        (unfinished.path / SHARD).unlink(missing_ok=True)
        with ordered_map(jobs, with_torch=bool(options.node_text)) as run:
            tally = Tally(_chunks(source, unfinished, run, convert, chunk, found["studies"], shard))
            if shard == WHOLE:
                manifest = tally.manifest(work, source.counts)
                refuse_no_graphs(manifest, found["paired"] and not allow_no_graphs, "the same command with --resume")
                return unfinished.finish(manifest)
            return write_shard(unfinished, shard, {**found, "source_counts": dict(source.counts)})


@contextmanager
def _nothing_kept(unfinished: UnfinishedStore) -> Iterator[None]:
    """Remove the unfinished store if it has no rows, and say that the one it would replace stays."""
    try:
        yield
    except NoRowsError as error:
        shutil.rmtree(unfinished.path, ignore_errors=True)  # there is nothing to resume
        if unfinished.out.exists():
            raise NoRowsError(f"{error}; {unfinished.out} stays as it was") from None
        raise


def _columns(source: Source, options: Options) -> Columns:
    """Return the columns of the store in addition to the fixed ones."""
    reserved = sorted({*source.extra, *source.arrays} & set(FIXED_COLUMNS))
    if reserved:
        raise IgclError(f"extra column {reserved[0]!r} has the name of a store column; rename it in the source")
    for name in (*source.labels, *source.extra, *source.arrays):
        if encodable(name) != name:
            raise IgclError(f"column {name!r}: UTF-8 cannot encode its name; rename it in the source")
    unknown = [name for name in options.rename_labels if name not in source.labels]
    if unknown:
        there = f"there are {', '.join(source.labels) or 'none'}{suggestion(unknown[0], source.labels)}"
        raise IgclError(f"--rename-labels: no label {unknown[0]!r}; {there}")
    labels = {options.rename_labels.get(name, name): name for name in source.labels}
    if len(labels) < len(source.labels):
        raise IgclError(f"--rename-labels: two labels would have the same name, among {', '.join(labels)}")
    if taken := [name for name in labels if name in RESERVED]:
        raise IgclError(f"no label can be called {taken[0]!r}, as a mean over labels is; see --rename-labels")
    return Columns(labels, source.extra, source.arrays, source.boxes, source.masks)


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _work(source: Source, columns: Columns, options: Options, chunk: int) -> dict[str, Any]:
    """Return everything that the rows depend on except the studies' files, as JSON values."""
    model = node_text(options.node_text, options.node_text_word) if options.node_text else None
    work = {
        "format_version": FORMAT_VERSION,
        "igcl_lightning": __version__,
        "parser": default_parser(options.any_language).version,
        "source": {"name": source.name, **source.settings},
        "inputs": {path.name: _file_hash(path) for path in source.inputs},
        "options": asdict(options),
        "columns": asdict(columns),
        "node_text": {"model": model.name, "channels": model.channels} if model else None,
        "chunk": chunk,
        "notes_version": NOTES_VERSION,
    }
    plain: dict[str, Any] = json.loads(json.dumps(work))
    return plain


def _finished(out: Path, work: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest of a store that is finished, with the same inputs and options."""
    manifest = read_record(out / MANIFEST)
    if manifest is None or any(manifest.get(name) != value for name, value in work.items()):
        raise IgclError(f"{out}: was made with other inputs or options; --overwrite or --update replaces it")
    tidy(out)
    return manifest


def _refuse(out: Path, unfinished: Path, *, overwrite: bool, resume: bool, update: bool) -> None:
    """Raise `IgclError` if the run would overwrite something."""
    if out.exists() and not is_store(out):
        raise IgclError(f"{out}: exists and is not a store; choose another --out")
    if update and not out.exists() and not (resume and unfinished.exists()):
        raise IgclError(f"{out}: no such store to --update")
    if out.exists() and not (overwrite or update or resume):
        raise IgclError(f"{out}: exists already; choose another --out, or give --overwrite, or --update to rebuild it")
    if unfinished.exists() and not (overwrite or resume):
        with locked(unfinished):  # another run says so itself
            raise IgclError(f"{unfinished}: left by an interrupted run; --resume continues it, --overwrite starts over")


def _chunks(
    source: Source,
    unfinished: UnfinishedStore,
    run: Map,
    convert: partial[list[Rows]],
    size: int,
    total: int,
    shard: Shard,
) -> Iterator[dict[str, Any]]:
    """Yield the notes of each chunk of a shard in order; missing chunks are written first."""
    complete = set(_complete(source, unfinished, run, size))
    sizes = {number: min(size, total - start) for number, start in enumerate(range(0, total, size))}
    wanted = {number: studies for number, studies in sizes.items() if shard.has(number)}
    todo = wanted.keys() - complete
    missing = (items for number, items in enumerate(chunks(source.items(), size)) if number in todo)
    batches = chain.from_iterable(chunks(items, BATCH) for items in missing)
    made = chain.from_iterable(run(convert, batches))
    shapes: dict[str, list[int]] = {}
    name = unfinished.out if shard == WHOLE else unfinished.path
    with progress_bar(total=sum(wanted.values()), desc=f"prepare {name}", unit=" studies") as progress:
        for number, studies in wanted.items():
            notes = unfinished.notes(number) if number in complete else None
            if notes is None:
                with closing(Chunk(unfinished, number, shapes)) as chunk:
                    for rows in islice(made, studies):
                        chunk.add(rows)
                        progress.update()
                    notes = chunk.commit()
            else:
                progress.update(studies)
            shapes |= notes["shapes"]
            yield notes
    unfinished.cut(wanted)


def _complete(source: Source, unfinished: UnfinishedStore, run: Map, size: int) -> Iterator[int]:
    """Yield the numbers of complete chunks whose files have not changed."""
    for number, items in enumerate(chunks(source.items(), size)):
        if (notes := unfinished.notes(number)) is not None:
            identities = chain.from_iterable(run(_identities, chunks(items, BATCH * 8)))
            if chunk_identity(list(identities)) == notes["identity"]:
                yield number


def _identities(items: list[Item]) -> list[str]:
    return [identity(item) for item in items]
