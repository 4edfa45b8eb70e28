"""Open-i, the Indiana University collection of reports with their chest radiographs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from igcl_lightning.data.label_policy import NIH_LABELS
from igcl_lightning.data.metadata import view_name
from igcl_lightning.data.sources.checks import refuse_strangers
from igcl_lightning.data.sources.graphs import find_graphs
from igcl_lightning.data.sources.image_folder import NAMED_TWICE, ImageFolder
from igcl_lightning.data.sources.openi_reports import OpeniReports, read_reports
from igcl_lightning.data.sources.rows import with_numbers
from igcl_lightning.data.sources.source import Notes, Source
from igcl_lightning.data.sources.tables import find_optional, read_columns, table_patterns
from igcl_lightning.data.study import REPORT_SECTIONS, Study, StudyImage
from igcl_lightning.graphs.schema import ReportGraph
from igcl_lightning.reports.openi_xml import OpeniRecord
from igcl_lightning.reports.sections import choose_sections

LABELS = (*NIH_LABELS, "normal")
"""Label columns of `openi_gld_std14.csv`, which also has `filename`."""

TEXT = ("findings", "impression", "report")


@dataclass(frozen=True)
class _Beside:
    """Images found and the folder of others; projections ("Frontal", "Lateral") by image, labels (`gold`) by report."""

    images: ImageFolder
    folder: Path
    projections: Mapping[str, str | None]
    gold: Mapping[str, Mapping[str, float | None]]


def read_openi(root: Path, *, graphs: Path | None = None, images: Path | None = None) -> Source:
    """Read one study per report, in numeric order; ids are those of the XML files in all forms.

    No patient ids are known, so each report counts as a patient. Labels are those of `openi_gld_std14.csv`. They
    are derived from codes, so that Effusion includes pericardial effusion, which is counted. Projections are those of
    `indiana_projections.csv`; a frontal image is PA or AP if the name of the examination says so. Views of DICOM
    headers are often wrong and not read.

    Args:
        root: folder of the reports: `ecgen-radiology/*.xml` or `NLMCXR_reports.tgz`, `indiana_reports.csv` and
            `indiana_projections.csv`, or R2Gen's `annotation.json`, the only form with splits.
        graphs: RadGraph file of the reports; a report without graph is parsed.
        images: folder of images named `CXR1000_IM-0003-1001.png`, or `1000_IM-0003-1001.dcm.png` as on Kaggle.

    Errors: see `data.sources`.
    """
    reports, beside, notes = _read(root, images)
    records = [reports.records[name] for name in sorted(reports.records, key=_by_number)]
    keys = [
        ((record.id, record.id.removeprefix("CXR")), choose_sections(_report(record)) or record.sections.get("report"))
        for record in records
    ]
    graph_of = find_graphs(graphs, keys, reports.path, notes)
    if graphs is not None:
        notes.settings["graphs"] = {"file": graphs.name, **notes.settings["graphs"]}
    studies = [_study(record, graph, reports, beside) for record, graph in zip(records, graph_of, strict=True)]
    notes.counts.update(_counts(reports, studies, beside))
    return Source.of(studies, "openi", labels=LABELS if beside.gold else (), extra=("mesh",), **vars(notes))


def _read(root: Path, images: Path | None) -> tuple[OpeniReports, _Beside, Notes]:
    projection_table = find_optional(root, *table_patterns("indiana_projections.csv"))
    gold_table = find_optional(root, *table_patterns("openi_gld_std14.csv"))
    projections = {} if projection_table is None else _read_projections(projection_table)
    images_of: dict[str, list[str]] = {}
    for image_id in projections:
        images_of.setdefault(image_id.partition("_")[0], []).append(image_id)
    reports = read_reports(root, images_of)
    gold = {} if gold_table is None else _read_gold(gold_table)
    notes = Notes([] if reports.path.is_dir() else [reports.path], dict(reports.settings))
    uids = {_uid(record) for record in reports.records.values()}
    for table, keys in ((projection_table, images_of), (gold_table, gold)):
        if table is not None:
            refuse_strangers(table, keys, uids)
            notes.inputs.append(table)
    beside = _Beside(
        images=ImageFolder(images or root),
        folder=images or (reports.path.parent if reports.splits else root) / "images",
        projections=projections,
        gold=gold,
    )
    return reports, beside, notes


def _report(record: OpeniRecord) -> dict[str, str]:
    return {name: text for name, text in record.sections.items() if name in REPORT_SECTIONS and text}


def _study(record: OpeniRecord, graph: ReportGraph | None, reports: OpeniReports, beside: _Beside) -> Study:
    return Study(
        study_id=record.id,
        patient_id=record.id,
        images=tuple(_image(image_id, record.caption, beside) for image_id in record.images),
        report=_report(record) or {"report": ""},
        graph=graph,
        labels=beside.gold.get(_uid(record), {}),
        split=reports.splits.get(record.id),
        extra={"mesh": ";".join(record.mesh) or None},
    )


def _image(image_id: str, caption: str, beside: _Beside) -> StudyImage:
    """Return an image, whose view is "frontal" if the examination names both PA and AP or neither."""
    uid, _, rest = image_id.removeprefix("CXR").partition("_")
    on_kaggle = f"{uid}_{rest.removeprefix('1_') if uid == '1' else rest}.dcm"
    file = beside.images.files.get(image_id) or beside.images.files.get(on_kaggle) or beside.folder / f"{image_id}.png"
    projection = beside.projections.get(image_id)
    view = view_name(projection)
    if projection == "Frontal":
        named = set(re.findall(r"\b(?:PA|AP)\b", caption.upper()))
        view = named.pop() if len(named) == 1 else view
    return StudyImage(image_id, file, view, projection)


def _uid(record: OpeniRecord) -> str:
    """Return the report's id in the XML files, which is the first part of R2Gen's id."""
    return record.id.partition("_")[0]


def _by_number(name: str) -> tuple[int, str]:
    digits = re.search(r"\d+", name)
    return (int(digits[0]) if digits else -1, name)


def _read_projections(path: Path) -> dict[str, str | None]:
    """Return the projection of each image, in the order of the table."""
    frame = read_columns(path, ("uid", "filename", "projection"), filled=("uid",), key="filename")
    names = map(_image_id, frame["uid"], frame["filename"])
    return dict(zip(names, frame["projection"], strict=True))


def _image_id(uid: str, file: str) -> str:
    """Return the library's id of an image on Kaggle; images of the first report have another "1_" there."""
    rest = file.removesuffix(".png").removesuffix(".dcm").removeprefix(f"{uid}_")
    return f"CXR{uid}_{'1_' if uid == '1' else ''}{rest}"


def _read_gold(path: Path) -> dict[str, dict[str, float | None]]:
    """Return the labels of each report."""
    frame = read_columns(path, ("filename", *LABELS), filled=LABELS, key="filename")
    values = with_numbers(path, frame, LABELS, binary=True).set_index("filename")[list(LABELS)]
    return {str(name): {str(label): float(value) for label, value in row.items()} for name, row in values.T.items()}


def _counts(reports: OpeniReports, studies: list[Study], beside: _Beside) -> Counter[str]:
    """Return the number of reports, labels and images that lack something, by reason."""
    records = list(reports.records.values())
    images = [image for study in studies for image in study.images]
    gold = {record.id: beside.gold.get(_uid(record), {}) for record in records}
    effusions = [record.mesh for record in records if gold[record.id].get("Effusion") == 1]
    counts = {
        "reports without findings": sum(not record.sections.get("findings") for record in records),
        "reports without impression": sum(not record.sections.get("impression") for record in records),
        "reports without text": sum(not any(record.sections.get(name) for name in TEXT) for record in records),
        "reports without labels": sum(not labels for labels in gold.values()) if beside.gold else 0,
        "labels without report": len(beside.gold.keys() - {_uid(record) for record in records}),
        "images without report": len(beside.projections.keys() - {image.image_id for image in images}),
        "images without row": len(set(beside.images.files.values()) - {image.source for image in images}),
        # R2Gen calls the images of each examination 0.png, 1.png.
        NAMED_TWICE: 0 if reports.splits else beside.images.repeated,
        "frontal images, PA or AP not known": sum(image.view == "frontal" for image in images),
        "Effusion that is pericardial": sum(map(_only_pericardial, effusions)),
    }
    return +Counter(counts)


def _only_pericardial(mesh: Iterable[str]) -> bool:
    heads = {code.partition("/")[0] for code in mesh}
    return "Pericardial Effusion" in heads and "Pleural Effusion" not in heads
