"""A picture of the images that a search found, with the beginning of their reports."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from igcl_lightning.atomic import replacing
from igcl_lightning.data.store import Store
from igcl_lightning.protocols.search import Hit

COLUMNS = 4
LINE_LENGTH = 38
MAX_LINES = 7


def about(store: Store, row: int) -> str:
    """Return the report of a hashed row id in one line, or its positive labels if it has none."""
    report = " ".join(store.report_text(row).split())
    return report or ", ".join(name for name, value in store.row_labels(row).items() if value == 1) or "(no report)"


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
