"""The graph encoder beside PyG's layers with padded attention: processor time of forward + backward, one thread.

    python benchmarks/graph_encoder.py [--reports 250] [--width 512] [--repeats 7]

The other side is `RGCNConv` twice, `to_dense_batch` and `nn.TransformerEncoderLayer` with a mask, on `primary`-joined
graphs of phantom reports, with our embedding of nodes. It races with our encoder on the same joined graphs at the same
width and with our default on graphs without a join. All take turns in one process; a ratio is that of one turn.
"""

import argparse
import time
from statistics import median

import torch
from torch import nn
from torch_geometric.nn import RGCNConv
from torch_geometric.utils import to_dense_batch

from igcl_lightning.graphs.featurizer import featurize
from igcl_lightning.graphs.transforms import ComponentJoin
from igcl_lightning.nn.graph_encoder import GraphEncoder, GraphOptions
from igcl_lightning.phantom.case import find_case
from igcl_lightning.phantom.patient import Stream
from igcl_lightning.phantom.report import write_report


class PaddedEncoder(nn.Module):
    """PyG's layers with the weights of one of our encoders of two layers, one of attention and the readout "max"."""

    def __init__(self, ours):
        super().__init__()
        self.nodes, self.empty, self.edges = ours.nodes, ours.empty, ours._edges
        (own,) = ours.attention
        width = own.self_attn.embed_dim
        self.attention = nn.TransformerEncoderLayer(
            width, own.self_attn.num_heads, own.linear1.out_features, own.dropout.p, batch_first=True
        )
        self.attention.load_state_dict(own.state_dict())
        self.convs = nn.ModuleList()
        for conv in ours.convs:
            relations, before, after = conv.weight.shape
            self.convs.append(RGCNConv(before, after, relations))
            self.convs[-1].load_state_dict(conv.state_dict())

    def forward(self, graph):
        edge_index, edge_type = self.edges(graph)
        x = self.nodes(graph)
        for conv in self.convs:
            x = conv(x, edge_index, edge_type).relu()
        units, mask = to_dense_batch(x, graph.batch, batch_size=graph.num_graphs)
        first = torch.zeros_like(mask)
        first[:, 0] = ~mask[:, 0]
        units, mask = torch.where(first[..., None], self.empty, units), mask | first
        units = self.attention(units, src_key_padding_mask=~mask)
        return units.masked_fill(~mask[..., None], -torch.inf).amax(dim=1)


def race(functions, repeats):
    """Seconds of forward + backward of each function in each turn, after one turn to warm up."""
    times = {name: [] for name in functions}
    for turn in range(repeats + 1):
        for name, function in functions.items():
            start = time.process_time()
            function().square().mean().backward()
            if turn:
                times[name].append(time.process_time() - start)
    return times


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=int, default=250)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    cases = map(find_case, range(options.reports))
    graphs = [write_report(case.scene, case.rng(Stream.REPORT))[1] for case in cases]
    bare, joined = featurize(graphs), ComponentJoin("primary")(featurize(graphs))
    same, default = GraphEncoder(GraphOptions(channels=options.width)), GraphEncoder()
    padded = PaddedEncoder(same)
    with torch.no_grad():
        expected, got = (each.eval()(joined) for each in (padded, same))
    torch.testing.assert_close(got.pooled, expected, atol=1e-5, rtol=1e-4)
    theirs = "PyG and padding"
    ours = {
        f"same primary-joined graphs, width {options.width}": lambda: same(joined).pooled,
        "default on bare graphs": lambda: default(bare).pooled,
    }
    padded.train(), same.train()
    times = race({theirs: lambda: padded(joined), **ours}, options.repeats)
    rows = options.reports * int(joined.ptr.diff().max())
    print(f"{options.reports} reports, {bare.num_nodes} entities, {joined.num_nodes} joined nodes, {rows} with padding")
    for name in ours:
        ratios = sorted(other / own for other, own in zip(times[theirs], times[name], strict=True))
        own, other = (1e3 * median(times[each]) for each in (name, theirs))
        print(
            f"{name}: {own:.0f} ms, {theirs} {other:.0f} ms, "
            f"ratio {median(ratios):.2f} [{ratios[0]:.2f}, {ratios[-1]:.2f}]"
        )


if __name__ == "__main__":
    main()
