"""Loops that continue exactly behind the hook in which a checkpoint was saved.

All use of Lightning's private state for resuming is in this file. Lightning's own loops resume from such a checkpoint
too, but leave out what was still to do: logging the step or the epoch, a validation that was due, the hooks at an
epoch's end. They also lose accumulated gradients and the running means of metrics.

A checkpoint is saved in one of these places:

- in `on_train_batch_end`: logging the step, validation and learning-rate schedules on plateaus are left to do;
- in a validation: the rest, or in an interrupted one all, of the validation is left to do;
- in `on_train_epoch_end`: logging the epoch is left to do;
- within a step that failed: the step is repeated;
- elsewhere: nothing is left to do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loops.fetchers import _DataFetcher
from lightning.pytorch.loops.fit_loop import RestartStage, _FitLoop
from lightning.pytorch.loops.loop import _Loop
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.trainer.connectors.logger_connector.result import _Metadata, _ResultMetric, _Sync

from igcl_lightning.data.position import was_cut
from igcl_lightning.errors import IgclError
from igcl_lightning.modules.sharding import like, share
from igcl_lightning.training.random_state import set_random_state

REDUCTIONS: dict[str, Any] = {"mean": torch.mean, "sum": torch.sum, "min": torch.min, "max": torch.max}
META: tuple[str, ...] = (
    "fx",
    "name",
    "prog_bar",
    "logger",
    "on_step",
    "on_epoch",
    "enable_graph",
    "add_dataloader_idx",
)
META += ("dataloader_idx", "metric_attribute")


class ContinuingEpochLoop(_TrainingEpochLoop):
    """Lightning's loop over the batches of an epoch, which finishes what a checkpoint left to do after a batch."""

    ending = False
    """Whether the loop is behind a batch: in validation, or in a schedule on plateaus."""
    validated = False
    """Whether the validation that was due after the last batch has ended."""
    continues = False
    """Whether the next run continues an epoch."""
    before_batch: Callable[[], None] | None = None
    """Called before a batch is fetched, where nothing of it has begun; may raise to stop."""
    _unfinished = False

    @property
    def left_to_do(self) -> bool:
        """Whether something is left to do after the last batch."""
        batch = self.batch_progress.current
        return self.ending or batch.processed > batch.completed

    def reset(self) -> None:
        """Continue an epoch with its counters, or start a new one."""
        if not self.continues:
            super().reset()
            return
        self.continues = False
        self._unfinished = self.left_to_do
        self._skip_next_val = self.ending and self.validated
        if self.batch_progress.current.ready > self.batch_progress.current.processed:
            self.batch_progress.is_last_batch = False
        for progress in (self.batch_progress.current, self.batch_progress.total):
            progress.ready = progress.started = progress.processed  # a batch that had only begun is repeated
        self._follow_the_data()
        self.scheduler_progress.reset_on_restart()
        self.automatic_optimization.optim_progress.reset_on_restart()

    @property
    def done(self) -> bool:
        """Whether to leave the loop."""
        return not self._unfinished and super().done

    def advance(self, data_fetcher: _DataFetcher) -> None:
        """Train a batch, or finish the one of a checkpoint."""
        if self._unfinished:
            self._finish_batch()
            return
        if self.before_batch is not None:
            self.before_batch()
        self.validated = False
        super().advance(data_fetcher)

    def on_advance_end(self, data_fetcher: _DataFetcher) -> None:
        """Validate if it is due."""
        self.ending = True
        super().on_advance_end(data_fetcher)
        self.ending = False

    def on_save_checkpoint(self) -> dict[str, Any]:
        """Add the place in the loop."""
        return {**super().on_save_checkpoint(), "ending": self.ending, "validated": self.validated}

    def on_load_checkpoint(self, state_dict: dict[str, Any]) -> None:
        """Restore the place in the loop."""
        super().on_load_checkpoint(state_dict)
        self.ending, self.validated = state_dict.get("ending", False), state_dict.get("validated", False)

    def _follow_the_data(self) -> None:
        """Count batches as the data module does, if their size has changed."""
        current, start = self.batch_progress.current, getattr(self.trainer.datamodule, "start", None)
        if start is not None and start.batch != current.processed:
            self._unfinished = False
            current.ready = current.started = current.processed = current.completed = start.batch

    def _finish_batch(self) -> None:
        """Do what is left behind `on_train_batch_end`, as `advance`; `on_advance_end` follows."""
        self._unfinished = False
        connector = self.trainer._logger_connector
        if self.batch_progress.current.processed > self.batch_progress.current.completed:
            connector._first_loop_iter = True  # unset if the metrics are not restored, for other processes than before
            connector.on_batch_end()
            self.batch_progress.increment_completed()
            connector.update_train_step_metrics()

    def _broadcast_sigterm_tensor(self) -> None:
        """Do nothing: `ExactResume` lets all processes agree on a stop, whichever of them got the signal."""


class ContinuingFitLoop(_FitLoop):
    """Lightning's loop over epochs, which continues one within."""

    epoch_loop: ContinuingEpochLoop
    kept: dict[str, Any] | None = None
    """What a checkpoint holds of this process (see `kept_state`)."""
    _at_end = False
    """Whether the checkpoint was saved at the end of an epoch: the end of training may be left to do."""

    def run(self) -> None:
        """Train the remaining epochs."""
        if self._loaded_from_state_dict:
            self._return_to_cut_epoch()
            if self.kept is not None:
                restore_metrics(self.trainer, self.kept)
            self._at_end = self.epoch_progress.current.processed > self.epoch_progress.current.completed
            if self._at_end:
                self._finish_epoch()
            if self.kept is not None and (self._at_end or self.epoch_loop.left_to_do):
                self.trainer.should_stop = self.kept["should_stop"]
        super().run()

    def load_state_dict(self, state_dict: dict[str, Any], prefix: str = "") -> None:
        """Restore the place in training; raises `IgclError` if it lies behind the end."""
        super().load_state_dict(state_dict, prefix)
        trained, epochs = self.epoch_progress.current.processed, self.max_epochs
        if epochs is not None and -1 < epochs < trained:
            raise IgclError(
                f"trained for {trained} epochs, trainer.max_epochs is {epochs}: set it to {trained + 1} or more, or "
                "leave --ckpt_path out to start anew"
            )

    @property
    def done(self) -> bool:
        """Whether to leave the loop."""
        begun = self._loaded_from_state_dict and self._in_epoch
        return not (begun and self.epoch_loop.left_to_do) and super().done

    @property
    def skip(self) -> bool:
        """Whether to leave the loop without the hooks at the start and the end of training."""
        return not self._at_end and super().skip

    def reset(self) -> None:
        """Continue where the checkpoint was saved; Lightning's flags of restarting are not used."""
        if not self._loaded_from_state_dict:
            super().reset()
            return
        torch.set_grad_enabled(True)
        _Loop.restarting.fset(self, False)  # a property
        begun = self._in_epoch
        self.epoch_loop.continues = begun
        self._restart_stage = RestartStage.RESTARTED_MID_EPOCH if begun else RestartStage.NONE  # skips the first hooks
        if not begun:
            for progress in (self.epoch_progress.current, self.epoch_progress.total):
                progress.ready = progress.started = progress.processed
        if begun and self.kept is not None:
            restore_gradients(self.trainer, self.kept)

    def on_run_start(self) -> None:
        """Call the hooks at the start of training, then restore the random state, so that they do not change it."""
        super().on_run_start()
        if self._loaded_from_state_dict and self.kept is not None:
            set_random_state(self.kept["random"], self.trainer.strategy.root_device)
        self.kept = None

    @property
    def _in_epoch(self) -> bool:
        return bool(self.epoch_progress.current.started > self.epoch_progress.current.processed)

    def _return_to_cut_epoch(self) -> None:
        """Go back into an epoch that `max_steps` ended early, in case there are more steps now."""
        if was_cut(self.trainer):
            for progress in (self.epoch_progress.current, self.epoch_progress.total):
                progress.processed = progress.completed = progress.started - 1

    def _finish_epoch(self) -> None:
        """Do what is left behind `on_train_epoch_end`, as the end of `on_advance_end`."""
        connector = self.trainer._logger_connector
        connector.epoch_end_reached()
        connector.on_epoch_end()
        if self.epoch_loop._num_ready_batches_reached():
            self.epoch_loop.update_lr_schedulers("epoch", update_plateau_schedulers=True)
        self.epoch_loop._batches_that_stepped -= 1
        connector.update_train_epoch_metrics()
        self.epoch_loop._batches_that_stepped += 1
        self.epoch_progress.increment_completed()


def use_continuing_loops(trainer: Trainer) -> None:
    """Replace the loops of a trainer before it starts."""
    old = trainer.fit_loop
    if isinstance(old, ContinuingFitLoop):
        return
    loop = ContinuingFitLoop(trainer, old.min_epochs, old.max_epochs)
    loop.epoch_loop = ContinuingEpochLoop(trainer, old.epoch_loop.min_steps, old.epoch_loop.max_steps)
    loop.epoch_loop.val_loop = old.epoch_loop.val_loop
    loop._data_source = old._data_source
    trainer.fit_loop = loop


def kept_state(trainer: Trainer, random: dict[str, Any]) -> dict[str, Any]:
    """Return what a checkpoint keeps of this process besides Lightning's: plain data."""
    connector, results = trainer._logger_connector, trainer.fit_loop.epoch_loop._results
    return {
        "random": random,
        "results": {key: _metric_state(metric) for key, metric in results.items() if metric.is_tensor},
        "callback_metrics": {name: torch.as_tensor(value).cpu() for name, value in connector._callback_metrics.items()},
        "gradients": _gradients(trainer),
        "should_stop": trainer.should_stop,
    }


def restore_metrics(trainer: Trainer, kept: dict[str, Any]) -> None:
    """Restore the running means of the epoch and the last metrics."""
    device = trainer.strategy.root_device
    connector, results = trainer._logger_connector, trainer.fit_loop.epoch_loop._results
    connector._callback_metrics.update({name: value.to(device) for name, value in kept["callback_metrics"].items()})
    for key, state in kept["results"].items():
        results[key] = _metric(state, trainer).to(device)
    if trainer.fit_loop.epoch_loop.batch_progress.current.processed:
        connector._first_loop_iter = True  # None would clear the means at the next batch


def restore_gradients(trainer: Trainer, kept: dict[str, Any]) -> None:
    """Restore gradients that were not complete."""
    for name, parameter in trainer.lightning_module.named_parameters():
        if name in kept["gradients"]:
            parameter.grad = like(parameter, kept["gradients"][name].to(parameter.device))


def _gradients(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Return the gradients by name if the last batch only accumulated them."""
    loop = trainer.fit_loop.epoch_loop
    batch, last = loop.batch_progress.current, loop._num_ready_batches_reached()
    ended = last and batch.ready == batch.processed
    if not trainer.fit_loop._in_epoch or batch.processed % trainer.accumulate_grad_batches == 0 or ended:
        return {}
    parameters = trainer.lightning_module.named_parameters()
    return {name: share(parameter.grad.detach()).cpu() for name, parameter in parameters if parameter.grad is not None}


def _metric_state(metric: _ResultMetric) -> dict[str, Any]:
    state = {name: getattr(metric.meta, name) for name in META}
    sync = metric.meta.sync
    state |= {"reduce": metric.meta.reduce_fx.__name__, "sync": sync.should, "rank_zero_only": sync.rank_zero_only}
    values = {"value": metric.value, "cache": metric._forward_cache, "computed": metric._computed}
    values["size"] = getattr(metric, "cumulated_batch_size", None)
    return (
        state
        | {name: None if value is None else value.cpu() for name, value in values.items()}
        | {"has_reset": metric.has_reset}
    )


def _metric(state: dict[str, Any], trainer: Trainer) -> _ResultMetric:
    meta = _Metadata(**{name: state[name] for name in META}, reduce_fx=REDUCTIONS[state["reduce"]])
    meta.sync = _Sync(fn=trainer.strategy.reduce, _should=state["sync"], rank_zero_only=state["rank_zero_only"])
    metric = _ResultMetric(meta, is_tensor=True)
    metric.value, metric._forward_cache, metric._computed = state["value"], state["cache"], state["computed"]
    if state["size"] is not None:
        metric.cumulated_batch_size = state["size"]
    metric.has_reset = state["has_reset"]
    metric._update_count = 1  # torchmetrics warns of values that were never updated
    return metric
