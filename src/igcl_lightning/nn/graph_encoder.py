"""Graph encoder: joins, R-GCN layers, attention over all nodes of a report, readout (IGCL, section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform, Compose
from torch_geometric.utils import to_dense_batch

from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.featurizer import NUM_BUCKETS
from igcl_lightning.graphs.schema import CONNECTOR, ENTITY_LABELS, NUM_EDGE_TYPES, RELATION_TYPES
from igcl_lightning.graphs.transforms import ComponentJoin, FirstRelation
from igcl_lightning.nn.checks import check_at_least
from igcl_lightning.nn.encoded import Encoded, UnitRelations
from igcl_lightning.nn.readout import fill_empty, read_out, readout_gate
from igcl_lightning.nn.rotate import RotatedText, check_rotate_channels


class HashedText(nn.Module):
    """Embed the text of a node as the mean of its subword embeddings, [channels]; zero without text."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.subwords = nn.EmbeddingBag(NUM_BUCKETS, channels, mode="mean", padding_idx=0)
        self.out_channels = channels

    def forward(self, graph: Data) -> Tensor:
        """Map subword buckets `graph.x` [N, S] to [N, channels]."""
        embedded: Tensor = self.subwords(graph.x)
        return embedded


class StoredText(nn.Module):
    """Look up the features of a node's text, [channels], stored from a frozen language model (`graphs.node_text`)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_channels = channels

    def forward(self, graph: Data) -> Tensor:
        """Return `graph.node_text` [N, channels]; raises `IgclError` if it is missing or has another width."""
        if "node_text" not in graph:
            raise IgclError(
                f"the model reads {self.out_channels} stored channels of node text, the batch has none: "
                "prepare the store with --node-text and set data.node_text"
            )
        text: Tensor = graph.node_text
        if text.shape[1] != self.out_channels:
            raise IgclError(
                f"the model reads {self.out_channels} channels of node text, the store has {text.shape[1]}: "
                f"set model.graph.node_text_channels to {text.shape[1]}"
            )
        return text


class NodeEmbedding(nn.Module):
    """Embed an entity as [text | one-hot label]; a node added by a join is zero."""

    def __init__(self, text: HashedText | StoredText | RotatedText) -> None:
        super().__init__()
        self.text = text
        self.out_channels = text.out_channels + len(ENTITY_LABELS)

    def forward(self, graph: Data) -> Tensor:
        """Map the nodes of a batch of graphs to [N, out_channels]."""
        text = self.text(graph)
        label = nn.functional.one_hot(graph.node_type, len(ENTITY_LABELS) + 1)[:, : len(ENTITY_LABELS)]
        return torch.cat([text, label.to(text.dtype)], dim=-1)


class RelationalConv(nn.Module):
    r"""Relational graph convolution (Schlichtkrull et al. 2018), full weight per relation, mean per relation.

    .. math:: x'_i = W_0 x_i + b + \sum_r \frac{1}{|N_r(i)|} \sum_{j \in N_r(i)} W_r x_j

    Messages run from the head to the tail of an edge. Equal to `torch_geometric.nn.RGCNConv` with its defaults, but
    averages before it multiplies: one scatter and one matrix product instead of a loop over relations.

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
        num_nodes, num_relations = x.shape[0], self.weight.shape[0]
        source, target = edge_index
        slot = target * num_relations + edge_type
        # In single precision: sums of ones in bfloat16 stop at 256.
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        total = wide.new_zeros(num_nodes * num_relations, x.shape[1]).index_add(0, slot, wide[source])
        count = wide.new_zeros(num_nodes * num_relations).index_add(0, slot, wide.new_ones(slot.shape[0]))
        mean = (total / count.clamp(min=1)[:, None]).to(x.dtype)
        return mean.view(num_nodes, num_relations * x.shape[1]) @ self.weight.flatten(0, 1) + x @ self.root + self.bias


@dataclass(frozen=True)
class GraphOptions:
    """Graph encoder.

    Args:
        channels: width of all layers.
        conv: how entities read their neighbours: "rgcn", "gcn", "gat" or "sage".
        layers: layers of `conv`; with 0, entities are projected and their relations are not read.
        attention_layers: post-norm transformer layers over the nodes of a report; with 0, components stay separate.
        attention_heads: attention heads per layer.
        readout: "max", "mean", "min" or "attention" (a learned gate).
        inverse_relations: whether to also send messages from tail to head, with separate weights.
        dropout: dropout of the transformer layers.
        join: how components are joined before the R-GCN: "none", "dummy", "meta" or "primary" (see `ComponentJoin`).
        node_text_channels: width of the node text features in the store; 0 embeds hashed subwords instead.
        node_texts: whether the text of an entity is read.
        node_types: whether the label of an entity (anatomy, observation and its assertion) is read.
        relation_types: whether relations of different types are told apart.
        rotate_channels: width of RotatE embeddings of entities instead of their text (Sun et al., ICLR 2019), fitted to
            the relations of the training reports before training; 0 for none.
        fc_layers: Linear + ReLU layers after the readout.
        attention_mask: False lets attention read padding, as the authors' code does: a report's encoding then depends
            on its batch. Only for comparison with their code.
        first_relation_only: keep one relation per entity, as the authors' code does. Only for comparison with it.
    """

    channels: int = 256
    conv: str = "rgcn"
    layers: int = 2
    attention_layers: int = 1
    attention_heads: int = 2
    readout: str = "max"
    inverse_relations: bool = True
    dropout: float = 0.1
    join: str = "none"
    node_text_channels: int = 0
    node_texts: bool = True
    node_types: bool = True
    relation_types: bool = True
    rotate_channels: int = 0
    fc_layers: int = 0
    attention_mask: bool = True
    first_relation_only: bool = False


_LEAST = {
    "channels": 1,
    "layers": 1,
    "attention_layers": 0,
    "attention_heads": 1,
    "node_text_channels": 0,
    "fc_layers": 0,
}
"""Least value of each number; the first layer brings the width of text and label to `channels`."""


class GraphEncoder(nn.Module):
    """Encode report graphs.

    The R-GCN spreads information within a connected component. Components meet in the masked self-attention over all
    nodes of one report that follows (IGCL eq. 4-6), or through nodes that a join adds before. Padding never takes part,
    so a graph's encoding does not depend on the graphs it is batched with. A graph without entities is encoded as one
    learned unit. Unit u of a graph is its entity u. Nodes added by a join take part in all layers and in the readout,
    but are not units.

    Args:
        options: layers, readout and join.

    Raises:
        IgclError: a number is out of range, or channels is not a multiple of attention_heads.
        ValueError: unknown readout or join.
    """

    def __init__(self, options: GraphOptions = GraphOptions()) -> None:
        super().__init__()
        for option, bound in _LEAST.items():
            check_at_least(f"model.graph.{option}", getattr(options, option), bound)
        check_rotate_channels(options.rotate_channels, options.node_text_channels, options.node_texts)
        channels, heads = options.channels, options.attention_heads
        if options.attention_layers and channels % heads:
            raise IgclError(f"model.graph.channels {channels} is not a multiple of model.graph.attention_heads {heads}")
        self.readout = options.readout
        self.inverse_relations = options.inverse_relations
        self.attention_mask = options.attention_mask
        self.out_channels = self.unit_channels = channels
        choice: list[BaseTransform] = [FirstRelation()] if options.first_relation_only else []
        self.transform = Compose([*choice, ComponentJoin(options.join)])
        self.nodes = NodeEmbedding(_text_embedding(options))
        widths = [self.nodes.out_channels, *[channels] * options.layers]
        num_relations = NUM_EDGE_TYPES + (len(RELATION_TYPES) if options.inverse_relations else 0)
        self.convs = nn.ModuleList(RelationalConv(before, after, num_relations) for before, after in pairwise(widths))
        self.empty = nn.Parameter(torch.randn(channels) * 0.02)
        self.attention = nn.ModuleList(
            nn.TransformerEncoderLayer(channels, heads, 2 * channels, options.dropout, batch_first=True)
            for _ in range(options.attention_layers)
        )
        self.gate = readout_gate(options.readout, channels)
        self.fc = nn.Sequential(
            *(layer for _ in range(options.fc_layers) for layer in (nn.Linear(channels, channels), nn.ReLU()))
        )

    def forward(self, graph: Data) -> Encoded:
        """Encode a `Batch` of B graphs with fields x, node_type, edge_index, edge_type and, if used, node_text.

        Raises:
            IgclError: `node_text` is used, but missing or of another width.
        """
        batch_size, num_entities = graph.num_graphs, graph.ptr.diff()
        graph = self.transform(graph)
        edge_index, edge_type = self._edges(graph)
        x = self.nodes(graph)
        for conv in self.convs:
            x = conv(x, edge_index, edge_type).relu()
        nodes, mask = to_dense_batch(x, graph.batch, batch_size=batch_size)
        nodes, mask = fill_empty(nodes, mask, self.empty)
        for layer in self.attention:
            nodes = layer(nodes, src_key_padding_mask=~mask if self.attention_mask else None)
        pooled, importance = read_out(nodes, mask, self.readout, self.gate)
        count = num_entities.clamp(min=1)
        width = int(count.max())
        unit_mask = torch.arange(width, device=count.device) < count[:, None]
        units = nodes[:, :width] * unit_mask[..., None]
        relation = _entity_relations(graph, edge_index, edge_type, width)
        return Encoded(self.fc(pooled), units, unit_mask, importance[:, :width] * unit_mask, relation)

    def _edges(self, graph: Data) -> tuple[Tensor, Tensor]:
        if not self.inverse_relations:
            return graph.edge_index, graph.edge_type
        # Connectors run both ways already.
        own = graph.edge_type < len(RELATION_TYPES)
        return (
            torch.cat([graph.edge_index, graph.edge_index[:, own].flip(0)], dim=1),
            torch.cat([graph.edge_type, graph.edge_type[own] + NUM_EDGE_TYPES]),
        )


def _text_embedding(options: GraphOptions) -> HashedText | StoredText | RotatedText:
    if options.rotate_channels:
        return RotatedText(options.rotate_channels, options.node_types, options.relation_types)
    stored = options.node_text_channels
    return StoredText(stored) if stored else HashedText(options.channels)


def _entity_relations(graph: Data, edge_index: Tensor, edge_type: Tensor, num_units: int) -> UnitRelations:
    """Return the relations between entities, numbered b * U + u, without the connectors of a join."""
    count = torch.bincount(graph.batch, minlength=graph.num_graphs)
    start = count.cumsum(0) - count
    place = torch.arange(len(graph.batch), device=graph.batch.device) - start[graph.batch] + graph.batch * num_units
    own = edge_type != CONNECTOR
    return UnitRelations(place[edge_index[:, own]], edge_type[own])
