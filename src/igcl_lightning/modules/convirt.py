"""ConVIRT: image-text contrastive learning (Zhang et al., MLHC 2022, arXiv 2010.00747)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from igcl_lightning.data.samples import PairBatch
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.tokens import ReportTokenizer
from igcl_lightning.losses.contrastive import ContrastiveLoss
from igcl_lightning.modules.contrastive import ContrastiveModule
from igcl_lightning.nn.image_encoder import ImageEncoder
from igcl_lightning.nn.projection import ProjectionHead
from igcl_lightning.nn.text_encoder import HubTextEncoder, TextEncoder

SENTENCE_TOKENS = 3
"""Tokens of a sentence worth reading; shorter ones, such as the number of a list item, are drawn last."""


class ConVIRT(ContrastiveModule):
    """Contrast chest X-rays with the sentences of their reports.

    The text encoder is a small transformer from scratch on hashed subwords, the same as IGCL's nodes are made of; or a
    Hugging Face model, as in the paper, whose tokenizer the data then needs (`data.tokenizer`).

    Args:
        backbone: timm name of the image encoder.
        image_size: side of the square the image encoder sees, in pixels.
        image_weights: "none", "hub" or the path of a local weights file (see `ImageEncoder`).
        image_mean: grey mean on the scale 0-1, of the images or of what the weights were trained on.
        image_std: grey standard deviation on the scale 0-1, likewise.
        image_interpolation: "bilinear" or "bicubic".
        text_channels: width of the text encoder.
        text_layers: its transformer layers.
        text_heads: heads of each.
        text_readout: "max" (the paper's), "mean" or "attention".
        text_dropout: in the transformer layers.
        text_model: folder or hub name of a Hugging Face model instead; then `text_channels`, `text_layers`,
            `text_heads` and `text_dropout` are its own.
        text_frozen_layers: its first layers that stay as they are, the embeddings with them (paper: 6); 0 trains all.
        text_config: its configuration; checkpoints hold it, so that they load without the model's files.
        sentence_sampling: in training, read one sentence of each report, drawn at random; evaluation reads it whole.
        embedding_channels: width of the space both sides share.
        image_weight: share of the direction from image to report in the loss (lambda, eq. 4).
        temperature: tau of eq. 2-3.
        learn_temperature: whether it is trained.
        targets: which pairs count as positive (see `ContrastiveLoss`).
        learning_rate: see `BaseModule`.
        weight_decay: see `BaseModule`.
        warmup_fraction: see `BaseModule`.
        schedule: see `BaseModule`.
        image_freeze_steps: see `ContrastiveModule`.
    """

    sides: ClassVar[tuple[str, str]] = ("image", "report")
    report_encoder: TextEncoder | HubTextEncoder

    def __init__(
        self,
        backbone: str = "resnet18",
        image_size: int = 224,
        image_weights: str = "none",
        image_mean: float = 0.449,
        image_std: float = 0.226,
        image_interpolation: str = "bilinear",
        text_channels: int = 256,
        text_layers: int = 2,
        text_heads: int = 4,
        text_readout: str = "max",
        text_dropout: float = 0.1,
        text_model: str | None = None,
        text_frozen_layers: int = 6,
        text_config: dict[str, Any] | None = None,
        sentence_sampling: bool = True,
        embedding_channels: int = 512,
        image_weight: float = 0.75,
        temperature: float = 0.1,
        learn_temperature: bool = False,
        targets: str = "identity",
        learning_rate: float = 1e-3,
        weight_decay: float = 0.05,
        warmup_fraction: float = 0.05,
        schedule: str = "cosine",
        image_freeze_steps: int = 0,
    ) -> None:
        super().__init__(learning_rate, weight_decay, warmup_fraction, schedule, image_freeze_steps)
        if text_channels % text_heads:
            raise IgclError(f"model.text_channels {text_channels} is no multiple of text_heads {text_heads}")
        if temperature <= 0:
            raise IgclError(f"model.temperature is {temperature}, not above 0")
        if not 0 <= image_weight <= 1:
            raise IgclError(f"model.image_weight is {image_weight}, not in [0, 1]")
        self.save_hyperparameters()
        self.text_model = text_model
        self.sentence_sampling = sentence_sampling
        self.image_encoder = ImageEncoder(
            backbone, image_size, image_weights, image_mean, image_std, image_interpolation
        )
        if text_model is None:
            self.report_encoder = TextEncoder(text_channels, text_layers, text_heads, text_readout, text_dropout)
        else:
            self.report_encoder = HubTextEncoder(text_model, text_config, text_frozen_layers, text_readout)
            self.hparams["text_config"] = self.report_encoder.config
        self.image_projection = ProjectionHead(self.image_encoder.out_channels, embedding_channels)
        self.report_projection = ProjectionHead(self.report_encoder.out_channels, embedding_channels)
        self.loss = ContrastiveLoss(
            temperature, targets=targets, first_weight=image_weight, learn_temperature=learn_temperature
        )

    def setup(self, stage: str) -> None:
        """Check that the data is cut into what the text encoder reads.

        Raises:
            IgclError: the tokenizer of the data is not that of the text model.
        """
        tokenizer = getattr(getattr(self.trainer, "datamodule", None), "tokenizer", None)
        if isinstance(tokenizer, ReportTokenizer) and tokenizer.model != self.text_model:
            cut, read = tokenizer.model, self.text_model
            raise IgclError(f"data.tokenizer is {cut!r}, model.text_model is {read!r}: give both alike")

    def side_input(self, side: str, batch: PairBatch) -> Any:
        """Return what a side's encoder reads; of reports, in training, one sentence of each."""
        value = super().side_input(side, batch)
        return sample_sentences(value) if side == "report" and self.training and self.sentence_sampling else value


def sample_sentences(report: Data) -> Data:
    """Return a batch of B reports with one sentence left of each, drawn uniformly, and with all special tokens.

    Sentences of fewer than `SENTENCE_TOKENS` tokens are drawn only where there is no longer one.

    Args:
        report: `Batch` with fields x [T, S], word, sentence and batch [T] (see `ReportTokenizer`).
    """
    num_sentences = int(report.sentence.max()) + 1 if len(report.sentence) else 0
    size = report.num_graphs, max(num_sentences, 1)
    of_sentence = report.sentence >= 0
    place = (report.batch * size[1] + report.sentence)[of_sentence]
    length = torch.bincount(place, minlength=size[0] * size[1]).view(size)
    # Whole numbers rank by length, the random fraction decides among equals.
    drawn = (length.clamp(max=SENTENCE_TOKENS) + torch.rand(size, device=length.device)).argmax(dim=1)
    return _select(report, (report.sentence == drawn[report.batch]) | ~of_sentence)


def _select(report: Data, keep: Tensor) -> Data:
    """Return the kept tokens, bool [T], of a batch of reports, as a batch of as many reports."""
    batch = report.batch[keep]
    count = torch.bincount(batch, minlength=report.num_graphs)
    return Batch(
        x=report.x[keep],
        word=report.word[keep],
        sentence=report.sentence[keep],
        batch=batch,
        ptr=torch.cat([count.new_zeros(1), count.cumsum(0)]),
    )
