"""Text encoders: a small transformer on hashed subwords, and any Hugging Face model on wordpieces."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.utils import scatter, to_dense_batch

from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.featurizer import NUM_BUCKETS
from igcl_lightning.nn.encoded import Encoded
from igcl_lightning.nn.readout import READOUTS, fill_empty, read_out

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class TextEncoder(nn.Module):
    """Encode reports with a transformer from scratch, on the hashed subwords of their words.

    Padding never takes part, so a report's encoding does not depend on the reports it is batched with. A report without
    words is encoded as one learned unit.

    Args:
        channels: width of all layers.
        num_layers: pre-norm transformer layers.
        num_heads: heads of each.
        readout: "max", "mean" or "attention" (a learned gate).
        dropout: in the transformer layers.
        max_tokens: words of the longest report that can be read.

    Raises:
        ValueError: unknown readout.
    """

    def __init__(
        self,
        channels: int = 256,
        num_layers: int = 2,
        num_heads: int = 4,
        readout: str = "max",
        dropout: float = 0.1,
        max_tokens: int = 256,
    ) -> None:
        super().__init__()
        self.readout = _known(readout)
        self.max_tokens = max_tokens
        self.out_channels = channels
        self.subwords = nn.EmbeddingBag(NUM_BUCKETS, channels, mode="mean", padding_idx=0)
        self.position = nn.Parameter(torch.randn(max_tokens, channels) * 0.02)
        self.empty = nn.Parameter(torch.randn(channels) * 0.02)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                channels, num_heads, 2 * channels, dropout, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(channels)
        self.gate = nn.Linear(channels, 1) if readout == "attention" else None

    def forward(self, report: Data) -> Encoded:
        """Encode a `Batch` of B reports with fields x (subword buckets [T, S]) and word [T]; the units are the words.

        Raises:
            IgclError: a report is longer than `max_tokens`.
        """
        longest = int(report.word.max()) + 1 if len(report.word) else 0
        if longest > self.max_tokens:
            raise IgclError(
                f"a report has {longest} tokens, the text encoder reads {self.max_tokens}: lower data.max_tokens"
            )
        # A word keeps its place in the report when only one sentence is read, so that all places are trained.
        words = self.subwords(report.x) + self.position[report.word]
        units, mask = to_dense_batch(words, report.batch, batch_size=report.num_graphs)
        units, mask = fill_empty(units, mask, self.empty)
        for layer in self.layers:
            units = layer(units, src_key_padding_mask=~mask)
        units = self.norm(units) * mask[..., None]
        pooled, importance = read_out(units, mask, self.readout, self.gate)
        return Encoded(pooled, units, mask, importance)


class HubTextEncoder(nn.Module):
    """Encode reports with a Hugging Face model, read out over words.

    A word is the mean of its wordpieces; special tokens are read but are no units. A report without words is encoded as
    one learned unit.

    Args:
        name: folder or hub name of the model; of the tokenizer that cut the reports, too.
        config: the model's configuration, as `config` of this class gives it; the weights then stay random until a
            checkpoint fills them, and nothing is read from `name`.
        frozen_layers: first layers that stay as they are, and the embeddings with them; 0 trains everything.
        readout: "max", "mean" or "attention" (a learned gate).

    Raises:
        IgclError: `transformers` is missing, or the model cannot be had.
        ValueError: unknown readout.
    """

    def __init__(
        self, name: str, config: dict[str, Any] | None = None, frozen_layers: int = 6, readout: str = "max"
    ) -> None:
        super().__init__()
        self.readout = _known(readout)
        backbone = _hub_model(name, config)
        self.backbone = backbone
        self.out_channels: int = backbone.config.hidden_size
        self.empty = nn.Parameter(torch.randn(self.out_channels) * 0.02)
        self.gate = nn.Linear(self.out_channels, 1) if readout == "attention" else None
        self.frozen = _first_layers(backbone, frozen_layers)
        # The head for the first token is not used; left trainable, distributed training would wait for its gradient.
        unused = [backbone.pooler] if getattr(backbone, "pooler", None) is not None else []
        for module in (*self.frozen, *unused):
            module.requires_grad_(False)

    @property
    def config(self) -> dict[str, Any]:
        """The model's configuration as plain values."""
        config: dict[str, Any] = json.loads(self.backbone.config.to_json_string())
        return config

    def train(self, mode: bool = True) -> HubTextEncoder:
        """Set the mode; frozen layers stay in evaluation mode."""
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self

    def forward(self, report: Data) -> Encoded:
        """Encode a `Batch` of B reports with fields x (wordpiece ids [T, 1]) and word [T]; the units are the words.

        Raises:
            IgclError: the reports were not cut into wordpieces.
        """
        if report.x.shape[1] != 1:
            raise IgclError("the reports are hashed subwords, not wordpieces: set data.tokenizer to model.text_model")
        ids, mask = to_dense_batch(report.x, report.batch, batch_size=report.num_graphs)
        filled, attended = fill_empty(ids, mask, ids.new_zeros(1))
        hidden = self.backbone(filled[..., 0], attention_mask=attended.long()).last_hidden_state
        words, word_batch = _mean_of_words(hidden[:, : mask.shape[1]][mask], report.word, report.batch)
        units, mask = to_dense_batch(words, word_batch, batch_size=report.num_graphs)
        units, mask = fill_empty(units, mask, self.empty)
        pooled, importance = read_out(units, mask, self.readout, self.gate)
        return Encoded(pooled, units, mask, importance)


def _mean_of_words(token: Tensor, word: Tensor, batch: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean over the tokens [T, D] of each word, [W, D], and the report of each word, [W]."""
    of_word = word >= 0
    key, place = torch.unique_consecutive((batch * 2**32 + word)[of_word], return_inverse=True)
    return scatter(token[of_word], place, dim_size=len(key), reduce="mean"), key // 2**32


def _hub_model(name: str, config: dict[str, Any] | None) -> PreTrainedModel:
    try:
        from transformers import AutoConfig, AutoModel
    except ImportError:
        raise IgclError("model.text_model needs the package transformers: pip install 'igcl-lightning[text]'") from None
    if config is not None:
        blank: PreTrainedModel = AutoModel.from_config(  # type: ignore[no-untyped-call]  # transformers has no types here
            AutoConfig.for_model(**config), dtype=torch.float32
        )
        return blank
    try:
        pretrained: PreTrainedModel = AutoModel.from_pretrained(name, dtype=torch.float32)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise IgclError(f"model.text_model {name!r}: no model to be had from there ({reason})") from error
    return pretrained


def _first_layers(backbone: PreTrainedModel, count: int) -> list[nn.Module]:
    """Return the embeddings and the first layers of a transformer; nothing where the count is 0.

    Raises:
        IgclError: it has fewer layers.
    """
    if count == 0:
        return []
    depth = backbone.config.num_hidden_layers
    stacks = (part for part in backbone.modules() if isinstance(part, nn.ModuleList) and len(part) == depth)
    layers = next(stacks, nn.ModuleList())
    if not 0 < count <= len(layers):
        raise IgclError(f"model.text_frozen_layers is {count}; the text model has {len(layers)} layers")
    return [getattr(backbone, "embeddings", backbone.get_input_embeddings()), *layers[:count]]


def _known(readout: str) -> str:
    if readout not in READOUTS:
        raise ValueError(f"readout {readout!r} is not one of {', '.join(READOUTS)}")
    return readout
