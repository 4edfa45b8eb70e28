import json

import pytest

from igcl_lightning.data.sources.table import TableColumns, TableGraphs, read_table, view_name
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.radgraph import to_radgraph
from igcl_lightning.graphs.radgraph_files import write_radgraph
from igcl_lightning.graphs.schema import Entity, ReportGraph

CSV = """\
file, person ,note,Edema,Mass,fold,projection,years
a.png, 7 ,"Small effusion, left",1,,train,PA,61
b.png,7,,0.0,-1,train,AP Supine,
c.png,8,nan,,1.0,test,LL,40
"""
FIELDS = {
    "image": "file",
    "patient": "person ",
    "report": "note",
    "labels": ["Edema", "Mass"],
    "split": "fold",
    "view": "projection",
    "age": "years",
}


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(CSV)
    return path


def read(path, **options):
    wanted = options.pop("columns", TableColumns(**FIELDS))
    return list(read_table(path, wanted, **options))


def test_rows_become_studies(table, tmp_path):
    first, second, third = read(table)
    assert [study.patient_id for study in (first, second, third)] == ["7", "7", "8"]
    assert first.images[0].source == tmp_path / "a.png"
    assert first.report == {"report": "Small effusion, left"}
    assert second.report == third.report == {}
    assert first.labels == {"Edema": 1.0, "Mass": None}
    assert second.labels == {"Edema": 0.0, "Mass": None}
    assert [study.images[0].view for study in (first, second, third)] == ["PA", "AP", "lateral"]
    assert (first.age, second.age) == (61.0, None)


@pytest.mark.parametrize(("policy", "value"), [("ignore", None), ("positive", 1.0), ("negative", 0.0)])
def test_uncertain_labels_follow_the_policy(table, policy, value):
    assert read(table, uncertain=policy)[1].labels["Mass"] == value


def test_splits_are_read_and_renamed(table):
    assert [study.split for study in read(table, split_values={"test": "valid"})] == ["train", "train", "valid"]


def test_a_table_without_validation_rows_lends_some_training_patients(tmp_path):
    path = tmp_path / "table.csv"
    lines = [f"{number}.png,p{number // 2},{'test' if number >= 380 else 'train'}" for number in range(400)]
    path.write_text("\n".join(["file,person,fold", *lines]))
    studies = read(path, columns=TableColumns(image="file", patient="person", split="fold"))
    splits = {
        split: {study.patient_id for study in studies if study.split == split} for split in ("train", "valid", "test")
    }
    assert 8 <= len(splits["valid"]) <= 35
    assert splits["test"] == {f"p{number}" for number in range(190, 200)}
    assert not splits["train"] & splits["valid"]


def test_without_patients_each_study_is_a_person(table):
    study = read(table, columns=TableColumns(image="file"))[0]
    assert (study.study_id, study.patient_id, study.split) == ("a.png", "a.png", None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"report": "text"}, "table.csv: no column 'text'; it has 'file'"),
        ({"labels": ["projection"]}, "table.csv row 2, column 'projection': 'PA' is not a number"),
        ({"labels": ["years"]}, "table.csv row 2, column 'years': label '61' is not 1, 0, -1 or blank"),
        ({"split": "projection"}, "table.csv row 2: split 'PA' is not one of train, valid, test"),
        ({"image": "years"}, "table.csv row 3: column 'years' is empty"),
    ],
)
def test_bad_cells_and_columns_are_named(table, change, message):
    with pytest.raises(IgclError) as error:
        read(table, columns=TableColumns(**FIELDS | change))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_or_broken_table_is_named(tmp_path):
    with pytest.raises(IgclError, match="gone.csv: no such file"):
        read(tmp_path / "gone.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(IgclError, match="empty.csv: not a CSV file"):
        read(tmp_path / "empty.csv")


@pytest.mark.parametrize(
    ("word", "view"), [("AP Supine", "AP"), ("RL", "lateral"), ("?", "unknown"), (None, "unknown")]
)
def test_views_of_all_sources_have_one_name(word, view):
    assert view_name(word) == view


EDEMA = ReportGraph("Edema ?", (Entity("Edema", "OBS-U", 0, 0),))
MASS = ReportGraph("Mass .", (Entity("Mass", "OBS-DP", 0, 0),))
STUDIES = """\
file,study,key,note
files/p10/p10000001/s50000001/a.jpg,,x,
files/p10/p10000001/s50000002/b.jpg,50000002,y,Edema.
c.jpg,7,,Mass.
d.jpg,8,,Clear.
"""


def read_graphs(tmp_path, graphs, columns=None):
    """Return the graphs that the rows of a table find, and how they were found."""
    (tmp_path / "table.csv").write_text(STUDIES)
    if isinstance(graphs, dict):
        write_radgraph(graphs, tmp_path / "graphs.json")
    else:
        (tmp_path / "graphs.json").write_text(json.dumps(graphs))
    found = TableGraphs(tmp_path / "graphs.json")
    columns = columns or TableColumns(image="file", study="study", report="note")
    studies = read_table(tmp_path / "table.csv", columns, graphs=found)
    return [study.graph for study in studies], found.described()


def test_graphs_are_found_by_study_then_image_then_text(tmp_path):
    graphs = {"p10/p10000001/s50000001.txt": EDEMA, "p10/p10000001/s50000002.txt": MASS, "other": MASS}
    found, described = read_graphs(tmp_path, graphs)
    assert found == [EDEMA, MASS, MASS, None]
    assert described == {
        "layout": "JSON by report",
        "graphs": 3,
        "ambiguous_studies": 0,
        "faults": {},
        "rows": {"found_by_key": 2, "found_by_text": 1, "not_found": 1},
    }


def test_graphs_are_found_by_the_named_column_alone(tmp_path):
    columns = TableColumns(image="file", graph="key")
    found, described = read_graphs(tmp_path, {"x": EDEMA, "c.jpg": MASS}, columns)
    assert found == [EDEMA, None, None, None]
    assert described["rows"] == {"found_by_key": 1, "found_by_text": 0, "not_found": 3}


def test_places_of_reports_are_no_studies_unless_a_column_is_named(tmp_path):
    results = [{"0": to_radgraph(graph)} for graph in (*[EDEMA] * 8, MASS)]
    assert read_graphs(tmp_path, results)[0] == [None, None, MASS, None]
    columns = TableColumns(image="file", graph="study")
    assert read_graphs(tmp_path, results, columns)[0] == [None, None, EDEMA, MASS]


def test_faults_are_counted(tmp_path):
    record = to_radgraph(MASS)
    record["entities"]["1"]["relations"] = [["modify", "9"]]
    _, described = read_graphs(tmp_path, [{"id": "s50000001", **record}])
    assert described["faults"] == {"target missing: dropped": 1}


def test_graphs_that_no_row_finds_are_an_error(tmp_path):
    with pytest.raises(IgclError, match=r"in graphs.json: .*like 'files/.*/a.jpg', keys there are like 'q'"):
        read_graphs(tmp_path, {"q": ReportGraph("nothing")})
    with pytest.raises(IgclError, match="looked for by the text of the report"):
        read_graphs(tmp_path, {"0": ReportGraph("nothing")})
    with pytest.raises(IgclError, match="table.csv: no column 'gone'"):
        read_graphs(tmp_path, {"0": MASS}, TableColumns(image="file", graph="gone"))


@pytest.mark.parametrize(
    ("content", "message"), [("[", "--graphs: graphs.json: not JSON"), ("{}", "graphs.json: holds no graphs")]
)
def test_a_broken_file_of_graphs_is_named(tmp_path, content, message):
    with pytest.raises(IgclError, match=r"graphs.json: no such file"):
        TableGraphs(tmp_path / "graphs.json")
    (tmp_path / "graphs.json").write_text(content)
    with pytest.raises(IgclError, match=message):
        TableGraphs(tmp_path / "graphs.json")
