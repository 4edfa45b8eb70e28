"""From a source's studies to a store: read, check, shrink, parse each report once, write, and say what was dropped."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np
from datasets.arrow_writer import ArrowWriter
from tqdm import tqdm

from igcl_lightning import __version__
from igcl_lightning.data.images import encode_grey, letterbox, read_grey
from igcl_lightning.data.splits import split_name, split_of_patient
from igcl_lightning.data.store import (
    FIXED_COLUMNS,
    FORMAT_VERSION,
    MANIFEST,
    NODE_TEXT,
    graph_columns,
    store_features,
)
from igcl_lightning.data.study import REPORT_SECTIONS, SPLITS, Study, StudyImage
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.parser import SpacyReportParser
from igcl_lightning.graphs.schema import ReportGraph
from igcl_lightning.graphs.sections import SECTION_CHOICES, choose_sections, choose_text

if TYPE_CHECKING:
    from igcl_lightning.graphs.node_text import NodeText

MAX_NAMED_DROPS = 1000

Item = Study | Callable[[], Study]
"""A study, or a picklable call that makes one where making it is the expensive part."""


@dataclass(frozen=True)
class Options:
    """How studies become rows.

    Attributes:
        size: side of the stored square images, in pixels.
        lossless: store PNG instead of JPEG.
        sections: what of a report is parsed, one of `SECTION_CHOICES`; a report without findings and impression is
            parsed whole. A text whose sections the source does not tell apart is split at its headers.
        reparse: parse the report even where the source ships its graph.
        seed: of the split of patients whose source names none.
        node_text: folder or hub name of a language model whose frozen features of the graphs' nodes are stored too.
        node_text_word: what a word is of its wordpieces, "mean" or "sum" (see `NodeText`).
    """

    size: int = 256
    lossless: bool = False
    sections: str = "both"
    reparse: bool = False
    seed: int = 0
    node_text: str | None = None
    node_text_word: str = "mean"


@dataclass
class Drop:
    """A row that did not enter the store, and why."""

    row: str
    reason: str
    detail: str


@dataclass
class Rows:
    """What one study became."""

    split: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)


def prepare(
    items: Iterable[Item],
    out: Path,
    *,
    labels: Sequence[str] = (),
    extra: Sequence[str] = (),
    arrays: Sequence[str] = (),
    options: Options = Options(),
    source: Mapping[str, Any] | None = None,
    total: int | None = None,
    jobs: int = 1,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write a store and return its manifest.

    The store appears under its name only when complete; an interrupted run leaves the old one untouched.

    Args:
        items: the source's studies, or calls that make them.
        out: folder of the store.
        labels: names of the label columns.
        extra: names of further columns.
        arrays: names of further columns of numbers; each must have one shape.
        options: how studies become rows.
        source: what the manifest should say of the source, such as its name, arguments and file hashes.
        total: number of items, for the progress bar.
        jobs: processes that decode, shrink and parse.
        overwrite: replace an existing store.

    Raises:
        IgclError: the store exists, no row is left, two rows share an id, or a patient stands in two splits.
    """
    if out.exists() and not overwrite:
        raise IgclError(f"{out}: exists already; choose another --out or give --overwrite")
    if out.exists() and not (out / MANIFEST).is_file():
        raise IgclError(f"{out}: is not a store, so --overwrite does not remove it; choose another --out")
    if options.size < 1:
        raise IgclError(f"--size is {options.size}, not at least 1")
    reserved = sorted({*extra, *arrays} & set(FIXED_COLUMNS))
    if reserved:
        raise IgclError(f"extra column {reserved[0]!r} has the name of a store column; rename it in the source")
    convert = partial(study_rows, labels=tuple(labels), extra=tuple(extra), arrays=tuple(arrays), options=options)
    node_text = _node_text(options.node_text, options.node_text_word) if options.node_text else None
    unfinished = out.with_name(out.name + ".partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        studies = tqdm(_converted(convert, items, jobs), total=total, desc=f"prepare {out}", unit="study")
        counts = _write(studies, unfinished, store_features(labels, extra, arrays, node_text is not None))
        manifest = {
            "format_version": FORMAT_VERSION,
            "igcl_lightning": __version__,
            "source": dict(source or {}),
            "size": options.size,
            "image_format": "png" if options.lossless else "jpeg",
            "parser": _parser().version,
            "sections": list(SECTION_CHOICES[options.sections]),
            "reparsed": options.reparse,
            "split_seed": options.seed,
            "labels": list(labels),
            "extra": list(extra),
            "node_text": {"model": node_text.name, "channels": node_text.channels} if node_text else None,
            **counts,
        }
        (unfinished / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
        if out.exists():
            shutil.rmtree(out)
        unfinished.rename(out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return manifest


def study_rows(
    item: Item, *, labels: Sequence[str], extra: Sequence[str] = (), arrays: Sequence[str] = (), options: Options
) -> Rows:
    """Return the store rows of one study, one per image."""
    study = item if isinstance(item, Study) else item()
    split = split_name(study.split) if study.split else split_of_patient(study.patient_id, seed=options.seed)
    converted = Rows(split)
    if not study.images:
        converted.drops.append(Drop(study.study_id, "no image", ""))
        return converted
    graph = _graph_of(study, options)
    try:
        numbers = {name: _array(study.arrays.get(name)) for name in arrays}
    except IgclError as error:
        converted.drops += [Drop(image.image_id, "array not readable", str(error)) for image in study.images]
        return converted
    common = {
        "study": study.study_id,
        "patient": study.patient_id,
        "age": study.age,
        "sex": study.sex,
        "report": {section: study.report.get(section) for section in REPORT_SECTIONS},
        "graph": graph_columns(graph),
        **({"labels": {label: study.labels.get(label) for label in labels}} if labels else {}),
        **{column: None if (value := study.extra.get(column)) is None else str(value) for column in extra},
        **numbers,
        **({NODE_TEXT: _node_text(options.node_text, options.node_text_word)(graph)} if options.node_text else {}),
    }
    for image in study.images:
        try:
            pixels = letterbox(_pixels(image), options.size)
        except IgclError as error:
            converted.drops.append(Drop(image.image_id, "image not readable", str(error)))
            continue
        stored = {"bytes": encode_grey(pixels, options.lossless), "path": None}
        converted.rows.append({"row": image.image_id, "view": image.view, "image": stored, **common})
    return converted


def report_text(report: Mapping[str, str], sections: str) -> str:
    """Return the text that is parsed: the chosen sections, or the whole report where it has neither of the two."""
    chosen = choose_sections({name: text or "" for name, text in report.items()}, sections)
    return choose_text((report.get("report") or "").strip(), sections) if chosen is None else chosen


def file_hash(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _graph_of(study: Study, options: Options) -> ReportGraph:
    if study.graph is not None and not options.reparse:
        return study.graph
    return _parser().parse(report_text(study.report, options.sections))


@cache
def _parser() -> SpacyReportParser:
    """Return this process's parser; building one takes longer than parsing many reports."""
    return SpacyReportParser()


@cache
def _node_text(model: str, word: str) -> NodeText:
    """Return this process's language model."""
    from igcl_lightning.graphs.node_text import NodeText

    return NodeText(model, word)


def _array(source: np.ndarray | Path | None) -> np.ndarray | None:
    """Return a column of numbers, float32 of any shape; files are read as data and never as pickles.

    Raises:
        IgclError: the file cannot be read, or holds no numbers.
    """
    if source is None:
        return None
    try:
        array = np.load(source, allow_pickle=False) if isinstance(source, Path) else source
        return np.asarray(array, dtype=np.float32)
    except FileNotFoundError:
        raise IgclError(f"{source}: no such file") from None
    except (OSError, ValueError, EOFError) as error:
        raise IgclError(f"{source}: not a .npy file of numbers ({error})") from error


def _pixels(image: StudyImage) -> Any:
    return read_grey(image.source) if isinstance(image.source, Path) else image.source


def _converted(convert: Callable[[Item], Rows], items: Iterable[Item], jobs: int) -> Iterator[Rows]:
    """Convert items in order, in `jobs` processes."""
    if jobs <= 1:
        yield from map(convert, items)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(convert, items, chunksize=8)


class _Tally:
    """What went into the store, for the manifest."""

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self.split_of: dict[str, str] = {}
        self.studies: set[str] = set()
        self.seen: set[str] = set()
        self.empty_graphs = 0
        self.drops: list[Drop] = []
        self.shapes: dict[str, list[int]] = {}
        self.content = hashlib.sha256()

    def add(self, split: str, row: Mapping[str, Any]) -> None:
        """Count a row.

        Raises:
            IgclError: its id was used before, or its patient stands in another split.
        """
        if row["row"] in self.seen:
            raise IgclError(f"row {row['row']!r} occurs twice in the source; row ids must be unique")
        first = self.split_of.setdefault(row["patient"], split)
        if first != split:
            raise IgclError(f"patient {row['patient']!r} stands in {first} and in {split}; splits must be by patient")
        self.seen.add(row["row"])
        self.studies.add(row["study"])
        self.rows[split] += 1
        self.empty_graphs += row["graph"]["key"] == -1
        self.content.update(repr((split, {name: _hashable(value) for name, value in row.items()})).encode())

    def flat(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the row with its arrays flat, as a store keeps them.

        Raises:
            IgclError: an array has another shape than those before it.
        """
        arrays = {name: value for name, value in row.items() if isinstance(value, np.ndarray)}
        for name, array in arrays.items():
            shape = self.shapes.setdefault(name, list(array.shape)) if name != NODE_TEXT else None
            if shape not in (None, list(array.shape)):
                raise IgclError(f"row {row['row']!r}: {name} has shape {list(array.shape)}, rows before it {shape}")
        return {**row, **{name: array.ravel() for name, array in arrays.items()}}

    def summary(self) -> dict[str, Any]:
        """Return the counts and the content hash."""
        return {
            "rows": {split: self.rows[split] for split in SPLITS if self.rows[split]},
            "studies": len(self.studies),
            "patients": dict(Counter(self.split_of.values())),
            "rows_with_empty_graph": self.empty_graphs,
            "arrays": self.shapes,
            "dropped": dict(Counter(drop.reason for drop in self.drops)),
            "dropped_rows": [vars(drop) for drop in self.drops[:MAX_NAMED_DROPS]],
            "fingerprint": self.content.hexdigest(),
        }


def _hashable(value: Any) -> Any:
    """Return what stands for a cell in the content hash; the text of a long array leaves numbers out."""
    return (value.shape, hashlib.sha256(value.tobytes()).hexdigest()) if isinstance(value, np.ndarray) else value


def _write(studies: Iterable[Rows], out: Path, features: datasets.Features) -> dict[str, Any]:
    """Write each split's rows as they come, lay the files out as `datasets` expects them, and return the counts."""
    tally = _Tally()
    with ExitStack() as stack:
        writers: dict[str, ArrowWriter] = {}
        for study in studies:
            tally.drops += study.drops
            if study.rows and study.split not in writers:
                path = out / f"{study.split}.arrow"
                writers[study.split] = stack.enter_context(ArrowWriter(features=features, path=str(path)))
            for row in study.rows:
                tally.add(study.split, row)
                writers[study.split].write(tally.flat(row))
        for writer in writers.values():
            writer.finalize()
    if not tally.seen:
        detail = f": {tally.drops[0].reason} ({tally.drops[0].detail})" if tally.drops else ""
        raise IgclError(f"the source gave no usable row{detail}")
    datasets.disable_progress_bars()  # the studies had one; laying the files out takes a moment
    for split in tally.rows:
        rows = datasets.Dataset.from_file(str(out / f"{split}.arrow"))
        rows.save_to_disk(str(out / split))
        del rows
        (out / f"{split}.arrow").unlink()
    return tally.summary()
