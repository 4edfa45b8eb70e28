import json
from pathlib import Path

import pytest

from igcl_lightning.data.sources.graphs import ReportGraphs, joined
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.radgraph import to_radgraph
from igcl_lightning.graphs.radgraph_files import write_radgraph
from igcl_lightning.graphs.schema import Entity, Relation, ReportGraph

EDEMA = ReportGraph("Edema ?", (Entity("Edema", "OBS-U", 0, 0),))
MASS = ReportGraph("Mass .", (Entity("Mass", "OBS-DP", 0, 0),))


@pytest.fixture
def path(tmp_path):
    write_radgraph({"p10/p10000001/s50000001.txt": EDEMA, "other": MASS}, tmp_path / "graphs.json")
    return tmp_path / "graphs.json"


def test_graphs_are_found_by_name_then_by_text(path):
    graphs = ReportGraphs(path)
    assert graphs.find(["50000001"], "mass.") == EDEMA
    assert graphs.find([None, "nobody"], "MASS.") == MASS
    assert graphs.find(["nobody"], "Something else.") is None
    assert graphs.find([]) is None
    assert graphs.described(Path("table.csv")) == {
        "layout": "JSON by report",
        "graphs": 2,
        "ambiguous_studies": 0,
        "faults": {},
        "rows": {"found_by_key": 1, "found_by_text": 1, "not_found": 2},
    }


def test_places_in_a_file_are_no_names_unless_one_says_so(tmp_path):
    (tmp_path / "list.json").write_text(json.dumps([{"0": to_radgraph(EDEMA)}, {"0": to_radgraph(MASS)}]))
    assert ReportGraphs(tmp_path / "list.json").find(["1"]) is None
    assert ReportGraphs(tmp_path / "list.json", by_place=True).find(["1"]) == MASS


def test_a_file_of_other_studies_is_refused(path, tmp_path):
    graphs = ReportGraphs(path)
    graphs.described(tmp_path / "table.csv")
    graphs.find(["nobody"])
    with pytest.raises(
        IgclError, match=r"table.csv: no row finds .* names like 'nobody', keys there are like 'p10/.*'"
    ):
        graphs.described(tmp_path / "table.csv")
    graphs.find(["other"])
    graphs.described(tmp_path / "table.csv")


def test_a_file_of_other_texts_is_refused(path, tmp_path):
    graphs = ReportGraphs(path)
    graphs.find([], "Clear.")
    with pytest.raises(IgclError, match="looked for by the text of the report, .*; look again"):
        graphs.described(tmp_path / "table.csv", "look again")


@pytest.mark.parametrize(
    ("content", "message"), [("[", "--graphs: graphs.json: not JSON"), ("{}", "graphs.json: contains no graphs")]
)
def test_a_broken_file_is_named(tmp_path, content, message):
    with pytest.raises(IgclError, match=r"graphs.json: no such file"):
        ReportGraphs(tmp_path / "graphs.json")
    (tmp_path / "graphs.json").write_text(content)
    with pytest.raises(IgclError, match=message):
        ReportGraphs(tmp_path / "graphs.json")


def test_graphs_of_sections_become_one():
    entities = (Entity("left", "ANAT-DP", 1, 1), Entity("Large mass", "OBS-DP", 2, 3))
    second = ReportGraph(". left Large mass", entities, (Relation(1, "located_at", 0),))
    one = joined([EDEMA, ReportGraph(""), second])
    assert one.text == "Edema ? . left Large mass"
    assert [(entity.tokens, entity.start) for entity in one.entities] == [("Edema", 0), ("left", 3), ("Large mass", 4)]
    assert one.relations == (Relation(2, "located_at", 1),)
    assert joined([MASS]) == MASS
    assert joined([]) == ReportGraph("")
