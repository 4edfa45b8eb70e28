"""The progress bar of `igcl`: one bar for the whole run, with the time that is left of it."""

from __future__ import annotations

import math
import sys
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar, RichProgressBar, TQDMProgressBar
from tqdm import tqdm

from igcl_lightning.data.position import position
from igcl_lightning.quiet import progress_bar

BAR = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}, {remaining} left{postfix}]"
ENDLESS = "{desc} {n_fmt} batches [{elapsed}{postfix}]"


class RunProgress(ProgressBar):
    """One bar for all batches of a run: the epoch from 1 to N, metrics of the progress bar, and the time left."""

    def __init__(self) -> None:
        super().__init__()
        self._bar: tqdm[Any] | None = None
        self._enabled = True

    def disable(self) -> None:
        """Show nothing, as on all processes but the first."""
        self._enabled = False

    def enable(self) -> None:
        """Show the bar."""
        self._enabled = True

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print above the bar."""
        tqdm.write(" ".join(map(str, args)), file=sys.stderr)

    def _start(self, about: str, total: float, done: int = 0) -> None:
        """Open a bar; the time left is that of the whole run so far, in proportion."""
        self._end()
        self._bar = progress_bar(
            total=int(total) if math.isfinite(total) else None,
            initial=done,
            bar_format=BAR if math.isfinite(total) else ENDLESS,
            smoothing=0,
            leave=False,
            disable=not self._enabled,
        )
        self._say(about)

    def _step(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._bar is not None:
            values = {name: value for name, value in self.get_metrics(trainer, pl_module).items() if name != "v_num"}
            self._bar.set_postfix({name: _short(value) for name, value in values.items()}, refresh=False)
            self._bar.update()

    def _end(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _say(self, about: str) -> None:
        if self._bar is not None:
            self._bar.set_description_str(about, refresh=sys.stderr.isatty())

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar, at the position of a resumed run."""
        done = position(trainer)
        each = trainer.num_training_batches
        self._start("train", _batches(trainer), (done.epoch * int(each) if math.isfinite(each) else 0) + done.batch)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the epoch."""
        self._say(_epoch(trainer))

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *given: Any, **named: Any) -> None:
        """Move the bar."""
        self._step(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the bar."""
        self._end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the bar."""
        self._end()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say that the model is validated, in the bar of training if there is one."""
        if trainer.state.fn == "fit":
            self._say(f"{_epoch(trainer)}, validation")
        else:
            self._start("validate", sum(trainer.num_val_batches))

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *given: Any, **named: Any) -> None:
        """Move the bar, unless it is that of training."""
        if trainer.state.fn != "fit":
            self._step(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on with training, or close the bar."""
        if trainer.state.fn == "fit":
            self._say(_epoch(trainer))
        else:
            self._end()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar."""
        self._start("test", sum(trainer.num_test_batches))

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar."""
        self._start("predict", sum(trainer.num_predict_batches))

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, *given: Any, **named: Any) -> None:
        """Move the bar."""
        self._step(trainer, pl_module)

    on_predict_batch_end = on_test_batch_end
    on_test_end = on_train_end
    on_predict_end = on_train_end


def use_run_progress(trainer: Trainer) -> None:
    """Replace Lightning's usual progress bar; one that a config names stays."""
    for index, callback in enumerate(trainer.callbacks):  # type: ignore[attr-defined]  # set, but not declared
        if type(callback) in (RichProgressBar, TQDMProgressBar):
            trainer.callbacks[index] = RunProgress()  # type: ignore[attr-defined]


def _batches(trainer: Trainer) -> float:
    """Return the number of training batches of a run, infinite if it has no end."""
    by_epochs = math.inf if trainer.max_epochs in (None, -1) else trainer.max_epochs * trainer.num_training_batches
    by_steps = math.inf if trainer.max_steps == -1 else trainer.max_steps * trainer.accumulate_grad_batches
    return float(min(by_epochs, by_steps))


def _epoch(trainer: Trainer) -> str:
    last = trainer.max_epochs
    return f"epoch {trainer.current_epoch + 1}" + ("" if last in (None, -1) else f"/{last}")


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
