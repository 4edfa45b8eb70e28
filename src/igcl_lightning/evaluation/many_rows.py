"""Results of more methods than a figure tells apart, such as the rows of an ablation: a line for each, in their order.

Most differences share a method, that which rows are compared with: a line is named by its row then, and a difference
of a row to another method is a line below it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from igcl_lightning.evaluation.results import MEAN_LABEL, Record
from igcl_lightning.evaluation.tables import (
    COMPARED,
    aligned,
    as_markdown,
    block_key,
    format_cell,
    format_value,
    method_name,
    metric_title,
    setting_name,
    shown_recall,
    table_caption,
)
from igcl_lightning.evaluation.within_patient import METRIC, TWINS

MOST_METHODS = 8
"""Methods that a figure tells apart; of more, means and their differences are shown, and tables are short."""

LONGEST_NAME = 40
"""Characters of a name that stands beside its values; a longer one stands above them."""

REST = "deviations of runs, labels, answers, probabilities and groups: report.html, results.json"
"""What is not printed of many methods, and where it is."""

Column = Callable[[Record], str]


class Line(NamedTuple):
    """Differences of a row to one method: the row, its title, whether it is the usual method, records by column."""

    row: str
    title: str
    is_usual: bool
    records: dict[str, Record]


class Differences(NamedTuple):
    """Differences of means of one protocol and metric.

    Attributes:
        usual: method that most differences share.
        subtracted: whether it is the one that is subtracted.
        columns: titles of the columns: settings, or whatever was asked for.
        lines: lines in the order of rows, those of a row together.
    """

    usual: str
    subtracted: bool
    columns: Sequence[str]
    lines: Sequence[Line]

    @property
    def about(self) -> str:
        """What is subtracted from what, such as "minus IGCL"."""
        return f"minus {self.usual}" if self.subtracted else f"{self.usual} minus it"


def are_many(records: Iterable[Record]) -> bool:
    """Return whether records are of more methods than a figure tells apart."""
    return len({each["method"] for each in records}) > MOST_METHODS


def main_means(records: Iterable[Record], split: str) -> dict[tuple[str, str], list[Record]]:
    """Return means over labels and seeds by protocol and metric, of the metrics whose differences are a figure.

    These are the metrics whose differences by label are drawn of few methods, one recall, and choices between reports.
    """
    wanted = (split, MEAN_LABEL, None, None)
    means = [each for each in records if (each["split"], each["label"], each["seed"], each["group"]) == wanted]
    compared = {(each["protocol"], each["metric"]) for each in means if each["versus"] and each["value"] is not None}
    recall = shown_recall(dict.fromkeys(each["metric"] for each in means))
    groups: dict[tuple[str, str], list[Record]] = {}
    for each in means:
        key = each["protocol"], each["metric"]
        choice = each["metric"].startswith((METRIC, TWINS)) and not each["metric"].endswith("blind")
        if key in compared and (each["metric"] in COMPARED or each["metric"] == recall or choice):
            groups.setdefault(key, []).append(each)
    return groups


def differences_of(means: Sequence[Record], column: Column = setting_name) -> Differences:
    """Return the differences among means; there must be one.

    Args:
        means: means over labels and seeds of one protocol, and of one metric if `column` tells none apart.
        column: title of a record's column.
    """
    apart = [each for each in _by_setting(means) if each["versus"]]
    (method, times), (versus, others) = (
        Counter(names).most_common(1)[0]
        for names in ([each["method"] for each in apart], [str(each["versus"]) for each in apart])
    )
    subtracted = others >= times
    usual = versus if subtracted else method
    found: dict[tuple[str, str], Line] = {}
    for each in apart:
        first, second = each["method"], str(each["versus"])
        is_usual = usual == (second if subtracted else first)
        row = second if is_usual and not subtracted else first
        title = row if is_usual else method_name(each)
        found.setdefault((row, title), Line(row, title, is_usual, {})).records[column(each)] = each
    rows = list(dict.fromkeys([*(each["method"] for each in means if not each["versus"]), *(row for row, _ in found)]))
    lines = sorted(found.values(), key=lambda each: (rows.index(each.row), not each.is_usual))
    columns = list(dict.fromkeys(map(column, apart)))
    return Differences(usual, subtracted, columns, _shortened(lines) if subtracted else lines)


def _shortened(lines: Sequence[Line]) -> list[Line]:
    """Return lines whose titles do not repeat the name of the row above them."""
    above = {line.row for line in lines if line.is_usual}
    return [
        line if line.is_usual or line.row not in above else line._replace(title=f"…{line.title[len(line.row) :]}")
        for line in lines
    ]


def _by_setting(means: Iterable[Record]) -> list[Record]:
    return sorted(means, key=lambda each: (each["fraction"] or 0.0, each["shots"] or 0))


def compared_rows(
    means: Sequence[Record], seeds: Mapping[str, int] | None = None, column: Column = setting_name
) -> list[list[str]]:
    """Return a line for each method, titles first: at each setting the value, and the difference if there are any.

    Args:
        means: as of `differences_of`.
        seeds: numbers of pretrainings by method, for a column of them (default: none).
        column: title of a record's column.
    """
    alone = [each for each in means if not each["versus"]]
    apart = differences_of(means, column) if len(alone) < len(means) else None
    columns = list(dict.fromkeys(map(column, _by_setting(alone))))
    compared = set(apart.columns if apart else ())

    def cells(values: Mapping[str, str], line: Line | None) -> list[str]:
        pairs = ([values.get(name, ""), *[_difference(line, name)] * (name in compared)] for name in columns)
        return [cell for pair in pairs for cell in pair]

    about = apart.about if apart else ""
    titles = [[name or metric_title(alone[0]["metric"]), *[about] * (name in compared)] for name in columns]
    counted = bool(seeds)
    rows = [["method", *["seeds"] * counted, *(title for pair in titles for title in pair)]]
    for method in dict.fromkeys(each["method"] for each in alone):
        values = {column(each): format_value(each) for each in alone if each["method"] == method}
        lines = [line for line in (apart.lines if apart else ()) if line.row == method]
        usual = next((line for line in lines if line.is_usual), None)
        rows.append([method, *[str((seeds or {}).get(method, ""))] * counted, *cells(values, usual)])
        rows += [[line.title, *[""] * counted, *cells({}, line)] for line in lines if not line.is_usual]
    return rows


def _difference(line: Line | None, column: str) -> str:
    return format_cell(line.records[column], fine=True) if line and column in line.records else ""


def format_compared(
    records: Sequence[Record], seeds: Mapping[str, int], metric: str = "auroc", split: str = "test"
) -> str:
    """Return means over labels and seeds as plain text, a line for each method with its difference at each setting.

    The caption is that of `tables.format_table`; fractions and shots have separate blocks.
    """
    own = [each for each in records if (each["metric"], each["split"], each["group"]) == (metric, split, None)]
    means = [each for each in own if each["label"] == MEAN_LABEL and each["seed"] is None]
    blocks = [list(part) for _, part in groupby(sorted(means, key=_kind), key=_kind)]
    tables = [format_rows(compared_rows(block, seeds)) for block in blocks]
    return "\n\n".join(["\n".join(table_caption(own, metric)), *tables])


def _kind(record: Record) -> tuple[bool, ...]:
    return block_key(record)[:2]


def format_rows(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as lines of plain text; a name that would widen its column stands above its values."""
    short: list[Sequence[str]] = []
    names: dict[int, str] = {}
    for row in rows:
        if len(row[0]) > LONGEST_NAME:
            names[len(short)] = row[0]
            row = ["", *row[1:]]
        short.append(row)
    lines = aligned(short).splitlines()
    return "\n".join(line if number not in names else f"{names[number]}\n{line}" for number, line in enumerate(lines))


def compared_markdown(records: Sequence[Record], split: str) -> str:
    """Return the tables of `main_means` in Markdown, below what they are of."""
    parts = [
        f"{protocol}: {metric_title(metric)}\n\n{as_markdown(compared_rows(means))}"
        for (protocol, metric), means in main_means(records, split).items()
    ]
    return "\n".join(parts)
