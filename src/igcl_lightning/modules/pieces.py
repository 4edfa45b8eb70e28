"""Encoding a batch in pieces, so that a step holds the activations of one piece only (`data.micro_batch`).

The loss is that of the whole batch, unlike with accumulated gradients: the embeddings of all pieces are kept, and what
led to them is computed again, piece by piece, when their gradients arrive (gradient caching: Gao et al., RepL4NLP 2021,
arXiv 2101.06983).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint
from torch_geometric.data import Batch

from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.batching import graphs_between
from igcl_lightning.nn.encoded import Encoded

Projected = tuple[Encoded, Tensor]


def encode_in_pieces(
    encode: Callable[[Any], Projected], inputs: Any, size: int, parts: Sequence[nn.Module], keep_units: bool
) -> Projected:
    """Return what `encode` gives for inputs of B rows, computed piece by piece, and again in the backward pass.

    Random numbers, such as those of dropout, are the same both times. In training, batch norm normalises each piece by
    its own rows; its running statistics see each piece once.

    Args:
        encode: function of the inputs of some rows that returns their encoding and its projection [B, D].
        inputs: a tensor [B, ...], or a `torch_geometric.data.Batch` of B graphs.
        size: most rows in a piece; pieces have as nearly as possible the same size.
        parts: modules that `encode` runs, whose running statistics are kept.
        keep_units: whether the result has units; without, there are none of any row.

    Raises:
        IgclError: inputs of this type cannot be cut.
    """

    def run(piece: Any, device: Tensor) -> Projected:
        encoded, projected = encode(piece)
        return (encoded if keep_units else encoded.without_units()), projected

    norms = [each for part in parts for each in part.modules() if isinstance(each, _BatchNorm)]
    contexts = partial(_contexts, norms)
    # A graph batch hides its tensors: this one tells the device whose random numbers are kept.
    device = next((value for part in parts for value in part.parameters()), torch.empty(0)).detach().new_empty(0)
    done = [checkpoint(run, piece, device, use_reentrant=False, context_fn=contexts) for piece in pieces(inputs, size)]
    return Encoded.joined([encoded for encoded, _ in done]), torch.cat([projected for _, projected in done])


def num_rows(inputs: Any) -> int:
    """Return the number of rows of the inputs of an encoder; `IgclError` if they have an unknown type."""
    if isinstance(inputs, Tensor):
        return len(inputs)
    if isinstance(inputs, Batch):
        return int(inputs.num_graphs)
    raise IgclError(f"data.micro_batch cannot cut inputs of type {type(inputs).__name__}; leave it out")


def pieces(inputs: Any, size: int) -> Iterator[Any]:
    """Yield consecutive pieces of at most `size` rows, whose sizes differ by at most one."""
    rows = num_rows(inputs)
    count = -(-rows // size)
    bounds = [number * rows // count for number in range(count + 1)]
    for start, end in pairwise(bounds):
        yield inputs[start:end] if isinstance(inputs, Tensor) else graphs_between(inputs, start, end)


def _contexts(norms: Sequence[_BatchNorm]) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """Return the contexts of the first and of the second encoding of a piece."""
    return nullcontext(), _keeping_running_statistics(norms)


@contextmanager
def _keeping_running_statistics(norms: Sequence[_BatchNorm]) -> Iterator[None]:
    """Let norms update copies of their running statistics, which are forgotten."""
    own = [(norm, name, value) for norm in norms for name, value in norm.named_buffers(recurse=False)]
    for norm, name, value in own:
        setattr(norm, name, value.clone())
    try:
        yield
    finally:
        for norm, name, value in own:
            setattr(norm, name, value)
