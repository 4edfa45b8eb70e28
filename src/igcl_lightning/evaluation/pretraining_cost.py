"""What it costs to pretrain the rows of a table, as text: parameters, and time of a step and of an epoch."""

from __future__ import annotations

from collections.abc import Sequence

from igcl_lightning.evaluation.results import Record

PROTOCOL = "pretraining"

COLUMNS = {
    "parameters": ("parameters", "{:,.0f}", 1),
    "parameters_of_reports": ("of the reports' encoder", "{:,.0f}", 1),
    "seconds_per_step": ("ms/step", "{:.1f}", 1000),
    "seconds_per_epoch": ("s/epoch", "{:.1f}", 1),
}
"""Metrics, and the title, format and factor of their columns."""

CAVEAT = "Times compare rows only if nothing else ran on the machine."


def cost_rows(records: Sequence[Record]) -> list[list[str]]:
    """Return a row for each method, titles first, means over seeds; [] without records of costs."""
    cells: dict[str, dict[str, str]] = {}
    for each in records:
        if each["protocol"] == PROTOCOL and each["seed"] is None and each["value"] is not None:
            _, form, factor = COLUMNS[each["metric"]]
            cells.setdefault(each["method"], {})[each["metric"]] = form.format(factor * each["value"])
    if not cells:
        return []
    titles = [title for title, _, _ in COLUMNS.values()]
    return [["method", *titles], *([method, *(row.get(name, "") for name in COLUMNS)] for method, row in cells.items())]
