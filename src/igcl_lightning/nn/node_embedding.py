"""What an entity brings to the graph encoder: its text and its label."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.featurizer import NUM_BUCKETS
from igcl_lightning.graphs.schema import ENTITY_LABELS
from igcl_lightning.nn.rotate import RotatedText


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
    """Embed an entity as [text | one-hot label], or as 1 if neither is read; a node added by a join is zero.

    Args:
        text: embeds the text of nodes; None leaves it out.
        types: whether the label is read.
    """

    def __init__(self, text: HashedText | StoredText | RotatedText | None, types: bool = True) -> None:
        super().__init__()
        self.text, self.types = text, types
        self.out_channels = (0 if text is None else text.out_channels) + len(ENTITY_LABELS) * types or 1

    def forward(self, graph: Data) -> Tensor:
        """Map the nodes of a batch of graphs to [N, out_channels], int64 if text is left out."""
        label = nn.functional.one_hot(graph.node_type, len(ENTITY_LABELS) + 1)[:, : len(ENTITY_LABELS)]
        if self.text is None:
            return label if self.types else label.sum(dim=1, keepdim=True)
        text: Tensor = self.text(graph)
        return torch.cat([text, label.to(text.dtype)], dim=-1) if self.types else text
