"""The base of modules that match parts: a global branch, a local branch, and counterfactuals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from igcl_lightning.data.samples import PairBatch
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.counterfactuals import check_kinds
from igcl_lightning.losses.contrastive import ContrastiveLoss, ContrastiveOptions, Similarity, batch_similarity
from igcl_lightning.losses.counterfactual import CounterfactualOptions, counterfactual_loss
from igcl_lightning.losses.gather import gather, repeats
from igcl_lightning.losses.tiled import Cosines
from igcl_lightning.metrics.counterfactual import CounterfactualAccuracy
from igcl_lightning.modules.contrastive import ContrastiveModule, PairEmbedding, overrides, pair_ids
from igcl_lightning.nn.encoded import Encoded
from igcl_lightning.nn.importance_relations import ImportanceRelationOptions
from igcl_lightning.nn.local_units import Regions, Units
from igcl_lightning.nn.matching import SCORES, LocalMatching, MatchingOptions
from igcl_lightning.nn.scoring import Scorer, cosine_similarity
from igcl_lightning.nn.semantic_relations import SemanticRelationOptions


class MatchedImage(NamedTuple):
    """B images as scorers read them: the embedding, [B, D], and the fields of `Regions`."""

    embedding: Tensor
    feature: Tensor
    pooled: Tensor | None

    @property
    def regions(self) -> Regions:
        """The regions alone."""
        return Regions(self.feature, self.pooled)

    def roll(self, shift: int, dims: int) -> MatchedImage:
        """Return the images in another order, as `torch.roll` does."""
        pooled = None if self.pooled is None else self.pooled.roll(shift, dims)
        return MatchedImage(self.embedding.roll(shift, dims), self.feature.roll(shift, dims), pooled)


class MatchedReport(NamedTuple):
    """B reports as scorers read them: the embedding, [B, D], and the fields of `Units`."""

    embedding: Tensor
    feature: Tensor
    mask: Tensor
    importance: Tensor
    relation: Tensor | None
    pooled: Tensor | None

    @property
    def units(self) -> Units:
        """The units alone."""
        return Units(self.feature, self.mask, self.importance, self.relation, self.pooled)


class MatchingModule(ContrastiveModule):
    """Contrastive pretraining on images and reports, as wholes and by local matching of their parts.

    The loss is the weighted sum of that of the global branch (cosines of the embeddings), that of the local branch
    (`LocalMatching`), and one counterfactual term for each branch. With `matching.weight` 0 there is no local branch.

    The constructor of a subclass sets encoders and projections, then calls `set_branches`. For a local branch both
    encoders have `out_channels` and `unit_channels`, the lengths of `Encoded.pooled` and of a unit, and the first
    returns the `grid` of its units, such as (1, n) for a sequence; the units of the second attend to them.

    Args of `set_branches` and of subclasses:
        loss: contrastive loss of both branches.
        matching: local matching of regions and units.
        srm: semantic relations among the matchings of a pair.
        irm: importance of the matchings of a pair.
        counterfactual: counterfactual reports as negatives of their own.
    """

    loss: ContrastiveLoss
    local: LocalMatching | None  # without a default, which would hide the submodule
    local_loss: ContrastiveLoss
    matching: MatchingOptions
    counterfactual: CounterfactualOptions

    def set_branches(
        self,
        loss: ContrastiveOptions = ContrastiveOptions(),
        matching: MatchingOptions = MatchingOptions(),
        srm: SemanticRelationOptions = SemanticRelationOptions(),
        irm: ImportanceRelationOptions = ImportanceRelationOptions(),
        counterfactual: CounterfactualOptions = CounterfactualOptions(),
    ) -> None:
        """Create the losses and the local branch.

        Raises:
            IgclError: an option is out of range, a kind of counterfactual is unknown or unfit for training, or an
                encoder lacks `out_channels` or `unit_channels`, which the local branch reads.
        """
        _check_weights(matching)
        check_kinds(counterfactual.kinds, self.sides)
        self.matching, self.counterfactual = matching, counterfactual
        self._parts: dict[str, Tensor] = {}
        self.loss = ContrastiveLoss(loss)
        self.local = None
        if matching.weight:
            first, second = (getattr(self, f"{side}_encoder") for side in self.sides)
            pooled = _length(first, "out_channels"), _length(second, "out_channels")
            units = _length(first, "unit_channels"), _length(second, "unit_channels")
            self.local = LocalMatching(*units, pooled, matching, srm, irm)
            self.local_loss = ContrastiveLoss(replace(loss, temperature=matching.temperature))
        if counterfactual.kinds:
            self.told_apart = CounterfactualAccuracy()

    @property
    def counterfactual_kinds(self) -> tuple[str, ...]:
        """Kinds of counterfactuals that the data module draws."""
        return tuple(self.counterfactual.kinds)

    @property
    def score_names(self) -> tuple[str, ...]:
        """Names of the scores that `scorer` gives."""
        return SCORES if self.local is not None else SCORES[:1]

    @property
    def score_name(self) -> str:
        """Name of the score of retrieval."""
        return self.matching.score if self.local is not None else SCORES[0]

    def scorer(self, name: str) -> Scorer:
        """Return a score of `SCORES`: the two branches, or their mean, each divided by its temperature."""
        return super().scorer(name) if self.local is None else partial(self._score, name)

    def matched(self, side: str, encoded: Encoded, embedding: Tensor) -> Any:
        """Return the embedding, with the regions or units if there is a local branch."""
        if self.local is None:
            return embedding
        if side == self.sides[0]:
            return MatchedImage(embedding, *self.local.regions(encoded))
        return MatchedReport(embedding, *self.local.units(encoded))

    @property
    def reads_units(self) -> bool:
        """Whether there is a local branch, or a subclass has its own way of matching."""
        return self.local is not None or overrides(self, MatchingModule)

    def score(self, first: Any, second: Any) -> Tensor:
        """Return the similarities [Q, C] that `matching.score` names."""
        return super().score(first, second) if self.local is None else self._score(self.score_name, first, second)

    def contrast(self, first: Encoded, second: Encoded, embedding: PairEmbedding, batch: PairBatch) -> Tensor:
        """Return the loss of both branches and of the counterfactuals, a scalar."""
        ids, parts = pair_ids(batch, self.loss), {}
        image, report = self._matched_sides(first, second, embedding)
        if weight := self.matching.global_weight:
            parts["global"] = weight * self.loss(self.similarity(first, second, embedding), ids)
        if self.local is not None:
            local = batch_similarity(self.local.score, image.regions, report.units, exchange="scores")
            parts["local"] = self.matching.weight * self.local_loss(local, ids)
        if batch.twin is not None and self.counterfactual.kinds:
            parts["counterfactual"] = self._contrast_twins(image, report, batch)
        self._parts = {name: value.detach() for name, value in parts.items()}
        return sum(parts.values(), embedding.first.new_zeros(()))

    def _part_names(self) -> list[str]:
        """Return the names of the terms of the loss, if there are several."""
        terms = [name for name, _, _ in self._branches()] + ["counterfactual"] * bool(self.counterfactual.kinds)
        return terms if len(terms) > 1 else []

    def _logged_values(self) -> dict[str, Tensor]:
        """Return also the weighted terms of the loss, if there are several."""
        zero = torch.zeros(())
        return super()._logged_values() | {f"loss_{name}": self._parts.get(name, zero) for name in self._part_names()}

    def _score(self, name: str, first: MatchedImage, second: MatchedReport) -> Tensor:
        assert self.local is not None
        if name == "local":
            return self.local.score(first.regions, second.units)
        whole = cosine_similarity(first.embedding, second.embedding)
        return whole if name == "global" else self._mean_score(whole, self._score("local", first, second))

    def similarity(self, first: Encoded, second: Encoded, embedding: PairEmbedding) -> Similarity | Cosines:
        """Return the similarities of the global branch; without a local one those that `score` gives."""
        if self.local is None:
            return super().similarity(first, second, embedding)
        return batch_similarity(cosine_similarity, embedding.first, embedding.second)

    def _scores_cosines(self) -> bool:
        """Return whether `score` is the cosine of the embeddings."""
        return self.local is None and getattr(self.score, "__func__", None) is MatchingModule.score

    def on_validation_epoch_end(self) -> None:
        """Log retrieval, and how often own and counterfactual reports are told apart."""
        super().on_validation_epoch_end()
        self._log_told_apart("val")

    def on_test_epoch_end(self) -> None:
        """Log retrieval, and how often own and counterfactual reports are told apart."""
        super().on_test_epoch_end()
        self._log_told_apart("test")

    @property
    def trained_losses(self) -> dict[str, ContrastiveLoss]:
        """The losses of the trained branches, by the prefix of their logged names."""
        return {"" if name == "global" else f"{name}_": loss for name, loss, _ in self._branches()}

    def logged_metrics(self, data: Any) -> set[str] | None:
        """Return the names of all metrics that are logged."""
        names = super().logged_metrics(data) or set()
        twins = CounterfactualAccuracy.names if self.counterfactual.kinds else ()
        return names | {f"{stage}/{name}" for stage in ("val", "test") for name in twins}

    def _contrast_twins(self, image: Any, report: Any, batch: PairBatch) -> Tensor:
        """Return the counterfactual terms of the branches; in evaluation also note which reports are told apart."""
        assert batch.twin is not None
        side, valid = self.sides[1], batch.twin.valid
        twin = self.matched(side, *self.encode_and_project(side, self.side_input(side, batch.counterfactual())))
        counted = ~repeats(gather(batch.row))
        total = torch.zeros((), device=valid.device)
        for name, loss, weight in self._branches():
            own, other = (self.aligned(name, image, each) for each in (report, twin))
            total = total + weight * counterfactual_loss(own, other, valid, self._twin_scale(loss), counted)
        if not self.training:
            self._note_told_apart(image, report, twin, batch)
        return self.counterfactual.weight * total

    def _branches(self) -> Iterator[tuple[str, ContrastiveLoss, float]]:
        """Yield name, loss and weight of each branch that is trained."""
        if self.matching.global_weight:
            yield "global", self.loss, self.matching.global_weight
        if self.local is not None:
            yield "local", self.local_loss, self.matching.weight

    def _twin_scale(self, loss: ContrastiveLoss) -> Tensor | float:
        """Return 1 / temperature of the counterfactual term: its own, or that of the branch."""
        temperature = self.counterfactual.temperature
        return loss.logit_scale.exp() if temperature is None else 1 / temperature

    def aligned(self, name: str, first: Any, second: Any) -> Tensor:
        """Return the score of each pair b of B first and B second sides, [B]; what `scorer` has on its diagonal."""
        if self.local is None:
            cosine: Tensor = (first * second).sum(dim=1)
            return cosine
        if name == "local":
            return self.local.aligned(first.regions, second.units)
        whole: Tensor = (first.embedding * second.embedding).sum(dim=1)
        return whole if name == "global" else self._mean_score(whole, self.aligned("local", first, second))

    def _mean_score(self, whole: Tensor, local: Tensor) -> Tensor:
        """Return the mean of both scores as logits, that is each divided by its temperature."""
        scale, local_scale = self.loss.logit_scale.exp(), self.local_loss.logit_scale.exp()
        return (scale * whole + local_scale * local) / 2

    @torch.no_grad()
    def _note_told_apart(self, image: Any, report: Any, twin: Any, batch: PairBatch) -> None:
        """Collect whether own reports win over their counterfactuals, for the own image and for another row's."""
        assert batch.twin is not None
        name, other = self.score_name, image.roll(1, 0)
        right, blind = (self.aligned(name, seen, report) > self.aligned(name, seen, twin) for seen in (image, other))
        self.told_apart.update(right, blind, batch.twin.valid, batch.row)

    def _log_told_apart(self, stage: str) -> None:
        if self.counterfactual.kinds:
            told_apart = self.told_apart.compute()
            self.log_dict({f"{stage}/{name}": value for name, value in told_apart.items()}, sync_dist=True)
            self.told_apart.reset()


def _check_weights(matching: MatchingOptions) -> None:
    if not matching.weight and not matching.global_weight:
        raise IgclError("model.matching.weight and global_weight are both 0: nothing is trained; set one above 0")
    if not matching.global_weight and matching.score != "local":
        raise IgclError(f"model.matching.score {matching.score!r} needs a global branch: set it to local")


def _length(encoder: Any, name: str) -> int:
    """Return `out_channels` or `unit_channels` of an encoder."""
    channels = getattr(encoder, name, None)
    if channels is None:
        raise IgclError(
            f"{type(encoder).__name__} has no {name}, which local matching reads: set self.out_channels and "
            "self.unit_channels, the lengths of Encoded.pooled and of a unit, or model.matching.weight to 0"
        )
    return int(channels)
