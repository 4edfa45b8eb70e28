"""The COVID-19 image data collection (covid-chestxray-dataset): radiographs of pneumonias with clinical notes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import pandas as pd

from igcl_lightning.data.label_policy import NO_FINDING
from igcl_lightning.data.regions import Box
from igcl_lightning.data.sources.layout import places
from igcl_lightning.data.sources.rows import ages, records, refuse, refuse_conflict, require, split_names
from igcl_lightning.data.sources.source import Source
from igcl_lightning.data.sources.tables import find_file, read_columns, sex_name
from igcl_lightning.data.splits import lend_validation
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.data.views import view_name
from igcl_lightning.errors import IgclError

LABELS: tuple[str, ...] = (
    NO_FINDING, "Pneumonia", "Viral", "COVID-19", "Bacterial", "Fungal", "Pneumocystis", "Lipoid", "Aspiration",
    "Tuberculosis", "ARDS",
)  # fmt: skip

PARENT: Mapping[str, str | None] = {
    **dict.fromkeys((NO_FINDING, "Pneumonia", "Tuberculosis", "ARDS")),
    **dict.fromkeys(("Viral", "Bacterial", "Fungal", "Lipoid", "Aspiration"), "Pneumonia"),
    **dict.fromkeys(("COVID-19", "SARS", "MERS-CoV", "Influenza", "Varicella", "Herpes"), "Viral"),
    **dict.fromkeys(("Streptococcus", "Staphylococcus", "Klebsiella", "E.Coli", "Legionella"), "Bacterial"),
    **dict.fromkeys(("Mycoplasma", "Chlamydophila", "Nocardia"), "Bacterial"),
    **dict.fromkeys(("Pneumocystis", "Aspergillosis"), "Fungal"),
    "H1N1": "Influenza",
    "MRSA": "Staphylococcus",
}
"""The diagnoses of the column `finding`, each with the wider one that it is a kind of."""

SYNONYMS: Mapping[str, str] = {"mycoplasma bacterial pneumonia": "Mycoplasma"}
UNLABELLED = ("", "todo", "unknown")
"""Words that say that nobody has looked yet."""

CT_VIEWS = ("axial", "coronal", "ct")

SAME_PERSON: Mapping[str, str] = {"178": "97"}
"""Patient ids of persons that have another id too."""

BOXES: Mapping[str, str] = {"bbox_right_lung": "right_lung", "bbox_left_lung": "left_lung"}
EXTRA = ("finding", "offset", "date", "location", "license", "doi", "url")
OPTIONAL = (
    "sex", "age", "view", "modality", "folder", "filename", "src_filename", "file", "clinical_notes", "lung_mask",
)  # fmt: skip
_BY_WORD = {name.lower(): name for name in PARENT} | dict(SYNONYMS)


def read_covid_chestxray(root: Path, *, images: Path | None = None, seed: int = 0) -> Source:
    """Read one study per radiograph of `metadata.csv`; CT scans are left out.

    The report is `clinical_notes`. Images of a series often share one text. A finding is read as the diagnoses it names
    with all wider ones: "Pneumonia/Viral/COVID-19" and the older "COVID-19" both mean Pneumonia, Viral and COVID-19.
    Other kinds of what is named are absent; what the finding does not speak of, such as which pneumonia or whether
    there was ARDS too, is not known, and nothing is known of rows marked "todo".

    Two forms are read: the collection itself, images as `folder` and `filename` say; and tables with a column `file`,
    which may also have `split`, boxes of the lungs ("x y width height") and a mask of both.

    Args:
        root: folder of the table.
        images: folder of the images; where the table says by default.
        seed: of the patients that become "valid" where the table names splits but no such row.

    Raises:
        IgclError: a file or a column is missing, or a cell cannot be read; the message names file, row and column.
    """
    table = find_file(root, *places("metadata.csv"), what="table of the COVID-19 image data collection")
    counts: Counter[str] = Counter()
    frame = _read_rows(table, counts)
    if "split" in frame:
        frame["split"] = lend_validation(frame["split"].tolist(), frame["patient"].tolist(), seed)
    return Source(
        name="covid-chestxray",
        items=partial(_studies, frame, table.parent, images),
        labels=LABELS,
        extra=EXTRA,
        boxes=bool(set(BOXES) & set(frame.columns)),
        masks=bool(frame["lung_mask"].notna().any()),
        inputs=(table,),
        settings={"validation_seed": seed} if "split" in frame else {},
        counts=+counts,
        total=len(frame),
    )


def _read_rows(path: Path, counts: Counter[str]) -> pd.DataFrame:
    """Return the rows of radiographs, with `image`, `relative`, `patient`, `years` and `diagnoses`."""
    frame = read_columns(path, ("patientid", "finding"), (*OPTIONAL, *EXTRA))
    require(path, frame, ("patientid",))
    radiograph = frame["modality"].isna() | (frame["modality"].str.lower() == "x-ray")
    radiograph &= ~frame["view"].str.lower().isin(CT_VIEWS)
    counts["rows of no X-ray"] = int((~radiograph).sum())
    frame = _name_images(path, frame[radiograph])
    repeated = frame["image"].duplicated()
    counts["rows of an image named before"] = int(repeated.sum())
    frame = frame[~repeated]
    frame = frame.assign(patient=frame["patientid"].replace(dict(SAME_PERSON)), diagnoses=_diagnoses(frame, counts))
    if "split" in frame:
        frame["split"] = split_names(path, frame, "split")
        refuse_conflict(path, frame, "patient", "split")
    for column in BOXES.keys() & set(frame.columns):
        frame[column] = _boxes(path, frame, column)
    return frame.assign(years=ages(path, frame, "age", counts))


def _name_images(path: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with the image's name as the collection calls it, and its place below the table's folder."""
    names = frame["filename"].where(frame["filename"].notna(), frame["src_filename"])
    folders = frame["folder"].where(frame["folder"].notna(), "images")
    files = frame["file"].where(frame["file"].notna(), folders + "/" + names)
    refuse(path, files.isna(), "columns 'filename' and 'file' are empty; one of them must name the image")
    return frame.assign(image=names.where(names.notna(), files), relative=files)


def _diagnoses(frame: pd.DataFrame, counts: Counter[str]) -> pd.Series:
    """Return the diagnoses of each row with all wider ones; none where the row is not labelled."""
    words = frame["finding"].fillna("").str.lower().str.split(r"\s*[,/]\s*", regex=True)
    unknown = words.map(lambda found: any(word not in _BY_WORD and word not in UNLABELLED for word in found))
    counts["findings with an unknown word"] = int(unknown.sum())
    diagnoses = words.map(lambda found: frozenset(wider for word in found for wider in _upwards(_BY_WORD.get(word))))
    counts["rows without label"] = int((~diagnoses.astype(bool)).sum())
    return diagnoses


def _upwards(diagnosis: str | None) -> Iterator[str]:
    """Yield a diagnosis and all wider ones."""
    while diagnosis is not None:
        yield diagnosis
        diagnosis = PARENT[diagnosis]


def _boxes(path: Path, frame: pd.DataFrame, column: str) -> pd.Series:
    """Return a column of boxes, None where there is none."""
    boxes: list[Box | None] = []
    for row, cell in frame[column].items():
        try:
            boxes.append(None if cell is None else _box(BOXES[column], cell))
        except ValueError:
            message = f"{cell!r} is no box 'x y width height'"
            raise IgclError(f"{path} row {int(str(row)) + 2}, column {column!r}: {message}") from None
    return pd.Series(boxes, index=frame.index, dtype=object)


def _box(label: str, text: str) -> Box:
    x, y, width, height = map(float, text.split())
    if not (width > 0 and height > 0 and x >= 0 and y >= 0):
        raise ValueError
    return Box.of_size(label, x, y, width, height)


def _studies(frame: pd.DataFrame, folder: Path, images: Path | None) -> Iterator[Study]:
    for row in records(frame):
        image = StudyImage(
            row["image"],
            folder / row["relative"] if images is None else images / Path(row["relative"]).name,
            view_name(row["view"]),
            row["view"],
            boxes=tuple(box for column in BOXES if (box := row.get(column)) is not None),
            masks={} if row["lung_mask"] is None else {"lungs": folder / row["lung_mask"]},
        )
        yield Study(
            study_id=row["image"],
            patient_id=row["patient"],
            images=(image,),
            report={} if row["clinical_notes"] is None else {"report": row["clinical_notes"]},
            labels={label: _value(label, row["diagnoses"]) for label in LABELS},
            split=row.get("split"),
            age=None if pd.isna(row["years"]) else row["years"],
            sex=sex_name(row["sex"]),
            extra={name: row[name] for name in EXTRA},
        )


def _value(label: str, diagnoses: frozenset[str]) -> float | None:
    """Return whether a finding names a diagnosis, None where it does not say.

    A diagnosis is absent where a patient has another one of the same kind. So a viral pneumonia is not bacterial, but
    it may be of any virus.
    """
    if label in diagnoses:
        return 1.0
    if NO_FINDING in diagnoses or (label == NO_FINDING and diagnoses):
        return 0.0
    nearest = next((kind for kind in _upwards(PARENT[label]) if kind in diagnoses), None)
    siblings = {name for name in diagnoses if PARENT[name] == nearest}
    return 0.0 if nearest is not None and siblings else None
