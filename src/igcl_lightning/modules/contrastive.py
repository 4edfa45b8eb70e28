"""The base of all pretraining modules: two encoders, two projections, one contrastive loss."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor, nn

from igcl_lightning.data.samples import PairBatch
from igcl_lightning.losses.contrastive import ContrastiveLoss, PairIds
from igcl_lightning.metrics.retrieval import PairRetrieval
from igcl_lightning.modules.base import BaseModule
from igcl_lightning.nn.encoded import Encoded


class PairEmbedding(NamedTuple):
    """Unit vectors of both sides of a batch.

    Attributes:
        image: [B, D].
        graph: [B, D].
        row: hash of the row's id, int64 [B].
    """

    image: Tensor
    graph: Tensor
    row: Tensor


class ContrastiveModule(BaseModule):
    """Pretraining by contrast of paired samples.

    A subclass sets, in its constructor, five modules: `image_encoder` and `graph_encoder` (each returns `Encoded`),
    `image_projection` and `graph_projection` (to unit vectors of one space), and `loss`. Another modality is another
    encoder; `encode_image` and `encode_graph` say which field of the batch each side reads.
    """

    image_encoder: nn.Module
    graph_encoder: nn.Module
    image_projection: nn.Module
    graph_projection: nn.Module
    loss: ContrastiveLoss

    def __init__(self, learning_rate: float = 1e-3, weight_decay: float = 0.05, warmup_fraction: float = 0.05) -> None:
        super().__init__(learning_rate, weight_decay, warmup_fraction)
        self.retrieval = PairRetrieval(k=(1, 5, 10))

    def encode_image(self, batch: PairBatch) -> Encoded:
        """Encode the image side."""
        encoded: Encoded = self.image_encoder(batch.image)
        return encoded

    def encode_graph(self, batch: PairBatch) -> Encoded:
        """Encode the other side."""
        encoded: Encoded = self.graph_encoder(batch.graph)
        return encoded

    def forward(self, batch: PairBatch) -> PairEmbedding:
        """Embed both sides of a batch."""
        return PairEmbedding(
            self.image_projection(self.encode_image(batch).pooled),
            self.graph_projection(self.encode_graph(batch).pooled),
            batch.row,
        )

    def training_step(self, batch: PairBatch, batch_idx: int) -> Tensor:
        """Return the contrastive loss."""
        loss, _ = self._loss(batch, "train")
        self.log("train/logit_scale", self.loss.logit_scale.exp(), batch_size=len(batch.row))
        return loss

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

    @staticmethod
    def ids(batch: PairBatch) -> PairIds:
        """Return what the loss needs to know of the pairs."""
        return PairIds(batch.study, batch.patient, batch.graph_key, batch.graph_facts)

    def _loss(self, batch: PairBatch, stage: str) -> tuple[Tensor, PairEmbedding]:
        embedding: PairEmbedding = self(batch)
        loss = self.loss(embedding.image, embedding.graph, self.ids(batch))
        size = len(batch.row)
        self.log(f"{stage}/loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=size, sync_dist=True)
        return loss, embedding

    def _evaluate(self, batch: PairBatch, stage: str) -> PairEmbedding:
        _, embedding = self._loss(batch, stage)
        self.retrieval.update(embedding.image, embedding.graph, batch.graph_key, batch.row)
        return embedding

    def _log_retrieval(self, stage: str) -> None:
        self.log_dict({f"{stage}/{name}": value for name, value in self.retrieval.compute().items()})
        self.retrieval.reset()
