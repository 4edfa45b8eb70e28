"""Scores as answers and as probabilities: thresholds and temperatures from validation rows, statistics on others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from igcl_lightning.evaluation.predictions import Run
from igcl_lightning.evaluation.results import MEAN_LABEL, Record, summarise
from igcl_lightning.evaluation.tables import aligned, format_value, method_name, setting_name
from igcl_lightning.metrics.calibration import (
    calibration_error,
    choose_temperature,
    probabilities,
    squared_errors,
)
from igcl_lightning.metrics.influence import (
    Estimate,
    average_precision_estimate,
    jackknife_estimate,
    mean_estimate,
)
from igcl_lightning.metrics.operating import CLASSES, OPERATING, SCALE, choose_threshold, patient_counts

VALID = "valid"
BRIER, ECE, PRECISION = "brier", "ece", "average_precision"
TITLES = {
    PRECISION: "AP",
    **dict(zip(OPERATING, ("sensitivity", "specificity", "F1", "MCC"), strict=True)),
    BRIER: "Brier",
    ECE: "ECE",
}
"""Metrics in the order of the table, and what each is called there."""

Floats = NDArray[np.float64]
Choice = Callable[[Floats, Floats], float]


def summarise_decisions(
    predictions: pd.DataFrame,
    splits: Sequence[str],
    *,
    versus: Sequence[tuple[str, str]] = (),
    **about: Any,
) -> list[Record]:
    """Return statistics of answers and probabilities of the largest setting, means over seeds, with differences.

    Thresholds are those of the highest sensitivity + specificity on validation rows, and temperatures those of the
    highest likelihood there, for each run and label; labels without both classes there are left out. The metrics are
    `TITLES`; the Brier score and the calibration error (`ece`, without interval) are after scaling by temperature.

    Args:
        predictions: columns as in `predictions.SCHEMA`, with logits; those of validation rows are chosen on.
        splits: splits whose rows are evaluated.
        versus: pairs (method, other) for `method - other`.
        about: further arguments of `results.summarise`: protocol, store, group.

    Raises:
        IgclError: as `results.summarise` does.
    """
    frame = at_largest_setting(predictions)
    asked = frame[frame["split"].isin(splits)]
    versus = [pair for pair in versus if set(pair) <= set(asked["method"])]
    records = summarise(asked, versus=versus, statistic=average_precision_estimate, metric=PRECISION, **about)
    said = with_choices(frame, splits, lambda score, target: choose_threshold(score, target))
    if len(said):
        versus = [pair for pair in versus if set(pair) <= set(said["method"])]
        said["score"] = (said["score"] >= said.pop("chosen")).astype(float)
        for name in OPERATING:
            options: dict[str, Any] = {"scale": SCALE.get(name, "unit"), "classes": CLASSES.get(name, (0, 1))}
            statistic = partial(answer_estimate, name)
            records += summarise(said, versus=versus, statistic=statistic, metric=name, **options, **about)
        scaled = with_choices(frame, splits, choose_temperature)
        scaled["score"] = probabilities(scaled["score"], scaled.pop("chosen").to_numpy())
        records += summarise(scaled, versus=versus, statistic=_brier, metric=BRIER, **about)
        records += summarise(scaled, statistic=_ece, metric=ECE, **about)
    return [record for record in records if record["seed"] is None]


def at_largest_setting(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the predictions of the largest fraction, or the most shots, that there are."""
    for name in ("fraction", "shots"):
        if predictions[name].notna().any():
            predictions = predictions[predictions[name] == predictions[name].max()]
    return predictions


def with_choices(predictions: pd.DataFrame, splits: Sequence[str], choice: Choice) -> pd.DataFrame:
    """Return the known rows of some splits with the column `chosen`: what a choice on validation rows gives.

    A run and label without both classes on validation rows is left out.

    Args:
        predictions: columns as in `predictions.SCHEMA`.
        splits: the splits.
        choice: maps the scores and targets [N] of a run and label on validation rows to what is chosen.
    """
    known = predictions.dropna(subset="target")
    keys = [*Run._fields, "label"]
    chosen = [
        {**dict(zip(keys, key, strict=True)), "chosen": choice(rows["score"].to_numpy(), rows["target"].to_numpy())}
        for key, rows in known[known["split"] == VALID].groupby(keys, sort=False, dropna=False)
        if rows["target"].nunique() == 2
    ]
    columns = pd.DataFrame(chosen, columns=[*keys, "chosen"]).astype({name: known[name].dtype for name in keys})
    return known[known["split"].isin(splits)].merge(columns, on=keys)


def answer_estimate(name: str, score: Floats, target: Floats, patient: NDArray[np.intp], patients: int) -> Estimate:
    """Return a statistic of `OPERATING` with influences, [1 + P]; scores [N] are answers, 1 for present."""
    return jackknife_estimate(OPERATING[name], patient_counts(score == 1, target, patient, patients))


def _brier(score: Floats, target: Floats, patient: NDArray[np.intp], patients: int) -> Estimate:
    return mean_estimate(squared_errors(score, target), patient, patients)


def _ece(score: Floats, target: Floats, patient: NDArray[np.intp], patients: int) -> Estimate:
    return np.append(calibration_error(score, target), np.full(patients, np.nan))


def format_decisions(records: Sequence[Record], split: str = "test") -> str:
    """Return the means over labels as plain text, methods below one another, without intervals; "" without any."""
    rows = decision_rows(records, split)
    if len(rows) < 2:
        return ""
    setting = setting_name(next(_means(records, split)))
    caption = f"means over labels{setting and f', {setting}'}; thresholds and temperatures from validation rows"
    return f"{caption}\n\n{aligned(rows)}"


def decision_rows(
    records: Sequence[Record], split: str = "test", cell: Callable[[Record], str] = format_value
) -> list[list[str]]:
    """Return a row for each method and a column for each of `TITLES` that there is, titles first."""
    shown = list(_means(records, split))
    names = [name for name in TITLES if any(record["metric"] == name for record in shown)]
    cells: dict[str, dict[str, str]] = {}
    for record in shown:
        cells.setdefault(method_name(record), {})[record["metric"]] = cell(record)
    rows = [[method, *(row.get(name, "") for name in names)] for method, row in cells.items()]
    return [["method", *(TITLES[name] for name in names)], *rows]


def _means(records: Sequence[Record], split: str) -> Iterator[Record]:
    wanted: Mapping[str, Any] = {"split": split, "label": MEAN_LABEL, "seed": None, "versus": None, "group": None}
    for record in records:
        if record["metric"] in TITLES and wanted.items() <= record.items():
            yield record
