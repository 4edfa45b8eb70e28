"""Accuracy of choosing an image's own report among two, with intervals over patients.

The other one is of the same patient, or the report's counterfactual. The two reports of the phantom's hard negatives
use the same words for different places and differ in structure only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.predictions import Run
from igcl_lightning.evaluation.results import Record, compare_runs
from igcl_lightning.evaluation.tables import format_block, format_cell, method_name
from igcl_lightning.metrics.influence import jackknife_estimate
from igcl_lightning.metrics.operating import share

METRIC, TWINS = "within_patient_accuracy", "counterfactual_accuracy"
"""How metrics begin of choices among the reports of a patient, and between a report and its counterfactual."""

BLIND = "_blind"
"""End of the metrics of choices with the image of another patient."""

ASKED = "right report among those of one patient, chance 0.5 for two"


class Choices(NamedTuple):
    """Numbers of correct choices and of choices of one method, by image, each int64 [N]."""

    patient: NDArray[np.int64]
    right: NDArray[np.int64]
    asked: NDArray[np.int64]


def summarise_choices(
    choices: Mapping[Run, Choices],
    *,
    versus: Sequence[tuple[str, str]] = (),
    metric: str = METRIC,
    common_seeds: bool = True,
    **about: str,
) -> list[Record]:
    """Return the accuracy of runs, their means over seeds, and paired differences, with 95 % intervals over patients.

    Runs that differ in their seed are averaged, never pooled. See `results.compare_runs` for the arguments.

    Raises:
        IgclError: two runs chose for different images.
    """
    first = next(iter(choices.values()))
    for run, each in choices.items():
        if not (np.array_equal(each.patient, first.patient) and np.array_equal(each.asked, first.asked)):
            raise IgclError(f"{run.method}, seed {run.seed}: chose for other images than the first run")
    names, patient = np.unique(first.patient, return_inverse=True)
    accuracy = {}
    for run, each in choices.items():
        sums = np.stack([np.bincount(patient, count, len(names)) for count in (each.right, each.asked)], axis=1).astype(
            float
        )
        accuracy[run] = jackknife_estimate(_accuracy, sums)
    fields: dict[str, Any] = {"n": int(first.asked.sum()), "metric": metric, **about}
    fields["smallest"] = len(np.unique(first.patient[first.asked > 0]))
    return compare_runs(accuracy, versus, common_seeds=common_seeds, **fields)


def _accuracy(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of right choices from the numbers of right ones and of all, [..., 2]."""
    right, asked = np.moveaxis(sums, -1, 0)
    return share(right, asked)


def format_choices(
    records: Sequence[Record],
    blind: bool = False,
    asked: str = ASKED,
    column: Callable[[Record], str] | None = None,
) -> str:
    """Return the accuracies, means over seeds, as plain text, one line for each method or difference.

    Args:
        records: accuracies of one question; others are ignored.
        blind: whether they are those without the image.
        asked: what the choices are between.
        column: what stands above the accuracies of one question by several scores, such as the score.
    """
    records = [record for record in records if record["seed"] is None]
    caption = f"{asked} [95 % interval over patients]"
    if blind:
        caption = "the same without the image, that of another patient in its place: more than chance is a leak"
    if column is not None:
        parts = ([each for each in records if bool(each["versus"]) == apart] for apart in (False, True))
        return "\n".join([caption, "\n\n".join(format_block(part, column) for part in parts if part)])
    width = max(len(method_name(record)) for record in records)
    return "\n".join([caption, *(f"{method_name(record):<{width}}  {format_cell(record)}" for record in records)])
