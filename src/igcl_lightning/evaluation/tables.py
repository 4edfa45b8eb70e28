"""Records of `results.json` as tables of plain text and Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

from igcl_lightning.evaluation.intervals import FEW_PATIENTS
from igcl_lightning.evaluation.results import MEAN_LABEL, Record

FEW = "few"
"""What is written behind a value of few patients."""

RECALL = 5
"""The recall that is shown where there is room for one, if it was asked for."""

COMPARED = {"auroc": "AUROC", "dice_positives": "Dice of images that have the mask", "mcc": "MCC"}
"""Metrics whose differences are drawn, and their names."""


def format_table(records: Sequence[Record], metric: str = "auroc", split: str = "test") -> str:
    """Return the macro means over seeds as plain text, a row for each method or difference, a column for each setting.

    The caption states the numbers of rows, patients and positives. A cell reads `value [ci_low, ci_high]`. Fractions
    and shots, methods and differences have separate blocks, so that each fits a terminal, and below methods stands how
    far their runs differ (`spread_rows`). Records of other metrics and splits are ignored.
    """
    records = [record for record in records if (record["metric"], record["split"]) == (metric, split)]
    means = _means(records)
    blocks = []
    for _, part in groupby(sorted(means, key=block_key), key=block_key):
        own = list(part)
        blocks.append(format_block(own))
        if len(spread := spread_rows(own)) > 1:
            blocks.append(aligned(spread))
    return "\n\n".join(["\n".join(table_caption(records, metric)), *blocks])


def shown_recall(metrics: Iterable[str]) -> str:
    """Return the recall among metrics that is shown where there is room for one, of the first direction, "" without."""
    recalls = [each for each in metrics if re.search(r"recall@\d+$", each)]
    return next((each for each in recalls if each.endswith(f"recall@{RECALL}")), "".join(recalls[:1]))


def table_caption(records: Sequence[Record], metric: str) -> list[str]:
    """Return lines on what means over labels and seeds are of: labels, rows, patients, positives, and what they lack.

    Args:
        records: records of one metric and split, without those of groups.
        metric: its name.
    """
    labels = {record["label"] for record in records} - {MEAN_LABEL}
    undefined = sorted({record["label"] for record in records if record["value"] is None} - {MEAN_LABEL})
    about = f"mean over {len(labels) - len(undefined)} labels and all seeds"
    caption = [f"{_title(metric)}, {about} [95 % interval over patients]", *_counts(records)]
    if undefined:
        caption.append(f"left out, one class only or not scored by every run: {', '.join(undefined)}")
    return caption + lacking(_means(records))


def _means(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if record["label"] == MEAN_LABEL and record["seed"] is None]


def format_labels(records: Sequence[Record], metric: str = "auroc", split: str = "test") -> str:
    """Return the values of one method by label and their mean, over seeds, as plain text, with what they are of."""
    lines = [each for each in records if (each["metric"], each["split"], each["seed"]) == (metric, split, None)]
    draws = len({each["seed"] for each in records} - {None})
    rows = [["label", f"{_title(metric)} [95 % interval]", "positives", "rows", "patients"]]
    for each in lines:
        counts = ("" if each[name] is None else f"{each[name]:,}" for name in ("positives", "n", "patients"))
        rows.append([each["label"], format_cell(each), *counts])
    about = [lines[0]["method"], setting_name(lines[0]), f"mean over {draws} draws" if draws > 1 else ""]
    caption = [f"{', '.join(filter(None, about))}: {split} rows, interval over patients", *lacking(lines)]
    return "\n".join([*caption, "", aligned(rows)])


def lacking(shown: Sequence[Record]) -> list[str]:
    """Return a line on values of few patients, and one on values without an interval, if there are any."""
    without = any(record["value"] is not None and record["ci_low"] is None for record in shown)
    few = any(record["few"] and record["value"] is not None for record in shown)
    return [
        *[f"{FEW}: fewer than {FEW_PATIENTS} patients with a label, or without it"] * few,
        *["no interval where only one patient has a label, or where a mean does not vary"] * without,
    ]


def metric_title(metric: str) -> str:
    """Return a metric as text."""
    return COMPARED.get(metric, metric.replace("_", " ").replace("auroc", "AUROC"))


def _title(metric: str) -> str:
    return "AUROC" if metric == "auroc" else metric


def _counts(records: Sequence[Record]) -> Iterator[str]:
    """Yield lines with the numbers of rows and patients, and with the fewest and the most positives of a label."""
    for whole in [record for record in records if record["label"] == MEAN_LABEL][:1]:
        yield f"{whole['n']:,} {whole['split']} rows of {whole['patients']:,} patients"
    positives = {record["label"]: record["positives"] or 0 for record in records if record["label"] != MEAN_LABEL}
    if len(positives) == 1:
        yield f"positives: {next(iter(positives.values())):,}"
    elif positives:
        few, many = min(positives, key=positives.__getitem__), max(positives, key=positives.__getitem__)
        yield f"positives per label: {positives[few]:,} ({few}) to {positives[many]:,} ({many})"


def block_key(record: Record) -> tuple[bool, bool, bool]:
    """Return the sort key of a record's block: fractions, shots, neither; methods before differences in each."""
    return record["fraction"] is None, record["shots"] is None, record["versus"] is not None


def setting_name(record: Record) -> str:
    """Return the labelled share or number: "1 %", "5-shot", or "" if neither applies."""
    if record["fraction"] is not None:
        return f"{100 * record['fraction']:g} %"
    return "" if record["shots"] is None else f"{record['shots']}-shot"


def format_block(means: Sequence[Record], column: Callable[[Record], str] = setting_name) -> str:
    """Return methods, or else differences, below one another, and what `column` says of a record beside one another."""
    means = sorted(means, key=lambda record: (record["fraction"] or 0.0, record["shots"] or 0))
    titles = list(dict.fromkeys(column(record) for record in means))
    cells: dict[str, dict[str, str]] = {}
    for record in means:
        cells.setdefault(method_name(record), {})[column(record)] = format_cell(record)
    corner = "method" if means[0]["versus"] is None else "difference"
    shown = [title or _title(means[0]["metric"]) for title in titles]
    rows = [[corner, *shown], *([name, *(row.get(at, "") for at in titles)] for name, row in cells.items())]
    return aligned(rows)


def spread_rows(means: Sequence[Record]) -> list[list[str]]:
    """Return rows of the standard deviations between runs by method and setting, with the number of runs; titles first.

    Methods with one run in every setting are left out, and so are differences.
    """
    known = [record for record in means if record["run_sd"] is not None and record["versus"] is None]
    known = sorted(
        known, key=lambda record: (record["fraction"] is None, record["fraction"] or 0, record["shots"] or 0)
    )
    titles = list(dict.fromkeys(setting_name(record) for record in known))
    cells: dict[str, dict[str, str]] = {}
    for record in known:
        cells.setdefault(record["method"], {})[setting_name(record)] = f"{record['run_sd']:.3f} of {record['runs']}"
    shown = [title or "AUROC" for title in titles]
    return [["sd of runs", *shown], *([name, *(row.get(at, "") for at in titles)] for name, row in cells.items())]


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows of a table as lines of plain text, columns aligned to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def as_markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows of a table in Markdown, the first as titles; cells are text, neither Markdown's bars nor HTML."""
    head, *body = [f"| {' | '.join(map(_escaped, row))} |\n" for row in rows]
    return "".join([head, f"|{' --- |' * len(rows[0])}\n", *body])


def _escaped(cell: str) -> str:
    return " ".join(cell.replace("|", "\\|").replace("<", "&lt;").splitlines())


def method_name(record: Record) -> str:
    """Return the method, or "method - other" of a difference."""
    return record["method"] if record["versus"] is None else f"{record['method']} - {record['versus']}"


def format_value(record: Record) -> str:
    """Return `value`, and "few" if it is of few patients."""
    return (
        "-"
        if record["value"] is None
        else f"{record['value']:.{_digits(record)[0]}f}{f' {FEW}' if record['few'] else ''}"
    )


def _digits(record: Record) -> tuple[int, int]:
    """Return the digits behind the point, of a value and of the ends of its interval."""
    return (1, 1) if "median_rank" in record["metric"] else (3, 2)


def format_cell(record: Record, fine: bool = False) -> str:
    """Return `value [ci_low, ci_high]`, signed if it is a difference, and "few" if it is of few patients.

    The ends of an interval have fewer digits than the value, unless `fine`.
    """
    if record["value"] is None:
        return "-"
    sign = "" if record["versus"] is None else "+"
    digits, rough = _digits(record)
    of_value, of_ends = f"{sign}.{digits}f", f"{sign}.{digits if fine else rough}f"
    interval = "" if record["ci_low"] is None else f" [{record['ci_low']:{of_ends}}, {record['ci_high']:{of_ends}}]"
    return f"{record['value']:{of_value}}{interval}{f' {FEW}' if record['few'] else ''}"
