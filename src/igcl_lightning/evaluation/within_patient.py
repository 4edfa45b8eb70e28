"""Which of two reports of one patient belongs to an image: accuracy with intervals over patients.

On the phantom's hard negatives both reports hold the same words at other places, so that only structure tells them
apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from igcl_lightning.evaluation.results import MEAN_LABEL, Record, format_cell, interval, method_name
from igcl_lightning.metrics.clinical import patient_bootstrap_weights

METRIC = "within_patient_accuracy"


class Choices(NamedTuple):
    """Answers of one method, by image.

    Attributes:
        patient: [N].
        right: questions answered right, int64 [N].
        asked: questions asked, int64 [N].
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
        choices: by method; the methods were asked about the same images in the same order.
        versus: pairs (method, other) of which `method - other` is wanted.
        protocol: goes into the records, as do `store` and `split`.
        store: what was evaluated.
        split: which part of it.
        resamples: of the bootstrap over patients.
        seed: of the bootstrap.
    """
    patient = next(iter(choices.values())).patient
    weights = np.vstack([np.ones((1, len(patient))), patient_bootstrap_weights(patient, resamples, seed)])
    accuracy = {name: (weights @ each.right) / (weights @ each.asked) for name, each in choices.items()}
    differences = {(one, other): accuracy[one] - accuracy[other] for one, other in versus}

    def record(method: str, other: str | None, values: NDArray[np.float64]) -> Record:
        low, high = interval(values[1:])
        return Record(
            method=method,
            versus=other,
            protocol=protocol,
            store=store,
            split=split,
            group=None,
            label=MEAN_LABEL,
            fraction=None,
            shots=None,
            seed=None,
            metric=METRIC,
            threshold=None,
            value=float(values[0]),
            ci_low=low,
            ci_high=high,
            n=int(choices[method].asked.sum()),
            positives=None,
        )

    singles = (record(name, None, values) for name, values in accuracy.items())
    return list(chain(singles, (record(one, other, values) for (one, other), values in differences.items())))


def format_choices(records: Sequence[Record]) -> str:
    """Return the accuracies as plain text, methods and differences down."""
    caption = "right report among two of one patient, chance 0.5 [95 % interval over patients]"
    width = max(len(method_name(record)) for record in records)
    return "\n".join([caption, *(f"{method_name(record):<{width}}  {format_cell(record)}" for record in records)])
