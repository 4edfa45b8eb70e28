"""Sections of `report.html` that follow from records and predictions: text, tables, figures; no model runs here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from igcl_lightning.evaluation.curves import operating_points, plot_roc, roc_curves
from igcl_lightning.evaluation.label_savings import LabelSavings, savings_line
from igcl_lightning.evaluation.overview import CAPTION, meanings, overview_rows
from igcl_lightning.evaluation.plots import (
    is_marked,
    plot_differences,
    plot_label_efficiency,
    plot_per_label,
)
from igcl_lightning.evaluation.results import MEAN_LABEL, Record, format_cell, method_name, setting_name

PROBES = ("linear", "few_shot")
"""Protocols that share a figure of label efficiency: probes by shares and by shots."""

EFFICIENCY = {"fine_tune": "fine_tuning"}
"""Name of the figure of label efficiency, by protocol; that of probes is "label_efficiency"."""

COMPARED = {"auroc": "AUROC", "dice_positives": "Dice of images that have the mask", "mcc": "MCC"}
"""Metrics whose differences by label are drawn, and their names."""

SAVINGS = "label_savings"
FEW = 'few: one class has fewer than ten patients'
INTERVALS = "In brackets: 95 % intervals over patients."


class Table(NamedTuple):
    """A table: its caption and its rows of text, titles first."""

    caption: str
    rows: Sequence[Sequence[str]]


class Drawing(NamedTuple):
    """A figure: its file name without an end, title, what is seen in it, and the numbers in it as a table."""

    name: str
    title: str
    figure: Figure
    caption: str
    table: Table


class Section(NamedTuple):
    """A section of the page: id, title, paragraphs, tables, tables that are folded, and figures."""

    id: str
    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    folded: Sequence[Table] = ()
    drawings: Sequence[Drawing] = ()


def page_sections(
    records: Sequence[Record], predictions: Mapping[str, pd.DataFrame], split: str = "test"
) -> list[Section]:
    """Return the sections that there are data for.

    Args:
        records: all records of an evaluation.
        predictions: scores by protocol, with columns as in `predictions.SCHEMA`.
        split: split of the rows that are shown.
    """
    shown = [each for each in records if each["split"] == split]
    whole = [each for each in shown if each["group"] is None]
    tested = {name: frame[frame["split"] == split] for name, frame in predictions.items()}
    made = (
        _overview(whole, split),
        _efficiency(whole, split),
        _by_label(whole, split),
        _roc(whole, tested, split),
        _differences(whole, split),
        _audit([each for each in shown if each["group"] is not None]),
    )
    return [section for section in made if section is not None]


def _overview(records: Sequence[Record], split: str) -> Section | None:
    rows = overview_rows(records, split)
    if len(rows) < 2:
        return None
    few = [FEW] * any("few" in cell for row in rows[1:] for cell in row)
    caption = f"{CAPTION.format(split=split).capitalize()}. {INTERVALS}"
    return Section("overview", "Main results", [*meanings(rows[0]), *few], [Table(caption, rows)])


def _efficiency(records: Sequence[Record], split: str) -> Section | None:
    drawings = []
    for name, own in efficiency_groups(records, split).items():
        means = [each for each in own if each["label"] == MEAN_LABEL]
        title = "Mean AUROC by number of labels" + (" after fine-tuning" if name == EFFICIENCY["fine_tune"] else "")
        caption = "Lines are means over labels and runs, bands 95 % intervals over patients."
        drawings.append(Drawing(name, title, plot_label_efficiency(own, split), caption, _by_setting(title, means)))
    saved = savings_lines(records)
    if not drawings and not saved:
        return None
    return Section("label-efficiency", "Label efficiency", saved, drawings=drawings)


def efficiency_groups(records: Sequence[Record], split: str) -> dict[str, list[Record]]:
    """Return the AUROCs by shares or shots that go into one figure, means over runs, by the name of the figure."""
    groups: dict[str, list[Record]] = {}
    for each in records:
        plain = (each["metric"], each["split"], each["versus"], each["seed"]) == ("auroc", split, None, None)
        if plain and setting_name(each):
            protocol = each["protocol"]
            usual = "label_efficiency" if protocol in PROBES else f"{protocol}_efficiency"
            groups.setdefault(EFFICIENCY.get(protocol, usual), []).append(each)
    return groups


def savings_lines(records: Sequence[Record]) -> list[str]:
    """Return a sentence on the labels that each method saves, with how far seeds of pretraining move it."""
    saved = [each for each in records if each["metric"].startswith(SAVINGS) and each["value"] is not None]
    lines = []
    for each in [record for record in saved if record["seed"] is None]:
        about = ("protocol", "method", "versus", "split", "fraction")
        single = [one for one in saved if one["seed"] is not None and all(one[name] == each[name] for name in about)]
        factors = [f"{one['value']:.2g}" for one in single]
        moved = f" Single seeds of pretraining: {', '.join(factors)}." if len(factors) > 1 else ""
        lines.append(f"{savings_line(_savings(each, records))}.{moved}")
    return lines


def _savings(saved: Record, records: Sequence[Record]) -> LabelSavings:
    """Return the savings that a record is about; its limits are those of the other method's shares."""
    other = {
        each["fraction"]
        for each in records
        if (each["method"], each["protocol"], each["metric"]) == (saved["versus"], saved["protocol"], "auroc")
    } - {None}
    fraction: Any = saved["fraction"]
    ends = [min(other) / fraction, max(other) / fraction] if other else [math.nan, math.nan]
    bound = saved["metric"].removeprefix(SAVINGS).removeprefix("_") or None
    about = (saved["method"], str(saved["versus"]), str(saved["split"]), fraction, saved["value"], bound)
    return LabelSavings(*about, saved["ci_low"], saved["ci_high"], *ends, math.nan, saved["n"])


def _by_label(records: Sequence[Record], split: str) -> Section | None:
    scored = [each for each in records if (each["metric"], each["versus"], each["seed"]) == ("auroc", None, None)]
    if not scored:
        return None
    groups = efficiency_groups(scored, split)
    shown = next(iter(groups.values()), scored)
    by_share = [each for each in shown if each["fraction"] is not None] or shown
    caption = "Marks are means over runs, lines 95 % intervals over patients. Dotted: chance."
    table = _labels_table("AUROC by label", by_share)
    drawing = Drawing("per_label", "AUROC by label", plot_per_label(shown, split), caption, table)
    return Section("labels", "By label", drawings=[drawing])


def _roc(records: Sequence[Record], predictions: Mapping[str, pd.DataFrame], split: str) -> Section | None:
    drawings = []
    for protocol, frame in predictions.items():
        chosen, setting = _at_most_labels(frame)
        curves = roc_curves(chosen)
        if not curves:
            continue
        own = {each.method for each in curves}
        points = operating_points(records, split, without=own)
        at = f"{protocol}, {setting}" if setting else protocol
        caption = "Curves are means over runs at equal false positive rates."
        if points:
            readers = ", ".join(dict.fromkeys(each.reader for each in points))
            caption += f" Black marks: {readers}."
        title = f"ROC curves by label: {at}"
        about = [
            each for each in records
            if (each["protocol"], each["metric"], each["versus"], each["seed"]) == (protocol, "auroc", None, None)
            and setting_name(each) == setting and each["method"] in own
        ]  # fmt: skip
        rows = _labels_table(f"AUROC of the curves: {at}", about)
        if points:
            rows = Table(f"{rows.caption}; then sensitivity and specificity of readers", _with_points(rows.rows, points))
        drawings.append(Drawing(f"roc_{protocol}", title, plot_roc(curves, points), caption, rows))
    return Section("roc", "ROC curves", drawings=drawings) if drawings else None


def _at_most_labels(frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return the scores of a protocol's largest share or number of shots, with the name of this setting."""
    for kind in ("fraction", "shots"):
        if frame[kind].notna().any():
            largest = frame[kind].max()
            return frame[frame[kind] == largest], f"{100 * largest:g} %" if kind == "fraction" else f"{largest:g}-shot"
    return frame, ""


def _with_points(rows: Sequence[Sequence[str]], points: Sequence[Any]) -> list[list[str]]:
    """Return rows by label with a column for each reader."""
    readers = list(dict.fromkeys(each.reader for each in points))
    at = {(each.reader, each.label): f"{each.sensitivity:.3f}, {each.specificity:.3f}" for each in points}
    head, *body = rows
    return [[*head, *readers], *([*row, *(at.get((reader, row[0]), "") for reader in readers)] for row in body)]


def _differences(records: Sequence[Record], split: str) -> Section | None:
    apart = [each for each in records if each["versus"] and each["seed"] is None]
    apart = [each for each in apart if not each["metric"].startswith(SAVINGS)]
    if not apart:
        return None
    drawings, groups = [], _grouped(apart, lambda each: (each["protocol"], each["metric"]))
    for (protocol, metric), own in groups.items():
        by_label = any(each["label"] != MEAN_LABEL and each["value"] is not None for each in own)
        if metric in COMPARED and by_label:
            name, method = COMPARED[metric], own[0]["method"]
            title = f"{protocol}: {name} of {method} less that of others"
            caption = "Right of the dotted line the first method is better. " + _marks(own)
            figure = plot_differences(own, name, split)
            table = _differences_table(f"Differences by label: {protocol}, {name}", own)
            drawings.append(Drawing(f"differences_{protocol}_{metric}", title, figure, caption, table))
    means = [each for each in apart if each["label"] == MEAN_LABEL]
    text = ["Paired differences on the same patients, means over runs. Intervals are over patients; they do not cover "
            "other pretrainings, unless several seeds are given."]  # fmt: skip
    folded = [_differences_table("All differences of means over labels", means, metrics=True)] if means else []
    return Section("differences", "Paired differences", text, folded=folded, drawings=drawings)


def _marks(differences: Sequence[Record]) -> str:
    """Return what the marks of a forest plot say."""
    tested = [each for each in differences if each["label"] != MEAN_LABEL]
    corrected = "Filled marks of labels differ from 0 (Holm over labels, 5 %), hollow ones do not."
    few = f" {FEW.capitalize()}."
    return corrected + few * any(each.get("few") for each in tested)


def _audit(records: Sequence[Record]) -> Section | None:
    """Return results by groups of patients: a table of means by attribute, and all labels folded."""
    shown = [each for each in records if each["seed"] is None]
    if not shown:
        return None
    tables, folded = [], []
    for (protocol, metric, attribute), own in _grouped(shown, _audited).items():
        about = f"{metric_title(metric)} by {attribute}: {protocol}"
        means = [each for each in own if each["label"] == MEAN_LABEL]
        if means:
            tables.append(_groups_table(f"{about}, means over labels", means))
        labels = [each for each in own if each["label"] != MEAN_LABEL]
        if labels:
            (folded if means else tables).append(_groups_table(about, labels))
    text = ["Results within groups of patients. A gap may have a cause other than the model, such as another mix of cases."]
    return Section("audit", "Audit", text, tables, folded)


def _audited(record: Record) -> tuple[str, str, str]:
    return record["protocol"], record["metric"], str(record["group"]).partition(":")[0]


def _groups_table(caption: str, records: Sequence[Record]) -> Table:
    """Return a row for each group, and label if they are of several, and a column for each method and setting."""
    by_label = any(each["label"] != MEAN_LABEL for each in records)

    def line(each: Record) -> tuple[str, ...]:
        group = str(each["group"]).partition(":")[2].strip() or str(each["group"])
        patients = "" if each["patients"] is None else f"{each['patients']:,}"
        return (group, each["label"], patients) if by_label else (group, patients)

    titles = ("group", "label", "patients") if by_label else ("group", "patients")
    return Table(caption, crossed(records, titles, line, _method_and_setting))


def metric_title(metric: str) -> str:
    """Return a metric as text."""
    return COMPARED.get(metric, metric.replace("_", " "))


def _method_and_setting(record: Record) -> str:
    return ", ".join(filter(None, (method_name(record), setting_name(record))))


def _by_setting(caption: str, means: Sequence[Record]) -> Table:
    return Table(caption, crossed(means, ("method",), lambda each: (each["method"],), setting_name))


def _labels_table(caption: str, records: Sequence[Record]) -> Table:
    def line(each: Record) -> tuple[str, str]:
        return each["label"], "" if each["positives"] is None else f"{each['positives']:,}"

    return Table(caption, crossed(records, ("label", "positives"), line, _method_and_setting))


def _differences_table(caption: str, records: Sequence[Record], metrics: bool = False) -> Table:
    """Return a line for each difference, with its protocol and metric if there are several."""
    titles = ["difference", "labels", *(["protocol", "metric"] if metrics else ["label"]), "value [95 % interval]"]
    tested = any(each.get("p_holm") is not None for each in records)
    rows = [titles + ["p (Holm)", "differs from 0"] * tested]
    for each in records:
        about = [each["protocol"], metric_title(each["metric"])] if metrics else [each["label"]]
        row = [method_name(each), setting_name(each), *about, format_cell(each)]
        if tested:
            p_value: Any = each.get("p_holm")
            row += ["" if p_value is None else f"{p_value:.3g}", "yes" if is_marked(each) else ""]
        rows.append(row)
    return Table(caption, rows)


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
    ordered = sorted(records, key=lambda each: (each["fraction"] or 0.0, each["shots"] or 0))
    columns = list(dict.fromkeys(column(each) for each in ordered))
    for each in records:
        cells.setdefault(line(each), {})[column(each)] = format_cell(each)
    return [[*titles, *columns], *([*start, *(row.get(at, "") for at in columns)] for start, row in cells.items())]


def _grouped(records: Iterable[Record], key: Callable[[Record], Any]) -> dict[Any, list[Record]]:
    groups: dict[Any, list[Record]] = {}
    for each in records:
        groups.setdefault(key(each), []).append(each)
    return groups


def drawings_of(sections: Iterable[Section]) -> Iterator[Drawing]:
    """Yield the figures of sections."""
    for section in sections:
        yield from section.drawings
