import re
from importlib import resources

import pytest

from igcl_lightning.graphs.labels import finding_rules
from igcl_lightning.graphs.lexicon import KINDS, Lexicon, load_lexicon, one_slip, rows
from igcl_lightning.graphs.parser import SpacyReportParser


def match(text, lexicon=None):
    words = text.split()
    matches = (lexicon or load_lexicon()).match(words)
    return [(" ".join(words[m.start : m.end + 1]), m.role, m.kind) for m in matches]


def test_longest_term_wins():
    lexicon = Lexicon({"observations": "tube\tdevice\nchest tube\tdevice\n", "anatomy": "chest\tnoun\n"})

    assert match("left chest tube and chest", lexicon) == [
        ("chest tube", "observations", "device"),
        ("chest", "anatomy", "noun"),
    ]


def test_hyphens_count_as_blanks():
    assert match("ground - glass opacity") == [
        ("ground - glass", "modifiers", "texture"),
        ("opacity", "observations", "appearance"),
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("cannot reliably be excluded", [("cannot reliably be excluded", "hedges", "possible after")]),
        ("may still also be", [("may still also be", "hedges", "possible before")]),
        ("is not fully seen", [("is", "connectors", "predicate"), ("not fully seen", "negation", "none")]),
        ("pleural also cavity", [("pleural", "anatomy", "adjective")]),
    ],
)
def test_adverbs_may_stand_inside_terms_that_are_no_entities(text, found):
    assert match(text)[: len(found)] == found


def test_variants_share_role_and_kind():
    assert match("oedema") == [("oedema", "observations", "finding")]


def test_numbers_and_marks_are_silent():
    assert match("3 xxxx ___ axx") == [(word, "connectors", "inside") for word in ("3", "xxxx", "___")]


def test_packaged_files_hold_every_role_and_kind():
    found = {(term.role, term.kind) for term in load_lexicon().terms.values()}

    assert found <= {(role, kind) for role, kinds in KINDS.items() for kind in kinds}
    assert {role for role, _ in found} == set(KINDS)


@pytest.mark.parametrize("role", KINDS)
def test_the_header_of_a_file_explains_its_kinds(role):
    text = resources.files("igcl_lightning.graphs.lexicon").joinpath(f"{role}.tsv").read_text("utf-8")
    explained = " ".join(line for line in text.splitlines() if line.startswith("#"))

    words = {word for kind in KINDS[role] for word in (kind.split() if role == "hedges" else [kind])}
    assert [word for word in sorted(words) if not re.search(rf"\b{word}\b", explained)] == []


def test_every_term_is_found_in_the_words_of_the_tokenizer():
    lexicon, tokenizer = load_lexicon(), SpacyReportParser()._tokenizer
    lost = []
    for words, term in lexicon.terms.items():
        text = "patient's" if words == ("'s",) else " ".join(words)
        found = lexicon.match([token.text for token in tokenizer(text)])
        if term.kind != "unit" and [(m.role, m.kind, m.name, m.link) for m in found] != [term]:
            lost.append(" ".join(words))
    assert lost == []


def test_version_changes_with_a_word():
    first = Lexicon({"anatomy": "lung\tnoun\n"})

    assert first.version == Lexicon({"anatomy": "lung\tnoun\n"}).version
    assert first.version != Lexicon({"anatomy": "lung\tnoun\tlungs\n"}).version


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("lung", "anatomy.tsv line 3: kind '', expected one of"),
        ("lung\tfinding", "anatomy.tsv line 3: kind 'finding', expected one of"),
        ("heart\tnoun", "anatomy.tsv line 3: 'heart' is repeated, keep one"),
        ("\tnoun", "anatomy.tsv line 3: an empty term"),
        ("lung\tnoun\tlungs\t", "anatomy.tsv line 3: 4 cells, expected at most 3"),
    ],
)
def test_bad_line_is_named(line, message):
    with pytest.raises(ValueError, match=message):
        Lexicon({"anatomy": f"# comment\nheart\tnoun\n{line}\n"})


@pytest.mark.parametrize(
    ("text", "measure"),
    [
        ("2 cm nodule", "2 cm"),
        ("1.2 x 3 cm nodule", "1.2 x 3 cm"),
        ("7 - mm nodule", "7 - mm"),
        ("2 to 3 centimeters nodule", "2 to 3 centimeters"),
    ],
)
def test_a_number_with_a_unit_is_a_measure(text, measure):
    assert match(text)[0] == (measure, "modifiers", "measure")


def test_a_unit_without_a_number_is_silent():
    assert match("cm nodule")[0] == ("cm", "connectors", "inside")


@pytest.mark.parametrize("word", ["pnuemothorax", "pneumothoraxx", "pneumothorx", "pneumothorex"])
def test_a_long_word_with_one_slip_is_read_as_its_term(word):
    assert match(word) == [(word, "observations", "finding")]


@pytest.mark.parametrize("word", ["maas", "medically", "median", "patient", "pneumothraxxx"])
def test_short_words_other_words_and_two_slips_are_not_respelt(word):
    assert all(role == "connectors" for _, role, _ in match(word))


def test_one_slip_is_one_letter_wrong_missing_doubled_or_two_swapped():
    assert all(one_slip("lobe", other) for other in ("lobes", "lbe", "lube", "lboe", "lobbe"))
    assert not any(one_slip("lobe", other) for other in ("lobular", "bole", "lubes", "eblo"))


def test_terms_of_one_line_and_synonyms_mean_the_same():
    meaning = load_lexicon().meaning
    assert meaning(["cardiac", "silhouette"]) == meaning(["heart", "silhouette"]) == {"heart", "silhouette"}
    assert meaning(["lll"]) == meaning(["left", "lower", "lobe"]) == {"left", "lower", "lobe"}
    assert meaning(["oedema"]) == meaning(["edema"])
    assert meaning(["xylophone"]) == {"xylophone"}
    assert meaning(["-"]) == {"-"}


def test_the_kind_of_words_is_that_of_their_last_term():
    kind = load_lexicon().kind
    assert kind(["right", "pleural", "effusions"]) == "finding"
    assert kind(["xylophone"]) == ""


def test_every_synonym_names_a_term():
    names = {term.name for term in load_lexicon().terms.values()}
    text = resources.files("igcl_lightning.graphs.lexicon").joinpath("synonyms.tsv").read_text("utf-8")
    unknown = [name for _, (_, terms) in rows("synonyms", text, 2) for name in terms.split("|") if name not in names]
    assert unknown == []


def test_meanings_that_rules_of_findings_ask_for_can_be_had():
    lexicon = load_lexicon()
    terms = {meaning for words in lexicon.terms for meaning in lexicon.meaning(words)}
    asked = {word for rule in finding_rules() for word in rule.words | rule.places | rule.without}
    assert {word for word in asked if not word.startswith("@")} <= terms
