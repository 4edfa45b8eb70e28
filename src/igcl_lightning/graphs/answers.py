"""Answers of templates ("Edema: no", "effusion (+)", "[ ] Pneumothorax") as the words that the rules read."""

from __future__ import annotations

from collections.abc import Sequence

from igcl_lightning.graphs.denied_lists import denies
from igcl_lightning.graphs.lexicon import HYPHENS, Lexicon, Match, alternatives
from igcl_lightning.graphs.phrases import STATES

NO = alternatives("no|none|negative|neg|absent|n|nil|false|0|zero|-ve|-|\u2013|\u2212")
YES = frozenset({"yes", "positive", "pos", "present", "y", "true", "+", "+ve", "++", "+++"})
UNSURE = frozenset({"?", "possible", "possibly", "maybe", "equivocal", "suspicious", "uncertain"})
LONGEST_NAME = 5
"""Words of a name that is asked for ("Heart? Enlarged.")."""

ANSWERS = NO | YES | UNSURE

_ROW_ENDS = ANSWERS | {"n.", "y."}
_SAID = {**dict.fromkeys(NO, "absent"), **dict.fromkeys(YES, "present"), **dict.fromkeys(UNSURE, "possible")}
_ALONE = frozenset({"negative", "neg", "none", "nil"})  # answers that need no mark before them
_SHORT = frozenset({"no", "yes"})  # answers before a comma ("effusion no, mass yes")
_SEEN = frozenset(
    {"seen", "identified", "noted", "present", "visible", "evident", "detected", "evidence", "visualized"}
)
_FIELDS = frozenset({":", "=", "?", "-", "\u2013", "\u2014", ">", "->", "=>", "|"})
_ENDS = frozenset({".", ",", ";", ")", "]", "|", "/", "("})
_UNITS = frozenset({"mm", "cm", "ml", "cc", "%"})
_SIDES = {"right": "right", "left": "left", "r": "right", "l": "left", "rt": "right", "lt": "left"}
_DESCRIPTIONS = STATES | frozenset({"extent", "severity", "side", "size", "stability", "temporal", "measure", "list"})
_LIST_MARKS = HYPHENS | {";", ")", "]", "*", "\u2022"}
_DENIALS = frozenset({"no", "not", "without"})
_ROW = 6  # words of a row of a table, a name and an answer
_MARKS = HYPHENS | {"--"} | set("()[]:=?+>|\u2610\u2611\u2612\u2713\u2714\u2717\u2718") | {"negative", "neg", "0"}
"""Words without which a statement has no answer."""
_NOT_CHECKED, _CHECKED = frozenset("\u2610\u2717\u2718"), frozenset("\u2611\u2612\u2713\u2714")
_BRACKETS = {"[": "]", "(": ")"}
_BOX_STARTS = _NOT_CHECKED | _CHECKED | _BRACKETS.keys()
_QUOTES = {**_BRACKETS, "{": "}", "<": ">", '"': '"'}
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
_COLONS = frozenset({"=", "|", "--"})  # marks between a name and its value
_NOTHING = "xxxx"  # a mark, which is no entity and splits no phrase


def plain_words(words: Sequence[str], lexicon: Lexicon) -> list[str]:
    """Return the words of a statement in lower case, as many as given, answers in the words of prose.

    "edema : no" gives "edema is absent", "[ x ] edema" gives "now now now edema". A field without a value states
    nothing. A heading states nothing where a statement with its own subject follows.
    """
    plain = [word.lower() for word in words]
    if _MARKS.isdisjoint(plain) and _ROW_ENDS.isdisjoint(plain[-2:]):
        return plain
    if not _COLONS.isdisjoint(plain):
        plain = [":" if word in _COLONS else word for word in plain]
    if plain[-1:] == [":"]:
        return [_NOTHING] * len(plain)
    if not _BOX_STARTS.isdisjoint(plain) and not _choose(plain):
        _check_boxes(plain)
    if ":" in plain[:_ROW]:
        _answer_by_side(plain, plain.index(":"))
    for at, word in enumerate(plain):
        if at and word.rstrip(".") in ANSWERS:
            _answer(plain, at)
    if "?" in plain[:LONGEST_NAME]:
        asked = plain.index("?")
        plain[asked] = _NOTHING if describes(plain[asked + 1 :], lexicon) else "?"
    if ":" in plain[:9]:
        _heading(plain, lexicon)
    return plain


def describes(words: Sequence[str], lexicon: Lexicon) -> bool:
    """Return whether words (lower case) name nothing and only describe: "small, on both sides", "enlarged"."""
    words = [plain for word in words if (plain := word.strip(".,"))]
    matches = lexicon.match(words)
    known = sum(match.end + 1 - match.start for match in matches) == len(words)
    return bool(matches) and known and all(match.kind in _DESCRIPTIONS for match in matches)


def _choose(plain: list[str]) -> bool:
    """Read a choice ("edema : [ ] none [x] mild") as its chosen answers; return whether there is one."""
    boxes = [(at, at + width) for at in range(len(plain)) if (width := _box(plain, at))]
    if boxes and plain[boxes[0][0] - 1] == "?":
        plain[boxes[0][0] - 1] = ":"
    colon = ":" in plain
    if not boxes or not boxes[0][0] or not (colon or (boxes[-1][1] < len(plain) and plain[-1].isalnum())):
        return False
    if boxes[-1][1] == len(plain):  # the boxes stand after their answers
        starts = [plain.index(":") + 1, *(end for _, end in boxes)] if colon else []
        answers = list(zip(starts, (start for start, _ in boxes), strict=False))
    else:
        answers = list(zip((end for _, end in boxes), (*(start for start, _ in boxes[1:]), len(plain)), strict=True))
    if not all(start < end for start, end in answers):
        return False
    chosen = [plain[start] in _CHECKED or (_inside(plain, start) or "-") not in NO for start, _ in boxes]
    for (box, box_end), (start, end), checked in zip(boxes, answers, chosen, strict=True):
        said = _SAID.get(plain[start], "") if checked else ""
        plain[box:box_end] = [_NOTHING] * (box_end - box)
        if not checked:
            plain[start:end] = [_NOTHING] * (end - start)
        elif said:
            plain[start - 1 : start + 1] = ["is", said]
    if not any(chosen):
        plain[:] = [_NOTHING] * len(plain)
    return True


def _box(plain: Sequence[str], at: int) -> int:
    """Return the number of words of the box at a word, 0 without any."""
    if plain[at] in _NOT_CHECKED or plain[at] in _CHECKED:
        return 1
    inside = _inside(plain, at)
    return 0 if inside not in {"", "x", "v", "*", "+", "-", "_"} else 2 + bool(inside)


def _answer_by_side(plain: list[str], colon: int) -> None:
    """Leave out the sides without a finding ("effusion : right none , left small"); it is absent without any other."""
    sides = [at for at in range(colon + 1, len(plain)) if plain[at] in _SIDES]
    if len(sides) < 2 or sides[0] != colon + 1:
        return
    denied = []
    for start, end in zip(sides, (*sides[1:], len(plain)), strict=True):
        value = [word for word in plain[start + 1 : end] if word[0].isalnum() or word in NO]
        denied.append(len(value) == 1 and value[0] in NO)
        plain[start] = _SIDES[plain[start]]
        plain[start:end] = [_NOTHING if denied[-1] or word in "[]():" else word for word in plain[start:end]]
    if any(denied):
        plain[colon] = _NOTHING
    if all(denied):
        plain[colon : colon + 2] = ["is", "absent"]


def _check_boxes(plain: list[str]) -> None:
    """Read a box before what it answers ("[ ] edema", "[x] edema"), or at the end after it."""
    if plain[0] in _NOT_CHECKED or plain[0] in _CHECKED:
        plain[0] = "no" if plain[0] in _NOT_CHECKED else _NOTHING
    elif plain[-1] in _NOT_CHECKED or plain[-1] in _CHECKED:
        plain[-1] = "absent" if plain[-1] in _NOT_CHECKED else "present"
    for start in (0, len(plain) - 2, len(plain) - 3):
        inside = _inside(plain, start)
        if inside is None or (start and not _ends_name(plain[start - 1])):
            continue
        checked = inside in {"x", "v", "*"} or inside in YES
        if not (checked or inside in {"", "_"} or inside in NO):
            continue
        width = 2 + bool(inside)
        plain[start : start + width] = [_NOTHING] * width
        if start:
            plain[start : start + 2] = ["is", "present" if checked else "absent"]
        elif not checked:
            plain[0] = "no"
        return


def _ends_name(word: str) -> bool:
    """Return whether an answer may follow a word: one of a name, or a mark between name and answer."""
    return word in _FIELDS or word[0].isalnum() or word.startswith("..")


def _inside(plain: Sequence[str], start: int) -> str | None:
    """Return the word, or "", in the brackets that open at a word; None if none do."""
    closing = _BRACKETS.get(plain[start]) if 0 <= start < len(plain) else None
    for width in (1, 2):
        if closing and plain[start + width : start + width + 1] == [closing]:
            return plain[start + 1] if width == 2 else ""
    return None


def _answer(plain: list[str], at: int) -> None:
    """Read an answer at word `at` as one to the words before it, if it is alone after a mark or in brackets."""
    word, before = plain[at].rstrip("."), plain[at - 1]
    after, then = (*plain[at + 1 : at + 3], ".", ".")[:2]
    if word == "0" and after in _UNITS and then in _ENDS:
        plain[at : at + 2] = ["is", "absent"]
    elif before in _QUOTES and after == _QUOTES[before] and at > 1:
        plain[at - 1 : at + 2] = ["is", _SAID[word], ";"]
    elif (
        (before in _FIELDS or before.startswith("..."))
        and word != before
        and (after in _ENDS or (after in _SEEN and word in NO and then in _ENDS))
    ):
        plain[at - 1 : at + 1] = ["is", _SAID[word]]
        plain[at - 2] = _NOTHING if plain[at - 2] == "?" else plain[at - 2]
        _open_brackets(plain, at - 2)
        if after in _SEEN:
            plain[at + 1] = _NOTHING
        elif after in {",", "/", "|"} and at + 2 < len(plain) and word in NO:
            plain[at + 1] = ";"
    elif (
        before[-1].isalnum()
        and after in _ENDS
        and (word in _ALONE or (word in _SHORT and not then[0].isdigit()) or _in_row(plain, at))
    ):
        plain[at] = _SAID[word]
        if after in {",", ";"}:
            plain[at + 1] = ";"
    elif before in {",", ";"} and _in_row(plain, at):
        plain[at - 1 : at + 1] = ["is", _SAID[word]]


def _in_row(plain: Sequence[str], at: int) -> bool:
    """Return whether word `at` ends a name and its answer ("effusion no", "effusion +")."""
    if plain[at] in {"+", "++", "+++", "-", "+ve", "-ve"} and plain[at + 1 : at + 2] != ["("]:
        return plain[0] not in _DENIALS
    return 0 < at < _ROW and plain[at + 1 :] in ([], ["."]) and _DENIALS.isdisjoint(plain[:at])


def _open_brackets(plain: list[str], at: int) -> None:
    """Leave out the brackets that close at a word, and what they hold but a side ("effusion (left): no")."""
    if at < 2 or plain[at] != ")":
        return
    for inside in range(at, max(at - 4, 0), -1):
        last = plain[inside] == "("
        plain[inside] = plain[inside] if plain[inside] in _SIDES else _NOTHING
        if last:
            return


def _heading(plain: list[str], lexicon: Lexicon) -> None:
    """Leave out a heading that names nothing known, or a whole organ before a statement that has its own place."""
    colon = plain.index(":")
    if denies(" ".join(plain[: colon + 1]), lexicon):
        own = any(match.link == "negation before" for match in lexicon.match(plain[colon + 1 :]))
        plain[colon:] = ["," if word in _LIST_MARKS else word for word in plain[colon:]]
        plain[: colon + 1] = [*[_NOTHING] * colon, _NOTHING if own else "no"]
        return
    if any(match.role == "elsewhere" for match in lexicon.match(plain[: colon + 1])):
        return
    heading, body = lexicon.match(plain[:colon]), lexicon.match(plain[colon + 1 :])
    named = [match for match in heading if not match.link]
    if named and [match.kind for match in body[:1]] == ["property"]:  # "Heart: size is normal"
        plain[colon] = _NOTHING
        return
    placed = all(match.kind in _WHOLE for match in named) and _stands_alone(body, [match.name for match in named])
    repeated = {each.name for each in named if each.role == "observations"} & {each.name for each in body}
    if not named or placed or repeated:
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
    named = places if organs[:1] in (["lung"], ["lungs"]) else places - sides - _POSITIONS
    return bool(found and named) or (len(organs) > 1 and bool(found - _UNNAMED))
