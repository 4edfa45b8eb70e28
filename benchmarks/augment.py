"""Processor time to augment a batch of 64 on one thread: ours, and kornia's AugmentationSequential where installed.

    python benchmarks/augment.py [--rounds 5]

Both rotate, shift and scale, and change gamma, contrast and brightness, with the limits of `Augment`. They take turns;
the best of each round is its time, and the median and the range over rounds are shown.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from igcl_lightning.data.augment import Augment

BATCH = 64
SIZES = (64, 224)
REPEATS = 10

Augmentation = Callable[[Tensor], Tensor]


def of_kornia(like: Augment) -> Augmentation:
    """The nearest that kornia has to our augmentation."""
    import kornia.augmentation as K

    def around_one(limit: float) -> tuple[float, float]:
        return 1 - limit, 1 + limit

    steps = K.AugmentationSequential(
        K.RandomAffine(like.degrees, (like.shift, like.shift), around_one(like.scale), p=1.0),
        K.RandomGamma((math.exp(-like.gamma), math.exp(like.gamma)), p=1.0),
        K.RandomContrast(around_one(like.contrast), p=1.0),
        K.RandomBrightness(around_one(like.brightness), p=1.0),
        data_keys=["input"],
    )
    return lambda image: steps(image.float() / 255) * 255


def moves_random_state(augment: Augmentation) -> bool:
    """Whether the draws come from PyTorch's global random state."""
    before = torch.get_rng_state()
    augment(torch.zeros(2, 1, 32, 32))
    return not torch.equal(before, torch.get_rng_state())


def best(augment: Augmentation, image: Tensor) -> float:
    seconds = []
    for _ in range(REPEATS):
        begin = time.process_time()
        augment(image)
        seconds.append(time.process_time() - begin)
    return 1000 * min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    ours = Augment()
    candidates: dict[str, Augmentation] = {"ours": lambda image: ours(image, torch.Generator().manual_seed(0))}
    if find_spec("kornia"):
        candidates["kornia"] = of_kornia(ours)
    else:
        print("kornia is not installed, only ours is measured (pip install kornia)")
    for name, augment in candidates.items():
        print(f"{name}: draws {'move' if moves_random_state(augment) else 'leave alone'} the global random state")
    for size in SIZES:
        image = torch.randint(0, 256, (BATCH, 1, size, size), dtype=torch.uint8)
        times: dict[str, list[float]] = {name: [] for name in candidates}
        for _ in range(rounds):
            for name, augment in candidates.items():
                times[name].append(best(augment, image))
        for name, values in times.items():
            print(f"{size} pixels, {name:6} {np.median(values):7.1f} ms ({min(values):.1f}-{max(values):.1f})")


if __name__ == "__main__":
    main()
