"""Local matching: each unit of a report, a word or an entity, is matched with regions of an image.

Published (RECLF, arXiv 2401.10501; its body was not available to us): the matchings of a pair inform each other
(`semantic_relations`), and are pooled by importance (`importance_relations`). The form of a matching is reconstructed
from GLoRIA (a cosine) and SGRAF (a vector).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from igcl_lightning.errors import IgclError
from igcl_lightning.nn.checks import check_at_least, check_choice, check_positive
from igcl_lightning.nn.encoded import Encoded
from igcl_lightning.nn.importance_relations import ImportanceRelationOptions, ImportanceRelations
from igcl_lightning.nn.local_units import (
    Regions,
    Units,
    groups_of_similar_length,
    one_per_image,
    relation_matrix,
    without_padding,
)
from igcl_lightning.nn.matching_vector import FORMS, GlobalNode, MatchingVector, compare, length_of, unit_length
from igcl_lightning.nn.region_attention import ATTENTIONS, attend
from igcl_lightning.nn.region_head import RegionHead
from igcl_lightning.nn.scoring import at_least_single
from igcl_lightning.nn.semantic_relations import SemanticRelationOptions, SemanticRelations

SCORES = ("global", "local", "both")
GROUP = 8  # reports scored at once


@dataclass(frozen=True)
class MatchingOptions:
    """Local branch: units of a report matched with regions of an image.

    Args:
        weight: weight of the local branch's loss; with 0 there is no local branch.
        global_weight: weight of the global branch's loss.
        temperature: initial temperature of local scores in the loss.
        score: score of retrieval, "global", "local" or "both".
        channels: channels of the space that regions and units share.
        region_layer: feature map that the regions come from, as timm counts them; the final one by default.
        position: whether regions know their row and column.
        attention: how units attend to regions, "plain", "gloria" or "scan" (see `attend`).
        attention_temperature: temperature of the softmax over regions.
        form: matching of a unit T with its attended image C: "cosine", or a vector of which a scalar is read and added
            to the cosine: "sqdiff", from (C - T) squared, or "hadamard", from the element-wise product.
        form_channels: length of a matching vector.
        chunk: images scored at once, with 8 reports of similar length; less memory if lower, faster on a GPU if higher.
        recompute: whether each block is computed again in the backward pass, which then needs the memory of one block.

    Raises:
        IgclError: an unknown name, or a number out of range; without a local branch too.
    """

    weight: float = 1.0
    global_weight: float = 1.0
    temperature: float = 0.1
    score: str = "both"
    channels: int = 128
    region_layer: int | None = None
    position: bool = True
    attention: str = "plain"
    attention_temperature: float = 0.1
    form: str = "cosine"
    form_channels: int = 64
    chunk: int = 32
    recompute: bool = False

    def __post_init__(self) -> None:
        check_choice("model.matching.attention", self.attention, ATTENTIONS)
        check_choice("model.matching.form", self.form, FORMS)
        check_choice("model.matching.score", self.score, SCORES)
        for option in ("weight", "global_weight"):
            check_at_least(f"model.matching.{option}", getattr(self, option), 0)
        for option in ("temperature", "attention_temperature"):
            check_positive(f"model.matching.{option}", getattr(self, option))
        for option in ("channels", "form_channels", "chunk"):
            check_at_least(f"model.matching.{option}", getattr(self, option), 1)


class Explanation(NamedTuple):
    """What matches what in B pairs of an image and a report; 0 for padding.

    Attributes:
        attention: weights of the M regions for each unit, [B, L, M]; they sum to one over the regions.
        before: score of each unit without semantic relations, [B, L].
        after: score of each unit with them, [B, L].
        weight: share of each unit in the score of its pair, [B, L] (see `ImportanceRelations.weight`).
    """

    attention: Tensor
    before: Tensor
    after: Tensor
    weight: Tensor


class _Pairs(NamedTuple):
    """Matchings of I images with J reports, before semantic relations.

    Attributes:
        attention: [J, L, I, M].
        cosine: of each unit and its attended image, [I, J, L].
        matching: matching vectors, [I, J, L, channels]; None if a matching is its cosine.
        node: matching vector of the whole image and report, [I, J, channels], or None.
    """

    attention: Tensor
    cosine: Tensor
    matching: Tensor | None
    node: Tensor | None


class LocalMatching(nn.Module):
    """Score images and reports by their regions and units.

    A unit attends to regions and is compared with their weighted mean, its attended image. The scores of a report's
    units, after semantic relations, are pooled to the score of the pair. Padding never takes part. Scores are computed
    in single precision at least; they are cosines, in [-1, 1], or cosines plus a scalar that is read from the matching
    vector. Its weights start at zero, so that training starts from the cosine; it has no bias, which would be the same
    for all pairs and cancel in the loss.

    The attended image is built, M * D products per unit: through the Gram matrix of the regions its cosine would take
    M * M, which is slower where there are more regions than channels.

    Args:
        region_channels: length of an image encoder's unit.
        unit_channels: length of a report encoder's unit.
        pooled_channels: length of the pooled vector of the image, and of the report.
        matching: attention and form of matchings.
        srm: semantic relations between matchings.
        irm: pooling.

    Raises:
        IgclError: semantic relations between cosines.
    """

    def __init__(
        self,
        region_channels: int,
        unit_channels: int,
        pooled_channels: tuple[int, int],
        matching: MatchingOptions = MatchingOptions(),
        srm: SemanticRelationOptions = SemanticRelationOptions(),
        irm: ImportanceRelationOptions = ImportanceRelationOptions(),
    ) -> None:
        super().__init__()
        _check(matching, srm)
        self.options = matching
        self.region_head = RegionHead(region_channels, matching.channels, matching.position)
        self.unit_head = nn.Sequential(nn.LayerNorm(unit_channels), nn.Linear(unit_channels, matching.channels))
        self.global_node = (
            GlobalNode(pooled_channels, matching.form, matching.channels, matching.form_channels)
            if srm.global_node
            else None
        )
        self.vector: MatchingVector | None = None
        length = 1
        if matching.form != "cosine":
            length = matching.form_channels
            self.vector = MatchingVector(matching.channels, length)
            # Without gain and bias: the weights that follow hold the one, the other would cancel in the loss.
            self.norm = nn.LayerNorm(length, elementwise_affine=False)
            self.read = nn.Linear(length, 1, bias=False)
            nn.init.zeros_(self.read.weight)
        self.relations = SemanticRelations(length, srm)
        self.reads_relations = srm.relation_bias and srm.steps > 0
        self.importance = ImportanceRelations(length, irm)

    def regions(self, image: Encoded) -> Regions:
        """Return the regions of B encoded images; `IgclError` if they are not on a grid."""
        if image.grid is None:
            raise IgclError(
                "the image encoder gives no grid of regions to match: choose another model.image.backbone or "
                "model.matching.region_layer, or set model.matching.weight to 0 (an encoder of your own returns "
                "Encoded with grid=(rows, columns), (1, n) for a sequence)"
            )
        node = self.global_node
        pooled = None if node is None else unit_length(at_least_single(node.image(image.pooled)))
        return Regions(self.region_head(image.units, image.grid), pooled)

    def units(self, report: Encoded) -> Units:
        """Return the units of B encoded reports."""
        node = self.global_node
        feature = unit_length(at_least_single(self.unit_head(report.units))) * report.mask[..., None]
        relation = None
        if self.reads_relations and report.relation is not None:
            relation = relation_matrix(report.relation, *report.mask.shape)
        pooled = None if node is None else unit_length(at_least_single(node.report(report.pooled)))
        return Units(feature, report.mask, at_least_single(report.importance), relation, pooled)

    def score(self, first: Regions, second: Units) -> Tensor:
        """Return the scores [Q, C] of all pairs of Q images and C reports, in blocks."""
        images = [
            Regions._make(None if value is None else value[start : start + self.options.chunk] for value in first)
            for start in range(0, len(first.feature), self.options.chunk)
        ]
        rows, columns = [], []
        for group, second_part in groups_of_similar_length(without_padding(second), GROUP):
            units = Units._make(None if value is None else value[None] for value in second_part)
            columns.append(torch.cat([self._block(part, units) for part in images]))
            rows.append(group)
        return torch.cat(columns, dim=1)[:, torch.cat(rows).argsort()]

    def aligned(self, first: Regions, second: Units) -> Tensor:
        """Return the scores [B] of image b with report b: the diagonal of `score`."""
        return self._score(first, one_per_image(second))[:, 0]

    def explain(self, first: Regions, second: Units) -> Explanation:
        """Return what matches what in B pairs, image b with report b."""
        units = one_per_image(second)
        with torch.autocast(first.feature.device.type, enabled=False):
            pairs = self._pairs(first, units)
            before, _ = self._read(pairs.cosine, pairs.matching)
            after, matching = self._read(pairs.cosine, self._related(pairs, units))
            weight = self.importance.weight(after, matching, units.mask, units.importance)
        attention = pairs.attention[0].transpose(0, 1)
        padding = ~second.mask
        scores = (value[:, 0].masked_fill(padding, 0) for value in (before, after, weight))
        return Explanation(attention.masked_fill(padding[..., None], 0), *scores)

    def _block(self, first: Regions, second: Units) -> Tensor:
        if not (self.options.recompute and torch.is_grad_enabled()):
            return self._score(first, second)
        # Nothing random is drawn, so that its state need not be kept.
        score: Tensor = checkpoint(self._score, first, second, use_reentrant=False, preserve_rng_state=False)
        return score

    def _score(self, first: Regions, second: Units) -> Tensor:
        """Return scores [I, J] of I images; the units are [1, J, ...], or [I, J, ...] if each image has its own."""
        with torch.autocast(first.feature.device.type, enabled=False):
            pairs = self._pairs(first, second)
            score, matching = self._read(pairs.cosine, self._related(pairs, second))
            pooled: Tensor = self.importance(score, matching, second.mask, second.importance)
        return pooled

    def _pairs(self, first: Regions, second: Units) -> _Pairs:
        region, unit = at_least_single(first.feature), second.feature
        kind, temperature = self.options.attention, self.options.attention_temperature
        attention = attend(unit, region, second.mask, kind, temperature)
        attended = torch.einsum("jlim,imd->ijld", attention, region)
        if self.vector is None:
            cosine = (attended * unit).sum(dim=-1) / length_of(attended)[..., 0]
            return _Pairs(attention, cosine, None, None)
        attended = unit_length(attended)
        compared = compare(self.options.form, attended, unit)
        cosine = (compared if self.options.form == "hadamard" else attended * unit).sum(dim=-1)
        node = None
        if self.global_node is not None and first.pooled is not None and second.pooled is not None:
            node = self.global_node(at_least_single(first.pooled)[:, None], second.pooled)
        return _Pairs(attention, cosine, self.vector(compared), node)

    def _related(self, pairs: _Pairs, second: Units) -> Tensor | None:
        """Return the matching vectors after semantic relations, or None if matchings are cosines."""
        if pairs.matching is None:
            return None
        related: Tensor = self.relations(pairs.matching, second.mask, second.relation, pairs.node)
        return related

    def _read(self, cosine: Tensor, matching: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the score of each unit, [I, J, L], and the matching that a gate reads, [I, J, L, channels]."""
        if matching is None:
            return cosine, cosine[..., None]
        normed = self.norm(matching)
        return cosine + self.read(normed)[..., 0], normed


def _check(matching: MatchingOptions, srm: SemanticRelationOptions) -> None:
    if srm.steps > 0 and matching.form == "cosine":
        raise IgclError(
            f"model.srm.steps is {srm.steps}, but model.matching.form cosine gives no vectors to relate: "
            "set model.matching.form to sqdiff or hadamard, or model.srm.steps to 0"
        )
