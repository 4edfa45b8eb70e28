"""The base of all pretraining modules: two encoders, two projections, one contrastive loss."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from igcl_lightning.data.samples import PairBatch
from igcl_lightning.errors import IgclError
from igcl_lightning.losses.contrastive import PairIds
from igcl_lightning.metrics.retrieval import PairRetrieval
from igcl_lightning.modules.base import BaseModule, ParameterGroup
from igcl_lightning.nn.encoded import Encoded


class PairEmbedding(NamedTuple):
    """A batch of B pairs, embedded.

    Attributes:
        first: unit vectors of the first side, [B, D].
        second: unit vectors of the second side, [B, D].
        pooled: encoding of the first side before its projection, which is what probes read, [B, C].
        row: hash of the row's id, int64 [B].
    """

    first: Tensor
    second: Tensor
    pooled: Tensor
    row: Tensor


class ContrastiveModule(BaseModule):
    """Pretraining by contrast of paired samples.

    `sides` names the two sides; the names appear in logged metrics and in `embeddings.parquet`. A subclass sets, in its
    constructor, an encoder (returns `Encoded`) and a projection (to unit vectors of one space) for each side, as
    attributes `{side}_encoder` and `{side}_projection`, and `loss`. A side reads the batch's field of its name, or the
    store's array column of that name (`data.arrays`), so that another modality is another encoder and nothing else.

    Args:
        learning_rate: see `BaseModule`.
        weight_decay: see `BaseModule`.
        warmup_fraction: see `BaseModule`.
        schedule: see `BaseModule`.
        image_freeze_steps: optimiser steps at the start during which the first side's encoder stays as it is.
    """

    sides: ClassVar[tuple[str, str]] = ("image", "graph")
    loss: nn.Module

    def __init__(
        self,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.05,
        warmup_fraction: float = 0.05,
        schedule: str = "cosine",
        image_freeze_steps: int = 0,
    ) -> None:
        super().__init__(learning_rate, weight_decay, warmup_fraction, schedule)
        self.image_freeze_steps = image_freeze_steps
        self.retrieval = PairRetrieval(self.sides, k=(1, 5, 10))

    def side_input(self, side: str, batch: PairBatch) -> Any:
        """Return what a side's encoder reads.

        Raises:
            IgclError: the batch holds nothing of that name.
        """
        if side in batch.extra:
            return batch.extra[side]
        if side not in PairBatch._fields:
            raise IgclError(f"the batches hold no {side!r}; name the store's array column with --data.arrays [{side}]")
        return getattr(batch, side)

    def encode(self, side: str, batch: PairBatch) -> Encoded:
        """Encode one side of a batch."""
        encoded: Encoded = getattr(self, f"{side}_encoder")(self.side_input(side, batch))
        return encoded

    def project(self, side: str, encoded: Encoded) -> Tensor:
        """Map an encoding to unit vectors [B, D] of the space that both sides share."""
        projected: Tensor = getattr(self, f"{side}_projection")(encoded.pooled)
        return projected

    def forward(self, batch: PairBatch) -> PairEmbedding:
        """Embed both sides of a batch."""
        first, second = (self.encode(side, batch) for side in self.sides)
        return PairEmbedding(
            self.project(self.sides[0], first), self.project(self.sides[1], second), first.pooled, batch.row
        )

    def contrast(self, embedding: PairEmbedding, batch: PairBatch) -> Tensor:
        """Return the loss of an embedded batch."""
        loss: Tensor = self.loss(embedding.first, embedding.second, self.ids(batch))
        return loss

    def training_step(self, batch: PairBatch, batch_idx: int) -> dict[str, Any]:
        """Return the loss, and the embedding for callbacks."""
        loss, embedding = self._loss(batch, "train")
        scale = getattr(self.loss, "logit_scale", None)
        if scale is not None:
            self.log("train/logit_scale", scale.exp(), batch_size=len(batch.row))
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

    def on_validation_epoch_end(self) -> None:
        """Log retrieval over the whole validation split."""
        self._log_retrieval("val")

    def on_test_epoch_end(self) -> None:
        """Log retrieval over the whole test split."""
        self._log_retrieval("test")

    def on_train_batch_start(self, batch: PairBatch, batch_idx: int) -> None:
        """Keep the first encoder in eval mode while it is frozen: its batch norms must not drift."""
        if self.image_freeze_steps:
            getattr(self, f"{self.sides[0]}_encoder").train(self.global_step >= self.image_freeze_steps)

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the parameters, those of a frozen first encoder apart.

        A learning rate of zero freezes them. Switching `requires_grad` during training would make the processes of
        distributed training disagree on which gradients to exchange.
        """
        if not self.image_freeze_steps:
            return super().parameter_groups()
        frozen = list(getattr(self, f"{self.sides[0]}_encoder").parameters())
        ids = {id(parameter) for parameter in frozen}
        rest = [parameter for parameter in self.parameters() if id(parameter) not in ids]
        return [*self.split_by_decay(frozen, self.image_freeze_steps), *self.split_by_decay(rest)]

    def statement(self, batch: PairBatch) -> Tensor:
        """Return what the second side states, int64 [B]: equal where it is the same, -1 where it states nothing."""
        return batch.graph_key

    @staticmethod
    def ids(batch: PairBatch) -> PairIds:
        """Return what the loss needs to know of the pairs."""
        return PairIds(batch.study, batch.patient, batch.graph_key, batch.graph_facts)

    def _loss(self, batch: PairBatch, stage: str) -> tuple[Tensor, PairEmbedding]:
        embedding: PairEmbedding = self(batch)
        loss = self.contrast(embedding, batch)
        size = len(batch.row)
        self.log(f"{stage}/loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=size, sync_dist=True)
        return loss, embedding

    def _evaluate(self, batch: PairBatch, stage: str) -> PairEmbedding:
        _, embedding = self._loss(batch, stage)
        self.retrieval.update(embedding.first, embedding.second, self.statement(batch), batch.patient, batch.row)
        return embedding

    def _log_retrieval(self, stage: str) -> None:
        self.log_dict({f"{stage}/{name}": value for name, value in self.retrieval.compute().items()}, sync_dist=True)
        self.retrieval.reset()
