"""Images with what each unit of their report attends to, and its score before and after semantic relations."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer
from numpy.typing import NDArray
from torch import Tensor

from igcl_lightning.callbacks.matchings import (
    Matchings,
    has_local_branch,
    matchings_of,
    say_no_local_branch,
    unit_table,
)
from igcl_lightning.callbacks.validation_pairs import ValidationPairs, ValidationPairsCallback
from igcl_lightning.data.interfaces import graph_lookup
from igcl_lightning.nn.checks import check_choice

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("viridis", "jet")
BEFORE, AFTER, WEIGHT = "#56B4E9", "#0072B2", "#E69F00"
OPACITY = 0.5
"""Share of the heat map in the colour of a pixel."""

MAX_BARS = 14
"""Units in a bar chart."""

MAX_LETTERS = 24
"""Letters of a unit's text."""

MAX_PAIRS = 2000
"""Validation rows in which patients are looked for."""

MEANINGS = {"OBS-DA": "absent", "OBS-U": "uncertain"}
"""Words for labels of entities that change what a text means."""


class MatchingSheet(ValidationPairsCallback):
    """Draws `plots/matching_sheet.png`: what the units of a few reports attend to in their images.

    Each row is the first image of a patient: the image, then the attention of the units with the largest weights (a
    map is scaled to its own least and greatest value, so that maps show places, not strength), then the scores of the
    units before and after semantic relations, and their weights in the score of the pair. Units are words or entities.
    Modules without a local branch are ignored, with a warning.

    Args:
        num_images: number of patients.
        num_units: number of maps for each.
        colours: "viridis", which is safe for colour-blind readers, or "jet", as in figure 4 of the RECLF paper.
        every_n_epochs: epochs between drawings during fit.

    Raises:
        IgclError: unknown colours, or the data module cannot look up graphs, which have the texts of units.
    """

    picture = "matching_sheet"

    def __init__(
        self, num_images: int = 3, num_units: int = 4, colours: str = "viridis", every_n_epochs: int = 10
    ) -> None:
        super().__init__(MAX_PAIRS, num_images, every_n_epochs)
        check_choice("MatchingSheet.colours", colours, COLOURS)
        self.num_units = num_units
        self.colours = colours
        self._seen: list[Matchings] = []

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Check that there are matchings, and texts of units."""
        if stage not in ("fit", "validate"):
            return
        if has_local_branch(pl_module):
            graph_lookup(trainer, type(self).__name__)
        else:
            say_no_local_branch(type(self).__name__, pl_module)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Drop the pairs of the previous epoch."""
        super().on_validation_epoch_start(trainer, pl_module)
        self._seen = []

    def look_at(self, rows: list[int], batch: Any, trainer: Trainer, pl_module: Any) -> None:
        """Keep the matchings of some rows; the batch is encoded once more."""
        if has_local_branch(pl_module):
            with trainer.precision_plugin.val_step_context():
                matchings = matchings_of(pl_module, batch)
            self._seen.append(Matchings(*(value[rows].cpu() for value in matchings)))

    def draw(self, pairs: ValidationPairs, trainer: Trainer) -> Figure | None:
        """Return the sheet, or None if nothing was matched."""
        if not self._seen:
            return None
        data = graph_lookup(trainer, type(self).__name__)
        tables = []
        for matchings in self._seen:
            table = unit_table(matchings, [data.report_graph(row) for row in matchings.row.tolist()])
            tables += [units for _, units in table.groupby("pair")]
        return draw_matchings(pairs.pixels, tables, self.num_units, self.colours)


def draw_matchings(
    pixels: Tensor, tables: Sequence[pd.DataFrame], num_units: int = 4, colours: str = "viridis"
) -> Figure:
    """Draw what the units of P reports attend to in their images, and the units' scores.

    Args:
        pixels: grey values 0-255, [P, 1, H, W].
        tables: the units of each report (see `unit_table`).
        num_units: number of maps for each report, of the units with the largest weights, then scores.
        colours: one of `COLOURS`.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    widths = [*[1.0] * (1 + num_units), 1.5, 0.6]
    figure = Figure(figsize=(1.9 * sum(widths), 2.5 * len(tables) + 0.3), layout="constrained")
    sheet = figure.subplots(len(tables), len(widths), squeeze=False, width_ratios=widths)
    for axes, image, units in zip(sheet, pixels[:, 0].float(), tables, strict=True):
        first, *maps, scores, weights = axes
        _show(first, image, "image")
        heaviest = _heaviest(units, num_units)
        for place, unit in zip(maps, heaviest.to_dict("records"), strict=False):
            _show(place, image, f"{_words_of(unit)}\nweight {unit['weight']:.0%}", _heat(unit, image.shape), colours)
        for place in maps[len(heaviest) :]:
            place.set_axis_off()
        _draw_bars(scores, weights, units)
    steps = {"before relations": BEFORE, "after": AFTER}
    handles = [Patch(color=colour, label=name) for name, colour in steps.items()]
    figure.legend(handles=handles, loc="outside upper right", ncols=2, fontsize=8, frameon=False)
    return figure


def heat_map(attention: NDArray[np.float32], size: Sequence[int]) -> NDArray[np.float32]:
    """Return the attention over a grid of regions [R, C], scaled from its least and greatest value to 0-1, [H, W].

    Bilinear; the regions tile the image. Equal attention everywhere is 0.
    """
    grid = torch.as_tensor(attention)
    spread = grid.max() - grid.min()
    scaled = (grid - grid.min()) / spread if spread > 0 else torch.zeros_like(grid)
    return F.interpolate(scaled[None, None], tuple(size), mode="bilinear")[0, 0].numpy()


def _heaviest(units: pd.DataFrame, count: int) -> pd.DataFrame:
    return units.sort_values(["weight", "after"], ascending=False, kind="stable").head(count)


def _heat(unit: dict[Hashable, Any], size: Sequence[int]) -> NDArray[np.float32]:
    return heat_map(np.reshape(unit["attention"], (unit["grid_rows"], unit["grid_columns"])), size)


def _show(
    axes: Axes, image: Tensor, title: str, heat: NDArray[np.float32] | None = None, colours: str | None = None
) -> None:
    axes.imshow(image.numpy(), cmap="gray", vmin=0, vmax=255)
    if heat is not None:
        axes.imshow(heat, cmap=colours, vmin=0, vmax=1, alpha=OPACITY)
    axes.set_title(title, fontsize=8, parse_math=False)
    axes.set_axis_off()


def _draw_bars(scores: Axes, weights: Axes, units: pd.DataFrame) -> None:
    """Draw the scores and weights of the heaviest units, in the order of the report."""
    kept = _heaviest(units, MAX_BARS).sort_values("unit")
    place = np.arange(len(kept))
    scores.barh(place - 0.2, kept["before"], 0.4, color=BEFORE)
    scores.barh(place + 0.2, kept["after"], 0.4, color=AFTER)
    weights.barh(place, 100 * kept["weight"], 0.8, color=WEIGHT)
    names = [_words_of(unit) for unit in kept.to_dict("records")]
    scores.set_yticks(place, names, fontsize=7, parse_math=False)
    weights.set_yticks([])
    all_of = f"all {len(units)}" if len(kept) == len(units) else f"{len(kept)} of {len(units)}"
    scores.set_title(f"score, {all_of} units", fontsize=8)
    weights.set_title("weight (%)", fontsize=8)
    for axes in (scores, weights):
        axes.set_ylim(max(len(kept), MAX_BARS // 2) - 0.4, -0.6)
        axes.axvline(0, color="0.3", linewidth=0.8)
        axes.tick_params(axis="x", labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)


def _words_of(unit: dict[Hashable, Any]) -> str:
    """Return the text of a unit as a title."""
    text = shorten(unit["text"], MAX_LETTERS, placeholder="...") or "(empty report)"
    meaning = MEANINGS.get(unit["label"])
    return f"{text} ({meaning})" if meaning else text
