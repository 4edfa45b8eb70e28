"""Images beside the reports that the model finds for them."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Trainer

from igcl_lightning.callbacks.validation_pairs import ValidationPairs, ValidationPairsCallback
from igcl_lightning.metrics.retrieval import hit_rank

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINE_LENGTH = 34
MAX_LINES = 14

OWN, SAME, OTHER = ("own report", "#009E73"), ("states the same", "#0072B2"), ("other report", "0.5")
"""Name and colour of what a retrieved report can be."""


class RetrievalSheet(ValidationPairsCallback):
    """Draws `plots/retrieval_sheet.png`: a few validation images, each with its own report and the most similar.

    Among the most similar, with their cosine, the own report is marked, and so are reports of equal graphs, which are
    right answers too. Texts come from `trainer.datamodule.report_text(row)`; without it nothing is drawn.

    Args:
        num_images: how many images.
        top_k: how many reports for each.
        max_pairs: how many validation reports are searched.
        every_n_epochs: how often to draw during fit.
    """

    picture = "retrieval_sheet"

    def __init__(self, num_images: int = 4, top_k: int = 3, max_pairs: int = 2000, every_n_epochs: int = 10) -> None:
        super().__init__(max_pairs, num_images, every_n_epochs)
        self.top_k = top_k

    def draw(self, pairs: ValidationPairs, trainer: Trainer) -> Figure | None:
        """Return the sheet, or None where the data module has no texts."""
        from matplotlib.figure import Figure

        datamodule: Any = getattr(trainer, "datamodule", None)
        if not hasattr(datamodule, "report_text"):
            return None
        similarity = pairs.image[: len(pairs.pixels)] @ pairs.graph.T
        own_rank = hit_rank(similarity, torch.eye(*similarity.shape, dtype=torch.bool))
        nearest = similarity.topk(min(self.top_k, len(pairs.row)), dim=1)

        num_images, top_k = nearest.indices.shape
        figure = Figure(figsize=(2.4 * (2 + top_k), 2.4 * num_images), layout="constrained")
        sheet = figure.subplots(num_images, 2 + top_k, squeeze=False)
        for query, (image_axes, own_axes, *found_axes) in enumerate(sheet):
            image_axes.imshow(pairs.pixels[query, 0].numpy(), cmap="gray", vmin=0, vmax=255)
            image_axes.set_axis_off()
            own_text = datamodule.report_text(int(pairs.row[query]))
            _draw_report(own_axes, own_text, f"own report: rank {own_rank[query]} of {len(pairs.row)}", "black")
            found = zip(found_axes, nearest.indices[query].tolist(), nearest.values[query].tolist(), strict=True)
            for rank, (axes, index, value) in enumerate(found, start=1):
                name, colour = _relation(pairs, query, index)
                text = datamodule.report_text(int(pairs.row[index]))
                _draw_report(axes, text, f"{rank}. {name}, {value:.2f}", colour)
        return figure


def _relation(pairs: ValidationPairs, query: int, index: int) -> tuple[str, str]:
    if index == query:
        return OWN
    key = pairs.graph_key
    return SAME if key[query] >= 0 and key[query] == key[index] else OTHER


def _draw_report(axes: Axes, text: str, title: str, colour: str) -> None:
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, LINE_LENGTH)]
    shown = lines[:MAX_LINES] + ["..."] * (len(lines) > MAX_LINES)
    axes.set_title(title, fontsize=9, color=colour)
    # Reports may hold dollar signs, which matplotlib would read as formulas.
    body = "\n".join(shown) or "(empty report)"
    axes.text(0.03, 0.97, body, fontsize=7.5, va="top", transform=axes.transAxes, parse_math=False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(color=colour, linewidth=1.5)
