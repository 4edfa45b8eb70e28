"""Draw docs/images/igcl.png, the picture that opens the README: a phantom, its report, its graph. No real data.

Run it from anywhere: python docs/make_picture.py
"""

from io import BytesIO
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from PIL import Image

from igcl_lightning.data.sources.phantom import phantom_study
from igcl_lightning.graphs.drawing import draw_graph, draw_report

SEED, INDEX = 1, 4484
CROP = slice(20, -20)  # cuts the collimator's shadow and the cut-off arm
PICTURE = Path(__file__).parent / "images" / "igcl.png"
BLUE, GREY = "#0072B2", "#777777"


def main() -> None:
    """Write the picture."""
    study = phantom_study(INDEX, seed=SEED, size=512, views="frontal")
    assert study.graph is not None
    figure = Figure(figsize=(10, 4.0), facecolor="white")
    image = figure.add_axes((0.01, 0.02, 0.385, 0.96))
    image.imshow(study.images[0].source[CROP, CROP], cmap="gray", vmin=0, vmax=255)
    image.set_axis_off()
    draw_report(study.graph, figure.add_axes((0.505, 0.66, 0.495, 0.26)), legend=False)
    draw_graph(study.graph, figure.add_axes((0.505, 0.03, 0.495, 0.60)))
    for y, text in ((0.925, "the report"), (0.645, "its knowledge graph")):
        figure.text(0.512, y, text, fontsize=9, color=GREY, style="italic")
    _arrow(figure, (0.685, 0.725), (0.685, 0.65), "-|>", GREY, 1.0)
    figure.text(0.695, 0.675, "parse", fontsize=9, color=GREY, style="italic")
    _arrow(figure, (0.40, 0.45), (0.492, 0.45), "<|-|>", BLUE, 2.4)
    figure.text(0.446, 0.49, "contrast", ha="center", fontsize=12, weight="bold", color=BLUE)
    _save(figure, PICTURE)


def _arrow(
    figure: Figure, start: tuple[float, float], end: tuple[float, float], style: str, colour: str, width: float
) -> None:
    scale = 8 + 4 * width
    arrow = FancyArrowPatch(start, end, arrowstyle=style, mutation_scale=scale, linewidth=width, color=colour)
    figure.add_artist(arrow)


def _save(figure: Figure, path: Path) -> None:
    """Write a PNG of 160 colours, which keeps the file small."""
    buffer = BytesIO()
    figure.savefig(buffer, dpi=150)
    path.parent.mkdir(exist_ok=True)
    Image.open(buffer).convert("RGB").quantize(160, kmeans=3, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    with mpl.rc_context({"text.hinting": "none"}):  # letters as wide as `draw_report` measures them
        main()
