import pytest
import torch
from torch_geometric.data import Batch
from torch_geometric.nn import RGCNConv

from igcl_lightning.graphs.featurizer import GraphFeaturizer
from igcl_lightning.graphs.schema import Entity, Relation, ReportGraph
from igcl_lightning.nn.graph_encoder import READOUTS, GraphEncoder, RelationalConv

EFFUSION = ReportGraph(
    "small right pleural effusion",
    (
        Entity("small", "OBS-DP", 0, 0),
        Entity("right", "ANAT-DP", 1, 1),
        Entity("pleural", "ANAT-DP", 2, 2),
        Entity("effusion", "OBS-DP", 3, 3),
    ),
    (Relation(0, "modify", 3), Relation(1, "modify", 2), Relation(3, "located_at", 2)),
)
CLEAR = ReportGraph(
    "lungs clear", (Entity("lungs", "ANAT-DP", 0, 0), Entity("clear", "OBS-DP", 1, 1)), (Relation(1, "located_at", 0),)
)
EMPTY = ReportGraph("")


def batch(*graphs):
    return Batch.from_data_list([GraphFeaturizer()(graph) for graph in graphs])


def encoder(**options):
    torch.manual_seed(0)
    return GraphEncoder(channels=16, **options).eval()


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


@pytest.mark.parametrize("readout", READOUTS)
def test_encoding_does_not_depend_on_batch_mates(readout):
    model = encoder(readout=readout)
    alone = model(batch(CLEAR))
    beside = model(batch(EFFUSION, CLEAR, EMPTY))
    torch.testing.assert_close(alone.pooled[0], beside.pooled[1])
    torch.testing.assert_close(alone.units[0], beside.units[1, :2])
    torch.testing.assert_close(alone.importance[0], beside.importance[1, :2])


@pytest.mark.parametrize("readout", READOUTS)
def test_an_empty_graph_keeps_its_row_wherever_it_stands(readout):
    model = encoder(readout=readout)
    last, first, alone = model(batch(CLEAR, EMPTY)), model(batch(EMPTY, CLEAR)), model(batch(EMPTY, EMPTY))
    assert last.pooled.shape == first.pooled.shape == alone.pooled.shape == (2, 16)
    torch.testing.assert_close(last.pooled[1], first.pooled[0])
    torch.testing.assert_close(alone.pooled[0], last.pooled[1])
    assert last.mask.tolist() == [[True, True], [True, False]]
    assert not last.pooled.isnan().any()


def test_the_embedding_of_an_empty_graph_is_learned():
    model = encoder()
    model(batch(CLEAR, EMPTY)).pooled[1, :3].sum().backward()
    assert model.empty.grad is not None
    assert model.empty.grad.abs().sum() > 0


def test_order_of_entities_does_not_matter():
    order = [2, 0, 3, 1]
    place = {old: new for new, old in enumerate(order)}
    shuffled = ReportGraph(
        EFFUSION.text,
        tuple(EFFUSION.entities[old] for old in order),
        tuple(Relation(place[r.head], r.type, place[r.tail]) for r in reversed(EFFUSION.relations)),
    )
    model = encoder(readout="attention")
    torch.testing.assert_close(model(batch(EFFUSION)).pooled, model(batch(shuffled)).pooled)


@pytest.mark.parametrize("readout", READOUTS)
def test_importance_is_a_share_of_each_report(readout):
    encoded = encoder(readout=readout)(batch(EFFUSION, EMPTY, CLEAR))
    torch.testing.assert_close(encoded.importance.sum(dim=1), torch.ones(3))
    assert (encoded.importance[~encoded.mask] == 0).all()


def test_pooled_is_the_readout_of_units():
    graphs = batch(EFFUSION, CLEAR)
    highest, mean = encoder(readout="max")(graphs), encoder(readout="mean")(graphs)
    for row, size in enumerate((4, 2)):
        torch.testing.assert_close(highest.pooled[row], highest.units[row, :size].amax(dim=0))
        torch.testing.assert_close(mean.pooled[row], mean.units[row, :size].mean(dim=0))


def test_without_attention_components_stay_apart_and_with_it_they_meet():
    apart = ReportGraph("lungs clear", CLEAR.entities)
    other = ReportGraph("heart clear", (Entity("heart", "ANAT-DP", 0, 0), CLEAR.entities[1]))
    for layers, meets in ((0, False), (1, True)):
        model = encoder(num_attention_layers=layers)
        one, two = model(batch(apart)).units[0, 1], model(batch(other)).units[0, 1]
        assert torch.allclose(one, two) != meets


def test_relations_point_at_units():
    encoded = encoder()(batch(EFFUSION, CLEAR))
    width = encoded.units.shape[1]
    assert encoded.relation.edge_index.tolist() == [
        [0, 1, 3, width + 1, 3, 2, 2, width],
        [3, 2, 2, width, 0, 1, 3, width + 1],
    ]
    assert encoded.relation.edge_type.tolist() == [1, 1, 0, 0, 4, 4, 3, 3]
    one_way = encoder(inverse_relations=False)(batch(EFFUSION))
    assert one_way.relation.edge_type.tolist() == [1, 1, 0]


def test_unknown_readout_is_named():
    with pytest.raises(ValueError, match="readout 'sum' is not one of max, mean, attention"):
        GraphEncoder(readout="sum")
