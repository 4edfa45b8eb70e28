"""One study into rows of a store: its report read and parsed, its images decoded and fitted. Runs in any process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from igcl_lightning import __version__
from igcl_lightning.data.preparing.earlier import EarlierRows, RowNote
from igcl_lightning.data.preparing.item_identity import identity
from igcl_lightning.data.preparing.options import Columns, Options
from igcl_lightning.data.preparing.report_text import PRESENT, read_report, report_text
from igcl_lightning.data.preparing.row_images import StoredImage, image_identity, store_image, why_unreadable
from igcl_lightning.data.sources.source import Item
from igcl_lightning.data.splits import split_name, split_of_patient
from igcl_lightning.data.store import FORMAT_VERSION, NODE_TEXT, graph_columns
from igcl_lightning.data.study import REPORT_SECTIONS, Study, StudyImage, wanted_views
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.parser import SpacyReportParser
from igcl_lightning.graphs.schema import ReportGraph

if TYPE_CHECKING:
    from igcl_lightning.graphs.node_text import NodeText


@dataclass
class Drop:
    """A row that did not enter the store, and why."""

    row: str
    reason: str
    detail: str = ""

    def __post_init__(self) -> None:
        # A path may hold bytes that are no text; a manifest may not.
        self.row, self.detail = (text.encode("utf-8", "backslashreplace").decode() for text in (self.row, self.detail))


@dataclass
class Rows:
    """What one study became.

    Attributes:
        identity: hash of what it was made from, files included.
        split: of its rows.
        report: how its report was found, one of `report_text.STATES`.
        rows: one for each image.
        notes: how to know each row again.
        drops: images that gave no row.
    """

    identity: str
    split: str = ""
    report: str = PRESENT
    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[RowNote] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)


def study_rows(item: Item, columns: Columns, options: Options, earlier: EarlierRows | None = None) -> Rows:
    """Return the store rows of one study, one per image.

    Args:
        item: the study, or a call that makes it.
        columns: what the rows hold.
        options: how they are made.
        earlier: rows of which images and graphs are taken where they would come out the same.

    Raises:
        IgclError: it has no report where that is an error, or names an unknown split.
    """
    # The identity comes before the reading, so that a file which changes in between is read again next time.
    converted = Rows(identity(item))
    study = item if isinstance(item, Study) else item()
    sections, converted.report, detail = read_report(study.report, options.sections)
    if converted.report != PRESENT and study.graph is None and options.on_missing_report != "keep-image":
        if options.on_missing_report == "error":
            raise IgclError(
                f"study {study.study_id!r}: {detail}; --on-missing-report decides what becomes of such studies"
            )
        converted.drops += [Drop(image.image_id, f"report {converted.report}", detail) for image in study.images]
        return converted
    if not study.images:
        converted.drops.append(Drop(study.study_id, "no image"))
    images = list(_images(study, options, earlier, converted.drops))
    known = (study.patient_id, *(image.header.get("PatientID") for image in images), study.study_id)
    patient = next(filter(None, known))
    converted.split = split_name(study.split) if study.split else split_of_patient(patient, seed=options.seed)
    try:
        common = {"study": study.study_id, "patient": patient, **_named_columns(study, columns)}
    except IgclError as error:
        converted.drops += [Drop(image.image.image_id, "array not readable", str(error)) for image in images]
        return converted
    text = _ReportColumns(study, sections, options, earlier)
    for image in images:
        row_id = image.image.image_id
        try:
            regions = image.regions(options, columns.boxes, columns.masks)
        except (IgclError, ValueError) as error:
            converted.drops.append(Drop(row_id, "mask not readable", str(error)))
            continue
        converted.rows.append(image.columns(study) | common | text.columns(row_id) | regions)
        note = RowNote(row_id, image.identity, image.shape, image.flags, image.header, text.identity)
        converted.notes.append(note)
    return converted


def study_identity(item: Item) -> str:
    """Return a hash of what a study is made from, files included."""
    return identity(item)


def _images(study: Study, options: Options, earlier: EarlierRows | None, drops: list[Drop]) -> Iterator[StoredImage]:
    """Yield the images of a study that can be read and are wanted, and note the others."""
    for image in study.images:
        if not _is_utf8(image.image_id):
            drops.append(Drop(image.image_id, "name is not UTF-8", str(image.source)))
            continue
        try:
            stored = _stored(image, options, earlier)
        except IgclError as error:
            drops.append(Drop(image.image_id, why_unreadable(image), str(error)))
            continue
        if options.views and stored.view not in wanted_views(options.views):
            drops.append(Drop(image.image_id, f"view {stored.view} is not wanted"))
            continue
        yield stored


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _stored(image: StudyImage, options: Options, earlier: EarlierRows | None) -> StoredImage:
    if earlier is not None and (found := earlier.image(image.image_id, image_identity(image, options))):
        note, content = found
        return StoredImage(image, content, note.shape, note.flags, note.header, note.image)
    return store_image(image, options)


def _named_columns(study: Study, columns: Columns) -> dict[str, Any]:
    """Return labels, further columns and columns of numbers.

    Raises:
        IgclError: an array cannot be read.
    """
    named: dict[str, Any] = {}
    if columns.labels:  # Arrow cannot store a struct without fields
        named["labels"] = {name: study.labels.get(source) for name, source in columns.labels.items()}
    named |= {name: None if (value := study.extra.get(name)) is None else str(value) for name in columns.extra}
    return named | {name: _array(study.arrays.get(name)) for name in columns.arrays}


class _ReportColumns:
    """The columns that depend on the report: its text, its graph, and the features of the graph's nodes."""

    def __init__(self, study: Study, sections: dict[str, str], options: Options, earlier: EarlierRows | None) -> None:
        self.report = {section: sections.get(section) for section in REPORT_SECTIONS}
        self.options = options
        self.earlier = earlier
        text = report_text(sections, options.sections)
        self.shipped = None if options.reparse and text else study.graph
        self.text = "" if self.shipped else text
        model = node_text(options.node_text, options.node_text_word).name if options.node_text else None
        self.identity = identity(self.shipped, self.text, parser().version, model, __version__, FORMAT_VERSION)
        self._made: dict[str, Any] | None = None

    def columns(self, row: str) -> dict[str, Any]:
        earlier = None if self.earlier is None else self.earlier.text(row, self.identity)
        return {"report": self.report, **(self._columns() if earlier is None else earlier)}

    def _columns(self) -> dict[str, Any]:
        if self._made is None:
            graph: ReportGraph = parser().parse(self.text) if self.shipped is None else self.shipped
            self._made = {"graph": graph_columns(graph)}
            if self.options.node_text:
                self._made[NODE_TEXT] = node_text(self.options.node_text, self.options.node_text_word)(graph)
        return self._made


@cache
def parser() -> SpacyReportParser:
    """Return this process's parser; building one takes longer than parsing many reports."""
    return SpacyReportParser()


@cache
def node_text(model: str, word: str) -> NodeText:
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
