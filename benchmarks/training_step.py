"""A training step of IGCL beside that of its bare image encoder: what graphs, loss and joint training add.

    python benchmarks/training_step.py [--batch 32] [--size 224] [--rounds 7]

Both sides run forward, backward and one step of AdamW on the same images. The loss of the bare encoder is the mean
square of its output. Batches of phantom pairs are ready in memory. On a GPU both run in bfloat16, with 128 pairs.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from lightning.fabric.utilities import move_data_to_device

from igcl_lightning.data.row_datasets import PairDataset
from igcl_lightning.data.samples import PairBatch
from igcl_lightning.data.store import Store
from igcl_lightning.modules.igcl import IGCL
from igcl_lightning.nn.image_encoder import ImageEncoder, ImageOptions
from input_pipeline import phantom_store
from side_by_side import Claim, Record, as_table, share, times_in_turns

BACKBONES = ("resnet18", "resnet50")
MOST = {"cpu": 1.05, "cuda": 1.10}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=7)
    print(as_table(records(**vars(parser.parse_args()))))


def records(
    batch: int | None = None, size: int = 224, rounds: int = 7, backbones: Sequence[str] = BACKBONES
) -> list[Record]:
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    batch = batch or {"cpu": 32, "cuda": 128}[device]
    with tempfile.TemporaryDirectory() as folder:
        pairs = PairDataset(Store(phantom_store(Path(folder) / "store", batch, size)), "train")
        ready = move_data_to_device(pairs.batch(range(batch)), device)
        return [compared(backbone, ready, device, size, rounds) for backbone in backbones]


def compared(backbone: str, batch: PairBatch, device: str, size: int, rounds: int) -> Record:
    torch.manual_seed(0)
    options = ImageOptions(backbone=backbone, size=size)
    bare, whole = ImageEncoder(options).to(device), IGCL(image=options).to(device)
    ours = step(whole, lambda: whole.contrast_batch(batch)[0], device)
    other = step(bare, lambda: bare(batch.image).pooled.square().mean(), device)
    times = times_in_turns(ours, other, rounds)
    claim = Claim(
        f"training step of IGCL, {backbone} at {size} pixels, {len(batch.row)} pairs, {device}",
        "step of the bare image encoder",
        "of its time",
        MOST[device],
    )
    return claim.record(share(times), f"{1e3 * min(own for own, _ in times):.0f} ms")


def step(module: torch.nn.Module, loss: Callable[[], torch.Tensor], device: str) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(module.parameters(), fused=True)
    module.train()

    def run() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            value = loss()
        value.backward()
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return run


if __name__ == "__main__":
    main()
