import json
import sys
import types

import pytest

from igcl_lightning.cli import main
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.radgraph_model import BATCH, MODEL_TYPES, RadGraphModelParser
from igcl_lightning.graphs.schema import Entity, Relation, ReportGraph


class FakeRadGraph:
    """Answers in the package's layout: the first two words, related; nothing for a report that says "fail"."""

    calls: list = []  # noqa: RUF012 - shared by all on purpose

    def __init__(self, model_type=None):
        print("Using device: cpu")  # noqa: T201 - so does the package
        self.long = model_type != "radgraph"

    def __call__(self, texts):
        self.calls.append(len(texts))
        return {str(index): self.record(text) for index, text in enumerate(texts) if "fail" not in text}

    def record(self, text):
        words = text.split()
        labels = ["Observation::definitely present", "Anatomy::definitely present"] if self.long else ["OBS-DP"] * 2
        entities = {
            str(number + 1): {
                "tokens": words[number],
                "label": labels[number],
                "start_ix": number,
                "end_ix": number,
                "relations": [["located_at", "2"]] if number == 0 else [],
            }
            for number in range(2)
        }
        return {"text": " ".join(words), "entities": entities, "data_source": None, "data_split": "inference"}


@pytest.fixture
def package(monkeypatch):
    module = types.ModuleType("radgraph")
    module.RadGraph = FakeRadGraph
    monkeypatch.setitem(sys.modules, "radgraph", module)
    monkeypatch.setattr(FakeRadGraph, "calls", [])
    return module


def expected(first, second, rest, labels):
    return ReportGraph(
        f"{first} {second}{rest}",
        (Entity(first, labels[0], 0, 0), Entity(second, labels[1], 1, 1)),
        (Relation(0, "located_at", 1),),
    )


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_graph_of_the_model(package, model_type, capsys):
    parser = RadGraphModelParser(model_type)
    labels = ("OBS-DP", "OBS-DP") if model_type == "radgraph" else ("OBS-DP", "ANAT-DP")
    assert parser.parse("Opacity  lung\nlower .") == expected("Opacity", "lung", " lower .", labels)
    assert parser.version.startswith("radgraph")
    assert parser.version.endswith(f"-{model_type}")
    assert capsys.readouterr().out == ""


def test_many_reports_go_in_batches_and_blank_ones_do_not_go(package):
    texts = ["", *(f"w{number} lung" for number in range(BATCH)), " \n", "last lung"]
    graphs = list(RadGraphModelParser().parse_many(iter(texts)))
    assert [graph.text for graph in graphs] == [text.strip() for text in texts]
    assert package.RadGraph.calls == [BATCH - 1, 2]
    assert list(RadGraphModelParser().parse_many([" "])) == [ReportGraph("")]


def test_a_report_without_graph_is_named(package):
    with pytest.raises(IgclError, match="--parser radgraph: no graph for the report that begins 'fail here'"):
        RadGraphModelParser("radgraph").parse("fail here")


def test_missing_package_and_unknown_model_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "radgraph", None)
    with pytest.raises(IgclError, match=r"--parser radgraph-xl: needs the package radgraph .*\[radgraph\]") as error:
        RadGraphModelParser("radgraph-xl")
    assert "\n" not in str(error.value)
    with pytest.raises(IgclError, match="--parser radgraph-xxl: unknown model, expected one of radgraph"):
        RadGraphModelParser("radgraph-xxl")


def test_missing_weights_are_named(package, monkeypatch):
    def fail(self, model_type):
        raise Exception("Cannot download the file")  # so does the package

    monkeypatch.setattr(package.RadGraph, "__init__", fail)
    with pytest.raises(
        IgclError, match="weights are missing or cannot be read .Cannot download the file.; .*RRG_scorers"
    ):
        RadGraphModelParser()


def test_command(package, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.jsonl").write_text('{"id": "a", "text": "Opacity lung"}\n{"id": "b", "text": ""}\n')
    assert main(["graphs", "r.jsonl", "--out", "g.jsonl", "--parser", "radgraph-xl"]) is None
    records = [json.loads(line) for line in (tmp_path / "g.jsonl").read_text().splitlines()]
    assert [list(record["entities"]) for record in records] == [["1", "2"], []]
    assert capsys.readouterr().out.startswith("2 reports -> g.jsonl\nnext  igcl prepare table --csv STUDIES.csv ")
    assert main(["graphs", "r.jsonl", "--out", "g.jsonl", "--parser", "radgraph", "--jobs", "2"]) == 2
    assert "graphs: --jobs: --parser radgraph runs in one process" in capsys.readouterr().err
