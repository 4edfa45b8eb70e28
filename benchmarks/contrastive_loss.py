"""Our contrastive loss beside open_clip's ClipLoss: time of forward + backward as a ratio, and peak memory.

    python benchmarks/contrastive_loss.py [--pairs 16384] [--rounds 3] [--forms identity,study,graph,soft,siglip]

One process, then two that share the pairs, of one thread each. Both losses get the same embeddings and take turns; of
two processes the slower counts. ClipLoss has the settings with which its gradients are right on many processes
(`local_loss`, `gather_with_grad`). Memory is the rise of the resident set above what it was before the pass to its
peak, which Linux resets on request (`/proc/self/clear_refs`); each measurement has processes of its own.
ClipLoss knows only own pairs: other forms of our loss do more than what they are compared with.
"""

from __future__ import annotations

import argparse
import ctypes
import multiprocessing
import re
import socket
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F

from igcl_lightning.losses.contrastive import ContrastiveLoss, ContrastiveOptions, batch_similarity
from igcl_lightning.losses.targets import PairIds
from igcl_lightning.nn.scoring import cosine_similarity
from limits import product_rate
from side_by_side import Claim, Record, as_table, share

PAIRS, CHANNELS, TEMPERATURE, FACTS = 16_384, 512, 0.07, 12
REFERENCE = "ClipLoss"
FORMS = ("identity", "study", "graph", "soft", "siglip")
MOST_MEMORY, MOST_TIME = {1: 0.1, 2: 1 / 9}, {1: 0.7, 2: 1.3}
"""What should be reached, by the number of processes."""


def embeddings(number, rank=0, world=1, channels=CHANNELS):
    """This process's embeddings and ids: four in ten reports state what others do, and patients have four studies."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(number, channels, generator=generator)
    second = first + 4 * torch.randn(number, channels, generator=generator)
    row = torch.arange(number)
    key = torch.where(torch.rand(number, generator=generator) < 0.4, row % 7, row + 7)
    # A few facts are common, most are rare.
    rare = torch.randint(50, 10_000, (number, FACTS - 3), generator=generator)
    facts = torch.cat([torch.randint(0, 50, (number, 3), generator=generator), rare], dim=1)
    own = slice(number * rank // world, number * (rank + 1) // world)
    sides = [F.normalize(side, dim=1)[own].clone().requires_grad_() for side in (first, second)]
    return sides, PairIds(*(value[own].clone() for value in (row, row // 2, row // 8, key, facts)))


def ours(name, ids):
    options = {"kind": "siglip", "targets": "soft"} if name == "siglip" else {"targets": name}
    loss = ContrastiveLoss(ContrastiveOptions(TEMPERATURE, **options))
    return lambda first, second: loss(batch_similarity(cosine_similarity, first, second), ids)


def clip_loss(rank, world):
    from open_clip.loss import ClipLoss

    loss = ClipLoss(local_loss=True, gather_with_grad=True, rank=rank, world_size=world)
    scale = torch.tensor(1 / TEMPERATURE, requires_grad=True)
    return lambda first, second: loss(first, second, scale)


def created(name, number, rank, world):
    """One of the losses and its inputs."""
    sides, ids = embeddings(number, rank, world)
    return (clip_loss(rank, world) if name == REFERENCE else ours(name, ids)), sides


def step(loss, sides):
    """Forward and backward pass."""
    for side in sides:
        side.grad = None
    loss(*sides).backward()


def seconds(names, number, rounds, rank, world):
    """Seconds of each turn of each loss, by name."""
    losses = {name: created(name, number, rank, world)[0] for name in names}
    sides, _ = embeddings(number, rank, world)
    times = {name: [] for name in names}
    for name in [*names] * (rounds + 1):
        if world > 1:
            dist.barrier()
        start = time.perf_counter()
        step(losses[name], sides)
        times[name].append(time.perf_counter() - start)
    return {name: each[1:] for name, each in times.items()}  # the first turn warms up


def peak_bytes(name, number, rank, world):
    """Rise of the resident set to its peak during one forward and backward pass."""
    step(*created(name, 8 * world, rank, world))
    loss, sides = created(name, number, rank, world)
    before = reset_peak()
    step(loss, sides)
    return status("VmHWM") - before


def reset_peak():
    """Return the resident set, and let its peak start from there."""
    ctypes.CDLL(None).malloc_trim(0)  # what was freed would be taken again, unseen
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")


def status(field):
    return 1024 * int(re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])


def on_processes(world, function, *args):
    """Call `function(*args, rank, world)` in processes of their own; return the results by rank."""
    context = multiprocessing.get_context("spawn")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    with context.Pool(world) as pool:
        return pool.starmap(in_a_group, [(port, rank, world, function, args) for rank in range(world)], chunksize=1)


def in_a_group(port, rank, world, function, args):
    torch.set_num_threads(1)
    if world == 1:
        return function(*args, rank, world)
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    try:
        return function(*args, rank, world)
    finally:
        dist.destroy_process_group()


def compared(number, world, rounds, forms):
    """Records of the time and memory of each form of our loss on one or two processes."""
    times = on_processes(world, seconds, (REFERENCE, *forms), number, rounds)
    # Processes wait for each other: the slowest is the time of a turn.
    times = {name: [max(turn) for turn in zip(*(each[name] for each in times), strict=True)] for name in times[0]}
    memory = {name: max(on_processes(world, peak_bytes, name, number)) for name in times}
    found = []
    for form in forms:
        pairs = list(zip(times[form], times[REFERENCE], strict=True))
        where = f"{number:,} x {CHANNELS}, {world} {'process' if world == 1 else 'processes'}"
        what = f"contrastive loss ({form}), forward + backward, {where}"
        # The value needs one product of the embeddings, the gradients two; what is not stored is computed again.
        least = 6 * number**2 * CHANNELS / world / product_rate()
        of_time = f"{min(own for own, _ in pairs):.2f} s; three products alone {least:.2f} s"
        found.append(Claim(what, "open_clip's ClipLoss", "of its time", MOST_TIME[world]).record(share(pairs), of_time))
        of_memory = f"{memory[form] / 1e6:,.0f} MB against {memory[REFERENCE] / 1e6:,.0f}"
        ratio = memory[form] / max(memory[REFERENCE], 1)
        claim = Claim(what, "open_clip's ClipLoss", "of its memory", MOST_MEMORY[world])
        found.append(claim.record([ratio], of_memory))
    return found


def records(pairs: int = PAIRS, rounds: int = 3, forms: str = FORMS[0]) -> list[Record]:
    torch.set_num_threads(1)
    return [record for world in (1, 2) for record in compared(pairs, world, rounds, forms.split(","))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--forms", default=FORMS[0])
    print(as_table(records(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
