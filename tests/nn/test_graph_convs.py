import pytest
import torch
from torch_geometric.nn import RGCNConv

from graph_cases import conv_by_loops, random_edges
from igcl_lightning.errors import IgclError
from igcl_lightning.nn.graph_convs import CONVS, RelationalConv, create_conv


def layer_of(kind, *sizes):
    torch.manual_seed(0)
    layer = create_conv(kind, *sizes)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return layer


@pytest.mark.parametrize("kind", CONVS)
@pytest.mark.parametrize("num_edges", [0, 1, 40])
def test_a_layer_is_its_formula(kind, num_edges):
    layer, (edge_index, edge_type) = layer_of(kind, 5, 4, 3), random_edges(7, num_edges, 3)
    x = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    edges = torch.cat([edge_index, edge_type[None]]).T.tolist()
    expected = conv_by_loops(kind, layer, x.double().numpy(), edges)
    torch.testing.assert_close(layer(x, edge_index, edge_type).double(), torch.tensor(expected), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("num_edges", [0, 1, 40])
def test_relational_conv_is_pyg_rgcn_in_value_and_gradient(num_edges):
    generator = torch.Generator().manual_seed(num_edges)
    x = torch.randn(7, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    edge_index = torch.randint(0, 7, (2, num_edges), generator=generator)
    edge_type = torch.randint(0, 3, (num_edges,), generator=generator)
    ours = RelationalConv(5, 4, 3).double()
    reference = RGCNConv(5, 4, num_relations=3).double()
    with torch.no_grad():
        reference.weight.copy_(ours.weight)
        reference.root.copy_(ours.root)
        reference.bias.copy_(ours.bias)

    results = []
    for conv in (ours, reference):
        value = conv(x, edge_index, edge_type)
        gradients = torch.autograd.grad(value.square().sum(), [x, conv.weight, conv.root, conv.bias])
        results.append([value, *gradients])

    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("kind", CONVS)
def test_many_neighbours_are_averaged_in_half_precision_too(kind):
    """A bfloat16 that adds ones stops at 256: 1,000 neighbours would count as 256."""
    layer = layer_of(kind, 8, 4, 2)
    for parameter in layer.parameters():
        torch.nn.init.uniform_(parameter)
    x = torch.rand(1001, 8) + 1
    edge_index = torch.stack([torch.arange(1, 1001), torch.zeros(1000, dtype=torch.int64)])
    edge_type = torch.zeros(1000, dtype=torch.int64)
    expected = layer(x, edge_index, edge_type)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = layer(x, edge_index, edge_type)
    half = layer.to(torch.bfloat16)(x.to(torch.bfloat16), edge_index, edge_type)
    assert (mixed.dtype, half.dtype) == (torch.float32, torch.bfloat16)
    for got in (mixed, half):
        error = (got.float() - expected)[0].abs() / expected[0].abs()
        assert error.max() < 0.05


@pytest.mark.parametrize("kind", CONVS)
@pytest.mark.parametrize("num_nodes", [0, 3])
def test_all_weights_take_part_without_edges_and_without_nodes(kind, num_nodes):
    layer = layer_of(kind, 5, 4, 3)
    out = layer(torch.ones(num_nodes, 5), torch.zeros(2, 0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
    assert out.shape == (num_nodes, 4)
    out.sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())


def test_two_relations_of_one_pair_both_count():
    x = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    conv = RelationalConv(5, 4, 3)
    edges = torch.tensor([[1, 1], [0, 0]])
    types = torch.tensor([0, 1])
    both, none = conv(x, edges, types), conv(x, edges[:, :0], types[:0])
    one, other = conv(x, edges[:, :1], types[:1]), conv(x, edges[:, 1:], types[1:])
    torch.testing.assert_close(both - none, (one - none) + (other - none))


def test_an_unknown_layer_is_named():
    with pytest.raises(IgclError, match="model.graph.conv 'gta' is not one of rgcn, gcn, gat, sage, did you mean gat?"):
        create_conv("gta", 5, 4, 3)
