"""Label savings of a method: how many more labels another method needs for the same result."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.intervals import FEW_PATIENTS
from igcl_lightning.evaluation.predictions import Run, ScoreTable, arranged, checked
from igcl_lightning.evaluation.results import (
    Record,
    estimated,
    make_record,
    mean_over_seeds,
    smallest_classes,
)
from igcl_lightning.evaluation.tables import FEW
from igcl_lightning.metrics.influence import Estimate, auroc_estimate

SAVINGS = "label_savings"
"""Metric of the factor, which ends in the bound if there is one."""

SIGNS = {None: "", "at_least": ">", "at_most": "<"}

DRAWS = 2000
"""Draws for an interval; the same in every call."""


@dataclass(frozen=True, slots=True)
class LabelSavings:
    """`method` at `fraction` does as well as `versus` at `factor * fraction` of the training labels.

    Nothing is extrapolated: a factor outside the range of the fractions of `versus` is clipped to it.

    Attributes:
        method, versus: names of the two methods.
        split: split of the evaluated rows.
        fraction: labelled share of the training rows of `method`.
        factor: labels of `versus` divided by labels of `method` at equal mean AUROC.
        bound: "at_least" or "at_most" if the factor is clipped, otherwise None.
        ci_low, ci_high: 95 % interval over patients; None if that of a mean AUROC is.
        lowest, highest: smallest and largest fraction of `versus`, divided by `fraction`.
        censored_share: share of draws whose factor is clipped.
        n: number of rows with a known label.
        few: whether a label of the means has few patients.
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
    few: bool = False


def label_savings(
    predictions: pd.DataFrame,
    method: str,
    versus: str,
    fraction: float,
    split: str = "test",
) -> LabelSavings:
    """Return how many times as many labels `versus` needs for the mean AUROC of `method` at `fraction`.

    The macro mean over labels of `versus`, averaged over seeds, is made monotone in the fraction by its running maximum
    and interpolated linearly in the logarithm of the fraction. The interval is that of the factors of `DRAWS` draws of
    all means together, normally distributed as their influences tell.

    `predictions` have columns as in `predictions.SCHEMA`; other methods and few-shot runs are ignored.

    Raises:
        IgclError: the predictions break their contract, there are none of `method` at `fraction`, `versus` has fewer
            than two fractions, or no label has both classes.
    """
    table = _arranged(checked(predictions, "predictions"), method, versus, fraction, split)
    return savings_in(table, method, versus, fraction, split)


def savings_in(table: ScoreTable, method: str, versus: str, fraction: float, split: str = "test") -> LabelSavings:
    """Return what `label_savings` does, of a table of the scores of `method` at `fraction` and of `versus` only."""
    # The last row is the mean over labels.
    estimates = {run: values[-1] for run, values in mean_over_seeds(estimated(table, auroc_estimate)).items()}
    means = _drawn(estimates)
    target = means.pop(Run(method, fraction, None, None))
    curve = sorted((run.fraction / fraction, values) for run, values in means.items() if run.fraction is not None)
    factors = np.array([factor for factor, _ in curve])
    factor, beyond = _reached(target, np.stack([values for _, values in curve]), factors)
    if np.isnan(factor[0]):
        raise IgclError(f"label savings of {method} against {versus}: no label that every run scores has both classes")
    bound = {1: "at_least", -1: "at_most", 0: None}[int(beyond[0])]
    limits = (float(factors[0]), float(factors[-1]), float((beyond[1:] != 0).mean()))
    drawn = factor[1:]
    low, high = (None, None) if np.isnan(drawn).any() else map(float, np.quantile(drawn, (0.025, 0.975)))
    n = int((~np.isnan(table.target)).any(axis=0).sum())
    few = any(0 < size < FEW_PATIENTS for size in smallest_classes(table))
    return LabelSavings(method, versus, split, fraction, float(factor[0]), bound, low, high, *limits, n, few)


def _drawn(estimates: Mapping[Run, Estimate]) -> dict[Run, NDArray[np.float64]]:
    """Return the values of estimates and then `DRAWS` joint draws around them, [1 + DRAWS] each."""
    patients = len(next(iter(estimates.values()))) - 1
    normal = np.random.default_rng(0).standard_normal((patients, DRAWS))
    return {run: np.append(each[0], each[0] + each[1:] @ normal) for run, each in estimates.items()}


def _arranged(predictions: pd.DataFrame, method: str, versus: str, fraction: float, split: str) -> ScoreTable:
    """Return the scores of `method` at `fraction` and of `versus` at its fractions."""
    tested = predictions[predictions["split"] == split]
    ours = tested[(tested["method"] == method) & (tested["fraction"] == fraction)]
    theirs = tested[(tested["method"] == versus) & tested["fraction"].notna()]
    if method == versus:
        raise IgclError(f"label savings: {method} cannot be compared with itself")
    if ours.empty:
        raise IgclError(f"label savings: no predictions of {method} at fraction {fraction:g} in split {split}")
    if theirs["fraction"].nunique() < 2:
        raise IgclError(f"label savings: {versus} needs predictions at two fractions or more to interpolate between")
    return arranged(pd.concat([ours, theirs], ignore_index=True))


def _reached(
    target: NDArray[np.float64], curve: NDArray[np.float64], x: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return where the running maximum of a curve [K, R] at `x` [K] first reaches a target [R].

    Interpolation is linear in the logarithm of `x`, ascending and positive.

    Returns:
        x [R], clipped to the ends of the curve, NaN where target or curve are; and int64 [R], 1 where the target lies
        above the whole curve, -1 where it lies below.
    """
    curve = np.maximum.accumulate(curve, axis=0)
    column = np.arange(len(target))
    first = (curve < target).sum(axis=0)
    right = first.clip(1, len(x) - 1)
    below, above = curve[right - 1, column], curve[right, column]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(above > below, (target - below) / (above - below), target > below).clip(0, 1)
    reached = x[right - 1] * (x[right] / x[right - 1]) ** share
    undefined = np.isnan(target) | np.isnan(curve).any(axis=0)
    return np.where(undefined, np.nan, reached), (target > curve[-1]).astype(np.int64) - (target < curve[0])


def savings_record(savings: LabelSavings, *, protocol: str, store: str, seed: int | None = None) -> Record:
    """Return a record of `results.json`; `seed` is that of the one pretraining that it is of, None for all together.

    The metric is "label_savings", or "label_savings_at_least" or "label_savings_at_most" if the factor is clipped.
    """
    metric = SAVINGS if savings.bound is None else f"{SAVINGS}_{savings.bound}"
    about = {"protocol": protocol, "store": store, "split": savings.split, "metric": metric, "versus": savings.versus}
    run = Run(savings.method, savings.fraction, None, seed)
    return make_record(run, savings.factor, (savings.ci_low, savings.ci_high), n=savings.n, few=savings.few, **about)


def savings_lines(records: Sequence[Record]) -> list[str]:
    """Return a sentence for each pair of methods with savings, and how far single pretrainings move them.

    Args:
        records: records of savings, and the AUROCs of the methods, whose shares are the limits of a factor.
    """
    saved = [each for each in records if each["metric"].startswith(SAVINGS) and each["value"] is not None]
    lines = []
    for each in [record for record in saved if record["seed"] is None]:
        single = [one for one in saved if one["seed"] is not None and _about(one) == _about(each)]
        factors = ", ".join(f"{SIGNS[_bound(one)]}{_short(one['value'] or 0.0)}" for one in single)
        moved = f"; by single pretrainings: {factors}" if len(single) > 1 else ""
        lines.append(f"{savings_line(_savings(each, records))}{moved}")
    return lines


def _savings(saved: Record, records: Sequence[Record]) -> LabelSavings:
    """Return the savings that a record is about."""
    about = (saved["versus"], saved["protocol"], saved["split"], "auroc")
    of_other = [each for each in records if (each["method"], each["protocol"], each["split"], each["metric"]) == about]
    fraction, factor = saved["fraction"] or math.nan, saved["value"] or math.nan
    factors = [each["fraction"] / fraction for each in of_other if each["fraction"] is not None] or [math.nan]
    names = (saved["method"], str(saved["versus"]), str(saved["split"]))
    ends = (saved["ci_low"], saved["ci_high"])
    return LabelSavings(
        *names,
        fraction,
        factor,
        _bound(saved),
        *ends,
        min(factors),
        max(factors),
        math.nan,
        saved["n"],
        bool(saved["few"]),
    )


def _about(record: Record) -> tuple[object, ...]:
    return record["protocol"], record["method"], record["versus"], record["split"], record["fraction"]


def _bound(saved: Record) -> str | None:
    return saved["metric"].removeprefix(SAVINGS).removeprefix("_") or None


def savings_line(savings: LabelSavings) -> str:
    """Return a sentence such as "igcl at 1 % equals simclr at 7.3 % of the labels: 7.3x fewer [4.1, 12]".

    A factor without an interval, or whose interval spans all fractions of the other method, is not stated.
    """
    interval, few = _interval_text(savings), f" {FEW}" if savings.few else ""
    if not _is_determined(savings):
        rows = f"{savings.n:,} {savings.split} rows{interval and ','}{interval}{few}"
        return f"{savings.method} at {100 * savings.fraction:g} % against {savings.versus}: not determined by {rows}"
    verb = {None: "equals", "at_least": "is above", "at_most": "is below"}[savings.bound]
    limit = {None: "", "at_least": "more than ", "at_most": "less than "}[savings.bound]
    gain = f"{_short(savings.factor)}x fewer" if savings.factor > 1 else f"{_short(savings.factor)}x, no saving"
    return (
        f"{savings.method} at {100 * savings.fraction:g} % {verb} {savings.versus} "
        f"at {_short(100 * savings.factor * savings.fraction)} % of the labels: {limit}{gain}{interval}{few}"
    )


def _is_determined(savings: LabelSavings) -> bool:
    """Return whether there is an interval, and one that does not span all fractions of the other method."""
    if savings.ci_low is None or savings.ci_high is None:
        return False
    return not (math.isclose(savings.ci_low, savings.lowest) and math.isclose(savings.ci_high, savings.highest))


def _interval_text(savings: LabelSavings) -> str:
    if savings.ci_low is None or savings.ci_high is None:
        return ""
    ends = []
    for end in (savings.ci_low, savings.ci_high):
        above, below = math.isclose(end, savings.highest), math.isclose(end, savings.lowest)
        ends.append(f"{'>' if above else '<' if below else ''}{_short(end)}")
    return f" [{', '.join(ends)}]"


def _short(number: float) -> str:
    """Return two significant digits, without scientific notation below a million."""
    return f"{float(f'{number:.2g}'):g}"
