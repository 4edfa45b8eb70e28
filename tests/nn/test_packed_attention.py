import pytest
import torch
from torch import nn

from igcl_lightning.nn.packed_attention import CHUNK, PackedLayer, chunked

LENGTHS = (3, 400, 1, 100, 28, CHUNK, 60, 70, CHUNK + 1, 2)


def rows_of(lengths):
    sample = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    return sample, torch.cat([torch.arange(length) for length in lengths])


def pair_of_layers(dropout=0.0):
    """Ours, and PyTorch's with the same weights."""
    torch.manual_seed(0)
    ours = PackedLayer(8, 2, 16, dropout, batch_first=True).double()
    for parameter in ours.parameters():
        nn.init.normal_(parameter, std=0.5)
    theirs = nn.TransformerEncoderLayer(8, 2, 16, dropout, batch_first=True).double()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def padded(layer, x, lengths):
    """What PyTorch's layer makes of rows [N, D], by one row of padded nodes per sample."""
    samples = nn.utils.rnn.pad_sequence(x.split(lengths), batch_first=True)
    mask = torch.arange(samples.shape[1]) < torch.tensor(lengths)[:, None]
    return layer(samples, src_key_padding_mask=~mask)[mask]


@pytest.mark.parametrize("lengths", [LENGTHS, LENGTHS[::-1], (1,), (CHUNK, CHUNK), (5,) * 100])
def test_chunks_hold_each_row_once_and_whole_samples_alone(lengths):
    sample, rank = rows_of(lengths)
    chunks = chunked(lengths, sample, rank)
    assert sorted(torch.cat([chunk.row for chunk in chunks]).tolist()) == list(range(len(sample)))
    for chunk in chunks:
        number, _, width, _ = chunk.mask.shape
        held = [None] * (number * width)
        for row, place in zip(chunk.row.tolist(), chunk.place.tolist(), strict=True):
            assert held[place] is None
            held[place] = int(sample[row])
        for start in range(0, len(held), width):
            own = held[start : start + width]
            assert chunk.mask[start // width, 0].tolist() == [[one == other for other in own] for one in own]
            assert all(own.count(each) == lengths[each] for each in set(own) - {None})
            assert set(own) != {None}, "a chunk without rows"


def test_a_long_sample_makes_only_its_own_chunk_longer():
    lengths = (40,) * 30 + (400,)
    shapes = [tuple(chunk.mask.shape) for chunk in chunked(lengths, *rows_of(lengths))]
    assert shapes == [(10, 1, 128, 128), (1, 1, 512, 512)]


@pytest.mark.parametrize("lengths", [LENGTHS, (1, 1), (17, 4)])
def test_it_is_pytorchs_layer_with_padding_in_value_and_gradient(lengths):
    ours, theirs = pair_of_layers()
    sample, rank = rows_of(lengths)
    x = torch.randn(len(sample), 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    weight = torch.randn(len(sample), 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    values = ours(x, chunks=chunked(lengths, sample, rank)), padded(theirs, x, lengths)
    mine, reference = (
        [value, *torch.autograd.grad((value * weight).sum(), [x, *layer.parameters()])]
        for value, layer in zip(values, (ours, theirs), strict=True)
    )
    torch.testing.assert_close(mine, reference, atol=1e-10, rtol=1e-10)
    single = ours.float()(x.float(), chunks=chunked(lengths, sample, rank))
    torch.testing.assert_close(single.double(), values[1], atol=1e-5, rtol=1e-5)


def test_rows_may_come_in_any_order():
    ours, _ = pair_of_layers()
    sample, rank = rows_of(LENGTHS)
    x = torch.randn(len(sample), 8, dtype=torch.float64)
    order = torch.randperm(len(sample), generator=torch.Generator().manual_seed(0))
    shuffled = ours(x[order], chunks=chunked(LENGTHS, sample[order], rank[order]))
    torch.testing.assert_close(shuffled, ours(x, chunks=chunked(LENGTHS, sample, rank))[order])


@pytest.mark.parametrize("name", ["dropout", "dropout1", "dropout2"])
def test_dropout_stands_where_pytorch_has_it(name):
    """A part that is dropped whole leaves no chance."""
    lengths = (3, 5)
    sample, rank = rows_of(lengths)
    layers = pair_of_layers()
    for layer in layers:
        getattr(layer.train(), name).p = 1.0
    x = torch.randn(8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mine, reference = layers[0](x, chunks=chunked(lengths, sample, rank)), padded(layers[1], x, lengths)
    torch.testing.assert_close(mine, reference)
    assert not torch.allclose(mine, padded(layers[1].eval(), x, lengths))


def test_weights_of_attention_are_dropped_in_training_only():
    """Equal weights, read by rows that are unit vectors: the output is the weights."""
    size, rate = 64, 0.25
    layer = PackedLayer(size, 1, 1, rate, batch_first=True)
    for parameter in layer.self_attn.parameters():
        nn.init.zeros_(parameter)
    with torch.no_grad():
        layer.self_attn.in_proj_weight[2 * size :] = torch.eye(size)
        layer.self_attn.out_proj.weight.copy_(torch.eye(size))
        chunks = chunked((size,), torch.zeros(size, dtype=torch.int64), torch.arange(size))
        dropped = layer._attended(torch.eye(size), chunks)
        kept = dropped[dropped != 0]
        torch.testing.assert_close(kept, torch.full_like(kept, 1 / size / (1 - rate)))
        assert 1 - len(kept) / size**2 == pytest.approx(rate, abs=0.03)
        torch.testing.assert_close(layer.eval()._attended(torch.eye(size), chunks), torch.full((size, size), 1 / size))


def test_without_chunks_it_is_pytorchs_layer():
    ours, theirs = pair_of_layers()
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x))
