"""One cell of a table of pretraining runs, in a process of its own: pretrain, ask for hard negatives, probe, write.

FOLDER/plan.json         what to do, written by `ablation`
FOLDER/fit/version_0/    the run folder of pretraining
FOLDER/pretrained.json   pretraining ended; its settings and seconds per epoch
FOLDER/result.json       the cell is finished
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lightning.pytorch import Callback, Trainer

from igcl_lightning.atomic import locked, replacing
from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.predictions import ScoreTable, arranged_by_split, checked, write_predictions
from igcl_lightning.evaluation.results import mean_over_seeds, resampled
from igcl_lightning.evaluation.within_patient import Choices
from igcl_lightning.metrics.clinical import auroc
from igcl_lightning.modules.base import BaseModule
from igcl_lightning.protocols.children import run_as_child
from igcl_lightning.protocols.counterfactuals import counterfactual_answers
from igcl_lightning.protocols.equal_budget import Comparison, Scale, encoder_of, quiet
from igcl_lightning.protocols.hard_negatives import Answers, contrasts_reports, hard_negative_answers
from igcl_lightning.training.lightning_cli import import_modules
from igcl_lightning.training.lightning_cli import run as run_training

PLAN, PRETRAINED, RESULT = "plan.json", "pretrained.json", "result.json"
BUSY = 75
"""Exit status of a cell that another process is running; `log.txt` is that one's."""

RESAMPLES = 1000
SECONDS = "train/epoch_seconds"


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


class EpochSeconds(Callback):
    """Logs `train/epoch_seconds`, the time of the training steps of an epoch, without validation and plots."""

    def logged_metrics(self, module: Any, data: Any) -> set[str]:
        """Return the name of the logged metric."""
        return {SECONDS}

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Start the clock."""
        self._start = time.perf_counter()

    def on_train_batch_end(self, *args: Any) -> None:
        """Read the clock; validation follows the last batch."""
        self._seconds = time.perf_counter() - self._start

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Log the time up to the last batch."""
        pl_module.log(SECONDS, self._seconds)


def folder_words(folder: Path, store: str) -> list[str]:
    """Return the options of `igcl fit` that say where a cell reads and writes, and that it is timed."""
    timer = f"{EpochSeconds.__module__}.{EpochSeconds.__name__}"
    words = [f"--data.store={store}", "--trainer.devices=1", "--trainer.enable_progress_bar=false"]
    words += ["--trainer.logger=CSVLogger", f"--trainer.logger.save_dir={folder}", "--trainer.logger.name=fit"]
    return [*words, f"--trainer.callbacks+={timer}"]


def main() -> None:
    """Run the cell whose folder is the first argument."""
    run_as_child(partial(_run, Path(sys.argv[1])))


def _run(folder: Path) -> None:
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder))
        except IgclError:
            sys.exit(BUSY)
        run_cell(folder, Plan(**read_json(folder / PLAN)))


def run_cell(folder: Path, plan: Plan) -> None:
    """Pretrain, unless that is done, then measure, and write the result.

    Raises:
        IgclError, UsageError: as pretraining and probes do.
    """
    import_modules(plan.modules)
    start = time.monotonic()
    pretrained = _pretrained(folder, plan)
    checkpoint = folder / "fit" / "version_0" / "checkpoints" / "last.ckpt"
    with quiet():
        result = {
            "settings": dict(plan.settings),
            "seconds_per_epoch": pretrained["seconds_per_epoch"],
            **_asked(checkpoint, plan),
            "probe": _probed(folder, checkpoint, plan),
            "seconds": time.monotonic() - start,
        }
    write_json(result, folder / RESULT)


def write_json(content: Any, path: Path) -> None:
    """Write JSON atomically."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Return the mapping in a JSON file, an empty one if there is no file; `IgclError` if it holds anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError:  # not JSON, or not UTF-8
        content = None
    if not isinstance(content, dict):
        raise IgclError(f"{path}: damaged, not a mapping in JSON: delete it, and what it records is made again")
    return content


def _pretrained(folder: Path, plan: Plan) -> dict[str, Any]:
    """Return the note of a finished pretraining, after it if need be; a half-trained one starts again."""
    wanted, note = plan.settings["pretraining"], read_json(folder / PRETRAINED)
    if note.get("settings") != wanted:
        for stale in (PRETRAINED, RESULT):
            (folder / stale).unlink(missing_ok=True)
        shutil.rmtree(folder / "fit", ignore_errors=True)
        run_training(["fit", *plan.words, *folder_words(folder, plan.store)], closing=False)
        seconds = pd.read_csv(folder / "fit" / "version_0" / "metrics.csv")[SECONDS].median()
        note = {"settings": wanted, "seconds_per_epoch": float(seconds)}
        write_json(note, folder / PRETRAINED)
    return dict(note)


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
    """Return, by split, the number of `rows`, and the `auroc` by labelled share; write the predictions.

    An AUROC is the mean over labels and draws, in resamples of the split's patients and, last, in the sample.
    """
    if not plan.fractions:
        return {}
    scale = Scale(0, None, {}, fractions=plan.fractions, shots=(), draws=plan.draws, splits=plan.splits)
    probes = Comparison(folder, Path(plan.store), scale).probe(encoder_of(checkpoint))
    predictions = pd.concat(probes, ignore_index=True)
    write_predictions(predictions, folder / "predictions.parquet")
    tables = arranged_by_split(checked(predictions, "predictions"))
    return {split: {"rows": len(table.patients), "auroc": _means(table)} for split, table in tables.items()}


def _means(table: ScoreTable) -> dict[str, list[float]]:
    by_setting = mean_over_seeds(resampled(table, auroc, RESAMPLES, seed=0))
    return {str(run.fraction): values[-1].tolist() for run, values in by_setting.items()}
