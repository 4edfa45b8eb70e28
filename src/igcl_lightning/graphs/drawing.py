"""Pictures of a report and of its graph."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.textpath import text_to_path

from igcl_lightning.graphs.layout import NODE_HEIGHT, lay_out, lay_out_within
from igcl_lightning.graphs.schema import Entity, ReportGraph

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class LabelStyle(NamedTuple):
    """Style of the boxes of a label."""

    meaning: str  # the label in words
    fill: str  # colour of the box
    edge: str  # colour of its border
    line: str = "-"  # line style of its border, for colour-blind readers


LABEL_STYLES: dict[str, LabelStyle] = {
    "ANAT-DP": LabelStyle("anatomy", "#D6E8F5", "#0072B2"),
    "OBS-DP": LabelStyle("present", "#FADCC8", "#D55E00"),
    "OBS-U": LabelStyle("uncertain", "#FFF1B8", "#B58900", "--"),
    "OBS-DA": LabelStyle("absent", "#EFEFEF", "#777777", ":"),
}
"""Style of each of `ENTITY_LABELS`, in Okabe and Ito's colours, which are safe for colour-blind readers."""

XL_STYLES: dict[str, LabelStyle] = {
    "ANAT-U": LabelStyle("anatomy, uncertain", "#D6E8F5", "#0072B2", "--"),
    "ANAT-DA": LabelStyle("anatomy, absent", "#EFEFEF", "#0072B2", ":"),
    "ANAT-M": LabelStyle("measure of anatomy", "#E3F2EC", "#009E73"),
    "OBS-M": LabelStyle("measure", "#F7E6F0", "#CC79A7"),
}
"""Style of each of `XL_LABELS`, not shown in legends."""

# Lengths are points, 72 to the inch.
FONT_SIZE = 9.0
RELATION_FONT_SIZE = 6.5
PADDING = 6.0
WORD_GAP = 8.5
WORD_PADDING = 3.0
LINE_HEIGHT = 22.0
LEGEND_HEIGHT = 34.0
LEGEND_WIDTH = 400.0
MARGIN = 8.0
PICTURE_WIDTH = 680.0
CLOSING = frozenset(".,;:)")  # words without a space before them

INK = "#222222"
ARROW_COLOUR = "#555555"


def label_style(label: str) -> LabelStyle:
    """Return the style of any label, RadGraph-XL's included."""
    return LABEL_STYLES.get(label) or XL_STYLES[label]


class Canvas:
    """Axes on which one unit is one point at scale 1; all text and lines scale with them.

    Args:
        axes: axes to draw on; None makes a figure at scale 1.
        size: width and height of the drawing without legend, in points.
        legend: whether to draw a legend below.
    """

    def __init__(self, axes: Axes | None, size: tuple[float, float], legend: bool) -> None:
        below = LEGEND_HEIGHT if legend else 0.0
        width, height = max(size[0], LEGEND_WIDTH * legend) + 2 * MARGIN, size[1] + below + 2 * MARGIN
        if axes is None:
            axes = Figure(figsize=(width / 72, height / 72), dpi=144).add_axes((0, 0, 1, 1))
        figure = axes.get_figure(root=True)
        assert figure is not None
        self.axes, self.figure = axes, figure
        frame = axes.get_window_extent()
        dpi = axes.figure.get_dpi()
        self.scale = min(frame.width / width, frame.height / height) * 72 / dpi
        axes.set(xlim=(-MARGIN, width - MARGIN), ylim=(-below - MARGIN, height - below - MARGIN))
        axes.set_aspect("equal", anchor="NW")
        axes.set_axis_off()
        if legend:
            self.legend()

    def box(self, centre: Sequence[float], size: tuple[float, float], label: str) -> FancyBboxPatch:
        """Draw a box in the style of a label."""
        style = label_style(label)
        corner = centre[0] - size[0] / 2, centre[1] - size[1] / 2
        box = FancyBboxPatch(
            corner,
            *size,
            boxstyle="round,pad=0,rounding_size=4",
            facecolor=style.fill,
            edgecolor=style.edge,
            linestyle=style.line,
            linewidth=1.1 * self.scale,
        )
        self.axes.add_patch(box)
        return box

    def text(self, place: Sequence[float], text: str, size: float = FONT_SIZE, **how: Any) -> None:
        """Write text, vertically centred on `place`."""
        # Matplotlib parses text between dollar signs as formulas.
        options: dict[str, Any] = {"fontsize": size * self.scale, "va": "center_baseline", "parse_math": False}
        self.axes.text(place[0], place[1], text, **{"color": INK} | options | how)

    def arrow(self, head: Sequence[float], tail: FancyBboxPatch, path: np.ndarray, name: str) -> None:
        """Draw an arrow from `head` over the points `path` [P, 2] to a box, with its name at the first point."""
        end = tail.get_x() + tail.get_width() / 2, tail.get_y() + tail.get_height() / 2
        line: dict[str, Any] = {"linewidth": 0.9 * self.scale, "color": ARROW_COLOUR, "zorder": 0.5}
        self.axes.plot(*np.vstack([head, path]).T, **line)
        tip: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 7 * self.scale, "shrinkA": 0, "shrinkB": 1}
        self.axes.add_patch(FancyArrowPatch(tuple(path[-1]), end, patchB=tail, **tip, **line))
        back = {"facecolor": "white", "edgecolor": "none", "pad": 0.6 * self.scale}
        self.text(path[0], name, RELATION_FONT_SIZE, ha="center", color=ARROW_COLOUR, bbox=back)

    def legend(self) -> None:
        """Draw the legend of the four labels."""
        left, y = 0.0, -LEGEND_HEIGHT + NODE_HEIGHT / 2
        for label, style in LABEL_STYLES.items():
            self.box((left + 7, y), (14, 11), label)
            self.text((left + 19, y), f"{style.meaning} ({label})", RELATION_FONT_SIZE + 1)
            left += LEGEND_WIDTH / len(LABEL_STYLES)


def draw_graph(graph: ReportGraph, axes: Axes | None = None, legend: bool = True) -> Figure:
    """Draw a report graph: a box per entity in the style of its label, an arrow per relation.

    Components are side by side in the order of the report, modifiers on top, anatomy at the bottom.

    Args:
        graph: the report graph; an empty one is drawn as "(empty graph)".
        axes: axes to draw on, scaled to fit; by default a new figure, at most ten inches wide.
        legend: whether to draw a legend of the labels below.
    """
    names, width, name_width = measure(graph)
    if axes is None:
        layout = lay_out(list(names), width, name_width, PICTURE_WIDTH)
    else:
        layout = lay_out_within(list(names), width, name_width, _ratio(axes))
    canvas = Canvas(axes, layout.size, legend)
    boxes = []
    for entity, centre, box_width in zip(graph.entities, layout.centre, width, strict=True):
        boxes.append(canvas.box(centre, (box_width, NODE_HEIGHT), entity.label))
        canvas.text(centre, entity.tokens, ha="center")
    for ((head, tail), name), path in zip(names.items(), layout.paths, strict=True):
        canvas.arrow(layout.centre[head], boxes[tail], path, name)
    if not graph.entities:
        canvas.text((0, 0), "(empty graph)")
    return canvas.figure


def draw_report(graph: ReportGraph, axes: Axes | None = None, legend: bool = True) -> Figure:
    """Draw the words of a report, with entities in boxes in the style of their labels; arguments as in `draw_graph`."""
    width = np.array([text_width(word) for word in graph.words])
    if axes is None:
        left, line = _flow(graph.words, width, PICTURE_WIDTH)
    else:
        left, line = _flow_within(graph.words, width, _ratio(axes))
    right = left + width
    y = (line.max(initial=0) - line + 0.5) * LINE_HEIGHT
    canvas = Canvas(axes, (right.max(initial=0), (line.max(initial=0) + 1) * LINE_HEIGHT), legend)
    for entity in graph.entities:
        for first, last in _pieces(entity, line):
            centre = (left[first] + right[last]) / 2, y[first]
            canvas.box(centre, (right[last] - left[first] + 2 * WORD_PADDING, NODE_HEIGHT), entity.label)
    for place, word in zip(zip(left, y, strict=True), graph.words, strict=True):
        canvas.text(place, word)
    if not graph.words:
        canvas.text((0, LINE_HEIGHT / 2), "(empty report)")
    return canvas.figure


def measure(graph: ReportGraph) -> tuple[dict[tuple[int, int], str], np.ndarray, list[float]]:
    """Return what is laid out: a name per pair of related entities, the widths of the boxes [N], and of the names."""
    types: dict[tuple[int, int], list[str]] = defaultdict(list)
    for relation in graph.relations:
        types[relation.head, relation.tail].append(relation.type)
    names = {pair: ", ".join(found) for pair, found in types.items()}
    width = np.array([text_width(entity.tokens) + 2 * PADDING for entity in graph.entities])
    return names, width, [text_width(name) * RELATION_FONT_SIZE / FONT_SIZE for name in names.values()]


def text_width(text: str) -> float:
    """Return the width of a text in `FONT_SIZE`, in points."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a browser has other fonts
        width, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=FONT_SIZE), ismath=False)
    return float(width)


def _flow(words: Sequence[str], width: np.ndarray, line_width: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the left end and the line number of each word."""
    left, line = np.zeros(len(words)), np.zeros(len(words), dtype=int)
    for index in range(1, len(words)):
        gap = WORD_PADDING + 0.5 if words[index] in CLOSING else WORD_GAP
        left[index] = left[index - 1] + width[index - 1] + gap
        line[index] = line[index - 1]
        if left[index] + width[index] > line_width and words[index] not in CLOSING:
            left[index], line[index] = 0.0, line[index - 1] + 1
    return left, line


def _flow_within(words: Sequence[str], width: np.ndarray, ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """Do the same with the line width that best fills a frame with this ratio of width to height."""

    def extent(flow: tuple[np.ndarray, np.ndarray]) -> tuple[float, int]:
        left, line = flow
        num_lines = int(line.max(initial=0)) + 1
        height = num_lines * LINE_HEIGHT + LEGEND_HEIGHT + 2 * MARGIN
        return max((left + width).max(initial=LEGEND_WIDTH) + 2 * MARGIN, height * ratio), num_lines

    longest = float(width.sum()) + WORD_GAP * len(words)
    return min((_flow(words, width, line_width) for line_width in np.linspace(longest / 16, longest, 32)), key=extent)


def _pieces(entity: Entity, line: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield the first and last word of an entity on each of its lines."""
    words = np.arange(entity.start, entity.end + 1)
    for number in np.unique(line[words]):
        here = words[line[words] == number]
        yield int(here[0]), int(here[-1])


def _ratio(axes: Axes) -> float:
    frame = axes.get_window_extent()
    return float(frame.width / frame.height)
