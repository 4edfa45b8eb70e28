"""CheXpert-5x200 and MIMIC-5x200: test images of five classes, 200 each, for zero-shot classification and retrieval.

An image is of a class if it is frontal, the class is positive, and the 12 other findings are negative or not mentioned:
an uncertain one excludes it. No Finding is not looked at (as by GLoRIA).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from igcl_lightning.data.label_policy import CHEXPERT_LABELS, NO_FINDING, LabelPolicy
from igcl_lightning.data.sources.source import Notes
from igcl_lightning.data.sources.table_files import TABLES, plain_suffix
from igcl_lightning.data.sources.tables import read_columns
from igcl_lightning.data.study import CLASS, FRONTAL
from igcl_lightning.errors import IgclError
from igcl_lightning.reports.files import reason

SUBSET = "5x200"
CLASSES = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
EACH = 200
FINDINGS = tuple(label for label in CHEXPERT_LABELS if label != NO_FINDING)

EXACT = LabelPolicy(blank="negative")
"""Policy that tells positive, negative or blank, and uncertain labels apart: 1, 0 and unknown."""

ID_COLUMNS = ("dicom_id", "Path", "image", "row", "id")
"""Columns of a table of ids, best first."""


def subset_rows(
    rows: pd.DataFrame,
    exact: pd.DataFrame,
    views: Iterable[str],
    subset: str,
    seed: int,
    notes: Notes,
    image_id: Callable[[str], str],
) -> pd.DataFrame:
    """Return the rows of a subset, all in the split "test", with their `CLASS`.

    All findings of a row that is of a class are known, whatever the policy of the labels.

    Args:
        rows: one row per image, with its id in `image`.
        exact: labels of these rows by the policy `EXACT`.
        views: view of each row.
        subset: `SUBSET`, drawn by the seed, or the path of a file of image ids: a table with a column of `ID_COLUMNS`,
            or one id per line.
        seed: seed of the draw.
        notes: receives the settings, and the file.
        image_id: returns the id in `image` of a name in the file.

    Raises:
        IgclError: a class has too few images, there are no labels, or the file is not readable or names other images.
    """
    rows = rows.copy()
    rows[CLASS] = _classes(exact, views)
    of_class = rows[CLASS].notna().to_numpy()
    rows.loc[of_class, [*FINDINGS]] = exact.loc[of_class, [*FINDINGS]].to_numpy()
    notes.settings["subset"] = subset if subset == SUBSET else Path(subset).name
    if subset == SUBSET:
        notes.settings["subset_seed"] = seed
        chosen = _drawn(rows, seed)
    else:
        notes.inputs.append(Path(subset))
        chosen = _listed(rows, Path(subset), image_id)
        notes.counts["listed images of none of the five classes"] = int(rows.loc[chosen, CLASS].isna().sum())
    return rows.loc[sorted(chosen)].assign(split="test")


def _classes(exact: pd.DataFrame, views: Iterable[str]) -> list[str | None]:
    """Return the class of each row, None if it has none."""
    if missing := [label for label in FINDINGS if label not in exact]:
        raise IgclError(f"--subset: the labels have no {missing[0]}; choose others with --labels")
    values = exact[[*FINDINGS]].to_numpy(dtype=float)
    alone = ((values == 0).sum(axis=1) == len(FINDINGS) - 1) & np.array([view in FRONTAL for view in views])
    classes = np.full(len(exact), None, dtype=object)
    for name in CLASSES:
        classes[alone & (values[:, FINDINGS.index(name)] == 1)] = name
    return list(classes)


def _drawn(rows: pd.DataFrame, seed: int) -> list[int]:
    """Return the places of `EACH` rows per class, which do not depend on the order of the rows."""
    chosen: list[int] = []
    for number, name in enumerate(CLASSES):
        places = rows.index[rows[CLASS] == name].to_numpy()
        if len(places) < EACH:
            raise IgclError(f"--subset {SUBSET}: only {len(places)} frontal images are of {name} alone, not {EACH}")
        places = places[np.argsort(rows.loc[places, "image"].to_numpy(dtype=str))]
        chosen += np.random.default_rng([seed, number]).choice(places, EACH, replace=False).tolist()
    return chosen


def _listed(rows: pd.DataFrame, path: Path, image_id: Callable[[str], str]) -> list[int]:
    """Return the places of the rows that a file names."""
    place = dict(zip(rows["image"], rows.index, strict=True))
    wanted = [image_id(name) for name in dict.fromkeys(_ids(path))]
    if strangers := [name for name in wanted if name not in place]:
        some = f"{len(strangers)} of {len(wanted)} images, such as {strangers[0]!r}"
        raise IgclError(f"--subset {path}: {some}, are not in the data set")
    return [place[name] for name in wanted]


def _ids(path: Path) -> list[str]:
    if plain_suffix(path) in TABLES:
        frame = read_columns(path, (), others=True)
        column = next((name for name in ID_COLUMNS if name in frame), None)
        if column is None:
            raise IgclError(f"--subset {path}: no column {' or '.join(ID_COLUMNS)}")
        names: list[str] = frame[column].dropna().tolist()
    else:
        try:
            names = [line.strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
        except OSError as error:
            raise IgclError(f"--subset {path}: {reason(error)}; give 5x200 or a file of image ids") from error
        except UnicodeDecodeError as error:
            raise IgclError(f"--subset {path}: not a text ({error.reason})") from error
    if not names:
        raise IgclError(f"--subset {path}: names no image")
    return names
