"""Counterfactuals are exact: a valid graph, one edit, something else stated, and the graph again when applied twice."""

import csv
import os
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igcl_lightning.data.sources.phantom import phantom_study
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.counterfactuals import KINDS, TRAINABLE, Edit, check_kinds, edits
from igcl_lightning.graphs.identity import graph_key
from igcl_lightning.graphs.parser import SpacyReportParser
from igcl_lightning.graphs.schema import Entity, Relation, ReportGraph
from igcl_lightning.graphs.sides import exchange_sides

PARSER = SpacyReportParser()


@cache
def phantoms():
    return [phantom_study(index, size=64).graph for index in range(60)]


@cache
def open_i():
    if "IGCL_DATA" not in os.environ:
        pytest.skip("IGCL_DATA does not name the data folder")
    with (Path(os.environ["IGCL_DATA"]) / "openi/indiana_reports.csv").open() as file:
        rows = list(csv.DictReader(file))[::25]
    return [PARSER.parse("\n\n".join(filter(None, (row["findings"], row["impression"])))) for row in rows]


def twins(text, kind):
    """The texts of all twins of a kind of a report."""
    graph = PARSER.parse(text)
    return [edit.graph(graph).text for edit in edits(graph, kind)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reports", [phantoms, open_i])
def test_an_edit_gives_a_valid_graph_that_states_something_else_and_can_be_undone(reports, kind):
    edited = 0
    for graph in reports():
        for edit in edits(graph, kind)[:3]:
            twin = edit.graph(graph)  # `ReportGraph` checks the words of each entity against the text
            edited += 1
            assert graph_key(twin) != graph_key(graph)
            assert twin.relations == graph.relations
            assert [(e.start, e.end, e.hedge) for e in twin.entities] == [
                (e.start, e.end, e.hedge) for e in graph.entities
            ]
            assert len(twin.words) == len(graph.words)
            assert twin.text == edit.text(graph.text)
            assert graph in [back.graph(twin) for back in edits(twin, kind)]
    assert edited > 10


@pytest.mark.parametrize("reports", [phantoms, open_i])
def test_side_twins_have_the_words_of_the_exchanged_text_everywhere(reports):
    for graph in reports():
        for edit in edits(graph, "side"):
            assert edit.text(graph.text) == exchange_sides(graph.text) != graph.text


SIDE_WORDS = ("left", "Right", "LEFT", "lEFT", "LLL", "rul", "Lt", "levoscoliosis", "Dextro", "rightward", "left-sided")
OTHER_WORDS = (
    "the",
    "and",
    ",",
    "-",
    "sided",
    "handed",
    "lung",
    "upper",
    "lobe",
    "middle",
    "L",
    "2",
    "after",
    "scoliosis",
)
PLACES = ("atrium", "ventricular", "aortic", "quadrant", "lateral", "view", "in", "was", "heart", "failure")


@given(st.lists(st.sampled_from(SIDE_WORDS + OTHER_WORDS + PLACES)))
def test_exchanging_sides_twice_gives_the_text(words):
    text = " ".join(words)
    exchanged = exchange_sides(text)
    if exchanged is not None:
        assert exchange_sides(exchanged) == text
        assert len(exchanged.split(" ")) == len(text.split(" "))


@pytest.mark.parametrize(
    ("text", "exchanged"),
    [
        ("Left effusion , RIGHT - sided opacity", "Right effusion , LEFT - sided opacity"),
        ("LLL and rul opacity , Rt base", "RLL and lul opacity , Lt base"),
        ("Levoscoliosis , dextro curvature", "Dextroscoliosis , levo curvature"),
        ("leftward shift , rightmost", "rightward shift , leftmost"),
        ("right - to - left shift", "left - to - right shift"),
        ("obscured right heart border", "obscured left heart border"),
        ("on the right after drainage", "on the left after drainage"),
        ("there is a right XXXX", "there is a left XXXX"),  # outside of any entity
        ("both lungs , bilateral , bright", "both lungs , bilateral , bright"),
        # what is no side, or what exists on one side only
        ("removed right after surgery", "removed right after surgery"),
        ("patient left the room , right handed", "patient left the room , right handed"),
        ("PA and left lateral views , left lateral decubitus", "PA and left lateral views , left lateral decubitus"),
        ("PA and left lateral", "PA and left lateral"),
        ("tip in the right atrium and right ventricle", "tip in the right atrium and right ventricle"),
        ("right and left atrial enlargement", "right and left atrial enlargement"),
        ("right - sided aortic arch", "right - sided aortic arch"),
        ("right upper quadrant clips", "right upper quadrant clips"),
        ("right heart failure", "right heart failure"),
        ("right mass beside the right atrium", "left mass beside the right atrium"),
        # devices that are put in on a preferred side stay, drains move with what they drain
        ("Left effusion . A right internal jugular catheter .", "Right effusion . A right internal jugular catheter ."),
        (
            "A left chest wall pacemaker , left effusion . Left mass",
            "A left chest wall pacemaker , left effusion . Right mass",
        ),
        ("Left PICC line . Right lung clear .", "Left PICC line . Left lung clear ."),
        ("a right - sided central venous line", "a right - sided central venous line"),
        ("left pigtail catheter , left pleural line", "right pigtail catheter , right pleural line"),
        ("Left chest tube . Left pneumothorax .", "Right chest tube . Right pneumothorax ."),
        # what has no counterpart
        ("right middle lobe opacity , left effusion", None),
        ("right middle and lower lobes", None),
        ("RML opacity on the right", None),
        ("lingular opacity on the left", None),
        ("R > L effusions on the left", None),
        ("left lung , after RT", None),
        ("left lung , 2 L of oxygen , r/o pneumonia", "right lung , 2 L of oxygen , r/o pneumonia"),
        ("lingula is clear", "lingula is clear"),  # no side, no edit
    ],
)
def test_sides_in_words(text, exchanged):
    assert exchange_sides(text) == exchanged


def test_a_report_that_is_its_own_mirror_image_has_no_side_twin():
    assert twins("Left effusion. Right effusion.", "side") == []
    assert twins("Left pleural effusion. Right pneumothorax.", "side") == [
        "Right pleural effusion . Left pneumothorax ."
    ]
    # The side is in no entity: the graph states the same.
    graph = ReportGraph("left mass", (Entity("mass", "OBS-DP", 1, 1),))
    assert edits(graph, "side") == ()


def test_places_move_on_one_side_and_all_mentions_of_it():
    text = "Left upper lobe nodule. Right lower lobe opacity. LUL nodule. Nodule at the left apex."
    assert twins(text, "place") == [
        "Left lower lobe nodule . Right lower lobe opacity . LLL nodule . Nodule at the left base .",
        "Left upper lobe nodule . Right upper lobe opacity . LUL nodule . Nodule at the left apex .",
    ]
    assert twins("RUL nodule. Rll opacity. Nodule at the right base.", "place") == [
        "RLL nodule . Rul opacity . Nodule at the right apex ."
    ]
    assert (
        twins("Lower thoracic spine fracture. Upper abdomen normal. Cardiac apex. Superior vena cava.", "place") == []
    )


def test_findings_exchange_places_in_all_mentions():
    text = "Left lung nodule. Right effusion. Small Effusion. No pneumothorax."
    assert twins(text, "places") == ["Left lung effusion . Right nodule . Small Nodule . No pneumothorax ."]
    assert twins("Small effusion and mass.", "places") == ["Small mass and effusion ."]
    assert twins("No effusion. Left nodule.", "places") == []


def test_a_finding_is_called_by_a_name_that_the_report_does_not_mention():
    texts = twins("Left effusions. Small effusion. No pneumothorax or mass.", "finding")
    assert "Left nodules . Small nodule . No pneumothorax or mass ." in texts
    assert not any("pneumothoraces" in text or "Left masses" in text for text in texts)
    assert twins("No effusion.", "finding") == []


def test_a_statement_is_denied_with_its_modifiers_and_nothing_else():
    graph = ReportGraph(
        "no large mass , possible nodule",
        (Entity("large", "OBS-DA", 1, 1), Entity("mass", "OBS-DA", 2, 2), Entity("nodule", "OBS-U", 5, 5, "possible")),
        (Relation(0, "modify", 1),),
    )
    assert edits(graph, "assertion") == (Edit(labels=((0, "OBS-DP"), (1, "OBS-DP"))),)
    # The same statement twice, affirmed and denied already: turning one mention changes nothing that is stated.
    again = ReportGraph(
        "a a a", tuple(Entity("a", f"OBS-{said}", at, at) for at, said in enumerate(("DA", "DA", "DP")))
    )
    assert [edit.labels for edit in edits(again, "assertion")] == [((2, "OBS-DA"),)]


@pytest.mark.parametrize("kind", KINDS)
def test_graphs_without_words_have_no_twins(kind):
    assert edits(ReportGraph(""), kind) == ()
    assert edits(ReportGraph("nothing"), kind) == ()


def test_kinds_are_checked():
    check_kinds([])
    check_kinds(TRAINABLE, ["image", "graph", "report"])
    check_kinds(KINDS, ["image", "graph"], training=False)
    with pytest.raises(
        IgclError, match="model.counterfactual.kinds 'sides' is not one of side, .*, did you mean side?"
    ):
        check_kinds(["sides"], training=False)
    with pytest.raises(IgclError, match="model.counterfactual.kinds 'assertion' is for evaluation only"):
        check_kinds(["side", "assertion"])
    with pytest.raises(IgclError, match="model.counterfactual.kinds 'place' cannot be written into a report's text"):
        check_kinds(["place"], ["image", "report"], training=False)
