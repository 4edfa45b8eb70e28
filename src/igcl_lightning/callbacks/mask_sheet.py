"""Images with the outlines of their masks, known and predicted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from lightning.pytorch import Trainer
from numpy.typing import NDArray

from igcl_lightning.callbacks.figures import ValidationPicture, save_figure
from igcl_lightning.data.interfaces import row_lookup
from igcl_lightning.evaluation.plots import PALETTE
from igcl_lightning.metrics.segmentation import dice
from igcl_lightning.modules.segmentation import Segmented
from igcl_lightning.run_folder import run_folder

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 4
NAME_LETTERS = 30


class Shown(NamedTuple):
    """An image [H, W], its known masks and the predicted ones, bool [M, H, W], and the Dice of each, NaN if unknown."""

    row: int
    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    predicted: NDArray[np.bool_]
    dice: NDArray[np.float64]


class MaskSheet(ValidationPicture):
    """Draws `plots/masks.png`: images with the outlines of known masks (solid) and predicted ones (dashed).

    Drawn after each test and validation, but for sanity checks; one image of each patient, of those with most masks in
    the first batches.

    Args:
        num_images: number of patients.
        every_n_epochs: epochs between drawings during fit; the last is always drawn.
    """

    def __init__(self, num_images: int = 8, every_n_epochs: int = 10) -> None:
        self.num_images = num_images
        self.every_n_epochs = every_n_epochs
        self._shown: dict[str, Shown] = {}

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Drop the images of the previous epoch."""
        self._shown = {}

    on_test_epoch_start = on_validation_epoch_start

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Keep images of new patients."""
        if not trainer.is_global_zero or trainer.sanity_checking or not isinstance(outputs, Segmented):
            return
        data = row_lookup(trainer, type(self).__name__)
        most_first = (-(batch.mask.flatten(2).any(dim=2).sum(dim=1))).argsort(stable=True).tolist()
        for index in most_first:
            patient = data.row_ids(int(batch.row[index]))[2]
            if len(self._shown) < self.num_images and patient not in self._shown:
                self._shown[patient] = _shown(batch, outputs, index)

    on_test_batch_end = on_validation_batch_end

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Draw the last validation, if not drawn yet."""
        folder = run_folder(trainer) / "plots"
        if self._shown:
            data = row_lookup(trainer, type(self).__name__)
            names = {shown.row: data.row_ids(shown.row)[0] for shown in self._shown.values()}
            figure = draw_masks(list(self._shown.values()), names, pl_module.mask_names)
            self._shown = {}
            save_figure(figure, folder / "masks.png", trainer)

    on_test_end = on_train_end


def draw_masks(shown: list[Shown], names: dict[int, str], masks: list[str]) -> Figure:
    """Return a sheet of images, four in a row, with the outlines of their masks and the Dice of each."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(max(2.6 * columns, 4), 3.1 * rows + 0.6), layout="constrained")
    cells = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in cells:
        axes.set_axis_off()
    for axes, each in zip(cells, shown, strict=False):
        _draw(axes, each, names[each.row][-NAME_LETTERS:])
    lines = [Line2D([], [], color=_colour(number), label=name) for number, name in enumerate(masks)]
    styles = [
        Line2D([], [], color="0.4", ls=style, label=what) for style, what in (("-", "known"), ("--", "predicted"))
    ]
    figure.legend(handles=[*lines, *styles], loc="outside lower center", ncols=2 + columns, fontsize=8, frameon=False)
    return figure


def _draw(axes: Axes, shown: Shown, name: str) -> None:
    axes.imshow(shown.image, cmap="gray", vmin=0, vmax=255)
    for style, masks in (("solid", shown.mask), ("dashed", shown.predicted)):
        for number, mask in enumerate(masks):
            if mask.any() and not mask.all():  # otherwise there is no outline
                axes.contour(mask, [0.5], colors=[_colour(number)], linestyles=style, linewidths=1)
    told = ", ".join("-" if np.isnan(value) else f"{value:.2f}" for value in shown.dice)
    axes.set_title(f"{name}\nDice {told}", fontsize=7, parse_math=False)


def _colour(number: int) -> str:
    bright = [colour for colour in PALETTE if colour != "#000000"]  # black is not seen on a radiograph
    return bright[number % len(bright)]


def _shown(batch: Any, outputs: Segmented, index: int) -> Shown:
    known = outputs.overlaps.known[index].cpu().numpy()
    value = dice(outputs.overlaps.pixels[index].cpu().double().numpy())
    mask, predicted = (part[index].cpu().numpy() for part in (batch.mask, outputs.mask))
    image = batch.image[index, 0].cpu().numpy().astype(np.uint8)
    return Shown(int(batch.row[index]), image, mask, predicted, np.where(known, value, np.nan))
