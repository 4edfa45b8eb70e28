"""Answers of radiologists and scores of models on the same studies, in the layout of the public CheXpert test labels.

    DIR/groundtruth.csv                           0 or 1 by study and label
    DIR/radiologists/**/*.csv                     answers of a reader each, 0 or 1
    DIR/example_models/predictions/**/*.csv       scores of a model each, of any scale

Rows are joined by study, columns by name: their order says nothing, and differs between the public files.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from igcl_lightning.data.label_policy import CHEXPERT_LABELS, RESERVED
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
Kind = tuple[str, ...]


class NoKey(IgclError):
    """A table without a column that names studies."""


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """Answers and scores on N studies and L labels, by name of the reader or model.

    Attributes:
        path: file of the ground truth.
        studies: ids of the studies, as `study_id` returns them.
        patients: patient of each study; the study itself where its id does not name one.
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
    truth = _read_truth(path)
    blank = int(truth.isna().sum().sum())
    notes = [f"{path.name}: blank cells left out: {blank:,}"] * bool(blank)
    found: dict[Kind, dict[str, Table]] = {READERS: {}, MODELS: {}}
    files = {file: kind for file in _files(root) if file != path and (kind := _kind(file.relative_to(root)))}
    for file, name in _names(root, [*files]).items():
        frame = _read_other(file, truth.columns, files[file])
        if frame is not None:
            notes += _differences(file, name, frame, truth, files[file] == READERS)
            found[files[file]][name] = frame.reindex(index=truth.index, columns=truth.columns).to_numpy()
    if not any(found.values()):
        raise IgclError(f"--radiologists {root}: no answers below radiologists/ and no scores below example_models/")
    studies = [*map(str, truth.index)]
    labels = [*map(str, truth.columns)]
    return Readings(path, studies, _patients(studies), labels, truth.to_numpy(), found[READERS], found[MODELS], notes)


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
    """Return all tables of a folder that are not hidden, in the order of their names."""
    found = (file for file in root.rglob("*") if plain_suffix(file) in TABLES and file.is_file())
    shown = (file for file in found if not any(part.startswith(".") for part in file.relative_to(root).parts))
    return sorted(shown, key=lambda file: (file.name, file))


def _kind(file: Path) -> Kind:
    """Return `READERS` or `MODELS` by the first folder that says so; none, with a warning, if no folder does."""
    for folder in file.parts[:-1]:
        for kind in (READERS, MODELS):
            if any(part in folder.lower() for part in kind):
                return kind
    write_message("warning", f"{file} is left out: neither below radiologists/ nor below example_models/")
    return ()


def _names(root: Path, files: Sequence[Path]) -> dict[Path, str]:
    """Return the name of each file's reader or model: its stem, or its path if another file has that stem.

    The path is without a suffix, unless files differ by it alone.
    """
    plain = {file: (file.with_suffix("") if file.suffix.lower() in PACKED else file).with_suffix("") for file in files}
    stems, paths = Counter(path.name for path in plain.values()), Counter(plain.values())
    return {
        file: path.name if stems[path.name] == 1 else (path if paths[path] == 1 else file).relative_to(root).as_posix()
        for file, path in plain.items()
    }


def _read_table(path: Path, known: Iterable[str]) -> pd.DataFrame:
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


def _read_truth(path: Path) -> pd.DataFrame:
    """Return the ground truth, studies by labels, both in an order of their own.

    Labels are those of CheXpert, and other columns of 0 and 1 only.
    """
    frame = _read_table(path, CHEXPERT_LABELS)
    others = [name for name in frame.columns if name not in (*CHEXPERT_LABELS, *KEYS)]
    binary = [name for name in others if frame[name].notna().any() and _is_binary(frame[name]).all()]
    if taken := [name for name in binary if name in RESERVED]:
        raise IgclError(f"{path}: no label can be called {taken[0]!r}, as a mean over labels is; rename the column")
    order = dict.fromkeys((*COMPETITION, *CHEXPERT_LABELS, *sorted(binary)))
    found = [name for name in order if name in frame.columns]
    if not found or not len(frame):
        raise IgclError(f"{path}: no {'rows' if found else 'column of labels, with 0 and 1'}")
    return _answers(path, frame, found).sort_index()


def _read_other(path: Path, labels: Collection[str], kind: Kind) -> pd.DataFrame | None:
    """Return answers or scores, studies by labels of the ground truth; None, with a warning, if it has none of them."""
    try:
        frame = _read_table(path, labels)
    except NoKey as error:
        write_message("warning", f"{error}; it is left out")
        return None
    shown = [name for name in labels if name in frame.columns]
    if not shown:
        there = ", ".join(repr(name) for name in frame.columns if name != KEYS[0]) or "none"
        write_message("warning", f"{path}: no column is a label of the ground truth, only {there}; it is left out")
        return None
    return _answers(path, frame, shown) if kind == READERS else _scores(path, frame, shown)


def _is_binary(cells: pd.Series) -> pd.Series:
    return cells.isna() | pd.to_numeric(cells, errors="coerce").isin((0, 1))


def _answers(path: Path, frame: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """Return answers by study, NaN where blank; `IgclError` names the cell that is not 0 or 1."""
    for label in labels:
        refuse_cells(path, frame[label], ~_is_binary(frame[label]), "is not 0 or 1")
    return _scores(path, frame, labels)


def _scores(path: Path, frame: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """Return scores by study, NaN where blank; `IgclError` names the cell that is not a finite number."""
    scores: pd.DataFrame = with_numbers(path, frame, labels).set_index(KEYS[0])[list(labels)].astype(float)
    return scores


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
        yield f"{name}: studies that are missing: {missing:,} of {len(truth):,}; compared on the other {len(shared):,}"
    if strangers := len(given) - len(shared):
        yield f"{name}: studies without a ground truth left out: {strangers:,}"
    if blank := int(given.loc[shared].isna().sum().sum()):
        yield f"{name}: blank cells left out: {blank:,}"


def _patients(studies: Sequence[str]) -> list[str]:
    """Return the patient of each study: the folder above it, or the study itself where the ids name no patients."""
    parents = [str(PurePosixPath(study).parent) for study in studies]
    return [*studies] if "." in parents or len(set(parents)) == 1 else parents
