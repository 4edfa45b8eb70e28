"""Answers of templates ("Edema: no", "effusion (+)", "[ ] Pneumothorax") as the words that the rules read."""

from __future__ import annotations

from collections.abc import Sequence

from igcl_lightning.graphs.lexicon import HYPHENS, Lexicon, Match, alternatives

NO = frozenset({"no", "none", "negative", "neg", "absent", "n", "nil", "false", "0", "-", "\u2013", "\u2212"})
YES = frozenset({"yes", "positive", "pos", "present", "y", "true", "+"})
UNSURE = frozenset({"?", "possible", "possibly", "maybe", "equivocal", "uncertain"})
ANSWERS = NO | YES | UNSURE

_SAID = {**dict.fromkeys(NO, "absent"), **dict.fromkeys(YES, "present"), **dict.fromkeys(UNSURE, "possible")}
_ALONE = frozenset({"negative", "neg", "none", "nil"})  # answers that need no mark before them
_SEEN = frozenset(
    {"seen", "identified", "noted", "present", "visible", "evident", "detected", "evidence", "visualized"}
)
_FIELDS = frozenset({":", "=", "?", "-", "\u2013", "\u2014", "->"})
_ENDS = frozenset({".", ",", ";", ")", "]", "|", "/"})
_MARKS = HYPHENS | set("()[]:=?+\u2610\u2611\u2612\u2713\u2714\u2717\u2718") | {"negative", "neg"}
"""Words without which a statement has no answer."""
_NOT_CHECKED, _CHECKED = frozenset("\u2610\u2717\u2718"), frozenset("\u2611\u2612\u2713\u2714")
_BRACKETS = {"[": "]", "(": ")"}
_PLACES = frozenset({"noun", "outline"})
_WHOLE = _PLACES | {"property"}  # kinds of the words that name an organ without a side
_FINDINGS = frozenset({"finding", "appearance", "generic", "mention"})
_UNNAMED = frozenset({"generic", "mention"})  # those that need a place to mean something
_POSITIONS = alternatives(
    "anterior|anteroinferior|anterolateral|anteromedial|apical|basal|basilar|biapical|bibasilar|central|distal|dorsal"
    "|inferior|inferolateral|inferomedial|lateral|leftward|lower|main|medial|mid|middle|peripheral|posterior"
    "|posteroanterior|posteroinferior|posterolateral|posteromedial|proximal|rightward|superior|superolateral"
    "|superomedial|upper|ventral"
)
"""Adjectives of place that name no organ."""
_NOTHING = "xxxx"  # a mark, which is no entity and splits no phrase


def plain_words(words: Sequence[str], lexicon: Lexicon) -> list[str]:
    """Return the words of a statement in lower case, as many as given, answers in the words of prose.

    "edema : no" gives "edema is absent", "[ x ] edema" gives "now now now edema". A field without a value states
    nothing. A heading states nothing where a statement with its own subject follows.
    """
    plain = [word.lower() for word in words]
    if _MARKS.isdisjoint(plain) and ANSWERS.isdisjoint(plain[-2:]):
        return plain
    if plain[-1:] == [":"]:
        return [_NOTHING] * len(plain)
    _check_boxes(plain)
    for at in range(1, len(plain)):
        _answer(plain, at)
    if ":" in plain[:7]:
        _heading(plain, lexicon)
    return plain


def _check_boxes(plain: list[str]) -> None:
    """Read a box before what it answers ("[ ] edema", "[x] edema"), or at the end after it."""
    if plain[0] in _NOT_CHECKED or plain[0] in _CHECKED:
        plain[0] = "no" if plain[0] in _NOT_CHECKED else _NOTHING
    for start in (0, len(plain) - 2, len(plain) - 3):
        inside = _inside(plain, start)
        if inside is None or (start and not (plain[start - 1] == ":" or plain[start - 1][0].isalnum())):
            continue
        checked = inside in {"x", "v", "*"} or inside in YES
        if not (checked or inside == "" or inside in NO):
            continue
        width = 2 + bool(inside)
        plain[start : start + width] = [_NOTHING] * width
        if start:
            plain[start : start + 2] = ["is", "present" if checked else "absent"]
        elif not checked:
            plain[0] = "no"
        return


def _inside(plain: Sequence[str], start: int) -> str | None:
    """Return the word, or "", in the brackets that open at a word; None if none do."""
    closing = _BRACKETS.get(plain[start]) if 0 <= start < len(plain) else None
    for width in (1, 2):
        if closing and plain[start + width : start + width + 1] == [closing]:
            return plain[start + 1] if width == 2 else ""
    return None


def _answer(plain: list[str], at: int) -> None:
    """Read word `at` as an answer to the words before it if it is one, alone after a mark or in brackets."""
    word, before = plain[at], plain[at - 1]
    if word not in ANSWERS:
        return
    after, then = (*plain[at + 1 : at + 3], ".", ".")[:2]
    if before in _BRACKETS and after == _BRACKETS[before] and at > 1:
        plain[at - 1 : at + 2] = ["is", _SAID[word], ";"]
    elif (
        (before in _FIELDS or before.startswith("..."))
        and word != before
        and (after in _ENDS or (after in _SEEN and word in NO and then in _ENDS))
    ):
        plain[at - 1 : at + 1] = ["is", _SAID[word]]
        if after in _SEEN:
            plain[at + 1] = _NOTHING
        elif after in {",", "/", "|"} and at + 2 < len(plain) and word in NO:
            plain[at + 1] = ";"
    elif word in _ALONE and before[-1].isalnum() and after in _ENDS:
        plain[at] = "absent"


def _heading(plain: list[str], lexicon: Lexicon) -> None:
    """Leave out a heading that names nothing known, or a whole organ before a statement that has its own place."""
    colon = plain.index(":")
    if any(match.role == "elsewhere" for match in lexicon.match(plain[: colon + 1])):
        return
    heading = [match for match in lexicon.match(plain[:colon]) if not match.link]
    whole = all(match.kind in _WHOLE for match in heading)
    if not heading or (whole and _stands_alone(lexicon.match(plain[colon + 1 :]), [match.name for match in heading])):
        plain[: colon + 1] = [_NOTHING] * (colon + 1)


def _stands_alone(matches: Sequence[Match], organs: Sequence[str]) -> bool:
    """Return whether a statement needs no place from a heading of whole organs.

    It begins with a place or names an organ, also by an adjective ("pulmonary edema"). In the lungs any side or
    adjective of place will do ("bibasilar opacities"), and under several organs a finding that no one of them has.
    """
    if any(match.kind in _PLACES for match in matches) or [match.link for match in matches[:1]] == ["place"]:
        return True
    found = {match.kind for match in matches} & _FINDINGS
    places = {match.name for match in matches if match.role == "anatomy" and match.kind != "property"}
    sides = {match.name for match in matches if match.kind == "side"}
    named = places if organs[0] in {"lung", "lungs"} else places - sides - _POSITIONS
    return bool(found and named) or (len(organs) > 1 and bool(found - _UNNAMED))
