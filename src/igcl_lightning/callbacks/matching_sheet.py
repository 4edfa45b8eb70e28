"""Images with what each unit of their report attends to, and its score before and after semantic relations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from textwrap import shorten
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer
from lightning.pytorch.trainer.states import TrainerFn
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
from igcl_lightning.modules.matching import MatchingModule
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

    Each row is the first image of a patient: the image with its study and the scores of the pair, then the attention
    of the units with the largest weights (a map is scaled to its own least and greatest value, so that maps show
    places, not strength), then the scores of the units before and after semantic relations, if there are any, and
    their weights in the score of the pair. Units are words or entities, different ones first and none of punctuation
    alone. Modules without a local branch between images and reports are ignored, with a warning.

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
        self._epoch: int | None = None

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Check that there are matchings, and texts of units."""
        if stage not in ("fit", "validate"):
            return
        if _matches_images(pl_module):
            graph_lookup(trainer, type(self).__name__)
        else:
            say_no_local_branch(type(self).__name__, pl_module)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Drop the pairs of the previous epoch."""
        super().on_validation_epoch_start(trainer, pl_module)
        self._seen = []
        self._epoch = trainer.current_epoch if trainer.state.fn == TrainerFn.FITTING else None

    def look_at(self, rows: list[int], batch: Any, trainer: Trainer, pl_module: Any) -> None:
        """Keep the matchings of some rows; the batch is encoded once more."""
        if _matches_images(pl_module):
            with trainer.precision_plugin.val_step_context():
                matchings = matchings_of(pl_module, batch)
            self._seen.append(Matchings(*(value[rows].cpu() for value in matchings)))

    def draw(self, pairs: ValidationPairs, trainer: Trainer) -> Figure | None:
        """Return the sheet, or None if nothing was matched."""
        if not self._seen:
            return None
        data = graph_lookup(trainer, type(self).__name__)
        module: Any = trainer.lightning_module
        tables, captions = [], []
        for matchings in self._seen:
            rows = matchings.row.tolist()
            table = unit_table(matchings, [data.report_graph(row) for row in rows])
            tables += [units for _, units in table.groupby("pair")]
            studies = (data.row_ids(row)[1] for row in rows)
            pairs_seen = zip(studies, matchings.score.tolist(), strict=True)
            captions += [_caption(study, scores, module.score_names) for study, scores in pairs_seen]
        title = "" if self._epoch is None else f"epoch {self._epoch}"
        return draw_matchings(pairs.pixels, tables, self.num_units, self.colours, captions, title)


def _matches_images(module: Any) -> TypeGuard[MatchingModule]:
    return has_local_branch(module) and module.sides[0] == "image"


def _caption(study: str, scores: Sequence[float], names: Sequence[str]) -> str:
    """Return the study and the scores of a pair as a title."""
    own, *others = [f"{name} {score:.2f}" for name, score in zip(names, scores, strict=True)]
    return "\n".join([shorten(study, MAX_LETTERS, placeholder="..."), own, ", ".join(others)])


def draw_matchings(
    pixels: Tensor,
    tables: Sequence[pd.DataFrame],
    num_units: int = 4,
    colours: str = "viridis",
    captions: Sequence[str] | None = None,
    title: str = "",
) -> Figure:
    """Draw what the units of P reports attend to in their images, and the units' scores.

    Scores before and after semantic relations are one bar if they are equal everywhere, as without relations.

    Args:
        pixels: grey values 0-255, [P, 1, H, W].
        tables: the units of each report (see `unit_table`).
        num_units: number of maps for each report, of the units with the largest weights, then scores.
        colours: one of `COLOURS`.
        captions: title of each image.
        title: title of the sheet.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    widths = [*[1.0] * (1 + num_units), 1.5, 0.6]
    steps = {"before": BEFORE, "after": AFTER}
    if all(units["before"].equals(units["after"]) for units in tables):
        steps.pop("before")
    figure = Figure(figsize=(1.9 * sum(widths), 2.5 * len(tables) + 0.3), layout="constrained")
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=9)
    sheet = figure.subplots(len(tables), len(widths), squeeze=False, width_ratios=widths)
    captions = captions or ["image"] * len(tables)
    for axes, image, units, caption in zip(sheet, pixels[:, 0].float(), tables, captions, strict=True):
        first, *maps, scores, weights = axes
        _show(first, image, caption)
        _draw_maps(maps, image, units, colours)
        _draw_bars(scores, weights, units, steps)
    if len(steps) > 1:
        handles = [Patch(color=colour, label=f"{name} relations") for name, colour in steps.items()]
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
    """Return the units of the largest weights, those that repeat the text of another last; `name` is their title."""
    worded = units[[not text or any(map(str.isalnum, text)) for text in units["text"]]]
    named = worded.assign(name=_names(worded)).sort_values(["weight", "after"], ascending=False, kind="stable")
    repeats = _meant(named).duplicated()
    return pd.concat([named[~repeats], named[repeats]]).head(count)


def _meant(units: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"text": units["text"].str.lower(), "label": units["label"]})


def _names(units: pd.DataFrame) -> list[str]:
    """Return titles of units; of those with one text, what they relate to, and then a number, tell them apart."""
    shared = _meant(units).duplicated(keep=False)
    names = [_words_of(unit, more) for unit, more in zip(units.to_dict("records"), shared, strict=True)]
    seen: Counter[str] = Counter()
    for place, name in enumerate(names):
        seen[name] += 1
        names[place] = name if seen[name] == 1 else f"{name} ({seen[name]})"
    return names


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


def _draw_maps(maps: Sequence[Axes], image: Tensor, units: pd.DataFrame, colours: str) -> None:
    """Draw what the heaviest units attend to; places without a unit stay empty."""
    heaviest = _heaviest(units, len(maps))
    for place, unit in zip(maps, heaviest.to_dict("records"), strict=False):
        _show(place, image, f"{unit['name']}\nweight {unit['weight']:.0%}", _heat(unit, image.shape), colours)
    for place in maps[len(heaviest) :]:
        place.set_axis_off()


def _draw_bars(scores: Axes, weights: Axes, units: pd.DataFrame, steps: Mapping[str, str]) -> None:
    """Draw the scores and weights of the heaviest units, in the order of the report."""
    kept = _heaviest(units, MAX_BARS).sort_values("unit")
    place = np.arange(len(kept))
    height = 0.8 / len(steps)
    for number, (name, colour) in enumerate(steps.items()):
        scores.barh(place + (number + 0.5) * height - 0.4, kept[name], height, color=colour)
    weights.barh(place, 100 * kept["weight"], 0.8, color=WEIGHT)
    scores.set_yticks(place, kept["name"].tolist(), fontsize=7, parse_math=False)
    weights.set_yticks([])
    all_of = f"all {len(units)}" if len(kept) == len(units) else f"{len(kept)} of {len(units)}"
    scores.set_title(f"score, {all_of} units", fontsize=8)
    weights.set_title("weight (%)", fontsize=8)
    for axes in (scores, weights):
        axes.set_ylim(max(len(kept), MAX_BARS // 2) - 0.4, -0.6)
        axes.axvline(0, color="0.3", linewidth=0.8)
        axes.tick_params(axis="x", labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)


def _words_of(unit: dict[Hashable, Any], with_relation: bool) -> str:
    """Return the text of a unit, and of what it relates to, as a title."""
    related = f" → {unit['relates_to']}" if with_relation and pd.notna(unit["relates_to"]) else ""
    text = shorten(unit["text"] + related, MAX_LETTERS, placeholder="...") or "(empty report)"
    meaning = MEANINGS.get(unit["label"])
    return f"{text} ({meaning})" if meaning else text
