"""Results by groups of rows, such as those of women or of one view, and the gaps between a group and all other rows.

A gap is that of a group to the rows outside it, not of the best group to the worst: the latter is above 0 by chance
alone, the more so the smaller the groups are. Where a patient has rows on both sides, the gap is paired for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from igcl_lightning.evaluation.decisions import answer_estimate, at_largest_setting, with_choices
from igcl_lightning.evaluation.intervals import APART, FEW_PATIENTS, holm, interval, p_value
from igcl_lightning.evaluation.predictions import Run, ScoreTable, arranged_by_split, checked
from igcl_lightning.evaluation.results import (
    MEAN_LABEL,
    Record,
    Statistic,
    estimated,
    make_record,
    mean_over_labels,
    mean_over_seeds,
    smallest_classes,
)
from igcl_lightning.evaluation.tables import setting_name
from igcl_lightning.metrics.influence import auroc_estimate
from igcl_lightning.metrics.operating import CLASSES, choose_threshold

AUROC = "auroc"
GAP = "_gap"
ANSWERS = "sensitivity", "specificity"
"""Statistics of answers of which there are gaps; those of the latter are the gaps of false positives, reversed."""

UNKNOWN = "unknown"
BAND, OLDEST_BAND = 20, 80
SIGNIFICANT = 0.05
MOST_SHOWN = 3
"""Most gaps of a method that are written out."""

Floats = NDArray[np.float64]


def age_band(age: float | None) -> str | None:
    """Return the 20 years that an age is in, such as "40-59"; the last are "80+". None for an age that is not known."""
    if age is None or not age >= 0:
        return None
    first = BAND * int(age // BAND)
    return f"{OLDEST_BAND}+" if first >= OLDEST_BAND else f"{first}-{first + BAND - 1}"


def summarise_groups(
    predictions: pd.DataFrame, groups: pd.DataFrame, splits: Sequence[str], answered: Sequence[str], **about: Any
) -> list[Record]:
    """Return statistics by group of the largest setting, means over seeds, and gaps between groups and other rows.

    Records have the group, such as "sex: F", and the metric "auroc", or for a gap "auroc_gap", "sensitivity_gap" or
    "specificity_gap". Gaps are of labels with at least `FEW_PATIENTS` patients of the class, or of both, in the group
    and outside it; means over labels are over these. P-values are corrected (Holm) over all groups and labels of a
    method, split and metric. A column of two groups has gaps of the first. Of sensitivity and specificity there are
    gaps of means, and of labels where they are more than chance.

    Args:
        predictions: columns as in `predictions.SCHEMA`; thresholds are chosen on those of validation rows.
        groups: a column of values for each kind of group, None for unknown, by row id.
        splits: splits whose rows are evaluated.
        answered: those of which sensitivity and specificity are evaluated, too.
        about: further fields of the records: protocol, store.

    Raises:
        IgclError: as `results.summarise` does.
    """
    frame = at_largest_setting(checked(predictions, "predictions"))
    asked = frame[frame["split"].isin(splits)]
    records = list(_records(asked, groups, auroc_estimate, AUROC, (0, 1), about))
    said = with_choices(frame, answered, lambda score, target: choose_threshold(score, target))
    said["score"] = (said["score"] >= said.pop("chosen")).astype(float)
    for name in ANSWERS if len(said) else ():
        found = _records(said, groups, partial(answer_estimate, name), name, CLASSES[name], about)
        records += [
            record
            for record in found
            if record["metric"] != name and (record["label"] == MEAN_LABEL or _remains(record))
        ]
    return records


def _records(
    frame: pd.DataFrame,
    groups: pd.DataFrame,
    statistic: Statistic,
    metric: str,
    classes: Sequence[int],
    about: Mapping[str, Any],
) -> Iterator[Record]:
    """Yield the records of a statistic."""
    for split, table in arranged_by_split(frame.reset_index(drop=True)).items():
        rows = frame.loc[frame["split"] == split, "row"].unique()  # in the order of the table
        found: dict[Run, list[Record]] = {}
        for column in groups:
            value = groups[column].reindex(rows).fillna(UNKNOWN).to_numpy(dtype=object)
            names = sorted(set(value), key=lambda name: (name == UNKNOWN, name))
            for place, name in enumerate(names if len(names) > 1 else ()):
                parts = [_part(table, value == name), _part(table, value != name)]
                fields = {**about, "split": split, "group": f"{column}: {name}"}
                with_gap = len(names) > 2 or place == 0
                for run, records in _of_group(parts, statistic, metric, classes, with_gap, fields).items():
                    found.setdefault(run, []).extend(records)
        for records in found.values():
            yield from _corrected(records)


def _part(table: ScoreTable, kept: NDArray[np.bool_]) -> ScoreTable:
    """Return the table with the targets of all other rows unknown, so that estimates are of the same patients."""
    return replace(table, target=np.where(kept, table.target, np.nan))


def _of_group(
    parts: Sequence[ScoreTable],
    statistic: Statistic,
    metric: str,
    classes: Sequence[int],
    with_gap: bool,
    fields: Mapping[str, Any],
) -> dict[Run, list[Record]]:
    """Return the records of a group and its gap to other rows, the tables of `parts`, by method."""
    inside, outside = (mean_over_seeds(estimated(part, statistic, classes)) for part in parts)
    smallest = np.min([smallest_classes(part, classes) for part in parts], axis=0)
    own = smallest_classes(parts[0], classes)
    judged = smallest >= FEW_PATIENTS
    found: dict[Run, list[Record]] = {}
    for run, values in inside.items():
        both = {metric: (values[:-1], own, "unit")}
        if with_gap:
            both[metric + GAP] = (values[:-1] - outside[run][:-1], smallest.tolist(), APART["unit"])
        found[run] = []
        for name, (estimates, sizes, scale) in both.items():
            used = judged & ~np.isnan(estimates[:, 0])
            mean = mean_over_labels(estimates, np.ones(len(used)), used)
            is_gap = scale == APART["unit"]
            for label, (estimate, size) in enumerate(zip([*estimates, mean], [*sizes, None], strict=True)):
                if is_gap and (np.isnan(estimate[0]) or (size is not None and size < FEW_PATIENTS)):
                    continue
                few = size < FEW_PATIENTS if size is not None else not used.any()
                p = p_value(estimate, size) if is_gap else None
                more = {"metric": name, "few": few, "p_value": p, **_counted(parts[0], label)}
                found[run].append(make_record(run, estimate[0], interval(estimate, size, scale), **fields, **more))
    return found


def _counted(table: ScoreTable, label: int) -> dict[str, Any]:
    """Return the counts of the group's rows; `label` is the number of labels for the mean."""
    known = ~np.isnan(table.target)
    is_mean = label == len(table.labels)
    rows = known.any(axis=0) if is_mean else known[label]
    return {
        "label": MEAN_LABEL if is_mean else table.labels[label],
        "n": int(rows.sum()),
        "positives": None if is_mean else int((table.target[label] == 1).sum()),
        "patients": len(set(table.patients[rows])),
    }


def _corrected(records: list[Record]) -> list[Record]:
    """Return the records of a method with the p-values of gaps corrected, those of labels and of means apart."""
    for is_mean in (False, True):
        gaps = [each for each in records if each["p_value"] is not None and (each["label"] == MEAN_LABEL) is is_mean]
        for record, p_holm in zip(gaps, holm([each["p_value"] for each in gaps]), strict=True):
            record["p_holm"] = p_holm
    return records


def _remains(record: Record) -> bool:
    """Return whether a gap is more than chance among all groups and labels."""
    return record["p_holm"] is not None and record["p_holm"] < SIGNIFICANT


def format_groups(records: Sequence[Record], split: str = "test") -> str:
    """Return a line for each method: its lowest and highest gap of means, and gaps of labels that are not chance.

    A last line names groups with too few patients. "" if there are no groups.
    """
    own = [each for each in records if each["group"] and each["split"] == split]
    means = [each for each in own if each["metric"] == AUROC + GAP and each["label"] == MEAN_LABEL]
    few = dict.fromkeys(f"{each['group']} ({each['patients']})" for each in own if _is_few_group(each))
    if not own:
        return ""
    setting = setting_name(own[0])
    lines = [f"AUROC of groups less that of all other rows, means over labels{setting and f', {setting}'}"]
    for method in dict.fromkeys(each["method"] for each in means):
        shown = sorted((each for each in means if each["method"] == method and each["value"] is not None), key=_value)
        if shown:
            range_of = " to ".join(dict.fromkeys(_gap(each) for each in (shown[0], shown[-1])))
            lines.append(f"{method}: {range_of}; {_remaining([each for each in own if each['method'] == method])}")
    lines += ["no group has enough patients"] * (len(lines) == 1)
    lines += [f"too few patients with or without a label: {', '.join(few)}"] * bool(few)
    return "\n".join(lines)


def _remaining(records: Sequence[Record]) -> str:
    """Return which gaps of labels of one method remain after correction."""
    gaps = [each for each in records if each["metric"].endswith(GAP) and each["label"] != MEAN_LABEL]
    tested = sum(each["metric"] == AUROC + GAP for each in gaps)
    found = sorted(filter(_remains, gaps), key=lambda each: (each["metric"] != AUROC + GAP, each["p_holm"]))
    if not found:
        return f"no label's gap is more than chance (Holm over {tested} groups x labels)"
    words = [f"{_titles(each)} of {each['label']} {_gap(each)}" for each in found[:MOST_SHOWN]]
    more = f" and {len(found) - MOST_SHOWN} more" if len(found) > MOST_SHOWN else ""
    return f"more than chance (Holm over {tested} groups x labels): {', '.join(words)}{more}"


def _is_few_group(record: Record) -> bool:
    return record["metric"] == AUROC and record["label"] == MEAN_LABEL and bool(record["few"])


def _value(record: Record) -> float:
    return record["value"] or 0.0


def _titles(record: Record) -> str:
    name = record["metric"].removesuffix(GAP)
    return name.upper() if name == AUROC else name


def _gap(record: Record) -> str:
    return f"{record['value']:+.3f} [{record['ci_low']:+.2f}, {record['ci_high']:+.2f}] ({record['group']})"
