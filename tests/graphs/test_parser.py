import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igcl_lightning.graphs.lexicon import load_lexicon
from igcl_lightning.graphs.parser import ReportGraphParser, SpacyReportParser
from igcl_lightning.graphs.radgraph import from_radgraph
from igcl_lightning.graphs.schema import ReportGraph

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

# Each sentence stands with its graph: [words:label relations]. Labels: A anatomy, + present, ? uncertain, - absent.
# Relations, sorted: >x modify, @x located_at, ~x suggestive_of. What stands outside the brackets is no entity.
SENTENCES = {
    # Inside a phrase
    "a finding alone": "[Cardiomegaly:+] .",
    "modifiers": "[Small:+ >nodule] [calcified:+ >nodule] [nodule:+] .",
    "a side without anatomy": "There is a [left:A] [pneumothorax:+ @left] .",
    "anatomy before": "[Small:+ >effusion] [right:A >pleural] [pleural:A] [effusion:+ @pleural] .",
    "side and zone of an anatomy": "[Right:A >lobe] [upper:A >lobe] [lobe:A] [consolidation:+ @lobe] .",
    "adjective after the noun": "[Lower:A >lobe] [lobe:A] [airspace:A] [opacity:+ @airspace @lobe] .",
    "abbreviated lobe": "[RLL:A] [atelectasis:+ @RLL] .",
    "modifiers around anatomy": "[Large:+ >mass] [left:A >hilar] [hilar:A] [spiculated:+ >mass] [mass:+ @hilar] .",
    "modifiers in a list": "[Patchy:+ >opacities] and [linear:+ >opacities] [opacities:+] .",
    "side, then modifier": "[Bilateral:A] , [hazy:+ >opacities] [opacities:+ @Bilateral] .",
    "adjectives in a list": "[Hilar:A] and [mediastinal:A] [adenopathy:+ @Hilar @mediastinal] .",
    "volume as modifier": "[Volume:+ >loss] [loss:+ @lung] in the [left:A >lung] [lung:A] .",
    "amount of": "A [moderate:+ >fluid] amount of [left:A >pleural] [pleural:A] [fluid:+ @pleural] .",
    "hyphens": "[Left:A] - sided [effusion:+ @Left] with [ground - glass:+ >opacity] [opacity:+] .",
    "British spelling": "[Mild:+ >oedema] [interstitial:A] [oedema:+ @interstitial] and [haemothorax:+] .",
    "upper case": "[LARGE:+ >EFFUSION] [RIGHT:A] [EFFUSION:+ @RIGHT] .",
    "generic after a finding": "[Emphysema:+ >changes] [changes:+] .",
    "part with its device": "[PICC:+] with its [tip:+ >PICC @SVC] in the [SVC:A] .",
    "worsening as modifier": "[Worsening:+ >edema] [pulmonary:A] [edema:+ @pulmonary] .",
    "part of a device": "[PICC line:+] [tip:+ >PICC line @SVC] in the [SVC:A] .",
    "missing words": "[Opacity:+ @base] [left:A >base] [base:A] .",
    # Places
    "place after": "[Opacity:+ @zone] in the [left:A >zone] [mid:A >zone] [zone:A] .",
    "seen in a place": "A [nodule:+ @lobe] is seen within the [right:A >lobe] [middle:A >lobe] [lobe:A] .",
    "both sides of a finding": "[Pleural:A] [effusion:+ @Pleural @right] on the [right:A] .",
    "places in a list": "[Opacities:+ @apex @base] at the [left:A >base] [base:A] and the [right:A >apex] [apex:A] .",
    "coordinated zones": "[Opacity:+ @lobes] in the [upper:A >lobes] and [lower:A >lobes] [lobes:A] .",
    "place of a place": "[Consolidation:+ @apex] in the [apex:A >lung] of the [left:A >lung] [lung:A] .",
    "place first": "In the [left:A >lung] [lung:A] there is a [mass:+ @lung] .",
    "tube and its place": "[Endotracheal tube:+ @carina] above the [carina:A] .",
    "silhouetting": "[Opacity:+ @border] obscuring the [right:A >border] [heart:A >border] [border:A] .",
    # States of an anatomy
    "predicate": "The [heart:A] is [mildly:+ >enlarged] [enlarged:+ @heart] .",
    "state before": "[Clear:+ @lungs] [lungs:A] .",
    "state after": "[Lungs:A] [clear:+ @Lungs] .",
    "colon": "[Lungs:A] : [hyperinflated:+ @Lungs] .",
    "property": "[Heart:A] [size:A >Heart] is [normal:+ @Heart] .",
    "normal in size": "The [heart:A] is [normal:+ @heart] in size .",
    "of normal size": "The [heart:A] is of [normal:+ @heart] [size:A >heart] .",
    "silhouette": "[Enlarged:+ @silhouette] [cardiac:A >silhouette] [silhouette:A] .",
    "sign of an anatomy": "[Elevation:+ @hemidiaphragm] of the [left:A >hemidiaphragm] [hemidiaphragm:A] .",
    "state of several": "[Heart:A] and [mediastinum:A] are [within normal limits:+ @Heart @mediastinum] .",
    "state before several": "[Normal:+ @heart @mediastinum] [heart:A] and [mediastinum:A] .",
    "states in a list": "The [aorta:A] is [tortuous:+ @aorta] and [calcified:+ @aorta] .",
    "two statements": "[Heart:A] [normal:+ @Heart] and the [lungs:A] are [clear:+ @lungs] .",
    "state across but": "The [lungs:A] are [hyperinflated:+ @lungs] but [clear:+ @lungs] .",
    "change of a finding": "The [effusion:+] is [unchanged:+ >effusion] .",
    "change of several": "[Effusion:+] and [edema:+] have [improved:+ >Effusion >edema] .",
    "afterthought": "[Nodule:+ @lobe] in the [left:A >lobe] [lobe:A] , [stable:+ >Nodule] .",
    # Denial
    "no": "No [pneumothorax:-] .",
    "modifiers are denied too": "No [focal:- >consolidation] [consolidation:-] .",
    "list under one denial": "No [pleural:A] [effusion:- @pleural] , [pneumothorax:-] or [edema:-] .",
    "no evidence of": "No evidence of [acute:- >disease] [cardiopulmonary:A] [disease:- @cardiopulmonary] .",
    "unknown word in between": "No worrisome [nodule:-] .",
    "not": "The [heart:A] is not [enlarged:- @heart] .",
    "free of": "The [lungs:A] are free of [consolidation:- @lungs] .",
    "without": "[Cardiomegaly:+] without [edema:-] .",
    "denial after": "[Effusion:-] or [pneumothorax:-] is not seen .",
    "resolved": "The [pneumothorax:-] has resolved .",
    "but ends a denial": "No [effusion:-] but [small:+ >pneumothorax] [pneumothorax:+] .",
    "with ends a denial": "No [pneumothorax:-] with [stable:+ >edema] [edema:+] .",
    "a new subject ends a denial": "No [effusion:-] and the [heart:A] is [enlarged:+ @heart] .",
    "a normal state ends a denial": "No [effusion:-] , [clear:+ @lungs] [lungs:A] .",
    "unchanged ends a denial": "No [effusion:-] , [unchanged:+ >cardiomegaly] [cardiomegaly:+] .",
    "a full statement ends a denial": "No [effusion:-] is seen , [heart:A] [enlarged:+ @heart] .",
    "pseudo-denial": "No change in the [large:+ >effusion] [effusion:+] .",
    "denied conclusion": "No [opacity:- ~pneumonia] to suggest [pneumonia:-] .",
    # Doubt
    "possible": "Possible [small:? >effusion] [effusion:?] .",
    "doubt goes on at or": "Probable [atelectasis:?] or [scarring:?] .",
    "doubt ends at and": "Possible [edema:?] and [cardiomegaly:+] .",
    "doubt after": "A [nodule:?] cannot be excluded .",
    "not excluded": "[Pneumonia:?] is not excluded .",
    "versus": "[Atelectasis:?] versus [pneumonia:?] .",
    # Conclusions
    "consistent with": "[Opacity:+ ~pneumonia] consistent with [pneumonia:+] .",
    "may represent": "[Opacity:+ ~atelectasis ~edema] which may represent [atelectasis:?] or [edema:?] .",
    "concerning for": "[Nodule:+ @lobe ~malignancy] in the [left:A >lobe] [lobe:A] is concerning for [malignancy:?] .",
    "conclusion from a state": "[Blunted:+ @angle ~effusion] [left:A >angle] [angle:A] due to [effusion:+] .",
    # No entities
    "de-identification marks": "XXXX [opacity:+ @lung] in the ___ [lung:A] .",
    "looks like anatomy": "Chest pain and heart rate of 90 .",
    "generic alone": "Findings were discussed .",
    "anatomy alone": "Views of the chest .",
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


def test_parse_many_equals_parse():
    texts = ["No effusion.", "", "Small left effusion."]

    assert list(PARSER.parse_many(iter(texts))) == [PARSER.parse(text) for text in texts]


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

    assert "".join(graph.words) == "".join(text.split())
    for entity in graph.entities:
        assert " ".join(graph.words[entity.start : entity.end + 1]) == entity.tokens
    assert list(graph.relations) == sorted(graph.relations, key=lambda r: r.head)
    assert all(r.head != r.tail for r in graph.relations)
    assert all(graph.entities[r.tail].label == "ANAT-DP" for r in graph.relations if r.type == "located_at")


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
        spans = {(e.start, e.end, e.label.startswith("ANAT")) for e in graph.entities}
        assert spans == {(e.start, e.end, e.label.startswith("ANAT")) for e in expected.entities}
        named = {
            (expected.entities[r.head].tokens, r.type, expected.entities[r.tail].tokens) for r in expected.relations
        }
        assert named <= {
            (graph.entities[r.head].tokens, r.type, graph.entities[r.tail].tokens) for r in graph.relations
        }


def test_phantom_reports_give_their_exact_graphs():
    phantom = pytest.importorskip("igcl_lightning.data.phantom")
    studies = [phantom.phantom_study(index, size=64, phrasing="known") for index in range(60)]
    graphs = [PARSER.parse(" ".join(filter(None, (s.report["findings"], s.report["impression"])))) for s in studies]

    assert sum(graph == study.graph for graph, study in zip(graphs, studies, strict=True)) >= 57
