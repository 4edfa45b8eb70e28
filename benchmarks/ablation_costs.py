"""What each part of the graph encoder costs: forward and backward beside those of IGCL's own, and parameters.

    python benchmarks/ablation_costs.py [--table ablation ablation_paper] [--rounds 9] [--out FILE.json]

The rows are those of tables in configs/evaluation whose options change the graph encoder, each on the same phantom
reports, in turns with the first. RotatE is not fitted: looking up takes as long. Texts of a language model are random.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
import yaml
from torch_geometric.data import Batch

from igcl_lightning.data.row_datasets import PairDataset
from igcl_lightning.data.store import Store
from igcl_lightning.nn.graph_encoder import GraphEncoder, GraphOptions
from igcl_lightning.protocols.evaluation_table import read_table
from igcl_lightning.training.options import shipped_configs
from input_pipeline import phantom_store
from side_by_side import Claim, Record, share, times_in_turns, write

REPORTS = 128
GRAPH = "model.graph."
SAME = 1.0  # no row is promised to be faster than the first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", nargs="+", default=["ablation", "ablation_paper"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    found = [each for table in given.table for each in records(table, given.rounds)]
    if given.out:
        write(found, given.out)
    print(f"{REPORTS} reports, one thread; share of the time of the first row: median (least, most)\n")
    print("| graph encoder | time | parameters |\n| --- | --- | --- |")
    for each in found:
        least, middle, most = (f"{each[f'ratio_{which}']:.2f}" for which in ("min", "median", "max"))
        print(f"| {each['table']}: {each['measure']} | {middle} ({least}, {most}) | {each['parameters']:,} |")


def records(table: str, rounds: int = 9, reports: int = REPORTS, most: int | None = None) -> list[Record]:
    """Measure the graph encoders of a table, the first `most` of them."""
    torch.set_num_threads(1)
    encoders = list(graph_encoders(table).items())[:most]
    with tempfile.TemporaryDirectory() as folder:
        pairs = PairDataset(Store(phantom_store(Path(folder) / "store", reports, 64)), "train")
        (batch,) = pairs.graphs(batch_size=reports)
    batch.node_text = torch.randn(batch.num_nodes, max(options.node_text_channels for _, options in encoders))
    reference, found = encoders[0], []
    for name, options in encoders:
        times = times_in_turns(step(options, batch), step(reference[1], batch), rounds)
        note = f"{1e3 * median(own for own, _ in times):.1f} ms"
        record = Claim(name, reference[0], "of its time", SAME).record(share(times), note)
        parameters = sum(each.numel() for each in GraphEncoder(options).parameters())
        found.append(record | {"table": table, "parameters": parameters})
    return found


def graph_encoders(table: str) -> dict[str, GraphOptions]:
    """Return the options of the graph encoder of each row of a table that has options of its own, by name."""
    encoders: dict[str, GraphOptions] = {}
    for row in read_table(f"evaluation/{table}.yaml").rows:
        config = yaml.safe_load((shipped_configs() / str(row.config)).read_text(encoding="utf-8"))
        base = config["model"]["init_args"]["graph"]
        own = {name.removeprefix(GRAPH): value for name, value in row.options.items() if name.startswith(GRAPH)}
        options = GraphOptions(**base | own)
        if options not in encoders.values():
            encoders[row.name] = options
    return encoders


def step(options: GraphOptions, batch: Batch) -> Callable[[], None]:
    torch.manual_seed(0)
    encoder = GraphEncoder(options)

    def run() -> None:
        encoder.zero_grad()
        encoder(batch.clone()).pooled.square().mean().backward()

    return run


if __name__ == "__main__":
    main()
