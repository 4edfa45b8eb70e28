"""Every switch of the graph encoder: what it computes, and what must hold whatever is switched."""

from itertools import product

import numpy as np
import pytest
import torch

from graph_cases import CLEAR, EMPTY, GRAPHS, LONE, RICH, SWITCHES, batch, encoder, nodes_by_loops, units_by_loops
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.schema import Relation, ReportGraph
from igcl_lightning.graphs.transforms import JOINS, ComponentJoin
from igcl_lightning.nn.graph_encoder import GraphOptions

KINDS = [("rgcn", True), ("rgcn", False), ("gat", True), ("gat", False), ("gcn", False), ("sage", False)]

every_switch = pytest.mark.parametrize("name", SWITCHES)


def assert_is_the_formula(**options):
    """The units and the mean of nodes of an encoder without attention are those written as loops."""
    options = {"channels": 16, "attention_layers": 0, "readout": "mean", **options}
    model, graphs, chosen = encoder(**options), batch(*GRAPHS), GraphOptions(**options)
    for bias in (parameter for name, parameter in model.named_parameters() if name.endswith("bias")):
        torch.nn.init.normal_(bias, std=0.1)
    units, pooled = (each.detach().numpy() for each in model(graphs)[:2][::-1])
    joined = ComponentJoin(chosen.join)(graphs)
    expected = units_by_loops(model, joined, chosen)
    for row, graph in enumerate(GRAPHS):
        nodes = expected[int(joined.ptr[row]) : int(joined.ptr[row + 1])]
        size = len(graph.entities)
        if size:
            np.testing.assert_allclose(units[row, :size], nodes[:size], atol=1e-5)
            np.testing.assert_allclose(pooled[row], nodes.mean(axis=0), atol=1e-5)
    assert np.ptp(units[0], axis=0).max() > 1e-3, "entities are alike: the comparison tells little"


@pytest.mark.parametrize("join", JOINS)
@pytest.mark.parametrize("inverse", [True, False])
@pytest.mark.parametrize(("conv", "typed"), KINDS)
def test_the_encoder_is_its_formula(conv, typed, inverse, join):
    assert_is_the_formula(conv=conv, relation_types=typed, inverse_relations=inverse, join=join)


@pytest.mark.parametrize(("texts", "types"), list(product([True, False], repeat=2)))
@pytest.mark.parametrize("join", ["none", "primary"])
def test_what_an_entity_brings_is_what_is_switched_on(texts, types, join):
    options = {"node_texts": texts, "node_types": types, "join": join}
    assert_is_the_formula(**options)
    model, joined = encoder(**options), ComponentJoin(join)(batch(RICH))
    nodes = model.nodes(joined).double()
    np.testing.assert_allclose(
        nodes.detach().numpy(), nodes_by_loops(model, joined, GraphOptions(**options)), atol=1e-6
    )
    assert not nodes[len(RICH.entities) :].any()
    assert any("subwords" in name for name, _ in model.named_parameters()) == texts


@pytest.mark.parametrize("types", [True, False])
def test_without_layers_entities_are_projected(types):
    assert_is_the_formula(layers=0, node_types=types)


def test_the_mean_of_node_texts_is_an_encoder():
    model, graphs = encoder(**SWITCHES["mean of texts"]), batch(RICH, LONE)
    graphs.x[0] = 0  # without text
    text = [[model.nodes.text.subwords.weight[b] for b in row if b] for row in graphs.x.tolist()]
    text = [sum(words) / len(words) if words else torch.zeros(16) for words in text]
    for row, own in enumerate((text[:5], text[5:])):
        expected = model.projection(sum(own) / len(own))
        torch.testing.assert_close(model(graphs).pooled[row], expected)


@every_switch
def test_relations_are_read_if_there_are_layers(name):
    model = encoder(**SWITCHES[name])
    with_relations, without = batch(RICH), batch(ReportGraph(RICH.text, RICH.entities))
    differ = (model(with_relations).units - model(without).units).abs().max() > 1e-4
    assert differ == bool(model.convs)


@every_switch
def test_types_of_relations_are_read_if_they_are_told_apart(name):
    model = encoder(**SWITCHES[name])
    others = tuple(Relation(each.head, "located_at", each.tail) for each in RICH.relations)
    same = ReportGraph(RICH.text, RICH.entities, others)
    differ = (model(batch(RICH)).units - model(batch(same)).units).abs().max() > 1e-4
    assert differ == (bool(model.convs) and model.relation_types)


@every_switch
def test_an_encoding_does_not_depend_on_batch_mates(name):
    model = encoder(**SWITCHES[name])
    beside = model(batch(CLEAR, EMPTY, RICH, LONE))
    for row, graph in enumerate((CLEAR, EMPTY, RICH, LONE)):
        alone, size = model(batch(graph)), max(len(graph.entities), 1)
        torch.testing.assert_close(alone.pooled[0], beside.pooled[row], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(alone.units[0], beside.units[row, :size], atol=1e-6, rtol=1e-5)


@every_switch
def test_the_order_of_entities_and_relations_does_not_matter(name):
    order = [3, 0, 4, 2, 1]
    place = {old: new for new, old in enumerate(order)}
    shuffled = ReportGraph(
        RICH.text,
        tuple(RICH.entities[old] for old in order),
        tuple(Relation(place[each.head], each.type, place[each.tail]) for each in RICH.relations[::-1]),
    )
    model = encoder(**SWITCHES[name])
    one, two = model(batch(CLEAR, RICH)), model(batch(CLEAR, shuffled))
    torch.testing.assert_close(one.pooled, two.pooled, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(one.units[1, order], two.units[1], atol=1e-6, rtol=1e-5)


@every_switch
def test_empty_graphs_keep_their_rows(name):
    model = encoder(**SWITCHES[name])
    mixed, alone = model(batch(EMPTY, RICH, EMPTY)), model(batch(EMPTY, EMPTY))
    assert mixed.pooled.shape == (3, 16)
    assert alone.pooled.shape == (2, 16)
    assert mixed.mask.sum(dim=1).tolist() == [1, 5, 1]
    torch.testing.assert_close(mixed.pooled[[0, 2]], alone.pooled, atol=1e-6, rtol=1e-5)
    assert (mixed.pooled[0] - mixed.pooled[1]).abs().max() > 1e-3


@every_switch
def test_every_parameter_takes_part_in_every_batch(name):
    model = encoder(**SWITCHES[name])
    edgeless = ReportGraph(RICH.text, RICH.entities)
    for graphs in (batch(*GRAPHS), batch(edgeless, LONE), batch(EMPTY, EMPTY)):
        model.zero_grad()
        model(graphs).pooled.square().sum().backward()
        assert [each for each, value in model.named_parameters() if value.grad is None] == []
        assert all(value.grad.isfinite().all() for value in model.parameters())


@every_switch
def test_no_weight_is_idle(name):
    model = encoder(**{"join": "primary" if SWITCHES[name].get("layers", 2) else "none"} | SWITCHES[name])
    encoded = model(batch(*GRAPHS))
    (encoded.pooled.square().sum() + encoded.units.square().sum()).backward()
    assert [each for each, value in model.named_parameters() if not value.grad.any()] == []


@every_switch
def test_units_keep_the_relations_of_the_report(name):
    options = SWITCHES[name]
    inverse = options.get("inverse_relations", True)
    got, expected = encoder(**options)(batch(*GRAPHS)), encoder(inverse_relations=inverse)(batch(*GRAPHS))
    for mine, theirs in zip(got.relation, expected.relation, strict=True):
        assert torch.equal(mine, theirs)


@every_switch
def test_half_precision_is_near_single(name):
    model, graphs = encoder(**SWITCHES[name]), batch(*GRAPHS)
    single = model(graphs).pooled
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model(graphs).pooled
    half = model.to(torch.bfloat16)(graphs).pooled
    for got in (mixed, half):
        assert (got.float() - single).abs().max() < 0.05 * single.abs().max()


UNSEEN = {"node_texts": False, "node_types": False}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"conv": "gin"}, "model.graph.conv 'gin' is not one of rgcn, gcn, gat, sage"),
        ({"conv": "gcn"}, "model.graph.conv gcn reads no types of relations: set model.graph.relation_types to false"),
        ({"conv": "sage"}, "model.graph.conv sage reads no types of relations"),
        (
            {"layers": 0, "conv": "gat"},
            "model.graph.layers is 0, relations are not read: leave out model.graph.conv gat",
        ),
        ({"layers": 0, "join": "meta"}, "leave out model.graph.join meta"),
        ({"layers": 0, "relation_types": False}, "leave out model.graph.relation_types false"),
        ({"layers": 0, "first_relation_only": True}, "leave out model.graph.first_relation_only true"),
        (
            {"node_texts": False, "node_text_channels": 8},
            "model.graph.node_texts is false: set model.graph.node_text_channels to 0",
        ),
        (
            {"node_texts": False, "rotate_channels": 8},
            "model.graph.node_texts is false: set model.graph.rotate_channels",
        ),
        ({**UNSEEN, "layers": 0}, "entities are all alike .* with model.graph.layers 0 so are all reports"),
        ({**UNSEEN, "conv": "gat"}, "entities are all alike .* model.graph.conv gat only averages them"),
    ],
)
def test_contradictions_are_one_line(options, message):
    with pytest.raises(IgclError, match=message) as caught:
        encoder(**options)
    assert "\n" not in str(caught.value)
