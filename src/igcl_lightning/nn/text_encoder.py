"""Text encoders: a small transformer on hashed subwords, and any Hugging Face model on wordpieces."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.utils import scatter, to_dense_batch

from igcl_lightning.errors import IgclError, one_line
from igcl_lightning.graphs.featurizer import NUM_BUCKETS
from igcl_lightning.nn.encoded import Encoded
from igcl_lightning.nn.readout import fill_empty, read_out, readout_gate

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class TextOptions:
    """Text encoder: a transformer from scratch, or a Hugging Face model.

    Args:
        channels: width of all layers; ignored if `model` is given, like `layers`, `heads` and `dropout`.
        layers: transformer layers.
        heads: attention heads per layer.
        readout: "max", "mean" or "attention" (a learned gate).
        dropout: dropout of the transformer layers.
        model: folder or hub name of a Hugging Face model to use instead; its tokenizer must be `data.tokenizer`.
        frozen_layers: number of first layers of that model that are frozen, with its embeddings; 0 trains everything.
        config: configuration of that model, as stored in checkpoints; the weights are then random until the checkpoint
            is loaded, and nothing is read from `model`.
    """

    channels: int = 256
    layers: int = 2
    heads: int = 4
    readout: str = "max"
    dropout: float = 0.1
    model: str | None = None
    frozen_layers: int = 6
    config: dict[str, Any] | None = None


class TextEncoder(nn.Module):
    """Encode reports with a transformer from scratch, on the hashed subwords of their words.

    Padding never takes part, so a report's encoding does not depend on the reports it is batched with. A report without
    words is encoded as one learned unit. Layers are pre-norm.

    Args:
        options: size of the transformer and readout.
        max_tokens: words of the longest report that can be read.

    Raises:
        IgclError: channels is not a multiple of heads.
        ValueError: unknown readout.
    """

    def __init__(self, options: TextOptions = TextOptions(), max_tokens: int = 256) -> None:
        super().__init__()
        channels, heads = options.channels, options.heads
        if channels % heads:
            raise IgclError(f"model.text.channels {channels} is not a multiple of model.text.heads {heads}")
        self.readout = options.readout
        self.max_tokens = max_tokens
        self.out_channels = self.unit_channels = channels
        self.subwords = nn.EmbeddingBag(NUM_BUCKETS, channels, mode="mean", padding_idx=0)
        self.position = nn.Parameter(torch.randn(max_tokens, channels) * 0.02)
        self.empty = nn.Parameter(torch.randn(channels) * 0.02)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                channels, heads, 2 * channels, options.dropout, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(options.layers)
        )
        self.norm = nn.LayerNorm(channels)
        self.gate = readout_gate(options.readout, channels)

    def forward(self, report: Data) -> Encoded:
        """Encode a `Batch` of B reports with fields x (subword buckets [T, S]) and word [T]; units are words.

        Raises:
            IgclError: a report has more than `max_tokens` words.
        """
        longest = int(report.word.max()) + 1 if len(report.word) else 0
        if longest > self.max_tokens:
            raise IgclError(
                f"a report has {longest} tokens, the text encoder reads {self.max_tokens}: lower data.max_tokens"
            )
        # A word keeps its position in the report when only one sentence is read, so that all positions are trained.
        words = self.subwords(report.x) + self.position[report.word]
        units, mask = to_dense_batch(words, report.batch, batch_size=report.num_graphs)
        units, mask = fill_empty(units, mask, self.empty)
        for layer in self.layers:
            units = layer(units, src_key_padding_mask=~mask)
        units = self.norm(units) * mask[..., None]
        pooled, importance = read_out(units, mask, self.readout, self.gate)
        return Encoded(pooled, units, mask, importance)


class HubTextEncoder(nn.Module):
    """Encode reports with a Hugging Face model and a readout over words.

    A word is the mean of its wordpieces; special tokens are read but are not units. A report without words is encoded
    as one learned unit.

    Args:
        options: model, frozen layers and readout.

    Raises:
        IgclError: `transformers` is missing, or the model is unavailable.
        ValueError: unknown readout.
    """

    def __init__(self, options: TextOptions) -> None:
        super().__init__()
        self.readout = options.readout
        backbone = _hub_model(options)
        self.backbone = backbone
        self.out_channels: int = backbone.config.hidden_size
        self.unit_channels = self.out_channels
        self.empty = nn.Parameter(torch.randn(self.out_channels) * 0.02)
        self.gate = readout_gate(options.readout, self.out_channels)
        self.frozen = _first_layers(backbone, options.frozen_layers)
        # The head for the first token is unused; left trainable, distributed training would wait for its gradient.
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
        """Encode a `Batch` of B reports with fields x (wordpiece ids [T, 1]) and word [T]; units are words.

        Raises:
            IgclError: the tokens are not wordpieces.
        """
        if report.x.shape[1] != 1:
            raise IgclError("the reports are hashed subwords, not wordpieces: set data.tokenizer to model.text.model")
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


def _hub_model(options: TextOptions) -> PreTrainedModel:
    try:
        from transformers import AutoConfig, AutoModel
    except ImportError:
        raise IgclError("model.text.model needs the package transformers: pip install 'igcl-lightning[text]'") from None
    model: PreTrainedModel
    if options.config is not None:
        config = AutoConfig.for_model(**options.config)
        model = AutoModel.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]  # not typed there
        return model
    try:
        model = AutoModel.from_pretrained(str(options.model), dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise IgclError(f"model.text.model {options.model!r}: no model found there ({one_line(error)})") from error
    return model


def _first_layers(backbone: PreTrainedModel, count: int) -> list[nn.Module]:
    """Return the embeddings and the first layers of a transformer; nothing where the count is 0."""
    if count == 0:
        return []
    depth = backbone.config.num_hidden_layers
    stacks = (part for part in backbone.modules() if isinstance(part, nn.ModuleList) and len(part) == depth)
    layers = next(stacks, nn.ModuleList())
    if not 0 < count <= len(layers):
        raise IgclError(f"model.text.frozen_layers is {count}; the text model has {len(layers)} layers")
    return [getattr(backbone, "embeddings", backbone.get_input_embeddings()), *layers[:count]]
