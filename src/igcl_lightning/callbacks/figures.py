"""Files of the plots of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_warn

from igcl_lightning.atomic import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
