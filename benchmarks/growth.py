"""How cost grows with the work: the exponent b of cost ~ work^b, fitted over sizes measured in turns.

    python benchmarks/growth.py [--rounds 3]

The limit is what the algorithm demands, and a tenth more for caches, which small sizes fit in. A fitted exponent below
1 means that a part of the cost does not grow.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch_geometric.data import Batch, Data

from component_joins import random_graph
from contrastive_loss import created, on_processes, peak_bytes, seconds, step
from igcl_lightning.data.order import EpochOrder
from igcl_lightning.evaluation.intervals import interval
from igcl_lightning.graphs.transforms import ComponentJoin
from igcl_lightning.metrics.influence import auroc_estimate
from igcl_lightning.nn.graph_encoder import GraphEncoder
from side_by_side import Claim, Record, as_table

TOLERANCE = 0.1
"""Caches and start-up count at one end of the sizes only."""

SORTING = -1.0
"""Stands for n log n, whose exponent depends on the sizes."""

PAIRS = (256, 512, 1024, 2048, 4096)
GRAPHS = (64, 256, 1024, 4096)
NODES = (10, 50, 200, 400)
ROWS = (1_000, 10_000, 100_000, 1_000_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    print(as_table(records(**vars(parser.parse_args()))))


def records(rounds: int = 3, shrink: int = 1) -> list[Record]:
    """Return the claims; sizes are divided by `shrink`."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pairs, graphs, nodes, rows = (
        [max(size // shrink, least) for size in sizes]
        for sizes, least in ((PAIRS, 8), (GRAPHS, 2), (NODES, 3), (ROWS, 20))
    )
    return [
        grown("contrastive loss, time", "pairs in the batch", 2, pairs, loss_of, rounds),
        memory_of_the_loss(pairs),
        ranks_of_the_loss(pairs[-2], rounds),
        grown("join components (primary)", "graphs in the batch", 1, graphs, join_of, rounds),
        grown("graph encoder, forward + backward", "graphs in the batch", 1, graphs, encoder_of_graphs, rounds),
        # Attention within a report is quadratic in its entities, everything else linear.
        grown(
            "graph encoder, forward + backward", "entities in each of 32 reports", 2, nodes, encoder_of_nodes, rounds
        ),
        grown("order of an epoch, by length", "rows", SORTING, rows, order_of, rounds),
        grown("interval of an AUROC", "patients", SORTING, rows, interval_of, rounds),
    ]


def grown(
    measure: str, work: str, demanded: float, sizes: Sequence[int], create: Callable[[int], Callable], rounds: int
) -> Record:
    """Return the record of one kind of work at growing sizes; `create` returns what does it at a size."""
    functions = {size: create(size) for size in sizes}
    return exponent(measure, work, demanded, in_turns(functions, rounds))


def in_turns(functions: Mapping[int, Callable[[], object]], rounds: int) -> list[dict[int, float]]:
    """Return the processor time by size in each round; the least of three calls is that of a small size."""
    turns = []
    for number in range(rounds + 1):
        taken = {}
        for size, function in functions.items():
            times: list[float] = []
            while len(times) < 3 and sum(times) < 1:
                start = time.process_time()
                function()
                times.append(time.process_time() - start)
            taken[size] = min(times)
        turns.extend([taken] if number else [])
    return turns


def exponent(measure: str, work: str, demanded: float, turns: Sequence[Mapping[int, float]]) -> Record:
    """Return the record of fitted exponents, one for each round."""
    sizes = sorted(turns[0])
    slopes = [slope(sizes, [turn[size] for size in sizes]) for turn in turns]
    if demanded == SORTING:
        demanded = slope(sizes, [size * np.log(size) for size in sizes])
    last = turns[-1]
    claim = Claim(
        f"{measure}, {sizes[0]:,} to {sizes[-1]:,} {work}",
        f"{demanded:.3g}, which the work demands",
        "exponent",
        demanded + TOLERANCE,
    )
    return claim.record(slopes, f"from {shown(last[sizes[0]])} to {shown(last[sizes[-1]])}")


def slope(sizes: Sequence[int], costs: Sequence[float]) -> float:
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def shown(cost: float) -> str:
    return f"{cost / 1e6:,.1f} MB" if cost > 1e4 else f"{1e3 * cost:,.2f} ms"


def loss_of(pairs: int) -> Callable[[], object]:
    loss, sides = created("identity", pairs, 0, 1)
    return lambda: step(loss, sides)


def memory_of_the_loss(pairs: Sequence[int]) -> Record:
    # The tiles of a small batch are whole, so that memory grows from the size of a tile on.
    found = {
        size: float(on_processes(1, peak_bytes, "identity", size)[0]) for size in [each * 4 for each in pairs[-3:]]
    }
    return exponent(
        "contrastive loss, memory", "pairs in the batch", 1, [{size: max(cost, 1.0) for size, cost in found.items()}]
    )


def ranks_of_the_loss(pairs: int, rounds: int) -> Record:
    """The pairs of each process stay the same: each contrasts its own with those of all."""
    runs = {world: on_processes(world, seconds, ["identity"], pairs * world, rounds) for world in (1, 2)}
    slowest = {
        world: [max(turn) for turn in zip(*(each["identity"] for each in run), strict=True)]
        for world, run in runs.items()
    }
    turns = [{world: each[number] for world, each in slowest.items()} for number in range(rounds)]
    return exponent(f"contrastive loss, time with {pairs:,} pairs on each", "processes", 1, turns)


def graphs_of(number: int, nodes: int | None = None) -> Batch:
    generator = torch.Generator().manual_seed(number)
    return Batch.from_data_list([random_graph(generator) if nodes is None else chain(nodes) for _ in range(number)])


def chain(nodes: int) -> Data:
    """A report of entities with two relations for three of them, the last related to many."""
    first = torch.arange(2 * nodes // 3)
    return Data(
        x=torch.randint(1, 8192, (nodes, 32)),
        node_type=torch.randint(0, 4, (nodes,)),
        edge_index=torch.stack([first, (first + nodes // 3) % nodes]),
        edge_type=first % 3,
        num_nodes=nodes,
    )


def join_of(graphs: int) -> Callable[[], object]:
    batch, join = graphs_of(graphs), ComponentJoin("primary")
    return lambda: join(batch)


def encoder_of_graphs(graphs: int) -> Callable[[], object]:
    return encoder_of(graphs_of(graphs))


def encoder_of_nodes(nodes: int) -> Callable[[], object]:
    return encoder_of(graphs_of(32, nodes))


def encoder_of(batch: Batch) -> Callable[[], object]:
    torch.manual_seed(0)
    encoder = GraphEncoder()
    return lambda: encoder(batch).pooled.square().mean().backward()


def order_of(rows: int) -> Callable[[], object]:
    lengths = np.random.default_rng(0).integers(0, 60, rows)
    return EpochOrder(range(rows), 16, lengths=lengths).order


def interval_of(patients: int) -> Callable[[], object]:
    rng = np.random.default_rng(0)
    target = rng.random(patients) < 0.2
    score, patient = rng.normal(size=patients) + target, np.arange(patients)
    return lambda: interval(auroc_estimate(score, target, patient, patients), scale="unit")


if __name__ == "__main__":
    main()
