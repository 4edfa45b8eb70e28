"""Files of the plots of a run, and when they are drawn."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn

from igcl_lightning.atomic import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ValidationPicture(Callback):
    """Draws after validation: every few epochs during fit, and when it ends.

    Attributes:
        every_n_epochs: epochs between drawings during fit.
    """

    every_n_epochs: int

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Draw if this epoch is due."""
        fitting = trainer.state.fn == TrainerFn.FITTING
        if not fitting or (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self.on_train_end(trainer, pl_module)

    @abstractmethod
    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Draw the last validation, if not drawn yet."""


def save_figure(figure: Figure, path: Path, trainer: Trainer) -> None:
    """Write a figure as PNG and log it to Weights & Biases, if attached; on rank zero only.

    A figure that cannot be written is a warning: it must not end the training.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            figure.savefig(temporary, format="png", dpi=110)
    except OSError as error:
        rank_zero_warn(f"{path}: picture not written: {error}")
        return
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(key=f"plots/{path.stem}", images=[str(path)], step=trainer.global_step)
