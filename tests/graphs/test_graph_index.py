import pytest

from igcl_lightning.graphs.graph_index import GraphIndex, study_key
from igcl_lightning.graphs.schema import Entity, ReportGraph


def graph(word):
    return ReportGraph(f"{word} .", (Entity(word, "OBS-DP", 0, 0),))


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("p18/p18004941/s58821758.txt", "s58821758"),
        ("files/p18/p18004941/s58821758.txt", "s58821758"),
        ("/data/files/p18/p18004941/s58821758/0aa-1bb.jpg", "s58821758"),
        ("C:\\data\\p18\\p18004941\\s58821758\\0aa.jpg", "s58821758"),
        ("s58821758", "s58821758"),
        (" 58821758 ", "s58821758"),
        ("CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg", "patient00001/study1"),
        ("train/patient00001/study12/view1_frontal.jpg", "patient00001/study12"),
        ("patient00001/study1", "patient00001/study1"),
        ("patient00001/study1.txt", "patient00001/study1"),
        ("patient64541_study1_view1_frontal", "patient64541/study1"),
        ("./reports\\17.txt", "reports/17"),
        ("1.2.840.113", "1.2.840.113"),
        ("CXR10", "CXR10"),
        ("588217580", "588217580"),
    ],
)
def test_names_of_a_study(name, key):
    assert study_key(name) == key


@pytest.mark.parametrize("stored", ["p18/p18004941/s58821758.txt", "s58821758", "58821758"])
def test_a_study_is_found_by_any_of_its_names(stored):
    index = GraphIndex({stored: graph("edema"), "p18/p18004941/s50000000.txt": graph("mass")})
    for name in ("p18/p18004941/s58821758.txt", "files/p18/p18004941/s58821758/x.jpg", "s58821758", "58821758"):
        assert index.find(name) == graph("edema")
    assert index.find("s58821759") is None


def test_the_key_itself_comes_first_and_an_ambiguous_study_has_no_graph():
    one, two = "train/patient00001/study1/findings", "train/patient00001/study1/impression"
    index = GraphIndex({one: graph("edema"), two: graph("mass"), "patient00002/study1": graph("edema")})
    assert index.find(one) == graph("edema")
    assert index.find(two) == graph("mass")
    assert index.find("patient00001/study1") is None
    assert index.ambiguous == 1


def test_equal_graphs_of_one_study_are_no_ambiguity():
    names = [f"train/patient00001/study1/view{view}_frontal.jpg" for view in (1, 2, 3)]
    index = GraphIndex(dict.fromkeys(names, graph("edema")))
    assert index.find("patient00001/study1") == graph("edema")
    assert index.ambiguous == 0


def test_three_graphs_of_one_study_stay_ambiguous():
    words = ("edema", "mass", "edema")
    index = GraphIndex({f"s12345678/{place}": graph(word) for place, word in enumerate(words)})
    assert index.find("s12345678") is None


def test_a_report_is_found_by_its_text_however_its_words_are_parted():
    apart = ReportGraph("no edema , ( or mass ) .")
    index = GraphIndex({"0": apart, "1": graph("mass"), "2": ReportGraph("mass ."), "3": ReportGraph("")})
    assert index.find_text("No edema,\n(or mass).") == apart
    assert index.find_text("Mass.") is None
    assert index.find_text("Effusion.") is None
    assert index.find_text(" ") is None
