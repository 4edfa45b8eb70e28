"""Component joins of one batch, vectorised beside a Python loop over graphs and nodes: time of both, as a ratio."""

import time

import torch
from torch_geometric.data import Batch, Data

from igcl_lightning.graphs.schema import CONNECTOR
from igcl_lightning.graphs.transforms import ADDED_NODE, JOINS, ComponentJoin

NUM_GRAPHS, MIN_NODES, MAX_NODES, EDGES_PER_NODE, REPEATS = 250, 12, 60, 0.66, 5


def random_graph(generator):
    size = int(torch.randint(MIN_NODES, MAX_NODES, (), generator=generator))
    edge_index = torch.randint(0, size, (2, int(EDGES_PER_NODE * size)), generator=generator)
    return Data(
        x=torch.randint(1, 8192, (size, 32), generator=generator),
        node_type=torch.randint(0, 4, (size,), generator=generator),
        edge_index=edge_index,
        edge_type=torch.randint(0, 3, (edge_index.shape[1],), generator=generator),
        num_nodes=size,
    )


def joined_by_loop(data, kind):
    """Depth-first search over lists, one connector after the other."""
    neighbours = [[] for _ in range(data.num_nodes)]
    for head, tail in data.edge_index.T.tolist():
        neighbours[head].append(tail)
        neighbours[tail].append(head)
    parts, seen = [], set()
    for node in range(data.num_nodes):
        if node not in seen:
            part, stack = [], [node]
            seen.add(node)
            while stack:
                part.append(stack.pop())
                for other in neighbours[part[-1]]:
                    if other not in seen:
                        seen.add(other)
                        stack.append(other)
            parts.append(part)
    if len(parts) < 2:
        return data
    size = data.num_nodes
    groups = [list(range(size))] if kind == "dummy" else parts
    links = [(node, size + hub) for hub, group in enumerate(groups) for node in group]
    hubs = list(range(size, size + len(groups)))
    size += len(groups)
    if kind == "meta":
        links += [(one, two) for one in hubs for two in hubs if one < two]
    if kind == "primary":
        links += [(hub, size) for hub in hubs]
        size += 1
    both = torch.tensor(links + [(tail, head) for head, tail in links]).T
    added = size - data.num_nodes
    return Data(
        x=torch.cat([data.x, data.x.new_zeros(added, data.x.shape[1])]),
        node_type=torch.cat([data.node_type, data.node_type.new_full((added,), ADDED_NODE)]),
        edge_index=torch.cat([data.edge_index, both], dim=1),
        edge_type=torch.cat([data.edge_type, data.edge_type.new_full((both.shape[1],), CONNECTOR)]),
        num_nodes=size,
    )


def milliseconds(function):
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        result = function()
        times.append(1e3 * (time.perf_counter() - start))
    return sorted(times)[REPEATS // 2], result


def main():
    generator = torch.Generator().manual_seed(0)
    graphs = [random_graph(generator) for _ in range(NUM_GRAPHS)]
    batch = Batch.from_data_list(graphs)
    for kind in JOINS[1:]:
        ours, joined = milliseconds(lambda kind=kind: ComponentJoin(kind)(batch))
        loop, reference = milliseconds(lambda kind=kind: [joined_by_loop(graph, kind) for graph in graphs])
        nodes, edges = sum(graph.num_nodes for graph in reference), sum(graph.num_edges for graph in reference)
        if (joined.num_nodes, joined.num_edges) != (nodes, edges):
            raise SystemExit(f"{kind}: the two disagree")
        size = f"{batch.num_nodes} -> {nodes} nodes, {batch.num_edges} -> {edges} edges"
        print(f"{kind}: vectorised {ours:.1f} ms, loop {loop:.1f} ms, ratio {loop / ours:.1f} ({size})")


if __name__ == "__main__":
    main()
