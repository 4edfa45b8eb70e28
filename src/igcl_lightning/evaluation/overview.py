"""The main numbers of an evaluation by several protocols, a line for each method and a column for each question."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from igcl_lightning.atomic import replacing
from igcl_lightning.evaluation.classes import ACCURACY, F1
from igcl_lightning.evaluation.legacy import LEGACY
from igcl_lightning.evaluation.many_rows import are_many, compared_markdown, format_rows
from igcl_lightning.evaluation.results import MEAN_LABEL, Record
from igcl_lightning.evaluation.tables import (
    as_markdown,
    format_cell,
    format_value,
    setting_name,
    shown_recall,
)
from igcl_lightning.evaluation.within_patient import METRIC, TWINS

CAPTION = "means over labels and seeds, {split} rows"
MEANINGS = {
    r"\d": "1 %, 5-shot, ...: AUROC of probes on so many labels",
    "tuned": "tuned 1 %, ...: AUROC after fine-tuning on so many labels",
    "Dice": "Dice 1 %, ...: of images that have the mask, with a decoder trained on so many",
    "zero_shot": "zero_shot: AUROC of prompts",
    "recall": "recall: an image's report among the nearest of all",
    "prompts|Grad-CAM": "prompts, Grad-CAM, chance: the highest value of a map is where the label is marked\n"
    "... blind: the same with the map of another patient's image",
    "own report": "own report: chosen among those of its patient; blind: the same without the image",
    "told": "told side, ...: a report told from its counterfactual of this kind; blind: the same without the image",
}
"""Lines of the caption, by a regular expression of how the titles begin that they explain."""

BEFORE_SETTING = {"fine_tune": "tuned "}
"""What the title of a setting begins with, by protocol: probes have the same settings."""

DICE = "dice_positives"
"""The Dice that is shown: an empty mask is predicted where a rare finding is never predicted."""

BY_METRIC = {
    METRIC: "own report",
    f"{METRIC}_blind": "blind",
    "pointing_prompts": "prompts",
    "pointing_prompts_blind": "prompts blind",
    "pointing_grad_cam": "Grad-CAM",
    "pointing_grad_cam_blind": "Grad-CAM blind",
    "pointing_chance": "chance",
}


def shown_split(records: Sequence[Record]) -> str:
    """Return the split that the main table is of: that of the test rows, or else the first."""
    return "test" if any(record["split"] == "test" for record in records) else str(records[0]["split"])


def format_overview(records: Sequence[Record], split: str = "test") -> str:
    """Return the table as plain text, without intervals, below what its columns are."""
    rows = overview_rows(records, split, format_value)
    return "\n".join([CAPTION.format(split=split), *meanings(rows[0]), "", format_rows(rows)])


def meanings(titles: Sequence[str]) -> list[str]:
    """Return lines on what some columns are."""
    return [line for mark, line in MEANINGS.items() if any(re.match(mark, title) for title in titles)]


def write_overview(records: Sequence[Record], path: Path, split: str = "test") -> None:
    """Write the table with intervals, in Markdown; below that of many methods stand their differences."""
    below = f"\n{compared_markdown(records, split)}" if are_many(records) else ""
    with replacing(path) as temporary:
        caption = f"{CAPTION.format(split=split)} [95 % interval over patients]"
        text = f"{caption}\n\n{as_markdown(overview_rows(records, split))}{below}"
        temporary.write_text(text, encoding="utf-8")


def overview_rows(
    records: Sequence[Record], split: str = "test", cell: Callable[[Record], str] = format_cell
) -> list[list[str]]:
    """Return the table as text, titles first: a row for each method, and a column for each question."""
    columns: dict[str, dict[str, str]] = {}
    records = [record for record in records if record["protocol"] != LEGACY]
    of_classes = {record["protocol"] for record in records if record["metric"] == ACCURACY}
    for record in records:
        about = (record["split"], record["label"], record["seed"], record["versus"], record["group"])
        is_answer = record["metric"] == F1 and record["protocol"] not in of_classes
        if about == (split, MEAN_LABEL, None, None, None) and not is_answer and (title := _title(record)):
            columns.setdefault(title, {})[record["method"]] = cell(record)
    recalls = [title for title in columns if title.startswith("recall@")]
    shown = shown_recall(recalls)
    columns = {title: column for title, column in columns.items() if title not in recalls or title == shown}
    methods = dict.fromkeys(method for column in columns.values() for method in column)
    rows = [[method, *(column.get(method, "") for column in columns.values())] for method in methods]
    return [["method", *columns], *rows]


def _title(record: Record) -> str:
    """Return the column of a record, "" for numbers that stand in the tables of their protocols only."""
    metric = record["metric"]
    setting = setting_name(record)
    asked = BEFORE_SETTING.get(record["protocol"], "") + setting if setting else record["protocol"]
    if metric == "auroc":
        return asked
    if metric == DICE:
        return f"Dice {setting}".strip()
    if metric in (ACCURACY, F1):
        return f"{asked} {metric}"
    if metric.startswith((METRIC, TWINS)):
        choice = metric.replace(METRIC, BY_METRIC[METRIC]).replace(TWINS, "told")
        return BY_METRIC.get(metric, choice.replace("_", " "))
    found = re.fullmatch(r"image_to_(?:graph|report)_(recall@\d+)", metric)
    return found[1] if found else BY_METRIC.get(metric, "")
