"""From a source to a store: read, check, shrink, parse each report once, write, and say what was dropped.

The studies go in chunks, each of which is complete or absent (`unfinished`), so that a run which was interrupted, even
killed, is gone on with, and ends in the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tqdm import tqdm

from igcl_lightning import __version__
from igcl_lightning.data.preparing.earlier import EarlierRows
from igcl_lightning.data.preparing.options import Columns, Options
from igcl_lightning.data.preparing.study_rows import Rows, node_text, parser, study_identity, study_rows
from igcl_lightning.data.preparing.unfinished import Chunk, UnfinishedStore, chunk_identity, is_store, read_record, tidy
from igcl_lightning.data.sources.source import Source
from igcl_lightning.data.splits import split_name
from igcl_lightning.data.store import FIXED_COLUMNS, FORMAT_VERSION, MANIFEST, NODE_TEXT, store_features
from igcl_lightning.data.study import SPLITS, Study
from igcl_lightning.errors import IgclError
from igcl_lightning.processes import Map, chunks, ordered_map
from igcl_lightning.reports.sections import SECTION_CHOICES

if TYPE_CHECKING:
    from igcl_lightning.graphs.node_text import NodeText

CHUNK = 1024
"""Studies that are complete or absent together: what a kill costs at most."""

BATCH = 8
"""Studies that travel to a process together."""

NOTES_VERSION = 1
"""Of what a chunk's notes hold."""

MAX_NAMED = 1000
"""Rows that the manifest names for each reason of being dropped, and for each flag."""

DEFAULTS = Options()

T = TypeVar("T")


def prepare(
    source: Source,
    out: Path,
    *,
    options: Options = DEFAULTS,
    jobs: int = 1,
    overwrite: bool = False,
    resume: bool = False,
    update: bool = False,
    chunk: int = CHUNK,
) -> dict[str, Any]:
    """Write a store and return its manifest.

    The store appears under its name only when complete. Until then what is done stands in `OUT.partial`.

    Args:
        source: the data set.
        out: folder of the store.
        options: how studies become rows.
        jobs: processes that decode, shrink and parse; the store does not depend on it.
        overwrite: replace an existing store, finished or not.
        resume: go on with an interrupted run; a finished store of the same work is left as it is. A chunk whose files
            have changed since is done again.
        update: make the store anew, but take from the existing one the images and graphs that would come out the same.
        chunk: studies in a chunk.

    Raises:
        IgclError: the store exists, no row is left, two rows share an id, a patient stands in two splits, a process
            died, the disk is full, or the interrupted run had other inputs or options.
    """
    out = _named(out)
    columns = _columns(source, options)
    model = node_text(options.node_text, options.node_text_word) if options.node_text else None
    unfinished = UnfinishedStore(out.with_name(f"{out.name}.partial"), store_features(columns, model is not None))
    work = _work(source, columns, options, chunk, model)
    _refuse(out, unfinished.path, overwrite=overwrite, resume=resume, update=update)
    if out.exists() and not (overwrite or update or unfinished.path.exists()):  # and so to be resumed
        return _finished(out, work)
    total = _survey(source)
    earlier = EarlierRows(out, ("graph", *([NODE_TEXT] if model else []))) if update and out.exists() else None
    convert = partial(study_rows, columns=columns, options=options, earlier=earlier)
    tally = _Tally()
    try:
        if resume and unfinished.path.exists():
            unfinished.go_on(work)
        else:
            unfinished.begin(work)
        # A file that keeps the output gets a line now and then, not ten a second.
        wait = 0.1 if sys.stderr.isatty() else 10
        with (
            ordered_map(jobs, with_torch=model is not None) as run,
            tqdm(total=total, desc=f"prepare {out}", unit=" studies", mininterval=wait) as progress,
        ):
            for notes in _chunks(source, unfinished, run, convert, chunk, total, progress):
                tally.add(notes)
        manifest = _manifest(source, work, options, tally)
        unfinished.finish(manifest, out)
    except BaseException:
        unfinished.discard_if_empty()
        raise
    finally:
        unfinished.close()
    return manifest


def file_hash(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _columns(source: Source, options: Options) -> Columns:
    """Return what rows hold besides the fixed columns.

    Raises:
        IgclError: a name is taken, or a label that is to be renamed does not exist.
    """
    reserved = sorted({*source.extra, *source.arrays} & set(FIXED_COLUMNS))
    if reserved:
        raise IgclError(f"extra column {reserved[0]!r} has the name of a store column; rename it in the source")
    unknown = [name for name in options.rename_labels if name not in source.labels]
    if unknown:
        raise IgclError(f"--rename-labels: no label {unknown[0]!r}; there are {', '.join(source.labels) or 'none'}")
    labels = {options.rename_labels.get(name, name): name for name in source.labels}
    if len(labels) < len(source.labels):
        raise IgclError(f"--rename-labels: two labels get one name among {', '.join(labels)}")
    return Columns(labels, source.extra, source.arrays, source.boxes, source.masks)


def _named(out: Path) -> Path:
    """Return the folder by its own name, which "." and a link do not tell.

    Raises:
        IgclError: it has none.
    """
    named = out.resolve() if out.is_symlink() or not out.name else out
    if not named.name:
        raise IgclError(f"--out {out}: name a folder")
    return named


def _work(source: Source, columns: Columns, options: Options, chunk: int, model: NodeText | None) -> dict[str, Any]:
    """Return all that the rows depend on besides the studies' files."""
    return {
        "format_version": FORMAT_VERSION,
        "igcl_lightning": __version__,
        "parser": parser().version,
        "source": {"name": source.name, **source.settings},
        "inputs": {path.name: file_hash(path) for path in source.inputs},
        "options": asdict(options),
        "columns": asdict(columns),
        "node_text": {"model": model.name, "channels": model.channels} if model else None,
        "chunk": chunk,
        "notes_version": NOTES_VERSION,
    }


def _finished(out: Path, work: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest of a finished store of the same work.

    Raises:
        IgclError: the store is of other work.
    """
    manifest = read_record(out / MANIFEST)
    if manifest is None or any(manifest.get(name) != value for name, value in _plain(work).items()):
        raise IgclError(f"{out}: is complete, and of other inputs or options; --overwrite or --update replaces it")
    tidy(out)
    return manifest


def _refuse(out: Path, unfinished: Path, *, overwrite: bool, resume: bool, update: bool) -> None:
    """Refuse what would lose something.

    Raises:
        IgclError: it would.
    """
    if out.exists() and not is_store(out):
        raise IgclError(f"{out}: is not a store, so nothing replaces it; choose another --out")
    if update and not out.exists() and not (resume and unfinished.exists()):
        raise IgclError(f"{out}: no such store to --update")
    if out.exists() and not (overwrite or update or resume):
        raise IgclError(f"{out}: exists already; choose another --out, or give --overwrite, or --update to renew it")
    if unfinished.exists() and not (overwrite or resume):
        raise IgclError(
            f"{unfinished}: is left of an interrupted run; --resume goes on with it, --overwrite starts over"
        )


def _survey(source: Source) -> int:
    """Go through the studies once, cheaply, to find what would stop the work late; return their number.

    Raises:
        IgclError: a row id occurs twice, or a patient stands in two splits.
    """
    rows: set[str] = set()
    split_of: dict[str, str] = {}
    number = 0
    for item in source.items():
        number += 1
        if isinstance(item, Study):
            for image in item.images:
                _add_row(rows, image.image_id)
            if item.patient_id is not None and item.split is not None:
                _add_patient(split_of, item.patient_id, split_name(item.split))
    return number


def _chunks(
    source: Source,
    unfinished: UnfinishedStore,
    run: Map,
    convert: partial[Rows],
    size: int,
    total: int,
    progress: tqdm[Any],
) -> Iterator[dict[str, Any]]:
    """Yield the notes of each chunk, in order; those that are not complete are made."""
    complete = set(_complete(source, unfinished, run, size))
    shapes: dict[str, list[int]] = {}
    batches = (
        batch
        for number, items in enumerate(chunks(source.items(), size))
        if number not in complete
        for batch in chunks(items, BATCH)
    )
    made = (rows for batch in run(partial(_each, convert), batches) for rows in batch)
    starts = range(0, total, size)
    for number, start in enumerate(starts):
        studies = min(size, total - start)
        notes = unfinished.notes(number) if number in complete else None
        if notes is None:
            with closing(Chunk(unfinished, number, shapes)) as chunk:
                for rows in islice(made, studies):
                    chunk.add(rows)
                    progress.update()
                notes = chunk.commit()
        else:
            progress.update(studies)
        _join_shapes(shapes, notes["shapes"])
        yield notes
    unfinished.cut(len(starts))


def _join_shapes(shapes: dict[str, list[int]], others: dict[str, list[int]]) -> None:
    """Add the shapes of a chunk's arrays.

    Raises:
        IgclError: they differ from those of the chunks before.
    """
    for name, shape in others.items():
        if shapes.setdefault(name, shape) != shape:
            raise IgclError(
                f"{name} has shape {shapes[name]} in rows before, and {shape} in others; --overwrite starts over"
            )


def _complete(source: Source, unfinished: UnfinishedStore, run: Map, size: int) -> Iterator[int]:
    """Yield the chunks that are complete and whose files have not changed since."""
    for number, items in enumerate(chunks(source.items(), size)):
        notes = unfinished.notes(number)
        if notes is None:
            continue
        batches = run(partial(_each, study_identity), chunks(items, BATCH * 16))
        if chunk_identity([identity for batch in batches for identity in batch]) == notes["identity"]:
            yield number


def _each(work: Any, items: list[Any]) -> list[Any]:
    """Work on the items of a batch."""
    return [work(item) for item in items]


def _add_row(rows: set[str], row: str) -> None:
    if row in rows:
        raise IgclError(f"row {row!r} occurs twice in the source; row ids must be unique")
    rows.add(row)


def _add_patient(split_of: dict[str, str], patient: str, split: str) -> None:
    first = split_of.setdefault(patient, split)
    if first != split:
        raise IgclError(f"patient {patient!r} stands in {first} and in {split}; splits must be by patient")


class _Tally:
    """What all chunks hold, for the manifest."""

    def __init__(self) -> None:
        self.rows: set[str] = set()
        self.split_of: dict[str, str] = {}
        self.studies: set[str] = set()
        self.counts: dict[str, Counter[str]] = {name: Counter() for name in ("splits", "reports", "flags")}
        self.empty_graphs = 0
        self.drops: Counter[str] = Counter()
        self.read = 0
        self.named: Counter[str] = Counter()
        self.dropped: list[dict[str, str]] = []
        self.flagged: list[dict[str, Any]] = []
        self.shapes: dict[str, list[int]] = {}
        self.content = hashlib.sha256()

    def add(self, notes: dict[str, Any]) -> None:
        """Count a chunk.

        Raises:
            IgclError: a row id was used before, or a patient stands in another split.
        """
        for row, *_ in notes["rows"]:
            _add_row(self.rows, row)
        for patient, split in notes["patients"].items():
            _add_patient(self.split_of, patient, split)
        self.studies.update(notes["studies"])
        for name, counts in self.counts.items():
            counts.update(notes[name])
        self.empty_graphs += notes["empty_graphs"]
        self.drops.update(reason for _, reason, _ in notes["drops"])
        for row, reason, detail in notes["drops"]:
            if self._may_name(reason):
                self.dropped.append({"row": row, "reason": reason, "detail": detail})
        for row, flags in notes["flagged"]:
            if any([self._may_name(flag) for flag in flags]):
                self.flagged.append({"row": row, "flags": flags})
        self.shapes |= notes["shapes"]
        self.read += notes["read"]
        self.content.update(notes["content"].encode())

    def _may_name(self, reason: str) -> bool:
        """Return whether the manifest still names a row for this reason."""
        self.named[reason] += 1
        return self.named[reason] <= MAX_NAMED


def _manifest(source: Source, work: dict[str, Any], options: Options, tally: _Tally) -> dict[str, Any]:
    """Return what the store says of itself.

    Raises:
        IgclError: there are no rows.
    """
    if not tally.rows:
        first = tally.dropped[0] if tally.dropped else None
        detail = f": {first['reason']} ({first['row']}) {first['detail']}" if first else ""
        raise IgclError(f"the source gave no usable row{detail}")
    splits = tally.counts["splits"]
    return {
        **_plain(work),
        "size": options.size,
        "image_format": "png" if options.lossless else "jpeg",
        "sections": list(SECTION_CHOICES[options.sections]),
        "labels": list(work["columns"]["labels"]),
        "extra": list(source.extra),
        "rows": {split: splits[split] for split in SPLITS if splits[split]},
        "records_read": tally.read,
        "studies": len(tally.studies),
        "patients": dict(Counter(tally.split_of.values())),
        "rows_by_report": dict(sorted(tally.counts["reports"].items())),
        "rows_with_empty_graph": tally.empty_graphs,
        "arrays": tally.shapes,
        "source_counts": dict(sorted(source.counts.items())),
        "dropped": dict(sorted(tally.drops.items())),
        "dropped_rows": tally.dropped,
        "flags": dict(sorted(tally.counts["flags"].items())),
        "flagged_rows": tally.flagged,
        "fingerprint": tally.content.hexdigest(),
    }


def _plain(work: dict[str, Any]) -> dict[str, Any]:
    """Return a record as it is read back from JSON."""
    plain: dict[str, Any] = json.loads(json.dumps(work))
    return plain
