import pytest
import torch
from torch import nn

from igcl_lightning.nn.readout import READOUTS, fill_empty, read_out, read_out_rows, shares

SIZES = (3, 1, 5)


@pytest.fixture
def units():
    return torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def mask():
    return torch.arange(5) < torch.tensor(SIZES)[:, None]


@pytest.fixture
def gate():
    torch.manual_seed(0)
    return nn.Linear(4, 1)


def by_loops(units, readout, gate):
    """Pooled vector and shares of one sample without padding."""
    if readout in ("max", "min"):
        best = max if readout == "max" else min
        winners = [best(range(len(units)), key=lambda unit: units[unit, channel]) for channel in range(4)]
        pooled = [units[winner, channel] for channel, winner in enumerate(winners)]
        return torch.stack(pooled), torch.tensor([winners.count(unit) / 4 for unit in range(len(units))])
    assert readout in ("mean", "attention"), "write the new readout down here as loops"
    score = [gate(unit)[0].exp() if readout == "attention" else torch.tensor(1.0) for unit in units]
    share = torch.stack(score) / sum(score)
    return sum(weight * unit for weight, unit in zip(share, units, strict=True)), share


@pytest.mark.parametrize("readout", READOUTS)
def test_readout_is_that_of_the_units_alone(units, mask, gate, readout):
    gate = gate if readout == "attention" else None
    pooled, importance = read_out(units, mask, readout, gate)
    for row, size in enumerate(SIZES):
        expected, share = by_loops(units[row, :size], readout, gate)
        torch.testing.assert_close(pooled[row], expected)
        torch.testing.assert_close(importance[row, :size], share)
        assert importance[row, size:].eq(0).all()


@pytest.mark.parametrize("readout", READOUTS)
def test_readout_of_rows_is_that_of_each_sample_in_any_order(units, mask, gate, readout):
    gate = gate if readout == "attention" else None
    order = torch.tensor([8, 3, 0, 5, 1, 7, 2, 6, 4])
    rows, sample = units[mask][order], mask.nonzero()[order, 0]
    pooled, importance = read_out_rows(rows, sample, 3, readout, gate)
    for row in range(3):
        expected, share = by_loops(rows[sample == row], readout, gate)
        torch.testing.assert_close(pooled[row], expected)
        torch.testing.assert_close(importance[sample == row], share)


@pytest.mark.parametrize("readout", ["max", "min"])
def test_the_first_of_equal_rows_wins_and_nan_is_seen(readout):
    rows, sample = torch.zeros(4, 2, requires_grad=True), torch.tensor([0, 1, 0, 1])
    pooled, importance = read_out_rows(rows, sample, 2, readout)
    pooled.sum().backward()
    assert rows.grad.tolist() == [[1, 1], [1, 1], [0, 0], [0, 0]]
    assert importance.tolist() == [1, 1, 0, 0]
    broken = torch.tensor([[0.0], [1.0], [torch.nan], [2.0]])
    assert read_out_rows(broken, sample, 2, readout)[0].isnan().flatten().tolist() == [True, False]


def test_only_samples_without_units_get_the_learned_one(units, mask):
    mask[1] = False
    empty = torch.full((4,), 7.0)
    filled, filled_mask = fill_empty(units, mask, empty)
    torch.testing.assert_close(filled[1, 0], empty)
    torch.testing.assert_close(filled[[0, 2]], units[[0, 2]])
    assert filled_mask.sum(dim=1).tolist() == [3, 1, 5]


def test_a_batch_without_any_unit_gets_a_place():
    filled, mask = fill_empty(torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.bool), torch.ones(4))
    torch.testing.assert_close(filled, torch.ones(2, 1, 4))
    assert mask.tolist() == [[True], [True]]


def test_shares_are_of_units_only(mask):
    weight = torch.rand(3, 5, generator=torch.Generator().manual_seed(1))
    share = shares(weight, mask)
    for row, size in enumerate(SIZES):
        torch.testing.assert_close(share[row, :size], weight[row, :size] / sum(weight[row, :size].tolist()))
        assert share[row, size:].eq(0).all()


def test_weights_of_zero_have_finite_shares(mask):
    assert shares(torch.zeros(3, 5), mask).eq(0).all()
