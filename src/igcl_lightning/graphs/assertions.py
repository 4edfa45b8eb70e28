"""Observations that a sentence affirms, doubts and denies."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from igcl_lightning.graphs.denials import CHANGES, cancelled_denials, told_of_changes
from igcl_lightning.graphs.elsewhere import TIMES, elsewhere
from igcl_lightning.graphs.lexicon import Match, alternatives
from igcl_lightning.graphs.phrases import CONCLUSIONS, FAR, PLACES, Phrase
from igcl_lightning.graphs.schema import HEDGE_ID

REACH = 6  # words between a denial or doubt and the furthest start of its scope
_CUES, _SAID = frozenset({"hedges", "negation", "elsewhere"}), TIMES | {"favor"}
"""Roles, and names of connectors, that may assert something."""

_PLACED = frozenset({"may be", "possible", "questionable", "suspected"})  # what they doubt may stand before a place
_OTHER = {"probable": "unlikely", "unlikely": "probable"}
DIFFERENTIAL = "differential diagnosis"  # the hedge whose scope is a whole list, even across "and"

SEEN = alternatives(
    "healed|improved|mild|mild to moderate|minimal|moderate|old|persistent|residual|resolving|slight|small"
    "|small to moderate|tiny|trace"
)
"""Words that describe what is seen; a list of denials has others ("no large effusion")."""

_LACK = "absence of"
_WHETHER = "unclear whether"

_STATEMENT_ENDS = frozenset({"break", "with"})


class Assertion(NamedTuple):
    """Certainty of an observation: its label, and the strength of a hedge (`schema.HEDGES`)."""

    label: str
    hedge: str = ""


PRESENT, ABSENT = Assertion("OBS-DP"), Assertion("OBS-DA")
ELSEWHERE = Assertion("")  # of another time, person or study: not in the graph


def assertions(items: Sequence[Match], phrases: Sequence[Phrase], matches: Sequence[Match]) -> list[Assertion]:
    """Return the assertion of each item: present, uncertain in the scope of a hedge, absent in the scope of a denial.

    Denial overrides doubt, and the stronger of two doubts the weaker.
    """
    said = [PRESENT] * len(items)
    doubt = ""
    for phrase in phrases:
        goes_on = phrase.follows in PLACES or phrase.either
        doubt = CONCLUSIONS.get(phrase.follows, doubt if goes_on else "")
        if doubt:
            _doubt(said, phrase.items, doubt)
    cues = {at: cue for at, cue in enumerate(matches) if cue.link and (cue.role in _CUES or cue.name in _SAID)}
    if not cues:
        return said
    for cue in cues.values():
        if cue.role == "hedges":
            _hedge(said, cue, items, phrases, matches)
        elif cue.name == "favor" and _closes_clause(cue, matches):  # "atelectasis favored"
            _doubt(said, _scope_before(cue, "after", items, phrases), "probable")
    _deny(said, list(cues.values()), items, phrases, matches)
    for at, cue in cues.items():
        if cue.role == "elsewhere" or cue.name in TIMES:
            _leave_out(said, at, items, phrases, matches)
    return said


def _leave_out(
    said: list[Assertion], at: int, items: Sequence[Match], phrases: Sequence[Phrase], matches: Sequence[Match]
) -> None:
    """Mark the items that term `at` says are of another time, person or study."""
    cue = matches[at]
    scope = list(_scope_after(cue, items, phrases)) if cue.kind == "before" else []
    for index in elsewhere(at, matches, items, phrases, scope):
        if cue.kind != "past" or said[index] is not ABSENT:  # "effusion last week, none today"
            said[index] = ELSEWHERE


def _hedge(
    said: list[Assertion], cue: Match, items: Sequence[Match], phrases: Sequence[Phrase], matches: Sequence[Match]
) -> None:
    """Mark the items that a hedge doubts; one of two rivals is the less likely ("edema is favored over infection")."""
    strength, _, position = cue.kind.partition(" ")
    scope = list(_scope(cue, position, items, phrases, matches))
    if cue.name == _WHETHER and (changes := _changes(scope, items, phrases)):
        for index in changes:
            said[index] = ELSEWHERE
        return
    _doubt(said, scope, strength)
    if position == "over":
        _doubt(said, _scope_after(cue, items, phrases), _OTHER[strength])


def _changes(scope: Sequence[int], items: Sequence[Match], phrases: Sequence[Phrase]) -> list[int]:
    """Return the changes that a scope says of a finding at its end ("whether the effusion is new"), if any."""
    last = next((phrase for phrase in phrases if phrase.items[-1] in scope[-1:]), None)
    told = last is not None and last.follows == "predicate" and last.items[0] in scope[1:]
    changes = last.items if last is not None and told else []
    return changes if all(items[index].kind in {"temporal", "stability"} for index in changes) else []


def _deny(
    said: list[Assertion],
    cues: Sequence[Match],
    items: Sequence[Match],
    phrases: Sequence[Phrase],
    matches: Sequence[Match],
) -> None:
    """Mark the items that are absent, and those that a denied exclusion leaves open."""
    denials = [cue for cue in cues if cue.role == "negation" and cue.kind != "none"]
    if not denials:
        return
    simple = len(cues) == 1 and cues[0].kind == "before"  # most sentences, for speed
    cancelled, doubted = (set(), []) if simple else cancelled_denials(matches)
    for cue in denials:
        if cue not in cancelled:
            denied = list(_scope(cue, cue.kind, items, phrases, matches))
            if cue.name == "neither" and told_of_changes(cue, [items[index] for index in denied], matches):
                denied = [index for index in denied if items[index].name in CHANGES]
            for index in denied:
                said[index] = ABSENT
    for cue, end in doubted:
        _doubt(said, (index for index in _scope_after(cue, items, phrases) if items[index].start < end), "possible")


def _doubt(said: list[Assertion], indices: Iterable[int], strength: str) -> None:
    for index in indices:
        if HEDGE_ID.get(said[index].hedge, 0) == 0 or HEDGE_ID[strength] < HEDGE_ID[said[index].hedge]:
            said[index] = Assertion("OBS-U", strength)


def _scope(
    cue: Match, position: str, items: Sequence[Match], phrases: Sequence[Phrase], matches: Sequence[Match]
) -> Iterator[int]:
    """Yield the items in the scope of a cue of denial or doubt.

    A hedge that closes a clause applies to the items before it ("effusion is likely"); a cue for items before it
    applies to those after it if there are none before ("resolved effusion").
    """
    if position == "context":
        yield from (index for phrase in phrases if phrase.follows in CONCLUSIONS for index in phrase.items)
    elif position == "between":
        yield from (*_scope_before(cue, position, items, phrases), *_scope_after(cue, items, phrases))
    elif position == "over":
        yield from _scope_before(cue, position, items, phrases)
    elif position == "before":
        after = list(_scope_after(cue, items, phrases))
        yield from after
        if _is_not(cue, matches) or (cue.role == "hedges" and _reaches_back(cue, after, items, phrases, matches)):
            yield from _scope_before(cue, position, items, phrases)
    else:
        before = list(_scope_before(cue, position, items, phrases))
        earlier = reversed(matches[: _place(cue, matches)])  # the nearest first: time is linear
        last = next((match.start for match in earlier if match.kind == "break"), -1)
        clause = [index for index in before if items[index].start > last]
        if cue.role == "hedges" and all(
            items[index].role == "modifiers" for index in clause
        ):  # "small, if any, effusion"
            clause += _scope_after(cue, items, phrases)
        yield from clause or list(_scope_after(cue, items, phrases)) or before


def _place(cue: Match, matches: Sequence[Match]) -> int:
    """Return the number of a term."""
    return bisect_left(matches, cue.start, key=lambda match: match.start)


def _reaches_back(
    cue: Match, after: Sequence[int], items: Sequence[Match], phrases: Sequence[Phrase], matches: Sequence[Match]
) -> bool:
    """Return whether a hedge doubts what precedes it too (but "edema or, less likely, infection")."""
    if after and _begins_clause(cue, matches):
        return False
    return _closes_clause(cue, matches) or _may_be(cue, after, items, phrases)


def _is_not(cue: Match, matches: Sequence[Match]) -> bool:
    """Return whether a denial ends its clause after "is" ("edema is seen, effusion is not")."""
    if cue.name != "not":
        return False
    at = _place(cue, matches)
    if matches[at - 1].name != "is" or matches[at - 1].end + 1 != cue.start:
        return False
    ends = matches[at + 1 : at + 2]
    closes = bool(ends) and ends[0].link == "break" and ends[0].start == cue.end + 1
    return closes and not any(match.link == "negation after" for match in matches[:at])


def _begins_clause(cue: Match, matches: Sequence[Match]) -> bool:
    """Return whether a cue follows directly on a list word or a break."""
    at = _place(cue, matches)
    before = matches[at - 1] if at else None
    return before is not None and before.link in {"break", "list"} and before.end + 1 == cue.start


def _may_be(cue: Match, after: Sequence[int], items: Sequence[Match], phrases: Sequence[Phrase]) -> bool:
    """Return whether only a place follows "may be" ("fluid may be hiding behind the heart"; a device is seen)."""
    if cue.name not in _PLACED or not after or any(items[index].role != "anatomy" for index in after):
        return False
    first = next(phrase for phrase in phrases if after[0] in phrase.items)
    return first.follows == "place" and not any(item.kind == "device" and item.end < cue.start for item in items)


def _closes_clause(cue: Match, matches: Sequence[Match]) -> bool:
    """Return whether at most a verb separates a cue from the end of its clause ("is probably present")."""
    end, ends = cue.end, {"break", "list"}
    for match in matches:
        if match.start > end:
            if match.start > end + 1 or match.link not in {"predicate", "inside"}:
                return match.start == end + 1 and match.link in ends
            end = match.end
            ends = {*ends, *PLACES} if match.link == "predicate" else ends
    return True


def _scope_after(cue: Match, items: Sequence[Match], phrases: Sequence[Phrase]) -> Iterator[int]:
    """Yield the items after a cue up to the end of its list."""
    start = next((n for n, phrase in enumerate(phrases) if items[phrase.items[-1]].start > cue.end), None)
    if start is None or phrases[start].since > cue.start:
        return
    covered = [index for index in phrases[start].items if items[index].start > cue.end]
    if items[covered[0]].start - cue.end > REACH:
        return
    yield from covered
    closed = False
    for at in range(start + 1, len(phrases)):
        phrase, after = phrases[at], phrases[at + 1] if at + 1 < len(phrases) else None
        known = phrase.follows == "place" and phrase.opens and phrase.observations  # "behind the consolidation"
        if phrase.follows in _STATEMENT_ENDS or phrase.foreign > FAR or known or _is_told(cue, at, phrases, items):
            return
        if cue.role != "hedges" and not phrase.either and _contrasts(at, phrases, items):
            return
        closed = closed or phrase.said
        if phrase.listed and ((closed and not phrase.either) or _new_statement(phrase, after, items)):
            return
        ends = (phrase.listed and not phrase.choice) or phrase.follows in CONCLUSIONS
        if cue.role == "hedges" and ends and cue.name != DIFFERENTIAL:
            return
        yield from phrase.items


def _new_statement(phrase: Phrase, after: Phrase | None, items: Sequence[Match]) -> bool:
    """Return whether a listed phrase starts a new statement: "the ...", something normal or stable, a new subject."""
    subject = not phrase.observations and after is not None and after.follows == "predicate"
    kinds = [items[index].kind for index in phrase.items]
    described = kinds[0] in {"size", "severity"} and "side" in kinds and not phrase.either
    stated = not phrase.observations and kinds[0] in {"noun", "outline"} and kinds[-1] == "state"  # "heart enlarged"
    return phrase.opens or subject or stated or described or kinds[0] == "stability" or "normal" in kinds


def _is_told(cue: Match, at: int, phrases: Sequence[Phrase], items: Sequence[Match]) -> bool:
    """Return whether a phrase tells what is so now, or what an absence means.

    "Not enlarged before, now enlarged", "absence of lung markings indicates pneumothorax" (but "absence of findings
    that suggest pneumonia").
    """
    phrase, before = phrases[at], phrases[at - 1]
    if cue.name == _LACK and phrase.follows in CONCLUSIONS:
        return any(items[index].kind not in {"generic", "mention"} for index in before.root.observations[-1:])
    return cue.role == "negation" and phrase.now and phrase.listed


def _contrasts(at: int, phrases: Sequence[Phrase], items: Sequence[Match]) -> bool:
    """Return whether a phrase after a list of denials is something seen.

    "No effusion and a small nodule", "no effusion on the left, small effusion on the right", "no edema, small effusion"
    (but "no edema, small effusion or nodule"), "no acute process small effusion", "no pneumothorax, catheter in place",
    "no enlargement of the nodule".
    """
    phrase = phrases[at]
    after = phrases[at + 1] if at + 1 < len(phrases) else None
    before = phrases[at - 1].observations
    if phrase.follows in PLACES and phrase.opens and before and items[before[-1]].kind in {"generic", "sign"}:
        return bool(phrase.observations)
    if not (phrase.listed and phrase.observations) or phrase.follows not in {"list", "beside"}:
        return False
    if phrase.article:
        return True
    if after is not None and after.either:
        return False
    if after is not None and after.but and after.denied and not phrase.either:  # "no mass, effusion but no edema"
        return True
    if items[phrase.items[0]].name in SEEN:
        return True
    if phrases[at - 1].follows in PLACES:
        placed = [phrase, after] if after is not None and after.follows in PLACES else [phrase]
        own, other = _sides(placed, items), _sides(phrases[at - 1 : at], items)
        if own and other and own != other:
            return True
    earlier = (index for each in phrases[:at] for index in each.observations)
    device = items[phrase.observations[0]].kind == "device"
    return device and all(items[index].kind != "device" for index in earlier)


def _sides(phrases: Sequence[Phrase], items: Sequence[Match]) -> set[str]:
    """Return the sides that phrases name."""
    return {items[index].name for phrase in phrases for index in phrase.items if items[index].kind == "side"}


def _complete(phrase: Phrase, items: Sequence[Match]) -> bool:
    """Return whether a phrase is a complete statement: a predicate, or it ends in a change ("effusion persists")."""
    last = items[phrase.items[-1]]
    return phrase.follows == "predicate" or (bool(phrase.observations) and last.kind in {"temporal", "stability"})


def _scope_before(cue: Match, position: str, items: Sequence[Match], phrases: Sequence[Phrase]) -> Iterator[int]:
    """Yield the items before a cue back to the start of their list; for "versus", its neighbour only."""
    at = next((n for n in reversed(range(len(phrases))) if items[phrases[n].items[0]].end < cue.start), -1)
    while at >= 0:
        phrase = phrases[at]
        yield from (index for index in phrase.items if items[index].end < cue.start and items[index].kind != "normal")
        before = phrases[at - 1] if at else None
        listed = phrase.follows == "list" and position != "between" and before and not _complete(before, items)
        listed = listed and not phrase.said
        if phrase.follows not in PLACES and not listed:
            return
        at -= 1
