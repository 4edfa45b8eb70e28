"""Accuracy of choosing an image's own report among two of one patient, with intervals over patients.

The two reports of the phantom's hard negatives use the same words for different places and differ in structure only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from igcl_lightning.evaluation.predictions import Run
from igcl_lightning.evaluation.results import Record, format_cell, interval, make_record, method_name
from igcl_lightning.metrics.clinical import patient_bootstrap_weights

METRIC = "within_patient_accuracy"


class Choices(NamedTuple):
    """Numbers of correct choices and of choices of one method, by image, each int64 [N]."""

    patient: NDArray[np.int64]
    right: NDArray[np.int64]
    asked: NDArray[np.int64]


def summarise_choices(
    choices: Mapping[str, Choices],
    *,
    versus: Sequence[tuple[str, str]] = (),
    resamples: int = 1000,
    seed: int = 0,
    **about: str,
) -> list[Record]:
    """Return the accuracy of each method, and of pairs (method, other) the difference, with 95 % percentile intervals.

    All methods chose for the same images in the same order. See `results.summarise` for the other arguments.
    """
    patient = next(iter(choices.values())).patient
    weights = np.vstack([np.ones((1, len(patient))), patient_bootstrap_weights(patient, resamples, seed)])
    accuracy = {name: (weights @ each.right) / (weights @ each.asked) for name, each in choices.items()}
    lines: list[tuple[str, str | None, NDArray[np.float64]]] = [(name, None, drawn) for name, drawn in accuracy.items()]
    lines += [(method, other, accuracy[method] - accuracy[other]) for method, other in versus]
    return [
        make_record(
            Run(method, None, None, None),
            values[0],
            interval(values[1:]),
            n=int(choices[method].asked.sum()),
            versus=other,
            metric=METRIC,
            **about,
        )
        for method, other, values in lines
    ]


def format_choices(records: Sequence[Record]) -> str:
    """Return the accuracies as plain text, one line for each method or difference."""
    caption = "right report among two of one patient, chance 0.5 [95 % interval over patients]"
    width = max(len(method_name(record)) for record in records)
    return "\n".join([caption, *(f"{method_name(record):<{width}}  {format_cell(record)}" for record in records)])
