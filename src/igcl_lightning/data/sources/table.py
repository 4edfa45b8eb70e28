"""Any table with one row per image, CSV or JSON lines; options name its columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from igcl_lightning.data.label_policy import LabelPolicy, LabelTable
from igcl_lightning.data.sources.checks import refuse_conflict, refuse_repeats, require
from igcl_lightning.data.sources.graphs import find_graphs
from igcl_lightning.data.sources.json_lines import SUFFIXES, read_json_lines
from igcl_lightning.data.sources.rows import ages, image_of, patient_splits, records, study_of
from igcl_lightning.data.sources.source import Notes, Source
from igcl_lightning.data.sources.tables import read_columns
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
        """Return the fields that name a column or several."""
        return {what: value for what, value in asdict(self).items() if value}

    def all(self) -> list[str]:
        """Return the distinct columns, which must exist."""
        single = [value for value in self.named().values() if isinstance(value, str)]
        return list(dict.fromkeys([*single, *self.labels, *self.extra, *self.arrays, *self.masks]))

    def stripped(self) -> TableColumns:
        """Return the names without surrounding white space, as `read_columns` strips those of the table."""
        names: dict[str, Any] = {
            what: value.strip() if isinstance(value, str) else tuple(name.strip() for name in value)
            for what, value in self.named().items()
        }
        return TableColumns(**names)


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
        blank: value of a blank label, one of `label_policy.BLANK`.
        seed: seed of the training patients that become "valid" if the table has a split column without "valid".
        graphs: RadGraph file of the reports; the report of a row without graph is parsed.

    Raises:
        IgclError: a file, column or cell is missing or wrong, or no row finds its graph; names file, row and column.
    """
    columns = columns.stripped()
    policy = LabelPolicy.parse(uncertain, blank)
    policy.check(tuple(columns.labels))
    table = _Table(csv, columns, csv.parent if root is None else root, _read(csv, columns))
    notes = Notes([csv], {"columns": columns.named(), **policy.described()})
    rows = table.rows(split_values or {}, seed, notes)
    items = partial(table.studies, rows, table.labels(policy), table.find_graphs(graphs, notes))
    names = (tuple(columns.labels), tuple(columns.extra), tuple(columns.arrays))
    counts = +notes.counts
    return Source(
        "table", items, *names, False, bool(columns.masks), tuple(notes.inputs), notes.settings, counts, len(rows)
    )


def _read(csv: Path, columns: TableColumns) -> pd.DataFrame:
    """Return the named columns, with image and patient in each row and each image once."""
    read = read_json_lines if csv.suffix.lower() in SUFFIXES else read_columns
    frame: pd.DataFrame = read(csv, columns.all())
    require(csv, frame, filter(None, (columns.image, columns.patient)))
    refuse_repeats(csv, frame, columns.image)
    return frame


@dataclass(frozen=True)
class _Table:
    """A table that was read: its path, the names of its columns, the folder of its files, and its cells."""

    csv: Path
    columns: TableColumns
    folder: Path
    frame: pd.DataFrame

    def rows(self, split_values: Mapping[str, str], seed: int, notes: Notes) -> pd.DataFrame:
        """Return the columns of `image_of` and `study_of`, and `report`."""
        frame, columns = self.frame, self.columns
        image = frame[columns.image]
        study = frame[columns.study].where(frame[columns.study].notna(), image) if columns.study else image
        patient = frame[columns.patient] if columns.patient else study
        rows = pd.DataFrame({"image": image, "study": study, "patient": patient})
        refuse_conflict(self.csv, rows, "study", "patient")
        rows["path"] = [self.folder / name for name in image]
        for name in ("view", "sex", "report"):
            if (column := getattr(columns, name)) is not None:
                rows[name] = frame[column]
        if columns.split:
            split, advice = frame[columns.split], "; rename it with --split-values"
            rows["split"] = patient_splits(self.csv, rows["patient"], split, seed, split_values, advice)
            notes.settings.update(split_values=dict(split_values), validation_seed=seed)
        if columns.age:
            rows["age"] = ages(self.csv, frame, columns.age, notes.counts)
        return rows

    def labels(self, policy: LabelPolicy) -> LabelTable:
        names = tuple(self.columns.labels)
        place = dict(zip(self.frame[self.columns.image], range(len(self.frame)), strict=True))
        return LabelTable(names, policy.of_table(self.csv, self.frame, names), place)

    def find_graphs(self, path: Path | None, notes: Notes) -> Sequence[ReportGraph | None]:
        """Return the graph of each row, None if it has none."""
        frame, columns = self.frame, self.columns
        names = [columns.graph] if columns.graph else [name for name in (columns.study, columns.image) if name]
        texts = frame[columns.report] if columns.report else [None] * len(frame)
        keys = zip(frame[names].itertuples(index=False), texts, strict=True)
        advice = "name the column that holds them with --graph-column"
        found = find_graphs(path, keys, self.csv, notes, by_place=columns.graph is not None, advice=advice)
        if path is None or found is None:
            return [None] * len(frame)
        notes.settings["graphs"] = {"file": path.name, **notes.settings["graphs"]}
        return found

    def studies(self, rows: pd.DataFrame, labels: LabelTable, graphs: Sequence[ReportGraph | None]) -> Iterator[Study]:
        columns, folder = self.columns, self.folder
        for cells, row, graph in zip(records(self.frame), records(rows), graphs, strict=True):
            masks = {name: folder / cells[name] for name in columns.masks if cells[name] is not None}
            yield study_of(
                row,
                [image_of(row, masks=masks)],
                report={"report": row["report"]} if row.get("report") else {},
                graph=graph,
                labels=labels.of(row["image"]),
                arrays={name: None if cells[name] is None else folder / cells[name] for name in columns.arrays},
                extra={name: cells[name] for name in columns.extra},
            )
