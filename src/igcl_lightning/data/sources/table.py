"""Any table with one row per image, such as CSV, JSON lines, Parquet or Excel; options name its columns."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from igcl_lightning.closing import write_note
from igcl_lightning.data.label_policy import LabelPolicy
from igcl_lightning.data.metadata import sex_name
from igcl_lightning.data.sources.checks import refuse_conflict, refuse_repeats, require
from igcl_lightning.data.sources.graphs import find_graphs
from igcl_lightning.data.sources.image_names import image_paths, plain_name
from igcl_lightning.data.sources.rows import SEVERAL_REPORTS, ages, image_of, patient_splits, records, study_of
from igcl_lightning.data.sources.source import Notes, Source
from igcl_lightning.data.sources.table_files import TableForm, plain_suffix
from igcl_lightning.data.sources.tables import JSON_LINES, each_cell, read_columns, read_json_lines, with_ids
from igcl_lightning.data.study import Study
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.schema import ReportGraph
from igcl_lightning.texts import plain_id


@dataclass(frozen=True)
class TableColumns:
    """Names of a table's columns, None for columns that it lacks.

    Attributes:
        image: path of the image, relative to the table's root.
        patient: id of the person (default: the study).
        study: id of the study (default: every row is a study).
        report: report text.
        labels: labels with values 1, 0, -1 (uncertain), words such as yes, or blank (unknown); or one column of lists.
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
    label_separator: str | None = None,
    encoding: str | None = None,
    sheet: str | None = None,
    seed: int = 0,
    graphs: Path | None = None,
) -> Source:
    """Read a table with one row per image.

    Args:
        csv: path of the table in a form of `open_table`; `.jsonl` and `.ndjson` files are read as JSON lines.
        columns: names of its columns.
        root: folder that paths are relative to (default: that of the table).
        split_values: split by value of the split column, such as {"fold0": "test"}.
        uncertain: value of the label -1 (`LabelPolicy.parse`).
        blank: value of a label that is not mentioned, one of `label_policy.BLANK`.
        label_separator: text between the labels that a row lists in the only column of labels, such as "|".
        encoding: encoding of a text (default: UTF-8, UTF-16 or Windows-1252, as its bytes say).
        sheet: sheet of a workbook (default: the one that has the columns).
        seed: seed of the training patients that become "valid" if no row is.
        graphs: RadGraph file of the reports; a report without graph is parsed.

    Errors: see `data.sources`.
    """
    named, folder = columns.named(), csv.parent if root is None else root
    columns = TableColumns(**named)
    policy = LabelPolicy.parse(uncertain, blank)
    frame = _read(csv, columns, TableForm(encoding, sheet))
    notes = Notes([csv], {"columns": named, **vars(policy)})
    rows = _rows(csv, frame, columns, folder, notes)
    if columns.split:
        words, advice = frame[columns.split], "; rename it with --split-values"
        there = {*words, *words.map(plain_id)}
        for word in [word for word in split_values or {} if word not in there]:
            write_note(f"{csv}: --split-values: {word!r} is nowhere in column {columns.split!r}")
        rows["split"] = patient_splits(csv, rows["patient"], words, seed, split_values, advice)
        notes.settings.update(split_values=dict(split_values or {}), validation_seed=seed)
    labels = _labels(csv, frame, columns.labels, label_separator, policy)
    if label_separator is not None:
        notes.settings["label_separator"] = label_separator
    graph_of = _find_graphs(graphs, csv, frame, rows, columns, notes)
    items = partial(_studies, frame, columns, rows, labels, graph_of, folder)
    names = (tuple(labels.columns), tuple(columns.extra), tuple(columns.arrays))
    return Source("table", items, *names, masks=bool(columns.masks), total=len(rows), **vars(notes))


def _read(csv: Path, columns: TableColumns, form: TableForm) -> pd.DataFrame:
    """Return the named columns, with an image in each row and each image once; images and ids are plain."""
    single = [value for value in vars(columns).values() if isinstance(value, str)]
    names = [*dict.fromkeys((*single, *columns.labels, *columns.extra, *columns.arrays, *columns.masks))]
    frame = read_json_lines(csv, names) if plain_suffix(csv) in JSON_LINES else read_columns(csv, names, form=form)
    if frame.empty:
        raise IgclError(f"{csv}: has no rows")
    require(csv, frame, (columns.image,))
    for column in (columns.image, *columns.arrays, *columns.masks):
        frame[column] = _plain(csv, frame[column])
    refuse_repeats(csv, frame, columns.image)
    others = {columns.image, columns.patient}
    ids = [name for name in (columns.study, columns.graph) if name is not None and name not in others]
    frame = with_ids(csv, frame, ids, blank=True)
    return with_ids(csv, frame, [columns.patient]) if columns.patient else frame


def _plain(csv: Path, names: pd.Series) -> pd.Series:
    """Return the names of files in a column, with "/" between folders."""
    if names.str.contains("\\", regex=False).eq(True).any():
        write_note(f"{csv}: column {names.name!r}: backslashes are read as slashes between folders")
    return each_cell(names, plain_name)


def _rows(csv: Path, frame: pd.DataFrame, columns: TableColumns, folder: Path, notes: Notes) -> pd.DataFrame:
    """Return the columns of `image_of` and `study_of` but the split, and `report`."""
    image = frame[columns.image]
    study = frame[columns.study].where(frame[columns.study].notna(), image) if columns.study else image
    patient = frame[columns.patient] if columns.patient else study
    rows = pd.DataFrame({"image": image, "study": study, "patient": patient})
    refuse_conflict(csv, rows, "study", "patient")
    counts: Counter[str] = Counter()
    rows["path"] = image_paths(csv, image, folder, counts)
    for name in ("view", "sex", "report"):
        if (column := getattr(columns, name)) is not None:
            rows[name] = frame[column]
    if columns.sex:
        odd = rows["sex"][rows["sex"].notna() & rows["sex"].map(sex_name).isna()]
        if len(odd):
            counts[f"rows whose sex is not known, such as {odd.mode()[0]!r}"] = len(odd)
    if columns.age:
        rows["age"] = ages(csv, frame, columns.age, counts)
    if columns.report:
        _refuse_paths(csv, rows["report"].rename(columns.report), {folder, csv.parent})
        rows["report"] = _shared(rows, counts)
        counts[SEVERAL_REPORTS] = int((rows.groupby("study", sort=False)["report"].nunique() > 1).sum())
    notes.counts.update(+counts)
    return rows


def _refuse_paths(csv: Path, reports: pd.Series, folders: Collection[Path]) -> None:
    """Raise if the first report is the name of a file instead of a text."""
    first = next(filter(None, reports), "")
    if "\n" not in first and any(os.path.isfile(folder / plain_name(first)) for folder in folders):
        advice = "it needs the texts: read the files into the column, or name each as its image for igcl prepare folder"
        raise IgclError(f"--report-column {reports.name}: {csv} has names of files there, such as {first!r}; {advice}")


def _shared(rows: pd.DataFrame, counts: Counter[str]) -> pd.Series:
    """Return the reports, with the one of a study on each of its rows: merged cells leave the others blank."""
    reports = rows.groupby("study", sort=False)["report"]
    filled = rows["report"].isna() & (reports.transform("nunique") == 1)
    counts["rows whose blank report is that of their study"] = int(filled.sum())
    return rows["report"].mask(filled, reports.transform("first"))


def _labels(
    csv: Path, frame: pd.DataFrame, columns: Sequence[str], separator: str | None, policy: LabelPolicy
) -> pd.DataFrame:
    """Return the labels of each row, by name."""
    if separator is None:
        return policy.of_table(csv, frame, columns)
    if len(columns) != 1 or not separator.strip(" "):
        raise IgclError("--label-separator: is the text between labels in the one column that --label-columns names")
    if not frame[columns[0]].str.contains(separator, regex=False).eq(True).any():
        write_note(f"{csv}: no cell of {columns[0]!r} has {separator!r}, so each cell is one label")
    return policy.of_lists(csv, frame[columns[0]], separator)


def _find_graphs(
    path: Path | None, csv: Path, frame: pd.DataFrame, rows: pd.DataFrame, columns: TableColumns, notes: Notes
) -> list[ReportGraph | None]:
    """Return the graph of each row, None if it has none."""
    names = [columns.graph] if columns.graph else [name for name in (columns.study, columns.image) if name]
    texts = rows["report"] if columns.report else [None] * len(frame)
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
