"""Any CSV file with one row per image: the columns are named on the command line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from igcl_lightning.data.splits import split_name, split_of_patient
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.graph_index import GraphIndex
from igcl_lightning.graphs.radgraph_files import RadGraphFile, read_radgraph
from igcl_lightning.graphs.schema import ReportGraph

VALID_SHARE = {"train": 0.9, "valid": 0.1}

UNCERTAIN = {"ignore": None, "positive": 1.0, "negative": 0.0}
"""What the label value -1 becomes."""

_VIEWS = {
    "pa": "PA",
    "ap": "AP",
    "ap supine": "AP",
    "ap_horizontal": "AP",
    "l": "lateral",
    "ll": "lateral",
    "rl": "lateral",
    "lateral": "lateral",
}


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
    graph: str | None = None

    def named(self) -> list[str]:
        """Return the columns that must exist."""
        single = (self.image, self.patient, self.study, self.report, self.split, self.view, self.age, self.sex)
        named = [name for name in (*single, self.graph) if name is not None]
        return [*named, *self.labels, *self.extra, *self.arrays]


class TableGraphs:
    """The graphs of a RadGraph file for the rows of a table.

    Args:
        path: a file in any layout that `read_radgraph` knows.

    Attributes:
        rows: how many rows found their graph by key, by text, and not; known once the table is read.

    Raises:
        IgclError: there is no such file, or it holds no graphs.
    """

    def __init__(self, path: Path) -> None:
        self.file = _read_graphs(path)
        self.index = GraphIndex(self.file.graphs)
        self.rows = {"found_by_key": 0, "found_by_text": 0, "not_found": 0}

    def of_rows(
        self, csv: Path, records: Sequence[Mapping[Any, Any]], columns: TableColumns
    ) -> list[ReportGraph | None]:
        """Return the graph of each row, None where the file has none for it.

        The key is looked up from the named column; without one from the study and then from the image, unless the
        file's keys are but places. Then the text of the report is tried.

        Raises:
            IgclError: not one row finds its graph.
        """
        named = (columns.study, columns.image) if columns.graph is None else (columns.graph,)
        names = () if columns.graph is None and self.file.positional else tuple(filter(None, named))
        found = [self._of_row(record, names, columns.report) for record in records]
        self.rows |= Counter(how for how, _ in found)
        if records and self.rows["not_found"] == len(records):
            name = next((record[column] for record in records for column in names if record[column]), None)
            looked = "by the text of the report" if name is None else f"by names like {name!r}"
            raise IgclError(
                f"{csv}: no row finds its graph in {self.file.name}: looked for {looked}, keys there are like "
                f"{next(iter(self.file.graphs))!r}; name the column that holds them with --graph-column"
            )
        return [graph for _, graph in found]

    def _of_row(
        self, record: Mapping[Any, Any], names: Sequence[str], report: str | None
    ) -> tuple[str, ReportGraph | None]:
        for column in names:
            if record[column] is not None and (graph := self.index.find(record[column])) is not None:
                return "found_by_key", graph
        graph = self.index.find_text(_text(record, report) or "")
        return ("not_found", None) if graph is None else ("found_by_text", graph)

    def described(self) -> dict[str, Any]:
        """Return what the manifest says of the file; its count of rows is filled in when the table is read."""
        return {
            "layout": self.file.layout,
            "graphs": len(self.file.graphs),
            "ambiguous_studies": self.index.ambiguous,
            "faults": dict(sorted(self.file.counts.items())),
            "rows": self.rows,
        }


def read_table(
    csv: Path,
    columns: TableColumns,
    *,
    root: Path | None = None,
    split_values: Mapping[str, str] | None = None,
    uncertain: str = "ignore",
    seed: int = 0,
    graphs: TableGraphs | None = None,
) -> Iterator[Study]:
    """Yield one study per row of a CSV file.

    When the table names splits but no row is "valid", a tenth of the training patients becomes "valid", so that a test
    split of the table's own stays untouched.

    Args:
        csv: the table.
        columns: which column holds what.
        root: folder that image paths are relative to; the table's own by default.
        split_values: split for values of the split column, such as {"fold0": "test"}.
        uncertain: what the label value -1 becomes, one of `UNCERTAIN`.
        seed: of the drawn validation split.
        graphs: of the reports; a row that finds none has its report parsed.

    Raises:
        IgclError: the file or a column is missing, a cell cannot be read, or no row finds its graph; the message names
            file, row and column.
    """
    frame = _read_frame(csv, columns)
    folder = csv.parent if root is None else root
    splits = _splits(csv, frame, columns, split_values or {}, seed)
    records = frame.to_dict("records")
    graph_of = [None] * len(records) if graphs is None else graphs.of_rows(csv, records, columns)
    for number, record in enumerate(records):
        where = f"{csv} row {number + 2}"
        image = record[columns.image]
        if image is None:
            raise IgclError(f"{where}: column {columns.image!r} is empty")
        if columns.patient is not None and record[columns.patient] is None:
            raise IgclError(f"{where}: column {columns.patient!r} is empty; without a patient no split is safe")
        study = _text(record, columns.study) or image
        yield Study(
            study_id=study,
            patient_id=_text(record, columns.patient) or study,
            images=(StudyImage(image, folder / image, view_name(_text(record, columns.view))),),
            report={"report": report} if (report := _text(record, columns.report)) else {},
            graph=graph_of[number],
            labels={label: _label(record[label], f"{where}, column {label!r}", uncertain) for label in columns.labels},
            split=splits[number],
            age=_number(_text(record, columns.age), f"{where}, column {columns.age!r}"),
            sex=_sex(_text(record, columns.sex)),
            extra={name: record[name] for name in columns.extra},
            arrays={name: None if record[name] is None else folder / record[name] for name in columns.arrays},
        )


def view_name(value: str | None) -> str:
    """Return the project's name of a projection, "unknown" for a word it does not know."""
    return _VIEWS.get((value or "").strip().lower(), "unknown")


def _read_graphs(path: Path) -> RadGraphFile:
    try:
        file = read_radgraph(path)
    except FileNotFoundError:
        raise IgclError(f"{path}: no such file") from None
    except OSError as error:
        raise IgclError(f"--graphs {path}: {error.strerror}") from error
    except ValueError as error:
        raise IgclError(f"--graphs: {error}") from error
    if not file.graphs:
        raise IgclError(f"{path}: holds no graphs")
    return file


def _read_frame(csv: Path, columns: TableColumns) -> pd.DataFrame:
    """Read the table as text, blank cells as None."""
    try:
        frame = pd.read_csv(csv, dtype=str, keep_default_na=False, skipinitialspace=True)
    except FileNotFoundError:
        raise IgclError(f"{csv}: no such file") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise IgclError(f"{csv}: not a CSV file ({str(error).strip()})") from None
    for name in columns.named():
        if name not in frame.columns:
            raise IgclError(f"{csv}: no column {name!r}; it has {', '.join(map(repr, frame.columns))}")
    stripped = frame.apply(lambda column: column.str.strip())
    blank = stripped.apply(lambda column: column.str.lower().isin(("", "nan")))
    text: pd.DataFrame = stripped.astype(object).mask(blank, None)
    return text.reset_index(drop=True)


def _splits(
    csv: Path, frame: pd.DataFrame, columns: TableColumns, split_values: Mapping[str, str], seed: int
) -> list[str | None]:
    """Return the split of each row, None where `prepare` is to draw it."""
    if columns.split is None:
        return [None] * len(frame)
    splits: list[str | None] = []
    for number, value in enumerate(frame[columns.split]):
        if value is None:
            raise IgclError(f"{csv} row {number + 2}: column {columns.split!r} is empty")
        try:
            splits.append(split_name(split_values.get(value, value)))
        except IgclError as error:
            raise IgclError(f"{csv} row {number + 2}: {error}") from None
    if "valid" in splits:
        return splits
    patients = frame[columns.patient or columns.study or columns.image]
    return [
        split_of_patient(str(patient), VALID_SHARE, seed) if split == "train" else split
        for patient, split in zip(patients, splits, strict=True)
    ]


def _text(record: Mapping[Any, Any], column: str | None) -> str | None:
    return None if column is None else record[column]


def _sex(value: str | None) -> str | None:
    first = (value or "")[:1].upper()
    return first if first in ("F", "M") else None


def _number(value: str | None, where: str) -> float | None:
    if value is None:
        return None
    try:
        return float(value)
    except ValueError:
        raise IgclError(f"{where}: {value!r} is not a number") from None


def _label(value: str | None, where: str, uncertain: str) -> float | None:
    number = _number(value, where)
    if number == -1:
        return UNCERTAIN[uncertain]
    if number not in (None, 0, 1):
        raise IgclError(f"{where}: label {value!r} is not 1, 0, -1 or blank")
    return number
