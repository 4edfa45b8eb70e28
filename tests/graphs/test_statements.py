import pytest

from igcl_lightning.graphs.parser import SpacyReportParser
from igcl_lightning.graphs.schema import Entity, Relation, ReportGraph
from igcl_lightning.graphs.statements import statements

PARSER = SpacyReportParser()


def only(text):
    """Return the one statement of a text."""
    (statement,) = statements(PARSER.parse(text))
    return statement


def test_a_statement_gathers_modifiers_and_places_of_its_observation():
    statement = only("Small hazy opacity in the left lower lobe.")
    assert statement.name == {"opacity"}
    assert statement.label == "OBS-DP"
    assert statement.modifiers == {"small", "hazy"}
    assert statement.places == {"left", "lower", "lobe"}
    assert statement.conclusions == frozenset()
    assert str(statement) == "OBS-DP|opacity|hazy small|left lobe lower|"


def test_the_kind_is_that_of_the_words_not_of_their_meanings():
    statement = only("Dextroscoliosis.")
    assert statement.name == {"right", "scoliosis"}
    assert statement.kind == "finding"


def test_a_place_has_the_side_of_what_it_is_part_of():
    assert only("Consolidation at the apex of the left lung.").places == {"apex", "left", "lung"}


def test_a_place_has_no_other_part_of_the_whole():
    first, second = statements(PARSER.parse("Nodule in the right apex. Opacity in the left base."))
    assert (first.places, second.places) == ({"right", "apex"}, {"left", "base"})


def test_a_conclusion_without_a_place_is_where_its_premise_is():
    opacity, atelectasis = statements(PARSER.parse("Opacity at the left base, likely atelectasis."))
    assert opacity.conclusions == {"atelectasis"}
    assert atelectasis.places == opacity.places == {"left", "base"}
    assert (atelectasis.label, atelectasis.hedge) == ("OBS-U", "probable")


def test_modifiers_of_modifiers_count_and_are_no_statements():
    assert only("The heart is mildly enlarged.").modifiers == {"mild"}


def test_relations_of_an_entity_with_itself_and_in_circles_end():
    entities = tuple(Entity(word, "OBS-DP", index, index) for index, word in enumerate(("a", "b", "c")))
    circle = (Relation(0, "modify", 0), Relation(1, "modify", 2), Relation(2, "modify", 1))
    (statement,) = statements(ReportGraph("a b c", entities, circle))
    assert statement.name == {"a"}


@pytest.mark.parametrize("graph", [ReportGraph(""), ReportGraph("lung", (Entity("lung", "ANAT-DP", 0, 0),))])
def test_anatomy_alone_states_nothing(graph):
    assert statements(graph) == []
