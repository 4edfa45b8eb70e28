"""Exact retrieval over a whole pool: seconds and peak memory. `python benchmarks/retrieval.py [PAIRS]`.

Both directions, with and without the own pair, ranks and precision at 10 by label. Fewer pairs are a quick form; time
grows with their square.
"""

import re
import sys
import time
from pathlib import Path

import torch

from igcl_lightning.metrics.ranking import Pool, joined_ids, label_precision, search
from igcl_lightning.nn.scoring import cosine_similarity

CHANNELS, LABELS, TOP = 128, 14, 10


def peak_gigabytes():
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1e6


def made(number):
    """Pairs that resemble one another a little, three in ten of which state the same, and two images of each study."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(number, CHANNELS, generator=generator)
    second = first + 5 * torch.randn(number, CHANNELS, generator=generator)
    key = torch.arange(number)
    key[torch.rand(number, generator=generator) < 0.3] = 0
    study = torch.arange(number) // 2
    target = torch.rand(number, LABELS, generator=generator) < 0.1
    sides = (torch.nn.functional.normalize(side, dim=1) for side in (first, second))
    return *sides, Pool(joined_ids(torch.stack([key, study], dim=1)), study, target)


def main(number):
    first, second, pool = made(number)
    before = peak_gigabytes()
    start, spent = time.monotonic(), time.process_time()
    for query, candidate in ((first, second), (second, first)):
        found = search(lambda at, query=query, other=candidate: cosine_similarity(query[at], other), pool, TOP)
        precision = [label_precision(nearest, pool.target, (1, 5, TOP)) for nearest in found.nearest]
        print(f"recall@10 {(found.rank[0] <= TOP).float().mean():.3f}, precision@10 {precision[1].nanmean():.3f}")
    print(
        f"{number:,} x {number:,} x {CHANNELS}, both directions, {torch.get_num_threads()} threads: "
        f"{time.monotonic() - start:.0f} s ({time.process_time() - spent:.0f} s of processors), "
        f"peak {peak_gigabytes():.2f} GB ({before:.2f} before)"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
