"""How entities read their neighbours: R-GCN, GCN, GAT and GraphSAGE, with one interface.

A layer maps nodes [N, in_channels], edges [2, E] and their types [E] to nodes [N, out_channels]. Messages run from the
head to the tail of an edge. An entity always reads itself, whether it has neighbours or not; two edges of one pair both
count. All weights take part even without edges or nodes: distributed training waits for their gradients. Nodes keep
their precision, so that mixed precision sums over neighbours in single precision.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.nn import GATConv, GCNConv, SAGEConv

from igcl_lightning.nn.checks import check_choice

CONVS = ("rgcn", "gcn", "gat", "sage")
UNTYPED_CONVS = ("gcn", "sage")
"""Layers that read no types of edges."""


def create_conv(kind: str, in_channels: int, out_channels: int, num_relations: int) -> nn.Module:
    """Return a layer, one of `CONVS`.

    Args:
        kind: "rgcn" and "gat" tell `num_relations` types of edges apart, "gcn" and "sage" none.
        in_channels: channels of the input nodes.
        out_channels: channels of the output nodes.
        num_relations: number of edge types.

    Raises:
        IgclError: unknown kind.
    """
    check_choice("model.graph.conv", kind, CONVS)
    if kind == "gcn":
        return GCNLayer(in_channels, out_channels)
    if kind == "sage":
        return SAGELayer(in_channels, out_channels)
    typed = RelationalConv if kind == "rgcn" else GATLayer
    return typed(in_channels, out_channels, num_relations)


class RelationalConv(nn.Module):
    r"""Relational graph convolution (Schlichtkrull et al. 2018), full weight per relation, mean per relation.

    .. math:: x'_i = W_0 x_i + b + \sum_r \frac{1}{|N_r(i)|} \sum_{j \in N_r(i)} W_r x_j

    Equal to `torch_geometric.nn.RGCNConv` with its defaults, but multiplies only the nodes and relations that have
    neighbours.

    Args:
        in_channels: channels of the input nodes.
        out_channels: channels of the output nodes.
        num_relations: number of edge types.
    """

    def __init__(self, in_channels: int, out_channels: int, num_relations: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_relations, in_channels, out_channels))
        self.root = nn.Parameter(torch.empty(in_channels, out_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        nn.init.xavier_uniform_(self.root)
        for weight in self.weight:
            nn.init.xavier_uniform_(weight)

    def forward(self, x: Tensor, edge_index: Tensor, edge_type: Tensor) -> Tensor:
        """Map nodes [N, in_channels], edges [2, E] and their types [E] to nodes [N, out_channels]."""
        num_nodes = x.shape[0]
        # A slot is a node and a relation with neighbours; slots and edges are sorted by relation, then node.
        key, order = (edge_type * num_nodes + edge_index[1]).sort(stable=True)
        first = torch.ones_like(key, dtype=torch.bool)
        first[1:] = key[1:] != key[:-1]
        slot = first.cumsum(0) - 1
        per_relation = slot.new_zeros(self.weight.shape[0]).index_add(0, edge_type[order], first.long()).tolist()
        target = slot.new_empty(sum(per_relation)).scatter(0, slot, edge_index[1, order])
        # In single precision: sums of ones in bfloat16 stop at 256.
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        count = wide.new_zeros(len(target)).index_add(0, slot, wide.new_ones(len(slot)))
        total = wide.new_zeros(len(target), x.shape[1]).index_add(0, slot, wide[edge_index[0, order]])
        mean = (total / count[:, None]).to(x.dtype).split(per_relation)
        sent = torch.cat([each @ weight for each, weight in zip(mean, self.weight.unbind(), strict=True)])
        own = x @ self.root + self.bias
        return own.index_add(0, target, sent.to(own.dtype))


class GCNLayer(nn.Module):
    r"""Graph convolution (Kipf and Welling 2017, eq. 2), by `torch_geometric.nn.GCNConv`.

    .. math:: x'_i = b + \sum_{j \in N(i) \cup \{i\}} \frac{W x_j}{\sqrt{d_i d_j}}

    with d the number of edges that arrive at a node, its own loop included. A relation of an entity with itself is that
    loop. Without inverse edges, relations stay directed.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = GCNConv(in_channels, out_channels)

    def forward(self, x: Tensor, edge_index: Tensor, edge_type: Tensor) -> Tensor:
        """Map nodes [N, in_channels] and edges [2, E] to nodes [N, out_channels]; types are not read."""
        out: Tensor = self.conv(x, edge_index)
        return out


class GATLayer(nn.Module):
    r"""Graph attention (Veličković et al. 2018, eq. 1-4), by `torch_geometric.nn.GATConv`.

    .. math:: x'_i = b + \sum_{j \in N(i) \cup \{i\}} \alpha_{ij} W x_j, \quad \alpha_{ij} = \mathrm{softmax}_j
        \mathrm{LeakyReLU}(a_1^T W x_i + a_2^T W x_j + s_{r(j, i)})

    The type r of an edge adds a learned score s; the loop of a node has none. There is one head, as wide as the layer.
    A relation of an entity with itself is its loop.
    """

    def __init__(self, in_channels: int, out_channels: int, num_relations: int) -> None:
        super().__init__()
        self.num_relations = num_relations
        self.conv = GATConv(in_channels, out_channels, edge_dim=num_relations, fill_value=0.0)

    def forward(self, x: Tensor, edge_index: Tensor, edge_type: Tensor) -> Tensor:
        """Map nodes [N, in_channels], edges [2, E] and their types [E] to nodes [N, out_channels]."""
        types = nn.functional.one_hot(edge_type, self.num_relations).to(x.dtype)
        # With one node more: PyG's layer leaves weights out if there is none at all.
        out: Tensor = self.conv(nn.functional.pad(x, (0, 0, 0, 1)), edge_index, types)
        return out[:-1]


class SAGELayer(nn.Module):
    r"""GraphSAGE with the mean of neighbours (Hamilton et al. 2017), by `torch_geometric.nn.SAGEConv`.

    .. math:: x'_i = W_1 x_i + b + W_2 \frac{1}{|N(i)|} \sum_{j \in N(i)} x_j
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = SAGEConv(in_channels, out_channels)

    def forward(self, x: Tensor, edge_index: Tensor, edge_type: Tensor) -> Tensor:
        """Map nodes [N, in_channels] and edges [2, E] to nodes [N, out_channels]; types are not read."""
        out: Tensor = self.conv(x, edge_index)
        return out.to(x.dtype)  # in mixed precision it would be half, and so would the sums of the next layer
