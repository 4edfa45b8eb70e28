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
from typing import Any

import datasets
from datasets.arrow_writer import ArrowWriter
from tqdm import tqdm

from igcl_lightning import __version__
from igcl_lightning.data.images import encode_grey, letterbox, read_grey
from igcl_lightning.data.splits import split_name, split_of_patient
from igcl_lightning.data.store import FIXED_COLUMNS, FORMAT_VERSION, MANIFEST, graph_columns, store_features
from igcl_lightning.data.study import REPORT_SECTIONS, SPLITS, Study, StudyImage
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.parser import SpacyReportParser
from igcl_lightning.graphs.schema import ReportGraph

DEFAULT_SECTIONS = ("findings", "impression")
MAX_NAMED_DROPS = 1000

Item = Study | Callable[[], Study]
"""A study, or a picklable call that makes one where making it is the expensive part."""


@dataclass(frozen=True)
class Options:
    """How studies become rows.

    Attributes:
        size: side of the stored square images, in pixels.
        lossless: store PNG instead of JPEG.
        sections: report sections that are parsed, in this order; a report without any of them is parsed whole.
        reparse: parse the report even where the source ships its graph.
        seed: of the split of patients whose source names none.
    """

    size: int = 256
    lossless: bool = False
    sections: Sequence[str] = DEFAULT_SECTIONS
    reparse: bool = False
    seed: int = 0


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
    reserved = sorted(set(extra) & set(FIXED_COLUMNS))
    if reserved:
        raise IgclError(f"extra column {reserved[0]!r} has the name of a store column; rename it in the source")
    convert = partial(study_rows, labels=tuple(labels), extra=tuple(extra), options=options)
    unfinished = out.with_name(out.name + ".partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        studies = tqdm(_converted(convert, items, jobs), total=total, desc=f"prepare {out}", unit="study")
        counts = _write(studies, unfinished, store_features(labels, extra))
        manifest = {
            "format_version": FORMAT_VERSION,
            "igcl_lightning": __version__,
            "source": dict(source or {}),
            "size": options.size,
            "image_format": "png" if options.lossless else "jpeg",
            "parser": _parser().version,
            "sections": list(options.sections),
            "reparsed": options.reparse,
            "split_seed": options.seed,
            "labels": list(labels),
            "extra": list(extra),
            **counts,
        }
        (unfinished / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
        if out.exists():
            shutil.rmtree(out)
        unfinished.rename(out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return manifest


def study_rows(item: Item, *, labels: Sequence[str], extra: Sequence[str], options: Options) -> Rows:
    """Return the store rows of one study, one per image."""
    study = item if isinstance(item, Study) else item()
    split = split_name(study.split) if study.split else split_of_patient(study.patient_id, seed=options.seed)
    converted = Rows(split)
    if not study.images:
        converted.drops.append(Drop(study.study_id, "no image", ""))
        return converted
    common = {
        "study": study.study_id,
        "patient": study.patient_id,
        "age": study.age,
        "sex": study.sex,
        "report": {section: study.report.get(section) for section in REPORT_SECTIONS},
        "graph": graph_columns(_graph_of(study, options)),
        **({"labels": {label: study.labels.get(label) for label in labels}} if labels else {}),
        **{column: None if (value := study.extra.get(column)) is None else str(value) for column in extra},
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


def report_text(report: Mapping[str, str], sections: Sequence[str]) -> str:
    """Return the text that is parsed: the wanted sections, or the whole report when it has none of them."""
    wanted = [report[section].strip() for section in sections if (report.get(section) or "").strip()]
    return "\n".join(wanted) if wanted else (report.get("report") or "").strip()


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
        self.content.update(repr((split, row)).encode())

    def summary(self) -> dict[str, Any]:
        """Return the counts and the content hash."""
        return {
            "rows": {split: self.rows[split] for split in SPLITS if self.rows[split]},
            "studies": len(self.studies),
            "patients": dict(Counter(self.split_of.values())),
            "rows_with_empty_graph": self.empty_graphs,
            "dropped": dict(Counter(drop.reason for drop in self.drops)),
            "dropped_rows": [vars(drop) for drop in self.drops[:MAX_NAMED_DROPS]],
            "fingerprint": self.content.hexdigest(),
        }


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
                writers[study.split].write(row)
        for writer in writers.values():
            writer.finalize()
    if not tally.seen:
        detail = f": {tally.drops[0].reason} ({tally.drops[0].detail})" if tally.drops else ""
        raise IgclError(f"the source gave no usable row{detail}")
    for split in tally.rows:
        rows = datasets.Dataset.from_file(str(out / f"{split}.arrow"))
        rows.save_to_disk(str(out / split))
        del rows
        (out / f"{split}.arrow").unlink()
    return tally.summary()
