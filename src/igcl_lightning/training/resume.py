"""Exact resume: a run that is stopped anywhere, and continued from its checkpoint, ends as if it had not been."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.trainer.states import TrainerFn, TrainerStatus
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import distributed

from igcl_lightning.modules.checkpoint import read_checkpoint
from igcl_lightning.run_folder import continue_rows, logged_rows
from igcl_lightning.training.continuing import kept_state, use_continuing_loops
from igcl_lightning.training.random_state import random_state

KEY = "resume"
"""Key of a checkpoint's additions."""


class ExactResume(Callback):
    """Adds to checkpoints what a run needs to continue exactly, and stops all processes together.

    SIGTERM and Ctrl-C end a fit after the step that runs; a second Ctrl-C ends it at once.

    Part of every command-line run. A checkpoint also holds, of each process, the random state, the running means of
    metrics and incomplete gradients; and the number of rows in `metrics.csv` and the id of the W&B run. The data module
    keeps the position in the data. Augmentation and counterfactuals need no state: they are functions of the position.
    """

    def __init__(self) -> None:
        self._random: dict[str, Any] = {}
        self._told: int | None = None
        """Number of a signal that asks to stop."""
        self.together = False
        """Whether all processes stop at the same place."""
        self._to_requeue = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Use loops that continue exactly, and a signal handler that only takes a note."""
        if stage != TrainerFn.FITTING:
            return
        self._random, self._told, self.together = {}, None, False
        use_continuing_loops(trainer)
        trainer.fit_loop.epoch_loop.before_batch = lambda: self._stop_before_batch(trainer)
        # Lightning's handlers communicate and save wherever a process is, and wait forever if the other got no signal.
        connector = trainer._signal_connector
        self._requeue = connector._slurm_sigusr_handler_fn
        for name in ("_sigterm_notifier_fn", "_slurm_sigusr_handler_fn"):
            setattr(connector, name, lambda *given: self._take_note(trainer, *given))
        main_thread = threading.current_thread() is threading.main_thread()
        if main_thread and signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not in a background job
            signal.signal(signal.SIGINT, lambda *given: self._take_ctrl_c(trainer))

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave Ctrl-C as it was."""
        if getattr(signal.getsignal(signal.SIGINT), "__qualname__", "").startswith(f"{type(self).__name__}."):
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Note the random state, for a step that fails."""
        self._random = random_state(trainer.strategy.root_device)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the random state, for a validation that fails."""
        self._random = random_state(trainer.strategy.root_device)

    def on_validation_batch_end(self, trainer: Trainer, *given: Any, **named: Any) -> None:
        """Stop if a process was told to; the validation is then repeated."""
        if trainer.state.fn == TrainerFn.FITTING:
            self._stop_if_told(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that the validation has ended, before callbacks that save."""
        if trainer.state.fn == TrainerFn.FITTING:
            trainer.fit_loop.epoch_loop.validated = True  # a `ContinuingEpochLoop`

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the state of all processes."""
        if trainer.state.fn != TrainerFn.FITTING:
            return
        interrupted = trainer.state.status == TrainerStatus.INTERRUPTED
        state = self._random if interrupted and self._random else random_state(trainer.strategy.root_device)
        own = kept_state(trainer, state)
        alone = trainer.world_size == 1 or (interrupted and not self.together)
        checkpoint[KEY] = {
            "processes": [own] if alone else _of_all(own, trainer.world_size),
            "rows": logged_rows(trainer),
            "wandb": next((logger.version for logger in trainer.loggers if isinstance(logger, WandbLogger)), None),
        }

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Hand the state of this process to the loops, and continue metrics.csv."""
        if trainer.state.fn != TrainerFn.FITTING or (stored := checkpoint.get(KEY)) is None:
            return
        continue_rows(trainer, stored["rows"])
        processes = stored["processes"]
        if len(processes) == trainer.world_size:
            trainer.fit_loop.kept = processes[trainer.global_rank]  # type: ignore[attr-defined]  # a `ContinuingFitLoop`
            return
        rank_zero_info(
            f"the checkpoint holds the random state of {len(processes)} processes, not of {trainer.world_size}: "
            "dropout and other random draws are no longer those of an uninterrupted run"
        )

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Requeue the job if SLURM announced its end; Lightning saves a checkpoint for it."""
        self.teardown(trainer, pl_module, "fit")
        if self.together and self._to_requeue:
            self._requeue(signal.SIGUSR1, None)  # type: ignore[arg-type]  # the frame is not used

    def _take_note(self, trainer: Trainer, signum: int, frame: FrameType | None) -> None:
        launcher = trainer.strategy.launcher
        if self._told is None and launcher is not None:
            launcher.kill(signal.Signals(signum))  # processes that Lightning started
        self._told = self._told or signum

    def _take_ctrl_c(self, trainer: Trainer) -> None:
        if self._told is not None:
            raise KeyboardInterrupt
        self._told = signal.SIGINT
        if trainer.is_global_zero:
            sys.stderr.write("\nigcl: stopping after this step; Ctrl-C again stops at once\n")

    def _stop_before_batch(self, trainer: Trainer) -> None:
        """Stop if a process was told to; nothing is left to do after the last batch here."""
        self._random = random_state(trainer.strategy.root_device)
        self._stop_if_told(trainer)

    def _stop_if_told(self, trainer: Trainer) -> None:
        agree = trainer.strategy.reduce_boolean_decision
        if not agree(self._told is not None, all=False):
            return
        self.together = True
        self._to_requeue = agree(self._told not in (None, signal.SIGTERM, signal.SIGINT), all=False)
        raise KeyboardInterrupt if agree(self._told == signal.SIGINT, all=False) else SIGTERMException


def _of_all(own: dict[str, Any], size: int) -> list[dict[str, Any]]:
    """Return the states of all processes, on each of them."""
    states: list[Any] = [None] * size
    distributed.all_gather_object(states, own)
    return states


def continue_wandb_run(logger: Any, path: Path) -> None:
    """Give a W&B logger's options the id of the run in a checkpoint, unless they name one; a sweep names its own."""
    if not isinstance(logger, Namespace) or not logger.class_path.endswith(".WandbLogger"):
        return
    run = read_checkpoint(path).get(KEY, {}).get("wandb")
    if run and logger.init_args.get("id") is None and logger.init_args.get("version") is None and not in_sweep():
        logger.init_args.id = run


def in_sweep() -> bool:
    """Return whether a W&B agent started this process."""
    return "WANDB_SWEEP_ID" in os.environ
