"""Graph encoder: joins, graph convolutions, attention over all nodes of a report, readout (IGCL, section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform, Compose

from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.schema import CONNECTOR, NUM_EDGE_TYPES, RELATION_TYPES
from igcl_lightning.graphs.transforms import JOINS, ComponentJoin, FirstRelation
from igcl_lightning.nn.checks import check_at_least, check_choice
from igcl_lightning.nn.encoded import Encoded, UnitRelations
from igcl_lightning.nn.graph_convs import CONVS, UNTYPED_CONVS, create_conv
from igcl_lightning.nn.node_embedding import HashedText, NodeEmbedding, StoredText
from igcl_lightning.nn.packed_attention import PackedLayer, chunked
from igcl_lightning.nn.readout import READOUTS, read_out_rows, readout_gate
from igcl_lightning.nn.rotate import RotatedText, check_rotate_channels


@dataclass(frozen=True)
class GraphOptions:
    """Graph encoder.

    Args:
        channels: width of all layers.
        conv: how entities read their neighbours (`nn.graph_convs`): "rgcn", "gat", or "gcn" and "sage", which read no
            types of relations.
        layers: layers of `conv`; with 0, entities are projected and their relations are not read.
        attention_layers: post-norm transformer layers over the nodes of a report; with 0, components stay separate.
        attention_heads: attention heads per layer.
        readout: "max", "mean", "min" or "attention" (a learned gate).
        inverse_relations: whether to also send messages from tail to head, as relations of types of their own.
        dropout: dropout of the transformer layers.
        join: how components are joined before the first layer: "none", "dummy", "meta" or "primary" (see
            `ComponentJoin`).
        node_text_channels: width of the node text features in the store; 0 embeds hashed subwords instead.
        node_texts: whether the text of an entity is read.
        node_types: whether the label of an entity (anatomy, observation and its assertion) is read. With neither text
            nor label, all entities are alike.
        relation_types: whether `conv` tells relations of different types apart. Without, it still knows their direction
            and the connectors of a join. `srm.relation_bias` of local matching is another option.
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
    "layers": 0,
    "attention_layers": 0,
    "attention_heads": 1,
    "node_text_channels": 0,
    "fc_layers": 0,
}
"""Least value of each number; the first layer brings the width of text and label to `channels`."""


class GraphEncoder(nn.Module):
    """Encode report graphs.

    The layers of `conv` spread information within a connected component. Components meet in the masked self-attention
    over all nodes of one report that follows (IGCL eq. 4-6), or through nodes that a join adds before. Padding never
    takes part, so a graph's encoding does not depend on the graphs it is batched with. A graph without entities is
    encoded as one learned unit. Unit u of a graph is its entity u. Nodes added by a join take part in all layers and in
    the readout, but are not units. The relations of units are those of the report, whatever the layers read.

    Args:
        options: layers, readout and join.

    Attributes:
        unread: what of graphs is never read, "assertions" or "relations", and the option that says so.

    Raises:
        IgclError: a number is out of range, channels is not a multiple of attention_heads, conv, join or readout is
            unknown, or options contradict each other.
    """

    def __init__(self, options: GraphOptions = GraphOptions()) -> None:
        super().__init__()
        for option, bound in _LEAST.items():
            check_at_least(f"model.graph.{option}", getattr(options, option), bound)
        for option, choices in {"conv": CONVS, "join": JOINS, "readout": READOUTS}.items():
            check_choice(f"model.graph.{option}", getattr(options, option), choices)
        if not 0 <= options.dropout <= 1:
            raise IgclError(f"model.graph.dropout is {options.dropout}, not from 0 to 1")
        _refuse_contradictions(options)
        check_rotate_channels(options.rotate_channels, options.node_text_channels)
        channels, heads = options.channels, options.attention_heads
        if options.attention_layers and channels % heads:
            raise IgclError(f"model.graph.channels {channels} is not a multiple of model.graph.attention_heads {heads}")
        self.unread = _unread(options)
        self.readout = options.readout
        self.inverse_relations = options.inverse_relations
        self.relation_types = options.relation_types
        self.attention_mask = options.attention_mask
        self.out_channels = self.unit_channels = channels
        choice: list[BaseTransform] = [FirstRelation()] if options.first_relation_only else []
        self.transform = Compose([*choice, ComponentJoin(options.join)])
        self.nodes = NodeEmbedding(_text_embedding(options), options.node_types)
        widths = [self.nodes.out_channels, *[channels] * options.layers]
        known = len(RELATION_TYPES) if options.relation_types else 1
        num_relations = known + 1 + (known if options.inverse_relations else 0)
        self.convs = nn.ModuleList(
            create_conv(options.conv, before, after, num_relations) for before, after in pairwise(widths)
        )
        self.projection = nn.Identity() if options.layers else nn.Linear(widths[0], channels)
        self.empty = nn.Parameter(torch.randn(channels) * 0.02)
        self.attention = nn.ModuleList(
            PackedLayer(channels, heads, 2 * channels, options.dropout, batch_first=True)
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
        entities = graph.ptr.diff()
        graph = self.transform(graph)
        edge_index, edge_type = self._edges(graph)
        read_type = edge_type if self.relation_types else _erased(edge_type)
        x = self.projection(self.nodes(graph).to(self.empty.dtype))
        for conv in self.convs:
            x = conv(x, edge_index, read_type).relu()
        rows = _rows(graph, entities)
        x = torch.cat([x, self.empty.to(x.dtype).expand(len(rows.sample) - len(x), -1)])
        x = self._attended(x, rows)
        pooled, share = read_out_rows(x, rows.sample, len(rows.lengths), self.readout, self.gate)
        count = entities.clamp(min=1)
        size = len(count), rows.units
        place = rows.sample * size[1] + rows.rank
        kept = torch.where(rows.rank < count[rows.sample], place, size[0] * size[1])
        units, importance = (_placed(each, kept, *size) for each in (x, share))
        mask = torch.arange(size[1], device=count.device) < count[:, None]
        return Encoded(self.fc(pooled), units, mask, importance, _entity_relations(place, edge_index, edge_type))

    def _attended(self, x: Tensor, rows: _Rows) -> Tensor:
        """Let the rows [N, D] of each graph read each other."""
        if self.attention_mask:
            chunks = chunked(rows.lengths, rows.sample, rows.rank)
            for layer in self.attention:
                x = layer(x, chunks=chunks)
            return x
        width = max(rows.lengths)
        place = rows.sample * width + rows.rank
        nodes = _placed(x, place, len(rows.lengths), width)
        for layer in self.attention:
            nodes = layer(nodes)
        return nodes.flatten(0, 1)[place]

    def _edges(self, graph: Data) -> tuple[Tensor, Tensor]:
        if not self.inverse_relations:
            return graph.edge_index, graph.edge_type
        # Connectors run both ways already.
        own = (graph.edge_type < len(RELATION_TYPES)).nonzero().flatten()
        return (
            torch.cat([graph.edge_index, graph.edge_index[:, own].flip(0)], dim=1),
            torch.cat([graph.edge_type, graph.edge_type[own] + NUM_EDGE_TYPES]),
        )


def _text_embedding(options: GraphOptions) -> HashedText | StoredText | RotatedText | None:
    if not options.node_texts:
        return None
    if options.rotate_channels:
        return RotatedText(options.rotate_channels, options.node_types, options.relation_types)
    return StoredText(options.node_text_channels) if options.node_text_channels else HashedText(options.channels)


def _unread(options: GraphOptions) -> dict[str, str]:
    unread = {} if options.node_types else {"assertions": "model.graph.node_types false"}
    if options.layers or options.rotate_channels:  # which are fitted to relations
        return unread
    return unread | {"relations": "model.graph.layers 0"}


def _erased(edge_type: Tensor) -> Tensor:
    """Return 0 for relations, 1 for connectors and 2 for inverse relations, whatever their types."""
    return (edge_type >= CONNECTOR).long() + (edge_type > CONNECTOR).long()


def _refuse_contradictions(options: GraphOptions) -> None:
    """Raise `IgclError` for an option that can do nothing beside the others."""
    if not options.layers:
        for option in ("conv", "join", "relation_types", "first_relation_only"):
            value, default = getattr(options, option), getattr(GraphOptions, option)
            if value != default:
                told = str(value).lower() if isinstance(value, bool) else value
                raise IgclError(
                    f"model.graph.layers is 0, relations are not read: leave out model.graph.{option} {told}"
                )
    if options.conv in UNTYPED_CONVS and options.relation_types:
        raise IgclError(
            f"model.graph.conv {options.conv} reads no types of relations: set model.graph.relation_types to false"
        )
    for option in ("node_text_channels", "rotate_channels"):
        if not options.node_texts and getattr(options, option):
            raise IgclError(f"model.graph.node_texts is false: set model.graph.{option} to 0")
    if options.node_texts or options.node_types:
        return
    reason = "entities are all alike without model.graph.node_texts and model.graph.node_types"
    if not options.layers:
        raise IgclError(f"{reason}, and with model.graph.layers 0 so are all reports: set one of them to true")
    if options.conv == "gat" and options.join == "none":
        raise IgclError(f"{reason}, and model.graph.conv gat only averages them: choose another, or a model.graph.join")


class _Rows(NamedTuple):
    """Nodes of B graphs, and after them one learned unit for each graph without nodes.

    Attributes:
        lengths: rows of each graph, B positive numbers on the host.
        units: most entities of a graph, at least 1.
        sample: graph of each row, int64 [N].
        rank: place of each row in its graph, int64 [N].
    """

    lengths: list[int]
    units: int
    sample: Tensor
    rank: Tensor


def _rows(graph: Data, entities: Tensor) -> _Rows:
    """Return the rows of a joined batch of graphs that had so many `entities` each, [B]; waits for the device once."""
    sizes, own = torch.stack([graph.ptr.diff(), entities]).tolist()
    empty = torch.tensor([number for number, size in enumerate(sizes) if not size], dtype=torch.int64)
    sample = torch.cat([graph.batch, empty.to(graph.batch.device, non_blocking=True)])
    rank = torch.arange(len(sample), device=sample.device) - graph.ptr[sample]
    rank[len(graph.batch) :] = 0
    return _Rows([max(size, 1) for size in sizes], max(*own, 1), sample, rank)


def _placed(x: Tensor, place: Tensor, samples: int, width: int) -> Tensor:
    """Return rows [N, ...] at their places b * U + u, [B, U, ...], zero elsewhere; the place B * U drops a row."""
    size = samples * width
    placed = x.new_zeros(size + 1, *x.shape[1:]).index_copy_(0, place, x)[:size]
    return placed.view(samples, width, *x.shape[1:])


def _entity_relations(place: Tensor, edge_index: Tensor, edge_type: Tensor) -> UnitRelations:
    """Return the relations between entities at their places b * U + u, without the connectors of a join."""
    own = (edge_type != CONNECTOR).nonzero().flatten()
    return UnitRelations(place[edge_index[:, own]], edge_type[own])
