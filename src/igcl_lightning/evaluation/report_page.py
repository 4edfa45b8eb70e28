"""Sections of `report.html` that follow from records and predictions: text, tables, figures; no model runs here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from igcl_lightning.evaluation.curves import (
    LEAST_SCORES,
    Bins,
    operating_points,
    plot_reliability,
    plot_roc,
    reliabilities,
    roc_curves,
)
from igcl_lightning.evaluation.decisions import BRIER, ECE, at_largest_setting, decision_rows, with_choices
from igcl_lightning.evaluation.intervals import FEW_PATIENTS
from igcl_lightning.evaluation.label_savings import SAVINGS, savings_lines
from igcl_lightning.evaluation.many_rows import are_many, compared_rows, differences_of, main_means
from igcl_lightning.evaluation.overview import CAPTION, meanings, overview_rows
from igcl_lightning.evaluation.page_tables import (
    Table,
    crossed,
    cues_table,
    differences_table,
    groups_table,
    labels_table,
    with_points,
)
from igcl_lightning.evaluation.plots import (
    plot_differences,
    plot_label_efficiency,
    plot_mean_differences,
    plot_per_label,
)
from igcl_lightning.evaluation.pretraining_cost import CAVEAT, cost_rows
from igcl_lightning.evaluation.published import published_rows, read_published
from igcl_lightning.evaluation.results import MEAN_LABEL, Record
from igcl_lightning.evaluation.tables import COMPARED, FEW, format_cell, metric_title, setting_name, spread_rows
from igcl_lightning.metrics.calibration import choose_temperature

PROBES = ("linear", "few_shot")
"""Protocols that share a figure of label efficiency: probes by shares and by shots."""

EFFICIENCY = {"fine_tune": "fine_tuning"}
"""Name of the figure of label efficiency, by protocol; that of probes is "label_efficiency"."""

CALIBRATION = {
    BRIER: "Brier score, mean over labels; lower is better",
    ECE: "Expected calibration error, mean over labels; lower is better, and above 0 by chance alone",
}

SHORTCUT = "shortcut_"
"""How metrics begin of what tells a label without the finding."""

CHOSEN = "Means over labels; thresholds and temperatures from validation rows, at the largest share or number of shots."

ALONE = "Filled marks differ from 0 at 5 %, each tested alone: of twenty without a difference, about one is filled."

SPREAD = "Figures of more methods than can be told apart are left out; the main table has the means."

RELIABLE = "Below the dotted line labels are rarer than the probabilities say, above it more frequent."

FEW_MEANS = f"{FEW}: fewer than {FEW_PATIENTS} patients with a label, or without it"
INTERVALS = "In brackets: 95 % intervals over patients."


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
    records: Sequence[Record],
    predictions: Mapping[str, pd.DataFrame],
    split: str = "test",
    seeds: Mapping[str, int] | None = None,
) -> list[Section]:
    """Return the sections that there are data for.

    Args:
        records: all records of an evaluation.
        predictions: scores by protocol, with columns as in `predictions.SCHEMA`.
        split: split of the rows that are shown.
        seeds: numbers of pretrainings by method, to show beside the differences of many methods.
    """
    shown = [each for each in records if each["split"] == split]
    whole = [each for each in shown if each["group"] is None]
    compared = {each["protocol"] for each in whole if each["metric"] == "auroc"}
    predictions = {name: frame for name, frame in predictions.items() if name in compared}
    tested = {name: frame[frame["split"] == split] for name, frame in predictions.items()}
    many = are_many(whole)
    made = (
        _overview(whole, split, many),
        _efficiency(whole, split, many),
        _by_label(whole, split, many),
        None if many else _roc(whole, tested, split),
        _differences(whole, split, many, seeds),
        _calibration(whole, predictions, split, many),
        _cost(records),
        _audit([each for each in records if each["group"] is not None], split, many),
    )
    return [section for section in made if section is not None]


def _overview(records: Sequence[Record], split: str, many: bool) -> Section | None:
    rows = overview_rows(records, split)
    if len(rows) < 2:
        return None
    few = [FEW_MEANS] * any(cell.endswith(FEW) for row in rows[1:] for cell in row)
    text = [line for each in meanings(rows[0]) for line in each.splitlines()]
    caption = f"{CAPTION.format(split=split).capitalize()}. {INTERVALS}"
    if not many:  # there are more questions than methods
        rows = [list(column) for column in zip(*rows, strict=True)]
        rows[0][0] = "question"
    return Section("overview", "Main results", [*text, *few], [Table(caption, rows)])


def _efficiency(records: Sequence[Record], split: str, many: bool) -> Section | None:
    drawings, tables = [], []
    for name, own in efficiency_groups(records, split).items():
        means = [each for each in own if each["label"] == MEAN_LABEL]
        tuned = " after fine-tuning" if name == EFFICIENCY["fine_tune"] else ""
        title = f"Mean AUROC by number of labels{tuned}"
        if len(spread := spread_rows(means)) > 1:
            tables.append(Table(f"Standard deviation of single runs{tuned}, which no interval covers", spread))
        if many:
            continue  # the main table has the means
        caption = "Lines are means over labels and runs, bands 95 % intervals over patients."
        drawings.append(Drawing(name, title, plot_label_efficiency(own, split), caption, _by_setting(title, means)))
    saved = savings_lines(records)
    if many and tables:
        return Section("label-efficiency", "Label efficiency", saved or [SPREAD], folded=tables)
    if not drawings and not saved:
        return None
    return Section("label-efficiency", "Label efficiency", saved, tables, drawings=drawings)


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


def _by_label(records: Sequence[Record], split: str, many: bool) -> Section | None:
    scored = [each for each in records if (each["metric"], each["versus"], each["seed"]) == ("auroc", None, None)]
    if not scored:
        return None
    groups = efficiency_groups(scored, split)
    shown = next(iter(groups.values()), scored)
    by_share = [each for each in shown if each["fraction"] is not None] or shown
    caption = "Marks are means over runs, lines 95 % intervals over patients. Dotted: chance."
    table = labels_table("AUROC by label", by_share)
    if many:
        return Section("labels", "By label", folded=[_turned(table)])
    drawing = Drawing("per_label", "AUROC by label", plot_per_label(shown, split), caption, table)
    return Section("labels", "By label", drawings=[drawing])


def _roc(records: Sequence[Record], predictions: Mapping[str, pd.DataFrame], split: str) -> Section | None:
    drawings = []
    scored = {method for frame in predictions.values() for method in frame["method"].unique()}
    for protocol, frame in predictions.items():
        chosen, setting = _largest(frame)
        curves = roc_curves(chosen)
        if not curves:
            continue
        own = {each.method for each in curves}
        points = operating_points(records, split, without=scored)
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
        rows = labels_table(f"AUROC of the curves: {at}", about)
        if points:
            rows = Table(f"{rows.caption}; then sensitivity and specificity of readers", with_points(rows.rows, points))
        drawings.append(Drawing(f"roc_{protocol}", title, plot_roc(curves, points), caption, rows))
    return Section("roc", "ROC curves", drawings=drawings) if drawings else None


def _largest(frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return the scores of a protocol's largest share or number of shots, with the name of this setting."""
    chosen = at_largest_setting(frame)
    for kind, name in (("fraction", "{:.3g} %"), ("shots", "{:g}-shot")):
        if chosen[kind].notna().any():
            value = float(chosen[kind].iloc[0])
            return chosen, name.format(100 * value if kind == "fraction" else value)
    return chosen, ""


def _differences(records: Sequence[Record], split: str, many: bool, seeds: Mapping[str, int] | None) -> Section | None:
    apart = [each for each in records if each["versus"] and each["seed"] is None]
    apart = [each for each in apart if not each["metric"].startswith(SAVINGS)]
    if not apart:
        return None
    drawings = _differences_of_means(records, split, seeds) if many else _differences_by_label(apart, split)
    means = [each for each in apart if each["label"] == MEAN_LABEL]
    text = ["Paired differences on the same patients, means over runs. Intervals are over patients; they do not cover "
            "other pretrainings."]  # fmt: skip
    folded = [differences_table("All differences of means over labels", means, metrics=True)] if means else []
    return Section("differences", "Paired differences", text, folded=folded, drawings=drawings)


def _differences_by_label(apart: Sequence[Record], split: str) -> list[Drawing]:
    """Return a forest plot for each method and protocol: a line for each label."""
    drawings: list[Drawing] = []
    groups = _grouped(apart, lambda each: (each["protocol"], each["metric"], each["method"]))
    for (protocol, metric, method), own in groups.items():
        by_label = any(each["label"] != MEAN_LABEL and each["value"] is not None for each in own)
        if metric in COMPARED and by_label:
            name = COMPARED[metric]
            title = f"{name} of {method} minus that of others: {protocol}"
            caption = "Right of the dotted line the first method is better. " + _marks(own)
            figure = plot_differences(own, name, split)
            table = differences_table(f"Differences by label: {protocol}, {name}", own)
            names = [each.name for each in drawings]
            file = f"differences_{protocol}_{metric}"
            file += f"_{len(names)}" * (file in names)
            drawings.append(Drawing(file, title, figure, caption, table))
    return drawings


def _differences_of_means(records: Sequence[Record], split: str, seeds: Mapping[str, int] | None) -> list[Drawing]:
    """Return a forest plot for each protocol and main metric: a line for each method."""
    drawings = []
    for (protocol, metric), means in main_means(records, split).items():
        apart = differences_of(means)
        name = f"mean {COMPARED[metric]}" if metric in COMPARED else metric_title(metric)
        usual = apart.usual
        if apart.subtracted:
            what, better = f"minus that of {usual}", f"a row is better than {usual}, or than the one that it names"
        else:
            what, better = f"of {usual} minus that of each other", f"{usual} is better"
        caption = f"Right of 0 {better}. Lines: 95 % intervals over patients. {ALONE}"
        few = f" {FEW_MEANS.capitalize()}." * any(each["few"] for each in means)
        figure = plot_mean_differences(apart, f"difference in {name}")
        table = Table(f"{name[0].upper()}{name[1:]} and differences: {protocol}", compared_rows(means, seeds))
        title = f"{name[0].upper()}{name[1:]} {what}: {protocol}"
        drawings.append(Drawing(f"differences_{protocol}_{metric}", title, figure, caption + few, table))
    return drawings


def _marks(differences: Sequence[Record]) -> str:
    """Return what the marks of a forest plot say."""
    tested = [each for each in differences if each["label"] != MEAN_LABEL]
    corrected = "Filled marks differ from 0 at 5 % (labels: after Holm's correction), hollow ones do not."
    few = f" {FEW_MEANS.capitalize()}."
    return corrected + few * any(each["few"] for each in tested)


def _calibration(
    records: Sequence[Record], predictions: Mapping[str, pd.DataFrame], split: str, many: bool
) -> Section | None:
    """Return how often labels are present by probability, at each protocol's largest share or number of shots."""
    drawings = []
    for protocol, frame in () if many else predictions.items():
        chosen, setting = _largest(frame)
        panels = reliabilities(with_choices(chosen, [split], choose_temperature))
        if panels:
            at = ", ".join(filter(None, (protocol, setting)))
            caption = f"{RELIABLE} Bins of fewer than {LEAST_SCORES} scores are in the table only."
            table = Table(f"Reliability: {at}", _bins(panels))
            title = f"Reliability by label: {at}"
            drawings.append(Drawing(f"reliability_{protocol}", title, plot_reliability(panels), caption, table))
    measured = [each for each in records if each["metric"] in (BRIER, ECE) and each["label"] == MEAN_LABEL]
    measured = [each for each in measured if (each["versus"], each["seed"]) == (None, None)]
    if many:
        folded = [
            Table(f"Answers and probabilities: {protocol}", decision_rows(own, split, format_cell))
            for protocol, own in _grouped(records, lambda each: each["protocol"]).items()
            if any(each["protocol"] == protocol for each in measured)
        ]
        return Section("calibration", "Answers and probabilities", [CHOSEN], folded=folded) if folded else None
    tables = [
        Table(CALIBRATION[metric], crossed(own, ("method",), lambda each: (each["method"],), _protocol_and_setting))
        for metric, own in _grouped(measured, lambda each: each["metric"]).items()
    ]
    if not drawings and not tables:
        return None
    text = ["Probabilities after scaling by a temperature, chosen on validation rows for each run and label; all runs "
            "together."]  # fmt: skip
    return Section("calibration", "Calibration", text, tables, drawings=drawings)


def _protocol_and_setting(record: Record) -> str:
    return ", ".join(filter(None, (record["protocol"], setting_name(record))))


def _bins(panels: Mapping[str, Sequence[Bins]]) -> list[list[str]]:
    rows = [["label", "method", "mean probability", "share of positives", "scores"]]
    for label, bins in panels.items():
        for each in bins:
            lines = zip(each.predicted, each.observed, each.rows, strict=True)
            rows += [[label, each.method, f"{said:.3f}", f"{found:.3f}", f"{n:,}"] for said, found, n in lines]
    return rows


def _turned(table: Table) -> Table:
    """Return a table with a row for each column: many methods are easier to read below one another."""
    return Table(table.caption, [*zip(*table.rows, strict=True)])


def _cost(records: Sequence[Record]) -> Section | None:
    rows = cost_rows(records)
    return Section("cost", "Cost of pretraining", [CAVEAT], [Table("Means over pretrainings", rows)]) if rows else None


def published_section(protocols: Iterable[str]) -> Section | None:
    """Return the published numbers that protocols (files of `configs/protocol`) show, apart from all that is ours."""
    published = read_published()
    tables = {table.title: table for name in protocols for table in published.of(name)}
    if not tables:
        return None
    shown = [Table(f"{table.title}. {table.origin}.", published_rows(table)) for table in tables.values()]
    text = [f"{line[0].upper()}{line[1:]}." for line in published.about.splitlines()]
    return Section("published", "Published numbers", text, folded=shown)


def _audit(records: Sequence[Record], split: str, many: bool) -> Section | None:
    """Return results by groups of patients, means over labels first, and what tells labels without the finding.

    Of many methods, means over labels only: a table by group and label would have a column for each method.
    """
    cues = [each for each in records if each["metric"].startswith(SHORTCUT)]
    shown = [each for each in records if each not in cues and (each["split"], each["seed"]) == (split, None)]
    tables: list[Table] = []
    folded: list[Table] = []
    for (protocol, metric), own in _grouped(shown, lambda each: (each["protocol"], each["metric"])).items():
        about = f"{metric_title(metric)} by group: {protocol}"
        means = [each for each in own if each["label"] == MEAN_LABEL]
        labels = [each for each in own if each["label"] != MEAN_LABEL]
        if means:
            table = groups_table(f"{about}, means over labels", means)
            (tables if metric.startswith("auroc") else folded).append(_turned(table) if many else table)
        if labels and not many:
            folded.append(groups_table(about, labels))
    if cues:
        tables.append(cues_table("What tells a label without the finding: AUROC of a mark or a column alone", cues))
    text = ["A gap is that of a group to all other rows; it may have a cause other than the model, such as another mix "
            "of cases. What is associated with a label is no fault by itself."]  # fmt: skip
    return Section("audit", "Audit", text, tables, folded) if tables or folded else None


def _by_setting(caption: str, means: Sequence[Record]) -> Table:
    return Table(caption, crossed(means, ("method",), lambda each: (each["method"],), setting_name))


def _grouped(records: Iterable[Record], key: Callable[[Record], Any]) -> dict[Any, list[Record]]:
    groups: dict[Any, list[Record]] = {}
    for each in records:
        groups.setdefault(key(each), []).append(each)
    return groups


def drawings_of(sections: Iterable[Section]) -> Iterator[Drawing]:
    """Yield the figures of sections."""
    for section in sections:
        yield from section.drawings
