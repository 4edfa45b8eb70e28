"""The benchmark of the contrastive loss runs, at a tiny size and on one process."""

import importlib
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module", name="benchmark")
def loaded():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        return importlib.import_module("contrastive_loss")


def test_processes_share_the_pairs_of_one(benchmark):
    sides, ids = benchmark.embeddings(10)
    shares = [benchmark.embeddings(10, rank, 3) for rank in range(3)]
    for number, side in enumerate(sides):
        torch.testing.assert_close(torch.cat([share[0][number] for share in shares]), side)
    assert torch.equal(torch.cat([share[1].row for share in shares]), ids.row)


def test_every_loss_takes_its_turns(benchmark):
    times = benchmark.seconds(benchmark.FORMS, 16, 2, 0, 1)
    assert times.keys() == set(benchmark.FORMS)
    assert all(len(each) == 2 and min(each) > 0 for each in times.values())


def test_peak_is_that_of_the_pass(benchmark):
    """32 MB that a loss holds for a moment are seen, though nothing of them is left."""
    held = 32_000_000
    before = benchmark.reset_peak()
    torch.ones(held, dtype=torch.uint8)
    # Linux counts pages with some delay.
    assert 0.9 * held <= benchmark.status("VmHWM") - before < 2 * held
    assert benchmark.peak_bytes("identity", 64, 0, 1) >= 0


def test_it_computes_what_open_clip_does(benchmark):
    sides, ids = benchmark.embeddings(32)
    values = [loss(*sides) for loss in (benchmark.clip_loss(0, 1), benchmark.ours("identity", ids))]
    torch.testing.assert_close(*values)
    gradients = [torch.autograd.grad(value, sides) for value in values]
    torch.testing.assert_close(*gradients)
