"""Our relational convolution beside PyG's RGCNConv on the same batch: time of forward + backward, as a ratio."""

import time

import torch
from torch_geometric.nn import FastRGCNConv, RGCNConv

from igcl_lightning.nn.graph_convs import RelationalConv

NUM_NODES, NUM_EDGES, CHANNELS, NUM_RELATIONS, REPEATS = 4000, 3000, 256, 6, 20


def seconds(conv, x, edge_index, edge_type):
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        conv(x, edge_index, edge_type).square().mean().backward()
        times.append(time.perf_counter() - start)
    return sorted(times)[REPEATS // 2]


def main():
    torch.manual_seed(0)
    x = torch.randn(NUM_NODES, CHANNELS, requires_grad=True)
    edge_index = torch.randint(0, NUM_NODES, (2, NUM_EDGES))
    edge_type = torch.randint(0, NUM_RELATIONS, (NUM_EDGES,))
    ours = seconds(RelationalConv(CHANNELS, CHANNELS, NUM_RELATIONS), x, edge_index, edge_type)
    for reference in (RGCNConv, FastRGCNConv):
        theirs = seconds(reference(CHANNELS, CHANNELS, NUM_RELATIONS), x, edge_index, edge_type)
        print(
            f"RelationalConv {1e3 * ours:.1f} ms, {reference.__name__} {1e3 * theirs:.1f} ms, ratio {theirs / ours:.2f}"
        )


if __name__ == "__main__":
    main()
