"""One cell of a table of pretraining runs, in a process of its own: pretrain, ask for hard negatives, probe, write.

FOLDER/plan.json         what to do, written by `ablation`
FOLDER/fit/version_0/    the run folder of pretraining
FOLDER/pretrained.json   pretraining ended; its settings and seconds per epoch
FOLDER/result.json       the cell is finished
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from igcl_lightning.data.store import Store
from igcl_lightning.evaluation.predictions import ScoreTable, arranged_by_split, checked, write_predictions
from igcl_lightning.evaluation.results import estimated, mean_over_seeds
from igcl_lightning.evaluation.within_patient import Choices
from igcl_lightning.metrics.influence import auroc_estimate
from igcl_lightning.modules.base import BaseModule
from igcl_lightning.modules.contrastive import contrasts_reports
from igcl_lightning.protocols.cells import run_as_cell, tell, write_json
from igcl_lightning.protocols.contestants import Contestant
from igcl_lightning.protocols.counterfactuals import counterfactual_answers
from igcl_lightning.protocols.hard_negatives import Answers, hard_negative_answers
from igcl_lightning.protocols.linear import Linear
from igcl_lightning.protocols.pretraining import checkpoint_of, pretrained
from igcl_lightning.quiet import quiet
from igcl_lightning.training.lightning_cli import import_modules

RUN, RESULT = "fit", "result.json"
AUROC = "auroc_estimate"
"""Key of the mean AUROC by labelled share in the result of a cell, an estimate [1 + P] (`metrics.influence`)."""


@dataclass(frozen=True)
class Plan:
    """What a cell does, as plain values.

    Attributes:
        words: options of `igcl fit`, without folders.
        modules: modules to import first.
        store: store to pretrain and probe on.
        hard_negatives: stores of hard negatives by name: "validation", "reported".
        counterfactuals: kinds of counterfactuals to tell apart.
        fractions: labelled shares of the training rows for probes.
        draws: draws of labelled rows for each share.
        splits: splits whose rows are scored by probes.
        settings: by part of the result, a hash of everything it depends on.
    """

    words: Sequence[str]
    modules: Sequence[str]
    store: str
    hard_negatives: Mapping[str, str]
    counterfactuals: Sequence[str]
    fractions: Sequence[float]
    draws: int
    splits: Sequence[str]
    settings: Mapping[str, str]


def main() -> None:
    """Run the cell whose folder is the first argument."""
    run_as_cell(lambda folder, plan: run_cell(folder, Plan(**plan)))


def run_cell(folder: Path, plan: Plan) -> None:
    """Pretrain, unless that is done, then measure, and write the result.

    Raises:
        IgclError, UsageError: as pretraining and probes do.
    """
    import_modules(plan.modules)
    start = time.monotonic()
    run, settings = folder / RUN, plan.settings["pretraining"]
    note = pretrained(folder, run, plan.words, plan.store, settings, stale=[RESULT])
    checkpoint = checkpoint_of(run)
    tell(folder, "hard negatives and probes")
    with quiet():
        result = {
            "settings": dict(plan.settings),
            "seconds_per_epoch": note["seconds_per_epoch"],
            **_asked(checkpoint, plan),
            "probe": _probed(folder, checkpoint, plan),
            "seconds": time.monotonic() - start,
        }
    write_json(result, folder / RESULT)


def _asked(checkpoint: Path, plan: Plan) -> dict[str, Any]:
    """Return the answers of a module as plain lists; none if it reads no reports.

    Returns:
        `choices`, by store of hard negatives and score, and `counterfactuals`, by kind and score.
    """
    module = BaseModule.load_from_checkpoint(checkpoint, map_location="cpu")
    if not contrasts_reports(module):
        return {"choices": {}, "counterfactuals": {}}
    choices = {name: hard_negative_answers(module, Path(store)) for name, store in plan.hard_negatives.items()}
    told_apart = counterfactual_answers(module, Path(plan.store), plan.counterfactuals)
    return {"choices": _plain(choices), "counterfactuals": _plain(told_apart)}


def _plain(asked: Mapping[str, Mapping[str, Answers]]) -> dict[str, dict[str, Any]]:
    return {name: {score: plain_answers(each) for score, each in scores.items()} for name, scores in asked.items()}


def plain_answers(answers: Answers) -> dict[str, dict[str, list[int]]]:
    """Return answers as lists."""
    return {
        kind: {name: values.tolist() for name, values in choices._asdict().items()}
        for kind, choices in answers._asdict().items()
    }


def answers_of(plain: Mapping[str, Mapping[str, Sequence[int]]]) -> Answers:
    """Return the answers that a result holds as lists."""
    kinds = {kind: Choices(**{name: np.array(each) for name, each in lists.items()}) for kind, lists in plain.items()}
    return Answers(**kinds)


def _probed(folder: Path, checkpoint: Path, plan: Plan) -> dict[str, Any]:
    """Return, by split, the number of `rows`, and `AUROC`, the mean over labels and draws; write the predictions."""
    if not plan.fractions:
        return {}
    linear = Linear([*plan.splits], draws=plan.draws, fractions=[*plan.fractions])
    contestant, store = Contestant("", checkpoint=str(checkpoint)), Store(plan.store)
    parts = [linear.measure(contestant, store, part) for part in linear.parts(contestant)]
    predictions = pd.concat(parts, ignore_index=True)
    write_predictions(predictions, folder / "predictions.parquet")
    tables = arranged_by_split(checked(predictions, "predictions"))
    return {split: {"rows": len(tables[split].patients), AUROC: _means(tables[split])} for split in plan.splits}


def _means(table: ScoreTable) -> dict[str, list[float]]:
    by_setting = mean_over_seeds(estimated(table, auroc_estimate))
    return {str(run.fraction): values[-1].tolist() for run, values in by_setting.items()}
