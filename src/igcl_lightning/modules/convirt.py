"""ConVIRT: image-text contrastive learning (Zhang et al., MLHC 2022, arXiv 2010.00747)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch_geometric.data import Batch, Data

from igcl_lightning.data.samples import PairBatch
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.tokens import ReportTokenizer
from igcl_lightning.losses.contrastive import ContrastiveLoss, ContrastiveOptions
from igcl_lightning.modules.contrastive import ContrastiveModule, PretrainOptimOptions
from igcl_lightning.nn.image_encoder import ImageEncoder, ImageOptions
from igcl_lightning.nn.projection import ProjectionHead, ProjectionOptions
from igcl_lightning.nn.text_encoder import HubTextEncoder, TextEncoder, TextOptions

SENTENCE_TOKENS = 3
"""Fewest tokens of a sentence worth reading; shorter ones, such as the number of a list item, are drawn last."""


@dataclass(frozen=True)
class ReportOptions(TextOptions):
    """Text encoder, and what it reads in training.

    Args:
        sentence_sampling: in training, read one randomly drawn sentence per report; evaluation reads the whole report.
    """

    sentence_sampling: bool = True


class ConVIRT(ContrastiveModule):
    """Contrast chest X-rays with the sentences of their reports.

    The text encoder is a small transformer from scratch, on the same hashed subwords as IGCL's nodes; or, as in the
    paper, a Hugging Face model, whose tokenizer the data then needs (`data.tokenizer`).

    Args:
        image: image encoder and preprocessing.
        text: text encoder.
        projection: projection of each side into the shared space.
        loss: contrastive loss.
        optim: optimiser and learning-rate schedule.
    """

    sides: ClassVar[tuple[str, str]] = ("image", "report")
    report_encoder: TextEncoder | HubTextEncoder

    def __init__(
        self,
        image: ImageOptions = ImageOptions(),
        text: ReportOptions = ReportOptions(),
        projection: ProjectionOptions = ProjectionOptions(channels=512),
        loss: ContrastiveOptions = ContrastiveOptions(0.1, "identity", image_weight=0.75, learn_temperature=False),
        optim: PretrainOptimOptions = PretrainOptimOptions(),
    ) -> None:
        super().__init__(optim)
        self.save_hyperparameters()
        self.text: ReportOptions = self.group("text", text)
        projection = self.group("projection", projection)
        self.image_encoder = ImageEncoder(self.group("image", image))
        self.report_encoder = TextEncoder(self.text) if self.text.model is None else HubTextEncoder(self.text)
        self.image_projection = ProjectionHead(self.image_encoder.out_channels, projection)
        self.report_projection = ProjectionHead(self.report_encoder.out_channels, projection)
        self.loss = ContrastiveLoss(self.group("loss", loss))

    def portable_hyperparameters(self) -> dict[str, Any]:
        """Return the arguments that rebuild this module, with the configuration of the text model."""
        portable = super().portable_hyperparameters()
        if isinstance(self.report_encoder, HubTextEncoder):
            portable["text"] = {**portable["text"], "config": self.report_encoder.config}
        return portable

    def setup(self, stage: str) -> None:
        """Check that the data's tokenizer is that of the text model; `IgclError` otherwise."""
        tokenizer = getattr(getattr(self.trainer, "datamodule", None), "tokenizer", None)
        if isinstance(tokenizer, ReportTokenizer) and tokenizer.model != self.text.model:
            cut, read = tokenizer.model, self.text.model
            raise IgclError(f"data.tokenizer is {cut!r}, model.text.model is {read!r}: set both to the same model")

    def side_input(self, side: str, batch: PairBatch) -> Any:
        """Return the input of a side's encoder; in training, one sentence of each report."""
        value = super().side_input(side, batch)
        return sample_sentences(value) if side == "report" and self.training and self.text.sentence_sampling else value


def sample_sentences(report: Data) -> Data:
    """Return a batch of B reports with one sentence of each, drawn uniformly, and with all special tokens.

    Sentences of fewer than `SENTENCE_TOKENS` tokens are drawn only if there is no longer one.

    Args:
        report: `Batch` with fields x [T, S], word, sentence and batch [T] (see `ReportTokenizer`).
    """
    num_sentences = int(report.sentence.max()) + 1 if len(report.sentence) else 0
    size = report.num_graphs, max(num_sentences, 1)
    of_sentence = report.sentence >= 0
    place = (report.batch * size[1] + report.sentence)[of_sentence]
    length = torch.bincount(place, minlength=size[0] * size[1]).view(size)
    # Whole numbers rank by length, the random fraction breaks ties.
    drawn = (length.clamp(max=SENTENCE_TOKENS) + torch.rand(size, device=length.device)).argmax(dim=1)
    keep = (report.sentence == drawn[report.batch]) | ~of_sentence
    kept = {name: report[name][keep] for name in ("x", "word", "sentence", "batch")}
    count = torch.bincount(kept["batch"], minlength=report.num_graphs)
    return Batch(**kept, ptr=torch.cat([count.new_zeros(1), count.cumsum(0)]))
