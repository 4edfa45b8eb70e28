"""Words and entities of a report as units of one encoding."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from igcl_lightning.nn.encoded import Encoded, UnitRelations
from igcl_lightning.nn.graph_encoder import GraphEncoder
from igcl_lightning.nn.text_encoder import HubTextEncoder, TextEncoder


class WordsAndEntities(nn.Module):
    """Encode the words of a report and the entities of its graph; its units are both, words first.

    Units are mapped to a common width and marked with a learned vector for their kind. `pooled` is both pooled vectors,
    one after the other. Each side has half of the importance; relations are those of the entities.

    Args:
        words: text encoder.
        entities: graph encoder.

    Attributes:
        out_channels: length of `pooled`.
        unit_channels: length of a unit, that of an entity.
    """

    def __init__(self, words: TextEncoder | HubTextEncoder, entities: GraphEncoder) -> None:
        super().__init__()
        self.words, self.entities = words, entities
        widths = words.unit_channels, entities.unit_channels
        self.unit_channels = entities.unit_channels
        self.out_channels = words.out_channels + entities.out_channels
        self.maps = nn.ModuleList(nn.Linear(width, self.unit_channels) for width in widths)  # biases mark the kind

    def forward(self, inputs: tuple[Data, Data]) -> Encoded:
        """Encode B reports: their tokens (`PairBatch.report`) and their graphs (`PairBatch.graph`)."""
        report, graph = inputs
        words, entities = self.words(report), self.entities(graph)
        units = [to_common(each.units) for to_common, each in zip(self.maps, (words, entities), strict=True)]
        mask = torch.cat([words.mask, entities.mask], dim=1)
        return Encoded(
            torch.cat([words.pooled, entities.pooled], dim=1),
            torch.cat(units, dim=1) * mask[..., None],
            mask,
            torch.cat([words.importance, entities.importance], dim=1) / 2,
            _shifted(entities.relation, words.mask.shape[1], entities.mask.shape[1]),
        )


def _shifted(relation: UnitRelations | None, before: int, width: int) -> UnitRelations | None:
    """Return relations of units that now come after `before` others, of `width` units per sample until now."""
    if relation is None:
        return None
    sample, unit = relation.edge_index // width, relation.edge_index % width
    index: Tensor = sample * (before + width) + before + unit
    return UnitRelations(index, relation.edge_type)
