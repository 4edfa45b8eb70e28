"""Whether a model is better than what is known without it."""

from __future__ import annotations

from collections.abc import Sequence

from igcl_lightning.evaluation.results import MEAN_LABEL, Record
from igcl_lightning.evaluation.tables import setting_name

MOST_NAMED = 5
"""Most labels that are named, not counted."""


def format_floors(records: Sequence[Record], floors: Sequence[str], split: str = "test") -> str:
    """Return a line for each floor that a model is not better than, in the mean or in some labels, "" without any.

    Better is a difference whose interval lies above 0, at the largest setting.

    Args:
        records: records of AUROC with the differences of the first method to each floor.
        floors: names of the floors.
        split: split of the rows.
    """
    own = [each for each in records if (each["metric"], each["split"], each["group"]) == ("auroc", split, None)]
    lines = []
    for floor in floors:
        apart = [each for each in own if each["versus"] == floor]
        apart = [each for each in apart if _size(each) == max(map(_size, apart))]
        worse = [each for each in apart if not _is_better(each)]
        if worse:
            lines.append(_line(worse, len(apart) - 1))
    return "\n".join(lines)


def _size(record: Record) -> float:
    return record["fraction"] or record["shots"] or 0


def _is_better(record: Record) -> bool:
    """Return whether the interval of a difference lies above 0; a label without a value says nothing."""
    return record["value"] is None or (record["ci_low"] is not None and record["ci_low"] > 0)


def _line(worse: Sequence[Record], number: int) -> str:
    """Return the line of the labels, of a number of labels, and perhaps the mean that are not better."""
    names = [each["label"] for each in worse if each["label"] != MEAN_LABEL]
    labels = ", ".join(names) if len(names) <= MOST_NAMED else f"{len(names)} of {number} labels"
    mean = [each for each in worse if each["label"] == MEAN_LABEL]
    first, setting = worse[0], setting_name(worse[0])
    what = f"{first['method']} is not shown to be better than {first['versus']} alone{setting and f' at {setting}'}"
    if mean:
        return f"warning: {what}, in the mean over labels{labels and f' and for {labels}'}"
    return f"{what} for {labels}"
