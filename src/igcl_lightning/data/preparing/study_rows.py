"""Rows of one study: its report read and parsed, its images decoded and fitted. Runs in any process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from igcl_lightning import __version__
from igcl_lightning.data.pictures.fit import MaskSizeError
from igcl_lightning.data.preparing.earlier import EarlierRows, RowNote, identity
from igcl_lightning.data.preparing.options import Columns, Options
from igcl_lightning.data.preparing.report_text import PRESENT, read_report, report_text
from igcl_lightning.data.preparing.row_arrays import array_flags, row_array
from igcl_lightning.data.preparing.row_images import StoredImage, image_identity, store_image, why_unreadable
from igcl_lightning.data.sources.source import Item
from igcl_lightning.data.splits import split_name, split_of_patient
from igcl_lightning.data.store import FORMAT_VERSION, NODE_TEXT, graph_columns
from igcl_lightning.data.study import REPORT_SECTIONS, Study, wanted_views
from igcl_lightning.errors import IgclError, one_line
from igcl_lightning.graphs.language import is_english
from igcl_lightning.graphs.parser import default_parser
from igcl_lightning.graphs.schema import ReportGraph, join_graphs
from igcl_lightning.texts import encodable, plain_id

if TYPE_CHECKING:
    from igcl_lightning.graphs.node_text import NodeText


@dataclass
class Rows:
    """Rows of one study.

    Attributes:
        identity: hash of its inputs, files included.
        split: split of its rows.
        report: state of its report, one of `report_text.STATES`.
        flags: flags of its rows because of the report.
        rows: one per image.
        notes: inputs of each row.
        drops: images without a row: id, reason and detail.
        odd_views: the source's words for views that are not known, one per image.
    """

    identity: str
    split: str = ""
    report: str = PRESENT
    flags: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[RowNote] = field(default_factory=list)
    drops: list[tuple[str, str, str]] = field(default_factory=list)
    odd_views: list[str] = field(default_factory=list)

    def drop(self, reason: str, detail: str, *ids: str) -> None:
        """Record that some images have no row."""
        # A path may contain bytes that are not text; a manifest may not, nor memory addresses of this run.
        *rows, text = (text.encode("utf-8", "backslashreplace").decode() for text in (*ids, one_line(detail)))
        self.drops += [(row, reason, text) for row in rows]


def study_rows(
    items: Sequence[Item], columns: Columns, options: Options, earlier: EarlierRows | None = None
) -> list[Rows]:
    """Return the rows of studies, one per image; images and graphs of `earlier` rows are reused if still valid.

    Raises:
        IgclError: a study has no report and `on_missing_report` is "error", or its split is unknown.
    """
    # All images first: taking turns with reports, each would drive the other from the processor's caches.
    opened = [_opened(item, options, earlier) for item in items]
    return [_filled(*each, columns, options, earlier) for each in opened]


def _opened(
    item: Item, options: Options, earlier: EarlierRows | None
) -> tuple[Rows, Study, dict[str, str], list[StoredImage]]:
    """Return a study without rows yet, the sections of its report, and its images, none if it is dropped."""
    # The identity is computed first, so that a file that changes during reading is read again next time.
    made = Rows(identity(item))
    study = item if isinstance(item, Study) else item()
    report = read_report(study.report, options)
    sections, made.report, detail, _ = report
    made.flags = report.flags(study.report)
    if made.report != PRESENT and study.graph is None and options.on_missing_report != "keep-image":
        if options.on_missing_report == "error":
            advice = "--on-missing-report keep-image keeps such studies, drop leaves them out"
            raise IgclError(f"study {study.study_id!r}: {detail}; {advice}")
        made.drop(f"report {made.report}", detail, *(image.image_id for image in study.images))
        return made, study, sections, []
    if not study.images:
        made.drop("no image", "", study.study_id)
    return made, study, sections, list(_images(study, options, earlier, made))


def _filled(
    made: Rows,
    study: Study,
    sections: dict[str, str],
    images: list[StoredImage],
    columns: Columns,
    options: Options,
    earlier: EarlierRows | None,
) -> Rows:
    """Return a study with its rows, one per image."""
    if not images:  # its id may be no text, such as the name of a file
        return made
    headers = (plain_id(stored.note.header.get("PatientID")) for stored in images)
    known = next(filter(None, (study.patient_id, *headers)), None)
    patient = known or study.study_id
    made.split = split_name(study.split) if study.split else split_of_patient(patient, seed=options.seed)
    try:
        common = {"study": study.study_id, "patient": patient, **_named_columns(study, columns)}
    except IgclError as error:
        made.drop("array not readable", str(error), *(stored.note.row for stored in images))
        return made
    text = _ReportColumns(study, sections, options, earlier)
    flags = [
        *([] if known else [NO_PATIENT]),
        *made.flags,
        *text.flags,
        *array_flags({name: common[name] for name in columns.arrays}),
    ]
    for stored in images:
        try:
            regions = stored.regions(options, columns.boxes, columns.masks)
        except (IgclError, ValueError) as error:
            reason = OTHER_SIZE if isinstance(error, MaskSizeError) else "mask not readable"
            made.drop(reason, str(error), stored.note.row)
            continue
        row = stored.columns(study) | common | text.columns(stored.note.row) | regions
        made.rows.append(row | {"flags": [*row["flags"], *flags]})
        made.notes.append(stored.note._replace(text=text.identity))
    return made


def _images(study: Study, options: Options, earlier: EarlierRows | None, made: Rows) -> Iterator[StoredImage]:
    """Yield the readable, wanted images of a study, and drop the others."""
    for image in study.images:
        try:
            f"{image.image_id}{study.study_id}{study.patient_id}".encode()  # Arrow stores UTF-8
            found = earlier.image(image.image_id, image_identity(image, options)) if earlier else None
            stored = StoredImage(image, found[1], found[0]) if found else store_image(image, options)
        except UnicodeEncodeError:
            made.drop("id is not UTF-8", str(image.source), image.image_id)
        except IgclError as error:
            made.drop(why_unreadable(image), str(error), image.image_id)
        else:
            words = stored.source_view
            if words and words.lower() != "unknown" and stored.view == "unknown":
                made.odd_views.append(words)
            if options.views and stored.view not in wanted_views(options.views):
                made.drop(f"view {stored.view} is not wanted", repr(words) if words else "", image.image_id)
            else:
                yield stored


def _named_columns(study: Study, columns: Columns) -> dict[str, Any]:
    """Return labels, extra columns and arrays; raises `IgclError` if an array cannot be read."""
    named: dict[str, Any] = {}
    if columns.labels:  # Arrow cannot store a struct without fields
        named["labels"] = {name: study.labels.get(source) for name, source in columns.labels.items()}
    extra = ((name, study.extra.get(name)) for name in columns.extra)
    named |= {name: None if value is None else encodable(str(value)) for name, value in extra}
    return named | {name: row_array(study.arrays.get(name)) for name in columns.arrays}


OTHER_SIZE = "mask of another size than the image"
NO_PATIENT = "without patient id, so a patient each"
"""Flag of rows whose source and DICOM header name no patient."""

OTHER_LANGUAGE = "report not in English"
"""Flag of rows whose report has no graph because of its language, unless `any_language` asks for one."""


class _ReportColumns:
    """Columns that depend on the report: its text, its graph, and the features of graph nodes."""

    def __init__(self, study: Study, sections: dict[str, str], options: Options, earlier: EarlierRows | None) -> None:
        self.report = {section: sections.get(section) for section in REPORT_SECTIONS}
        self.earlier = earlier
        text = report_text(sections, options.sections, options.headers)
        self.parser = default_parser(options.any_language)
        self.flags = [] if is_english(text) else [OTHER_LANGUAGE]
        self.graph = None if options.reparse and text else _storable(study.graph)
        self.text = "" if self.graph else text
        self.node_text = node_text(options.node_text, options.node_text_word) if options.node_text else None
        model = self.node_text.name if self.node_text else None
        self.identity = identity(self.graph, self.text, self.parser.version, model, __version__, FORMAT_VERSION)

    def columns(self, row: str) -> dict[str, Any]:
        """Return the columns of a row, taken from its earlier row if the report is the same."""
        earlier = self.earlier.text(row, self.identity) if self.earlier else None
        return {"report": self.report, **(earlier or self._made)}

    @cached_property
    def _made(self) -> dict[str, Any]:
        sentences = self.parser.sentences(self.text) if self.graph is None else [self.graph]
        features = {NODE_TEXT: self.node_text(join_graphs(sentences))} if self.node_text else {}
        return {"graph": graph_columns(*sentences), **features}


def _storable(graph: ReportGraph | None) -> ReportGraph | None:
    """Return a graph with a text that UTF-8 can encode."""
    if graph is None or (text := encodable(graph.text)) == graph.text:
        return graph
    entities = tuple(replace(entity, tokens=encodable(entity.tokens)) for entity in graph.entities)
    return replace(graph, text=text, entities=entities)


@cache
def node_text(model: str, word: str) -> NodeText:
    """Return this process's language model."""
    from igcl_lightning.graphs.node_text import NodeText

    return NodeText(model, word)
