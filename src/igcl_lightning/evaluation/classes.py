"""Classification into one of several classes, as of a 5x200 set: accuracy and F1, with intervals over patients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.predictions import Run, ScoreTable, arranged_by_split, checked
from igcl_lightning.evaluation.results import MEAN_LABEL, Record, compare_runs
from igcl_lightning.evaluation.tables import aligned, format_cell, method_name, setting_name
from igcl_lightning.metrics.influence import Estimate, jackknife_estimate
from igcl_lightning.metrics.operating import share

ACCURACY, F1 = "accuracy", "f1"

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]


def summarise_classes(
    predictions: pd.DataFrame,
    classes: Mapping[str, str],
    *,
    versus: Sequence[tuple[str, str]] = (),
    protocol: str,
    store: str,
) -> list[Record]:
    """Return accuracy and F1, by class and as their mean, with 95 % intervals over patients.

    The answer of a run is the class with the highest score, and a wrong one if its own class shares that score: ties
    count against the model. The F1 of a class is undefined where no row has the class; the mean is over the classes
    that rows of the split have. Runs that differ in their seed are averaged, not pooled; for differences see
    `results.compare_runs`.

    Args:
        predictions: columns as in `predictions.SCHEMA`, scores of different labels in one unit, such as logits.
        classes: class of each row by its id, one of the labels; rows that it lacks are left out.
        versus: pairs (method, other) for `method - other`.
        protocol: name of the evaluation, for the records.
        store: path of the store, for the records.

    Raises:
        IgclError: the predictions break their contract, no row has a class, there are fewer than two classes, or a run
            lacks the score of a class.
    """
    names = sorted(set(classes.values()))
    if len(names) < 2:
        raise IgclError(f"classes: a choice needs two of them, and there is {', '.join(names) or 'none'}")
    frame = checked(predictions, "predictions")
    frame = frame[frame["row"].isin(list(classes))].reset_index(drop=True)
    if frame.empty:
        raise IgclError(f"predictions: no row is of one of the classes {', '.join(names)}")
    records: list[Record] = []
    for split, table in arranged_by_split(frame).items():
        own = np.array([classes[row] for row in frame.loc[frame["split"] == split, "row"].unique()], dtype=object)
        about = {"protocol": protocol, "store": store, "split": split}
        records += _records(table, own, names, versus, about)
    return records


def _records(
    table: ScoreTable,
    own: NDArray[np.object_],
    names: Sequence[str],
    versus: Sequence[tuple[str, str]],
    about: Mapping[str, str],
) -> Iterator[Record]:
    """Yield the records of a split, whose rows have the classes `own` [N]."""
    is_own = own[:, None] == np.array(names, dtype=object)
    patients, patient = np.unique(table.patients, return_inverse=True)
    answers = {run: _answers(run, table, is_own, names) for run in table.scores}
    sums = {run: _sums(is_own, answer, patient) for run, answer in answers.items()}
    sizes = [len(np.unique(patient[has])) for has in is_own.T]
    lacking = [size == 0 for size in sizes]
    fewest = min((size for size in sizes if size), default=0)
    asked: list[tuple[str, str, Statistic, int]] = [
        (ACCURACY, MEAN_LABEL, _accuracy, len(patients)),
        (F1, MEAN_LABEL, partial(_mean_f1, np.array(lacking)), fewest),
        *((F1, name, partial(_f1, number), sizes[number]) for number, name in enumerate(names)),
    ]
    for metric, label, statistic, smallest in asked:
        by_run: dict[Run, Estimate] = {run: jackknife_estimate(statistic, each) for run, each in sums.items()}
        positives = None if label == MEAN_LABEL else int((own == label).sum())
        fields: dict[str, Any] = {"label": label, "metric": metric, "smallest": smallest, **about}
        fields |= {"n": len(own), "positives": positives, "patients": len(patients)}
        yield from compare_runs(by_run, versus, common_seeds=False, **fields)


def _answers(run: Run, table: ScoreTable, is_own: NDArray[np.bool_], names: Sequence[str]) -> NDArray[np.bool_]:
    """Return the class that a run chooses for each row, one of C, bool [N, C]."""
    score = np.full(is_own.shape, np.nan)
    for number, name in enumerate(names):
        if name in table.labels:
            score[:, number] = table.scores[run][table.labels.index(name)]
    lacking = np.isnan(score)
    if lacking.any():
        without = ", ".join(name for name, some in zip(names, lacking.any(axis=0), strict=True) if some)
        raise IgclError(f"{run.method}, seed {run.seed}: lacks scores of {without} for rows that have a class")
    others = np.where(is_own, -np.inf, score)
    right = score[is_own] > others.max(axis=1)
    chosen: NDArray[np.bool_] = np.arange(len(names)) == others.argmax(axis=1)[:, None]
    return np.where(right[:, None], is_own, chosen)


def _sums(is_own: NDArray[np.bool_], answer: NDArray[np.bool_], patient: NDArray[np.intp]) -> Floats:
    """Return by patient the rows of each of C classes that are right, that there are, and that are said, [P, 3C]."""
    rows = np.hstack([is_own & answer, is_own, answer]).astype(float)
    return np.stack([np.bincount(patient, column) for column in rows.T], axis=1)


def _accuracy(sums: Floats) -> Floats:
    right, has, _ = np.split(sums, 3, axis=-1)
    return share(right.sum(axis=-1), has.sum(axis=-1))


def _f1(number: int, sums: Floats) -> Floats:
    right, has, said = (each[..., number] for each in np.split(sums, 3, axis=-1))
    return np.where(has > 0, share(2 * right, has + said), np.nan)


def _mean_f1(lacking: NDArray[np.bool_], sums: Floats) -> Floats:
    """Return the mean F1 of the classes that rows have; without all rows of one, it is another quantity, so NaN."""
    f1 = np.stack([_f1(int(number), sums) for number in np.flatnonzero(~lacking)], axis=-1)
    mean: Floats = f1.mean(axis=-1)
    return mean


def format_classes(records: Sequence[Record], split: str = "test") -> str:
    """Return accuracy and mean F1 over seeds as plain text, then the F1 of each class; "" without such records."""
    kept = [each for each in records if (each["split"], each["seed"]) == (split, None)]
    main = [each for each in kept if each["metric"] in (ACCURACY, F1) and each["label"] == MEAN_LABEL]
    by_class = [each for each in kept if each["metric"] == F1 and each["label"] != MEAN_LABEL]
    names = list(dict.fromkeys(each["label"] for each in by_class))
    if not main:
        return ""
    counts = f"{main[0]['n']:,} {split} rows of {main[0]['patients']:,} patients"
    caption = f"one of {len(names)} classes: {counts} [95 % interval over patients]"
    whole = _table(["method", "accuracy", "mean F1"], main, format_cell)
    singly = _table(["F1", *names], by_class, lambda record: format_cell(record).partition(" ")[0])
    return f"{caption}\n\n{whole}\n\n{singly}"


def _table(head: list[str], records: Sequence[Record], cell: Callable[[Record], str]) -> str:
    rows: dict[str, list[str]] = {}
    for each in records:
        name = ", ".join(filter(None, (method_name(each), setting_name(each))))
        rows.setdefault(name, []).append(cell(each))
    return aligned([head, *([name, *cells] for name, cells in rows.items())])
