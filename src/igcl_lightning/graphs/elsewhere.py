"""Observations of another time, person or study, which are left out of a graph."""

from __future__ import annotations

from collections.abc import Sequence

from igcl_lightning.graphs.lexicon import Match, alternatives
from igcl_lightning.graphs.phrases import CONCLUSIONS, FAR, Phrase

_EARLIER = frozenset({"previous study", "prior study"})
_TELLS = frozenset({"demonstrates", "reveals", "shows"})
TIMES = _EARLIER | {"had", "status post"}
"""Names of connectors that may tell of another time."""

_PRESENT = alternatives("appears|continues to be|has|is|is apparent|remains|seems|there is")
_PAST = alternatives("had|there was|was|was apparent")
_CONDITIONS = alternatives(
    "if|should the|to identify"
)  # also of devices, but not of what they name as known ("the ...")
_STILL = alternatives(
    "continued|decreased|enlarging|improved|increased|larger|new|ongoing|persistent|progressive|residual|resolving|similar"
    "|smaller|stable|unchanged|worsened"
)
"""Changes, which are told of what is there."""
_OLD = frozenset({"healed", "old"})
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
        spared = _FOREIGN if cue.kind == "past" else {"procedure"}
        return [index for index in clause if items[index].kind not in spared]
    if cue.name in _EARLIER and _tells_of_earlier_study(at, matches, items):
        return [index for index in _clause(cue, matches, items) if items[index].kind != "procedure"]
    if cue.name == "had" and at == 0:
        return _clause(cue, matches, items)
    return _had(at, matches, items) if cue.name == "status post" else []


def _after(
    at: int, matches: Sequence[Match], items: Sequence[Match], phrases: Sequence[Phrase], scope: Sequence[int]
) -> list[int]:
    """Return the items after a term that are not of this study, up to a new predicate ("referred for cough has ...")."""
    cue, last = matches[at], -1
    condition = cue.name in _CONDITIONS
    for phrase in phrases:
        if phrase.items[0] in scope and phrase.follows == "predicate" and phrase.observations and last >= 0:
            break
        last = phrase.items[-1] if phrase.items[-1] in scope else last
    gone = [index for index in scope if index <= last]
    if condition:
        known = _known(at, matches, items, phrases)
        return [index for index in gone if index not in known]
    gone = [index for index in gone if items[index].kind not in _FOREIGN]
    return [] if cue.name == "history of" and _persists(gone, items, matches) else gone


def _known(at: int, matches: Sequence[Match], items: Sequence[Match], phrases: Sequence[Phrase]) -> list[int]:
    """Return the items of the phrase that a condition takes for granted ("if the nodule grows")."""
    start = matches[at].end + 1
    if at + 1 < len(matches) and matches[at + 1].link == "the" and matches[at].name != "should the":
        start = matches[at + 1].end + 1 if matches[at + 1].start == start else -1
    elif matches[at].name != "should the":
        return []
    return next((phrase.items for phrase in phrases if items[phrase.items[0]].start == start), [])


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
    changed = any(match.name in _STILL or match.name == "is apparent" for match in after)
    return changed and not any(match.role == "observations" for match in after)


def _had(at: int, matches: Sequence[Match], items: Sequence[Match]) -> list[int]:
    """Return the items directly after "status post", none if a procedure or device is among them."""
    gone: list[int] = []
    end = matches[at].end
    for match in matches[at + 1 :]:
        if match.start > end + 1 or match.link not in {"", "inside", "the"}:
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
    cue = matches[at]
    if not clause or any(items[index].name in _STILL for index in clause):
        return False
    breaks = [match for match in matches if match.link == "break"]
    start = max((match.start for match in breaks if match.start < cue.start), default=-1)
    end = min((match.start for match in breaks if match.start > cue.end), default=matches[-1].end + 1)
    inside = [match for match in matches if start <= match.start < end]
    if any(match.role == "negation" or match.name in _PRESENT for match in inside):
        return False
    first = items[clause[0]].start
    if inside[0].name == "compared to" and first > cue.end:
        return False
    named = [items[index] for index in clause if items[index].start < cue.start and items[index].role == "observations"]
    operated = bool(named) and all(item.kind in _FOREIGN for item in named)  # "lobectomy in 2009 for a mass"
    return operated or first > cue.end or items[clause[-1]].end < cue.start


def _concluded(at: int, matches: Sequence[Match]) -> bool:
    """Return whether a history is concluded from what is seen ("consistent with the patient's history of")."""
    near = matches[max(at - 3, 0) : at]
    if any(match.link in CONCLUSIONS and matches[at].start - match.end <= FAR for match in near):
        return True
    return bool(near) and near[-1].name == "like her" and near[-1].end + 1 == matches[at].start


def _tells_of_earlier_study(at: int, matches: Sequence[Match], items: Sequence[Match]) -> bool:
    """Return whether a clause is about an earlier study ("on the prior film there was", "the prior film showed")."""
    cue = matches[at]
    breaks = [match.start for match in matches if match.link == "break"]
    start = max((each for each in breaks if each < cue.start), default=-1)
    before = [match for match in matches[:at] if match.start > start and match.link not in {"the", "inside", "list"}]
    after = matches[at + 1] if at + 1 < len(matches) else None
    if not before:
        return after is not None and after.name in _TELLS | _PAST and after.start <= cue.end + 2
    if after is None or [match.name for match in before] not in (["on"], ["in"]):
        return False
    end = min((each for each in breaks if each > cue.end), default=matches[-1].end + 1)
    names = {match.name for match in matches[at + 1 :] if match.start < end}
    return bool(names & _PAST) and not names & _PRESENT
