"""Denials of a sentence that deny nothing: denied denials, and what only one view does not show."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from igcl_lightning.graphs.lexicon import Match, alternatives

_DENIABLE = frozenset({"absence of", "free of", "negative for", "without"})  # "not free of": present
_UNPROVEN = "cannot be confirmed"  # "absence of ... cannot be confirmed": possible
_CONFIRM = "to confirm that"  # "until the pneumonia has cleared": not yet
_LEAVE_DOUBT = frozenset({"has been ruled out", "is excluded", _UNPROVEN})  # "neither ... nor ... can be excluded"
CHANGES = alternatives("decreased|enlarged|enlarging|improved|increased|larger|progressive|smaller|worsened")
_NEGATIVE = frozenset({"neither", "never", "no", "not", "without"})
_PRESENT = "is apparent"
_NAMED = frozenset({"finding", "appearance", "device", "generic", "sign"})
_ENDS = frozenset({"break", "list", "with"})
_UNSEEN = frozenset({"is not demonstrated", "is not present", "is not seen"})
_ONE_VIEW = "lateral view"
_TO_VIEW = frozenset({"the", "inside"})


def cancelled_denials(matches: Sequence[Match]) -> tuple[set[Match], list[tuple[Match, int]]]:
    """Return the denials that deny nothing, and those among them that leave doubt, up to which word."""
    cancelled = _said_both_ways(matches)
    doubted: list[tuple[Match, int]] = []
    wanted = False
    before: list[Match] = []  # denials of this clause
    for at, match in enumerate(matches):
        if match.link == "break":
            before, wanted = [], False
        elif match.name == _CONFIRM:
            wanted = True
        elif match.link == "negation after" and wanted:
            cancelled.add(match)
        elif match.name in _LEAVE_DOUBT:
            undone = [cue for cue in before if match.name != _UNPROVEN or cue.name == "absence of"]
            cancelled.update([*undone, match] if undone else [])
            doubted += [(cue, match.start) for cue in undone]
        elif match.role == "negation" and match.kind == "before":
            if before and match.name in _DENIABLE and _undoes(before[-1], match, matches):
                cancelled.update((before[-1], match))
            before.append(match)
        elif match.role == "negation" and match.name in _UNSEEN and _on_one_view(matches[at:]):
            cancelled.add(match)
    return cancelled, doubted


def told_of_changes(cue: Match, denied: Sequence[Match], matches: Sequence[Match]) -> bool:
    """Return whether "neither" denies a change of the entities it precedes ("neither effusion has increased")."""
    end = min((match.start for match in matches if match.link == "break" and match.start > cue.end), default=None)
    said = [match for match in matches if match.start > cue.end and (end is None or match.start < end)]
    return any(match.name == "has changed" for match in said) or any(match.name in CHANGES for match in denied[-1:])


def _said_both_ways(matches: Sequence[Match]) -> set[Match]:
    """Return the denials of what is said to be present elsewhere ("is present on the left and absent on the right")."""
    both: set[Match] = set()
    told: list[Match] = []  # what is said of the last finding
    for match in matches:
        if match.kind in _NAMED:
            told = []
        elif match.name == _PRESENT or match.link == "negation after":
            told.append(match)
            if any(each.name == _PRESENT for each in told):
                both.update(each for each in told if each.link == "negation after")
    return both


def _undoes(first: Match, second: Match, matches: Sequence[Match]) -> bool:
    """Return whether a denial denies another ("not free of", "no lobe is free of")."""
    between = [match for match in matches if first.end < match.start < second.start]
    said = any(match.role == "observations" or match.link in _ENDS for match in between)
    return first.name in _NEGATIVE and not said


def _on_one_view(matches: Sequence[Match]) -> bool:
    """Return whether one view is named directly after a denial, the first match ("not seen on the lateral")."""
    for at, (previous, match) in enumerate(pairwise(matches[:5]), start=2):
        if match.start - previous.end > 2:
            return False
        if match.name == _ONE_VIEW or (match.name == "lateral" and (at == len(matches) or matches[at].link == "break")):
            return True
        if match.link not in {"place", *_TO_VIEW}:
            return False
    return False
