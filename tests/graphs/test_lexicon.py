import pytest

from igcl_lightning.graphs.lexicon import KINDS, Lexicon, load_lexicon


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


def test_variants_share_role_and_kind():
    assert match("oedema") == [("oedema", "observations", "finding")]


def test_numbers_and_marks_are_silent():
    assert match("3 xxxx ___ axx") == [(word, "connectors", "inside") for word in ("3", "xxxx", "___")]


def test_packaged_files_hold_every_role_and_kind():
    found = {(term.role, term.kind) for term in load_lexicon().terms.values()}

    assert found <= {(role, kind) for role, kinds in KINDS.items() for kind in kinds}
    assert {role for role, _ in found} == set(KINDS)


def test_version_changes_with_a_word():
    first = Lexicon({"anatomy": "lung\tnoun\n"})

    assert first.version == Lexicon({"anatomy": "lung\tnoun\n"}).version
    assert first.version != Lexicon({"anatomy": "lung\tnoun\tlungs\n"}).version


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("lung", "anatomy.tsv line 3: kind '', expected one of"),
        ("lung\tfinding", "anatomy.tsv line 3: kind 'finding', expected one of"),
        ("heart\tnoun", "anatomy.tsv line 3: 'heart' stands twice, keep one"),
        ("\tnoun", "anatomy.tsv line 3: an empty term"),
    ],
)
def test_bad_line_is_named(line, message):
    with pytest.raises(ValueError, match=message):
        Lexicon({"anatomy": f"# comment\nheart\tnoun\n{line}\n"})
