"""RotatE embeddings of entities, against loops over complex numbers."""

import numpy as np
import pytest
import torch

from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.featurizer import NUM_BUCKETS, featurize
from igcl_lightning.graphs.schema import ENTITY_LABELS, RELATION_TYPES, Entity, Relation, ReportGraph
from igcl_lightning.graphs.transforms import ComponentJoin
from igcl_lightning.nn import rotate
from igcl_lightning.nn.graph_encoder import GraphEncoder, GraphOptions
from igcl_lightning.nn.rotate import RotatedText, embeddings, fit_rotate

CHANNELS = 8


def report(entities, *relations):
    """A graph of entities given as "words/LABEL" and relations given as (head, type, tail)."""
    parts = [entity.split("/") for entity in entities]
    ends = np.cumsum([len(words.split()) for words, _ in parts])
    spans = [
        Entity(words, label, end - len(words.split()), end - 1)
        for (words, label), end in zip(parts, ends.tolist(), strict=True)
    ]
    text = " ".join(words for words, _ in parts)
    return ReportGraph(text, tuple(spans), tuple(Relation(*each) for each in relations))


EFFUSION = report(
    ["small/OBS-DP", "pleural effusion/OBS-DP", "left lung/ANAT-DP", "heart/ANAT-DP"],
    (0, "modify", 1),
    (1, "located_at", 2),
)
NONE = report(["pleural effusion/OBS-DA", "left lung/ANAT-DP"], (0, "located_at", 1))
EMPTY = ReportGraph("")


def ring(size=12):
    """Entities in a ring: each lies at the next one, which suggests it; opposite ones modify each other."""
    words = [f"{chr(97 + number) * 4}/OBS-DP" for number in range(size)]
    pairs = [(number, (number + 1) % size) for number in range(size)]
    relations = [each for a, b in pairs for each in ((a, "located_at", b), (b, "suggestive_of", a))]
    relations += [(number, "modify", (number + size // 2) % size) for number in range(size)]
    return report(words, *relations)


def names(graph):
    """The entities of a graph as its words and labels, and its relations between these."""
    entities = [(entity.name, entity.label) for entity in graph.entities]
    return entities, {(entities[r.head], RELATION_TYPES.index(r.type), entities[r.tail]) for r in graph.relations}


@pytest.fixture
def few_steps(monkeypatch):
    monkeypatch.setattr(rotate, "STEPS", (20, 20))


@pytest.fixture
def fitted(few_steps):
    text = RotatedText(CHANNELS)
    triples = text.triples([featurize([EFFUSION, NONE])])
    text.store(triples.key, embeddings(fit_rotate(triples, CHANNELS)))
    return text


@pytest.fixture(scope="module")
def learned():
    """RotatE of a ring, fitted to the end, and its triples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rotate, "STEPS", (300, 300))
        patch.setattr(rotate, "LEARNING_RATE", 0.05)
        patch.setattr(rotate, "BATCH_SIZE", 128)
        triples = RotatedText(32).triples([featurize([ring()])])
        return fit_rotate(triples, 32), triples


def distances(model):
    """Equation 2 of Sun et al. as a loop: how far each head, turned by each relation, is from each tail, [E, R, E]."""
    vector = embeddings(model).numpy().astype(np.float64)
    half = vector.shape[1] // 2
    entity = [[complex(x, y) for x, y in zip(row[:half], row[half:], strict=True)] for row in vector]
    turn = [[complex(np.cos(a), np.sin(a)) for a in row] for row in model.rel_emb.weight.tolist()]
    return np.array(
        [
            [
                [np.sqrt(sum(abs(h * r - t) ** 2 for h, r, t in zip(head, by, tail, strict=True))) for tail in entity]
                for by in turn
            ]
            for head in entity
        ]
    )


def test_the_score_is_the_distance_of_a_turned_head_to_the_tail(learned):
    model, triples = learned
    scale = torch.cat([model.node_emb.weight, model.node_emb_im.weight]).square().mean().sqrt().item()
    expected = distances(model)[triples.head, triples.type, triples.tail]
    score = model(triples.head, triples.type, triples.tail)
    np.testing.assert_allclose((model.margin - score).detach() / scale, expected, rtol=1e-4)


def test_relations_of_reports_rank_above_corrupted_ones(learned):
    model, triples = learned
    found = distances(model)
    true = np.zeros(found.shape, bool)
    true[triples.head, triples.type, triples.tail] = True
    assert true.sum() == 36
    for head, kind, tail in np.argwhere(true):
        others = found[head, kind][~true[head, kind]], found[:, kind, tail][~true[:, kind, tail]]
        assert found[head, kind, tail] < min(map(np.min, others))


def test_symmetric_relations_turn_by_half_circles_and_inverse_ones_back(learned):
    located, modify, suggestive = learned[0].rel_emb.weight.detach()
    assert modify.sin().abs().mean() < 0.2
    assert (located + suggestive).cos().median() > 0.9


def test_triples_are_the_different_relations_between_entities():
    text = RotatedText(CHANNELS)
    graphs = [EFFUSION, NONE, EMPTY, EFFUSION]
    triples = text.triples([featurize(graphs[:2]), featurize(graphs[2:])])
    key = dict(zip((each for graph in graphs for each in names(graph)[0]), text.keys(featurize(graphs)), strict=True))
    of_key = {int(value): each for each, value in key.items()}
    assert len(of_key) == 5
    entity = [of_key[value] for value in triples.key.tolist()]
    got = [(entity[h], r, entity[t]) for h, r, t in torch.stack(triples[1:]).T.tolist()]
    assert sorted(got) == sorted(names(EFFUSION)[1] | names(NONE)[1])
    assert triples.key.tolist() == sorted(triples.key.tolist())


@pytest.mark.parametrize(("labels", "types", "entities", "relations"), [(0, 1, 3, 2), (1, 0, 4, 3), (0, 0, 3, 2)])
def test_labels_and_types_that_are_not_read_make_no_difference(labels, types, entities, relations):
    other = report(["small/OBS-DP", "pleural effusion/OBS-DP"], (0, "modify", 1), (0, "suggestive_of", 1))
    graphs = [featurize([EFFUSION, NONE, other])]
    assert len(RotatedText(CHANNELS).triples(graphs).head) == 4
    triples = RotatedText(CHANNELS, bool(labels), bool(types)).triples(graphs)
    assert (len(triples.key), len(triples.head)) == (entities, relations + (types and 1))


def test_only_the_entities_of_most_relations_are_kept(monkeypatch):
    monkeypatch.setattr(rotate, "MOST_ENTITIES", 2)
    rare = report(["opacity/OBS-DP", "right lung/ANAT-DP"], (0, "located_at", 1))
    text = RotatedText(CHANNELS)
    triples = text.triples([featurize([EFFUSION, rare, NONE, NONE, NONE])])
    expected = text.keys(featurize([NONE]))
    assert triples.key.tolist() == sorted(expected.tolist())
    assert torch.equal(triples.key[triples.head], expected[:1])


def test_reports_without_a_relation_are_refused():
    apart = ReportGraph(EFFUSION.text, EFFUSION.entities)
    for graphs in ([], [featurize([apart, EMPTY])]):
        with pytest.raises(IgclError, match=r"^model.graph.rotate_channels: no training report has a relation between"):
            RotatedText(CHANNELS).triples(graphs)


def test_an_entity_has_its_embedding_wherever_it_stands(fitted):
    upper = report(["LEFT lung/ANAT-DP", "small/OBS-DP"])
    first, second = fitted(featurize([EFFUSION])), fitted(featurize([EMPTY, NONE, upper, EFFUSION]))
    torch.testing.assert_close(second[4:], first, rtol=0, atol=0)
    torch.testing.assert_close(second[[1, 2, 3]], first[[2, 2, 0]], rtol=0, atol=0)
    assert not torch.equal(second[0], first[1])  # the label differs
    assert fitted(featurize([EMPTY])).shape == (0, CHANNELS)


def test_unknown_entities_and_added_nodes_are_zero(fitted):
    other = report(["lung left/ANAT-DP", "effusion/OBS-DP", "small/OBS-DA", "small/OBS-DP"])
    known = fitted(ComponentJoin("dummy")(featurize([other]))).abs().sum(dim=1) > 0
    assert known.tolist() == [False, False, False, True, False]
    assert not fitted(featurize([EFFUSION]))[3].any()  # is in no relation
    blank = featurize([NONE])
    blank.x.zero_()
    fitted.store(fitted.keys(blank).sort().values, torch.ones(2, CHANNELS))
    assert not fitted(blank).any()
    assert not RotatedText(CHANNELS)(featurize([EFFUSION])).any()


def test_keys_of_the_longest_texts_do_not_overflow():
    graph = featurize([EFFUSION])
    graph.x.fill_(NUM_BUCKETS - 1)
    key = RotatedText(CHANNELS).keys(graph).tolist()
    factors = RotatedText(CHANNELS).factor.tolist()
    exact = [(NUM_BUCKETS - 1) * sum(factors[:-1]) + label * factors[-1] for label in graph.node_type.tolist()]
    assert key == exact
    assert max(exact) < 2**63 - 1
    assert len(set(factors)) == 33


def test_the_fit_depends_on_its_arguments_alone(few_steps):
    triples = RotatedText(CHANNELS).triples([featurize([EFFUSION, NONE])])
    torch.manual_seed(5)
    first = embeddings(fit_rotate(triples, CHANNELS))
    state = torch.get_rng_state()
    torch.manual_seed(5)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    with torch.no_grad():
        assert torch.equal(embeddings(fit_rotate(triples, CHANNELS)), first)
    assert not torch.equal(embeddings(fit_rotate(triples, CHANNELS, seed=1)), first)
    assert first.square().mean().item() == pytest.approx(1)


def test_embeddings_are_saved_and_never_trained(fitted, tmp_path):
    assert not list(fitted.parameters())
    assert fitted.state_dict().keys() == {"key", "vector"}
    torch.save(fitted.state_dict(), tmp_path / "text.pt")
    loaded = RotatedText(CHANNELS)
    assert not loaded.fitted
    loaded.load_state_dict(torch.load(tmp_path / "text.pt", weights_only=True))
    assert loaded.fitted
    graph = featurize([EFFUSION, NONE])
    assert torch.equal(loaded(graph), fitted(graph))


def encoder(text, **options):
    torch.manual_seed(0)
    model = GraphEncoder(GraphOptions(channels=16, rotate_channels=CHANNELS, **options)).eval()
    model.nodes.text.load_state_dict(text.state_dict())
    return model


def test_entities_of_an_encoder_are_embedding_and_label(fitted):
    model = encoder(fitted)
    known = {tuple(row) for row in torch.cat([fitted.vector, torch.zeros(1, CHANNELS)]).tolist()}
    for row, entity in zip(model.nodes(featurize([EFFUSION])).tolist(), EFFUSION.entities, strict=True):
        assert tuple(row[:CHANNELS]) in known
        assert row[CHANNELS:] == [label == entity.label for label in ENTITY_LABELS]


def test_the_encoder_says_what_is_read():
    for labels, types in ((True, True), (False, True), (True, False)):
        options = GraphOptions(channels=16, rotate_channels=CHANNELS, node_types=labels, relation_types=types)
        text = GraphEncoder(options).nodes.text
        assert (text.labels, text.types) == (labels, types)


def test_a_mean_of_embeddings_is_that_of_a_loop(fitted):
    """The one layer is made to pass on an entity's own features above zero, and nothing of its neighbours."""
    model = encoder(fitted, readout="mean", attention_layers=0, layers=1)
    width = CHANNELS + len(ENTITY_LABELS)
    for weight in model.convs.parameters():
        torch.nn.init.zeros_(weight)
    torch.nn.init.eye_(model.convs[0].root)
    graphs = [EFFUSION, EMPTY, NONE]
    pooled = model(featurize(graphs)).pooled.detach().numpy()
    triples = fitted.triples([featurize([EFFUSION, NONE])])
    vectors = dict(zip(triples.key.tolist(), embeddings(fit_rotate(triples, CHANNELS)).numpy(), strict=True))
    for row, graph in ((0, EFFUSION), (2, NONE)):
        expected = np.zeros(16)
        for key, entity in zip(fitted.keys(featurize([graph])).tolist(), graph.entities, strict=True):
            label = [entity.label == each for each in ENTITY_LABELS]
            features = np.concatenate([vectors.get(key, np.zeros(CHANNELS)), label])
            expected[:width] += np.maximum(features, 0) / len(graph.entities)
        np.testing.assert_allclose(pooled[row], expected, atol=1e-5)


def test_an_encoding_depends_neither_on_batch_mates_nor_on_the_order_of_entities(fitted):
    model = encoder(fitted, readout="mean")
    order = [2, 0, 3, 1]
    place = {old: new for new, old in enumerate(order)}
    shuffled = ReportGraph(
        EFFUSION.text,
        tuple(EFFUSION.entities[old] for old in order),
        tuple(Relation(place[r.head], r.type, place[r.tail]) for r in reversed(EFFUSION.relations)),
    )
    alone = model(featurize([EFFUSION])).pooled[0]
    beside = model(featurize([EMPTY, NONE, shuffled])).pooled
    torch.testing.assert_close(beside[2], alone)
    assert not torch.allclose(beside[1], alone)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rotate_channels": 7}, "model.graph.rotate_channels is 7, not an even number from 0 up"),
        ({"rotate_channels": -2}, "model.graph.rotate_channels is -2, not an even number from 0 up"),
        (
            {"rotate_channels": 8, "node_text_channels": 4},
            "model.graph.rotate_channels and model.graph.node_text_channels both stand for the text of an entity",
        ),
        ({"rotate_channels": 8, "node_texts": False}, "node_texts is false: set model.graph.rotate_channels to 0"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(IgclError, match=message):
        GraphEncoder(GraphOptions(**options))
