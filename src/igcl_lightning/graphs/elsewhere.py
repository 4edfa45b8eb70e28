"""Observations of another time, person or study, which are left out of a graph."""

from __future__ import annotations

from collections.abc import Sequence, Set

from igcl_lightning.graphs.lexicon import ANY_DATE, Match, alternatives
from igcl_lightning.graphs.phrases import CONCLUSIONS, FAR, Phrase

_EARLIER = frozenset({"previous study", "prior study"})
_TELLS = frozenset({"demonstrates", "reveals", "showed", "shows"})
TIMES = _EARLIER | {"had", "status post"}
"""Names of connectors that may tell of another time."""

_PRESENT = alternatives("appears|continues to be|demonstrates|has|is|is apparent|remains|seems|shows|there is")
_PAST = alternatives("had|showed|there was|was|was apparent")
_CONDITIONS = alternatives(
    "if|should the|to identify"
)  # also of devices, but not of what they name as known ("the ...")
_STILL = alternatives(
    "continued|decreased|enlarging|improved|increased|larger|new|ongoing|persistent|progressive|residual|resolving|similar"
    "|smaller|stable|unchanged|worsened"
)
"""Changes, which are told of what is there."""
_NOW = _PRESENT | _STILL | {"has changed", "healed"}  # not of a past time
_COMPARES = frozenset({"compared to", "greater than"})
_OLD = frozenset({"healed", "old"})
_PREVIOUSLY = "previously"
_PLUPERFECT = "there had been"
_REMAINS = frozenset({"persistent", "residual"})
_FOREIGN = frozenset({"device", "procedure"})  # seen, also when they are history


def elsewhere(
    at: int, matches: Sequence[Match], items: Sequence[Match], phrases: Sequence[Phrase], scope: Sequence[int]
) -> list[int]:
    """Return the items that term `at` says are of another time, person or study, none if it is no such term.

    Args:
        at: number of the term.
        matches: the terms of the sentence.
        items: the terms that are entities.
        phrases: their phrases.
        scope: the items after the term up to the end of its list.
    """
    cue = matches[at]
    if cue.role == "elsewhere":
        if _concluded(at, matches):
            return []
        if cue.kind == "before":
            return _after(at, matches, items, phrases, scope)
        clause = _clause(cue, matches, items)
        if cue.kind == "past" and not _is_past(at, matches, items, clause):
            return []
        if cue.name == "may be needed":
            return [index for index in clause if items[index].kind == "device"]
        spared = _FOREIGN if cue.kind == "past" else {"procedure"}
        return [index for index in clause if items[index].kind not in spared]
    if cue.name in _EARLIER and _tells_of_earlier_study(at, matches):
        return [index for index in _clause(cue, matches, items) if items[index].kind != "procedure"]
    if cue.name == "had" and at == 0:
        return _clause(cue, matches, items)
    return _had(at, matches, items) if cue.name == "status post" else []


def _after(
    at: int, matches: Sequence[Match], items: Sequence[Match], phrases: Sequence[Phrase], scope: Sequence[int]
) -> list[int]:
    """Return the items after a term of another time or person, up to a new predicate ("sent for cough has ...")."""
    cue, last = matches[at], -1
    condition = cue.name in _CONDITIONS
    for phrase in phrases:
        if phrase.items[0] in scope and phrase.follows == "predicate" and phrase.observations and last >= 0:
            break
        last = phrase.items[-1] if phrase.items[-1] in scope else last
    gone = [index for index in scope if index <= last]
    if condition:
        known = _known(matches, items, phrases)
        return [index for index in gone if index not in known]
    gone = [index for index in gone if items[index].kind not in _FOREIGN]
    return [] if cue.name == "history of" and _persists(gone, items, matches) else gone


def _known(matches: Sequence[Match], items: Sequence[Match], phrases: Sequence[Phrase]) -> set[int]:
    """Return the items directly after "the" up to an observation, which a condition takes for granted."""
    after = {match.end + 1 for match in matches if match.link == "the" or match.name == "should the"}
    known = [phrase for phrase in phrases if items[phrase.items[0]].start in after]
    return {index for phrase in known for index in phrase.items if index <= max(phrase.observations, default=index)}


def _persists(gone: Sequence[int], items: Sequence[Match], matches: Sequence[Match]) -> bool:
    """Return whether what a history names is said to last ("history of effusion, which persists")."""
    observed = [index for index in gone if items[index].role == "observations"]
    if not observed:
        return False
    told = items[observed[-1]].end
    end = min(
        (match.start for match in matches if match.link == "break" and match.start > told), default=matches[-1].end
    )
    after = [match for match in matches if told < match.start <= end]
    changed = any(match.name in _STILL | {"is apparent", "once again", "present"} for match in after)
    return changed and not any(match.role == "observations" for match in after)


def _had(at: int, matches: Sequence[Match], items: Sequence[Match]) -> list[int]:
    """Return the items directly after "status post", none if a procedure or device is among them."""
    gone: list[int] = []
    end = matches[at].end
    for match in matches[at + 1 :]:
        if match.start > end + 2 or match.link not in {"", "inside", "the"}:
            break
        end = match.end
        gone += [index for index, item in enumerate(items) if item is match]
    seen = any(items[index].kind in _FOREIGN or items[index].name in _OLD for index in gone)
    return [] if seen else gone


def _clause(cue: Match, matches: Sequence[Match], items: Sequence[Match]) -> list[int]:
    """Return the items of a term's clause, which ends at "now" and at what is left ("with residual thickening")."""
    start, end = -1, matches[-1].end + 1
    for match in matches:
        if match.link == "break" and match.start < cue.start:
            start = match.start
        elif match.start > cue.end and (match.link == "break" or match.name == "now" or match.name in _REMAINS):
            end = match.start
            break
    return [index for index, item in enumerate(items) if start < item.start < end]


def _is_past(at: int, matches: Sequence[Match], items: Sequence[Match], clause: Sequence[int]) -> bool:
    """Return whether a time dates its clause: at its end, without a verb in the present, a denial or a change."""
    cue, inside = matches[at], _said(at, matches)
    names = {match.name for match in inside}
    if not clause or names & _NOW or not _dates(cue, names, items[clause[0]]):
        return False
    if cue.name == _PLUPERFECT:
        return True
    if at and matches[at - 1].name in _COMPARES and matches[at - 1].end + 3 > cue.start:
        return False
    if ":" in names or _denied_or_now(inside, items[clause[0]].start):
        return False
    told = [items[index] for index in clause if items[index].kind not in {"device", "number"}]
    before = [item for item in told if item.start < cue.start]
    named = [item for item in before if item.role == "observations"]
    operated = bool(named) and all(item.kind == "procedure" for item in named)  # "lobectomy in 2009 for a mass"
    return operated or not before or told[-1].end < cue.start or bool(names & _PAST)


def _dates(cue: Match, names: Set[str], first: Match) -> bool:
    """Return whether a time dates something: a bare year what precedes it, "previously" a verb in the past."""
    if cue.name == ANY_DATE:
        return bool(names & _PAST) or first.start < cue.start
    return cue.name != _PREVIOUSLY or bool(names & _PAST)


def _denied_or_now(inside: Sequence[Match], first: int) -> bool:
    """Return whether a clause denies what it names, or says how that is now ("5 mm last year, now 8 mm")."""
    denied = any(match.role == "negation" and (match.kind != "before" or match.start < first) for match in inside)
    now = next((match.start for match in inside if match.name == "now"), inside[-1].start)
    told = {match.role for match in inside if match.start > now and not match.link}
    return denied or (bool(told) and "observations" not in told)


def _said(at: int, matches: Sequence[Match]) -> list[Match]:
    """Return the terms of a term's clause, with the break that opens it."""
    breaks = [match.start for match in matches if match.link == "break"]
    start = max((each for each in breaks if each < matches[at].start), default=-1)
    end = min((each for each in breaks if each > matches[at].end), default=matches[-1].end + 1)
    return [match for match in matches if start <= match.start < end]


def _concluded(at: int, matches: Sequence[Match]) -> bool:
    """Return whether a history is concluded from what is seen ("consistent with the patient's history of")."""
    near = matches[max(at - 3, 0) : at]
    if any(match.link in CONCLUSIONS and matches[at].start - match.end <= FAR for match in near):
        return True
    return bool(near) and near[-1].name == "like her" and near[-1].end + 1 == matches[at].start


def _tells_of_earlier_study(at: int, matches: Sequence[Match]) -> bool:
    """Return whether a clause is about an earlier study, which its verb says.

    "The prior film showed", "on the prior film there was", "effusion was seen on the prior film".
    """
    cue, inside = matches[at], _said(at, matches)
    names = {match.name for match in inside}
    before = [
        match for match in inside if match.start < cue.start and match.link not in {"the", "inside", "list", "break"}
    ]
    after = [match for match in inside if match.start > cue.end]
    if not before:
        return bool(after) and after[0].name in _TELLS | _PAST and after[0].start <= cue.end + 2
    if before[-1].name not in {"at", "in", "on"} or not names & _PAST or names & _PRESENT:
        return False
    if len(before) == 1:
        return True
    last = not any(match.link == "" for match in after)
    return last and not any(match.role == "negation" or match.name in _STILL for match in inside)
