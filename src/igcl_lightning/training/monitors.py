"""Metrics that callbacks monitor: a misspelt one is an error before the run, one that says nothing is replaced."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from types import FunctionType
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_info

from igcl_lightning.errors import UsageError, suggestion, write_message
from igcl_lightning.modules.contrastive import ContrastiveModule

OURS = "igcl_lightning."
LIGHTNING = ("lightning.", "pytorch_lightning.")  # their callbacks log nothing to monitor but the learning rate
ALWAYS = ("epoch", "step")  # `ModelCheckpoint` can monitor them although they are not logged
MOST_NAMED = 12

INSTEAD = "val/loss"
"""Metric that chooses the checkpoint of a contrastive fit where recall says nothing."""

MOST_BY_CHANCE = 0.25
"""Recall of a random model above which recall chooses no checkpoint: recall@5 needs 20 pairs."""


def refuse_unknown_monitors(trainer: Trainer, model: LightningModule, data: LightningDataModule | None) -> None:
    """Raise `UsageError` if a callback of a fit monitors a metric that is not logged, if all metrics are known."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set, but not declared
    monitored = [(callback, name) for callback in callbacks if (name := getattr(callback, "monitor", None))]
    known = known_metrics(callbacks, model, data) if monitored else None
    if known is None:
        return
    rates = any(isinstance(callback, LearningRateMonitor) for callback in callbacks)
    for callback, name in monitored:
        usual = {*known, *ALWAYS} if isinstance(callback, ModelCheckpoint) else known
        # The name of a rate depends on the optimisers, such as "lr-AdamW/pg1"; several loaders add a suffix.
        if not (rates and name.startswith("lr-")) and re.sub(r"/dataloader_idx_\d+$", "", name) not in usual:
            some = ", ".join(sorted(known)[:MOST_NAMED]) + (", ..." if len(known) > MOST_NAMED else "")
            near = suggestion(re.sub("^test/", "val/", name), known) or f"; it logs {some}"
            raise UsageError(f"{type(callback).__name__}.monitor: nothing logs {name!r} in fit{near}")


def recall_says_nothing(monitor: object, pairs: int) -> bool:
    """Return whether a metric is recall at k among so few validation pairs that a random model does well too."""
    found = re.search(r"^val/.*recall@(\d+)$", str(monitor))
    return found is not None and 0 < pairs < int(found[1]) / MOST_BY_CHANCE


def choose_by_loss_among_few(trainer: Trainer, module: LightningModule) -> None:
    """Let checkpoint callbacks monitor `INSTEAD` where they monitor a recall that says nothing; say so in one line.

    Early stopping is the user's own choice, and keeps its metric with a warning.
    """
    pairs = getattr(getattr(trainer, "datamodule", None), "num_validation_pairs", 0)
    if not isinstance(module, ContrastiveModule):
        return
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set, but not declared
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None)
        if not recall_says_nothing(monitor, pairs):
            continue
        said = f"{monitor} says little among {pairs} validation pairs"
        if isinstance(callback, EarlyStopping):
            write_message("warning", f"EarlyStopping.monitor: {said}; monitor {INSTEAD}")
        if isinstance(callback, ModelCheckpoint):
            rank_zero_info(f"{said}: {INSTEAD} chooses the best checkpoint instead")
            callback.monitor, callback.mode, callback.kth_value = INSTEAD, "min", torch.tensor(math.inf)


def known_metrics(callbacks: Iterable[Callback], model: LightningModule, data: Any) -> set[str] | None:
    """Return the names of all metrics that a fit logs, None if the model or a callback may log others."""
    names: set[str] = set()
    for declared in (_declared(model, data), *(_declared(callback, model, data) for callback in callbacks)):
        if declared is None:
            return None
        names |= declared
    return {name for name in names if not name.startswith("test/")}


def _declared(part: Any, *given: Any) -> set[str] | None:
    """Return the metrics a model or callback declares, None if a user's class may log others without declaring them."""
    for cls in type(part).__mro__:
        if "logged_metrics" in vars(cls):
            declared: set[str] | None = part.logged_metrics(*given)
            return declared
        if cls.__module__.startswith(LIGHTNING):
            break
        own = [name for name, value in vars(cls).items() if isinstance(value, FunctionType) and name != "__init__"]
        if own and not cls.__module__.startswith(OURS):
            return None
    return set()
