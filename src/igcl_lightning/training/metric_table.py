"""The metrics of validate and test, in place of Lightning's table."""

from __future__ import annotations

import sys
from typing import Any

from lightning.pytorch import Callback, Trainer

from igcl_lightning.callbacks.outputs import WritePredictions
from igcl_lightning.callbacks.segmentation import WriteSegmentation
from igcl_lightning.evaluation.tables import aligned


class MetricTable(Callback):
    """Prints the metrics of `validate` and `test` with three decimals, a line each, on the first process.

    `WritePredictions` and `WriteSegmentation` print a table of their own after `test`.
    """

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Silence Lightning's table."""
        trainer.validate_loop.verbose = False

    def on_test_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Silence Lightning's table."""
        trainer.test_loop.verbose = False

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Print the metrics of `validate`."""
        if trainer.state.fn == "validate":
            self._print(trainer)

    def on_test_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Print the metrics of `test`."""
        callbacks = trainer.callbacks  # type: ignore[attr-defined]  # set, but not declared
        if not any(isinstance(each, WritePredictions | WriteSegmentation) for each in callbacks):
            self._print(trainer)

    def _print(self, trainer: Trainer) -> None:
        metrics = trainer.callback_metrics
        if trainer.is_global_zero and metrics:
            rows = [[name, f"{float(value):.3f}"] for name, value in metrics.items()]
            sys.stdout.write(f"\n{aligned(rows)}\n\n")
