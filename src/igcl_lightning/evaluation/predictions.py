"""`predictions.parquet`: all scores that an evaluation uses, one line per run, row and label."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from igcl_lightning.atomic import replacing
from igcl_lightning.errors import IgclError

SCHEMA = pa.schema(
    [
        pa.field("method", pa.string(), nullable=False),
        pa.field("fraction", pa.float64()),  # of the training labels; null if not applicable
        pa.field("shots", pa.int64()),  # positives per label; null if not applicable
        pa.field("row", pa.string(), nullable=False),
        pa.field("study", pa.string(), nullable=False),
        pa.field("patient", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("target", pa.float64()),  # 1 present, 0 absent, null not known
        pa.field("score", pa.float64(), nullable=False),  # higher means more likely present
        pa.field("seed", pa.int64(), nullable=False),
    ]
)

IDS = ["row", "study", "patient", "split"]
"""Columns of all files that say which row of the store a line is about."""

DECIMALS = 5
"""Decimals of the probabilities in `predictions.csv`."""


class Run(NamedTuple):
    """Identity of a training run; a setting is a run with seed None."""

    method: str
    fraction: float | None
    shots: int | None
    seed: int | None


@dataclass(frozen=True, slots=True, eq=False)
class ScoreTable:
    """Predictions as arrays: L labels of N rows, the same for every run.

    `target` is 1, 0 or NaN for unknown, [L, N]. The scores [L, N] of a run are NaN only where the target is unknown, or
    throughout a label that the run does not score.
    """

    labels: list[str]
    patients: NDArray[np.object_]
    target: NDArray[np.float64]
    scores: dict[Run, NDArray[np.float64]]


def write_predictions(frame: pd.DataFrame, path: Path) -> None:
    """Check `frame` (see `checked`) and write it atomically as Parquet with `SCHEMA`."""
    table = pa.Table.from_pandas(checked(frame, str(path)), schema=SCHEMA, preserve_index=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        pq.write_table(table, temporary)


def write_probabilities(frame: pd.DataFrame, path: Path) -> None:
    """Write the ids and the probability of each label, a line per row, atomically as CSV for spreadsheets."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        frame.to_csv(temporary, index=False, float_format=f"%.{DECIMALS}f", encoding="utf-8")


def checked(frame: pd.DataFrame, source: str) -> pd.DataFrame:
    """Return `frame` with the columns and types of `SCHEMA`, in its order; `source` names it in errors.

    Raises:
        IgclError: a column is missing, unknown or of another type, a required value is missing, a target is not 0, 1 or
            null, a score is not finite, or a run scores one row and label twice.
    """
    missing = [name for name in SCHEMA.names if name not in frame.columns]
    unknown = [str(name) for name in frame.columns if name not in SCHEMA.names]
    if missing or unknown:
        raise IgclError(f"{source}: missing columns {missing}, unknown columns {unknown}; expected {SCHEMA.names}")
    typed = _typed(frame, source)
    faults = {
        "target is not 0, 1 or null": ~(typed["target"].isin([0.0, 1.0]) | typed["target"].isna()),
        "score is not finite": ~typed["score"].abs().lt(float("inf")),
        "a run scores this row and label twice": typed.duplicated([*Run._fields, "row", "label"]),
    }
    for fault, where in faults.items():
        if where.any():
            line = typed[where].iloc[0]
            raise IgclError(
                f"{source}: {fault} ({where.sum()} times, first: method {line['method']}, seed {line['seed']}, "
                f"row {line['row']}, label {line['label']})"
            )
    return typed


def _typed(frame: pd.DataFrame, source: str) -> pd.DataFrame:
    columns = {}
    for field in SCHEMA:
        try:
            column = pa.Array.from_pandas(frame[field.name], type=field.type)
        except pa.ArrowException as error:
            raise IgclError(f"{source}: column {field.name!r} is not {field.type}: {error}") from error
        if column.null_count and not field.nullable:
            raise IgclError(f"{source}: column {field.name!r} has {column.null_count} missing values")
        columns[field.name] = column.to_pandas()
    return pd.DataFrame(columns)


def arranged_by_split(predictions: pd.DataFrame) -> dict[str, ScoreTable]:
    """Return checked predictions as arrays by split (see `arranged`), in the order of first occurrence.

    Raises:
        IgclError: a row is in two splits, or runs disagree within a split.
    """
    splits = predictions[["row", "split"]].drop_duplicates()
    twice = splits[splits.duplicated("row")]
    if len(twice):
        raise IgclError(f"predictions: row {twice['row'].iloc[0]} is in more than one split")
    parts = predictions.groupby("split", sort=False)
    return {str(split): arranged(part.reset_index(drop=True)) for split, part in parts}


def arranged(predictions: pd.DataFrame) -> ScoreTable:
    """Return checked predictions of one split as arrays, so that every comparison between runs is paired.

    A run may omit a whole label, such as one without positives to train on, but not single rows of a label.

    Raises:
        IgclError: runs disagree on a target or a patient, or one lacks rows that others score.
    """
    row_at, rows = pd.factorize(predictions["row"])
    label_at, labels = pd.factorize(predictions["label"])
    target = np.full((len(labels), len(rows)), np.nan)
    target[label_at, row_at] = predictions["target"]
    patients = np.empty(len(rows), dtype=object)
    patients[row_at] = predictions["patient"]
    other_target = ~np.isclose(target[label_at, row_at], predictions["target"], equal_nan=True)
    for what, differs in {"target": other_target, "patient": patients[row_at] != predictions["patient"]}.items():
        if differs.any():
            line = predictions[differs].iloc[0]
            raise IgclError(f"predictions: runs differ in the {what} of row {line['row']}, label {line['label']}")

    scores = {}
    for _, lines in predictions.groupby(list(Run._fields), dropna=False, sort=False):
        run = _run_of(lines.iloc[0])
        scores[run] = np.full_like(target, np.nan)
        scores[run][label_at[lines.index], row_at[lines.index]] = lines["score"]
        scored = ~np.isnan(scores[run])
        lacking = np.argwhere(scored.any(axis=1, keepdims=True) & ~scored & ~np.isnan(target))
        if len(lacking):
            label, row = lacking[0]
            raise IgclError(
                f"predictions: {run} lacks {len(lacking)} scores that other runs have (first: row {rows[row]}, label "
                f"{labels[label]}); evaluate every method on the same rows"
            )
    return ScoreTable(list(labels), patients, target, scores)


def _run_of(line: pd.Series[Any]) -> Run:
    fraction, shots = (None if pd.isna(line[name]) else line[name] for name in ("fraction", "shots"))
    return Run(line["method"], fraction and float(fraction), shots and int(shots), int(line["seed"]))
