"""Join and batch 250 report graphs from stored rows, beside the way of published code: one graph after the other.

    python benchmarks/graph_batches.py

The other side is written anew after what the code of IGCL's authors does: it reads the same stored rows, makes a `Data`
of each report with a Python loop over entities and relations, finds components by depth-first search, appends each edge
of the join by a concatenation, and collates the list. A leaner one, which appends all edges at once, is the second.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch_geometric.data import Batch, Data

from component_joins import joined_by_loop
from igcl_lightning.data.row_datasets import PairDataset
from igcl_lightning.data.store import Store
from igcl_lightning.graphs.featurizer import MAX_SUBWORDS, subword_ids
from igcl_lightning.graphs.schema import NODE_TYPE
from igcl_lightning.graphs.transforms import ComponentJoin
from input_pipeline import phantom_store
from side_by_side import Claim, Record, as_table, faster, times_in_turns

BATCH, JOIN = 250, "primary"
WORK = f"join ({JOIN}) and batch {BATCH} report graphs from stored rows"
OTHERS = {
    "published": ("the published way: loops over edges, a `Data` per graph, each edge appended by `torch.cat`", 50),
    "lean": ("the same, edges of a join appended at once", 10),
}


def main() -> None:
    print(as_table(records()))


def records(rounds: int = 7, reports: int = BATCH) -> list[Record]:
    torch.set_num_threads(1)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        pairs = PairDataset(Store(phantom_store(Path(folder) / "store", reports, 64)), "train")
        rows = pairs.table.select_columns(pairs.collate.graph_columns)[pairs.places]
        listed = rows.to_pylist()
        join = ComponentJoin(JOIN)
        for kind, (other, reach) in OTHERS.items():
            ours, theirs = join(pairs.collate.graphs(rows)), by_loops(listed, kind)
            if (ours.num_nodes, ours.num_edges) != (theirs.num_nodes, theirs.num_edges):
                raise SystemExit("the two sides make different graphs")
            times = times_in_turns(
                lambda: join(pairs.collate.graphs(rows)), lambda kind=kind: by_loops(listed, kind), rounds
            )
            note = f"{1e3 * min(own for own, _ in times):.1f} ms; {ours.num_nodes:,} nodes, {ours.num_edges:,} edges"
            found.append(Claim(WORK, other, "times faster", reach).record(faster(times), note))
    return found


def by_loops(rows: list[dict], kind: str) -> Batch:
    graphs = []
    for row in rows:
        x, node_type = [], []
        for text, label in zip(row["graph.tokens"], row["graph.label"], strict=True):
            x.append(torch.from_numpy(subword_ids(text.lower(), MAX_SUBWORDS).copy()))
            node_type.append(NODE_TYPE[label])
        edge_index, edge_type = torch.zeros(2, 0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
        for head, tail, relation in zip(row["graph.head"], row["graph.tail"], row["graph.type"], strict=True):
            edge_index = torch.cat([edge_index, torch.tensor([[head], [tail]])], dim=1)
            edge_type = torch.cat([edge_type, torch.tensor([relation])])
        data = Data(
            x=torch.stack(x) if x else torch.zeros(0, MAX_SUBWORDS, dtype=torch.int64),
            node_type=torch.tensor(node_type, dtype=torch.int64),
            edge_index=edge_index,
            edge_type=edge_type,
            num_nodes=len(x),
        )
        graphs.append(joined_by_loop(data, JOIN, one_by_one=kind == "published"))
    return Batch.from_data_list(graphs)


if __name__ == "__main__":
    main()
