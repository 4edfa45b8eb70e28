import pytest

from igcl_lightning.graphs import language
from igcl_lightning.graphs.language import is_english
from igcl_lightning.graphs.lexicon import load_lexicon
from igcl_lightning.graphs.parser import SpacyReportParser


@pytest.mark.parametrize(
    "text",
    [
        "Kein Pneumothorax.",
        "Herz und Mediastinum unauff\u00e4llig.",
        "Pas de pneumothorax.",
        "Opacit\u00e9 basale gauche.",
        "Absence de foyer. Cardiom\u00e9galie.",
        "Modesto edema polmonare.",
        "Sin derrame pleural.",
        "Sem derrame pleural.",
        "Non versamento pleurico.",
        "Geen pneumothorax.",
        "\u5fc3\u5f71\u589e\u5927",
        "\u0421\u0435\u0440\u0434\u0446\u0435 \u0443\u0432\u0435\u043b\u0438\u0447\u0435\u043d\u043e.",
    ],
)
def test_other_languages_are_recognised_and_kept_out_of_the_graph(text):
    assert not is_english(text)
    assert not PARSER.parse(text).entities
    assert PARSER.parse(text).text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No pneumothorax.",
        "Cardiomegaly",
        "LA enlargement.",
        "Effusion: Y, w/o edema",
        "Non-calcified nodule en face, read by Dr. M\u00fcller.",
        "The lung of the patient Les Van Hart is clear.",
    ],
)
def test_english_and_what_is_too_short_to_tell_are_english(text):
    assert is_english(text)


def test_another_language_is_parsed_if_asked_for():
    graph = SpacyReportParser(any_language=True).parse("Kein Pneumothorax.")
    assert [entity.tokens for entity in graph.entities] == ["Pneumothorax"]


def test_no_word_of_the_word_lists_is_foreign():
    assert not {word for term in load_lexicon().terms for word in term} & language._ELSEWHERE
    assert not language._ENGLISH & language._ELSEWHERE


PARSER = SpacyReportParser()
