"""The base of all pretraining modules: two encoders, two projections, one contrastive loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeGuard

import torch
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor, nn

from igcl_lightning.data.samples import PairBatch
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.tokens import word_counts
from igcl_lightning.losses.contrastive import ContrastiveLoss, Similarity, batch_similarity
from igcl_lightning.losses.gather import gather
from igcl_lightning.losses.targets import PairIds
from igcl_lightning.losses.tiled import Cosines
from igcl_lightning.metrics.retrieval import PairRetrieval
from igcl_lightning.modules.base import BaseModule
from igcl_lightning.modules.entity_fit import fit_entities
from igcl_lightning.modules.optim import OptimOptions, ParameterGroup, split_by_decay
from igcl_lightning.modules.pieces import encode_in_pieces, num_rows
from igcl_lightning.modules.unread import unread_of_graphs
from igcl_lightning.nn.checks import check_choice
from igcl_lightning.nn.encoded import Encoded
from igcl_lightning.nn.scoring import Scorer, cosine_similarity


class PairEmbedding(NamedTuple):
    """A batch of B pairs, embedded.

    Attributes:
        first: unit vectors of the first side, [B, D].
        second: unit vectors of the second side, [B, D].
        pooled: encoding of the first side before its projection, which probes read, [B, C].
        row: hash of the row's id, int64 [B].
    """

    first: Tensor
    second: Tensor
    pooled: Tensor
    row: Tensor


@dataclass(frozen=True)
class PretrainOptimOptions(OptimOptions):
    """Optimiser and learning-rate schedule of pretraining.

    Args:
        freeze_image_steps: optimiser steps at the start during which the encoder of the first side is frozen.
    """

    freeze_image_steps: int = 0


class ContrastiveModule(BaseModule):
    """Contrastive pretraining on paired samples.

    `sides` names the two sides, also in logged metrics and in `embeddings.parquet`. The constructor of a subclass sets
    `loss` and, for each side, `{side}_encoder` (returns `Encoded`) and `{side}_projection` (to unit vectors in a shared
    space). A side reads the batch field with its name, or the array column of the store (`data.arrays`).

    A step encodes both sides, projects them, scores all pairs (`similarity`), and turns the matrix into a loss
    (`contrast`). A method that matches units overrides `score`, and `matched` if it reads more than the embeddings;
    training, validation and retrieval follow. `similarity` changes training only, not evaluation.

    Args:
        optim: optimiser and learning-rate schedule.
    """

    sides: tuple[str, str] = ("image", "graph")
    loss: nn.Module

    def __init__(self, optim: PretrainOptimOptions = PretrainOptimOptions()) -> None:
        super().__init__(optim)
        self.freeze_steps: int = getattr(self.optim, "freeze_image_steps", 0)
        self.retrieval = PairRetrieval(self.sides, k=(1, 5, 10), score=self.score)

    def side_input(self, side: str, batch: PairBatch) -> Any:
        """Return the input of a side's encoder; `IgclError` if the batch has no such field, or no pairs."""
        if not isinstance(batch, PairBatch):
            raise IgclError(
                f"{type(self).__name__} needs pairs, but the data module yields {type(batch).__name__}: use "
                "PairedDataModule, as in the configs in pretrain/"
            )
        if side in batch.extra:
            return batch.extra[side]
        if side not in PairBatch._fields:
            raise IgclError(
                f"the batches have no {side!r}; name the store's array column with --data.arrays '[{side}]'"
            )
        return getattr(batch, side)

    def encode(self, side: str, inputs: Any) -> Encoded:
        """Encode the inputs of one side, such as images [B, 1, H, W]."""
        encoded: Encoded = getattr(self, f"{side}_encoder")(inputs)
        return encoded

    def project(self, side: str, encoded: Encoded) -> Tensor:
        """Map an encoding to unit vectors [B, D] of the space that both sides share."""
        projected: Tensor = getattr(self, f"{side}_projection")(encoded.pooled)
        return projected

    def forward(self, batch: PairBatch) -> PairEmbedding:
        """Embed both sides of a batch."""
        return self._embed(batch)[2]

    def matched(self, side: str, encoded: Encoded, embedding: Tensor) -> Any:
        """Return the input of `score` for one side: a tensor [B, ...], or a named tuple of tensors [B, ...] and None.

        The default is the embedding, unit vectors [B, D]. Tensors of a named tuple may differ between batches and
        processes in all sizes but the first; they are padded with zeros (False), so units need a mask.
        """
        return embedding

    def score(self, first: Any, second: Any) -> Tensor:
        """Return the similarities [Q, C] of Q first and C second sides, as from `matched`; cosines by default."""
        return cosine_similarity(first, second)

    @property
    def score_names(self) -> tuple[str, ...]:
        """Names of the scores that `scorer` gives."""
        return ("global",)

    def scorer(self, name: str) -> Scorer:
        """Return one of the scores in `score_names`, as a function of what `matched` returns."""
        return self.score

    def similarity(self, first: Encoded, second: Encoded, embedding: PairEmbedding) -> Similarity | Cosines:
        """Return the similarities of a batch with the pairs of all processes, in both directions.

        With the `score` of this class they are left to the loss, which then needs no matrix.
        """
        score = cosine_similarity if self._scores_cosines() else self.score
        return batch_similarity(score, *self._matched_sides(first, second, embedding))

    def _scores_cosines(self) -> bool:
        """Return whether `score` is the cosine of what `matched` returns."""
        return getattr(self.score, "__func__", None) is ContrastiveModule.score

    def contrast(self, first: Encoded, second: Encoded, embedding: PairEmbedding, batch: PairBatch) -> Tensor:
        """Return the loss of a batch, a scalar.

        Args:
            first: encodings of the first side.
            second: encodings of the second side.
            embedding: projections of both.
            batch: the batch, with the ids of its pairs.
        """
        loss: Tensor = self.loss(self.similarity(first, second, embedding), pair_ids(batch, self.loss))
        return loss

    def contrast_batch(self, batch: PairBatch) -> tuple[Tensor, PairEmbedding]:
        """Return the loss of a batch, a scalar, and its embedding."""
        first, second, embedding = self._embed(batch)
        return self.contrast(first, second, embedding, batch), embedding

    def on_fit_start(self) -> None:
        """Fit embeddings that training needs before its first step (see `fit_entities`)."""
        super().on_fit_start()
        fit_entities(self)

    def training_step(self, batch: PairBatch, batch_idx: int) -> dict[str, Any]:
        """Return the loss, and the embedding for callbacks."""
        loss, embedding = self.contrast_batch(batch)
        self._log_loss(loss, "train", 1)  # each batch counts once, whatever this process's share of it
        for name, value in self._logged_values().items():
            self.log(f"train/{name}", value, batch_size=len(batch.row))
        return {"loss": loss, "embedding": PairEmbedding(*(value.detach() for value in embedding))}

    def validation_step(self, batch: PairBatch, batch_idx: int) -> Any:
        """Log the loss, collect embeddings for retrieval, and return them (`PairEmbedding`)."""
        return self._evaluate(batch, "val")

    def test_step(self, batch: PairBatch, batch_idx: int) -> Any:
        """Log the loss, collect embeddings for retrieval, and return them (`PairEmbedding`)."""
        return self._evaluate(batch, "test")

    def predict_step(self, batch: PairBatch, batch_idx: int) -> PairEmbedding:
        """Return the embeddings."""
        embedding: PairEmbedding = self(batch)
        return embedding

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Take an optimiser step, then clamp temperatures to their bound."""
        super().optimizer_step(*args, **kwargs)
        for part in self.modules():
            if isinstance(part, ContrastiveLoss):
                part.clamp_logit_scale()

    def on_validation_epoch_end(self) -> None:
        """Log retrieval over the whole validation split."""
        self._log_retrieval("val")

    def on_test_epoch_end(self) -> None:
        """Log retrieval over the whole test split."""
        self._log_retrieval("test")

    def on_train_batch_start(self, batch: PairBatch, batch_idx: int) -> None:
        """Keep the first encoder in eval mode while it is frozen, so that its batch norms do not drift."""
        if self.freeze_steps:
            getattr(self, f"{self.sides[0]}_encoder").train(self.global_step >= self.freeze_steps)

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the parameters, with those of a frozen first encoder in groups of their own."""
        if not self.freeze_steps:
            return super().parameter_groups()
        # A learning rate of zero freezes: with `requires_grad`, processes would disagree on the gradients to exchange.
        frozen = list(getattr(self, f"{self.sides[0]}_encoder").parameters())
        ids = {id(parameter) for parameter in frozen}
        rest = [parameter for parameter in self.parameters() if id(parameter) not in ids]
        decay = self.optim.weight_decay
        return [*split_by_decay(frozen, decay, self.freeze_steps), *split_by_decay(rest, decay)]

    @property
    def input_kinds(self) -> tuple[str, ...]:
        """Names of the sides."""
        return self.sides

    def embed_images(self, images: Any, batch_size: int = 64) -> Tensor:
        """Return unit vectors [N, D] of images, resized like the training store, on the CPU.

        Args:
            images: one or many paths, opened images (`PIL.Image.Image`) or grey arrays [H, W]; read batch by batch.
            batch_size: images on the device at once.

        Raises:
            IgclError: an image cannot be read, the module has no image side, or its preprocessing is unknown.
        """
        return self._embed_inputs("image", images, batch_size)

    def embed_reports(self, reports: Any, batch_size: int = 64) -> Tensor:
        """Return unit vectors [N, D] of reports, parsed and tokenized like the training store, on the CPU.

        Args:
            reports: one or many, each a text, a mapping of sections (such as "findings") to their texts, or a graph.
            batch_size: reports on the device at once.

        Raises:
            IgclError: the module has no side that reads reports, or its preprocessing is unknown.
        """
        return self._embed_inputs(self.report_side, reports, batch_size)

    def score_reports(self, images: Any, reports: Any, score: str | None = None, batch_size: int = 64) -> Tensor:
        """Return how well each of Q images fits each of C reports, [Q, C], on the CPU.

        Args:
            images: as for `embed_images`.
            reports: as for `embed_reports`.
            score: one of `score_names` (default: the score of retrieval).
            batch_size: images, and reports, on the device at once.

        Raises:
            IgclError: unknown score, no images or no reports, or what `embed_images` and `embed_reports` raise.
        """
        if score is not None:
            check_choice("score", score, self.score_names)
        scorer = self.score if score is None else self.scorer(score)
        with self.evaluating():
            parts = list(self._matched_inputs(self.report_side, reports, batch_size))
            each_image = self._matched_inputs("image", images, batch_size)
            rows = [[scorer(image, report).float().cpu() for report in parts] for image in each_image]
        if not rows or not parts:
            raise IgclError(f"no {'images' if parts else 'reports'} to score")
        return torch.cat([torch.cat(row, dim=1) for row in rows])

    @property
    def report_side(self) -> str:
        """Name of the side that reads reports, "graph" or "report"; the latter if there is none."""
        return next((side for side in self.sides if side in ("graph", "report")), "report")

    def embedded_kind(self, side: str) -> str:
        """Return the kind of inputs, as `InputReader.batches` names it, that the encoder of a side reads."""
        return side

    def _embed_inputs(self, side: str, inputs: Any, batch_size: int) -> Tensor:
        with self.evaluating():
            parts = [self.project(side, each).float().cpu() for each in self.encode_inputs(side, inputs, batch_size)]
        channels = getattr(self, f"{side}_projection").out_channels
        return torch.cat(parts) if parts else torch.empty(0, channels)

    def _matched_inputs(self, side: str, inputs: Any, batch_size: int) -> Iterator[Any]:
        """Yield what scorers read of each batch."""
        for encoded in self.encode_inputs(side, inputs, batch_size):
            yield self.matched(side, encoded, self.project(side, encoded))

    def encode_inputs(self, side: str, inputs: Any, batch_size: int = 64) -> Iterator[Encoded]:
        """Yield the encoding of each batch of files, texts or graphs; `IgclError` if there is no such side."""
        if side not in self.sides:
            raise IgclError(f"{type(self).__name__} has no {side} side, only {' and '.join(self.sides)}")
        for batch in self.input_reader().batches(self.embedded_kind(side), inputs, batch_size):
            yield self.encode(side, move_data_to_device(batch, self.device))

    @property
    def trained_losses(self) -> dict[str, ContrastiveLoss]:
        """The contrastive losses that are trained, by the prefix of their logged names."""
        return {"": self.loss} if isinstance(self.loss, ContrastiveLoss) else {}

    @property
    def unread_of_graphs(self) -> dict[str, str]:
        """What training never reads of graphs, "assertions" or "relations", and the options that say so.

        A data module refuses errors there. Override it where something of your own reads them.
        """
        return unread_of_graphs(self, self.trained_losses.values())

    def logged_metrics(self, data: Any) -> set[str] | None:
        """Return the names of the losses, of what they learn and count, and of retrieval in both directions."""
        evaluated = {"loss", *self.retrieval.names}
        trained = {f"train/{name}" for name in ("loss", *self._logged_values())}
        return trained | {f"{stage}/{name}" for stage in ("val", "test") for name in evaluated}

    def statement(self, batch: PairBatch) -> Tensor:
        """Return an id of the content of the second side, int64 [B]; -1 if it states nothing."""
        return batch.graph_key

    @property
    def reads_units(self) -> bool:
        """Whether training reads units of encodings, which are then kept of all pieces of a batch."""
        return overrides(self, ContrastiveModule)

    def encode_and_project(self, side: str, inputs: Any) -> tuple[Encoded, Tensor]:
        """Return the encoding of the inputs of one side, and its projection [B, D]; in pieces of `data.micro_batch`.

        Encodings that were made in pieces have no units unless `reads_units`.
        """

        def whole(inputs: Any) -> tuple[Encoded, Tensor]:
            encoded = self.encode(side, inputs)
            return encoded, self.project(side, encoded)

        size = getattr(getattr(self._trainer, "datamodule", None), "micro_batch", None)
        if size is None or num_rows(inputs) <= size:
            return whole(inputs)
        parts = [getattr(self, f"{side}_encoder"), getattr(self, f"{side}_projection")]
        return encode_in_pieces(whole, inputs, size, parts, self.reads_units)

    def _embed(self, batch: PairBatch) -> tuple[Encoded, Encoded, PairEmbedding]:
        (first, one), (second, other) = (
            self.encode_and_project(side, self.side_input(side, batch)) for side in self.sides
        )
        return first, second, PairEmbedding(one, other, first.pooled, batch.row)

    def _matched_sides(self, first: Encoded, second: Encoded, embedding: PairEmbedding) -> tuple[Any, Any]:
        one, other = self.sides
        return self.matched(one, first, embedding.first), self.matched(other, second, embedding.second)

    def _evaluate(self, batch: PairBatch, stage: str) -> PairEmbedding:
        first, second, embedding = self._embed(batch)
        self._log_loss(self.contrast(first, second, embedding, batch), stage, len(gather(batch.row).unique()))
        sides = self._matched_sides(first, second, embedding)
        self.retrieval.update(*sides, self.statement(batch), batch.patient, batch.row)
        return embedding

    def _logged_values(self) -> dict[str, Tensor]:
        """Return what training logs beside the loss, by name: temperatures, biases, the rate of false negatives."""
        values: dict[str, Tensor] = {}
        for prefix, loss in self.trained_losses.items():
            values |= {f"{prefix}{name}": value for name, value in loss.learned.items()}
            values["false_negative_rate"] = loss.false_negative_rate  # that of the pairs, so the same for all losses
        return values

    def _log_loss(self, loss: Tensor, stage: str, size: int) -> None:
        self.log(f"{stage}/loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=size, sync_dist=True)

    def _log_retrieval(self, stage: str) -> None:
        self.log_dict({f"{stage}/{name}": value for name, value in self.retrieval.compute().items()}, sync_dist=True)
        self.retrieval.reset()


def overrides(module: ContrastiveModule, base: type[ContrastiveModule]) -> bool:
    """Return whether the class of a module has its own way from encodings to a loss, not that of a base class."""
    steps = "matched", "similarity", "contrast"
    return any(getattr(type(module), step) is not getattr(base, step) for step in steps)


def pair_ids(batch: PairBatch, loss: nn.Module) -> PairIds:
    """Return the ids of a batch, with labels, and with counts of words if the loss reads them."""
    words = word_counts(batch.report) if getattr(loss, "semantic", None) == "text" else None
    return PairIds(batch.row, batch.study, batch.patient, batch.graph_key, batch.graph_facts, batch.target, words)


def contrasts_reports(module: Any) -> TypeGuard[ContrastiveModule]:
    """Return whether a module contrasts images with reports, not with other views of images."""
    return isinstance(module, ContrastiveModule) and module.sides[1] != "view"
