"""Self-attention within samples of different lengths without padding: the rows of all samples are one matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHUNK = 128
"""Places in the shortest chunk."""


class Chunk(NamedTuple):
    """C chunks of M places each that hold n rows, those of one sample side by side.

    Attributes:
        row: the rows, int64 [n].
        place: chunk * M + place in it of each row, int64 [n].
        mask: True where a place reads another, bool [C, 1, M, M]: those of its own sample. Free places read each other.
    """

    row: Tensor
    place: Tensor
    mask: Tensor


def chunked(lengths: Sequence[int], sample: Tensor, rank: Tensor) -> list[Chunk]:
    """Lay B samples into chunks, whole ones side by side, in their order.

    Chunks have `CHUNK` places, or twice, four times ... as many for samples that need them: a long sample makes only
    its own chunk longer.

    Args:
        lengths: number of rows of each sample, B positive numbers on the host: nothing is read back from the device.
        sample: sample of each row, int64 [N].
        rank: place of each row in its sample, int64 [N].

    Returns:
        chunks by their number of places; each row is in one of them.
    """
    widths = [max(CHUNK, 1 << (length - 1).bit_length()) for length in lengths]
    end = dict.fromkeys(sorted(set(widths)), 0)
    held, start = dict(end), []
    for length, width in zip(lengths, widths, strict=True):
        if end[width] % width + length > width:
            end[width] += -end[width] % width
        start.append(end[width])
        end[width] += length
        held[width] += length
    starts, wide = torch.tensor([start, widths]).to(sample.device, non_blocking=True)
    place = starts[sample] + rank
    rows = wide[sample].argsort(stable=True).split(list(held.values()))
    return [
        Chunk(row, place[row], _same_sample(sample[row], place[row], -(-last // width), width))
        for row, (width, last) in zip(rows, end.items(), strict=True)
    ]


def _same_sample(sample: Tensor, place: Tensor, chunks: int, width: int) -> Tensor:
    owner = sample.new_full((chunks * width,), -1).index_copy(0, place, sample).view(chunks, width)
    return (owner[:, :, None] == owner[:, None, :])[:, None]


class PackedLayer(nn.TransformerEncoderLayer):
    """PyTorch's post-norm layer with ReLU, `batch_first`, that also reads rows without padding."""

    def forward(self, src: Tensor, *args: Any, chunks: Sequence[Chunk] | None = None, **kwargs: Any) -> Tensor:
        """Map rows [N, D] of the samples in `chunks` to [N, D]; without `chunks`, the layer is PyTorch's."""
        if chunks is None:
            return super().forward(src, *args, **kwargs)
        src = self.norm1(src + self.dropout1(self._attended(src, chunks)))
        hidden = self.dropout(F.relu(self.linear1(src)))
        out: Tensor = self.norm2(src + self.dropout2(self.linear2(hidden)))
        return out

    def _attended(self, x: Tensor, chunks: Sequence[Chunk]) -> Tensor:
        attention = self.self_attn
        joint = F.linear(x, attention.in_proj_weight, attention.in_proj_bias)
        dropout = attention.dropout if self.training else 0.0
        heads = [_within(joint, chunk, attention.num_heads, dropout) for chunk in chunks]
        row = torch.cat([chunk.row for chunk in chunks])
        read = torch.cat(heads)
        out: Tensor = F.linear(
            torch.empty_like(read).index_copy(0, row, read), attention.out_proj.weight, attention.out_proj.bias
        )
        return out


def _within(joint: Tensor, chunk: Chunk, heads: int, dropout: float) -> Tensor:
    """Map queries, keys and values side by side [N, 3D] to what the rows of the chunks read, [n, D]."""
    chunks, _, width, _ = chunk.mask.shape
    filled = joint.new_zeros(chunks * width, joint.shape[1]).index_copy(
        0, chunk.place, joint.index_select(0, chunk.row)
    )
    query, key, value = filled.view(chunks, width, 3, heads, -1).permute(2, 0, 3, 1, 4)
    read = F.scaled_dot_product_attention(query, key, value, attn_mask=chunk.mask, dropout_p=dropout)
    return read.transpose(1, 2).flatten(2).flatten(0, 1).index_select(0, chunk.place)
