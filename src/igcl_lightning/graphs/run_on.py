"""Statements that follow each other without anything between them: "no effusion heart enlarged lungs clear"."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from igcl_lightning.graphs.lexicon import Match
from igcl_lightning.graphs.phrases import STATES

LOOK_AHEAD = 8  # terms that a new statement may need to be recognised

_FINDINGS = frozenset({"finding", "appearance", "device"})
_COMPLETE = _FINDINGS | {"generic", "sign"}
_ENDS = _COMPLETE | STATES
_ORGANS = frozenset({"noun", "outline"})
_PLACES = _ORGANS | {"adjective", "side", "property"}
_QUALIFIERS = frozenset({"severity", "size", "temporal"})
_BEGINNINGS = _PLACES | _QUALIFIERS | {"the", "exists", "before", "device"}  # kinds of terms that may begin a statement
_JOINING = frozenset({"list", "place", "of"})


def run_ons(matches: Sequence[Match]) -> list[int]:
    """Return the words of a sentence before which another statement begins without any mark.

    A denial, "there is", an organ with its state, or a qualified finding begins one, directly after a finding, or
    directly after a state that an organ precedes; a device does after findings that are denied.

    Args:
        matches: the terms in the sentence.
    """
    starts: list[int] = []
    first = 0
    for number, (before, match) in enumerate(pairwise(matches), start=1):
        if before.kind not in _ENDS or match.kind not in _BEGINNINGS or match.start != before.end + 1:
            continue
        rest = matches[number : number + LOOK_AHEAD]
        said = matches[first:number]
        named = match.link == "the" and _names(rest)
        if named or (_ends(said) and _begins(rest)) or (_denies(said) and _shows_device(rest)):
            starts.append(match.start)
            first = number
    return starts


def _ends(said: Sequence[Match]) -> bool:
    """Return whether a statement is complete: it ends in a finding, or in the state of an organ before it."""
    if said[-1].kind in _COMPLETE:
        return True
    organ = any(match.kind in _ORGANS for match in said)
    return organ and _JOINING.isdisjoint(match.link for match in said)


def _denies(said: Sequence[Match]) -> bool:
    """Return whether findings are denied, up to the last term."""
    return said[-1].kind == "finding" and any(match.link == "negation before" for match in said)


def _shows_device(rest: Sequence[Match]) -> bool:
    """Return whether a device follows, alone or at a place: it is there ("no effusion left PICC tip in the SVC")."""
    named = next((match for match in _together(rest) if match.kind not in _PLACES), rest[-1])
    return named.kind == "device"


def _names(rest: Sequence[Match]) -> bool:
    """Return whether the terms after an article name something ("the visualized bones", not "that appears new")."""
    named = next((match for match in rest if match.link not in {"the", "inside", "predicate"}), rest[0])
    return named.kind in _PLACES | _COMPLETE


def _begins(rest: Sequence[Match]) -> bool:
    """Return whether the following terms begin with a statement of their own."""
    first = rest[0]
    if first.link:
        return first.link == "exists" or (first.link == "negation before" and first.name == "no")
    if first.kind in _PLACES:
        organ = next((n for n, match in enumerate(rest) if match.kind not in _PLACES), len(rest))
        named = any(match.kind in _ORGANS for match in rest[:organ])
        return named and _states(rest[organ - 1 :])
    # "no consolidation large effusion or pneumothorax" is a list without a comma
    qualified = first.kind in _QUALIFIERS and first.name != "large"
    return qualified and any(match.kind in _COMPLETE for match in _together(rest))


def _states(rest: Sequence[Match]) -> bool:
    """Return whether a state follows the organ that comes first, directly or after a verb and a modifier."""
    predicate = [match.kind == "predicate" for match in rest[1:2]] == [True]
    following = _together(rest)[1 : 4 if predicate else 3]
    return any(match.kind in STATES for match in following)


def _together(rest: Sequence[Match]) -> Sequence[Match]:
    """Return the first terms without other words between them, and without links but a verb."""
    end = 1
    while end < len(rest) and rest[end].start == rest[end - 1].end + 1 and rest[end].link in {"", "predicate"}:
        end += 1
    return rest[:end]
