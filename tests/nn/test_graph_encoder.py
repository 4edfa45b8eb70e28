import pytest
import torch

from graph_cases import encoded_with_padding
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.featurizer import featurize
from igcl_lightning.graphs.schema import CONNECTOR, NUM_EDGE_TYPES, Entity, Relation, ReportGraph
from igcl_lightning.graphs.transforms import JOINS, ComponentJoin
from igcl_lightning.nn.graph_encoder import GraphEncoder, GraphOptions
from igcl_lightning.nn.readout import READOUTS, read_out

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
    return featurize(graphs)


def with_text(graphs, channels):
    generator = torch.Generator().manual_seed(channels)
    graphs.node_text = torch.randn(graphs.num_nodes, channels, generator=generator)
    return graphs


def encoder(**options):
    torch.manual_seed(0)
    return GraphEncoder(GraphOptions(channels=16, **options)).eval()


def chain(size, parts=1, alike=True):
    """A graph of so many entities, alike or not, chained within each of its parts."""
    words = ["lung" if alike else f"lung{i}" for i in range(size)]
    relations = (Relation(i, "modify", i + 1) for i in range(size - 1) if (i + 1) % (size // parts))
    entities = tuple(Entity(word, "ANAT-DP", i, i) for i, word in enumerate(words))
    return ReportGraph(" ".join(words), entities, tuple(relations))


@pytest.mark.parametrize("join", JOINS)
@pytest.mark.parametrize("readout", READOUTS)
def test_encoding_does_not_depend_on_batch_mates(readout, join):
    model = encoder(readout=readout, join=join)
    alone = model(batch(CLEAR))
    beside = model(batch(EFFUSION, CLEAR, EMPTY))
    torch.testing.assert_close(alone.pooled[0], beside.pooled[1])
    torch.testing.assert_close(alone.units[0], beside.units[1, :2])
    torch.testing.assert_close(alone.importance[0], beside.importance[1, :2])


MIXED = (EFFUSION, EMPTY, chain(150, 3, alike=False), *[CLEAR] * 70, EMPTY, chain(4, 2, alike=False))
"""Empty graphs, one long one, and as many short ones as take two chunks."""


@pytest.mark.parametrize("reports", [MIXED, MIXED[::-1], (EMPTY, EMPTY), (CLEAR,)])
@pytest.mark.parametrize(
    "options",
    [
        *({"readout": readout} for readout in READOUTS),
        {"join": "primary"},
        {"join": "meta", "inverse_relations": False, "attention_layers": 2},
        {"attention_layers": 0},
        {"attention_mask": False},
    ],
)
def test_it_is_the_encoder_with_padding_in_value_and_gradient(options, reports):
    model, graphs = encoder(**options).double(), batch(*reports)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    joined, width = model.transform(graphs), max(1, *graphs.ptr.diff().tolist())
    encoded, (pooled, units, share) = model(graphs), encoded_with_padding(model, joined)
    own = torch.arange(width) < graphs.ptr.diff().clamp(min=1)[:, None]
    results = []
    for values in ((encoded.pooled, encoded.units), (pooled, units[:, :width] * own[..., None])):
        total = sum((each * torch.linspace(-1, 1, each.numel()).view(each.shape)).sum() for each in values)
        gradients = torch.autograd.grad(total, [*model.parameters()], materialize_grads=True)
        results.append([*values, *gradients])
    torch.testing.assert_close(*results, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(encoded.importance, share[:, :width] * own)
    assert torch.equal(encoded.mask, own)
    torch.testing.assert_close(model.float()(graphs).pooled.double(), pooled, atol=1e-5, rtol=1e-5)


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
        model = encoder(attention_layers=layers)
        one, two = model(batch(apart)).units[0, 1], model(batch(other)).units[0, 1]
        assert torch.allclose(one, two) != meets


def test_relations_point_at_units():
    encoded = encoder()(batch(EFFUSION, CLEAR))
    width = encoded.units.shape[1]
    assert encoded.relation.edge_index.tolist() == [
        [0, 1, 3, width + 1, 3, 2, 2, width],
        [3, 2, 2, width, 0, 1, 3, width + 1],
    ]
    assert encoded.relation.edge_type.tolist() == [1, 1, 0, 0, 5, 5, 4, 4]
    one_way = encoder(inverse_relations=False)(batch(EFFUSION))
    assert one_way.relation.edge_type.tolist() == [1, 1, 0]


@pytest.mark.parametrize("join", JOINS[1:])
def test_a_join_lets_components_meet_without_attention(join):
    apart = ReportGraph("lungs clear", CLEAR.entities)
    other = ReportGraph("heart clear", (Entity("heart", "ANAT-DP", 0, 0), CLEAR.entities[1]))
    meets = {}
    for num_layers in (1, 4):
        model = encoder(attention_layers=0, layers=num_layers, join=join)
        one, two = model(batch(apart)).units[0, 1], model(batch(other)).units[0, 1]
        meets[num_layers] = not torch.allclose(one, two, atol=1e-7)
    assert meets == {1: False, 4: True}


@pytest.mark.parametrize("join", JOINS)
def test_unit_u_is_entity_u_and_added_nodes_are_no_units(join):
    graphs = batch(EFFUSION, EMPTY, chain(4, parts=2), CLEAR, chain(2, parts=2))
    joined = ComponentJoin(join)(graphs)
    encoded = encoder(join=join)(graphs)
    assert not encoded.units[~encoded.mask].any()
    assert not encoded.importance[~encoded.mask].any()
    entities, sizes = graphs.ptr.diff().tolist(), joined.ptr.diff().tolist()
    assert encoded.mask.sum(dim=1).tolist() == [max(size, 1) for size in entities]
    assert encoded.units.shape[1] == encoded.importance.shape[1] == max(entities)
    model = encoder(join=join).eval()
    slow = model.nodes(joined)
    for conv in model.convs:
        slow = conv(slow, *model._edges(joined)).relu()
    without_attention = encoder(join=join, attention_layers=0).eval()
    without_attention.load_state_dict(model.state_dict(), strict=False)
    flat = without_attention(graphs)
    for number, (start, size) in enumerate(zip(joined.ptr.tolist(), sizes, strict=False)):
        own = entities[number]
        torch.testing.assert_close(flat.units[number, :own], slow[start : start + own])
        if size:
            torch.testing.assert_close(flat.pooled[number], slow[start : start + size].amax(dim=0))
            of_entities = slow[start : start + size].max(dim=0).indices < own
            torch.testing.assert_close(flat.importance[number].sum(), of_entities.float().mean())
    types = encoded.relation.edge_type
    assert (types < CONNECTOR).sum() == (types > CONNECTOR).sum() == 6
    assert not (types == CONNECTOR).any()
    without = encoder()(graphs)
    assert encoded.relation.edge_index.tolist() == without.relation.edge_index.tolist()


def test_places_without_a_unit_are_zero():
    encoded = encoder()(batch(EFFUSION, CLEAR, EMPTY))
    assert not encoded.units[~encoded.mask].any()
    assert encoded.units[encoded.mask].abs().sum(dim=1).min() > 0


@pytest.mark.gpu
def test_the_share_of_a_unit_is_counted_in_half_precision_too():
    units = torch.zeros(1, 2, 512, dtype=torch.bfloat16, device="cuda")
    units[0, 0] = 1
    _, importance = read_out(units, torch.ones(1, 2, dtype=torch.bool, device="cuda"), "max")
    assert importance.tolist() == [[1, 0]]


def test_added_nodes_carry_nothing_of_their_own():
    model = encoder(join="primary", node_text_channels=6)
    joined = ComponentJoin("primary")(with_text(batch(chain(4, parts=2)), 6))
    assert not model.nodes(joined)[4:].any()
    assert model.nodes(joined)[:4, 6:].tolist() == [[1, 0, 0, 0]] * 4
    hashed = encoder(join="primary").nodes(joined)
    assert not hashed[4:].any()


def test_stored_text_takes_the_place_of_hashed_subwords():
    graphs = with_text(batch(EFFUSION, CLEAR), 6)
    model = encoder(node_text_channels=6)
    nodes = model.nodes(graphs)
    torch.testing.assert_close(nodes[:, :6], graphs.node_text)
    assert nodes[:, 6:].argmax(dim=1).tolist() == graphs.node_type.tolist()
    assert not any("subwords" in name for name, _ in model.named_parameters())
    before = model(graphs).pooled
    graphs.x = graphs.x + 1
    torch.testing.assert_close(model(graphs).pooled, before)


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        (0, "reads 6 stored channels of node text, the batch has none: prepare the store with --node-text and set"),
        (5, "reads 6 channels of node text, the store has 5: set model.graph.node_text_channels to 5"),
    ],
)
def test_node_text_that_does_not_fit_is_one_line(channels, message):
    graphs = with_text(batch(CLEAR), channels) if channels else batch(CLEAR)
    with pytest.raises(IgclError, match=message):
        encoder(node_text_channels=6)(graphs)


def test_layers_after_the_readout_are_linear_and_relu():
    graphs = batch(EFFUSION, CLEAR)
    plain, deep = encoder(), encoder(fc_layers=2)
    expected = plain(graphs).pooled
    for layer in (deep.fc[0], deep.fc[2]):
        expected = (expected @ layer.weight.T + layer.bias).clamp(min=0)
    torch.testing.assert_close(deep(graphs).pooled, expected)


def test_without_the_mask_a_report_depends_on_its_batch():
    graphs = chain(8), chain(60)
    for attention_mask in (True, False):
        model = encoder(attention_mask=attention_mask, dropout=0.0)
        alone, beside = model(batch(graphs[0])).pooled[0], model(batch(*graphs)).pooled[0]
        assert torch.allclose(alone, beside, atol=1e-5) == attention_mask


def test_first_relation_only_is_the_graph_with_its_first_relations():
    rich = ReportGraph(
        EFFUSION.text,
        EFFUSION.entities,
        (*EFFUSION.relations, Relation(0, "modify", 1), Relation(3, "suggestive_of", 1), Relation(1, "modify", 0)),
    )
    got = encoder(first_relation_only=True)(batch(rich, CLEAR))
    expected = encoder()(batch(EFFUSION, CLEAR))
    torch.testing.assert_close(got.pooled, expected.pooled)
    assert (encoder()(batch(rich, CLEAR)).pooled - expected.pooled).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("inverse", "typed", "relations"),
    [(False, True, NUM_EDGE_TYPES), (True, True, NUM_EDGE_TYPES + 3), (False, False, 2), (True, False, 3)],
)
@pytest.mark.parametrize("join", ["none", "primary"])
def test_the_connector_has_its_weight_whatever_the_join(inverse, typed, relations, join):
    model = encoder(inverse_relations=inverse, relation_types=typed, join=join)
    assert [len(conv.weight) for conv in model.convs] == [relations] * 2


def test_unknown_readout_is_named():
    with pytest.raises(IgclError, match="model.graph.readout 'sum' is not one of max, mean, min, attention"):
        GraphEncoder(GraphOptions(readout="sum"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": -1}, "model.graph.layers is -1, not at least 0"),
        ({"attention_layers": -1}, "model.graph.attention_layers is -1, not at least 0"),
        ({"attention_heads": 0}, "model.graph.attention_heads is 0, not at least 1"),
        ({"fc_layers": -1}, "model.graph.fc_layers is -1, not at least 0"),
    ],
)
def test_numbers_out_of_range_are_named(options, message):
    with pytest.raises(IgclError, match=message):
        encoder(**options)
