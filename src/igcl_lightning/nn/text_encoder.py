"""Text encoders: a small transformer on hashed subwords, and any Hugging Face model on wordpieces."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.utils import scatter, to_dense_batch

from igcl_lightning.errors import IgclError, one_line
from igcl_lightning.graphs.featurizer import NUM_BUCKETS
from igcl_lightning.nn.checks import check_choice
from igcl_lightning.nn.encoded import Encoded
from igcl_lightning.nn.first_token import attention_of_bert, attention_of_torch, bert_attention, recorded_calls
from igcl_lightning.nn.readout import READOUTS, fill_empty, read_out, readout_gate, shares

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TEXT_READOUTS = (*READOUTS, "cls")
PIECES = ("mean", "sum")


@dataclass(frozen=True)
class TextOptions:
    """Text encoder: a transformer from scratch, or a Hugging Face model.

    Args:
        channels: width of all layers; ignored if `model` is given, like `layers`, `heads` and `dropout`.
        layers: transformer layers.
        heads: attention heads per layer.
        readout: "max", "mean", "min", "attention" (a learned gate), or "cls": the last state of a first token, learned
            or the model's own, whose attention in the last layer is the words' importance (MGCA).
        dropout: dropout of the transformer layers.
        model: folder or hub name of a Hugging Face model to use instead; its tokenizer must be `data.tokenizer`.
        pieces: how states of that model's wordpieces become a word: "mean", or "sum" (GLoRIA, MGCA). A hashed word is
            one piece.
        last_layers: number of last layers of that model whose states are added up (4 in GLoRIA).
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
    pieces: str = "mean"
    last_layers: int = 1
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
        IgclError: channels is not a multiple of heads, `pieces` is unknown, or an option needs a layer or a model.
        ValueError: unknown readout.
    """

    def __init__(self, options: TextOptions = TextOptions(), max_tokens: int = 256) -> None:
        super().__init__()
        channels, heads = options.channels, options.heads
        if channels % heads:
            raise IgclError(f"model.text.channels {channels} is not a multiple of model.text.heads {heads}")
        _check_pieces(options)
        if options.last_layers != 1:
            only = "only a Hugging Face model has layers to add up: set it to 1, or set model.text.model"
            raise IgclError(f"model.text.last_layers is {options.last_layers}; {only}")
        if options.readout == "cls" and not options.layers:
            raise IgclError("model.text.readout 'cls' reads the last layer's attention; model.text.layers is 0")
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
        self.gate = readout_gate(options.readout, channels, TEXT_READOUTS)
        self.first = nn.Parameter(torch.randn(channels) * 0.02) if options.readout == "cls" else None

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
        if self.first is not None:
            return self._read_first(units, mask, self.first)
        for layer in self.layers:
            units = layer(units, src_key_padding_mask=~mask)
        units = self.norm(units) * mask[..., None]
        pooled, importance = read_out(units, mask, self.readout, self.gate)
        return Encoded(pooled, units, mask, importance)

    def _read_first(self, words: Tensor, mask: Tensor, first: Tensor) -> Encoded:
        """Encode words [B, L, D] behind a first token [D], which is the readout."""
        states = torch.cat([first.to(words.dtype).expand(len(words), 1, -1), words], dim=1)
        read = nn.functional.pad(mask, (1, 0), value=True)
        before = states
        for layer in self.layers:
            before, states = states, layer(states, src_key_padding_mask=~read)
        states = self.norm(states)
        importance = shares(attention_of_torch(self.layers[-1], before, read)[:, 1:], mask)
        return Encoded(states[:, 0], states[:, 1:] * mask[..., None], mask, importance.to(states.dtype))


class HubTextEncoder(nn.Module):
    """Encode reports with a Hugging Face model and a readout over words.

    A word is the mean or the sum of its wordpieces; special tokens are read but are not units. A report without words
    is encoded as one learned unit.

    Args:
        options: model, its layers that are frozen and read, merging of wordpieces, and readout.

    Raises:
        IgclError: `transformers` is missing, the model is unavailable or has too few layers, `pieces` is unknown, or
            the readout is "cls" and the model's attention is not that of BERT.
        ValueError: unknown readout.
    """

    def __init__(self, options: TextOptions) -> None:
        super().__init__()
        _check_pieces(options)
        self.readout = options.readout
        self.pieces = options.pieces
        self.last_layers = options.last_layers
        backbone = _hub_model(options)
        self.backbone = backbone
        self.out_channels: int = backbone.config.hidden_size
        self.unit_channels = self.out_channels
        self.empty = nn.Parameter(torch.randn(self.out_channels) * 0.02)
        self.gate = readout_gate(options.readout, self.out_channels, TEXT_READOUTS)
        depth = backbone.config.num_hidden_layers
        if not 0 < options.last_layers <= depth:
            raise IgclError(f"model.text.last_layers is {options.last_layers}; the text model has {depth} layers")
        self.attention = [_last_attention(backbone)] if options.readout == "cls" else []
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
        ids, tokens = to_dense_batch(report.x, report.batch, batch_size=report.num_graphs)
        filled, read = fill_empty(ids, tokens, ids.new_zeros(1))
        states, first, attention = self._run(filled[..., 0], read)
        words = _words(report.word, report.batch)
        merged = _merge(states[:, : tokens.shape[1]][tokens], words, self.pieces)
        units, stated = to_dense_batch(merged, words.report, batch_size=report.num_graphs)
        units, mask = fill_empty(units, stated, self.empty)
        if attention is None:
            pooled, importance = read_out(units, mask, self.readout, self.gate)
            return Encoded(pooled, units, mask, importance)
        weight = _merge(attention[:, : tokens.shape[1]][tokens], words, "sum")
        share, _ = to_dense_batch(weight, words.report, batch_size=report.num_graphs, max_num_nodes=units.shape[1])
        silent = ~stated.any(dim=1, keepdim=True)
        pooled = torch.where(silent, self.empty.to(first.dtype), first)
        return Encoded(pooled, units, mask, shares(share.masked_fill(silent, 1), mask).to(units.dtype))

    def _run(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the states [B, T, D] of tokens [B, T], the first token's [B, D], and its attention [B, T] or None."""
        count = self.last_layers
        with recorded_calls(self.attention) as calls:
            output = self.backbone(ids, attention_mask=mask.long(), output_hidden_states=count > 1)
        last = output.last_hidden_state
        states = torch.stack(output.hidden_states[-count:]).sum(dim=0) if count > 1 else last
        attention = attention_of_bert(self.attention[0], calls[0][0], mask) if self.attention else None
        return states, last[:, 0], attention


class _Words(NamedTuple):
    """W words of a batch of reports, and which of its T tokens are their pieces.

    Attributes:
        piece: False for special tokens, bool [T].
        number: number of each piece's word in the batch, int64 [P].
        report: report of each word, int64 [W].
    """

    piece: Tensor
    number: Tensor
    report: Tensor


def _words(word: Tensor, batch: Tensor) -> _Words:
    """Number the words of a batch from its tokens' words in their reports [T], -1 for special ones, and reports [T]."""
    piece = word >= 0
    key, number = torch.unique_consecutive((batch * 2**32 + word)[piece], return_inverse=True)
    return _Words(piece, number, key // 2**32)


def _merge(token: Tensor, words: _Words, reduce: str) -> Tensor:
    """Return the mean or the sum of the tokens [T, ...] of each word, [W, ...]."""
    merged: Tensor = scatter(token[words.piece], words.number, dim_size=len(words.report), reduce=reduce)
    return merged


def _check_pieces(options: TextOptions) -> None:
    check_choice("model.text.pieces", options.pieces, PIECES)


def _hub_model(options: TextOptions) -> PreTrainedModel:
    try:
        from transformers import AutoConfig, AutoModel
    except ImportError:
        raise IgclError("model.text.model needs the package transformers: pip install 'igcl-lightning[text]'") from None
    model: PreTrainedModel
    if options.config is not None:
        config = AutoConfig.for_model(**options.config)
        model = AutoModel.from_config(config, dtype=torch.float32)
        return model
    try:
        model = AutoModel.from_pretrained(str(options.model), dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise IgclError(f"model.text.model {options.model!r}: no model found there ({one_line(error)})") from error
    return model


def _layers(backbone: PreTrainedModel) -> nn.ModuleList:
    """Return the layers of a transformer; none where they are not in one list."""
    depth = backbone.config.num_hidden_layers
    stacks = (part for part in backbone.modules() if isinstance(part, nn.ModuleList) and len(part) == depth)
    return next(stacks, nn.ModuleList())


def _last_attention(backbone: PreTrainedModel) -> nn.Module:
    """Return the self-attention of a model's last layer, which must be that of BERT."""
    layers = _layers(backbone)
    attention = bert_attention(backbone, layers[-1]) if len(layers) else None
    if attention is None:
        other = f"{type(backbone).__name__} has another: choose another readout"
        raise IgclError(f"model.text.readout 'cls' reads attention as BERT computes it; {other}")
    return attention


def _first_layers(backbone: PreTrainedModel, count: int) -> list[nn.Module]:
    """Return the embeddings and the first layers of a transformer; nothing where the count is 0."""
    if count == 0:
        return []
    layers = _layers(backbone)
    if not 0 < count <= len(layers):
        raise IgclError(f"model.text.frozen_layers is {count}; the text model has {len(layers)} layers")
    return [getattr(backbone, "embeddings", backbone.get_input_embeddings()), *layers[:count]]
