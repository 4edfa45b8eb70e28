import json
import os
from pathlib import Path

import pytest

from igcl_lightning.graphs.radgraph import to_radgraph
from igcl_lightning.graphs.radgraph_files import read_radgraph, write_radgraph
from igcl_lightning.graphs.schema import Entity, Relation, ReportGraph

GRAPH = ReportGraph(
    "mild edema .", (Entity("mild", "OBS-DP", 0, 0), Entity("edema", "OBS-DP", 1, 1)), (Relation(0, "modify", 1),)
)
OTHER = ReportGraph("edema ?", (Entity("edema", "OBS-U", 0, 0, "possible"),))
RECORD, OTHER_RECORD = to_radgraph(GRAPH), to_radgraph(OTHER)
XL_RECORD = to_radgraph(GRAPH, "xl")
SENTENCES = {
    "dataset": "invented",
    "doc_key": 0,
    "sentences": [["CLEAR", "LUNGS", "."], ["3", "cm", "nodule", "."]],
    "ner": [
        [[1, 1, "Anatomy::definitely present"], [0, 0, "Observation::definitely present"]],
        [[3, 4, "Observation::measurement::definitely present"], [5, 5, "Observation::definitely present"]],
    ],
    "relations": [[[0, 0, 1, 1, "located_at"]], [[3, 4, 5, 5, "modify"]]],
}
SENTENCES_GRAPH = ReportGraph(
    "CLEAR LUNGS . 3 cm nodule .",
    (
        Entity("LUNGS", "ANAT-DP", 1, 1),
        Entity("CLEAR", "OBS-DP", 0, 0),
        Entity("3 cm", "OBS-M", 3, 4),
        Entity("nodule", "OBS-DP", 5, 5),
    ),
    (Relation(1, "located_at", 0), Relation(2, "modify", 3)),
)


def flat(record):
    return record | {name: [item for sentence in record[name] for item in sentence] for name in ("ner", "relations")}


def lines(*records):
    return "".join(json.dumps(record) + "\n" for record in records)


def read(tmp_path, content, name="graphs.json", **options):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_radgraph(path, **options)


@pytest.mark.parametrize(
    ("content", "layout", "graphs", "positional"),
    [
        (
            {"p1/s1.txt": RECORD, "p1/s2.txt": OTHER_RECORD},
            "JSON by report",
            {"p1/s1.txt": GRAPH, "p1/s2.txt": OTHER},
            False,
        ),
        ({"p1/s1.txt": XL_RECORD}, "JSON by report", {"p1/s1.txt": GRAPH}, False),
        (
            {"0": XL_RECORD | {"data_source": None, "data_split": "inference"}, "1": OTHER_RECORD},
            "JSON by report",
            {"0": GRAPH, "1": OTHER},
            True,
        ),
        ([{"0": XL_RECORD}, {"0": OTHER_RECORD}], "JSON list of package results", {"0": GRAPH, "1": OTHER}, True),
        ({"patient1/study1": {"0": RECORD}}, "JSON by report of package results", {"patient1/study1": GRAPH}, False),
        ([{"path_to_image": "a.jpg", **RECORD}, OTHER_RECORD], "JSON list", {"a.jpg": GRAPH, "1": OTHER}, False),
        (lines({"id": 7, **RECORD}, {"id": "b", **OTHER_RECORD}), "JSON lines", {"7": GRAPH, "b": OTHER}, False),
        (lines({"id": "a", **RECORD}), "JSON of one report", {"a": GRAPH}, False),
        (json.dumps(RECORD, indent=1), "JSON of one report", {"0": GRAPH}, True),
        (
            lines(SENTENCES, {**SENTENCES, "doc_key": 1}),
            "JSON lines of sentences",
            {"invented/0": SENTENCES_GRAPH, "invented/1": SENTENCES_GRAPH},
            False,
        ),
        (lines(flat(SENTENCES)), "JSON of one report of sentences", {"invented/0": SENTENCES_GRAPH}, False),
        (json.dumps({"a": RECORD}, indent=2), "JSON by report", {"a": GRAPH}, False),
        ({}, "empty", {}, False),
        ([], "empty", {}, False),
        ("\n", "empty", {}, False),
    ],
)
def test_layouts_are_known_by_their_content(tmp_path, content, layout, graphs, positional):
    file = read(tmp_path, content, strict=True)
    assert (file.name, file.layout, file.positional) == ("graphs.json", layout, positional)
    assert file.graphs == graphs
    assert not file.counts


def test_one_of_two_labelers_is_chosen(tmp_path):
    report = {
        "text": GRAPH.text,
        "labeler_1": {"entities": RECORD["entities"]},
        "labeler_2": {"entities": {}},
        "data_split": "test",
    }
    first = read(tmp_path, {"a": report})
    assert (first.layout, first.graphs["a"]) == ("JSON by report with labelers", GRAPH)
    assert read(tmp_path, {"a": report}, labeler="labeler_2").graphs["a"] == ReportGraph(GRAPH.text)
    with pytest.raises(ValueError, match="report 'a': no 'labeler_3'; it has 'labeler_1', 'labeler_2'"):
        read(tmp_path, {"a": report}, labeler="labeler_3")
    neither = {"a": RECORD, "b": {"text": "mild edema ."}}
    assert read(tmp_path, neither).counts == {"not a report: dropped": 1}
    with pytest.raises(ValueError, match="report 'b': record: no 'entities'"):
        read(tmp_path, neither, strict=True)


@pytest.mark.parametrize("labels", ["v1", "xl"])
@pytest.mark.parametrize("name", ["graphs.json", "graphs.jsonl"])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_round_trip(tmp_path, name, labels, count):
    names = ("p1/s1.txt", "\u2028 é", "7")[:count]
    graphs = dict(zip(names, (GRAPH, OTHER, SENTENCES_GRAPH), strict=False))
    write_radgraph(graphs, tmp_path / name, labels)
    assert read_radgraph(tmp_path / name, strict=True).graphs == graphs
    assert [path.name for path in tmp_path.iterdir()] == [name]


def bad_record(**changes):
    entity = {"tokens": "effusion", "label": "OBS-DP", "start_ix": 1, "end_ix": 1, "relations": []}
    return {"text": "small effusion", "entities": {"7": entity | changes}}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (bad_record(end_ix=2), "entity '7': span 1..2 lies outside the text of 2 words"),
        (bad_record(start_ix=-1), "entity '7': span -1..1 lies outside the text"),
        (bad_record(start_ix=0), "entity '7': 'effusion' is not at words 0..1"),
        (bad_record(label="OBS-X"), "entity '7': .*unknown label 'OBS-X'"),
        (bad_record(relations=[["modify", "8"]]), "entity '7': modify names entity '8', which does not exist"),
        (bad_record(relations=[["near", "7"]]), "entity '7': unknown relation 'near'"),
        ({"text": "effusion", "entities": {"7": {"tokens": "effusion"}}}, "entity '7': no 'label'"),
        ({"entities": {}}, "record: no 'text'"),
    ],
)
def test_broken_report_is_named(tmp_path, bad, message):
    with pytest.raises(ValueError, match=f"train.json: report 'p1/s2.txt': {message}"):
        read(tmp_path, {"p1/s1.txt": bad_record(), "p1/s2.txt": bad}, "train.json", strict=True)
    assert sum(read(tmp_path, {"p1/s1.txt": bad_record(), "p1/s2.txt": bad}).counts.values()) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "graphs.json: not JSON"),
        ("[" * 100_000, "graphs.json: not JSON"),
        ("{}\n" + "[" * 100_000, "graphs.json"),
        ('{"a": {"text": "", "entities": {}},}', "graphs.json: not JSON"),
        ('{"a": {"text": "", "entities": {}}} {', "graphs.json: not JSON: Extra data"),
        ('{"a": {"text": "", "entities": {}} "b"}', "graphs.json: not JSON: Expecting ',' delimiter"),
        ('{"a" {}}', "graphs.json: not JSON: Expecting ':' delimiter"),
        (lines(RECORD) + "{", "graphs.json line 2: not JSON"),
        ("3", "graphs.json: expected a dictionary or a list of reports, found a int"),
        ('{"a": 1}', "report 'a': expected a dictionary, found a int"),
        ([{"0": RECORD, "1": RECORD}], "report '0': 2 results under one key: '0', '1'"),
        ([RECORD["entities"]], "report '0': 2 results under one key"),
        (lines({**SENTENCES, "sentences": [["two words"]]}), "report 'invented/0': 'sentences' contains a token"),
        (lines({**SENTENCES, "sentences": ["words"]}), "'sentences' contains more than lists"),
        (lines({**SENTENCES, "ner": {"a": 1}}), "'ner' is a dict, not a list"),
    ],
)
def test_broken_file_is_named(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, content)


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / "graphs.json").write_bytes(b"\x89PNG\xff")
    with pytest.raises(ValueError, match="graphs.json: not JSON: no text in UTF-8"):
        read_radgraph(tmp_path / "graphs.json")
    with pytest.raises(FileNotFoundError):
        read_radgraph(tmp_path / "none.json")


def test_faults_of_all_reports_are_counted(tmp_path):
    content = {
        "a": bad_record(relations=[["modify", "8"], ["modify", "7"]]),
        "b": bad_record(start_ix=0, end_ix=0, relations=[["modify", "8"]]),
        "c": 3,
        "d": {"text": "normal", "entities": {}},
    }
    file = read(tmp_path, content)
    assert set(file.graphs) == {"a", "b", "d"}
    assert file.counts == {
        "target missing: dropped": 2,
        "self loop: kept": 1,
        "tokens elsewhere: repaired": 1,
        "not a report: dropped": 1,
        "report without entities: kept": 1,
    }


def test_the_first_of_two_reports_with_one_key_is_kept(tmp_path):
    content = f'{{"a": {json.dumps(RECORD)}, "a": {json.dumps(bad_record(label="?"))}}}'
    file = read(tmp_path, content)
    assert file.graphs == {"a": GRAPH}
    assert file.counts == {"repeated report: dropped": 1}
    with pytest.raises(ValueError, match="report 'a': the key is repeated in the file"):
        read(tmp_path, content, strict=True)


@pytest.mark.parametrize(
    ("field", "item", "fault"),
    [
        ("ner", [0, "x"], "not an entity: dropped"),
        ("ner", [90, 91, "Observation::uncertain"], "span outside the text: dropped"),
        ("ner", [5, 5, "Anatomy::uncertain"], "repeated id: dropped"),
        ("relations", [5, 5, "modify"], "not a relation: dropped"),
        ("relations", [2, 2, 5, 5, "modify"], "head missing: dropped"),
        ("relations", [5, 5, 2, 2, "modify"], "target missing: dropped"),
        ("relations", [5, 5, 1, 1, "near"], "unknown relation: dropped"),
    ],
)
def test_faults_of_sentences(tmp_path, field, item, fault):
    content = lines(SENTENCES | {field: [*SENTENCES[field], [item]]})
    file = read(tmp_path, content)
    assert file.graphs == {"invented/0": SENTENCES_GRAPH}
    assert file.counts == {fault: 1}
    with pytest.raises(ValueError, match="graphs.json: report 'invented/0': "):
        read(tmp_path, content, strict=True)


def test_scores_behind_the_spans_are_passed_over(tmp_path):
    scored = {
        name: [[[*item, 9.1, 0.98] for item in part] for part in SENTENCES[name]] for name in ("ner", "relations")
    }
    assert read(tmp_path, lines(SENTENCES | scored), strict=True).graphs == {"invented/0": SENTENCES_GRAPH}


@pytest.mark.data
@pytest.mark.skipif("IGCL_DATA" not in os.environ, reason="IGCL_DATA does not name the data folder")
def test_published_outputs_are_read_and_written_back(tmp_path):
    cases = json.loads((Path(os.environ["IGCL_DATA"]) / "radgraph/examples.json").read_text())["cases"]
    for case, labels in zip(cases, ("v1", "xl"), strict=True):
        file = read(tmp_path, case["output"], strict=True)
        (graph,) = file.graphs.values()
        assert (len(graph.entities), len(graph.relations)) == tuple(
            case["expected_graph"][count] for count in ("n_nodes", "n_edges")
        )
        assert (file.positional, dict(file.counts)) == (True, {})
        plain = {key: case["output"]["0"][key] for key in ("text", "entities")}
        assert to_radgraph(graph, labels) == plain
