"""Graph encoder: R-GCN layers, then attention over all nodes of a report, then a readout (IGCL, section 3)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.utils import to_dense_batch

from igcl_lightning.graphs.featurizer import NUM_BUCKETS
from igcl_lightning.graphs.schema import ENTITY_LABELS, RELATION_TYPES
from igcl_lightning.nn.encoded import Encoded, UnitRelations

READOUTS = ("max", "mean", "attention")


class NodeEmbedding(nn.Module):
    """Embed an entity as [mean of its subword embeddings | one-hot label].

    Args:
        text_channels: channels of the subword embedding.
    """

    def __init__(self, text_channels: int) -> None:
        super().__init__()
        self.subwords = nn.EmbeddingBag(NUM_BUCKETS, text_channels, mode="mean", padding_idx=0)
        self.out_channels = text_channels + len(ENTITY_LABELS)

    def forward(self, x: Tensor, node_type: Tensor) -> Tensor:
        """Map subword buckets [N, S] and labels [N] to [N, out_channels]."""
        label = nn.functional.one_hot(node_type, len(ENTITY_LABELS))
        return torch.cat([self.subwords(x), label.to(self.subwords.weight.dtype)], dim=-1)


class RelationalConv(nn.Module):
    r"""Relational graph convolution (Schlichtkrull et al. 2018), full weight per relation, mean per relation.

    .. math:: x'_i = W_0 x_i + b + \sum_r \frac{1}{|N_r(i)|} \sum_{j \in N_r(i)} W_r x_j

    Messages run from the head to the tail of an edge. Equal to `torch_geometric.nn.RGCNConv` with its defaults, but
    averages before it multiplies: one scatter and one matrix product instead of a loop over relations.

    Args:
        in_channels: channels of a node.
        out_channels: channels of an output node.
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
        num_nodes, num_relations = x.shape[0], self.weight.shape[0]
        source, target = edge_index
        slot = target * num_relations + edge_type
        total = x.new_zeros(num_nodes * num_relations, x.shape[1]).index_add(0, slot, x[source])
        count = x.new_zeros(num_nodes * num_relations).index_add(0, slot, x.new_ones(slot.shape[0]))
        mean = total / count.clamp(min=1)[:, None]
        return mean.view(num_nodes, num_relations * x.shape[1]) @ self.weight.flatten(0, 1) + x @ self.root + self.bias


class GraphEncoder(nn.Module):
    """Encode report graphs.

    The R-GCN spreads information within a connected component; masked self-attention over all nodes of one report
    then joins the components (IGCL eq. 4-6). Padding never takes part, so a graph's encoding does not depend on the
    graphs it is batched with. A graph without entities is encoded as one learned unit.

    Args:
        channels: width of all layers.
        num_layers: R-GCN layers.
        num_attention_layers: post-norm transformer layers over the nodes of a report; 0 leaves components apart.
        num_heads: heads of each.
        readout: "max", "mean" or "attention" (a learned gate).
        inverse_relations: also send messages from tail to head, with weights of their own.
        dropout: in the transformer layers.

    Raises:
        ValueError: unknown readout.
    """

    def __init__(
        self,
        channels: int = 512,
        num_layers: int = 2,
        num_attention_layers: int = 1,
        num_heads: int = 2,
        readout: str = "max",
        inverse_relations: bool = True,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if readout not in READOUTS:
            raise ValueError(f"readout {readout!r} is not one of {', '.join(READOUTS)}")
        self.readout = readout
        self.inverse_relations = inverse_relations
        self.out_channels = channels
        self.nodes = NodeEmbedding(channels)
        widths = [self.nodes.out_channels, *[channels] * num_layers]
        num_relations = len(RELATION_TYPES) * (2 if inverse_relations else 1)
        self.convs = nn.ModuleList(RelationalConv(before, after, num_relations) for before, after in pairwise(widths))
        self.empty = nn.Parameter(torch.randn(channels) * 0.02)
        self.attention = nn.ModuleList(
            nn.TransformerEncoderLayer(channels, num_heads, 2 * channels, dropout, batch_first=True)
            for _ in range(num_attention_layers)
        )
        self.gate = nn.Linear(channels, 1) if readout == "attention" else None

    def forward(self, graph: Data) -> Encoded:
        """Encode a `Batch` of B graphs with fields x, node_type, edge_index, edge_type; the units are the entities."""
        batch_size = graph.num_graphs
        edge_index, edge_type = self._edges(graph)
        x = self.nodes(graph.x, graph.node_type)
        for conv in self.convs:
            x = conv(x, edge_index, edge_type).relu()
        units, mask = to_dense_batch(x, graph.batch, batch_size=batch_size)
        units, mask = self._fill_empty(units, mask)
        for layer in self.attention:
            units = layer(units, src_key_padding_mask=~mask)
        units = units * mask[..., None]
        pooled, importance = self._read_out(units, mask)
        place = _dense_place(graph.batch, batch_size, units.shape[1])
        return Encoded(pooled, units, mask, importance, UnitRelations(place[edge_index], edge_type))

    def _edges(self, graph: Data) -> tuple[Tensor, Tensor]:
        if not self.inverse_relations:
            return graph.edge_index, graph.edge_type
        return (
            torch.cat([graph.edge_index, graph.edge_index.flip(0)], dim=1),
            torch.cat([graph.edge_type, graph.edge_type + len(RELATION_TYPES)]),
        )

    def _fill_empty(self, units: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Give each graph without entities the learned unit, in the first place; at least one place always exists.

        Padding, and not new zeros, keeps the units connected to the layers before them: where all reports of a process
        are empty, distributed training still waits for the gradients of every parameter.
        """
        if units.shape[1] == 0:
            units = nn.functional.pad(units, (0, 0, 0, 1))
            mask = nn.functional.pad(mask, (0, 1))
        first = torch.zeros_like(mask)
        first[:, 0] = ~mask.any(dim=1)
        return torch.where(first[..., None], self.empty.to(units.dtype), units), mask | first

    def _read_out(self, units: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return pooled [B, D] and the share of each unit in it [B, U]."""
        if self.readout == "max":
            pooled, winner = units.masked_fill(~mask[..., None], -torch.inf).max(dim=1)
            wins = torch.zeros_like(units[..., 0]).scatter_add(1, winner, torch.ones_like(pooled))
            return pooled, wins / pooled.shape[1]
        if self.gate is None:
            importance = mask / mask.sum(dim=1, keepdim=True)
        else:
            importance = self.gate(units)[..., 0].masked_fill(~mask, -torch.inf).softmax(dim=1)
        importance = importance.to(units.dtype)
        return torch.einsum("bu,bud->bd", importance, units), importance


def _dense_place(batch: Tensor, batch_size: int, num_units: int) -> Tensor:
    """Return for each node its number b * U + u in the dense layout, [N]."""
    count = torch.bincount(batch, minlength=batch_size)
    start = count.cumsum(0) - count
    return torch.arange(len(batch), device=batch.device) - start[batch] + batch * num_units
