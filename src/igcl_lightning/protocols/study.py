"""The study of a sweep: what Optuna proposes, and the database of its trials."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from igcl_lightning.errors import IgclError
from igcl_lightning.protocols.sweep_file import EarlyTerminate, Sweep

try:
    import optuna
    from optuna.trial import TrialState
except ModuleNotFoundError:
    raise IgclError("igcl sweep needs the package optuna: pip install 'igcl-lightning[sweep]'") from None

__all__ = ["TrialState", "open_study", "optuna"]

FILE, NAME = "study.db", "sweep"
optuna.logging.set_verbosity(optuna.logging.WARNING)

DIFFER = {"command": "differs", "parameters": "differ", "metric": "differs"}


def open_study(sweep: Sweep, words: Sequence[str], out: Path, jobs: int) -> optuna.Study:
    """Return the study of a folder, new or with its earlier trials; the points of a grid are queued in it.

    Args:
        sweep: the sweep.
        words: options of `igcl fit` that all trials share.
        out: the folder.
        jobs: trials that run at once.

    Raises:
        IgclError: the trials in the folder have another command, other parameters or another metric.
    """
    study = optuna.create_study(
        storage=f"sqlite:///{out / FILE}",
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
    for point in sweep.grid if sweep.method == "grid" else ():
        study.enqueue_trial(point, skip_if_exists=True)
    return study


def _sampler(method: str, seed: int, jobs: int) -> optuna.samplers.BaseSampler:
    if method == "bayes":
        return optuna.samplers.TPESampler(seed=seed, constant_liar=jobs > 1)
    return optuna.samplers.RandomSampler(seed=seed)


def _pruner(early: EarlyTerminate | None) -> optuna.pruners.BasePruner:
    """Return W&B's hyperband, which is successive halving without waiting for other trials."""
    if early is None:
        return optuna.pruners.NopPruner()
    return optuna.pruners.SuccessiveHalvingPruner(min_resource=early.first, reduction_factor=early.eta)
