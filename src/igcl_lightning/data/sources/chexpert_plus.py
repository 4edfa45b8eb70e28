"""CheXpert Plus: the images of CheXpert with their reports, CheXbert labels and RadGraph-XL graphs.

The reports of the images of one study differ in their anonymisation, and so may their labels. Report, labels and graph
of a study are those of its first image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from igcl_lightning.data.label_policy import CHEXPERT_LABELS, LabelPolicy
from igcl_lightning.data.sources.checks import (
    refuse,
    refuse_conflict,
    refuse_repeats,
    refuse_strangers,
    require,
    require_choice,
)
from igcl_lightning.data.sources.chexpert import chexpert_image
from igcl_lightning.data.sources.graphs import ReportGraphs, joined
from igcl_lightning.data.sources.image_folder import IMAGE_SUFFIXES
from igcl_lightning.data.sources.rows import SEVERAL_REPORTS, ages, groups, patient_splits, records, study_of
from igcl_lightning.data.sources.source import Notes, Source
from igcl_lightning.data.sources.tables import find_file, read_columns, read_json_lines
from igcl_lightning.data.study import Study
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.schema import ReportGraph

LABEL_FILES: Mapping[str, tuple[str, str] | None] = {
    "chexbert": ("impression_fixed.json", "section_impression"),
    "chexbert-findings": ("findings_fixed.json", "section_findings"),
    "chexbert-report": ("report_fixed.json", "report"),
    "none": None,
}
"""File of each choice of labels, and the column of the text that CheXbert labelled."""

SECTIONS: Mapping[str, tuple[str, ...]] = {
    "indication": ("section_clinical_history", "section_history"),
    "comparison": ("section_comparison",),
    "technique": ("section_technique",),
    "findings": ("section_findings",),
    "impression": ("section_impression",),
}
"""Columns of each section of a report."""

GRAPH_FILES: Mapping[str, str] = {"findings": "section_findings.json", "impression": "section_impression.json"}
"""Files of RadGraph-XL annotations: graphs of sections of at least two words, found by their text."""

EXTRA = ("patient_report_date_order", "race", "ethnicity")
BOTH = ["section_findings", "section_impression"]
"""Columns of the sections that are parsed."""
COLUMNS: Mapping[str, str] = {
    "path_to_image": "image",
    "deid_patient_id": "patient",
    "frontal_lateral": "side",
    "ap_pa": "projection",
}
REQUIRED = (*COLUMNS, "report", *BOTH, "split")
OPTIONAL = ("section_clinical_history", "section_history", "section_comparison", "section_technique", "age", "sex")
_PATH = r"(?P<word>[^/]+)/(?P<study>patient\d+/study\d+)/(?P<name>[^/]+)\.[^./]+$"


def read_chexpert_plus(
    root: Path,
    *,
    labels: str = "chexbert",
    uncertain: str = "ignore",
    blank: str = "missing",
    graphs: Path | None = None,
    images: Path | None = None,
    seed: int = 0,
) -> Source:
    """Read the images of the table, in its split of training and validation patients.

    Args:
        root: folder of `df_chexpert_plus_240401.csv`.
        labels: one of `LABEL_FILES`; labels are unknown where the labelled text is blank.
        uncertain: value of the label -1 (`LabelPolicy.parse`).
        blank: value of a label that is not mentioned, one of `label_policy.BLANK`.
        graphs: folder of the files `GRAPH_FILES`, or one file, whose name may say its section.
        images: folder of `train` and `valid` with PNG, DICOM or JPEG files (default: below `root`).
        seed: seed of the training patients that become "valid" if no row is.

    Errors: see `data.sources`.
    """
    policy = LabelPolicy.parse(uncertain, blank)
    require_choice("--labels", labels, LABEL_FILES)
    table = find_file(root, "df_chexpert_plus_*.csv*", "*/df_chexpert_plus_*.csv*", what="df_chexpert_plus_240401.csv")
    notes = Notes([table], {"labels": labels, **vars(policy), "validation_seed": seed})
    rows = _read_rows(table, images or table.parent, seed, notes.counts)
    rows = _with_labels(rows, table.parent, labels, policy, notes)
    known = tuple(label for label in CHEXPERT_LABELS if label in rows)
    graph_of = _find_graphs(graphs, table, rows, notes)
    # The whole report is kept only if it has no known sections, since it would double the memory.
    rows["report"] = rows["report"].where(rows[BOTH].isna().all(axis=1), None)
    items = partial(_studies, pa.Table.from_pandas(rows, preserve_index=False), known, graph_of)
    return Source("chexpert-plus", items, known, EXTRA, total=rows["study"].nunique(), **vars(notes))


def _read_rows(path: Path, images: Path, seed: int, counts: Counter[str]) -> pd.DataFrame:
    """Return one row per image, sorted by patient, study and image."""
    frame = read_columns(path, REQUIRED, (*OPTIONAL, *EXTRA), filled=("deid_patient_id",), key="path_to_image")
    if frame.empty:
        raise IgclError(f"{path}: contains no rows")
    parts = frame["path_to_image"].str.extract(_PATH)
    refuse(path, parts["study"].isna(), "column 'path_to_image' is not a path such as train/patient1/study1/view1.jpg")
    frame = frame.assign(**parts)
    refuse_conflict(path, frame, "study", "deid_patient_id")
    frame["split"] = patient_splits(path, frame["deid_patient_id"], frame["split"], seed)
    folder, suffix = _image_folder(images, parts["word"].iloc[0])
    frame = frame.assign(
        age=ages(path, frame, "age", counts, zero_is_blank=True),
        path=f"{folder}/" + frame["word"] + "/" + frame["study"] + "/" + frame["name"] + suffix,
    )
    counts[SEVERAL_REPORTS] = int((frame.groupby("study")[BOTH].nunique() > 1).any(axis=1).sum())
    frame = frame.sort_values(["deid_patient_id", "study", "name"], ignore_index=True)
    return frame.drop(columns=["word"]).rename(columns=COLUMNS)


def _image_folder(images: Path, word: str) -> tuple[Path, str]:
    """Return the parent of the folders "train" and "valid", and the suffix of the images there."""
    for folder in (folder for above in ("", "*/", "*/*/") for folder in sorted(images.glob(f"{above}{word}"))):
        for image in folder.glob("patient*/study*/*"):
            if image.suffix.lower() in IMAGE_SUFFIXES:
                return folder.parent, image.suffix
    raise IgclError(
        f"{images}: no images such as {word}/patient00001/study1/view1_frontal.png; name their folder with --images"
    )


def _with_labels(rows: pd.DataFrame, folder: Path, labels: str, policy: LabelPolicy, notes: Notes) -> pd.DataFrame:
    """Return the images with their labels, unknown without a labelled text; those of a study's first image count."""
    if (named := LABEL_FILES[labels]) is None:
        return rows
    name, text = named
    path = find_file(folder, name, f"*/{name}", what=f"file of the labels {labels!r}")
    frame = read_json_lines(path, ("path_to_image", *CHEXPERT_LABELS))
    require(path, frame, ("path_to_image",))
    refuse_repeats(path, frame, "path_to_image")
    images = frame["path_to_image"]
    refuse_strangers(path, images.tolist(), rows["image"].tolist())
    notes.inputs.append(path)
    notes.counts["images without labels"] = int((~rows["image"].isin(images)).sum())
    notes.counts["labels without images"] = int((~images.isin(rows["image"])).sum())
    notes.counts["studies without the labelled text"] = int(rows.drop_duplicates("study")[text].isna().sum())
    rows = rows.join(policy.of_table(path, frame, CHEXPERT_LABELS).set_axis(images), on="image")
    rows.loc[rows[text].isna(), list(CHEXPERT_LABELS)] = None
    return rows


def _find_graphs(path: Path | None, table: Path, rows: pd.DataFrame, notes: Notes) -> list[ReportGraph | None]:
    """Return the graph of each study, None where one of its sections has no graph."""
    if path is None:
        return [None] * rows["study"].nunique()
    files = {section: ReportGraphs(file) for section, file in _graph_files(path).items()}
    found = [_graph(record, files) for record in records(rows.drop_duplicates("study"))]
    notes.settings["graphs"] = {section: file.described(table) for section, file in files.items()}
    notes.inputs.extend(file.path for file in files.values())
    return found


def _graph_files(graphs: Path) -> dict[str, Path]:
    """Return the files of graphs by section, "" for the whole report."""
    if not graphs.is_dir():
        return {next((section for section in GRAPH_FILES if section in graphs.name), ""): graphs}
    files = {section: graphs / name for section, name in GRAPH_FILES.items() if (graphs / name).is_file()}
    if not files:
        raise IgclError(f"--graphs {graphs}: contains neither {' nor '.join(GRAPH_FILES.values())}")
    return files


def _graph(record: Mapping[str, Any], files: Mapping[str, ReportGraphs]) -> ReportGraph | None:
    found = []
    for section, graphs in files.items():
        text = " ".join(filter(None, (record[f"section_{name}"] for name in ([section] if section else GRAPH_FILES))))
        if len(text.split()) > 1:
            found.append(graphs.find((record["image"], record["study"]), text))
    whole = [graph for graph in found if graph is not None]
    return joined(whole) if found and len(whole) == len(found) else None


def _studies(rows: pa.Table, labels: Sequence[str], graphs: Sequence[ReportGraph | None]) -> Iterator[Study]:
    for own, graph in zip(groups(rows, "study"), graphs, strict=True):
        first = own[0]
        yield study_of(
            first,
            [*map(chexpert_image, own)],
            report=_report(first),
            graph=graph,
            labels={name: first[name] for name in labels},
            extra={name: first[name] for name in EXTRA},
        )


def _report(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the sections that have text, and the whole report if it has neither findings nor impression."""
    texts = {
        name: "\n".join(filter(None, (record[column] for column in columns))) for name, columns in SECTIONS.items()
    }
    sections = {name: text for name, text in texts.items() if text}
    return {**sections, "report": record["report"]} if record["report"] else sections or {"report": ""}
