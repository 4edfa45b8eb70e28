"""Component joins of one batch, vectorised beside a Python loop over graphs and nodes: time of both, as a ratio."""

import torch
from torch_geometric.data import Batch, Data

from igcl_lightning.graphs.schema import CONNECTOR
from igcl_lightning.graphs.transforms import ADDED_NODE, JOINS, ComponentJoin
from side_by_side import Claim, as_table, faster, times_in_turns

NUM_GRAPHS, MIN_NODES, MAX_NODES, EDGES_PER_NODE = 250, 12, 60, 0.66


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


def parts_of(data):
    """The nodes of each component, by depth-first search."""
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
    return parts


def joined_by_loop(data, kind, one_by_one=False):
    """Edges of the join are appended at once, or each by a concatenation."""
    parts = parts_of(data)
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
    links += [(tail, head) for head, tail in links]
    edge_index, edge_type = data.edge_index, data.edge_type
    for some in [[link] for link in links] if one_by_one else [links]:
        edge_index = torch.cat([edge_index, torch.tensor(some).T], dim=1)
        edge_type = torch.cat([edge_type, edge_type.new_full((len(some),), CONNECTOR)])
    added = size - data.num_nodes
    return Data(
        x=torch.cat([data.x, data.x.new_zeros(added, data.x.shape[1])]),
        node_type=torch.cat([data.node_type, data.node_type.new_full((added,), ADDED_NODE)]),
        edge_index=edge_index,
        edge_type=edge_type,
        num_nodes=size,
    )


def main():
    print(as_table(records()))


def records(rounds=7, num_graphs=NUM_GRAPHS):
    """The joins of one batch beside a lean loop, which appends all edges at once and collates the list."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    graphs = [random_graph(generator) for _ in range(num_graphs)]
    batch = Batch.from_data_list(graphs)
    found = []
    for kind in JOINS[1:]:
        joined, reference = ComponentJoin(kind)(batch), by_loop(graphs, kind)
        if (joined.num_nodes, joined.num_edges) != (reference.num_nodes, reference.num_edges):
            raise SystemExit(f"{kind}: the two disagree")
        times = times_in_turns(
            lambda kind=kind: ComponentJoin(kind)(batch), lambda kind=kind: by_loop(graphs, kind), rounds
        )
        claim = Claim(
            f"join components ({kind}), {num_graphs} graphs", "a lean loop over lists, collated", "times faster", 8
        )
        size = f"{batch.num_nodes:,} nodes to {joined.num_nodes:,}, {batch.num_edges:,} edges to {joined.num_edges:,}"
        found.append(claim.record(faster(times), f"{1e3 * min(own for own, _ in times):.1f} ms; {size}"))
    return found


def by_loop(graphs, kind):
    return Batch.from_data_list([joined_by_loop(graph, kind) for graph in graphs])


if __name__ == "__main__":
    main()
