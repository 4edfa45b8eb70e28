"""MIMIC-CXR-JPG: studies with images, report, labels and RadGraph graph, in the official split.

Ids are the bare numbers of the tables: patient "10000001", study "50000001", and the image's `dicom_id`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

import pandas as pd
import pyarrow as pa

from igcl_lightning.data.label_policy import CHEXPERT_LABELS, LabelPolicy
from igcl_lightning.data.metadata import view_name
from igcl_lightning.data.sources.checks import refuse_conflict, refuse_strangers, require_choice
from igcl_lightning.data.sources.graphs import find_graphs
from igcl_lightning.data.sources.rows import groups, image_of, patient_splits, study_of
from igcl_lightning.data.sources.source import Notes, Source
from igcl_lightning.data.sources.subset import EXACT, subset_rows
from igcl_lightning.data.sources.tables import find_file, find_optional, read_columns, table_patterns
from igcl_lightning.data.study import CLASS, Study
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.schema import ReportGraph
from igcl_lightning.reports.archive import zipped_texts

LABEL_TABLES: Mapping[str, str | None] = {
    "chexpert": "mimic-cxr-2.*-chexpert.csv",
    "negbio": "mimic-cxr-2.*-negbio.csv",
    "radiologists": "mimic-cxr-2.*-test-set-labeled.csv",
    "none": None,
}
"""Table of each choice of labels: two labelers on all reports, and radiologists on some reports of the test split."""

LABELS = tuple(sorted(CHEXPERT_LABELS))
AIRSPACE = "Airspace Opacity"
RADIOLOGIST_COLUMNS = (AIRSPACE, *(label for label in LABELS if label not in ("Lung Opacity", "No Finding")))
"""Labels of the radiologists' table, which calls Lung Opacity Airspace Opacity and lacks No Finding."""

IDS = ["subject_id", "study_id", "dicom_id"]
EXTRA = ("StudyDate", "StudyTime", "PerformedProcedureStepDescription")
VIEW, VIEW_MEANING = "ViewPosition", "ViewCodeSequence_CodeMeaning"
SECTIONS = ("findings", "impression", "comparison")

ARCHIVE = "mimic-cxr-reports.zip"
_REPORT = re.compile(r"(?:^|/)p\d+/s(\d+)\.txt$")

Reports = Mapping[str, Mapping[str, str]] | Path
"""Text by section by study, or the folder of report texts."""


def read_mimic_cxr(
    root: Path,
    *,
    labels: str = "chexpert",
    uncertain: str = "ignore",
    blank: str = "missing",
    graphs: Path | None = None,
    reports: Path | None = None,
    images: Path | None = None,
    subset: str | None = None,
    seed: int = 0,
) -> Source:
    """Read the images that the table of the official split lists.

    Args:
        root: folder of `mimic-cxr-2.0.0-split.csv`, plain or gzipped, or its parent.
        labels: one of `LABEL_TABLES`.
        uncertain: value of the label -1 (`LabelPolicy.parse`).
        blank: value of a label that is not mentioned, one of `label_policy.BLANK`.
        graphs: RadGraph file of the reports; a report without graph is parsed.
        reports: folder or zip of texts, or `mimic_cxr_sectioned.csv` (default: `_usual_reports`, or beside the images).
        images: folder of `p10` to `p19`, or its parent (default: below the tables).
        subset: "5x200" or a file of image ids: only these images, all as test images (`sources.subset`).
        seed: seed of the training patients that become "valid" if no row is, and of the subset.

    Errors: see `data.sources`.
    """
    policy = LabelPolicy.parse(uncertain, blank)
    require_choice("--labels", labels, LABEL_TABLES)
    table = find_file(root, *table_patterns("mimic-cxr-2.*-split.csv"), what="table of the official split")
    notes = Notes([table], {"labels": labels, **vars(policy), "validation_seed": seed})
    rows = _read_rows(table, labels, policy, subset, seed, notes)
    known = tuple(label for label in LABELS if label in rows)
    studies = rows["study"].unique().tolist()
    images = _p_folder(images or table.parent, "images", "--images")
    texts = _read_reports(reports, table.parent, images, studies, notes)
    graph_of = find_graphs(graphs, [([study], None) for study in studies], table, notes)
    extra = EXTRA if subset is None else (*EXTRA, CLASS)
    items = partial(_studies, pa.Table.from_pandas(rows, preserve_index=False), known, extra, graph_of, texts, images)
    return Source("mimic-cxr", items, known, extra, total=len(studies), **vars(notes))


def _read_rows(
    table: Path, labels: str, policy: LabelPolicy, subset: str | None, seed: int, notes: Notes
) -> pd.DataFrame:
    """Return the images with their view and labels, sorted by patient, study and image."""
    unlabelled = _read_metadata(table.parent, _read_images(table, seed), notes)
    rows = _with_labels(unlabelled, table.parent, labels, policy, notes)
    if subset is None:
        return rows
    exact = _with_labels(unlabelled, table.parent, labels, EXACT, Notes())
    return subset_rows(rows, exact, map(view_name, rows["view"]), subset, seed, notes, _image_id)


def _image_id(name: str) -> str:
    """Return the `dicom_id` of an image by it or by a path."""
    return PurePosixPath(name).name.partition(".")[0]


def _read_images(path: Path, seed: int) -> pd.DataFrame:
    """Return ids and split of each image, sorted by patient, study and image."""
    frame = read_columns(path, (*IDS, "split"), filled=IDS, key="dicom_id")
    if frame.empty:
        raise IgclError(f"{path}: contains no rows")
    refuse_conflict(path, frame, "study_id", "subject_id")
    frame["split"] = patient_splits(path, frame["subject_id"], frame["split"], seed)
    return frame[[*IDS, "split"]].sort_values(IDS, ignore_index=True)


def _read_metadata(folder: Path, rows: pd.DataFrame, notes: Notes) -> pd.DataFrame:
    """Return the images with their view and the columns `EXTRA`, under the names of `study_of` and `image_of`."""
    path = find_optional(folder, *table_patterns("mimic-cxr-2.*-metadata.csv"))
    if path is None:
        notes.counts["images without metadata"] = len(rows)
        rows = rows.assign(**dict.fromkeys((VIEW, *EXTRA), None))
    else:
        notes.inputs.append(path)
        frame = read_columns(path, ("dicom_id", VIEW), (VIEW_MEANING, *EXTRA), key="dicom_id")
        refuse_strangers(path, frame["dicom_id"].tolist(), rows["dicom_id"].tolist())
        notes.counts["images without metadata"] = int((~rows["dicom_id"].isin(frame["dicom_id"])).sum())
        notes.counts["metadata without split"] = int((~frame["dicom_id"].isin(rows["dicom_id"])).sum())
        frame[VIEW] = frame[VIEW].where(frame[VIEW].notna(), frame[VIEW_MEANING])
        rows = rows.merge(frame.drop(columns=VIEW_MEANING), on="dicom_id", how="left")
    return rows.rename(columns=dict(zip([*IDS, VIEW], ("patient", "study", "image", "view"), strict=True)))


def _with_labels(rows: pd.DataFrame, folder: Path, labels: str, policy: LabelPolicy, notes: Notes) -> pd.DataFrame:
    """Return the images with the labels of their studies, unknown for studies that the table lacks."""
    if (pattern := LABEL_TABLES[labels]) is None:
        return rows
    path = find_file(folder, *table_patterns(pattern), what=f"table of {labels} labels")
    notes.inputs.append(path)
    columns = RADIOLOGIST_COLUMNS if labels == "radiologists" else LABELS
    frame = read_columns(path, ("study_id", *columns), key="study_id").rename(columns={AIRSPACE: "Lung Opacity"})
    studies = pd.Index(rows["study"].unique())
    refuse_strangers(path, frame["study_id"].tolist(), studies.tolist())
    notes.counts["studies without labels"] = int((~studies.isin(frame["study_id"])).sum())
    notes.counts["labels without images"] = int((~frame["study_id"].isin(studies)).sum())
    values = policy.of_table(path, frame, [label for label in LABELS if label in frame])
    return rows.join(values.set_axis(frame["study_id"]), on="study")


def _p_folder(folder: Path, what: str, option: str) -> Path:
    """Return the folder that contains `p10` to `p19`: the given one, its `files`, or `files` one level deeper."""
    if (found := _find_p_folder(folder)) is None:
        raise IgclError(f"{folder}: no folder of {what}, files/p10 to files/p19; name it with {option}")
    return found


def _find_p_folder(folder: Path) -> Path | None:
    candidates = (folder, folder / "files", *sorted(folder.glob("*/files")))
    return next((candidate for candidate in candidates if any(candidate.glob("p1[0-9]"))), None)


def _read_reports(reports: Path | None, folder: Path, images: Path, studies: Sequence[str], notes: Notes) -> Reports:
    """Return the given reports, or those in one of the usual places, or else the texts beside the images."""
    place = _usual_reports(folder) if reports is None else reports
    if place is None:
        return images
    if place.is_dir():
        if (found := _find_p_folder(place)) is not None:
            return found
        place = place / ARCHIVE
        if not place.is_file():
            looked = f"no folder of reports, files/p10 to files/p19, and no {ARCHIVE}"
            raise IgclError(f"{place.parent}: {looked}; name one of them with --reports")
    notes.inputs.append(place)
    zipped = place.name.lower().endswith(".zip") and not place.name.lower().endswith(".csv.zip")
    texts = _read_archive(place, notes) if zipped else _read_sections(place)
    refuse_strangers(place, texts, studies)
    notes.counts["reports without images"] = len(texts.keys() - set(studies))
    return texts


def _usual_reports(folder: Path) -> Path | None:
    """Return the folder of reports below or beside that of the tables, or as PhysioNet has it; else their archive."""
    own = Path(os.path.abspath(folder))  # the parent of "." is "."
    above = (own.parent, own.parent.parent)
    beside = (place for parent in above for name in ("mimic-cxr", "mimic-cxr/*") for place in sorted(parent.glob(name)))
    places = [folder, own.parent, *beside]
    # os.path, since a folder of others beside the root may not be readable
    unpacked = [path for place in places if os.path.isdir(path := place / ARCHIVE.removesuffix(".zip"))]
    archives = [path for place in places if os.path.isfile(path := place / ARCHIVE)]
    return next(iter([*filter(_find_p_folder, unpacked), *archives, *unpacked]), None)


def _read_archive(path: Path, notes: Notes) -> dict[str, dict[str, str]]:
    """Return the texts of `mimic-cxr-reports.zip` by study."""
    found = dict(zipped_texts(path, _REPORT))
    if not found:
        raise IgclError(f"{path}: contains no report such as files/p10/p10000001/s50000001.txt")
    notes.counts["reports in the archive that cannot be read"] = sum(text is None for text in found.values())
    return {study: {"report": text} for study, text in found.items() if text is not None}


def _read_sections(path: Path) -> dict[str, dict[str, str]]:
    """Read `mimic_cxr_sectioned.csv`; a report with only a last paragraph has no known sections."""
    if path.name.lower().endswith((".tar", ".tar.gz", ".tgz", ".7z", ".rar")):
        raise IgclError(f"--reports {path}: unpack it and give the folder of p10 to p19")
    frame = read_columns(path, ("study", "findings", "impression", "last_paragraph"), ("comparison",), key="study")
    columns = ("study", "last_paragraph", *SECTIONS)
    texts = {}
    for study, last, *sections in zip(*(frame[name] for name in columns), strict=True):
        text = {name: section for name, section in zip(SECTIONS, sections, strict=True) if section}
        if last and not text.keys() & {"findings", "impression"}:
            text["report"] = last
        texts[study.removeprefix("s")] = text or {"report": ""}
    return texts


def _studies(
    rows: pa.Table,
    labels: Sequence[str],
    extra: Sequence[str],
    graphs: Sequence[ReportGraph | None],
    reports: Reports,
    images: Path,
) -> Iterator[Study]:
    for own, graph in zip(groups(rows, "study"), graphs, strict=True):
        first = own[0]
        folder = f"p{first['patient'][:2]}/p{first['patient']}/s{first['study']}"
        yield study_of(
            first,
            [image_of({**row, "path": f"{images}/{folder}/{row['image']}.jpg"}) for row in own],
            report=Path(f"{reports}/{folder}.txt") if isinstance(reports, Path) else reports.get(first["study"], {}),
            graph=graph,
            labels={name: first[name] for name in labels},
            extra={name: first[name] for name in extra},
        )
