"""Semantic relations (SRM of RECLF): the matchings of one image and one report inform each other.

The paper publishes that information spreads among all local matchings; the steps are reconstructed from SGRAF (Diao et
al., AAAI 2021), whose similarity-graph reasoning builds the same graph.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.schema import NUM_EDGE_TYPES
from igcl_lightning.nn.checks import check_at_least, check_choice

NUM_RELATIONS = 1 + 2 * NUM_EDGE_TYPES  # none, then edge types and their inverses


@dataclass(frozen=True)
class SemanticRelationOptions:
    """Semantic relations between the matchings of a pair.

    Args:
        steps: steps of propagation; 0 leaves each matching alone.
        update: "residual", S + ReLU(E LN(S) W); "sgraf", ReLU(E S W), as in SGRAF; "transformer", one encoder layer.
        relation_bias: whether the relation of two entities, if there is one, adds a learned bias to their attention.
        global_node: whether the matching of the whole image and the whole report takes part.

    Raises:
        IgclError: unknown update, or negative steps; without a local branch too.
    """

    steps: int = 0
    update: str = "residual"
    relation_bias: bool = True
    global_node: bool = False

    def __post_init__(self) -> None:
        check_choice("model.srm.update", self.update, UPDATES)
        check_at_least("model.srm.steps", self.steps, 0)


class RelationAttention(nn.Module):
    """Attention of each matching to all matchings of its pair: softmax(Q K^T / sqrt(channels) + bias), one head.

    Args:
        channels: length of a matching vector.
        relation_bias: whether a learned bias per type of relation is added.
    """

    def __init__(self, channels: int, relation_bias: bool) -> None:
        super().__init__()
        self.query = _linear(channels, channels)
        self.key = _linear(channels, channels, bias=False)  # a bias of keys cancels in the softmax
        self.relation = nn.Parameter(torch.zeros(NUM_RELATIONS)) if relation_bias else None

    def forward(self, matching: Tensor, mask: Tensor, relation: Tensor | None) -> Tensor:
        """Return weights [I, J, L, L] that sum to one over the last dimension; as `SemanticRelations.forward`."""
        bias = matching.new_zeros(())
        if self.relation is not None:
            # Without relations too: the bias then cancels, but distributed training waits for its gradient.
            bias = self.relation[0] if relation is None else _look_up(self.relation, relation)
        bias = bias.where(mask[..., None, :], -torch.inf)
        query = self.query(matching) * matching.shape[-1] ** -0.5
        weight: Tensor = (query @ self.key(matching).transpose(-1, -2) + bias).softmax(dim=-1)
        return weight


class ResidualStep(nn.Module):
    """S + ReLU(E LN(S) W + b): the sum keeps the matchings of a pair apart, which SGRAF's step averages."""

    def __init__(self, channels: int, relation_bias: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.attention = RelationAttention(channels, relation_bias)
        self.value = _linear(channels, channels)

    def forward(self, matching: Tensor, mask: Tensor, relation: Tensor | None) -> Tensor:
        """Take one step, as `SemanticRelations.forward`."""
        normed = self.norm(matching)
        return matching + F.relu(self.value(self.attention(normed, mask, relation) @ normed))


class SgrafStep(nn.Module):
    """ReLU(E S W + b), the step of SGRAF (similarity-graph reasoning)."""

    def __init__(self, channels: int, relation_bias: bool) -> None:
        super().__init__()
        self.attention = RelationAttention(channels, relation_bias)
        self.value = _linear(channels, channels)

    def forward(self, matching: Tensor, mask: Tensor, relation: Tensor | None) -> Tensor:
        """Take one step, as `SemanticRelations.forward`."""
        return F.relu(self.value(self.attention(matching, mask, relation) @ matching))


class TransformerStep(nn.Module):
    """A pre-norm transformer encoder layer with one head, GELU and twice the channels inside, without dropout."""

    def __init__(self, channels: int, relation_bias: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.attention = RelationAttention(channels, relation_bias)
        self.value = _linear(channels, channels)
        self.out = _linear(channels, channels)
        self.feedforward = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels)
        )

    def forward(self, matching: Tensor, mask: Tensor, relation: Tensor | None) -> Tensor:
        """Take one step, as `SemanticRelations.forward`."""
        normed = self.norm(matching)
        matching = matching + self.out(self.attention(normed, mask, relation) @ self.value(normed))
        updated: Tensor = matching + self.feedforward(matching)
        return updated


UPDATES = {"residual": ResidualStep, "sgraf": SgrafStep, "transformer": TransformerStep}


class SemanticRelations(nn.Module):
    """Propagation among all matchings of a pair, each step with its own weights.

    Args:
        channels: length of a matching vector.
        options: steps and their kind.

    Raises:
        IgclError: a global node without steps.
    """

    def __init__(self, channels: int, options: SemanticRelationOptions = SemanticRelationOptions()) -> None:
        super().__init__()
        if options.global_node and options.steps == 0:
            raise IgclError("model.srm.global_node takes part in steps, but model.srm.steps is 0: set it to 1 or more")
        step = UPDATES[options.update]
        self.steps = nn.ModuleList(step(channels, options.relation_bias) for _ in range(options.steps))

    def forward(self, matching: Tensor, mask: Tensor, relation: Tensor | None, node: Tensor | None = None) -> Tensor:
        """Return the matchings after all steps, [I, J, L, channels].

        Args:
            matching: matching vectors of I images and J reports of L units, [I, J, L, channels].
            mask: True where there is a unit, bool, broadcast to [I, J, L]; at least one in each report.
            relation: [t, h] is 0, or 1 + the type of an edge from unit h to unit t, int8, broadcast to [I, J, L, L].
            node: matching vector of the whole image and report, [I, J, channels], which takes part as one more unit.
        """
        if node is not None:
            matching = torch.cat([node[..., None, :], matching], dim=-2)
            mask = F.pad(mask, (1, 0), value=True)
            relation = None if relation is None else F.pad(relation, (1, 0, 1, 0))
        for step in self.steps:
            matching = step(matching, mask, relation)
        return matching if node is None else matching[..., 1:, :]


def _look_up(table: Tensor, index: Tensor) -> Tensor:
    """Return `table[index]` of a table [R]: as a product, because the gradient of indexing is slow with few targets."""
    hot = index[..., None] == torch.arange(len(table), device=index.device)
    return hot.to(table.dtype) @ table


def _linear(in_channels: int, out_channels: int, bias: bool = True) -> nn.Linear:
    """Return a linear layer with Xavier-uniform weights and zero bias, as in SGRAF."""
    layer = nn.Linear(in_channels, out_channels, bias)
    nn.init.xavier_uniform_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
