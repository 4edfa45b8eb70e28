"""Training samples per second."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from lightning.pytorch import Callback, Trainer


class Throughput(Callback):
    """Logs `train/samples_per_second`, of all processes together, over the last training steps.

    The time includes loading, but not validation, checkpoints and plots. Lightning's `ThroughputMonitor` needs a
    function, which a config cannot contain, synchronises the device after every batch, and includes plots.

    Args:
        window: number of steps to average over.
    """

    def __init__(self, window: int = 50) -> None:
        self._steps: deque[tuple[int, float]] = deque(maxlen=window)
        """Samples and seconds of the last steps."""
        self._last: float | None = None
        """End of the previous step; None if something else ran since."""

    def logged_metrics(self, module: Any, data: Any) -> set[str]:
        """Return the name of the logged metric."""
        return {"train/samples_per_second"}

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Start the clock."""
        self._last = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Ignore the next step: later callbacks may still draw plots."""
        self._last = None

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count the batch and log. Steps still queued on a GPU average out over the window."""
        now, last = time.perf_counter(), self._last
        self._last = now
        if last is None or not hasattr(batch, "row"):
            return
        self._steps.append((len(batch.row) * trainer.world_size, now - last))
        samples, seconds = (sum(values) for values in zip(*self._steps, strict=True))
        pl_module.log("train/samples_per_second", samples / seconds, batch_size=len(batch.row))
