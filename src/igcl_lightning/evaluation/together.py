"""The draws of a model taken together: their scores pooled in one curve, or their median probability as an ensemble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from igcl_lightning.evaluation.results import MEAN_LABEL, Record, summarise
from igcl_lightning.evaluation.tables import format_block

SINGLE, POOLED, ENSEMBLE = "auroc", "auroc_pooled", "auroc_ensemble"

WAYS: Mapping[str, tuple[str, str]] = {
    SINGLE: ("single", "mean of the AUROCs of single draws"),
    POOLED: ("averaged", "one AUROC of the scores of all draws, as the authors of IGCL average; no model has it"),
    ENSEMBLE: ("ensembled", "AUROC of the median probability of the draws"),
}
"""Word and meaning of the AUROCs of several draws, by metric in `results.json`."""


def summarise_together(
    predictions: pd.DataFrame, *, apart: int, versus: Sequence[tuple[str, str]] = (), protocol: str, store: str
) -> list[Record]:
    """Return the AUROC of the draws of each model taken together, with intervals over patients, averaged over models.

    Args:
        predictions: columns as in `predictions.SCHEMA`; all models of a setting have the same number of draws.
        apart: distance of the seeds of two models' runs.
        versus: pairs (method, other) for `method - other`.
        protocol: name of the evaluation, for the records.
        store: path of the store, for the records.

    Raises:
        IgclError: as `summarise`.
    """
    model = predictions["seed"] // apart * apart
    about: dict[str, Any] = {"versus": versus, "protocol": protocol, "store": store}
    pooled = summarise(_pooled(predictions, model), metric=POOLED, **about)
    draws = (predictions["seed"] - model).nunique()
    for record in pooled:  # a row has a line for each draw
        record["n"] //= draws
        record["positives"] = None if record["positives"] is None else record["positives"] // draws
    ensembled = summarise(_ensembled(predictions, model), metric=ENSEMBLE, **about)
    return [record for record in (*pooled, *ensembled) if record["seed"] is None]


def _pooled(predictions: pd.DataFrame, model: pd.Series[int]) -> pd.DataFrame:
    """Return predictions in which a row has a line for each draw, of one run."""
    draw = (predictions["seed"] - model).astype(str)
    return predictions.assign(row=predictions["row"] + " draw " + draw, seed=model)


def _ensembled(predictions: pd.DataFrame, model: pd.Series[int]) -> pd.DataFrame:
    """Return predictions of one run for each model, whose score is the median probability of its draws."""
    probability = predictions.assign(seed=model, score=expit(predictions["score"].to_numpy(dtype=np.float64)))
    same = [name for name in probability.columns if name != "score"]
    return probability.groupby(same, dropna=False, sort=False)["score"].median().reset_index()


def format_together(records: Sequence[Record], split: str = "test") -> str:
    """Return the means over labels of single draws, and of draws taken together, as plain text."""
    wanted = (split, MEAN_LABEL, None, None)
    means = [each for each in records if (each["split"], each["label"], each["seed"], each["versus"]) == wanted]
    shown = [
        each | {"method": f"{method}, {word}"}
        for method in dict.fromkeys(each["method"] for each in means)
        for metric, (word, _) in WAYS.items()
        for each in means
        if (each["method"], each["metric"]) == (method, metric)
    ]
    meanings = [f"{word}: {meaning}" for word, meaning in WAYS.values()]
    title = "the draws of a model together, mean AUROC over labels [95 % interval over patients]"
    return "\n".join([title, *meanings, format_block(shown)])
