"""CheXpert Plus: the images of CheXpert with their reports, CheXbert labels and RadGraph-XL graphs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from igcl_lightning.data.label_policy import CHEXPERT_LABELS, LabelPolicy, LabelTable
from igcl_lightning.data.sources.chexpert import IN_DOUBT, frontal_view
from igcl_lightning.data.sources.graphs import ReportGraphs, joined
from igcl_lightning.data.sources.json_lines import read_json_lines
from igcl_lightning.data.sources.layout import IMAGE_SUFFIXES
from igcl_lightning.data.sources.rows import (
    ages,
    groups,
    records,
    refuse,
    refuse_conflict,
    refuse_repeats,
    refuse_strangers,
    require,
    split_names,
)
from igcl_lightning.data.sources.source import Source
from igcl_lightning.data.sources.tables import find_file, read_columns, sex_name
from igcl_lightning.data.splits import lend_validation
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.schema import ReportGraph

LABEL_FILES: Mapping[str, tuple[str, str] | None] = {
    "chexbert": ("impression_fixed.json", "section_impression"),
    "chexbert-findings": ("findings_fixed.json", "section_findings"),
    "chexbert-report": ("report_fixed.json", "report"),
    "none": None,
}
"""File of each choice of labels, and the column of the text that CheXbert read for it."""

SECTIONS: Mapping[str, tuple[str, ...]] = {
    "indication": ("section_clinical_history", "section_history"),
    "comparison": ("section_comparison",),
    "technique": ("section_technique",),
    "findings": ("section_findings",),
    "impression": ("section_impression",),
}
"""The columns of each section of a report."""

GRAPH_FILES: Mapping[str, str] = {
    "findings": "section_findings.json",
    "impression": "section_impression.json",
}
"""Files in the folder of RadGraph-XL annotations: the graphs of sections of two words and more, known by their text."""

EXTRA = ("patient_report_date_order", "race", "ethnicity")
REQUIRED = (
    "path_to_image",
    "frontal_lateral",
    "ap_pa",
    "deid_patient_id",
    "report",
    "section_findings",
    "section_impression",
    "split",
)
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

    The table has a report for each image; those of one study differ in how they were anonymised, and their labels may
    differ for it. The study's report, labels and graph are those of its first image.

    Args:
        root: folder of `df_chexpert_plus_240401.csv`.
        labels: one of `LABEL_FILES`; not known where the text that was labelled is blank.
        uncertain: what the label value -1 becomes (`LabelPolicy.parse`).
        blank: what a label that a report does not mention becomes, one of `label_policy.BLANK`.
        graphs: folder of the files `GRAPH_FILES`, or one file of graphs, of one of the sections if its name says so.
        images: folder of `train` and `valid`, PNG, DICOM or JPEG; by default it is looked for below `root`.
        seed: of the training patients that become "valid" where the table has no validation rows.

    Raises:
        IgclError: a file or a column is missing, a cell cannot be read, a patient stands in two splits, or no study
            finds its graph; the message names file, row and column.
    """
    policy = LabelPolicy.parse(uncertain, blank)
    if labels not in LABEL_FILES:
        raise IgclError(f"--labels: {labels!r} is not one of {', '.join(LABEL_FILES)}")
    table = find_file(root, "df_chexpert_plus_*.csv*", "*/df_chexpert_plus_*.csv*", what="df_chexpert_plus_240401.csv")
    counts: Counter[str] = Counter()
    rows = _read_rows(table, table.parent if images is None else images, seed, counts)
    label_file, known = _read_labels(table.parent, labels, policy, rows, counts)
    found = {section: ReportGraphs(path) for section, path in _graph_files(graphs).items()}
    firsts = rows.drop_duplicates("study")
    graph_of = [_graph(record, found) for record in records(firsts)] if found else None
    for graph_file in found.values():
        graph_file.refuse_stranger(table)
    # The whole is kept only where it has no sections that are known; it would double the memory.
    rows["report"] = rows["report"].where(rows[["section_findings", "section_impression"]].isna().all(axis=1), None)
    return Source(
        name="chexpert-plus",
        items=partial(_studies, pa.Table.from_pandas(rows, preserve_index=False), known, graph_of),
        labels=known.names,
        extra=EXTRA,
        inputs=(table, *filter(None, (label_file,)), *(graph_file.path for graph_file in found.values())),
        settings={
            "labels": labels,
            **policy.described(),
            "validation_seed": seed,
            **({"graphs": {name: graph_file.described() for name, graph_file in found.items()}} if found else {}),
        },
        counts=counts,
        total=len(firsts),
    )


def _read_rows(path: Path, images: Path, seed: int, counts: Counter[str]) -> pd.DataFrame:
    """Return one row per image, those of a study in a row, the first image first."""
    frame = read_columns(path, REQUIRED, (*OPTIONAL, *EXTRA), others=False)
    if frame.empty:
        raise IgclError(f"{path}: holds no rows")
    require(path, frame, ("path_to_image", "deid_patient_id"))
    refuse_repeats(path, frame, "path_to_image")
    parts = frame["path_to_image"].str.extract(_PATH)
    refuse(path, parts["study"].isna(), "column 'path_to_image' is no path such as train/patient1/study1/view1.jpg")
    frame = frame.assign(**parts, split=split_names(path, frame, "split"), sex=frame["sex"].map(sex_name))
    refuse_conflict(path, frame, "study", "deid_patient_id")
    refuse_conflict(path, frame, "deid_patient_id", "split")
    folder, suffix = _image_folder(images, parts["word"].iloc[0])
    frame = frame.assign(
        age=ages(path, frame, "age", counts, zero_is_blank=True),
        file=f"{folder}/" + frame["word"] + "/" + frame["study"] + "/" + frame["name"] + suffix,
    )
    frame = frame.assign(split=lend_validation(frame["split"].tolist(), frame["deid_patient_id"].tolist(), seed))
    texts = frame.groupby("study")[["section_findings", "section_impression"]].nunique()
    counts["studies whose images have several reports"] = int((texts > 1).any(axis=1).sum())
    return frame.sort_values(["deid_patient_id", "study", "name"], ignore_index=True)


def _image_folder(images: Path, word: str) -> tuple[Path, str]:
    """Return the folder of the folders "train" and "valid", and the suffix of the images there.

    Raises:
        IgclError: there is no such folder, or no image in it.
    """
    folders = (folder for above in ("", "*/", "*/*/") for folder in sorted(images.glob(f"{above}{word}")))
    for folder in folders:
        for image in folder.glob("patient*/study*/*"):
            if image.suffix.lower() in IMAGE_SUFFIXES:
                return folder.parent, image.suffix
    raise IgclError(
        f"{images}: no images such as {word}/patient00001/study1/view1_frontal.png; name their folder with --images"
    )


def _read_labels(
    folder: Path, labels: str, policy: LabelPolicy, rows: pd.DataFrame, counts: Counter[str]
) -> tuple[Path | None, LabelTable]:
    """Return the file of labels, and the labels by study: those of its first image."""
    named = LABEL_FILES[labels]
    if named is None:
        return None, LabelTable()
    policy.check(CHEXPERT_LABELS)
    path = find_file(folder, named[0], f"*/{named[0]}", what=f"file of the labels {labels!r}")
    frame = read_json_lines(path, ("path_to_image", *CHEXPERT_LABELS))
    require(path, frame, ("path_to_image",))
    refuse_repeats(path, frame, "path_to_image")
    refuse_strangers(path, frame["path_to_image"].tolist(), rows["path_to_image"].tolist())
    values = policy.of_table(path, frame, CHEXPERT_LABELS)
    place = {image: place for place, image in enumerate(frame["path_to_image"])}
    counts["images without labels"] = int((~rows["path_to_image"].isin(place)).sum())
    counts["labels without images"] = len(place.keys() - set(rows["path_to_image"]))
    firsts = rows.drop_duplicates("study")
    counts["studies without the labelled text"] = int(firsts[named[1]].isna().sum())
    labelled = firsts[firsts[named[1]].notna() & firsts["path_to_image"].isin(place)]
    row = {study: place[image] for study, image in zip(labelled["study"], labelled["path_to_image"], strict=True)}
    return path, LabelTable(CHEXPERT_LABELS, values, row)


def _graph_files(graphs: Path | None) -> dict[str, Path]:
    """Return the files of graphs by the section that they are of, "" for the whole report."""
    if graphs is None:
        return {}
    if not graphs.is_dir():
        return {next((section for section in GRAPH_FILES if section in graphs.name), ""): graphs}
    files = {section: graphs / name for section, name in GRAPH_FILES.items() if (graphs / name).is_file()}
    if not files:
        raise IgclError(f"--graphs {graphs}: neither {' nor '.join(GRAPH_FILES.values())} is there")
    return files


def _graph(record: Mapping[str, Any], files: Mapping[str, ReportGraphs]) -> ReportGraph | None:
    """Return the graph of a study's first report, None where one of its sections finds no graph."""
    found = []
    for section, graphs in files.items():
        texts = [record[f"section_{name}"] for name in ([section] if section else GRAPH_FILES)]
        text = " ".join(filter(None, texts))
        if len(text.split()) > 1:
            found.append(graphs.find((record["path_to_image"], record["study"]), text))
    whole = [graph for graph in found if graph is not None]
    return joined(whole) if found and len(whole) == len(found) else None


def _studies(rows: pa.Table, labels: LabelTable, graphs: Sequence[ReportGraph | None] | None) -> Iterator[Study]:
    """Yield the studies; the rows of one follow one another."""
    for place, (study, own) in enumerate(groups(rows, "study")):
        first = own[0]
        yield Study(
            study_id=study,
            patient_id=first["deid_patient_id"],
            images=tuple(map(_image, own)),
            report=_report(first),
            graph=None if graphs is None else graphs[place],
            labels=labels.of(study),
            split=first["split"],
            age=first["age"],
            sex=first["sex"],
            extra={name: first[name] for name in EXTRA},
        )


def _report(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the sections of a report that have text, and the whole where neither findings nor impression are known."""
    texts = {
        name: "\n".join(filter(None, (record[column] for column in columns))) for name, columns in SECTIONS.items()
    }
    sections = {name: text for name, text in texts.items() if text}
    return {**sections, "report": record["report"]} if record["report"] else sections


def _image(record: Mapping[str, Any]) -> StudyImage:
    view, words, doubt = frontal_view(record["frontal_lateral"], record["ap_pa"], record["name"])
    return StudyImage(record["path_to_image"], Path(record["file"]), view, words, flags=(IN_DOUBT,) if doubt else ())
