"""Phrases: terms of a sentence that belong together, and how each phrase follows the previous one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from igcl_lightning.graphs.lexicon import HYPHENS, Match

FAR = 4
"""Largest number of unknown words between related phrases."""

HEADS = frozenset({"finding", "appearance", "sign", "device", "procedure", "part", "generic", "mention"})
STATES = frozenset({"state", "borderline", "normal"})
ADJECTIVES = frozenset({"adjective", "side"})
CONCLUSIONS = {
    "suggests": "",
    "probably suggests": "probable",
    "possibly suggests": "possible",
    "hardly suggests": "unlikely",
}
"""Hedge of each kind of conclusion; "" for none."""

PLACES = frozenset({"place", "of"})
EXPLAINS = "explains"
SAYINGS = PLACES | CONCLUSIONS.keys() | {EXPLAINS, "predicate"}
"""Ways to follow that refer to an earlier phrase."""

_EITHER = frozenset({"or", "and or", "/"})
_LINKS = PLACES | {EXPLAINS, "predicate", "with", "list"}
_PREDICATES = frozenset({"predicate", "negation after", "hedges after"})


@dataclass(slots=True, eq=False)
class Phrase:
    """Terms that belong together, and how they follow the previous phrase."""

    follows: str  # "place", "of", "predicate", "list", "with", "beside", "break", "explains" or one of `CONCLUSIONS`
    listed: bool = False  # a list word precedes it ("and", a comma)
    choice: bool = False  # that list word is not "and", so that a doubt continues
    either: bool = False  # that list word is "or"
    versus: bool = False  # that list word is "versus"
    doubt: str = ""  # strength of the hedge before it, "" without any
    opens: bool = False  # "the" follows the list word: a new statement
    said: bool = False  # a predicate precedes it: the previous statement is complete
    foreign: int = 0  # number of unknown words before it
    since: int = 0  # first word after the last break before it
    items: list[int] = field(default_factory=list)  # indices of its terms
    observations: list[int] = field(default_factory=list)  # its findings and devices
    places: list[int] = field(default_factory=list)  # anatomies that locate none of its observations
    states: list[int] = field(default_factory=list)  # qualifiers of none of its observations
    subject: Phrase | None = None  # subject of a place or predicate, premise of a conclusion
    about: Phrase | None = None  # subject of later predicates and conclusions, if it is another phrase (see `root`)

    @property
    def root(self) -> Phrase:
        """The phrase that is the subject of later predicates and conclusions."""
        return self.about or self


@dataclass(slots=True)
class _Gap:
    """Words between two items.

    Attributes:
        links: function of each term, in order (`Match.link`).
        lists: the list words.
        doubt: strength of a hedge of the following item.
        versus: whether a term states alternatives.
        since: last word of the last break.
        foreign: number of unknown words.
    """

    links: list[str] = field(default_factory=list)
    lists: list[str] = field(default_factory=list)
    doubt: str = ""
    versus: bool = False
    since: int = 0
    foreign: int = 0

    def add(self, match: Match) -> None:
        """Add a term."""
        link = match.link
        self.links.append(link)
        if link == "list":
            self.lists.append(match.name)
            self.versus = self.versus or match.role == "hedges"
        elif link == "hedges before":
            self.doubt = self.doubt or match.kind.partition(" ")[0]
        elif link == "break":
            self.since = match.end
        elif link == "skip":
            self.foreign += 1


_NOTHING = _Gap()


def split_phrases(words: Sequence[str], matches: Sequence[Match]) -> tuple[list[Phrase], set[int]]:
    """Return the phrases of a sentence, and the items that a list word joins to the previous item of their phrase."""
    phrases: list[Phrase] = []
    joined: set[int] = set()
    items: list[Match] = []
    gap = _NOTHING
    end = 0
    hyphens = not HYPHENS.isdisjoint(words)
    for match in matches:
        unknown = match.start - end
        if unknown and hyphens:
            unknown = sum(word not in HYPHENS for word in words[end : match.start])
        end = match.end + 1
        if (unknown or match.link) and gap is _NOTHING:
            gap = _Gap()
        if unknown:
            gap.foreign += unknown
        if match.link:
            gap.add(match)
            continue
        if gap.foreign or not phrases or not _same_phrase(items, match, gap, phrases[-1]):
            phrases.append(_new_phrase(gap, phrases))
        elif gap.lists:
            joined.add(len(items))
        phrases[-1].items.append(len(items))
        items.append(match)
        gap = _NOTHING
    return phrases, joined


def _same_phrase(items: Sequence[Match], match: Match, gap: _Gap, phrase: Phrase) -> bool:
    """Return whether an item continues a phrase, given the words between."""
    if not gap.links:
        return True
    links = set(gap.links) - {"inside"}
    if links <= {"hedges before"}:
        return True
    before = items[-1]
    if links != {"list"} or any(items[index].kind in HEADS for index in phrase.items):
        return False
    if before.kind in ADJECTIVES and match.role == "anatomy":
        return True
    qualifies = before.role == "modifiers" or before.kind in STATES
    open_side = before.kind in ADJECTIVES and phrase.follows not in PLACES
    qualified = match.role == "modifiers" or match.kind in STATES
    return (qualifies or open_side) and qualified and phrase.follows not in {"predicate", *PLACES}


def _new_phrase(gap: _Gap, phrases: Sequence[Phrase]) -> Phrase:
    """Return an empty phrase that follows the last one as the words between determine."""
    links, lists = gap.links, gap.lists
    if not links:
        return Phrase(follows="beside", choice=True, foreign=gap.foreign)
    either = gap.versus or not _EITHER.isdisjoint(lists)
    return Phrase(
        follows=_follows(links, gap.foreign, phrases),
        listed=bool(lists),
        choice=either or "and" not in lists,
        either=either,
        versus=gap.versus,
        doubt=gap.doubt,
        opens="the" in links or "exists" in links,
        said=not _PREDICATES.isdisjoint(links),
        foreign=gap.foreign,
        since=gap.since,
    )


def _follows(links: Sequence[str], foreign: int, phrases: Sequence[Phrase]) -> str:
    """Return how a phrase follows the last one; the strongest of the terms between them decides."""
    last = next((link for link in reversed(links) if link in _LINKS), "")
    conclusion = next((link for link in reversed(links) if link in CONCLUSIONS), "")
    place_first = len(phrases) == 1 and phrases[0].follows in PLACES
    if conclusion and foreign <= FAR:
        return conclusion
    if "break" in links or ("exists" in links and not place_first):
        return "break"
    if foreign > FAR:
        return "beside"
    if last not in {"", "list"}:
        return last
    if "exists" in links:
        return "predicate"
    if "negation before" in links:
        return "with"
    return last or "beside"
