"""The graph encoder written down as NumPy loops over entities and edges, and graphs for it."""

import numpy as np
import torch
from torch_geometric.nn import RGCNConv
from torch_geometric.utils import to_dense_batch

from igcl_lightning.graphs.featurizer import featurize
from igcl_lightning.graphs.schema import Entity, Relation, ReportGraph
from igcl_lightning.nn.graph_encoder import GraphEncoder, GraphOptions

EMPTY = ReportGraph("")
LONE = ReportGraph("lungs", (Entity("lungs", "ANAT-DP", 0, 0),))
CLEAR = ReportGraph(
    "lungs clear", (Entity("lungs", "ANAT-DP", 0, 0), Entity("clear", "OBS-DP", 1, 1)), (Relation(1, "located_at", 0),)
)
RICH = ReportGraph(
    "small right effusion may be pneumonia no mass",
    (
        Entity("small", "OBS-DP", 0, 0),
        Entity("right", "ANAT-DP", 1, 1),
        Entity("effusion", "OBS-DP", 2, 2),
        Entity("pneumonia", "OBS-U", 5, 5),
        Entity("mass", "OBS-DA", 7, 7),
    ),
    (
        Relation(0, "modify", 2),
        Relation(2, "located_at", 1),
        Relation(2, "suggestive_of", 3),
        Relation(2, "modify", 3),  # two relations of one pair
        Relation(3, "modify", 2),  # and one back
        Relation(1, "modify", 1),  # an entity with itself
    ),
)
"""Two components, one of them a lone entity."""

GRAPHS = (RICH, EMPTY, CLEAR, LONE)

SWITCHES = {
    "default": {},
    "rgcn without types": {"relation_types": False},
    "gcn": {"conv": "gcn", "relation_types": False},
    "gat": {"conv": "gat"},
    "gat without types": {"conv": "gat", "relation_types": False, "inverse_relations": False},
    "sage": {"conv": "sage", "relation_types": False},
    "without structure": {"layers": 0},
    "mean of texts": {"layers": 0, "attention_layers": 0, "readout": "mean", "node_types": False},
    "without texts": {"node_texts": False},
    "without labels": {"node_types": False},
    "structure only": {"node_texts": False, "node_types": False, "readout": "min"},
    "structure only, gat": {"node_texts": False, "node_types": False, "conv": "gat", "join": "meta"},
}


def batch(*graphs):
    return featurize(graphs)


def encoder(**options):
    torch.manual_seed(0)
    return GraphEncoder(GraphOptions(**{"channels": 16, **options})).eval()


def random_edges(num_nodes, num_edges, num_types):
    """Edges with loops and repetitions."""
    generator = torch.Generator().manual_seed(num_edges)
    edge_index = torch.randint(0, num_nodes, (2, num_edges), generator=generator)
    return edge_index, torch.randint(0, num_types, (num_edges,), generator=generator)


def conv_by_loops(kind, layer, x, edges):
    """Output [N, D] for nodes [N, C] and edges, a list of (head, tail, type)."""
    weights = {name: value.detach().double().numpy() for name, value in layer.named_parameters()}
    assert kind in BY_LOOPS, "write the new layer down here as loops"
    return np.stack([BY_LOOPS[kind](weights, x, edges, node) for node in range(len(x))])


def rgcn_node(weights, x, edges, node):
    out = weights["root"].T @ x[node] + weights["bias"]
    for relation, weight in enumerate(weights["weight"]):
        read = [x[head] for head, tail, kind in edges if (tail, kind) == (node, relation)]
        if read:
            out = out + weight.T @ (sum(read) / len(read))
    return out


def gcn_node(weights, x, edges, node):
    def degree(of):
        return 1 + sum(tail == of != head for head, tail, _ in edges)

    read = [node, *(head for head, tail, _ in edges if tail == node != head)]
    linear = weights["conv.lin.weight"]
    return weights["conv.bias"] + sum(linear @ x[head] / np.sqrt(degree(node) * degree(head)) for head in read)


def gat_node(weights, x, edges, node):
    linear, own, other = weights["conv.lin.weight"], weights["conv.att_dst"][0, 0], weights["conv.att_src"][0, 0]
    of_type = [weights["conv.att_edge"][0, 0] @ column for column in weights["conv.lin_edge.weight"].T]
    read = [(node, 0.0), *((head, of_type[kind]) for head, tail, kind in edges if tail == node != head)]
    scores = [own @ linear @ x[node] + other @ linear @ x[head] + typed for head, typed in read]
    powers = [np.exp(score if score > 0 else 0.2 * score) for score in scores]
    mean = sum(power * (linear @ x[head]) for power, (head, _) in zip(powers, read, strict=True)) / sum(powers)
    return weights["conv.bias"] + mean


def sage_node(weights, x, edges, node):
    out = weights["conv.lin_r.weight"] @ x[node] + weights["conv.lin_l.bias"]
    read = [x[head] for head, tail, _ in edges if tail == node]
    return out + weights["conv.lin_l.weight"] @ (sum(read) / len(read)) if read else out


BY_LOOPS = {"rgcn": rgcn_node, "gcn": gcn_node, "gat": gat_node, "sage": sage_node}


def edges_by_loops(graph, options):
    """The edges that layers read, as (head, tail, type); connectors run both ways already."""
    types = ("located_at", "modify", "suggestive_of") if options.relation_types else ("any",)
    number = {0: 0, 1: len(types) // 2, 2: len(types) - 1}
    edges = []
    for head, tail, kind in zip(*graph.edge_index.tolist(), graph.edge_type.tolist(), strict=True):
        if kind == 3:
            edges.append((head, tail, len(types)))
            continue
        edges.append((head, tail, number[kind]))
        if options.inverse_relations:
            edges.append((tail, head, len(types) + 1 + number[kind]))
    return edges


def nodes_by_loops(model, graph, options):
    """What the nodes bring, [N, C]."""
    nodes = []
    for buckets, label in zip(graph.x.tolist(), graph.node_type.tolist(), strict=True):
        parts = []
        if options.node_texts:
            table = model.nodes.text.subwords.weight.detach().double().numpy()
            words = [table[bucket] for bucket in buckets if bucket]
            parts += [sum(words) / len(words) if words else np.zeros(table.shape[1])]
        if options.node_types:
            parts += [[float(label == each) for each in range(4)]]
        nodes.append(np.concatenate(parts) if parts else [float(label < 4)])
    return np.array(nodes)


def units_by_loops(model, graph, options):
    """States of all nodes of a joined batch [N, D] before the attention."""
    x = nodes_by_loops(model, graph, options)
    if not options.layers:
        return x @ model.projection.weight.detach().double().numpy().T + model.projection.bias.detach().numpy()
    edges = edges_by_loops(graph, options)
    for layer in model.convs:
        x = np.maximum(conv_by_loops(options.conv, layer, x, edges), 0)
    return x


def encoded_with_padding(model, graph):
    """Pooled vectors [B, D], units of all nodes [B, U, D] and their shares [B, U], by PyG's R-GCN and padded attention.

    `graph` is joined already. Gradients reach the parameters of `model`.
    """
    edge_index, edge_type = model._edges(graph)
    x = model.nodes(graph)
    for conv in model.convs:
        relations, before, after = conv.weight.shape
        reference = RGCNConv(before, after, relations)
        x = torch.func.functional_call(reference, dict(conv.named_parameters()), (x, edge_index, edge_type)).relu()
    units, mask = to_dense_batch(x, graph.batch, batch_size=graph.num_graphs)
    if not units.shape[1]:
        units, mask = units.new_zeros(len(units), 1, units.shape[2]), mask.new_zeros(len(mask), 1)
    first = torch.zeros_like(mask)
    first[:, 0] = ~mask.any(dim=1)
    units, mask = torch.where(first[..., None], model.empty, units), mask | first
    for layer in model.attention:
        width, heads = layer.self_attn.embed_dim, layer.self_attn.num_heads
        reference = torch.nn.TransformerEncoderLayer(width, heads, layer.linear1.out_features, batch_first=True).eval()
        arguments = (units,), {"src_key_padding_mask": ~mask if model.attention_mask else None}
        units = torch.func.functional_call(reference, dict(layer.named_parameters()), *arguments)
    pooled, share = [], torch.zeros(mask.shape, dtype=units.dtype)
    for row, own in enumerate(units[each, : int(of.sum())] for each, of in enumerate(mask)):
        if model.readout in ("max", "min"):
            vector, winner = getattr(own, model.readout)(dim=0)
            weight = torch.bincount(winner, minlength=len(own)) / len(winner)
        else:
            score = own @ model.gate.weight[0] if model.gate is not None else own.new_zeros(len(own))
            weight = score.softmax(dim=0)
            vector = weight @ own
        pooled.append(vector)
        share[row, : len(own)] = weight
    return torch.stack(pooled), units * mask[..., None], share
