import json
import os
import pickle
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentences import SENTENCES

from igcl_lightning.data.sources.phantom import phantom_study
from igcl_lightning.graphs.lexicon import load_lexicon
from igcl_lightning.graphs.parser import ReportGraphParser, SpacyReportParser
from igcl_lightning.graphs.plain_text import plain_text
from igcl_lightning.graphs.radgraph import from_radgraph, to_radgraph
from igcl_lightning.graphs.schema import Entity, Relation, ReportGraph
from igcl_lightning.graphs.statements import statements

PARSER = SpacyReportParser()
SIGNS = {
    "ANAT-DP": "A",
    "OBS-DP": "+",
    "OBS-U": "?",
    "OBS-DA": "-",
    "modify": ">",
    "located_at": "@",
    "suggestive_of": "~",
}


def draw(graph: ReportGraph) -> str:
    """Write a graph in the notation of `SENTENCES`."""
    words = graph.words
    for number in reversed(range(len(graph.entities))):
        entity = graph.entities[number]
        ties = [f" {SIGNS[r.type]}{graph.entities[r.tail].tokens}" for r in graph.relations if r.head == number]
        words[entity.start : entity.end + 1] = [f"[{entity.tokens}:{SIGNS[entity.label]}{''.join(sorted(ties))}]"]
    return " ".join(words)


@pytest.mark.parametrize("expected", SENTENCES.values(), ids=SENTENCES.keys())
def test_sentence_gives_its_graph(expected):
    text = re.sub(r"\[([^:\]]+):[^\]]+\]", r"\1", expected)

    assert draw(PARSER.parse(text)) == expected


def test_prose_gives_the_same_graph_as_words_apart():
    assert PARSER.parse("No effusion, no edema.") == PARSER.parse("No effusion , no edema .")


def test_sentences_do_not_reach_into_each_other():
    graph = PARSER.parse("No effusion. Small nodule.\n\nEdema in Dr. X clinic.The heart is enlarged.")

    assert [(e.tokens, e.label) for e in graph.entities] == [
        ("effusion", "OBS-DA"),
        ("Small", "OBS-DP"),
        ("nodule", "OBS-DP"),
        ("Edema", "OBS-DP"),
        ("heart", "ANAT-DP"),
        ("enlarged", "OBS-DP"),
    ]
    assert [(r.head, r.type, r.tail) for r in graph.relations] == [(1, "modify", 2), (5, "located_at", 4)]


def test_line_breaks_are_no_sentence_ends():
    assert PARSER.parse("No effusion,\nedema or\npneumothorax.") == PARSER.parse("No effusion, edema or pneumothorax.")


@pytest.mark.parametrize("text", ["", "   ", "\n\t\n"])
def test_blank_text_gives_the_empty_graph(text):
    assert PARSER.parse(text) == ReportGraph("")


def test_a_numbered_line_begins_a_sentence():
    numbered = PARSER.parse("IMPRESSION:\n1. No effusion\n2. Small nodule\n- Edema")

    assert [(e.tokens, e.label) for e in numbered.entities if e.label != "ANAT-DP"] == [
        ("effusion", "OBS-DA"),
        ("Small", "OBS-DP"),
        ("nodule", "OBS-DP"),
        ("Edema", "OBS-DP"),
    ]


@pytest.mark.parametrize(
    ("text", "hedge"),
    [
        ("Edema.", ""),
        ("No edema.", ""),
        ("Probable edema.", "probable"),
        ("Edema is likely.", "probable"),
        ("Edema is strongly suspected.", "probable"),
        ("Opacity likely represents edema.", "probable"),
        ("Haziness, likely edema.", "probable"),
        ("Edema versus pneumonia.", "probable"),
        ("Possible edema.", "possible"),
        ("Edema cannot be excluded.", "possible"),
        ("Opacity may represent edema.", "possible"),
        ("In the appropriate clinical setting, this is compatible with edema.", "possible"),
        ("Differential includes pneumonia and edema.", "possible"),
        ("Evaluation for edema is limited.", "possible"),
        ("Edema is unlikely.", "unlikely"),
        ("Opacity is unlikely to represent edema.", "unlikely"),
        ("Probable but possibly resolving edema.", "possible"),
    ],
)
def test_the_strength_of_a_doubt_is_kept_beside_the_label(text, hedge):
    graph = PARSER.parse(text)
    edema = next(entity for entity in graph.entities if entity.name == "edema")

    assert edema.hedge == hedge
    assert (edema.label == "OBS-U") == bool(hedge)


def test_a_modifier_shares_the_doubt_of_what_it_modifies():
    graph = PARSER.parse("Probable mild edema in the left lung.")

    assert [(e.tokens, e.hedge) for e in graph.entities] == [
        ("mild", "probable"),
        ("edema", "probable"),
        ("left", ""),
        ("lung", ""),
    ]


def test_parse_many_equals_parse():
    texts = ["No effusion.", "", "Small left effusion."]

    assert list(PARSER.parse_many(iter(texts))) == [PARSER.parse(text) for text in texts]


def test_the_tokenizer_is_made_anew_before_it_remembers_too_many_words(monkeypatch):
    monkeypatch.setattr("igcl_lightning.graphs.parser.KNOWN_WORDS", 1000)
    parser = SpacyReportParser()
    first = parser._tokenizer
    graphs = [parser.parse(f"Small effusion at site{number}x.") for number in range(500)]

    assert parser._tokenizer is not first
    assert len(parser._tokenizer.vocab) <= 1010
    assert {tuple(entity.tokens for entity in graph.entities) for graph in graphs} == {("Small", "effusion")}


def test_parser_travels_to_worker_processes():
    parser: ReportGraphParser = pickle.loads(pickle.dumps(PARSER))

    assert parser.version == PARSER.version
    assert parser.parse("Mild edema.") == PARSER.parse("Mild edema.")


def test_version_names_rules_and_lexicon():
    assert re.fullmatch(r"spacy-rules-\d+-[0-9a-f]{12}", PARSER.version)
    assert load_lexicon().version in PARSER.version


def test_module_imports_neither_torch_nor_spacy():
    script = "import sys, igcl_lightning.graphs.parser; sys.exit(len({'torch', 'spacy'} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0


TERMS = load_lexicon().terms
KNOWN_WORDS = sorted({word for term in TERMS for word in term})


def terms_of(*kinds):
    return st.sampled_from(sorted(" ".join(term) for term, entry in TERMS.items() if entry.kind in kinds))


def noun_phrases():
    modifiers = st.lists(terms_of("severity", "size", "texture", "extent"), max_size=2)
    anatomy = st.lists(terms_of("adjective"), max_size=2)
    return st.tuples(modifiers, anatomy, terms_of("finding", "device")).map(lambda p: " ".join([*p[0], *p[1], p[2]]))


@settings(max_examples=200, deadline=None)
@given(st.text() | st.lists(st.sampled_from([*KNOWN_WORDS, "XXXX", "\n\n", "3.5", "it"]), max_size=30).map(" ".join))
def test_any_text_parses_and_spans_lie_in_it(text):
    graph = PARSER.parse(text)

    assert "".join(graph.words) == "".join(plain_text(text).split())
    for entity in graph.entities:
        assert " ".join(graph.words[entity.start : entity.end + 1]) == entity.tokens
    assert list(graph.relations) == sorted(graph.relations, key=lambda r: r.head)
    assert all(r.head != r.tail for r in graph.relations)
    assert all(graph.entities[r.tail].label == "ANAT-DP" for r in graph.relations if r.type == "located_at")
    assert graph == checked(graph)


def checked(graph):
    """Build a graph with all checks of the schema, which the parser leaves out."""
    entities = tuple(Entity(e.tokens, e.label, e.start, e.end, e.hedge) for e in graph.entities)
    return ReportGraph(graph.text, entities, tuple(Relation(r.head, r.type, r.tail) for r in graph.relations))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(sorted(each for each in SENTENCES.values() if each[-1] in ".!?")), min_size=1, max_size=4
    ).map(" ".join)
)
def test_sentences_mean_the_same_side_by_side(marked):
    text = re.sub(r"\[([^:\]]+):[^\]]+\]", r"\1", marked)

    assert draw(PARSER.parse(text)) == marked


def test_text_that_no_encoding_holds_parses():
    assert PARSER.parse("effusion \ud800").text == "effusion ?"


@settings(max_examples=200, deadline=None)
@given(st.lists(noun_phrases(), min_size=1, max_size=3))
def test_no_evidence_of_leaves_no_definite_positive(phrases):
    graph = PARSER.parse(f"No evidence of {', '.join(phrases[:-1])}{' or ' * (len(phrases) > 1)}{phrases[-1]}.")

    assert graph.entities
    assert {entity.label for entity in graph.entities} <= {"OBS-DA", "ANAT-DP"}


@pytest.mark.data
@pytest.mark.skipif("IGCL_DATA" not in os.environ, reason="IGCL_DATA does not name the data folder")
def test_parser_finds_the_entities_of_the_published_examples():
    cases = json.loads((Path(os.environ["IGCL_DATA"]) / "radgraph/examples.json").read_text())["cases"]
    for case in cases:
        expected = from_radgraph(case["output"]["0"])
        graph = PARSER.parse(case["input"])
        spans = {(e.start, e.end, e.label) for e in graph.entities}
        assert spans == {(e.start, e.end, e.label) for e in expected.entities}
        named = {
            (expected.entities[r.head].tokens, r.type, expected.entities[r.tail].tokens) for r in expected.relations
        }
        assert named <= {
            (graph.entities[r.head].tokens, r.type, graph.entities[r.tail].tokens) for r in graph.relations
        }


def test_phantom_reports_give_their_exact_graphs():
    studies = [phantom_study(index, size=64, phrasing="known") for index in range(60)]
    graphs = [PARSER.parse(" ".join(filter(None, (s.report["findings"], s.report["impression"])))) for s in studies]

    assert sum(graph == study.graph for graph, study in zip(graphs, studies, strict=True)) >= 57


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Large right and small left effusions.", [{"effusion", "large", "right"}, {"effusion", "small", "left"}]),
        (
            "A tiny left and a moderate right pneumothorax.",
            [{"pneumothorax", "tiny", "left"}, {"pneumothorax", "moderate", "right"}],
        ),
        (
            "Mild right and severe left pleural thickening.",
            [{"thickening", "mild", "right", "pleura"}, {"thickening", "severe", "left", "pleura"}],
        ),
        (
            "No effusion on the left, but a small one on the right.",
            [{"effusion", "left"}, {"effusion", "small", "right"}],
        ),
        ("Large right and left effusions.", [{"effusion", "large", "right", "left"}]),
    ],
)
def test_each_side_has_its_own_size(text, said):
    graph = PARSER.parse(text)
    assert [each.name | each.modifiers | each.places for each in statements(graph)] == said
    assert [entity.start for entity in graph.entities] == sorted(entity.start for entity in graph.entities)
    assert from_radgraph(to_radgraph(graph)) == graph == checked(graph)


def test_a_text_without_full_stops_is_read_in_pieces():
    text = "small effusion , no edema and " * 500
    graph = SpacyReportParser().parse(text)
    assert graph.text == text.strip()
    assert Counter(entity.tokens for entity in graph.entities) == {"small": 500, "effusion": 500, "edema": 500}
