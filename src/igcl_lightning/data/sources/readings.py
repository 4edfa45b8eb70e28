"""Answers of radiologists and scores of models on the same studies, in the layout of the public CheXpert test labels.

    DIR/groundtruth.csv                           0 or 1 by study and label
    DIR/radiologists/**/*.csv                     answers of a reader each, 0 or 1
    DIR/example_models/predictions/**/*.csv       scores of a model each, of any scale

Rows are joined by study, columns by name: their order says nothing, and differs between the public files.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from igcl_lightning.data.label_policy import CHEXPERT_LABELS
from igcl_lightning.data.sources.checks import refuse_cells, refuse_repeats
from igcl_lightning.data.sources.image_folder import IMAGE_SUFFIXES
from igcl_lightning.data.sources.packed import PACKED
from igcl_lightning.data.sources.rows import with_numbers
from igcl_lightning.data.sources.subset import CLASSES
from igcl_lightning.data.sources.table_files import TABLES, open_table, plain_suffix
from igcl_lightning.data.sources.tables import each_cell, find_optional, read_columns
from igcl_lightning.errors import IgclError, write_message

COMPETITION = CLASSES
"""The labels of the CheXpert competition, by which readers and models are compared."""

KEYS = ("Study", "Path")
"""Names of the column that says which study a row is about, best first."""

TRUTH = ("groundtruth.csv", "ground_truth.csv")
READERS, MODELS = ("radiolog", "reader"), ("model", "predict")
"""Parts of the names of folders that hold the answers of readers, and the scores of models."""

_CHEXPERT = re.compile(r"(patient\d+)/(study\d+)")

Table = NDArray[np.float64]


class NoKey(IgclError):
    """A table without a column that names studies."""


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """Answers and scores on N studies and L labels, by name of the reader or model.

    Attributes:
        path: file of the ground truth.
        studies: ids of the studies, as `study_id` returns them.
        patients: patient of each study.
        labels: names of the labels, those of the CheXpert competition first.
        truth: ground truth, 1, 0 or NaN where blank, [N, L].
        readers: answers, 1, 0 or NaN where there is none, [N, L].
        models: scores, NaN where there is none, [N, L].
        notes: what is left out of the files, a line each.
    """

    path: Path
    studies: list[str]
    patients: list[str]
    labels: list[str]
    truth: Table
    readers: dict[str, Table]
    models: dict[str, Table]
    notes: list[str]


def read_readings(root: Path) -> Readings:
    """Read all files of a folder; studies and labels are those of the ground truth.

    A file with fewer studies or labels has NaN there, and a note says how many. Files that are no answers and no scores
    are named on standard error and left out.

    Raises:
        IgclError: there is no ground truth, neither reader nor model, or a file cannot be used: a study stands in it
            twice, an answer is not 0 or 1, a score is no number, or none of its studies has a ground truth.
    """
    if not root.is_dir():
        raise IgclError(f"--radiologists {root}: no such folder")
    path = find_optional(root, *(f"{above}{name}" for above in ("", "*/", "*/*/") for name in TRUTH))
    if path is None:
        raise IgclError(f"--radiologists {root}: no {TRUTH[0]} there or one or two folders deeper")
    answers = _read_table(path, CHEXPERT_LABELS)
    labels = _labels(path, answers)
    truth = _binary(path, answers, labels)
    if not len(truth):
        raise IgclError(f"{path}: no rows")
    studies = [*map(str, truth.index)]
    notes = [] if truth.notna().all(axis=None) else [f"{path.name}: {truth.isna().sum().sum():,} blank cells"]
    readers: dict[str, Table] = {}
    models: dict[str, Table] = {}
    files = [(file, kind) for file in _files(root) if file != path and (kind := _kind(file.relative_to(root)))]
    names = _names(root, [file for file, _ in files])
    for file, kind in files:
        frame = _read_other(file, labels)
        if frame is not None:
            shown = [label for label in labels if label in frame]
            given = _binary(file, frame, shown) if kind == READERS else _scores(file, frame, shown)
            notes += _differences(file, names[file], given, truth, kind == READERS)
            (readers if kind == READERS else models)[names[file]] = given.reindex(studies, columns=labels).to_numpy()
    if not readers and not models:
        raise IgclError(f"--radiologists {root}: no answers below radiologists/ and no scores below example_models/")
    return Readings(path, studies, _patients(studies, notes), labels, truth.to_numpy(), readers, models, notes)


def study_id(text: str) -> str:
    """Return the id of a study from the path of its folder or of one of its images, "patient00001/study1" in CheXpert.

    CheXpert's first folders and words for a split differ between files. Other ids stay as they are, without an image's
    name, and without slashes at both ends.
    """
    path = PurePosixPath(text.replace("\\", "/").strip("/ "))
    if found := _CHEXPERT.search(str(path)):
        return "/".join(found.groups())
    image = path.suffix.lower() in IMAGE_SUFFIXES and len(path.parts) > 1
    return str(path.parent if image else path)


def mean_labels(labels: Sequence[str]) -> list[str]:
    """Return the labels that a mean is over: those of the competition that there are, or all if there are none."""
    return [label for label in COMPETITION if label in labels] or [*labels]


def _files(root: Path) -> list[Path]:
    """Return all tables of a folder that are not hidden, in the order of their paths."""
    found = (file for file in root.rglob("*") if plain_suffix(file) in TABLES and file.is_file())
    return sorted(file for file in found if not any(part.startswith(".") for part in file.relative_to(root).parts))


def _kind(file: Path) -> tuple[str, ...]:
    """Return `READERS` or `MODELS` by the first folder that says so; none, with a warning, if no folder does."""
    for folder in file.parts[:-1]:
        for kind in (READERS, MODELS):
            if any(part in folder.lower() for part in kind):
                return kind
    write_message("warning", f"{file} is left out: neither below radiologists/ nor below example_models/")
    return ()


def _names(root: Path, files: Sequence[Path]) -> dict[Path, str]:
    """Return the name of each file's reader or model: its stem, or the whole path if another file has that stem."""
    plain = {file: (file.with_suffix("") if file.suffix.lower() in PACKED else file).with_suffix("") for file in files}
    times = Counter(path.name for path in plain.values())
    return {
        file: path.name if times[path.name] == 1 else path.relative_to(root).as_posix() for file, path in plain.items()
    }


def _read_table(path: Path, known: Sequence[str]) -> pd.DataFrame:
    """Return the columns of a table as texts, indexed as `read_columns` does, and its studies as the column "Study".

    Columns are named as in `known` where they differ in case, or in underscores for spaces, only.

    Raises:
        NoKey: no column says which study a row is about.
        IgclError: the table cannot be read, a study stands in it twice, or two columns have one name.
    """
    there = open_table(path, (KEYS,)).names
    key = next((name for wanted in KEYS for name in there if name.casefold() == wanted.casefold()), None)
    if key is None:
        raise NoKey(f"{path}: no column {' or '.join(map(repr, KEYS))}; it has {', '.join(map(repr, there))}")
    frame = read_columns(path, (key,), filled=(key,), others=True)
    frame[key] = each_cell(frame[key], study_id)
    refuse_repeats(path, frame, key)
    plain = {_plain(name): name for name in known}
    names = [KEYS[0] if name == key else plain.get(_plain(name), name) for name in map(str, frame.columns)]
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise IgclError(f"{path}: two columns are {twice[0]!r}; keep one of them")
    return frame.set_axis(names, axis=1)


def _plain(name: str) -> str:
    return name.casefold().replace("_", " ")


def _labels(path: Path, frame: pd.DataFrame) -> list[str]:
    """Return the labels of the ground truth: those of CheXpert, and other columns of 0 and 1 only."""
    others = [name for name in frame.columns if name not in (*CHEXPERT_LABELS, *KEYS)]
    binary = [name for name in others if frame[name].notna().any() and _is_binary(frame[name]).all()]
    found = [name for name in frame.columns if name in CHEXPERT_LABELS or name in binary]
    if not found:
        raise IgclError(f"{path}: no column of labels, with 0 and 1")
    return [*(name for name in COMPETITION if name in found), *(name for name in found if name not in COMPETITION)]


def _read_other(path: Path, labels: Sequence[str]) -> pd.DataFrame | None:
    """Return a table with labels of the ground truth; None, with a warning, if it has none or names no studies."""
    try:
        frame = _read_table(path, labels)
    except NoKey as error:
        write_message("warning", f"{error}; it is left out")
        return None
    if not set(labels) & set(frame.columns):
        there = ", ".join(repr(name) for name in frame.columns if name != KEYS[0]) or "none"
        write_message("warning", f"{path}: no column is a label of the ground truth, only {there}; it is left out")
        return None
    return frame


def _is_binary(cells: pd.Series) -> pd.Series:
    return cells.isna() | pd.to_numeric(cells, errors="coerce").isin((0, 1))


def _binary(path: Path, frame: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """Return answers by study, NaN where blank; `IgclError` names the cell that is not 0 or 1."""
    for label in labels:
        refuse_cells(path, frame[label], ~_is_binary(frame[label]), "is not 0 or 1")
    return _by_study(with_numbers(path, frame, labels), labels)


def _scores(path: Path, frame: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """Return scores by study, NaN where blank; `IgclError` names the cell that is not a finite number."""
    return _by_study(with_numbers(path, frame, labels), labels)


def _by_study(frame: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    return frame.set_index(KEYS[0])[list(labels)].astype(float)


def _differences(path: Path, name: str, given: pd.DataFrame, truth: pd.DataFrame, is_reader: bool) -> Iterator[str]:
    """Yield lines on studies, labels and cells that a file lacks, or has beyond the ground truth."""
    shared = given.index.intersection(truth.index)
    if not len(shared):
        here, there = (frame.index[0] if len(frame) else "none" for frame in (given, truth))
        raise IgclError(f"{path}: none of its studies, such as {here!r}, has a ground truth, such as {there!r}")
    wanted = truth.columns if is_reader else [label for label in truth.columns if label in COMPETITION]
    if lacking := [label for label in wanted if label not in given]:
        yield f"{name}: has no {', '.join(lacking)}"
    if missing := len(truth) - len(shared):
        yield f"{name}: {missing:,} of {len(truth):,} studies are missing; compared on the other {len(shared):,}"
    if strangers := len(given) - len(shared):
        yield f"{name}: {strangers:,} studies without a ground truth are left out"
    if blank := int(given.loc[shared].isna().sum().sum()):
        yield f"{name}: {blank:,} blank cells are left out"


def _patients(studies: Sequence[str], notes: list[str]) -> list[str]:
    """Return the patient of each study: the folder above it, or the study itself, with a note, if it names none."""
    parents = [str(PurePosixPath(study).parent) for study in studies]
    if "." in parents:
        notes.append("ids of studies name no patients: each study counts as one of another patient")
        return [*studies]
    return parents
