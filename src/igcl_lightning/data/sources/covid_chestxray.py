"""The COVID-19 image data collection (covid-chestxray-dataset): radiographs of pneumonias with clinical notes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import pandas as pd

from igcl_lightning.data.label_policy import NO_FINDING
from igcl_lightning.data.regions import Box
from igcl_lightning.data.sources.checks import refuse, refuse_cells
from igcl_lightning.data.sources.rows import ages, image_of, patient_splits, records, study_of
from igcl_lightning.data.sources.source import Source
from igcl_lightning.data.sources.tables import find_file, read_columns, table_patterns
from igcl_lightning.data.study import Study

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
"""Wider diagnosis of each diagnosis of the column `finding`."""

SYNONYMS: Mapping[str, str] = {"mycoplasma bacterial pneumonia": "Mycoplasma"}
UNLABELLED = ("", "todo", "unknown")
"""Values of unlabelled rows."""

CT_VIEWS = ("axial", "coronal", "ct")

SAME_PERSON: Mapping[str, str] = {"178": "97", "384": "226", "392": "269"}
"""Second ids of patients, with the first."""

BOXES: Mapping[str, str] = {"bbox_right_lung": "right_lung", "bbox_left_lung": "left_lung"}
EXTRA = ("finding", "offset", "date", "location", "license", "doi", "url")
OPTIONAL = (
    "sex", "age", "view", "modality", "folder", "filename", "src_filename", "file", "clinical_notes", "lung_mask",
)  # fmt: skip
_BY_WORD = {name.lower(): name for name in PARENT} | dict(SYNONYMS)


def read_covid_chestxray(root: Path, *, images: Path | None = None, seed: int = 0) -> Source:
    """Read one study per radiograph of `metadata.csv`; CT scans are left out.

    The report is `clinical_notes`; images of a series often share one text. A finding means the diagnoses it names and
    all wider ones: "Pneumonia/Viral/COVID-19" and the older "COVID-19" both mean Pneumonia, Viral and COVID-19. Other
    kinds of a named diagnosis are absent; labels that the finding does not determine, such as the kind of a pneumonia
    or whether there was ARDS, are unknown, and so are all labels of rows marked "todo".

    Images are those of the columns `folder` and `filename`, as in the collection itself, or of a column `file`; with
    `images` they are found there by name. Tables may also have `split`, boxes of the lungs ("x y width height") and a
    mask of both. Arguments and errors: see `data.sources`.
    """
    table = find_file(root, *table_patterns("metadata.csv"), what="table of the COVID-19 image data collection")
    counts: Counter[str] = Counter()
    frame = _read_rows(table, images, seed, counts)
    return Source(
        name="covid-chestxray",
        items=partial(_studies, frame, table.parent),
        labels=LABELS,
        extra=EXTRA,
        boxes=bool(set(BOXES) & set(frame.columns)),
        masks=bool(frame["lung_mask"].notna().any()),
        inputs=(table,),
        settings={"validation_seed": seed} if "split" in frame else {},
        counts=+counts,
        total=len(frame),
    )


def _read_rows(path: Path, images: Path | None, seed: int, counts: Counter[str]) -> pd.DataFrame:
    """Return the rows of radiographs with the columns of `study_of` and `image_of`, and `diagnoses`."""
    frame = read_columns(path, ("patientid", "finding"), (*OPTIONAL, *EXTRA), filled=("patientid",), others=True)
    radiograph = frame["modality"].isna() | (frame["modality"].str.lower() == "x-ray")
    radiograph &= ~frame["view"].str.lower().isin(CT_VIEWS)
    counts["rows of no X-ray"] = int((~radiograph).sum())
    frame = _name_images(path, frame[radiograph], images)
    repeated = frame["image"].duplicated()
    counts["rows of an image named before"] = int(repeated.sum())
    frame = frame[~repeated]
    frame = frame.assign(patient=frame["patientid"].replace(dict(SAME_PERSON)), diagnoses=_diagnoses(frame, counts))
    if "split" in frame:
        elsewhere = _in_another_split(frame)
        counts["rows of a person in another split, by a second id"] = int(elsewhere.sum())
        frame = frame[~elsewhere]
    if "split" in frame:
        frame["split"] = patient_splits(path, frame["patient"], frame["split"], seed)
    for column in filter(frame.columns.__contains__, BOXES):
        frame[column] = _boxes(path, frame[column])
    return frame.assign(age=ages(path, frame, "age", counts))


def _name_images(path: Path, frame: pd.DataFrame, images: Path | None) -> pd.DataFrame:
    """Return the rows with the study and image id, which is the collection's file name, and the path of the image."""
    names = frame["filename"].where(frame["filename"].notna(), frame["src_filename"])
    folders = frame["folder"].where(frame["folder"].notna(), "images")
    files = frame["file"].where(frame["file"].notna(), folders + "/" + names)
    refuse(path, files.isna(), "columns 'filename' and 'file' are empty; one of them must name the image")
    ids = names.where(names.notna(), files)
    paths = [path.parent / file if images is None else images / Path(file).name for file in files]
    return frame.assign(image=ids, study=ids, path=pd.Series(paths, index=frame.index, dtype=object))


def _in_another_split(frame: pd.DataFrame) -> pd.Series:
    """Return which rows have the second id of a person whose first is in another split, bool by row."""
    first = frame[~frame["patientid"].isin(SAME_PERSON)].drop_duplicates("patient").set_index("patient")["split"]
    expected = frame["patient"].map(first)
    return frame["patientid"].isin(SAME_PERSON) & expected.notna() & (expected != frame["split"])


def _diagnoses(frame: pd.DataFrame, counts: Counter[str]) -> pd.Series:
    """Return the diagnoses of each row with all wider ones; none for unlabelled rows."""
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


def _boxes(path: Path, cells: pd.Series) -> pd.Series:
    """Return a column of boxes, None if blank."""
    boxes = cells.map(lambda cell: None if cell is None else _box(BOXES[str(cells.name)], cell)).astype(object)
    refuse_cells(path, cells, cells.notna() & boxes.isna(), "is not a box 'x y width height'")
    return boxes


def _box(label: str, text: str) -> Box | None:
    try:
        x, y, width, height = map(float, text.split())
    except ValueError:
        return None
    valid = width > 0 and height > 0 and x >= 0 and y >= 0
    return Box.of_size(label, x, y, width, height) if valid else None


def _studies(frame: pd.DataFrame, folder: Path) -> Iterator[Study]:
    for row in records(frame):
        boxes = tuple(box for column in BOXES if (box := row.get(column)) is not None)
        masks = {} if row["lung_mask"] is None else {"lungs": folder / row["lung_mask"]}
        yield study_of(
            row,
            [image_of(row, boxes=boxes, masks=masks)],
            report={"report": row["clinical_notes"] or ""},
            labels={label: _value(label, row["diagnoses"]) for label in LABELS},
            extra={name: row[name] for name in EXTRA},
        )


def _value(label: str, diagnoses: frozenset[str]) -> float | None:
    """Return whether a finding names a diagnosis, None if unknown."""
    if label in diagnoses:
        return 1.0
    if NO_FINDING in diagnoses or (label == NO_FINDING and diagnoses):
        return 0.0
    nearest = next((kind for kind in _upwards(PARENT[label]) if kind in diagnoses), None)
    # Absent if the patient has another one of the same kind: viral pneumonia is not bacterial; its virus is unknown.
    return 0.0 if nearest is not None and any(PARENT[name] == nearest for name in diagnoses) else None
