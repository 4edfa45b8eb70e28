"""The graph encoder beside PyG's layers with padded attention: processor time of forward + backward, one thread.

    python benchmarks/graph_encoder.py [--reports 250] [--width 512] [--rounds 7]

The other side is `RGCNConv` twice, `to_dense_batch` and `nn.TransformerEncoderLayer` with a mask, on `primary`-joined
graphs of phantom reports, with our embedding of nodes. It races with our encoder on the same joined graphs at the same
width and with our default on graphs without a join, which is less work.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch
from torch_geometric.nn import RGCNConv
from torch_geometric.utils import to_dense_batch

from igcl_lightning.graphs.featurizer import featurize
from igcl_lightning.graphs.transforms import ComponentJoin
from igcl_lightning.nn.graph_encoder import GraphEncoder, GraphOptions
from igcl_lightning.phantom.case import find_case
from igcl_lightning.phantom.patient import Stream
from igcl_lightning.phantom.report import write_report
from limits import products_limit
from side_by_side import Claim, Record, as_table, faster, times_in_turns


class PaddedEncoder(nn.Module):
    """PyG's layers with the weights of one of our encoders of two layers, one of attention and the readout "max"."""

    def __init__(self, ours: GraphEncoder) -> None:
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

    def forward(self, graph: Batch) -> Tensor:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=int, default=250)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    print(as_table(records(**vars(parser.parse_args()))))


def records(reports: int = 250, width: int = 512, rounds: int = 7) -> list[Record]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    graphs = [write_report(case.scene, case.rng(Stream.REPORT))[1] for case in map(find_case, range(reports))]
    bare, joined = featurize(graphs), ComponentJoin("primary")(featurize(graphs))
    same, default = GraphEncoder(GraphOptions(channels=width)), GraphEncoder()
    padded = PaddedEncoder(same)
    with torch.no_grad():
        expected, got = (each.eval()(joined) for each in (padded, same))
    torch.testing.assert_close(got.pooled, expected, atol=1e-5, rtol=1e-4)
    padded.train(), same.train()

    def step(value: Tensor) -> None:
        value.square().mean().backward()

    other = f"2 x PyG's RGCNConv and padded attention, {joined.num_nodes:,} joined nodes, width {width}"
    sides = (
        (f"graph encoder, same primary-joined graphs of {reports} reports, width {width}", same, joined, 3.0),
        (f"default graph encoder on bare graphs of {reports} reports (less work)", default, bare, 12.0),
    )
    found = []
    for measure, encoder, graph, reach in sides:
        times = times_in_turns(
            lambda encoder=encoder, graph=graph: step(encoder(graph).pooled),
            lambda: step(padded(joined)),
            rounds,
            time.process_time,
        )
        limit = products_limit(lambda encoder=encoder, graph=graph: step(encoder(graph).pooled), times)
        claim = Claim(f"{measure}: forward + backward", other, "times faster", reach)
        found.append(claim.record(faster(times), f"{1e3 * min(own for own, _ in times):.0f} ms; {limit}"))
    return found


if __name__ == "__main__":
    main()
