"""Checks of a config against its store and this machine."""

from __future__ import annotations

import netrc
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from igcl_lightning.data.study import VIEWS, wanted_views
from igcl_lightning.doctor.batch_checks import training_rows
from igcl_lightning.doctor.config import Config
from igcl_lightning.doctor.findings import Finding
from igcl_lightning.doctor.looks import Looks
from igcl_lightning.doctor.opened import OpenedStore

MEAN_APART = 0.15
STD_APART = 1.5
MANY_ALIKE = 1.0
WANDB_HOST = "api.wandb.ai"
WANDB_OFFLINE = ("offline", "disabled", "dryrun")


def check_store_path(config: Config) -> Iterator[Finding]:
    """Say whether the store that the config names is there."""
    path = config.store_path
    if path is None:
        named = config.option("data.store")
        which = f"{named}: rows come in a stream" if named else "the config names no store"
        yield Finding("warning", "data.store", f"{which}, so only the config itself was checked")
    elif not path.is_dir():
        todo = "make it with `igcl prepare`, or give --data.store STORE"
        yield Finding("error", "data.store", f"{path}: no such store; {todo}")


def check_selection(config: Config, store: OpenedStore) -> Iterator[Finding]:
    """Look for labels, views and columns that the config names and the store lacks."""
    for label in config.option("data.labels") or []:
        if label not in store.labels:
            known = ", ".join(store.labels) or "none"
            yield Finding("error", "data.labels", f"the store has no label {label!r}, only {known}")
    views = config.option("data.views") or []
    for view in views:
        if view not in VIEWS:
            yield Finding("error", "data.views", f"{view!r} is not one of {', '.join(VIEWS)}")
    kept = store.ids["view"].isin(wanted_views(views))
    if views and not (kept & (store.ids["split"] == "train")).any():
        yield Finding("error", "data.views", f"no training row has a view of {', '.join(views)}")
    elif views:
        yield Finding("ok", "data.views", f"keeps {int(kept.sum()):,} of {len(kept):,} rows")


def check_length(config: Config) -> Iterator[Finding]:
    """Look for a run without an end: the learning rate is planned to it."""
    if config.trainer is not None and config.trainer.max_epochs == -1 and config.trainer.max_steps == -1:
        yield Finding("error", "trainer", "the run has no end: set trainer.max_epochs or trainer.max_steps")


def check_image_size(config: Config, store: OpenedStore) -> Iterator[Finding]:
    """Compare the size of the stored images with what the model sees."""
    wanted = getattr(getattr(config.model, "image_encoder", None), "size", None)
    stored = store.manifest.get("size")
    if not isinstance(wanted, int) or not isinstance(stored, int):
        return
    if wanted > stored:
        message = f"the model sees {wanted} pixels a side, the store has {stored}: images are blown up; prepare larger"
        yield Finding("warning", "image size", message)
    else:
        yield Finding("ok", "image size", f"the model sees {wanted} pixels a side, the store has {stored}")


def check_normalisation(config: Config, looks: Looks) -> Iterator[Finding]:
    """Compare the encoder's mean and deviation with those of the images that were looked at."""
    encoder: Any = getattr(config.model, "image_encoder", None)
    if not hasattr(encoder, "mean") or not hasattr(encoder, "std") or not len(looks.number) or not looks.std:
        return
    mean, std = float(encoder.mean), float(encoder.std)
    values = f"the model's mean {mean:.3f} and std {std:.3f}, the images' {looks.mean:.3f} and {looks.std:.3f}"
    numbers = {"mean": looks.mean, "std": looks.std}
    far = abs(mean - looks.mean) > MEAN_APART or not 1 / STD_APART < std / looks.std < STD_APART
    if far and config.option("model.image.weights", "none") == "none":
        yield Finding("warning", "normalisation", f"{values}: far apart", numbers=numbers)
    elif far:
        yield Finding("ok", "normalisation", f"{values}: as the published weights expect", numbers=numbers)
    else:
        yield Finding("ok", "normalisation", values, numbers=numbers)


def check_targets(config: Config, store: OpenedStore) -> Iterator[Finding]:
    """Compare the loss's targets with how many rows of a batch state the same, or belong to one study."""
    targets = getattr(getattr(config.model, "loss", None), "targets", None)
    size = config.option("data.batch_size")
    rows = training_rows(config, store)
    if targets is None or not isinstance(size, int) or not len(rows):
        return
    size = min(size, len(rows))
    studies = expected_partners(rows["study"], size)
    graphs = expected_partners(rows["key"][rows["key"] != -1], size, len(rows))
    text = f"targets {targets!r}: of a batch of {size:,}, {graphs:.2g} other rows a row state the same, {studies:.2g} "
    text += "are of its study"
    numbers = {"same_graph": graphs, "same_study": studies}
    if targets == "study" and rows["study"].is_unique:
        text += "; each study has one image, so 'study' pairs nothing and only leaves other studies of the patient out"
    if targets in ("identity", "study") and graphs > MANY_ALIKE:
        text += "; they count as negatives, targets 'graph' would make them positives"
        yield Finding("warning", "targets", text, numbers=numbers)
    else:
        yield Finding("ok", "targets", text, numbers=numbers)


def expected_partners(values: Any, batch: int, rows: int | None = None) -> float:
    """Return how many other rows of a random batch share a row's value, on average over the rows.

    Args:
        values: of the rows that have one.
        batch: rows of a batch.
        rows: number of rows, those without a value included.
    """
    total = len(values) if rows is None else rows
    if total < 2:
        return 0.0
    sizes = pd.Series(values).value_counts().to_numpy(dtype=np.float64)
    return float((sizes * (sizes - 1)).sum() / total * (batch - 1) / (total - 1))


def check_wandb(config: Config) -> Iterator[Finding]:
    """Look for a W&B logger that needs an account where there is none."""
    loggers: Any = config.options.trainer.logger if "trainer" in config.options else None
    for logger in loggers if isinstance(loggers, list) else [loggers]:
        if not str(getattr(logger, "class_path", "")).endswith("WandbLogger"):
            continue
        arguments = logger.init_args
        if arguments.get("offline") or os.environ.get("WANDB_MODE") in WANDB_OFFLINE:
            yield Finding("ok", "wandb", "runs offline")
        elif "WANDB_API_KEY" not in os.environ and not _knows_wandb():
            message = "the W&B logger needs an account: run `wandb login`, or give --trainer.logger.offline true"
            yield Finding("warning", "wandb", message)


def _knows_wandb() -> bool:
    try:
        return netrc.netrc().authenticators(WANDB_HOST) is not None
    except (OSError, netrc.NetrcParseError):
        return False
