"""The images that a search found, with the beginning of their reports, as a table and as a picture."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from igcl_lightning.atomic import replacing
from igcl_lightning.data.store import Store
from igcl_lightning.evaluation.tables import aligned
from igcl_lightning.protocols.search import Hit

COLUMNS = 4
LINE_LENGTH = 38
MAX_LINES = 7
SHORTEST = 24
"""Letters of a report in the table, however few columns there are."""


def about(store: Store, row: int) -> str:
    """Return the report of a hashed row id in one line, or its positive labels if it has none."""
    report = " ".join(store.report_text(row).split())
    return report or ", ".join(name for name, value in store.row_labels(row).items() if value == 1) or "(no report)"


def format_hits(hits: Sequence[Hit], store: Store, columns: int) -> str:
    """Return rank, score, row and split of each image, and its report as far as the columns reach."""
    rows = [["rank", "score", "row", "split"]]
    for rank, hit in enumerate(hits, start=1):
        rows.append([str(rank), f"{hit.score:.3f}", store.ids(hit.row)[0], store.split_of(hit.row)])
    lines = aligned(rows).splitlines()
    width = max(map(len, lines)) + 2
    letters = max(SHORTEST, columns - width)
    reports = ["report", *(textwrap.shorten(about(store, hit.row), letters, placeholder=" ...") for hit in hits)]
    return "\n".join(f"{line:{width}}{report}" for line, report in zip(lines, reports, strict=True))


def write_sheet(hits: Sequence[Hit], store: Store, title: str, path: Path) -> None:
    """Write the images as PNG, nearest first, each with its rank, score, row and report."""
    from matplotlib.figure import Figure

    rows = -(-len(hits) // COLUMNS)
    figure = Figure(figsize=(2.6 * COLUMNS, 3.9 * rows + 0.4), layout="constrained")
    figure.suptitle(textwrap.shorten(title, 100), fontsize=11, parse_math=False)
    cells = figure.subplots(rows, COLUMNS, squeeze=False).flat
    for number, axes in enumerate(cells):
        axes.set_axis_off()
        if number >= len(hits):
            continue
        hit = hits[number]
        axes.imshow(hit.pixels, cmap="gray", vmin=0, vmax=255)
        name = textwrap.shorten(store.ids(hit.row)[0], LINE_LENGTH, placeholder="...")
        axes.set_title(f"{number + 1}.  {hit.score:.3f}\n{name}", fontsize=8, parse_math=False)
        lines = textwrap.wrap(about(store, hit.row), LINE_LENGTH, max_lines=MAX_LINES, placeholder=" ...")
        lines += [""] * (MAX_LINES - len(lines))  # images of one row stay level
        text = "\n".join(lines)
        axes.text(0.5, -0.03, text, fontsize=6.5, ha="center", va="top", transform=axes.transAxes, parse_math=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
