"""Phrase files: every phrase reads for every finding it is about, a broken line is named, and so is a missing one."""

import re
from dataclasses import replace
from importlib import resources
from itertools import product

import numpy as np
import pytest

from igcl_lightning.data.sources.phantom import phantom_study
from igcl_lightning.graphs.lexicon import load_lexicon
from igcl_lightning.graphs.schema import join_graphs
from igcl_lightning.phantom import LABELS, PHRASINGS, phrasebook
from igcl_lightning.phantom.case import find_case
from igcl_lightning.phantom.findings import FRONTAL_FINDINGS
from igcl_lightning.phantom.lateral_findings import LATERAL_FINDINGS
from igcl_lightning.phantom.markup import prose, read_sentence, read_template
from igcl_lightning.phantom.pathologies import PATHOLOGIES, SCENARIOS, ZONES, Pathology
from igcl_lightning.phantom.phrasebook import (
    SEVERITIES,
    WORD_SLOTS,
    load_phrasebook,
    phrases_about,
    read_phrasebook,
)
from igcl_lightning.phantom.radiograph import render, render_lateral
from igcl_lightning.phantom.scene import CERTAINTIES, Finding

FILES = PHRASINGS[1:]
BOOKS = {name: load_phrasebook(name) for name in FILES}
OWN_KINDS = {name: {kind for kind in book if book[kind] is not BOOKS["known"][kind]} for name, book in BOOKS.items()}
OWN_KINDS["known"] = set(BOOKS["known"])

HELD_BACK_WORDS = set(
    re.findall(
        r"\w+",
        """
        arguably breathing broadening cerclage cleared coin conceivable conceivably constant devoid discounted filling
        flooding fresh gas globular growth hepatization hydrostatic hypoaeration identical implies imply lacks liquid
        lump meniscus nasoenteric nothing nowhere oversized permcath plethora presumptive pristine progressed pulse
        receded signifies signify thoracostomy underexpansion vanished waned
        """,
    )
)
"""Words of held_back.tsv that known.tsv does not use: names of observations and cues."""

LEARNT_WORDS = set(
    re.findall(
        r"\w+",
        """
        breathing cerclage cleared conceivable conceivably devoid discounted filling gas globular hypoaeration growth
        identical implies imply lacks nasoenteric nothing nowhere permcath presumptive progressed pulse thoracostomy
        vanished
        """,
    )
)
"""Those that the report parser knows because radiologists use them: a part of what is held back can be read."""


def every_finding() -> list[Finding]:
    return [
        Finding(name, severity, side, zone, certainty)
        for name, row in PATHOLOGIES.items()
        for severity, side, zone in product(range(3), row.sides, ZONES if row.zones else ("",))
        for certainty in CERTAINTIES
    ]


def entries(phrasing: str, kinds: set[str]) -> list[str]:
    """Return the phrases of some kinds."""
    return [phrase for kind in sorted(kinds) for phrases in BOOKS[phrasing][kind].values() for phrase in phrases]


def words(template: str) -> set[str]:
    return set(template.replace("[", " ").replace(":", " ").split())


def text_of(name: str) -> str:
    return resources.files("igcl_lightning.phantom").joinpath("phrases", f"{name}.tsv").read_text()


# Marks


def test_template_gives_exactly_the_graph_it_marks():
    sentence = read_sentence("a [small:+>effusion] [right:A>pleural] [pleural:A] [effusion:+@pleural] is seen .")
    graph = join_graphs([sentence, sentence])
    assert prose([sentence]) == "A small right pleural effusion is seen."
    assert [(e.tokens, e.label, e.start, e.end) for e in sentence.entities] == [
        ("small", "OBS-DP", 1, 1),
        ("right", "ANAT-DP", 2, 2),
        ("pleural", "ANAT-DP", 3, 3),
        ("effusion", "OBS-DP", 4, 4),
    ]
    assert [(r.head, r.type, r.tail) for r in sentence.relations] == [
        (0, "modify", 3),
        (1, "modify", 2),
        (3, "located_at", 2),
    ]
    assert [(r.head, r.tail) for r in graph.relations[3:]] == [(4, 7), (5, 6), (7, 6)]


def test_an_entity_of_several_words_is_called_by_its_last():
    sentence = read_sentence("[endotracheal tube:+] [tip:+>tube@carina] is above the [carina:A] .")
    assert [(e.tokens, e.start, e.end) for e in sentence.entities] == [
        ("Endotracheal tube", 0, 1),
        ("tip", 2, 2),
        ("carina", 6, 6),
    ]
    assert [(r.head, r.type, r.tail) for r in sentence.relations] == [(1, "located_at", 2), (1, "modify", 0)]


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("there is a [old:+>nodule] [nodule:+] .", "There is an old nodule."),
        ("a [opacity:+] .", "An opacity."),
        ("a [right:A] sided [effusion:+@right] .", "A right sided effusion."),
    ],
)
def test_the_article_fits_the_next_word(template, text):
    assert prose([read_sentence(template)]) == text


# Phrases


@pytest.mark.parametrize("phrasing", FILES)
def test_every_phrase_about_a_finding_reads_for_each_severity_side_zone_and_certainty(phrasing):
    book, signs, read = BOOKS[phrasing], {"definite": "+", "probable": "?", "possible": "?"}, set()
    for finding in every_finding():
        nouns = phrases_about(finding, book["noun"])
        assert nouns
        for template, number in product((*nouns, *phrases_about(finding, book["statement"])), range(4)):
            read.add(template)
            words = {
                slot: book[slot][SEVERITIES[finding.severity] if subjects is SEVERITIES else finding.certainty]
                for slot, subjects in WORD_SLOTS.items()
            }
            place = f"[{finding.side}:A>lobe] [{finding.zone}:A>lobe] [lobe:A]"
            filled = template.format(
                side=finding.side,
                place=place,
                at="lobe",
                **{slot: options[number % len(options)] for slot, options in words.items()},
            )
            sentence = read_template(filled.replace(":*", f":{signs[finding.certainty]}"))
            assert {e.label for e in sentence.entities} & {"OBS-DP", "OBS-U"}, template
    assert read == set(entries(phrasing, {"noun", "statement"}))


@pytest.mark.parametrize("phrasing", FILES)
@pytest.mark.parametrize("kind", ["noun", "statement"])
def test_a_phrase_about_one_side_names_it_once_and_a_zone_once(phrasing, kind):
    for subject, templates in BOOKS[phrasing][kind].items():
        row = PATHOLOGIES[subject.partition("/")[0]]
        one_sided = not subject.endswith("/both") and row.bilateral < 1
        for template in templates:
            sides = len(set(template.split()) & {"{place}"}) or template.count("[{side}:")
            assert sides == one_sided, template
            assert template.count("{place}") == (row.zones is not None), template


def test_every_held_back_phrase_has_a_held_back_word_and_no_known_phrase_has_one():
    lexicon = {word for term in load_lexicon().terms for word in term}
    assert lexicon & HELD_BACK_WORDS == LEARNT_WORDS
    for template in entries("known", OWN_KINDS["known"]):
        assert not words(template) & HELD_BACK_WORDS, template
    for template in entries("held_back", OWN_KINDS["held_back"] - {"frame", "statement", "maybe", "hedge"}):
        assert words(template) & HELD_BACK_WORDS, template
    for template in entries("held_back", {"statement"}):
        assert "{suggest" in template or words(template) & HELD_BACK_WORDS, template
    for kind, certainty in product(("maybe", "hedge"), ("probable", "possible")):
        assert all(words(template) & HELD_BACK_WORDS for template in BOOKS["held_back"][kind][certainty])


def test_no_reworded_template_of_several_words_is_a_known_or_held_back_one():
    def plain(template):
        return " ".join(re.sub(r"\[([^\[\]:]+):[^\]]*\]", r"\1", template).split())

    known, held_back, reworded = ({plain(t) for t in entries(name, OWN_KINDS[name])} for name in FILES)
    assert not {text for text in reworded if " " in text} & (known | held_back)
    assert len(reworded) > len(held_back)


# Mistakes in a file


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("nuon\tEdema\t[edema:*]", "kind 'nuon', expected one of noun, statement, denied, "),
        ("noun\tOedema\t[edema:*]", "subject 'Oedema' of 'noun', expected one of Atelectasis, Cardiomegaly, "),
        ("noun\tEdema/left\t[edema:*]", "subject 'Edema/left' of 'noun', expected one of "),
        ("denial\tEdema\tno {denied} .", "subject 'Edema' of 'denial', expected one of none"),
        ("noun\tEdema", "no phrase in the third column"),
        ("noun\tEdema\t[{sise}:*>edema] [edema:*]", "slot {sise}, expected one of mild, mildly, "),
        ("denial\t\tno {core} .", "slot {core}, expected one of denied"),
        ("noun\tEdema\t[edema:*", "template '[edema:+': '[edema:+' is not a mark such as [word:+]"),
        ("noun\tEdema\t[edema:*@lung]", "template '[edema:+@lung]': 'edema' refers to 'lung', which is not an entity"),
        ("noun\tEdema\t[{mild:*>edema] [edema:*]", "phrase '[{mild:*>edema] [edema:*]': a brace that is not"),
        ("noun\tEdema\t[edema:*]\t1", "4 cells, expected at most 3"),
    ],
)
def test_a_broken_line_is_named(line, problem):
    with pytest.raises(ValueError, match=rf"^phrases/mine\.tsv line 2: {re.escape(problem)}"):
        read_phrasebook("mine", f"# kind\tsubject\tphrase\n{line}\n", BOOKS["known"])


@pytest.mark.parametrize(
    ("start", "missing"),
    [
        ("noun\tEdema\t", "noun for Edema"),
        ("denied\tPneumothorax\t", "denied for Pneumothorax"),
        ("noun\tPleural Effusion/both\t", "noun for mild bilateral Pleural Effusion"),
        ("frame\tpossible\t", "frame for possible"),
        ("symptom\t", "symptom"),
    ],
)
def test_a_subject_without_phrases_is_named(start, missing):
    left = "\n".join(line for line in text_of("known").splitlines() if not line.startswith(start))
    with pytest.raises(ValueError, match=rf"^phrases/mine\.tsv: no {missing}, add a line$"):
        read_phrasebook("mine", left, {})


# A new finding


def test_every_finding_has_a_label_and_drawings():
    for name in PATHOLOGIES:
        assert name in LABELS, f"{name} has no label"
        assert len(PATHOLOGIES[name].chances) == len(SCENARIOS), f"{name} needs a chance in each scenario"
        assert name in FRONTAL_FINDINGS, f"{name} has no drawing function in phantom/findings.py"
        assert name in LATERAL_FINDINGS, f"{name} has no drawing function, nor None, in phantom/lateral_findings.py"
    assert {*FRONTAL_FINDINGS, *LATERAL_FINDINGS} == {*PATHOLOGIES}


@pytest.fixture
def unfinished(monkeypatch):
    """A finding with a row in the table, and nothing else."""
    monkeypatch.setitem(PATHOLOGIES, "Unfinished", Pathology((0.1,) * len(SCENARIOS), bilateral=1.0))
    monkeypatch.setitem(phrasebook.KINDS, "noun", tuple(PATHOLOGIES))
    return Finding("Unfinished", 1, "bilateral")


def test_a_finding_without_phrases_is_named(unfinished):
    with pytest.raises(ValueError, match=r"^phrases/known\.tsv: no noun for Unfinished, add a line$"):
        read_phrasebook("known", text_of("known"), {})
    line = "noun\tUnfinished\ta [{small}:*>hernia] [hiatal:A] [hernia:*@hiatal]"
    assert phrases_about(unfinished, read_phrasebook("known", f"{text_of('known')}\n{line}\n", {})["noun"])


@pytest.mark.parametrize("draw", [render, render_lateral])
def test_a_finding_without_a_drawing_function_is_named(unfinished, draw):
    scene = replace(find_case(0).scene, findings=(unfinished,))
    with pytest.raises(ValueError, match="^Unfinished: no entry in FRONTAL_FINDINGS or LATERAL_FINDINGS"):
        draw(scene, 64, np.random.default_rng(0))


def test_phantoms_of_one_index_differ_between_phrasings_only_in_their_text():
    studies = [phantom_study(3, size=64, phrasing=phrasing) for phrasing in FILES]
    assert len({study.report["findings"] for study in studies}) == 3
    assert all(np.array_equal(study.images[0].source, studies[0].images[0].source) for study in studies)


def test_a_phrasebook_may_have_no_statements():
    known = {kind: phrases for kind, phrases in BOOKS["known"].items() if kind != "statement"}
    assert "statement" not in read_phrasebook("own", "", known)


def test_mild_and_moderate_findings_have_the_phrases_of_one_side():
    table = {"effusion": ("a",), "effusion/one": ("b",), "effusion/severe": ("c",), "effusion/both": ("d",)}
    found = [phrases_about(Finding("effusion", severity, "left"), table)[0] for severity in range(3)]
    assert found == ["b", "b", "c"]
    assert phrases_about(Finding("effusion", 2, "bilateral"), table) == ("d",)
