"""Phrases: the terms of a sentence that belong together, and how each phrase follows the one before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from igcl_lightning.graphs.lexicon import HYPHENS, Match

FAR = 4
"""Nothing is tied across more unknown words than this."""

CONTENT = frozenset({"anatomy", "observations", "modifiers"})
"""The roles that become entities; the others say how entities belong together."""

HEADS = frozenset({"finding", "sign", "device", "part", "generic"})
STATES = frozenset({"state", "normal"})
CONCLUSIONS = frozenset({"suggests", "may suggest"})
PLACES = frozenset({"place", "of"})
SAYINGS = PLACES | CONCLUSIONS | {"predicate"}
"""Ways to follow that speak about a phrase before."""

_PREDICATES = frozenset({"predicate", "negation after", "hedges after"})


@dataclass(slots=True, eq=False)
class Phrase:
    """Terms that belong together, and how they follow the phrase before.

    Attributes:
        follows: "place", "of", "predicate", "suggests", "may suggest", "list", "with", "beside" or "break".
        listed: a list word stands before it ("and", a comma).
        choice: that list word is not "and", so that a doubt goes on.
        opens: "the" after the list word: a new statement.
        said: a predicate stands before it: the statement before is complete.
        foreign: number of unknown words before it.
        since: first word after the last break before it.
        items: indices of its terms.
        observations: its findings and devices.
        places: anatomies that locate none of its observations.
        states: qualifiers of none of its observations.
        speaks_of: what a place locates, the subject of a predicate, the premise of a conclusion.
        root: the phrase that a later predicate or conclusion speaks about.
    """

    follows: str
    listed: bool = False
    choice: bool = False
    opens: bool = False
    said: bool = False
    foreign: int = 0
    since: int = 0
    items: list[int] = field(default_factory=list)
    observations: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    states: list[int] = field(default_factory=list)
    speaks_of: Phrase | None = None
    root: Phrase | None = None


def split_phrases(words: Sequence[str], matches: Sequence[Match]) -> tuple[list[Phrase], set[int]]:
    """Return the phrases of a sentence, and the items that a list word joins to the item before in the same phrase."""
    phrases: list[Phrase] = []
    joined: set[int] = set()
    items: list[Match] = []
    gap: list[Match] = []
    foreign = end = 0
    for match in matches:
        foreign += sum(word not in HYPHENS for word in words[end : match.start])
        end = match.end + 1
        if match.role not in CONTENT:
            gap.append(match)
            foreign += match.kind == "skip"
            continue
        kinds = [_link(between) for between in gap]
        if foreign or not phrases or not _same_phrase(items[phrases[-1].items[0] :], match, set(kinds), phrases[-1]):
            phrases.append(_new_phrase(words, gap, kinds, foreign, phrases))
        elif "list" in kinds:
            joined.add(len(items))
        phrases[-1].items.append(len(items))
        items.append(match)
        gap, foreign = [], 0
    return phrases, joined


def _link(match: Match) -> str:
    """Return what a term between two items does: its kind, with the role where that is not a connector."""
    if match.role == "connectors":
        return match.kind
    return "list" if match.kind == "between" else f"{match.role} {match.kind}"


def _same_phrase(phrase_items: Sequence[Match], match: Match, kinds: set[str], phrase: Phrase) -> bool:
    """Say whether an item goes on with a phrase, given what stands between."""
    kinds = kinds - {"inside"}
    if kinds <= {"hedges before"}:
        return True
    before = phrase_items[-1]
    if kinds != {"list"} or any(item.kind in HEADS for item in phrase_items):
        return False
    if before.kind == "adjective" and match.role == "anatomy":
        return True
    qualifies = before.role == "modifiers" or before.kind in STATES
    open_side = before.kind == "adjective" and phrase.follows not in PLACES
    qualified = match.role == "modifiers" or match.kind in STATES
    return (qualifies or open_side) and qualified and phrase.follows != "predicate"


def _new_phrase(
    words: Sequence[str], gap: Sequence[Match], kinds: Sequence[str], foreign: int, phrases: Sequence[Phrase]
) -> Phrase:
    """Return an empty phrase that follows the last one as the terms between them say."""
    lists = [words[match.start] for match, kind in zip(gap, kinds, strict=True) if kind == "list"]
    return Phrase(
        follows=_follows(kinds, foreign, phrases),
        listed=bool(lists),
        choice="and" not in lists,
        opens="the" in kinds or "exists" in kinds,
        said=not _PREDICATES.isdisjoint(kinds),
        foreign=foreign,
        since=max((match.end for match, kind in zip(gap, kinds, strict=True) if kind == "break"), default=0),
    )


def _follows(kinds: Sequence[str], foreign: int, phrases: Sequence[Phrase]) -> str:
    """Return how a phrase follows the last one; the strongest of the terms between them decides."""
    last = next((kind for kind in reversed(kinds) if kind in PLACES | {"predicate", "with", "list"}), "")
    conclusion = next((kind for kind in reversed(kinds) if kind in CONCLUSIONS), "")
    place_first = len(phrases) == 1 and phrases[0].follows in PLACES
    if conclusion and foreign <= FAR:
        return conclusion
    if "break" in kinds or ("exists" in kinds and not place_first):
        return "break"
    if foreign > FAR:
        return "beside"
    if last not in {"", "list"}:
        return last
    if "exists" in kinds:
        return "predicate"
    if "negation before" in kinds:
        return "with"
    return last or "beside"
