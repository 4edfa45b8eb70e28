"""Attention of a transformer's first token to all tokens in the last layer, as MGCA's code weights words by.

Only this token's row is computed, from the layer's own weights and without dropout: fused attention, which returns no
weights, stays in use.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from igcl_lightning.nn.scoring import at_least_single


def attention_of_torch(layer: Any, states: Tensor, mask: Tensor) -> Tensor:
    """Return the first token's attention in a pre-norm layer, mean over heads, [B, T].

    Args:
        layer: the `nn.TransformerEncoderLayer`.
        states: its input, [B, T, D].
        mask: True where there is a token, bool [B, T].
    """
    attention = layer.self_attn
    normed = layer.norm1(states)
    weight, bias = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
    query = F.linear(normed[:, 0], weight[0], bias[0])
    key = F.linear(normed, weight[1], bias[1])
    return _first_row(query, key, mask, attention.num_heads).mean(dim=1)


def attention_of_bert(attention: Any, states: Tensor, mask: Tensor) -> Tensor:
    """Return the first token's attention in a layer like BERT's, mean over heads, [B, T].

    Args:
        attention: the layer's self-attention, as from `bert_attention`.
        states: its input, [B, T, D].
        mask: True where there is a token, bool [B, T].
    """
    return _bert_row(attention, states, mask).mean(dim=1)


def bert_attention(backbone: nn.Module, layer: nn.Module) -> nn.Module | None:
    """Return the self-attention of a model's layer if it is that of BERT, None otherwise.

    It has `query`, `key` and `value`, and computes just what these give, as in RoBERTa. A run on a few tokens finds out
    rotary positions and the like.
    """
    for part in layer.modules():
        linear = all(isinstance(getattr(part, name, None), nn.Linear) for name in ("query", "key", "value"))
        if linear and hasattr(part, "num_attention_heads"):
            return part if _is_plain(backbone, part) else None
    return None


@contextmanager
def recorded_calls(modules: Sequence[nn.Module]) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Collect the first input and the first output of each call of some modules."""
    calls: list[tuple[Tensor, Tensor]] = []

    def record(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        calls.append((args[0] if args else kwargs["hidden_states"], output[0]))

    handles = [module.register_forward_hook(record, with_kwargs=True) for module in modules]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _first_row(query: Tensor, key: Tensor, mask: Tensor, heads: int) -> Tensor:
    """Return the attention [B, H, T] of one query [B, D] to keys [B, T, D]."""
    query = at_least_single(query).view(len(query), heads, -1)
    key = at_least_single(key).view(*key.shape[:2], heads, -1)
    logit = torch.einsum("bhc,bthc->bht", query, key) / math.sqrt(query.shape[-1])
    return logit.masked_fill(~mask[:, None], -torch.inf).softmax(dim=-1)


def _bert_row(attention: Any, states: Tensor, mask: Tensor) -> Tensor:
    heads: int = attention.num_attention_heads
    return _first_row(attention.query(states[:, 0]), attention.key(states), mask, heads)


@torch.no_grad()
def _is_plain(backbone: nn.Module, attention: Any) -> bool:
    """Return whether a model's self-attention gives what its weights give by the plain formula, for a few tokens."""
    training, ids = backbone.training, torch.arange(5, device=attention.query.weight.device)[None]
    with recorded_calls([attention]) as calls:
        backbone.eval()(ids, attention_mask=torch.ones_like(ids))
        backbone.train(training)
    states, output = calls[0]
    row = _bert_row(attention, states, torch.ones_like(ids, dtype=torch.bool))
    value = attention.value(states).view(*states.shape[:2], row.shape[1], -1)
    plain = torch.einsum("bht,bthc->bhc", row, value).flatten(1)
    return output.shape[1] == ids.shape[1] and torch.allclose(output[:, 0], plain, rtol=1e-3, atol=1e-5)
