"""Phrases: terms of a sentence that belong together, and how each phrase follows the previous one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from igcl_lightning.graphs.lexicon import HYPHENS, Match

FAR = 4  # largest number of unknown words between related phrases

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
SAYINGS = PLACES | CONCLUSIONS.keys() | {EXPLAINS, "predicate"}  # links that refer to an earlier phrase

_EITHER = frozenset({"or", "and or", "/"})
_LINKS = PLACES | {EXPLAINS, "predicate", "with", "list"}
_APART = frozenset({"break", "elsewhere before"})
_OPENS = frozenset({"exists", "the"})
_PREDICATES = frozenset({"predicate", "negation after", "hedges after"})


@dataclass(slots=True, eq=False)
class Phrase:
    """Terms that belong together, and their link to the previous phrase."""

    follows: str  # "place", "of", "predicate", "list", "with", "beside", "break", "explains" or one of `CONCLUSIONS`
    listed: bool = False  # a list word precedes it ("and", a comma)
    choice: bool = True  # that list word is not "and", so that a doubt continues
    either: bool = False  # that list word is "or"
    versus: bool = False  # that list word is "versus"
    doubt: str = ""  # strength of the hedge before it, "" without any
    article: bool = False  # "a" follows the list word
    denied: bool = False  # a denial precedes it
    but: bool = False  # "but" precedes it
    now: bool = False  # "now" precedes it
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


def split_phrases(words: Sequence[str], matches: Sequence[Match]) -> tuple[list[Phrase], set[int]]:
    """Return the phrases of a sentence, and the items that a list word joins to the previous item of their phrase."""
    phrases: list[Phrase] = []
    joined: set[int] = set()
    items: list[Match] = []
    gap: list[Match] = []  # terms since the last item that are not items
    foreign = end = 0
    for match in matches:
        if match.start > end:
            foreign += sum(word not in HYPHENS for word in words[end : match.start])
        end = match.end + 1
        if match.link:
            gap.append(match)
            foreign += match.link == "skip"
            continue
        apart = not gap and _begins_anew(items, match, phrases)
        if foreign or not phrases or apart or (gap and not _same_phrase(items, match, gap, phrases[-1])):
            phrases.append(_new_phrase(gap, foreign, phrases))
        elif gap and any(cue.link == "list" for cue in gap):
            joined.add(len(items))
        phrases[-1].items.append(len(items))
        items.append(match)
        gap, foreign = [], 0
    return phrases, joined


def _same_phrase(items: Sequence[Match], match: Match, gap: Sequence[Match], phrase: Phrase) -> bool:
    """Return whether an item continues a phrase, given the words between."""
    links = {cue.link for cue in gap} - {"inside"}
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


def _begins_anew(items: Sequence[Match], match: Match, phrases: Sequence[Phrase]) -> bool:
    """Return whether a size or severity directly after an observation begins a phrase ("no process small effusion")."""
    return match.kind in {"size", "severity"} and bool(phrases) and items[-1].kind in HEADS


def _new_phrase(gap: Sequence[Match], foreign: int, phrases: Sequence[Phrase]) -> Phrase:
    """Return an empty phrase that follows the last one as the terms and unknown words between determine."""
    links = [cue.link for cue in gap]
    phrase = Phrase(_follows(links, foreign, phrases), foreign=foreign)
    for cue in gap:
        if cue.link == "list":
            phrase.listed = True
            phrase.versus = phrase.versus or cue.role == "hedges"
            phrase.either = phrase.either or phrase.versus or cue.name in _EITHER
            phrase.choice = phrase.choice and cue.name != "and"
        elif cue.link == "hedges before":
            phrase.doubt = phrase.doubt or cue.kind.partition(" ")[0]
        elif cue.link == "break":
            phrase.since = cue.end
        phrase.article = phrase.article or cue.name == "a"
        phrase.but = phrase.but or cue.name == "but"
        phrase.now = phrase.now or cue.name == "now"
        phrase.opens = phrase.opens or cue.link in _OPENS
        phrase.denied = phrase.denied or cue.link == "negation before"
        phrase.said = phrase.said or cue.link in _PREDICATES
    phrase.choice = phrase.choice or phrase.either
    return phrase


def _follows(links: Sequence[str], foreign: int, phrases: Sequence[Phrase]) -> str:
    """Return how a phrase follows the last one; the strongest of the terms between them decides."""
    if not links:
        return "beside"
    last = next((link for link in reversed(links) if link in _LINKS), "")
    conclusion = next((link for link in reversed(links) if link in CONCLUSIONS), "")
    place_first = len(phrases) == 1 and phrases[0].follows in PLACES
    if conclusion and foreign <= FAR:
        return conclusion
    if not _APART.isdisjoint(links) or ("exists" in links and not place_first):
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
