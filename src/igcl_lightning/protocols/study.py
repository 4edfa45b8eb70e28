"""The study of a sweep: what Optuna proposes, and the database of its trials."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from igcl_lightning.errors import IgclError, one_line
from igcl_lightning.protocols.sweep_file import EarlyTerminate, Sweep

try:
    import optuna
    from optuna.exceptions import StorageInternalError
    from optuna.trial import TrialState
    from sqlalchemy.exc import SQLAlchemyError
except ModuleNotFoundError:
    raise IgclError("igcl sweep needs the package optuna: pip install 'igcl-lightning[sweep]'") from None

__all__ = ["TrialState", "database", "lacking", "open_study", "optuna"]

FILE, NAME = "study.db", "sweep"
TIMEOUT = 60.0
"""Seconds to wait while another program uses the database."""

optuna.logging.set_verbosity(optuna.logging.WARNING)

DIFFER = {"command": "differs", "parameters": "differ", "metric": "differs"}


@contextmanager
def database(out: Path) -> Iterator[None]:
    """Raise an error of the database of a folder in the block as an `IgclError`."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        reason: BaseException = error
        while reason.__cause__ is not None:  # the one of SQLite; the others quote statements
            reason = reason.__cause__
        what_next = "the same command goes on when that is mended, another --out starts anew"
        raise IgclError(f"{out / FILE}: {one_line(reason)}; {what_next}") from error


def open_study(sweep: Sweep, words: Sequence[str], out: Path, jobs: int) -> optuna.Study:
    """Return the study of a folder, new or with its earlier trials.

    Args:
        sweep: the sweep.
        words: options of `igcl fit` that all trials share.
        out: the folder.
        jobs: trials that run at once.

    Raises:
        IgclError: the trials in the folder have another command, other parameters or another metric.
    """
    study = optuna.create_study(
        storage=optuna.storages.RDBStorage(
            f"sqlite:///{out / FILE}", engine_kwargs={"connect_args": {"timeout": TIMEOUT}}
        ),
        study_name=NAME,
        direction=sweep.metric.goal,
        load_if_exists=True,
        pruner=_pruner(sweep.early_terminate),
    )
    about = {
        "command": list(words),
        "parameters": json.loads(json.dumps(sweep.parameters)),
        "metric": [sweep.metric.name, sweep.metric.goal],
    }
    for name, value in about.items():
        if study.user_attrs.get(name, value) != value:
            raise IgclError(f"{out}: holds trials of a sweep whose {name} {DIFFER[name]}; choose another --out")
        study.set_user_attr(name, value)
    # Each start has a seed of its own, or a sampler would repeat its first proposals.
    study.sampler = _sampler(sweep.method, len(study.trials), jobs)
    return study


def lacking(study: optuna.Study, sweep: Sweep) -> Iterator[dict[str, Any]]:
    """Return the points of a grid that no trial has, in order; none for other sweeps."""
    if sweep.method != "grid":
        return iter(())
    trials = study.get_trials(deepcopy=False)
    known = {_text(trial.system_attrs.get("fixed_params", trial.params)) for trial in trials}
    return (point for point in sweep.grid if _text(point) not in known)


def _text(point: dict[str, Any]) -> str:
    return json.dumps(point, sort_keys=True)


def _sampler(method: str, seed: int, jobs: int) -> optuna.samplers.BaseSampler:
    if method == "bayes":
        return optuna.samplers.TPESampler(seed=seed, constant_liar=jobs > 1)
    return optuna.samplers.RandomSampler(seed=seed)


def _pruner(early: EarlyTerminate | None) -> optuna.pruners.BasePruner:
    """Return W&B's hyperband, which is successive halving without waiting for other trials."""
    if early is None:
        return optuna.pruners.NopPruner()
    return optuna.pruners.SuccessiveHalvingPruner(min_resource=early.first, reduction_factor=early.eta)
