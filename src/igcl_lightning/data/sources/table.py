"""Any table with one row per image, CSV or JSON lines; options name its columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from igcl_lightning.data.label_policy import LabelPolicy
from igcl_lightning.data.sources.checks import refuse_conflict, refuse_repeats, require
from igcl_lightning.data.sources.graphs import find_graphs
from igcl_lightning.data.sources.rows import ages, image_of, patient_splits, records, study_of
from igcl_lightning.data.sources.source import Notes, Source
from igcl_lightning.data.sources.tables import JSON_LINES, read_columns, read_json_lines
from igcl_lightning.data.study import Study
from igcl_lightning.graphs.schema import ReportGraph


@dataclass(frozen=True)
class TableColumns:
    """Names of a table's columns, None for columns that it lacks.

    Attributes:
        image: path of the image, relative to the table's root.
        patient: id of the person (default: the study).
        study: id of the study (default: every row is a study).
        report: report text.
        labels: labels with values 1, 0, -1 (uncertain) or blank (unknown).
        split: a word for train, valid or test.
        view: projection, such as PA or AP.
        age: age in years.
        sex: F or M.
        extra: further columns to keep.
        arrays: `.npy` files of numbers, relative to the table's root.
        masks: images whose non-zero pixels are a region, relative to the table's root.
        graph: key of the report's graph in a file of graphs (default: the study, then the image).
    """

    image: str
    patient: str | None = None
    study: str | None = None
    report: str | None = None
    labels: Sequence[str] = ()
    split: str | None = None
    view: str | None = None
    age: str | None = None
    sex: str | None = None
    extra: Sequence[str] = ()
    arrays: Sequence[str] = ()
    masks: Sequence[str] = ()
    graph: str | None = None

    def named(self) -> dict[str, Any]:
        """Return the fields that name a column or several, stripped as `read_columns` strips those of the table."""
        return {
            what: value.strip() if isinstance(value, str) else tuple(name.strip() for name in value)
            for what, value in asdict(self).items()
            if value
        }


def read_table(
    csv: Path,
    columns: TableColumns,
    *,
    root: Path | None = None,
    split_values: Mapping[str, str] | None = None,
    uncertain: str = "ignore",
    blank: str = "missing",
    seed: int = 0,
    graphs: Path | None = None,
) -> Source:
    """Read a table with one row per image.

    Args:
        csv: path of the table; `.jsonl` and `.ndjson` files are read as JSON lines.
        columns: names of its columns.
        root: folder that paths are relative to (default: that of the table).
        split_values: split by value of the split column, such as {"fold0": "test"}.
        uncertain: value of the label -1 (`LabelPolicy.parse`).
        blank: value of a label that is not mentioned, one of `label_policy.BLANK`.
        seed: seed of the training patients that become "valid" if no row is.
        graphs: RadGraph file of the reports; a report without graph is parsed.

    Errors: see `data.sources`.
    """
    named, folder = columns.named(), csv.parent if root is None else root
    columns = TableColumns(**named)
    policy = LabelPolicy.parse(uncertain, blank)
    frame = _read(csv, columns)
    notes = Notes([csv], {"columns": named, **vars(policy)})
    rows = _rows(csv, frame, columns, folder, notes)
    if columns.split:
        words, advice = frame[columns.split], "; rename it with --split-values"
        rows["split"] = patient_splits(csv, rows["patient"], words, seed, split_values, advice)
        notes.settings.update(split_values=dict(split_values or {}), validation_seed=seed)
    labels = policy.of_table(csv, frame, columns.labels)
    graph_of = _find_graphs(graphs, csv, frame, columns, notes)
    items = partial(_studies, frame, columns, rows, labels, graph_of, folder)
    names = (tuple(columns.labels), tuple(columns.extra), tuple(columns.arrays))
    return Source("table", items, *names, masks=bool(columns.masks), total=len(rows), **vars(notes))


def _read(csv: Path, columns: TableColumns) -> pd.DataFrame:
    """Return the named columns, with image and patient in each row and each image once."""
    read = read_json_lines if csv.suffix.lower() in JSON_LINES else read_columns
    single = [value for value in vars(columns).values() if isinstance(value, str)]
    names = (*single, *columns.labels, *columns.extra, *columns.arrays, *columns.masks)
    frame: pd.DataFrame = read(csv, [*dict.fromkeys(names)])
    require(csv, frame, filter(None, (columns.image, columns.patient)))
    refuse_repeats(csv, frame, columns.image)
    return frame


def _rows(csv: Path, frame: pd.DataFrame, columns: TableColumns, folder: Path, notes: Notes) -> pd.DataFrame:
    """Return the columns of `image_of` and `study_of` but the split, and `report`."""
    image = frame[columns.image]
    study = frame[columns.study].where(frame[columns.study].notna(), image) if columns.study else image
    patient = frame[columns.patient] if columns.patient else study
    rows = pd.DataFrame({"image": image, "study": study, "patient": patient})
    refuse_conflict(csv, rows, "study", "patient")
    rows["path"] = [folder / name for name in image]
    for name in ("view", "sex", "report"):
        if (column := getattr(columns, name)) is not None:
            rows[name] = frame[column]
    if columns.age:
        counts: Counter[str] = Counter()
        rows["age"] = ages(csv, frame, columns.age, counts)
        notes.counts.update(+counts)
    return rows


def _find_graphs(
    path: Path | None, csv: Path, frame: pd.DataFrame, columns: TableColumns, notes: Notes
) -> list[ReportGraph | None]:
    """Return the graph of each row, None if it has none."""
    names = [columns.graph] if columns.graph else [name for name in (columns.study, columns.image) if name]
    texts = frame[columns.report] if columns.report else [None] * len(frame)
    keys = [*zip(frame[names].itertuples(index=False), texts, strict=True)]
    advice = "name the column of these keys with --graph-column"
    found = find_graphs(path, keys, csv, notes, by_place=columns.graph is not None, advice=advice)
    if path is not None:
        notes.settings["graphs"] = {"file": path.name, **notes.settings["graphs"]}
    return found


def _studies(
    frame: pd.DataFrame,
    columns: TableColumns,
    rows: pd.DataFrame,
    labels: pd.DataFrame,
    graphs: Sequence[ReportGraph | None],
    folder: Path,
) -> Iterator[Study]:
    for cells, row, known, graph in zip(records(frame), records(rows), records(labels), graphs, strict=True):
        masks = {name: folder / cells[name] for name in columns.masks if cells[name] is not None}
        yield study_of(
            row,
            [image_of(row, masks=masks)],
            report={"report": row["report"] or ""} if columns.report else {},
            graph=graph,
            labels=known,
            arrays={name: None if cells[name] is None else folder / cells[name] for name in columns.arrays},
            extra={name: cells[name] for name in columns.extra},
        )
