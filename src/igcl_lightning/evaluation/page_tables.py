"""Tables of the page: values with intervals as text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from igcl_lightning.evaluation.curves import Point
from igcl_lightning.evaluation.plots import is_marked
from igcl_lightning.evaluation.results import MEAN_LABEL, Record
from igcl_lightning.evaluation.tables import format_cell, method_name, metric_title, setting_name


class Table(NamedTuple):
    """A table: its caption and its rows of text, titles first."""

    caption: str
    rows: Sequence[Sequence[str]]


def _method_and_setting(record: Record) -> str:
    return ", ".join(filter(None, (method_name(record), setting_name(record))))


def crossed(
    records: Iterable[Record],
    titles: Sequence[str],
    line: Callable[[Record], tuple[str, ...]],
    column: Callable[[Record], str],
) -> list[list[str]]:
    """Return a table of values with intervals, titles first.

    Args:
        records: the values.
        titles: titles of the first columns, which `line` fills.
        line: what a record's row begins with.
        column: title of a record's column.
    """
    cells: dict[tuple[str, ...], dict[str, str]] = {}
    records = list(records)
    columns = list(dict.fromkeys(column(each) for each in records))
    for each in records:
        cells.setdefault(line(each), {})[column(each)] = format_cell(each)
    return [[*titles, *columns], *([*start, *(row.get(at, "") for at in columns)] for start, row in cells.items())]


def labels_table(caption: str, records: Sequence[Record]) -> Table:
    """Return a row for each label, and a column for each method and setting."""

    def line(each: Record) -> tuple[str, str]:
        return each["label"], "" if each["positives"] is None else f"{each['positives']:,}"

    return Table(caption, crossed(records, ("label", "positives"), line, _method_and_setting))


def differences_table(caption: str, records: Sequence[Record], metrics: bool = False) -> Table:
    """Return a line for each difference, with its protocol and metric if there are several."""
    titles = ["difference", "labels", *(["protocol", "metric"] if metrics else ["label"]), "value [95 % interval]"]
    tested = any(each["p_holm"] is not None for each in records)
    rows = [titles + ["p (Holm)", "differs from 0"] * tested]
    for each in records:
        about = [each["protocol"], metric_title(each["metric"])] if metrics else [each["label"]]
        row = [method_name(each), setting_name(each), *about, format_cell(each)]
        if tested:
            p_value = each["p_holm"]
            row += ["" if p_value is None else f"{p_value:.3g}", "yes" if is_marked(each) else ""]
        rows.append(row)
    return Table(caption, rows)


def groups_table(caption: str, records: Sequence[Record]) -> Table:
    """Return a row for each group, and label if they are of several, and a column for each method and setting."""
    by_label = any(each["label"] != MEAN_LABEL for each in records)

    def line(each: Record) -> tuple[str, ...]:
        patients = "" if each["patients"] is None else f"{each['patients']:,}"
        return (str(each["group"]), each["label"], patients) if by_label else (str(each["group"]), patients)

    titles = ("group", "label", "patients") if by_label else ("group", "patients")
    return Table(caption, crossed(records, titles, line, _method_and_setting))


def with_points(rows: Sequence[Sequence[str]], points: Sequence[Point]) -> list[list[str]]:
    """Return rows by label with a column for each reader: sensitivity and specificity."""
    readers = list(dict.fromkeys(each.reader for each in points))
    at = {(each.reader, each.label): f"{each.sensitivity:.3f}, {each.specificity:.3f}" for each in points}
    head, *body = rows
    return [[*head, *readers], *([*row, *(at.get((reader, row[0]), "") for reader in readers)] for row in body)]


def cues_table(caption: str, records: Sequence[Record]) -> Table:
    """Return a line for each mark or column and label, with its AUROC on training and validation rows, and on test."""

    def line(each: Record) -> tuple[str, str]:
        return str(each["group"]), each["label"]

    return Table(caption, crossed(records, ("mark or column", "label"), line, lambda each: str(each["split"])))
