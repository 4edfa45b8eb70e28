"""Runs of Weights & Biases: those of a sweep, how one fails, and whether there is an account for one."""

from __future__ import annotations

import netrc
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from lightning.fabric.utilities import rank_zero_only
from lightning.pytorch.loggers import Logger, WandbLogger

from igcl_lightning.errors import IgclError, UsageError, message_of, write_message

SWEEP = "WANDB_SWEEP_ID"
"""Variable that `wandb agent` sets for a trial."""

HOST = "api.wandb.ai"
OFFLINE = ("offline", "disabled", "dryrun")


def is_offline() -> bool:
    """Return whether the environment says that runs stay on this machine."""
    return os.environ.get("WANDB_MODE") in OFFLINE


def has_login() -> bool:
    """Return whether there is an account for runs that leave this machine."""
    if "WANDB_API_KEY" in os.environ:
        return True
    try:
        return netrc.netrc().authenticators(HOST) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def project_of_sweep() -> str | None:
    """Return the project of the sweep; None for a run that is no trial. W&B ignores any other project there."""
    return os.environ.get("WANDB_PROJECT") if SWEEP in os.environ else None


def drop_anonymous(loggers: Iterable[Logger]) -> None:
    """Leave out the setting `anonymous`, which Lightning passes and of which W&B warns that it has no effect."""
    for logger in loggers:
        if isinstance(logger, WandbLogger) and logger._wandb_init.get("anonymous") is None:
            logger._wandb_init.pop("anonymous", None)


@contextmanager
def failing_visibly() -> Iterator[None]:
    """End the run of W&B as failed if the block fails.

    W&B itself sees only exceptions that end the process with a traceback, and nothing of a trial that fails before its
    logger has begun a run. The summary of the run has the message as `error`.
    """
    try:
        yield
    except BaseException as error:
        status = error.code if isinstance(error, SystemExit) else 1
        if status:
            # The traceback of an unexpected error is still to come, and part of the run.
            one_line = isinstance(error, SystemExit | KeyboardInterrupt | IgclError | ValueError | OSError)
            _fail(_message(error), int(status) if one_line else None)
        raise


def _message(error: BaseException) -> str:
    if isinstance(error, UsageError):
        return error.message
    if isinstance(error, SystemExit):
        return f"ended with status {error.code}"
    return message_of(error) or type(error).__name__


@rank_zero_only
def _fail(message: str, status: int | None) -> None:
    """Note a message in the summary of the run, begun here if a trial has none, and end it if a status is given."""
    if "wandb" not in sys.modules and SWEEP not in os.environ:
        return
    import wandb

    try:
        run = wandb.run or (wandb.init() if SWEEP in os.environ else None)
        if run is not None:
            run.summary["error"] = message
            if status is not None:
                run.finish(exit_code=status)
    except Exception as error:  # the error of the fit is the one to see
        write_message("warning", f"the failure could not be reported to W&B: {message_of(error)}")
