"""MIMIC-CXR-JPG: studies with all their images, report, labels and RadGraph graph, in the official split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa

from igcl_lightning.data.label_policy import CHEXPERT_LABELS, LabelPolicy, LabelTable
from igcl_lightning.data.sources.graphs import ReportGraphs
from igcl_lightning.data.sources.layout import places
from igcl_lightning.data.sources.rows import (
    groups,
    refuse_conflict,
    refuse_repeats,
    refuse_strangers,
    require,
    split_names,
)
from igcl_lightning.data.sources.source import Source
from igcl_lightning.data.sources.tables import find_file, find_optional, read_columns
from igcl_lightning.data.splits import lend_validation
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.data.views import view_name
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.schema import ReportGraph

LABEL_TABLES: Mapping[str, str | None] = {
    "chexpert": "mimic-cxr-2.*-chexpert.csv",
    "negbio": "mimic-cxr-2.*-negbio.csv",
    "radiologists": "mimic-cxr-2.*-test-set-labeled.csv",
    "none": None,
}
"""Table of each choice of labels: two labelers on all reports, and radiologists on some of the test split's."""

LABELS = tuple(sorted(CHEXPERT_LABELS))
AIRSPACE = "Airspace Opacity"
RADIOLOGIST_COLUMNS = (AIRSPACE, *(label for label in LABELS if label not in ("Lung Opacity", "No Finding")))
"""The radiologists' table calls Lung Opacity otherwise, and has no No Finding."""

EXTRA = ("StudyDate", "StudyTime", "PerformedProcedureStepDescription")
VIEW, VIEW_MEANING = "ViewPosition", "ViewCodeSequence_CodeMeaning"
SECTIONS = ("findings", "impression", "comparison")


def read_mimic_cxr(
    root: Path,
    *,
    labels: str = "chexpert",
    uncertain: str = "ignore",
    blank: str = "missing",
    graphs: Path | None = None,
    reports: Path | None = None,
    images: Path | None = None,
    seed: int = 0,
) -> Source:
    """Read the images that the table of the official split lists.

    Ids are the bare numbers of the tables: patient "10000001", study "50000001", and the image's `dicom_id`.

    Args:
        root: folder of `mimic-cxr-2.0.0-split.csv`, plain or gzipped, or the folder above it.
        labels: one of `LABEL_TABLES`.
        uncertain: what the label value -1 becomes (`LabelPolicy.parse`).
        blank: what a label that a report does not mention becomes, one of `label_policy.BLANK`.
        graphs: RadGraph's file of these reports.
        reports: folder of the reports' texts, or the table `mimic_cxr_sectioned.csv`; by default the folder
            `mimic-cxr-reports` beside the tables, or else the folder of the images.
        images: folder of `p10` to `p19`, or the folder above it; by default below the tables.
        seed: of the patients that become "valid" where the table has no row of "validate".

    Raises:
        IgclError: a file or a column is missing, a cell cannot be read, a patient stands in two splits, or no study
            finds its graph; the message names file, row and column.
    """
    policy = LabelPolicy.parse(uncertain, blank)
    if labels not in LABEL_TABLES:
        raise IgclError(f"--labels: {labels!r} is not one of {', '.join(LABEL_TABLES)}")
    split_table = find_file(root, *places("mimic-cxr-2.*-split.csv"), what="table of the official split")
    folder = split_table.parent
    rows, counts = _read_images(split_table, seed), Counter[str]()
    studies = rows["study_id"].unique().tolist()
    metadata = find_optional(folder, *places("mimic-cxr-2.*-metadata.csv"))
    rows = _add_metadata(rows, metadata, counts)
    label_table = _label_table(folder, labels)
    known = LabelTable() if label_table is None else _read_labels(label_table, labels, policy, studies, counts)
    image_folder = _p_folder(folder if images is None else images, "images", "--images")
    texts = _reports(reports, folder, image_folder, studies, counts)
    found = None if graphs is None else ReportGraphs(graphs)
    graph_of = None if found is None else [found.find([study]) for study in studies]
    if found is not None:
        found.refuse_stranger(split_table)
    table = pa.Table.from_pandas(rows, preserve_index=False)
    read = (split_table, metadata, label_table, None if isinstance(texts, Path) else reports, graphs)
    return Source(
        name="mimic-cxr",
        items=partial(_studies, table, known, graph_of, texts, image_folder),
        labels=known.names,
        extra=EXTRA,
        inputs=tuple(path for path in read if path is not None),
        settings={
            "labels": labels,
            **policy.described(),
            "validation_seed": seed,
            **({} if found is None else {"graphs": found.described()}),
        },
        counts=counts,
        total=len(studies),
    )


def _read_images(path: Path, seed: int) -> pd.DataFrame:
    """Return ids and split of each image, sorted by patient, study and image."""
    ids = ["subject_id", "study_id", "dicom_id"]
    frame = read_columns(path, (*ids, "split"), others=False)
    if frame.empty:
        raise IgclError(f"{path}: holds no rows")
    require(path, frame, (*ids, "split"))
    refuse_repeats(path, frame, "dicom_id")
    refuse_conflict(path, frame, "study_id", "subject_id")
    refuse_conflict(path, frame, "subject_id", "split")
    rows = frame[ids].assign(split=split_names(path, frame, "split")).sort_values(ids, ignore_index=True)
    return rows.assign(split=lend_validation(rows["split"].tolist(), rows["subject_id"].tolist(), seed))


def _add_metadata(rows: pd.DataFrame, path: Path | None, counts: Counter[str]) -> pd.DataFrame:
    """Return the images with their view, and the further columns of their study."""
    if path is None:
        counts["images without metadata"] = len(rows)
        return rows.assign(**dict.fromkeys((VIEW, *EXTRA), None))
    frame = read_columns(path, ("dicom_id", VIEW), (VIEW_MEANING, *EXTRA), others=False)
    require(path, frame, ("dicom_id",))
    refuse_repeats(path, frame, "dicom_id")
    refuse_strangers(path, frame["dicom_id"].tolist(), rows["dicom_id"].tolist())
    frame[VIEW] = frame[VIEW].where(frame[VIEW].notna(), frame[VIEW_MEANING])
    counts["images without metadata"] = int((~rows["dicom_id"].isin(frame["dicom_id"])).sum())
    counts["metadata without split"] = int((~frame["dicom_id"].isin(rows["dicom_id"])).sum())
    return rows.merge(frame.drop(columns=VIEW_MEANING), on="dicom_id", how="left")


def _label_table(folder: Path, labels: str) -> Path | None:
    pattern = LABEL_TABLES[labels]
    return None if pattern is None else find_file(folder, *places(pattern), what=f"table of {labels} labels")


def _read_labels(
    path: Path, labels: str, policy: LabelPolicy, studies: Sequence[str], counts: Counter[str]
) -> LabelTable:
    """Read a table of labels by study."""
    columns = RADIOLOGIST_COLUMNS if labels == "radiologists" else LABELS
    frame = read_columns(path, ("study_id", *columns), others=False).rename(columns={AIRSPACE: "Lung Opacity"})
    names = tuple(label for label in LABELS if label in frame)
    policy.check(names)
    require(path, frame, ("study_id",))
    refuse_repeats(path, frame, "study_id")
    row = {study: place for place, study in enumerate(frame["study_id"])}
    refuse_strangers(path, row, studies)
    counts["studies without labels"] = sum(study not in row for study in studies)
    counts["labels without images"] = len(row.keys() - set(studies))
    return LabelTable(names, policy.of_table(path, frame, names), row)


def _p_folder(folder: Path, what: str, option: str) -> Path:
    """Return the folder that holds `p10` to `p19`: the given one, its `files`, or one a folder deeper."""
    for candidate in (folder, folder / "files", *sorted(folder.glob("*/files"))):
        if any(candidate.glob("p1[0-9]")):
            return candidate
    raise IgclError(f"{folder}: no folder of {what}, files/p10 to files/p19; name it with {option}")


def _reports(
    reports: Path | None, folder: Path, images: Path, studies: Sequence[str], counts: Counter[str]
) -> Mapping[str, Mapping[str, str]] | Path:
    """Return the sections of each report by study where a table has them, and the folder of texts otherwise."""
    if reports is not None and not reports.is_dir():
        texts = _read_sections(reports)
        refuse_strangers(reports, texts, studies)
        counts["reports without images"] = len(texts.keys() - set(studies))
        return texts
    usual = folder / "mimic-cxr-reports"
    if reports is None and not usual.is_dir():
        return images
    return _p_folder(usual if reports is None else reports, "reports", "--reports")


def _read_sections(path: Path) -> dict[str, dict[str, str]]:
    """Read `mimic_cxr_sectioned.csv`; a report that is but a last paragraph has no sections that are known."""
    frame = read_columns(path, ("study", "findings", "impression", "last_paragraph"), ("comparison",))
    require(path, frame, ("study",))
    refuse_repeats(path, frame, "study")
    texts = {}
    for study, last, *sections in zip(
        frame["study"], frame["last_paragraph"], *(frame[name] for name in SECTIONS), strict=True
    ):
        text = {name: section for name, section in zip(SECTIONS, sections, strict=True) if section}
        if last and not text.keys() & {"findings", "impression"}:
            text["report"] = last
        texts[study.removeprefix("s")] = text
    return texts


def _studies(
    rows: pa.Table,
    labels: LabelTable,
    graphs: Sequence[ReportGraph | None] | None,
    reports: Mapping[str, Mapping[str, str]] | Path,
    images: Path,
) -> Iterator[Study]:
    """Yield the studies; the rows of one follow one another."""
    for place, (study, own) in enumerate(groups(rows, "study_id")):
        subject = own[0]["subject_id"]
        folder = f"p{subject[:2]}/p{subject}/s{study}"
        yield Study(
            study_id=study,
            patient_id=subject,
            images=tuple(_image(f"{images}/{folder}", image) for image in own),
            report=Path(f"{reports}/{folder}.txt") if isinstance(reports, Path) else reports.get(study, {}),
            graph=None if graphs is None else graphs[place],
            labels=labels.of(study),
            split=own[0]["split"],
            extra={name: own[0][name] for name in EXTRA},
        )


def _image(folder: str, record: Mapping[str, str | None]) -> StudyImage:
    name, view = str(record["dicom_id"]), record[VIEW]
    return StudyImage(name, Path(f"{folder}/{name}.jpg"), view_name(view), view)
