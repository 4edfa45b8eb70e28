import json
import os

import pandas as pd
import pytest

from igcl_lightning.data.metadata import view_name
from igcl_lightning.data.prepare import prepare
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.sources.table import TableColumns, read_table
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.radgraph import to_radgraph
from igcl_lightning.graphs.radgraph_files import write_radgraph
from igcl_lightning.graphs.schema import Entity, ReportGraph
from source_trees import write_image

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
    return list(read_table(path, wanted, **options).items())


def test_rows_become_studies(table, tmp_path):
    first, second, third = read(table)
    assert [study.patient_id for study in (first, second, third)] == ["7", "7", "8"]
    assert first.images[0].source == tmp_path / "a.png"
    assert first.report == {"report": "Small effusion, left"}
    assert second.report == third.report == {"report": ""}
    assert first.labels == {"Edema": 1.0, "Mass": None}
    assert second.labels == {"Edema": 0.0, "Mass": None}
    assert [study.images[0].view for study in (first, second, third)] == ["PA", "AP", "lateral"]
    assert (first.age, second.age) == (61.0, None)


@pytest.mark.parametrize(("policy", "value"), [("ignore", None), ("positive", 1.0), ("negative", 0.0)])
def test_uncertain_labels_follow_the_policy(table, policy, value):
    assert read(table, uncertain=policy)[1].labels["Mass"] == value


def test_splits_are_read_and_renamed(table, capsys):
    assert [study.split for study in read(table, split_values={"test": "valid"})] == ["train", "train", "valid"]
    assert not capsys.readouterr().err
    read(table, split_values={"tset": "valid"})
    assert "table.csv: --split-values: 'tset' is nowhere in column 'fold'" in capsys.readouterr().err


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


def test_ages_have_one_rule_and_those_of_nobody_are_counted(tmp_path):
    (tmp_path / "t.csv").write_text("file,years\na,058Y\nb,300\nc,-5\nd,\ne,old\nf,0\n")
    source = read_table(tmp_path / "t.csv", TableColumns(image="file", age="years"))
    assert [study.age for study in source.items()] == [58.0, None, None, None, None, 0.0]
    assert source.counts == {"implausible ages": 3}


def test_a_study_of_two_patients_is_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("file,study,person\na.png,s1,p1\nb.png,s2,p2\nc.png,s1,p2\n")
    with pytest.raises(IgclError, match="t.csv row 4: study 's1' has patient 'p2', but 'p1' in row 2"):
        read_table(path, TableColumns(image="file", study="study", patient="person"))
    path.write_text("file,study,person\na.png,s1,p1\nb.png,s1,p1\n")
    assert [study.study_id for study in read(path, columns=TableColumns("file", "person", "study"))] == ["s1", "s1"]


def test_without_patients_each_study_is_a_person(table):
    study = read(table, columns=TableColumns(image="file"))[0]
    assert (study.study_id, study.patient_id, study.split) == ("a.png", "a.png", None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"report": "text"}, "table.csv: no column 'text'; it has 'file'"),
        ({"labels": ["projection"]}, "table.csv row 2, column 'projection': 'PA' is not 1, 0, -1 or blank"),
        ({"labels": ["years"]}, "table.csv row 2, column 'years': '61' is not 1, 0, -1 or blank"),
        ({"age": "projection"}, "table.csv row 2, column 'projection': 'PA' is not an age such as 58 or 058Y"),
        ({"image": "person", "patient": None}, "table.csv row 3: column 'person': '7' is in row 2 already"),
        ({"patient": "note"}, "table.csv row 3: column 'note' is empty"),
        ({"split": "Edema"}, "table.csv row 4: column 'Edema' is empty"),
        (
            {"split": "projection"},
            "table.csv row 2: split 'PA' is not one of train, valid, test; rename it with --split-values",
        ),
        ({"labels": ["Edma"]}, "table.csv: no column 'Edma'; it has"),
        ({"image": "years"}, "table.csv row 3: column 'years' is empty"),
    ],
)
def test_bad_cells_and_columns_are_named(table, change, message):
    with pytest.raises(IgclError) as error:
        read(table, columns=TableColumns(**FIELDS | change))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_or_broken_table_is_named(tmp_path):
    with pytest.raises(IgclError, match=r"gone.csv: no such file$"):
        read(tmp_path / "gone.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(IgclError, match=f"emty.csv: no such file, did you mean {tmp_path}/empty.csv?"):
        read(tmp_path / "emty.csv")
    with pytest.raises(IgclError, match="empty.csv: not a CSV file"):
        read(tmp_path / "empty.csv")
    (tmp_path / "empty.csv").write_text("file\n")
    with pytest.raises(IgclError, match="empty.csv: has no rows"):
        read(tmp_path / "empty.csv", columns=TableColumns("file"))


@pytest.mark.parametrize(
    ("word", "view"),
    [
        *(("AP Supine", "AP"), ("RL", "lateral"), ("?", "unknown"), (None, "unknown"), ("P.A.", "PA"), ("a.p", "AP")),
        *(
            ("PA (erect)", "PA"),
            ("Lat.", "lateral"),
            ("lateral view", "lateral"),
            ("PA/AP", "frontal"),
            ("CHEST AP", "AP"),
        ),
    ],
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
    columns = columns or TableColumns(image="file", study="study", report="note")
    source = read_table(tmp_path / "table.csv", columns, graphs=tmp_path / "graphs.json")
    assert source.inputs == [tmp_path / "table.csv", tmp_path / "graphs.json"]
    return [study.graph for study in source.items()], source.settings["graphs"]


def test_graphs_are_found_by_study_then_image_then_text(tmp_path):
    graphs = {"p10/p10000001/s50000001.txt": EDEMA, "p10/p10000001/s50000002.txt": MASS, "other": MASS}
    found, described = read_graphs(tmp_path, graphs)
    assert found == [EDEMA, MASS, MASS, None]
    assert described == {
        "file": "graphs.json",
        "layout": "JSON by report",
        "graphs": 3,
        "ambiguous_studies": 0,
        "faults": {},
        "rows": {"found_by_key": 2, "found_by_text": 1, "not_found": 1},
    }


def test_the_graph_of_the_study_comes_before_that_of_the_image(tmp_path):
    assert read_graphs(tmp_path, {"7": MASS, "c.jpg": EDEMA})[0][2] == MASS


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
    ("content", "message"), [("[", "--graphs: graphs.json: not JSON"), ("{}", "graphs.json: contains no graphs")]
)
def test_a_broken_file_of_graphs_is_named(table, tmp_path, content, message):
    with pytest.raises(IgclError, match=r"graphs.json: no such file"):
        read(table, graphs=tmp_path / "graphs.json")
    (tmp_path / "graphs.json").write_text(content)
    with pytest.raises(IgclError, match=message):
        read(table, graphs=tmp_path / "graphs.json")


def test_a_patient_in_two_splits_is_named(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("fold,file,person\ntrain,a.png,1\ntest,b.png,2\ntest,c.png,1\n")
    with pytest.raises(IgclError, match="row 4: patient '1' has split 'test', but 'train' in row 2"):
        read(path, columns=TableColumns(image="file", patient="person", split="fold"))


def test_columns_may_stand_in_any_order(table):
    expected = read(table)
    frame = pd.read_csv(table, dtype=str, skipinitialspace=True)
    frame[frame.columns[::-1]].to_csv(table, index=False)
    for study, same in zip(read(table), expected, strict=True):
        assert (study.study_id, study.report, study.labels, study.split) == (
            same.study_id,
            same.report,
            same.labels,
            same.split,
        )


@pytest.mark.parametrize(
    ("blank", "values"),
    [("missing", [None, None]), ("negative", [0.0, 0.0]), ("no-finding", [0.0, None])],
)
def test_blank_labels_follow_the_policy(tmp_path, blank, values):
    path = tmp_path / "table.csv"
    path.write_text("file,No Finding,Mass\na.png,1,\nb.png,0,\n")
    source = read_table(path, TableColumns(image="file", labels=["No Finding", "Mass"]), blank=blank)
    assert [study.labels["Mass"] for study in source.items()] == values
    assert source.settings["blank"] == blank


def test_labels_may_have_policies_of_their_own(table):
    assert read(table, uncertain="Mass=positive")[1].labels["Mass"] == 1.0
    with pytest.raises(IgclError, match="--uncertain: no label 'Fracture'; there are Edema, Mass"):
        read(table, uncertain="Fracture=positive")


def test_a_source_says_what_it_was_read_from(table):
    source = read_table(table, TableColumns(**FIELDS, extra=("note",)), seed=3)
    assert (source.name, source.labels, source.extra, source.total) == ("table", ("Edema", "Mass"), ("note",), 3)
    assert source.inputs == [table]
    assert source.settings["columns"]["patient"] == "person"
    assert source.settings["validation_seed"] == 3
    assert [study.study_id for study in source.items()] == [study.study_id for study in source.items()]


def test_masks_are_files_of_named_columns(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("file,lungs\na.png,masks/a.png\nb.png,\n")
    source = read_table(path, TableColumns(image="file", masks=["lungs"]), root=tmp_path / "images")
    first, second = source.items()
    assert source.masks
    assert first.images[0].masks == {"lungs": tmp_path / "images" / "masks" / "a.png"}
    assert second.images[0].masks == {}


LINES = """\
{"file": "a.png", "person": 7, "note": "Small effusion,\\nleft", "Edema": 1, "years": 61.5}

{"person": "7", "file": "b.png", "note": null, "Edema": false, "Mass": -1, "boxes": [1, 2]}
{"person": 8, "file": "c.png", "Mass": 1.0, "note": ""}
"""
JSON_FIELDS = {"image": "file", "patient": "person", "report": "note", "labels": ["Edema", "Mass"], "age": "years"}


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "table.jsonl"
    path.write_text(LINES)
    return path


def test_json_lines_are_read_as_a_table(lines):
    first, second, third = read(lines, columns=TableColumns(**JSON_FIELDS))
    assert [study.patient_id for study in (first, second, third)] == ["7", "7", "8"]
    assert (first.report, second.report, third.report) == ({"report": "Small effusion,\nleft"}, *[{"report": ""}] * 2)
    assert first.labels == {"Edema": 1.0, "Mass": None}
    assert second.labels == {"Edema": 0.0, "Mass": None}
    assert third.labels == {"Edema": None, "Mass": 1.0}
    assert (first.age, third.age) == (61.5, None)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('null, "Edema"', 'null "Edema"', "table.jsonl line 3: not JSON: Expecting"),
        ('{"person": 8, "file": "c.png", "Mass": 1.0, "note": ""}', "[8]", "table.jsonl line 4: not a JSON object"),
        ("null", "[1]", "table.jsonl line 3: key 'note': a list or an object instead of a text or a number"),
        ('"Mass"', '"Nodule"', "table.jsonl: no line has the key 'Mass'; there are 'Edema', 'Nodule', 'boxes'"),
        ("1.0", "2", "table.jsonl row 4, column 'Mass': '2' is not 1, 0, -1 or blank"),
        ("61.5", '"old"', "table.jsonl row 1, column 'years': 'old' is not an age such as 58 or 058Y"),
        ("c.png", "b.png", "table.jsonl row 4: column 'file': 'b.png' is in row 3 already"),
        ('"person": 8, ', "", "table.jsonl row 4: column 'person' is empty"),
    ],
)
def test_a_wrong_line_is_named(lines, old, new, message):
    lines.write_text(LINES.replace(old, new))
    with pytest.raises(IgclError) as error:
        read(lines, columns=TableColumns(**JSON_FIELDS))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_json_lines_are_named(tmp_path):
    with pytest.raises(IgclError, match=r"gone.jsonl: no such file"):
        read(tmp_path / "gone.jsonl", columns=TableColumns(**JSON_FIELDS))


@pytest.mark.parametrize("name", ["table.csv", "table.jsonl"])
def test_a_store_is_prepared(tmp_path, name):
    (tmp_path / "table.csv").write_text("file,person,note\na.png,1,Edema.\nb.png,2,\nc.png,3,Mass.\n")
    rows = (("a.png", 1, "Edema."), ("b.png", 2, None), ("c.png", 3, "Mass."))
    (tmp_path / "table.jsonl").write_text(
        "\n".join(json.dumps(dict(zip(("file", "person", "note"), row, strict=True))) for row in rows)
    )
    for image in ("a", "b"):
        write_image(tmp_path / f"{image}.png")
    source = read_table(tmp_path / name, TableColumns(image="file", patient="person", report="note"))
    manifest = prepare(source, tmp_path / "store", options=Options(size=32))
    assert sum(manifest["rows"].values()) == 2
    assert manifest["dropped"] == {"image missing": 1}


def test_a_pointer_in_place_of_a_report_is_left_to_prepare(tmp_path):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7"
    (tmp_path / "table.jsonl").write_text(json.dumps({"file": "a.png", "note": pointer}))
    write_image(tmp_path / "a.png")
    source = read_table(tmp_path / "table.jsonl", TableColumns(image="file", report="note"))
    assert next(iter(source.items())).report == {"report": pointer}
    manifest = prepare(source, tmp_path / "store", options=Options(size=32), allow_no_graphs=True)
    assert manifest["rows_by_report"] == {"Git-LFS pointer": 1}


def write_table(tmp_path, *lines):
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_an_id_read_as_a_number_is_one_patient(tmp_path, capsys):
    lines = [f"{row}.png,{100 + row // 2}{'.0' if row % 2 else ''},{row // 2}.0" for row in range(120)]
    path = write_table(tmp_path, "file,person,study", *lines)
    studies = read(path, columns=TableColumns(image="file", patient="person", study="study"))
    assert [study.patient_id for study in studies] == [str(100 + row // 2) for row in range(120)]
    assert [study.study_id for study in studies] == [str(row // 2) for row in range(120)]
    assert "rows.csv: column 'person': '100.0' is read as '100', and 59 more so" in capsys.readouterr().err
    write_table(tmp_path, "file,person", "a,6", "b,0006", "c,06", "d,7", "e,007", "f,x6", "g,6")
    read(path, columns=TableColumns(image="file", patient="person"))
    said = "column 'person': '6' and '0006' and '06' stay different ids, and 2 more so; mend the table if they are one"
    assert said in capsys.readouterr().err
    write_table(tmp_path, "file,person,fold", "a.png,7,train", "b.png,7.0,test")
    with pytest.raises(IgclError, match="row 3: patient '7' has split 'test', but 'train' in row 2"):
        read(path, columns=TableColumns(image="file", patient="person", split="fold"))


@pytest.mark.parametrize("word", ["", "NA", "N/A", "null", "None", "nan", "-", "#N/A"])
def test_a_word_for_nothing_is_no_patient_no_study_and_no_report(tmp_path, word):
    path = write_table(tmp_path, "file,person,study,note", f"a.png,1,{word},{word}", f"b.png,{word},{word},x")
    with pytest.raises(IgclError, match="rows.csv row 3: column 'person' is empty, or NA or -; fill it in or leave"):
        read(path, columns=TableColumns(image="file", patient="person"))
    first, second = read(path, columns=TableColumns(image="file", study="study", report="note"))
    assert (first.study_id, second.study_id) == ("a.png", "b.png")
    assert first.report == {"report": "-" if word == "-" else ""}


def test_an_id_that_lost_its_digits_is_refused(tmp_path):
    path = write_table(tmp_path, "file,person", "a.png,123456789012", "b.png,1.23457E+11")
    with pytest.raises(IgclError, match="row 3, column 'person': '1.23457E.11' has lost digits of an id"):
        read(path, columns=TableColumns(image="file", patient="person"))


def test_graphs_are_found_under_ids_read_as_numbers(tmp_path):
    (tmp_path / "table.csv").write_text("file,study\na.png,7.0\nb.png,8\n")
    write_radgraph({"7": MASS, "8.0": EDEMA}, tmp_path / "graphs.json")
    source = read_table(
        tmp_path / "table.csv", TableColumns(image="file", study="study"), graphs=tmp_path / "graphs.json"
    )
    assert [study.graph for study in source.items()] == [MASS, EDEMA]


@pytest.mark.parametrize(
    ("names", "wrong"),
    [
        (("./a.png", "x//b.png", "x\\c.png", ".\\d.png"), None),
        (("a.png", "./a.png"), "row 3: column 'file': 'a.png' is in row 2 already"),
        (("x\\a.png", "x/a.png"), "row 3: column 'file': 'x/a.png' is in row 2 already"),
        (("b.png", "x/../b.png"), "row 3: column 'file': 'x/../b.png' is the file of row 2"),
        (("b.png", "{root}/b.png"), "b.png' is the file of row 2"),
        (("x/e", "x/e.png"), "row 3: column 'file': 'x/e.png' is the file of row 2"),
        (("b.png", "x/f"), "row 3: 'f' could be f.jpg or f.png; name images with their suffix"),
    ],
)
def test_one_file_has_one_name(tmp_path, capsys, names, wrong):
    (tmp_path / "x").mkdir()
    for name in ("x/e.png", "x/f.jpg", "x/f.png"):
        (tmp_path / name).touch()
    path = write_table(tmp_path, "file", *(name.format(root=tmp_path) for name in names))
    if wrong is None:
        assert [study.images[0].image_id for study in read(path, columns=TableColumns("file"))] == [
            "a.png",
            "x/b.png",
            "x/c.png",
            "d.png",
        ]
        assert "column 'file': backslashes are read as slashes between folders" in capsys.readouterr().err
    else:
        with pytest.raises(IgclError) as error:
            read(path, columns=TableColumns("file"))
        assert wrong in str(error.value)


def test_links_to_one_picture_are_counted(tmp_path):
    (tmp_path / "store").mkdir()
    for name in ("store/1.png", "d.png"):
        (tmp_path / name).touch()
    for name in ("a.png", "b.png"):  # as DataLad and DVC link what is equal
        (tmp_path / name).symlink_to("store/1.png")
    (tmp_path / "linked").symlink_to("store")
    (tmp_path / "loop.png").symlink_to("loop.png")
    names = ("a.png", "b.png", "d.png", "gone.png", "linked/1.png", "loop.png")
    source = read_table(write_table(tmp_path, "file", *names), TableColumns("file"))
    assert source.counts == {"images that are links to an earlier one": 2}
    assert source.total == 6


def test_names_without_suffix_are_those_of_the_images(tmp_path):
    for name in ("a.PNG", "a.txt", "1.2.840.1", "1.2.840.2.dcm", "c", "7.png"):
        (tmp_path / name).touch()
    path = write_table(tmp_path, "file", "a", "1.2.840.1", "1.2.840.2", "c", "gone", "7.0")
    source = read_table(path, TableColumns("file"))
    found = [study.images[0].source.name for study in source.items()]
    assert found == ["a.PNG", "1.2.840.1", "1.2.840.2.dcm", "c", "gone", "7.png"]
    assert source.counts == {"images named without suffix": 3}
    assert next(iter(source.items())).images[0].image_id == "a"


def test_labels_may_be_words(tmp_path, capsys):
    words = {"True": 1, "FALSE": 0, "yes": 1, "No": 0, "Positive": 1, "negative": 0, "1,0": 1, "-1": None, "1.0": 1}
    words |= {"NA": None, "unknown": None, "Uncertain": None}
    path = write_table(tmp_path, "file;Edema", *(f"{row}.png;{word}" for row, word in enumerate(words)))
    columns = TableColumns(image="file", labels=["Edema"])
    assert [study.labels["Edema"] for study in read(path, columns=columns)] == list(words.values())
    said = (
        "labels: True, yes, Positive, 1,0 read as 1; FALSE, No, negative read as 0; unknown read as unknown; Uncertain"
    )
    assert said in capsys.readouterr().err
    negative = read(path, columns=columns, blank="negative", uncertain="positive")
    assert [study.labels["Edema"] for study in negative[-3:]] == [0, None, 1]
    write_table(tmp_path, "file,Edema", "a.png,mild")
    with pytest.raises(IgclError, match="'mild' is not 1, 0, -1 or blank, nor a word such as yes; .*--label-separator"):
        read(path, columns=columns)


def test_one_column_may_list_the_labels(tmp_path):
    path = write_table(
        tmp_path, "file,found", "a.png,Edema|Mass", "b.png,No Finding", "c.png,", 'd.png,"mass | Effusion, left"'
    )
    columns = TableColumns(image="file", labels=["found"])
    source = read_table(path, columns, label_separator="|", uncertain="Mass=positive")
    assert source.labels == ("Edema", "Effusion, left", "Mass", "No Finding")
    values = [tuple(study.labels.values()) for study in source.items()]
    assert values == [(1, 0, 1, 0), (0, 0, 0, 1), (None,) * 4, (0, 1, 1, 0)]
    assert source.settings["label_separator"] == "|"
    assert set(read(path, columns=columns, label_separator="|", blank="negative")[2].labels.values()) == {0}
    for options in ({"label_separator": ""}, {"label_separator": "|", "columns": TableColumns("file")}):
        with pytest.raises(IgclError, match="--label-separator: is the text between labels"):
            read(path, **{"columns": columns} | options)
    with pytest.raises(IgclError, match="--uncertain: no label 'Fracture'"):
        read(path, columns=columns, label_separator="|", uncertain="Fracture=positive")
    write_table(tmp_path, "file,found", *(f"{row}.png,Sentence {row}." for row in range(1001)))
    with pytest.raises(IgclError, match="rows.csv: column 'found' lists 1,001 labels"):
        read(path, columns=columns, label_separator="|")


def test_a_report_counts_for_its_study_unless_there_are_several(tmp_path):
    lines = ("a,1,x", "b,1,y", "c,2,x", "d,2,x", "e,3,", "f,3,x", "g,1,", "h,,")
    path = write_table(tmp_path, "file,study,note", *lines)
    source = read_table(path, TableColumns(image="file", study="study", report="note"))
    assert source.counts["studies whose images have several reports"] == 1
    assert source.counts["rows whose blank report is that of their study"] == 1
    assert [study.report["report"] for study in source.items()] == ["x", "y", "x", "x", "x", "x", "", ""]


def test_names_of_files_are_no_reports(tmp_path):
    path = write_table(tmp_path, "file,note", "a,", "b,b.txt")
    assert len(read(path, columns=TableColumns(image="file", report="note"))) == 2
    (tmp_path / "b.txt").write_text("Mass.")
    with pytest.raises(IgclError, match=r"--report-column note: .*rows.csv has names of files there, such as 'b.txt'"):
        read(path, columns=TableColumns(image="file", report="note"))


def test_numbers_of_folds_may_be_read_as_floats(tmp_path):
    path = write_table(tmp_path, "file,fold", "a.png,0.0", "b.png,1", "c.png,val")
    studies = read(path, columns=TableColumns(image="file", split="fold"), split_values={"0": "train", "1": "test"})
    assert [study.split for study in studies] == ["train", "test", "valid"]


def test_decimal_commas_of_ages_are_read(tmp_path):
    path = write_table(tmp_path, "file;years", "a.png;61,5", "b.png;058Y")
    assert [study.age for study in read(path, columns=TableColumns(image="file", age="years"))] == [61.5, 58]


HARD = (
    "table_bool.csv table_latin1.csv table_mixid.csv table_nalabel.csv table_pipe.csv table_semi.csv table_spanish.csv "
    "table_tab.tsv table_utf16.csv table_winrel.csv table_words.csv"
)


@pytest.mark.data
@pytest.mark.parametrize("name", HARD.split())
def test_hard_tables_are_read(data_folder, name):
    columns = TableColumns(image="file", patient="patient", report="text", labels=["Edema"])
    separator = {"label_separator": "|"} if "pipe" in name else {}
    source = read_table(data_folder / "hard_inputs" / name, columns, **separator)
    studies = list(source.items())
    assert {study.patient_id for study in studies} <= {
        f"{first}{number}" for first in ("p", "10") for number in range(10)
    }
    assert len({study.patient_id for study in studies}) == len(studies) / 2
    assert all(len(study.report["report"]) > 40 for study in studies)
    assert {study.labels["Edema"] for study in studies} <= {0, 1, None}
    assert {0, 1} <= {study.labels["Edema"] for study in studies}


@pytest.mark.data
def test_a_hard_table_of_blanks_is_refused(data_folder):
    with pytest.raises(IgclError, match="table_na.csv row 3: column 'patient' is empty, or NA or -; fill it in"):
        read_table(data_folder / "hard_inputs" / "table_na.csv", TableColumns(image="file", patient="patient"))


def test_words_that_mean_nothing_and_a_separator_that_is_nowhere_are_said(tmp_path, capsys):
    (tmp_path / "t.csv").write_text("image,sex,found\na.png,Missing,Edema\nb.png,Hombre,Mass\n")
    columns = TableColumns(image="image", sex="sex", labels=["found"])
    source = read_table(tmp_path / "t.csv", columns, label_separator="|")
    assert [study.sex for study in source.items()] == [None, "M"]
    assert source.counts["rows whose sex is not known, such as 'Missing'"] == 1
    assert "no cell of 'found' has '|', so each cell is one label" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_is_no_table(tmp_path):
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(IgclError, match="t.csv: a pipe or device, which can be read only once; save it as a file"):
        read_table(tmp_path / "t.csv", TableColumns(image="image"))
