"""Any table with one row per image, CSV or JSON lines: the columns are named on the command line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from igcl_lightning.data.label_policy import LabelPolicy, LabelTable
from igcl_lightning.data.sources.graphs import ReportGraphs
from igcl_lightning.data.sources.json_lines import SUFFIXES, read_json_lines
from igcl_lightning.data.sources.rows import (
    ages,
    records,
    refuse_conflict,
    refuse_repeats,
    require,
    split_names,
)
from igcl_lightning.data.sources.source import Source
from igcl_lightning.data.sources.tables import read_columns, sex_name
from igcl_lightning.data.splits import lend_validation
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.data.views import view_name
from igcl_lightning.graphs.schema import ReportGraph

ADVICE = "name the column that holds them with --graph-column"
SPLIT_ADVICE = "; rename it with --split-values"


@dataclass(frozen=True)
class TableColumns:
    """Which column holds what; None where the table has no such column.

    Attributes:
        image: path of the image, relative to the table's root.
        patient: id of the person; without it every study is taken for a person of its own.
        study: id of the study; without it every row is a study.
        report: report text.
        labels: label columns with values 1, 0, -1 (uncertain) or blank (not known).
        split: a word for train, valid or test.
        view: projection, such as PA or AP.
        age: in years.
        sex: F or M.
        extra: further columns to keep.
        arrays: columns that name `.npy` files of numbers, relative to the table's root.
        masks: columns that name images whose non-zero pixels are a region, relative to the table's root.
        graph: what names the report's graph in a file of graphs; by default the study, and then the image.
    """

    image: str
    patient: str | None = None
    study: str | None = None
    report: str | None = None
    labels: Sequence[str] = field(default_factory=tuple)
    split: str | None = None
    view: str | None = None
    age: str | None = None
    sex: str | None = None
    extra: Sequence[str] = field(default_factory=tuple)
    arrays: Sequence[str] = field(default_factory=tuple)
    masks: Sequence[str] = field(default_factory=tuple)
    graph: str | None = None

    def named(self) -> dict[str, Any]:
        """Return what is named: a column, or several, by what they hold."""
        return {what: value for what, value in asdict(self).items() if value}

    def all(self) -> list[str]:
        """Return the columns that must exist, each once."""
        several = (self.labels, self.extra, self.arrays, self.masks)
        single = [value for value in self.named().values() if isinstance(value, str)]
        return list(dict.fromkeys([*single, *(name for names in several for name in names)]))

    def stripped(self) -> TableColumns:
        """Return the names without white space around them, as the columns of a table are read."""
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

    When the table names splits but no row is "valid", a tenth of the training patients becomes "valid", so that a test
    split of the table's own stays untouched.

    Args:
        csv: the table; a name that ends in `.jsonl` is read as JSON lines.
        columns: which column holds what.
        root: folder that paths are relative to; the table's own by default.
        split_values: split for values of the split column, such as {"fold0": "test"}.
        uncertain: what the label value -1 becomes, as `LabelPolicy.parse` reads it.
        blank: what a blank label becomes, likewise.
        seed: of the drawn validation split.
        graphs: RadGraph file of the reports; a row that finds none has its report parsed.

    Raises:
        IgclError: the file or a column is missing, a cell cannot be read, or no row finds its graph; the message names
            file, row and column.
    """
    columns = columns.stripped()
    policy = LabelPolicy.parse(uncertain, blank)
    policy.check(tuple(columns.labels))
    frame = _read(csv, columns)
    people = _people(csv, frame, columns, split_values or {}, seed)
    counts: Counter[str] = Counter()
    years = ages(csv, frame, columns.age, counts) if columns.age else pd.Series(index=frame.index, dtype=float)
    found = None if graphs is None else ReportGraphs(graphs, by_place=columns.graph is not None)
    graph_of = _graphs(csv, frame, columns, found)
    place = dict(zip(frame[columns.image], range(len(frame)), strict=True))
    labels = LabelTable(tuple(columns.labels), policy.of_table(csv, frame, columns.labels), place)
    settings: dict[str, Any] = {"columns": columns.named(), **policy.described()}
    if columns.split:
        settings |= {"split_values": dict(split_values or {}), "validation_seed": seed}
    if found is not None:
        settings["graphs"] = {"file": found.path.name, **found.described()}
    folder = csv.parent if root is None else root
    return Source(
        name="table",
        items=partial(_studies, frame, people, years, graph_of, labels, columns, folder),
        labels=tuple(columns.labels),
        extra=tuple(columns.extra),
        arrays=tuple(columns.arrays),
        masks=bool(columns.masks),
        inputs=(csv,) if graphs is None else (csv, graphs),
        settings=settings,
        counts=+counts,
        total=len(frame),
    )


def _read(csv: Path, columns: TableColumns) -> pd.DataFrame:
    """Return the columns that are named, checked for what must not be blank."""
    read = read_json_lines if csv.suffix.lower() in SUFFIXES else partial(read_columns, others=False)
    frame: pd.DataFrame = read(csv, columns.all())
    require(csv, frame, [columns.image, *filter(None, [columns.patient])])
    refuse_repeats(csv, frame, columns.image)
    return frame


def _people(
    csv: Path, frame: pd.DataFrame, columns: TableColumns, split_values: Mapping[str, str], seed: int
) -> pd.DataFrame:
    """Return study, patient and split of each row; no split where `prepare` is to draw it."""
    images = frame[columns.image]
    study = frame[columns.study].where(frame[columns.study].notna(), images) if columns.study else images
    people = pd.DataFrame({"study": study, "patient": frame[columns.patient] if columns.patient else study})
    refuse_conflict(csv, people, "study", "patient")
    if columns.split is None:
        return people.assign(split=None)
    people = people.assign(split=split_names(csv, frame, columns.split, split_values, SPLIT_ADVICE))
    refuse_conflict(csv, people, "patient", "split")
    return people.assign(split=lend_validation(people["split"].tolist(), people["patient"].tolist(), seed))


def _graphs(
    csv: Path, frame: pd.DataFrame, columns: TableColumns, graphs: ReportGraphs | None
) -> list[ReportGraph | None]:
    """Return the graph of each row, None where it has none."""
    if graphs is None:
        return [None] * len(frame)
    names = (columns.study, columns.image) if columns.graph is None else (columns.graph,)
    found = [
        graphs.find([row[name] for name in names if name], row[columns.report] if columns.report else None)
        for row in records(frame)
    ]
    graphs.refuse_stranger(csv, ADVICE)
    return found


def _studies(
    frame: pd.DataFrame,
    people: pd.DataFrame,
    years: pd.Series,
    graphs: Sequence[ReportGraph | None],
    labels: LabelTable,
    columns: TableColumns,
    folder: Path,
) -> Iterator[Study]:
    for row, person, age, graph in zip(records(frame), records(people), years, graphs, strict=True):
        image = row[columns.image]
        view = row[columns.view] if columns.view else None
        report = row[columns.report] if columns.report else None
        masks = {name: folder / row[name] for name in columns.masks if row[name] is not None}
        yield Study(
            study_id=person["study"],
            patient_id=person["patient"],
            images=(StudyImage(image, folder / image, view_name(view), view, masks=masks),),
            report={} if report is None else {"report": report},
            graph=graph,
            labels=labels.of(image),
            split=person["split"],
            age=None if pd.isna(age) else age,
            sex=sex_name(row[columns.sex]) if columns.sex else None,
            extra={name: row[name] for name in columns.extra},
            arrays={name: None if row[name] is None else folder / row[name] for name in columns.arrays},
        )
