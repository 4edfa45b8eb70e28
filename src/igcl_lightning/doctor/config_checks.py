"""Checks of a config against its store and this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from igcl_lightning.data.study import VIEWS, wanted_views
from igcl_lightning.doctor.batch_checks import kept_rows
from igcl_lightning.doctor.config import Config
from igcl_lightning.doctor.findings import Finding, share
from igcl_lightning.doctor.looks import Looks
from igcl_lightning.doctor.opened import OpenedStore
from igcl_lightning.doctor.report_checks import studies_of_shared_text
from igcl_lightning.training.wandb_trial import has_login, is_offline

PACKAGE = "igcl_lightning"
MEAN_APART = 0.15
"""Difference between the grey means of model and images, scale 0-1, that counts as large."""

STD_APART = 1.5
"""Ratio of the grey standard deviations of model and images that counts as large."""

MANY_ALIKE = 1.0
"""Number of other rows of a batch that state the same, per row, that is a warning."""

MANY_SHARED = 0.1
"""Share of studies with the whole text of another that is a warning."""

SEPARATING_TARGETS = ("identity", "study")
"""Targets of a loss for which other studies that state the same are negatives."""


def check_store_path(config: Config) -> Iterator[Finding]:
    """Report whether the config's store exists."""
    path = config.store_path
    if path is None:
        named = config.option("data.store")
        which = f"{named}: its rows are streamed" if named else "the config names no store"
        yield Finding("warning", "data.store", f"{which}, so only the config itself was checked")
    elif not path.is_dir():
        todo = "make it with `igcl prepare`, or give --data.store STORE"
        yield Finding("error", "data.store", f"{path}: no such store; {todo}")


def check_selection(config: Config, store: OpenedStore) -> Iterator[Finding]:
    """Find labels and views that the config names and the store lacks."""
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
    """Find a run without an end, which the learning-rate schedule needs."""
    if config.trainer is not None and config.trainer.max_epochs == -1 and config.trainer.max_steps == -1:
        yield Finding("error", "trainer", "the run has no end: set trainer.max_epochs or trainer.max_steps")


def check_image_size(config: Config, store: OpenedStore) -> Iterator[Finding]:
    """Compare the size of the stored images with the model's input size."""
    wanted = getattr(getattr(config.model, "image_encoder", None), "size", None)
    stored = store.manifest.get("size")
    if not isinstance(wanted, int) or not isinstance(stored, int):
        return
    message = f"the model sees {wanted} pixels a side, the store has {stored}"
    if wanted > stored:
        yield Finding("warning", "image size", f"{message}: images are enlarged; prepare larger")
    else:
        yield Finding("ok", "image size", message)


def check_normalisation(config: Config, looks: Looks) -> Iterator[Finding]:
    """Compare the encoder's mean and deviation with those of the decoded images."""
    encoder: Any = getattr(config.model, "image_encoder", None)
    if not hasattr(encoder, "mean") or not hasattr(encoder, "std") or not len(looks.number) or not looks.std:
        return
    mean, std = float(encoder.mean), float(encoder.std)
    values = f"the model's mean {mean:.3f} and std {std:.3f}, the images' {looks.mean:.3f} and {looks.std:.3f}"
    numbers = {"mean": looks.mean, "std": looks.std}
    far = abs(mean - looks.mean) > MEAN_APART or not 1 / STD_APART < std / looks.std < STD_APART
    own = config.option("model.image.weights", "none") == "none"
    if far:
        values += ": far apart" if own else ": as the published weights expect"
    yield Finding("warning" if far and own else "ok", "normalisation", values, numbers=numbers)


def check_targets(config: Config, store: OpenedStore) -> Iterator[Finding]:
    """Compare the loss's targets with the number of rows of a batch that state the same or belong to one study."""
    targets = getattr(getattr(config.model, "loss", None), "targets", None)
    size = config.option("data.batch_size")
    rows = kept_rows(config, store)
    if targets is None or not isinstance(size, int) or not len(rows):
        return
    size = min(size, len(rows))
    studies = expected_partners(rows["study"], size)
    graphs = expected_partners(rows["key"][rows["key"] != -1], size, len(rows))
    text = (
        f"targets {targets!r}: per row of a batch of {size:,}, {graphs:.2g} other rows state the same, {studies:.2g} "
        "are of its study"
    )
    if targets == "study" and rows["study"].is_unique:
        text += "; each study has one image, so 'study' pairs nothing and only leaves other studies of the patient out"
    many = targets in SEPARATING_TARGETS and graphs > MANY_ALIKE
    if many:
        text += "; they count as negatives, targets 'graph' would make them positives"
    numbers = {"same_graph": graphs, "same_study": studies}
    yield Finding("warning" if many else "ok", "targets", text, numbers=numbers)


def check_shared_texts(config: Config, store: OpenedStore) -> Iterator[Finding]:
    """Find many studies that share their whole text with another, which the loss's targets count as negatives."""
    targets = getattr(getattr(config.model, "loss", None), "targets", None)
    if targets not in SEPARATING_TARGETS:
        return
    repeated, studies = studies_of_shared_text(store)
    if repeated > MANY_SHARED * studies:
        text = (
            f"targets {targets!r} count equal reports as negatives, and {share(repeated, studies)} studies share their "
            f"whole text with another (a warning above {100 * MANY_SHARED:.0f} %); 'graph' would make them positives"
        )
        yield Finding("warning", "shared texts", text, numbers={"identical": repeated, "studies": studies})


def expected_partners(values: Any, batch: int, rows: int | None = None) -> float:
    """Return the expected number of other rows in a random batch with the same value as a row, averaged over `rows`.

    `values` are those of the rows that have one (default: all).
    """
    total = len(values) if rows is None else rows
    if total < 2:
        return 0.0
    sizes = pd.Series(values).value_counts().to_numpy(dtype=np.float64)
    return float((sizes * (sizes - 1)).sum() / total * (batch - 1) / (total - 1))


def check_wandb(config: Config) -> Iterator[Finding]:
    """Find a W&B logger that needs an account if there is none."""
    loggers: Any = config.options.trainer.logger if config.options else None
    for logger in loggers if isinstance(loggers, list) else [loggers]:
        if not str(getattr(logger, "class_path", "")).endswith("WandbLogger"):
            continue
        arguments = logger.init_args
        if arguments.get("offline") or is_offline():
            yield Finding("ok", "wandb", "runs offline")
        elif not has_login():
            message = "the W&B logger needs an account: run `wandb login`, or give --trainer.logger.offline true"
            yield Finding("warning", "wandb", message)


def check_command() -> Iterator[Finding]:
    """Report which program the command `lightning` is, and other packages that install a command of that name."""
    found = shutil.which("lightning")
    commands = entry_points(group="console_scripts", name="lightning")
    others = sorted({entry.value.partition(":")[0].partition(".")[0] for entry in commands} - {PACKAGE})
    also = f"; {', '.join(others)} also installs a command of that name" if others else ""
    if found is None:
        yield Finding("ok", "command", f"no `lightning` on the path; use igcl or python -m {PACKAGE}{also}")
    elif _calls_this_package(Path(found)):
        yield Finding("ok", "command", f"`lightning` is this program, {found}{also}")
    else:
        yield Finding("warning", "command", f"`lightning` is another program, {found}: use igcl instead{also}")


def _calls_this_package(script: Path) -> bool:
    try:
        with script.open("rb") as file:
            return PACKAGE.encode() in file.read(1 << 16)
    except OSError:
        return False
