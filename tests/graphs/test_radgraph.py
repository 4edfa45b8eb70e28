"""One report in RadGraph's layout. Files of reports: test_radgraph_files.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igcl_lightning.graphs.radgraph import LONG_LABELS, Faults, first_of_each, from_radgraph, to_radgraph
from igcl_lightning.graphs.schema import HEDGES, LABEL_ID, RELATION_TYPES, Entity, Relation, ReportGraph

GRAPH = ReportGraph(
    "no left pleural effusion .",
    (
        Entity("left", "ANAT-DP", 1, 1),
        Entity("pleural", "ANAT-DP", 2, 2),
        Entity("effusion", "OBS-DA", 3, 3),
    ),
    (Relation(0, "modify", 1), Relation(2, "modify", 0), Relation(2, "located_at", 1)),
)
WORDS = st.text(min_size=1, max_size=4).filter(lambda word: word.split() == [word])


@st.composite
def graphs(draw):
    words = draw(st.lists(WORDS, max_size=6))
    entities = []
    for _ in range(draw(st.integers(0, 5)) if words else 0):
        start = draw(st.integers(0, len(words) - 1))
        end = draw(st.integers(start, len(words) - 1))
        label, hedge = draw(st.sampled_from(list(LABEL_ID))), draw(st.sampled_from(HEDGES))
        entities.append(Entity(" ".join(words[start : end + 1]), label, start, end, hedge))
    ends = st.integers(0, max(0, len(entities) - 1))
    relations = st.lists(st.builds(Relation, ends, st.sampled_from(RELATION_TYPES), ends), max_size=8)
    return ReportGraph(" ".join(words), tuple(entities), tuple(draw(relations)) if entities else ())


def entity(tokens, start, end=None, label="OBS-DP", relations=()):
    end = start if end is None else end
    return {"tokens": tokens, "label": label, "start_ix": start, "end_ix": end, "relations": list(relations)}


def record(**changes):
    return {"text": "small effusion", "entities": {"7": entity("effusion", 1) | changes}}


def read(report):
    """Return the graph of a report and the faults it has."""
    faults = Faults()
    return from_radgraph(report, faults), dict(faults.counts)


def test_layout():
    assert to_radgraph(GRAPH) == {
        "text": "no left pleural effusion .",
        "entities": {
            "1": {"tokens": "left", "label": "ANAT-DP", "start_ix": 1, "end_ix": 1, "relations": [["modify", "2"]]},
            "2": {"tokens": "pleural", "label": "ANAT-DP", "start_ix": 2, "end_ix": 2, "relations": []},
            "3": {
                "tokens": "effusion",
                "label": "OBS-DA",
                "start_ix": 3,
                "end_ix": 3,
                "relations": [["modify", "1"], ["located_at", "2"]],
            },
        },
    }


@pytest.mark.parametrize("graph", [GRAPH, ReportGraph(""), ReportGraph("no entities here")])
def test_round_trip_is_exact(graph):
    assert from_radgraph(json.loads(json.dumps(to_radgraph(graph)))) == graph


@given(graphs(), st.sampled_from(["v1", "xl"]))
def test_round_trip_of_any_graph_is_exact_and_faultless(graph, labels):
    written = json.loads(json.dumps(to_radgraph(graph, labels)), object_pairs_hook=first_of_each)
    assert from_radgraph(written) == graph


def test_keys_of_our_own_are_written_only_where_they_say_something():
    plain = ReportGraph("edema", (Entity("edema", "OBS-U", 0, 0),))
    hedged = ReportGraph("edema", (Entity("edema", "OBS-U", 0, 0, "probable"),))
    assert "hedge" not in to_radgraph(plain)["entities"]["1"]
    assert to_radgraph(hedged)["entities"]["1"]["hedge"] == "probable"
    assert "relation_order" not in to_radgraph(GRAPH)
    backwards = ReportGraph(GRAPH.text, GRAPH.entities, GRAPH.relations[::-1])
    assert to_radgraph(backwards)["relation_order"] == [2, 0, 1]


@pytest.mark.parametrize("order", [[1, 0], [0, 0, 1], ["a", [], 2], None])
def test_an_order_that_is_none_is_not_followed(order):
    assert from_radgraph(to_radgraph(GRAPH) | {"relation_order": order}) == GRAPH


def test_ids_need_not_be_contiguous_and_all_relations_are_kept():
    entities = to_radgraph(GRAPH)["entities"]
    renamed = {"1": "4", "2": "b", "3": "11"}
    for entity in entities.values():
        entity["relations"] = [[kind, renamed[target]] for kind, target in entity["relations"]]

    assert from_radgraph({"text": GRAPH.text, "entities": {renamed[i]: e for i, e in entities.items()}}) == GRAPH


def test_a_relation_of_an_entity_with_itself_is_kept():
    graph, faults = read({"text": "clear", "entities": {"1": entity("clear", 0, relations=[["modify", "1"]])}})
    assert graph.relations == (Relation(0, "modify", 0),)
    assert faults == {"self loop: kept": 1}


def test_a_relation_that_is_stated_twice_is_kept():
    twice = [["modify", "2"], ["modify", "2"]]
    graph, faults = read({"text": "a b", "entities": {"1": entity("a", 0, relations=twice), "2": entity("b", 1)}})
    assert graph.relations == (Relation(0, "modify", 1),) * 2
    assert faults == {"repeated relation: kept": 1}


def test_a_report_without_entities_is_an_empty_graph():
    for none in ({}, [], None):
        assert read({"text": "normal", "entities": none}) == (
            ReportGraph("normal"),
            {"report without entities: kept": 1},
        )


@pytest.mark.parametrize(("name", "label"), LONG_LABELS.items())
def test_long_labels_are_read_and_written(name, label):
    graph = from_radgraph(record(label=name))
    assert graph.entities[0].label == label
    assert to_radgraph(graph, "xl")["entities"]["1"]["label"] == name
    assert to_radgraph(graph)["entities"]["1"]["label"] == label


def test_every_label_has_a_long_name():
    assert set(LONG_LABELS.values()) == set(LABEL_ID)


@pytest.mark.parametrize(
    ("changes", "fault", "span"),
    [
        ({"end_ix": 5}, "span outside the text: repaired", (1, 1)),
        ({"start_ix": -1}, "span outside the text: repaired", (1, 1)),
        ({"start_ix": 1, "end_ix": 0}, "span outside the text: repaired", (1, 1)),
        ({"start_ix": 0, "end_ix": 0}, "tokens elsewhere: repaired", (1, 1)),
        ({"tokens": "Effusion "}, "tokens written otherwise: repaired", (1, 1)),
        ({"tokens": "smalleffusion", "start_ix": 0}, "tokens written otherwise: repaired", (0, 1)),
        ({"tokens": ""}, "no tokens: repaired", (1, 1)),
        ({"tokens": None}, "no tokens: repaired", (1, 1)),
        ({"start_ix": None}, "no span: repaired", (1, 1)),
        ({"label": "Observation::measurement::uncertain"}, "certainty of a measurement: repaired", (1, 1)),
        ({"hedge": "perhaps"}, "unknown hedge: repaired", (1, 1)),
    ],
)
def test_repaired_entity(changes, fault, span):
    graph, faults = read(record(**changes))
    (found,) = graph.entities
    assert (found.start, found.end) == span
    assert found.tokens == " ".join(graph.words[span[0] : span[1] + 1])
    assert found.hedge == ""
    assert faults == {fault: 1}
    with pytest.raises(ValueError, match="^entity '7': "):
        from_radgraph(record(**changes))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"end_ix": 5, "tokens": "edema"}, "span outside the text: dropped"),
        ({"end_ix": 5, "tokens": ""}, "span outside the text: dropped"),
        ({"tokens": "edema"}, "tokens elsewhere: dropped"),
        ({"end_ix": "1", "tokens": "edema"}, "no span: dropped"),
        ({"label": "OBS-X"}, "unknown label: dropped"),
        ({"label": ["OBS-DP"]}, "unknown label: dropped"),
    ],
)
def test_dropped_entity(changes, fault):
    graph, faults = read(record(**changes))
    assert graph == ReportGraph("small effusion")
    assert faults == {fault: 1}
    with pytest.raises(ValueError, match="^entity '7': "):
        from_radgraph(record(**changes))


def test_moved_entities_go_to_the_nearest_words():
    text = "edema . no lung edema . edema"
    for start, found in ((1, 0), (2, 0), (3, 4), (5, 4), (90, 6)):
        graph, _ = read({"text": text, "entities": {"1": entity("edema", start)}})
        assert graph.entities[0].start == found
    lost = entity("edema", 0) | {"start_ix": None}
    assert read({"text": text, "entities": {"1": lost}}) == (ReportGraph(text), {"no span: dropped": 1})


def test_what_is_no_entity_is_dropped():
    report = {"text": "edema", "entities": {"1": entity("edema", 0), "2": "edema"}}
    graph, faults = read(report)
    assert len(graph.entities) == 1
    assert faults == {"not an entity: dropped": 1}


def test_the_later_of_two_entities_with_one_id_is_dropped():
    first, later = (json.dumps(entity(word, start)) for word, start in (("small", 0), ("effusion", 1)))
    text = f'{{"text": "small effusion", "entities": {{"1": {first}, "1": {later}}}}}'
    graph, faults = read(json.loads(text, object_pairs_hook=first_of_each))
    assert [entity.tokens for entity in graph.entities] == ["small"]
    assert faults == {"repeated id: dropped": 1}


@pytest.mark.parametrize(
    ("relations", "fault"),
    [
        ([["modify", "9"]], "target missing: dropped"),
        ([["near", "2"]], "unknown relation: dropped"),
        ([[["modify"], "2"]], "unknown relation: dropped"),
        (["modify"], "not a relation: dropped"),
        ({"modify": "2"}, "not a relation: dropped"),
        ([["modify", "3"]], "relation of a dropped entity: dropped"),
    ],
)
def test_dropped_relation(relations, fault):
    kept = [["located_at", "2"]] if isinstance(relations, list) else []
    entities = {
        "1": entity("a", 0) | {"relations": [*relations, *kept] if kept else relations},
        "2": entity("b", 1),
        "3": entity("c", 2, label="?"),
    }
    graph, faults = read({"text": "a b c", "entities": entities})
    assert graph.relations == ((Relation(0, "located_at", 1),) if kept else ())
    assert faults == {fault: 1, "unknown label: dropped": 1}


def test_relations_of_a_dropped_entity_are_dropped():
    entities = {"1": entity("a", 0, label="?", relations=[["modify", "2"]]), "2": entity("b", 1)}
    graph, faults = read({"text": "a b", "entities": entities})
    assert (len(graph.entities), graph.relations) == (1, ())
    assert faults["relation of a dropped entity: dropped"] == 1


@pytest.mark.parametrize("number", [2, "2"])
def test_a_target_may_be_a_number(number):
    entities = {"1": entity("a", 0, relations=[["modify", number]]), "2": entity("b", 1)}
    assert from_radgraph({"text": "a b", "entities": entities}).relations == (Relation(0, "modify", 1),)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"entities": {}}, "record: no 'text'"),
        ({"text": None, "entities": {}}, "record: 'text' is a NoneType"),
        ({"text": "a"}, "record: no 'entities'"),
        ({"text": "a", "entities": [1]}, "record: 'entities' is a list"),
    ],
)
def test_what_is_no_report_raises_in_any_case(bad, message):
    for faults in (None, Faults()):
        with pytest.raises(ValueError, match=message):
            from_radgraph(bad, faults)


@given(
    st.recursive(
        st.none() | st.integers(-3, 3) | st.sampled_from(["a", "1", "modify", "OBS-DP"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["tokens", "label", "start_ix", "end_ix", "relations"]), inner)
        ),
        max_leaves=12,
    )
)
def test_no_content_of_an_entity_breaks_the_reader(anything):
    graph, faults = read({"text": "a b a", "entities": {"1": anything, "2": entity("a", 0) | {"relations": anything}}})
    assert len(graph.entities) <= 2
    assert sum(faults.values()) >= 0


def test_reading_needs_neither_torch_nor_spacy():
    modules = ("radgraph", "radgraph_files", "graph_index")
    code = f"import sys, {', '.join(f'igcl_lightning.graphs.{name}' for name in modules)}\n"
    code += "assert not {'torch', 'spacy', 'pandas', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.data
@pytest.mark.skipif("IGCL_DATA" not in os.environ, reason="IGCL_DATA does not name the data folder")
def test_published_examples():
    cases = json.loads((Path(os.environ["IGCL_DATA"]) / "radgraph/examples.json").read_text())["cases"]
    for case in cases:
        graph = from_radgraph(case["output"]["0"])
        ids = list(case["output"]["0"]["entities"])
        assert len(graph.entities) == case["expected_graph"]["n_nodes"]
        assert [[ids[r.head], r.type, ids[r.tail]] for r in graph.relations] == case["expected_graph"]["edges"]
