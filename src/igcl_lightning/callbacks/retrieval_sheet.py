"""Images beside their retrieved reports."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import WandbLogger
from torch import Tensor

from igcl_lightning.callbacks.validation_pairs import ValidationPairs, ValidationPairsCallback
from igcl_lightning.metrics.ranking import hit_rank
from igcl_lightning.metrics.rows import first_of_each

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINE_LENGTH = 34
MAX_LINES = 14

COLOURS = {"own report": "#009E73", "states the same": "#0072B2", "other report": "0.5"}
"""Colour of each kind of retrieved report."""


class Retrieved(NamedTuple):
    """Results of Q queries among the reports of S studies.

    `query` is the pair index of each query and `own_rank` the rank of its own report among S, 1 is best, both int64
    [Q]. `found` are the pair indices of the nearest reports, nearest first, int64 [Q, K], `cosine` their similarity.
    """

    query: Tensor
    own_rank: Tensor
    num_reports: int
    found: Tensor
    cosine: Tensor


class RetrievalSheet(ValidationPairsCallback):
    """Draws `plots/retrieval_sheet.png`: images of a few patients with their own and the nearest reports.

    Queries are first sides, candidates the second sides of all studies, compared by the cosine of their embeddings: the
    global score of a module with a local branch, as the sheet then says. Reports are shown with their cosine; the own
    report is marked, and so are reports with an equal graph, which are also correct. Images are shown if they are the
    first side. Texts come from `trainer.datamodule.report_text(row)`; without it nothing is drawn. The same is logged
    to Weights & Biases as a table `retrieval`: images and reports then leave this machine, unless it runs offline.

    Args:
        num_images: number of patients.
        top_k: number of reports for each.
        max_pairs: number of validation rows searched.
        every_n_epochs: epochs between drawings during fit.
    """

    picture = "retrieval_sheet"

    def __init__(self, num_images: int = 4, top_k: int = 3, max_pairs: int = 2000, every_n_epochs: int = 10) -> None:
        super().__init__(max_pairs, num_images, every_n_epochs)
        self.top_k = top_k

    def publish(self, pairs: ValidationPairs, folder: Path, trainer: Trainer) -> None:
        """Write the picture into `folder`, and log the table to Weights & Biases, if attached."""
        super().publish(pairs, folder, trainer)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger) and _texts(trainer):
                columns, data = self.table(pairs, trainer)
                logger.log_table("retrieval", columns, data, step=trainer.global_step)

    def draw(self, pairs: ValidationPairs, trainer: Trainer) -> Figure | None:
        """Return the sheet, or None if the data module has no texts."""
        from matplotlib.figure import Figure

        report_text = _texts(trainer)
        if report_text is None:
            return None
        answer = retrieve(pairs, self.top_k)
        with_image = int(_shows_images(trainer))
        num_rows, num_found = answer.found.shape
        num_columns = with_image + 1 + num_found
        figure = Figure(figsize=(2.4 * num_columns, 2.4 * num_rows), layout="constrained")
        if "local" in getattr(trainer.lightning_module, "score_names", ()):
            figure.suptitle("ranked by the global score alone", fontsize=9)
        sheet = figure.subplots(num_rows, num_columns, squeeze=False)
        for number, (own, found) in enumerate(_texts_of(pairs, answer, report_text)):
            if with_image:
                sheet[number, 0].imshow(pairs.pixels[number, 0].numpy(), cmap="gray", vmin=0, vmax=255)
                sheet[number, 0].set_axis_off()
            own_axes, *found_axes = sheet[number, with_image:]
            _draw_report(own_axes, own, f"own report: rank {answer.own_rank[number]} of {answer.num_reports}", "black")
            for place, (axes, (text, kind, cosine)) in enumerate(zip(found_axes, found, strict=True), start=1):
                _draw_report(axes, text, f"{place}. {kind}, {cosine:.2f}", COLOURS[kind])
        return figure

    def table(self, pairs: ValidationPairs, trainer: Trainer) -> tuple[list[str], list[list[Any]]]:
        """Return columns and rows of the table: image, own report and its rank, then the reports, nearest first."""
        import wandb

        report_text = _texts(trainer)
        assert report_text is not None
        answer = retrieve(pairs, self.top_k)
        columns, data = ["own report", "rank of own report"], []
        for rank in range(1, answer.found.shape[1] + 1):
            columns += [f"found {rank}", f"found {rank} is", f"cosine {rank}"]
        for rank, (own, found) in zip(answer.own_rank.tolist(), _texts_of(pairs, answer, report_text), strict=True):
            data.append([own, rank, *chain.from_iterable(found)])
        if _shows_images(trainer):
            images = [wandb.Image(pixels[0].numpy(), mode="L") for pixels in pairs.pixels[: len(data)]]
            return ["image", *columns], [[image, *row] for image, row in zip(images, data, strict=True)]
        return columns, data


def retrieve(pairs: ValidationPairs, top_k: int) -> Retrieved:
    """Retrieve reports, one for each study, for the first images of the patients that have pixels."""
    query = first_of_each(pairs.patient).sort().values[: len(pairs.pixels)]
    candidate = first_of_each(pairs.study).sort().values
    similarity = pairs.first[query] @ pairs.second[candidate].T
    own_rank = hit_rank(similarity, pairs.study[query, None] == pairs.study[candidate])
    nearest = similarity.topk(min(top_k, len(candidate)), dim=1)
    return Retrieved(query, own_rank, len(candidate), candidate[nearest.indices], nearest.values)


def _texts(trainer: Trainer) -> Callable[[int], str] | None:
    """Return the function from a hashed row id to its report; None if the data module has no reports."""
    return getattr(getattr(trainer, "datamodule", None), "report_text", None)


def _shows_images(trainer: Trainer) -> bool:
    module: Any = trainer.lightning_module
    return bool(module.sides[0] == "image")


def _texts_of(
    pairs: ValidationPairs, answer: Retrieved, report_text: Callable[[int], str]
) -> Iterator[tuple[str, list[tuple[str, str, float]]]]:
    """Yield the own report of each query, and text, kind and cosine of each retrieved one."""
    for query, found, cosines in zip(answer.query, answer.found, answer.cosine.tolist(), strict=True):
        texts = [report_text(int(pairs.row[index])) for index in (query, *found)]
        kinds = [_kind(pairs, query, index) for index in found]
        yield texts[0], list(zip(texts[1:], kinds, cosines, strict=True))


def _kind(pairs: ValidationPairs, query: Tensor, index: Tensor) -> str:
    if pairs.study[index] == pairs.study[query]:
        return "own report"
    key = pairs.graph_key
    return "states the same" if key[query] >= 0 and key[query] == key[index] else "other report"


def _draw_report(axes: Axes, text: str, title: str, colour: str) -> None:
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, LINE_LENGTH)]
    shown = lines[:MAX_LINES] + ["..."] * (len(lines) > MAX_LINES)
    axes.set_title(title, fontsize=9, color=colour)
    # `parse_math`: matplotlib would read dollar signs in reports as formulas.
    body = "\n".join(shown) or "(empty report)"
    axes.text(0.03, 0.97, body, fontsize=7.5, va="top", transform=axes.transAxes, parse_math=False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(color=colour, linewidth=1.5)
