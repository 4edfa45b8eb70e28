"""Accuracy of choosing an image's own report among two of one patient, with intervals over patients.

The two reports of the phantom's hard negatives have the same words in other places: only structure tells them apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from igcl_lightning.evaluation.predictions import Run
from igcl_lightning.evaluation.results import Record, Subject, format_cell, interval, make_record, method_name
from igcl_lightning.metrics.clinical import patient_bootstrap_weights

METRIC = "within_patient_accuracy"


class Choices(NamedTuple):
    """Choices of one method, by image.

    Attributes:
        patient: [N].
        right: number of right choices, int64 [N].
        asked: number of choices, int64 [N].
    """

    patient: NDArray[np.int64]
    right: NDArray[np.int64]
    asked: NDArray[np.int64]


def summarise_choices(
    choices: Mapping[str, Choices],
    *,
    versus: Sequence[tuple[str, str]] = (),
    protocol: str,
    store: str,
    split: str,
    resamples: int = 1000,
    seed: int = 0,
) -> list[Record]:
    """Return the accuracy of each method, and paired differences, with 95 % percentile intervals.

    Args:
        choices: by method; all methods chose for the same images in the same order.
        versus: pairs (method, other) to report `method - other` of.
        protocol: name of the protocol, for the records.
        store: name of the store, for the records.
        split: name of the split, for the records.
        resamples: number of bootstrap resamples of the patients.
        seed: seed of the bootstrap.
    """
    subject = Subject(protocol, store, split, METRIC)
    patient = next(iter(choices.values())).patient
    weights = np.vstack([np.ones((1, len(patient))), patient_bootstrap_weights(patient, resamples, seed)])
    accuracy = {name: (weights @ each.right) / (weights @ each.asked) for name, each in choices.items()}
    lines: list[tuple[str, str | None, NDArray[np.float64]]] = [(name, None, drawn) for name, drawn in accuracy.items()]
    lines += [(method, other, accuracy[method] - accuracy[other]) for method, other in versus]
    return [
        make_record(
            Run(method, None, None, None),
            subject,
            values[0],
            interval(values[1:]),
            int(choices[method].asked.sum()),
            versus=other,
        )
        for method, other, values in lines
    ]


def format_choices(records: Sequence[Record]) -> str:
    """Return the accuracies as plain text, one line for each method or difference."""
    caption = "right report among two of one patient, chance 0.5 [95 % interval over patients]"
    width = max(len(method_name(record)) for record in records)
    return "\n".join([caption, *(f"{method_name(record):<{width}}  {format_cell(record)}" for record in records)])
