"""Transforms of report graphs: joins of disconnected components, and the authors' selection of relations.

Each takes a graph (`Data`) or a `Batch` on any device, without Python loops over nodes, edges or graphs. The
transformed batch equals the batch of the transformed graphs.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.transforms import BaseTransform

from igcl_lightning.graphs.schema import CONNECTOR, ENTITY_LABELS

JOINS = ("none", "dummy", "meta", "primary")

ADDED_NODE = len(ENTITY_LABELS)  # node type of added nodes, whose one-hot vector over the labels is zero

_NODE_FIELDS = {"x": 0, "node_text": 0, "node_type": ADDED_NODE}


class ComponentJoin(BaseTransform):
    """Add nodes and edges that join the disconnected components of each graph (IGCL, section 2 and figure 3).

    Added nodes have zero features and follow the entities of their graph; added edges run both ways and have the type
    `CONNECTOR`. A graph with fewer than two components is unchanged.

    Args:
        kind: nodes added to a graph of several components:
            "none": nothing;
            "dummy": one node, joined to every entity;
            "meta": one node per component, joined to its entities and to all others of these nodes;
            "primary": one node per component, joined to its entities, and one node joined to all of these.

    Raises:
        ValueError: unknown kind.
    """

    def __init__(self, kind: str = "none") -> None:
        if kind not in JOINS:
            raise ValueError(f"join {kind!r} is not one of {', '.join(JOINS)}")
        self.kind = kind

    def forward(self, data: Data) -> Data:
        """Return the joined graph or batch; fields that are joined: x, node_text, node_type, edge_index, edge_type."""
        if self.kind == "none":
            return data
        graph = _graph_of_node(data)
        component = connected_components(data.edge_index, len(graph))
        owner = graph[component.unique()]
        rim = (torch.bincount(owner, minlength=1)[graph] > 1).nonzero().flatten()
        if len(rim) == 0:
            return data
        group = graph if self.kind == "dummy" else component
        hub_graph, edge_index = _hubs(rim, group[rim], graph[rim], len(graph))
        added_graph = hub_graph
        if self.kind == "meta":
            edge_index = torch.cat([edge_index, len(graph) + _pairs(hub_graph)], dim=1)
        elif self.kind == "primary":
            hub = len(graph) + torch.arange(len(hub_graph), device=graph.device)
            report_graph, spokes = _hubs(hub, hub_graph, hub_graph, len(graph) + len(hub))
            added_graph = torch.cat([hub_graph, report_graph])
            edge_index = torch.cat([edge_index, spokes], dim=1)
        return _extend(data, graph, added_graph, edge_index)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.kind!r})"


class FirstRelation(BaseTransform):
    """Keep only the first stored relation from each head entity.

    The authors' code reads one relation per entity from RadGraph's files; the paper's figures show more.
    """

    def forward(self, data: Data) -> Data:
        """Return the graph or batch with at most one edge from each node."""
        head = data.edge_index[0]
        number = torch.arange(len(head), device=head.device)
        first = number.new_full((int(data.num_nodes or 0),), len(head)).scatter_reduce(0, head, number, "amin")
        keep = first[head] == number
        data.edge_index, data.edge_type = data.edge_index[:, keep], data.edge_type[keep]
        return _with_sizes(data, _graph_of_node(data))


def connected_components(edge_index: Tensor, num_nodes: int) -> Tensor:
    """Return for each node the smallest node of its weakly connected component, int64 [num_nodes].

    Each round passes the smaller label along every edge, to the node and to its label's node, and then replaces each
    label by its label's label: the number of rounds is logarithmic in the size of a component.

    """
    source, target = torch.cat([edge_index, edge_index.flip(0)], dim=1)
    label = torch.arange(num_nodes, device=edge_index.device)
    while True:
        lower = label.scatter_reduce(0, target, label[source], "amin")
        lower = lower.scatter_reduce(0, label[target], label[source], "amin")
        lower = lower[lower]
        if torch.equal(lower, label):
            return label
        label = lower


def _hubs(node: Tensor, group: Tensor, graph: Tensor, first: int) -> tuple[Tensor, Tensor]:
    """Return the graph of a hub per group of nodes [H], numbered from `first`, and its edges, both ways [2, 2N]."""
    groups, place = group.unique(return_inverse=True)
    hub_graph = graph.new_empty(len(groups)).scatter_(0, place, graph)
    spokes = torch.stack([node, first + place])
    return hub_graph, torch.cat([spokes, spokes.flip(0)], dim=1)


def _pairs(graph: Tensor) -> Tensor:
    """Return all ordered pairs of different items of one graph, [2, P]; items are sorted by graph."""
    count = torch.bincount(graph)
    partners = count[graph]
    source = torch.arange(len(graph), device=graph.device).repeat_interleave(partners)
    rank = torch.arange(len(source), device=graph.device) - _starts(partners)[source]
    target = _starts(count)[graph[source]] + rank
    return torch.stack([source, target])[:, source != target]


def _extend(data: Data, graph: Tensor, added_graph: Tensor, edge_index: Tensor) -> Data:
    """Append nodes and connectors and sort both by graph; in `edge_index` the added nodes follow all others."""
    graph = torch.cat([graph, added_graph])
    order = graph.argsort(stable=True)
    place = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    for name, fill in _NODE_FIELDS.items():
        if name in data:
            rows = data[name].new_full((len(added_graph), *data[name].shape[1:]), fill)
            data[name] = torch.cat([data[name], rows])[order]
    edges = place[torch.cat([data.edge_index, edge_index], dim=1)]
    edge_type = torch.cat([data.edge_type, data.edge_type.new_full((edge_index.shape[1],), CONNECTOR)])
    graph = graph[order]
    by_graph = graph[edges[0]].argsort(stable=True)
    data.edge_index, data.edge_type = edges[:, by_graph], edge_type[by_graph]
    return _with_sizes(data, graph)


def _graph_of_node(data: Data) -> Tensor:
    """Return the graph of each node, [N]; zeros for a single graph."""
    one = data.edge_index.new_zeros(int(data.num_nodes or 0))
    graph: Tensor = data.batch if isinstance(data, Batch) else one
    return graph


def _with_sizes(data: Data, graph: Tensor) -> Data:
    """Update PyG's record of the graphs' sizes from `graph` [N] and `data.edge_index`."""
    data.num_nodes = len(graph)
    if not isinstance(data, Batch):
        return data
    nodes = torch.bincount(graph, minlength=data.num_graphs)
    edges = torch.bincount(graph[data.edge_index[0]], minlength=data.num_graphs)
    node_slices, edge_slices = (torch.cat([_starts(count), count.sum()[None]]) for count in (nodes, edges))
    data.batch, data.ptr, data._num_nodes = graph, node_slices, nodes.tolist()
    changed = dict.fromkeys(_NODE_FIELDS, node_slices) | dict.fromkeys(("edge_index", "edge_type"), edge_slices)
    data._slice_dict = {name: changed.get(name, slices) for name, slices in data._slice_dict.items()}
    data._inc_dict = data._inc_dict | {"edge_index": node_slices[:-1]}
    return data


def _starts(count: Tensor) -> Tensor:
    """Return the start of each group of `count` items."""
    return count.cumsum(0) - count
