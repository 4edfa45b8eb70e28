"""How many samples a run trains on per second."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from lightning.pytorch import Callback, Trainer


class Throughput(Callback):
    """Logs `train/samples_per_second`, of all processes together, over the last training steps.

    Loading and training count; validation, checkpoints and pictures do not. Lightning's `ThroughputMonitor` takes a
    function, which a config cannot give, waits for the device after every batch, and counts the drawing of pictures as
    training.

    Args:
        window: number of steps it is averaged over.
    """

    def __init__(self, window: int = 50) -> None:
        self._steps: deque[tuple[int, float]] = deque(maxlen=window)
        """Samples and seconds of each of the last steps."""
        self._last: float | None = None
        """When the step before ended; None where something else came between."""

    def logged_metrics(self, module: Any, data: Any) -> set[str]:
        """Return the name of what is logged."""
        return {"train/samples_per_second"}

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Start the clock."""
        self._last = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Leave out the next step: callbacks that come after this one have still to draw."""
        self._last = None

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count the batch and log. Steps still queued on a GPU even out over the window."""
        now, last = time.perf_counter(), self._last
        self._last = now
        if last is None or not hasattr(batch, "row"):
            return
        self._steps.append((len(batch.row) * trainer.world_size, now - last))
        samples, seconds = (sum(values) for values in zip(*self._steps, strict=True))
        pl_module.log("train/samples_per_second", samples / seconds, batch_size=len(batch.row))
