import pytest
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from igcl_lightning.graphs.drawing import LABEL_STYLES, draw_graph, draw_report, text_width
from igcl_lightning.graphs.schema import ENTITY_LABELS, Entity, Relation, ReportGraph

GRAPH = ReportGraph(
    "Small right pleural effusion , possible mass $ 5 . No central venous catheter .",
    (
        Entity("Small", "OBS-DP", 0, 0),
        Entity("right", "ANAT-DP", 1, 1),
        Entity("pleural", "ANAT-DP", 2, 2),
        Entity("effusion", "OBS-DP", 3, 3),
        Entity("mass", "OBS-U", 6, 6),
        Entity("central venous catheter", "OBS-DA", 11, 13),
    ),
    (
        Relation(0, "modify", 3),
        Relation(1, "modify", 2),
        Relation(3, "located_at", 2),
        Relation(3, "suggestive_of", 2),
    ),
)
LEGEND = [f"{style.meaning} ({label})" for label, style in LABEL_STYLES.items()]


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def patches(figure, kind):
    return [patch for axes in figure.axes for patch in axes.patches if type(patch) is kind]


def test_every_label_has_a_style_of_its_own():
    assert tuple(LABEL_STYLES) == ENTITY_LABELS
    assert len({style.fill for style in LABEL_STYLES.values()}) == len(ENTITY_LABELS)
    assert len({style.edge for style in LABEL_STYLES.values()}) == len(ENTITY_LABELS)


def test_graph_shows_each_entity_once_in_its_style():
    figure = draw_graph(GRAPH)
    assert sorted(texts(figure)) == sorted(
        [entity.tokens for entity in GRAPH.entities] + ["modify", "modify", "located_at, suggestive_of"] + LEGEND
    )
    boxes = patches(figure, FancyBboxPatch)[len(LABEL_STYLES) :]
    assert [box.get_linestyle() for box in boxes] == [LABEL_STYLES[entity.label].line for entity in GRAPH.entities]


def test_arrows_run_from_head_to_tail_and_relations_of_one_pair_share_one():
    figure = draw_graph(GRAPH, legend=False)
    boxes = patches(figure, FancyBboxPatch)
    tails = [boxes.index(arrow.patchB) for arrow in patches(figure, FancyArrowPatch)]
    assert tails == [3, 2, 2]
    starts = [line.get_xydata()[0] for line in figure.axes[0].lines]
    for start, head in zip(starts, [0, 1, 3], strict=True):
        assert boxes[head].get_path().transformed(boxes[head].get_patch_transform()).contains_point(start)


def test_no_text_leaves_its_box():
    figure = draw_graph(GRAPH, legend=False)
    figure.canvas.draw()
    for box, text in zip(patches(figure, FancyBboxPatch), figure.axes[0].texts, strict=False):
        outer, inner = box.get_window_extent(), text.get_window_extent()
        assert outer.x0 <= inner.x0
        assert inner.x1 <= outer.x1


def test_a_width_is_that_of_text_and_not_of_a_formula():
    assert text_width("$ x_1 $") > text_width("x_1") + 2 * text_width("$")
    assert text_width("") == 0


def test_report_shows_all_words_and_boxes_the_entities():
    figure = draw_report(GRAPH, legend=False)
    assert texts(figure) == GRAPH.words
    assert len(patches(figure, FancyBboxPatch)) == len(GRAPH.entities)


def test_a_broken_line_breaks_the_box_of_an_entity():
    graph = ReportGraph("word " * 60 + "end", (Entity("word " * 59 + "word", "OBS-DP", 0, 59),))
    boxes = patches(draw_report(graph, legend=False), FancyBboxPatch)
    assert len({box.get_y() for box in boxes}) == len(boxes) > 1


@pytest.mark.parametrize("draw", [draw_graph, draw_report])
def test_given_axes_are_drawn_on_at_their_scale(draw):
    sizes = []
    for width in (4, 8):
        figure = Figure(figsize=(width, width))
        assert draw(GRAPH, figure.add_subplot(1, 1, 1)) is figure
        sizes.append(figure.axes[0].texts[-1].get_fontsize())
    assert sizes[1] == pytest.approx(2 * sizes[0])


@pytest.mark.parametrize(("draw", "words"), [(draw_graph, "(empty graph)"), (draw_report, "(empty report)")])
def test_an_empty_report_says_so(draw, words):
    assert words in texts(draw(ReportGraph("")))
