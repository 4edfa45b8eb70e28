from itertools import combinations

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch, Data

from igcl_lightning.graphs.schema import CONNECTOR, ENTITY_LABELS
from igcl_lightning.graphs.transforms import ADDED_NODE, JOINS, ComponentJoin, FirstRelation, connected_components


def report_graph(num_nodes, edges, text=False):
    """A graph of so many nodes, its edges as (head, tail, type)."""
    generator = torch.Generator().manual_seed(num_nodes)
    table = torch.tensor(edges, dtype=torch.int64).reshape(-1, 3)
    data = Data(
        x=torch.randint(1, 50, (num_nodes, 4), generator=generator),
        node_type=torch.randint(0, 4, (num_nodes,), generator=generator),
        edge_index=table[:, :2].T.contiguous(),
        edge_type=table[:, 2].contiguous(),
        num_nodes=num_nodes,
    )
    if text:
        data.node_text = torch.randn(num_nodes, 3, generator=generator)
    return data


PAIRS = report_graph(4, [(0, 1, 0), (3, 2, 1)])
CONNECTED = report_graph(3, [(0, 1, 1), (2, 1, 0), (0, 1, 2)])
ISOLATED = report_graph(3, [])
EMPTY = report_graph(0, [])
GRAPHS = [PAIRS, EMPTY, CONNECTED, ISOLATED, report_graph(6, [(5, 0, 0), (1, 2, 2), (2, 1, 1)]), EMPTY]


def joined_slowly(data, kind):
    """Number of nodes, and the set of (head, tail, type), by networkx and loops."""
    graph = nx.Graph()
    graph.add_nodes_from(range(data.num_nodes))
    graph.add_edges_from(data.edge_index.T.tolist())
    parts = sorted(nx.connected_components(graph), key=min)
    edges = [(*pair, kind) for pair, kind in zip(data.edge_index.T.tolist(), data.edge_type.tolist(), strict=True)]
    size, links = data.num_nodes, []
    if kind == "none" or len(parts) < 2:
        return size, sorted(edges)
    groups = [set(range(size))] if kind == "dummy" else parts
    hubs = list(range(size, size + len(groups)))
    for hub, group in zip(hubs, groups, strict=True):
        links += [(node, hub) for node in group]
    size += len(hubs)
    if kind == "meta":
        links += list(combinations(hubs, 2))
    if kind == "primary":
        links += [(hub, size) for hub in hubs]
        size += 1
    both = links + [(tail, head) for head, tail in links]
    return size, sorted(edges + [(*pair, CONNECTOR) for pair in both])


def edge_list(data):
    return sorted((*pair, kind) for pair, kind in zip(data.edge_index.T.tolist(), data.edge_type.tolist(), strict=True))


@st.composite
def random_graphs(draw):
    size = draw(st.integers(0, 9))
    ends = st.integers(0, max(size - 1, 0))
    edges = draw(st.lists(st.tuples(ends, ends, st.integers(0, 2)), max_size=10, unique=True)) if size else []
    return report_graph(size, edges)


@settings(deadline=None, max_examples=60)
@given(st.lists(random_graphs(), min_size=1, max_size=5), st.sampled_from(JOINS))
def test_joins_are_those_of_the_slow_loop_on_a_graph_and_on_a_batch(graphs, kind):
    join = ComponentJoin(kind)
    alone = [join(graph) for graph in graphs]
    for graph, result in zip(graphs, alone, strict=True):
        assert (result.num_nodes, edge_list(result)) == joined_slowly(graph, kind)
    same_batch(join(Batch.from_data_list(graphs)), Batch.from_data_list(alone))


@pytest.mark.parametrize("transform", [*map(ComponentJoin, JOINS), FirstRelation()], ids=repr)
@pytest.mark.parametrize("text", [False, True])
def test_a_transformed_batch_is_the_batch_of_transformed_graphs(transform, text):
    graphs = [report_graph(g.num_nodes, edge_list(g), text) for g in GRAPHS]
    same_batch(transform(Batch.from_data_list(graphs)), Batch.from_data_list([transform(graph) for graph in graphs]))


def same_batch(got, expected):
    assert got.keys() == expected.keys()
    assert got.num_nodes == expected.num_nodes
    assert got.num_graphs == expected.num_graphs
    for one, two in zip([got, *got.to_data_list()], [expected, *expected.to_data_list()], strict=True):
        assert one.num_nodes == two.num_nodes
        for name in ("x", "node_type", "edge_index", "edge_type", *(["node_text"] if "node_text" in expected else [])):
            assert torch.equal(one[name], two[name]), name
    assert torch.equal(got.batch, expected.batch)
    assert torch.equal(got.ptr, expected.ptr)


@pytest.mark.parametrize(
    ("kind", "nodes", "edges"), [("none", 4, 2), ("dummy", 5, 10), ("meta", 6, 12), ("primary", 7, 14)]
)
def test_two_components_without_isolated_nodes_are_joined(kind, nodes, edges):
    joined = ComponentJoin(kind)(PAIRS)
    assert (joined.num_nodes, joined.num_edges) == (nodes, edges)
    assert len(connected_components(joined.edge_index, nodes).unique()) == (2 if kind == "none" else 1)


@pytest.mark.parametrize("kind", JOINS[1:])
def test_connectors_run_both_ways_once_and_never_in_a_loop(kind):
    joined = ComponentJoin(kind)(Batch.from_data_list(GRAPHS))
    connectors = joined.edge_index[:, joined.edge_type == CONNECTOR].T.tolist()
    assert len(connectors) == len(set(map(tuple, connectors)))
    assert all(head != tail for head, tail in connectors)
    assert {(tail, head) for head, tail in connectors} == set(map(tuple, connectors))


@pytest.mark.parametrize("kind", JOINS[1:])
def test_added_nodes_are_zero_and_stand_after_the_entities(kind):
    graph = report_graph(3, [(0, 1, 0)], text=True)
    joined = ComponentJoin(kind)(graph)
    for name in ("x", "node_text", "node_type"):
        assert torch.equal(joined[name][:3], graph[name])
    assert not joined.x[3:].any()
    assert not joined.node_text[3:].any()
    assert joined.node_type[3:].tolist() == [ADDED_NODE] * (joined.num_nodes - 3)
    assert len(ENTITY_LABELS) == ADDED_NODE


def test_the_input_is_left_as_it_was():
    batch = Batch.from_data_list(GRAPHS)
    before = [edge_list(graph) for graph in batch.to_data_list()]
    for transform in (ComponentJoin("meta"), FirstRelation()):
        transform(batch)
        assert [edge_list(graph) for graph in batch.to_data_list()] == before


def test_components_of_a_long_path_in_any_order():
    order = torch.randperm(500, generator=torch.Generator().manual_seed(0))
    path = torch.stack([order[:-1], order[1:]])[:, torch.arange(499) != 250]
    label = connected_components(path, 500)
    assert label.unique().tolist() == sorted([int(order[:251].min()), int(order[251:].min())])
    assert len(label[order[:251]].unique()) == len(label[order[251:]].unique()) == 1


def test_the_first_relation_of_each_entity_is_kept():
    graph = report_graph(4, [(2, 0, 1), (0, 1, 0), (2, 1, 0), (0, 3, 2), (3, 3, 1)])
    assert edge_list(FirstRelation()(graph)) == [(0, 1, 0), (2, 0, 1), (3, 3, 1)]


def test_unknown_kind_is_named():
    with pytest.raises(ValueError, match="join 'reaction' is not one of none, dummy, meta, primary"):
        ComponentJoin("reaction")
