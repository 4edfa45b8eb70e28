"""How many labels a method saves: the share of them that another method needs to do as well."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.predictions import Run, arranged, checked
from igcl_lightning.evaluation.results import MEAN_LABEL, Record, interval, mean_over_seeds, resampled
from igcl_lightning.metrics.clinical import auroc


@dataclass(frozen=True, slots=True)
class LabelSavings:
    """`method` at `fraction` does as well as `versus` at `factor * fraction` of the training labels.

    The factor can be told between `lowest` and `highest`, which the fractions of `versus` span. One beyond is held at
    that limit: nothing is extrapolated.

    Attributes:
        method: the method whose labels are counted.
        versus: the method it is compared with.
        split: which rows both were tested on.
        fraction: labelled share of the training rows that `method` has.
        factor: labels of `versus` by labels of `method` at equal mean AUROC.
        bound: "at_least" or "at_most" where the factor is held at a limit, None otherwise.
        ci_low: lower end of the 95 % interval over patients; None where too few resamples hold both classes.
        ci_high: upper end.
        lowest: smallest fraction of `versus`, divided by `fraction`.
        highest: largest fraction of `versus`, divided by `fraction`.
        censored_share: share of the resamples whose factor lies beyond these limits.
        n: rows with a known label.
    """

    method: str
    versus: str
    split: str
    fraction: float
    factor: float
    bound: str | None
    ci_low: float | None
    ci_high: float | None
    lowest: float
    highest: float
    censored_share: float
    n: int


def label_savings(
    predictions: pd.DataFrame,
    method: str,
    versus: str,
    fraction: float,
    resamples: int = 1000,
    seed: int = 0,
    split: str = "test",
) -> LabelSavings:
    """Return by what factor `versus` needs more labels than `method` has at `fraction`, for the same mean AUROC.

    The macro mean over labels, averaged over seeds, of `versus` is made monotone in the fraction by its running
    maximum, and interpolated linearly in the logarithm of the fraction. Each resample of the patients is used for both
    methods, and gives one factor. The interval covers which patients were tested, not which rows were labelled.

    Args:
        predictions: columns as in `predictions.SCHEMA`; runs of other methods, and few-shot runs, are left aside.
        method: the method whose labels are counted.
        versus: the method it is compared with, at two fractions or more.
        fraction: labelled share of the training rows that `method` has.
        resamples: of the bootstrap over patients.
        seed: of the bootstrap.
        split: which rows the two are compared on.

    Raises:
        IgclError: the predictions break their contract, there are none of `method` at `fraction`, `versus` has fewer
            than two fractions, or no label has both classes.
    """
    tested = checked(predictions, "predictions")
    table = arranged(_compared(tested[tested["split"] == split], method, versus, fraction, split))
    # The last row is the mean over labels.
    means = {run: values[-1] for run, values in mean_over_seeds(resampled(table, auroc, resamples, seed)).items()}
    target = means.pop(Run(method, fraction, None, None))
    curve = sorted((run.fraction, values) for run, values in means.items() if run.fraction is not None)
    fractions = np.array([at for at, _ in curve])
    factor, beyond = _needed(target, np.stack([values for _, values in curve]), fractions / fraction)
    if np.isnan(factor[0]):
        raise IgclError(f"label savings of {method} against {versus}: no label that every run scores has both classes")
    low, high = interval(factor[1:])
    return LabelSavings(
        method,
        versus,
        split,
        fraction,
        float(factor[0]),
        {1: "at_least", -1: "at_most", 0: None}[int(beyond[0])],
        low,
        high,
        lowest=float(fractions[0] / fraction),
        highest=float(fractions[-1] / fraction),
        censored_share=float((beyond[1:] != 0).mean()),
        n=int((~np.isnan(table.target)).any(axis=0).sum()),
    )


def _compared(predictions: pd.DataFrame, method: str, versus: str, fraction: float, split: str) -> pd.DataFrame:
    """Keep `method` at `fraction` and `versus` at its fractions."""
    ours = predictions[(predictions["method"] == method) & (predictions["fraction"] == fraction)]
    theirs = predictions[(predictions["method"] == versus) & predictions["fraction"].notna()]
    if method == versus:
        raise IgclError(f"label savings: {method} cannot be compared with itself")
    if ours.empty:
        raise IgclError(f"label savings: no predictions of {method} at fraction {fraction:g} in split {split}")
    if theirs["fraction"].nunique() < 2:
        raise IgclError(f"label savings: {versus} needs predictions at two fractions or more to interpolate between")
    return pd.concat([ours, theirs], ignore_index=True)


def _needed(
    target: NDArray[np.float64], curve: NDArray[np.float64], place: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Where a curve first reaches a target, and where it does not within its ends.

    Args:
        target: [R].
        curve: [K, R], values at `place`; its running maximum is used.
        place: [K], ascending and positive; interpolation is linear in its logarithm.

    Returns:
        place [R], held at the ends and NaN where target or curve are; and int64 [R], 1 where the target lies above the
        whole curve, -1 where it lies below.
    """
    curve = np.maximum.accumulate(curve, axis=0)
    column = np.arange(len(target))
    first = (curve < target).sum(axis=0)
    right = first.clip(1, len(place) - 1)
    below, above = curve[right - 1, column], curve[right, column]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(above > below, (target - below) / (above - below), target > below).clip(0, 1)
    reached = place[right - 1] * (place[right] / place[right - 1]) ** share
    undefined = np.isnan(target) | np.isnan(curve).any(axis=0)
    return np.where(undefined, np.nan, reached), (target > curve[-1]).astype(np.int64) - (target < curve[0])


def savings_record(savings: LabelSavings, *, protocol: str, store: str) -> Record:
    """Return a line of `results.json`.

    The metric is "label_savings", or "label_savings_at_least" and "label_savings_at_most" where the factor is held at
    the limit of what the fractions of `versus` show. The ends of the interval are held there too.
    """
    return Record(
        method=savings.method,
        versus=savings.versus,
        protocol=protocol,
        store=store,
        split=savings.split,
        group=None,
        label=MEAN_LABEL,
        fraction=savings.fraction,
        shots=None,
        seed=None,
        metric="label_savings" if savings.bound is None else f"label_savings_{savings.bound}",
        threshold=None,
        value=savings.factor,
        ci_low=savings.ci_low,
        ci_high=savings.ci_high,
        n=savings.n,
        positives=None,
    )


def savings_line(savings: LabelSavings) -> str:
    """Return what a person reads, such as "igcl at 1 % equals simclr at 7.3 % of the labels: 7.3x fewer [4.1, 12]"."""
    verb = {None: "equals", "at_least": "is above", "at_most": "is below"}[savings.bound]
    limit = {None: "", "at_least": "more than ", "at_most": "less than "}[savings.bound]
    gain = f"{_short(savings.factor)}x fewer" if savings.factor > 1 else f"{_short(savings.factor)}x, no saving"
    return (
        f"{savings.method} at {100 * savings.fraction:g} % {verb} {savings.versus} "
        f"at {_short(100 * savings.factor * savings.fraction)} % of the labels: {limit}{gain}{_shown_interval(savings)}"
    )


def _shown_interval(savings: LabelSavings) -> str:
    if savings.ci_low is None or savings.ci_high is None:
        return ""
    return f" [{_shown_end(savings, savings.ci_low)}, {_shown_end(savings, savings.ci_high)}]"


def _shown_end(savings: LabelSavings, end: float) -> str:
    above, below = math.isclose(end, savings.highest), math.isclose(end, savings.lowest)
    return f"{'>' if above else '<' if below else ''}{_short(end)}"


def _short(number: float) -> str:
    """Two significant digits, never in scientific notation below a million."""
    return f"{float(f'{number:.2g}'):g}"
