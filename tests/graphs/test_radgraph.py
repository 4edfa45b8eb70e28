import json
import os
from pathlib import Path

import pytest

from igcl_lightning.graphs.radgraph import from_radgraph, read_radgraph, to_radgraph
from igcl_lightning.graphs.schema import Entity, Relation, ReportGraph

GRAPH = ReportGraph(
    "no left pleural effusion .",
    (
        Entity("left", "ANAT-DP", 1, 1),
        Entity("pleural", "ANAT-DP", 2, 2),
        Entity("effusion", "OBS-DA", 3, 3),
    ),
    (Relation(0, "modify", 1), Relation(2, "modify", 0), Relation(2, "located_at", 1)),
)


def record(**changes):
    entity = {"tokens": "effusion", "label": "OBS-DP", "start_ix": 1, "end_ix": 1, "relations": []}
    return {"text": "small effusion", "entities": {"7": entity | changes}}


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


def test_ids_need_not_be_contiguous_and_all_relations_are_kept():
    entities = to_radgraph(GRAPH)["entities"]
    renamed = {"1": "4", "2": "b", "3": "11"}
    for entity in entities.values():
        entity["relations"] = [[kind, renamed[target]] for kind, target in entity["relations"]]

    assert from_radgraph({"text": GRAPH.text, "entities": {renamed[i]: e for i, e in entities.items()}}) == GRAPH


def test_a_relation_of_an_entity_with_itself_is_kept():
    entity = {"tokens": "clear", "label": "OBS-DP", "start_ix": 0, "end_ix": 0, "relations": [["modify", "1"]]}
    graph = from_radgraph({"text": "clear", "entities": {"1": entity}})
    assert graph.relations == (Relation(0, "modify", 0),)


def test_long_labels_are_read():
    graph = from_radgraph(record(label="Observation::definitely absent"))

    assert graph.entities[0].label == "OBS-DA"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (record(end_ix=2), "entity '7': span 1..2 lies outside the text of 2 words"),
        (record(start_ix=-1), "entity '7': span -1..1 lies outside the text"),
        (record(start_ix=0), "entity '7': 'effusion' does not stand at words 0..1"),
        (record(label="OBS-X"), "entity '7': .*unknown label 'OBS-X'"),
        (record(relations=[["modify", "8"]]), "entity '7': modify names entity '8', which does not exist"),
        (record(relations=[["near", "7"]]), "entity '7': unknown relation 'near'"),
        ({"text": "effusion", "entities": {"7": {"tokens": "effusion"}}}, "entity '7': no 'label'"),
        ({"entities": {}}, "record: no 'text'"),
    ],
)
def test_broken_report_is_named(tmp_path, bad, message):
    path = tmp_path / "train.json"
    path.write_text(json.dumps({"p1/s1.txt": record(), "p1/s2.txt": bad}))

    with pytest.raises(ValueError, match=f"train.json: report 'p1/s2.txt': {message}"):
        read_radgraph(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "graphs.json: not JSON"),
        ("[]", "graphs.json: expected a dictionary"),
        ('{"a": 1}', "report 'a': expected a dic"),
    ],
)
def test_broken_file_is_named(tmp_path, content, message):
    path = tmp_path / "graphs.json"
    path.write_text(content)

    with pytest.raises(ValueError, match=message):
        read_radgraph(path)


def test_file_gives_graphs_by_report(tmp_path):
    path = tmp_path / "graphs.json"
    path.write_text(json.dumps({"a": to_radgraph(GRAPH), "b": {"text": "", "entities": {}, "data_source": None}}))

    assert read_radgraph(path) == {"a": GRAPH, "b": ReportGraph("")}


@pytest.mark.data
@pytest.mark.skipif("IGCL_DATA" not in os.environ, reason="IGCL_DATA does not name the data folder")
def test_published_examples():
    cases = json.loads((Path(os.environ["IGCL_DATA"]) / "radgraph/examples.json").read_text())["cases"]
    for case in cases:
        graph = from_radgraph(case["output"]["0"])
        ids = list(case["output"]["0"]["entities"])
        assert len(graph.entities) == case["expected_graph"]["n_nodes"]
        assert [[ids[r.head], r.type, ids[r.tail]] for r in graph.relations] == case["expected_graph"]["edges"]
