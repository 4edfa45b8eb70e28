"""Check of the metrics that callbacks monitor, before a run: a misspelt one would fail after the first epoch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from types import FunctionType
from typing import Any

from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint

from igcl_lightning.errors import UsageError, suggestion

OURS = "igcl_lightning."
LIGHTNING = ("lightning.", "pytorch_lightning.")  # their callbacks log nothing to monitor but the learning rate
ALWAYS = ("epoch", "step")  # a `ModelCheckpoint` can monitor them although nothing logs them
MOST_NAMED = 12


def refuse_unknown_monitors(trainer: Trainer, model: LightningModule, data: LightningDataModule | None) -> None:
    """Raise `UsageError` if a callback of a fit monitors a metric that is not logged, if it is known what is."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set, but not declared
    monitored = [(callback, name) for callback in callbacks if (name := getattr(callback, "monitor", None))]
    known = known_metrics(callbacks, model, data) if monitored else None
    if known is None:
        return
    rates = any(isinstance(callback, LearningRateMonitor) for callback in callbacks)
    for callback, name in monitored:
        usual = {*known, *ALWAYS} if isinstance(callback, ModelCheckpoint) else known
        # A rate's name depends on the optimisers, such as "lr-AdamW/pg1"; with several loaders a metric has a suffix.
        if not (rates and name.startswith("lr-")) and re.sub(r"/dataloader_idx_\d+$", "", name) not in usual:
            some = ", ".join(sorted(known)[:MOST_NAMED]) + (", ..." if len(known) > MOST_NAMED else "")
            near = suggestion(re.sub("^test/", "val/", name), known) or f"; it logs {some}"
            raise UsageError(f"{type(callback).__name__}.monitor: nothing logs {name!r} in fit{near}")


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
