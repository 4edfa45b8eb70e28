"""The learning curve of a run, updated while it trains."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from igcl_lightning.callbacks.figures import save_figure
from igcl_lightning.run_folder import run_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOSSES: tuple[str, ...] = ("train/loss", "val/loss")


class LearningCurve(Callback):
    """Draws `plots/learning_curve.png` after each validation: losses and validation metrics.

    The points are saved in the checkpoint, so that a resumed run continues its curve.

    Args:
        metrics: names of logged validation metrics; others are ignored (default for a contrastive module: recall at 5
            of the second side, and mean AUROC of the online probe).
    """

    def __init__(self, metrics: list[str] | None = None) -> None:
        self.metrics = metrics
        self.points: dict[str, list[tuple[int, float]]] = {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Collect the values of a validation during fit, and draw."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._collect(trainer, ("val/loss", *self._metrics(pl_module)))
            self.on_train_end(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Collect the mean training loss."""
        self._collect(trainer, ("train/loss",))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw again: the training loss of the last epoch is known only after its validation."""
        path = run_folder(trainer) / "plots" / "learning_curve.png"
        if trainer.is_global_zero and self.points:
            save_figure(self._figure(), path, trainer)

    def state_dict(self) -> dict[str, Any]:
        """Return the points, for the checkpoint."""
        return {"points": self.points}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the curve of a checkpoint."""
        self.points = state_dict["points"]

    def _metrics(self, module: Any) -> list[str]:
        if self.metrics is not None or not hasattr(module, "sides"):
            return self.metrics or []
        first, second = module.sides
        return [f"val/{first}_to_{second}_recall@5", "val/online_auroc_mean"]

    def _collect(self, trainer: Trainer, names: Iterable[str]) -> None:
        for name in names:
            value = trainer.callback_metrics.get(name)
            if value is not None:
                self.points.setdefault(name, []).append((trainer.global_step, float(value)))

    def _figure(self) -> Figure:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        losses = [name for name in LOSSES if name in self.points]
        groups = [names for names in (losses, [name for name in self.points if name not in LOSSES]) if names]
        figure = Figure(figsize=(4.6 * len(groups), 3.4), layout="constrained")
        for axes, names in zip(figure.subplots(1, len(groups), squeeze=False)[0], groups, strict=True):
            for name in names:
                steps, values = zip(*self.points[name], strict=True)
                axes.plot(steps, values, marker="o", markersize=3, label=name)
            if not set(names) & set(LOSSES):
                axes.set_ylim(bottom=0)  # shares and areas: their noise should not fill the panel
            axes.set_xlabel("optimizer step")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(color="0.9")
            axes.legend(frameon=False)
        return figure
