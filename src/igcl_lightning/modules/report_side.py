"""The report side of modules that read words: text encoder, its tokenizer, and sentences drawn in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch_geometric.data import Batch, Data

from igcl_lightning.data.samples import PairBatch
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.tokens import ReportTokenizer
from igcl_lightning.modules.contrastive import ContrastiveModule
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


class ReportSide(ContrastiveModule):
    """A contrastive module that may read the words of reports.

    The constructor of a subclass that does so sets `text`, its options, and the text encoder, from `text_encoder`.
    """

    text: ReportOptions | None = None

    def portable_hyperparameters(self) -> dict[str, Any]:
        """Return the arguments that rebuild this module, with the configuration of the text model."""
        portable = super().portable_hyperparameters()
        for part in self.modules():
            if isinstance(part, HubTextEncoder):
                portable["text"] = {**portable["text"], "config": part.config}
        return portable

    def setup(self, stage: str) -> None:
        """Check that the data's tokenizer is that of the text model; `IgclError` otherwise."""
        super().setup(stage)
        tokenizer = getattr(getattr(self.trainer, "datamodule", None), "tokenizer", None)
        if self.text is None or not isinstance(tokenizer, ReportTokenizer):
            return
        if tokenizer.model != self.text.model:
            cut, read = tokenizer.model, self.text.model
            raise IgclError(f"data.tokenizer is {cut!r}, model.text.model is {read!r}: set both to the same model")

    def side_input(self, side: str, batch: PairBatch) -> Any:
        """Return the input of a side's encoder; in training, one sentence of each report if they are sampled."""
        value = super().side_input(side, batch)
        sampled = self.training and self.text is not None and self.text.sentence_sampling
        return sample_sentences(value) if side == "report" and sampled else value


def text_encoder(options: TextOptions) -> TextEncoder | HubTextEncoder:
    """Return the small transformer, or the Hugging Face model that the options name."""
    return TextEncoder(options) if options.model is None else HubTextEncoder(options)


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
