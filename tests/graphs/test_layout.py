import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igcl_lightning.graphs.layout import NODE_GAP, NODE_HEIGHT, lay_out, lay_out_within


@st.composite
def graphs(draw):
    count = draw(st.integers(1, 14))
    nodes = st.integers(0, count - 1)
    edges = draw(st.lists(st.tuples(nodes, nodes), max_size=18, unique=True))
    widths = st.floats(10, 120)
    return edges, np.array(draw(st.lists(widths, min_size=count, max_size=count))), [30.0] * len(edges)


@settings(max_examples=60, deadline=None)
@given(graphs(), st.floats(50, 800))
def test_no_two_boxes_and_names_overlap_and_all_lie_inside(graph, line_width):
    edges, width, name_width = graph
    layout = lay_out(edges, width, name_width, line_width)
    centre = np.vstack([layout.centre, *(path[:1] for path in layout.paths)])
    half = np.column_stack([np.concatenate([width, name_width]) / 2, np.full(len(centre), NODE_HEIGHT / 2)])
    for one in range(len(centre)):
        for other in range(one):
            apart = np.abs(centre[one] - centre[other]) - half[one] - half[other]
            assert apart.max() > 0
    assert (centre - half >= -1e-6).all()
    assert (centre + half <= np.array(layout.size) + 1e-6).all()


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_arrows_point_down_but_within_a_cycle(graph):
    edges, width, name_width = graph
    layout = lay_out(edges, width, name_width, 600.0)
    cycle = {node: part for part in nx.strongly_connected_components(nx.DiGraph(edges)) for node in part}
    for head, tail in edges:
        above = layout.centre[head, 1] - layout.centre[tail, 1]
        assert above == pytest.approx(0) if tail in cycle[head] else above > 0


def test_components_keep_the_order_of_the_report_and_break_lines():
    width = np.full(4, 100.0)
    one_line = lay_out([], width, [], 1000.0).centre
    assert (np.diff(one_line[:, 0]) > 0).all()
    assert np.ptp(one_line[:, 1]) == 0
    two_lines = lay_out([], width, [], 250.0).centre
    assert two_lines[2, 1] == two_lines[3, 1] < two_lines[0, 1] == two_lines[1, 1]


def test_a_chain_stands_upright_and_a_shared_tail_in_the_middle():
    chain = lay_out([(0, 1), (1, 2)], np.array([20.0, 60.0, 40.0]), [10.0, 10.0], 500.0)
    assert np.ptp(chain.centre[:, 0]) == pytest.approx(0, abs=1.0)
    shared = lay_out([(0, 2), (1, 2)], np.full(3, 40.0), [10.0, 10.0], 500.0).centre
    assert shared[2, 0] == pytest.approx(shared[:2, 0].mean(), abs=1.0)
    assert abs(shared[1, 0] - shared[0, 0]) >= 40 + NODE_GAP


def test_a_narrow_frame_gets_a_narrower_picture():
    width = np.full(12, 80.0)
    narrow, wide = (lay_out_within([], width, [], ratio).size for ratio in (0.5, 8.0))
    assert narrow[0] < wide[0]
    assert narrow[1] > wide[1]


def test_no_node_takes_no_room():
    layout = lay_out([], np.zeros(0), [], 100.0)
    assert layout.centre.shape == (0, 2)
    assert layout.size == (0.0, 0.0)
