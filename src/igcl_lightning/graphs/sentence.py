"""The rules of the report parser: from the words of one sentence to its entities and relations.

A sentence is read in four steps. Terms of the lexicon without a foreign word between them form *phrases* ("small right
pleural effusion"); what stands between two phrases says how the second *follows* the first ("is", "in the",
"consistent with"). Inside a phrase, qualifiers modify the observation and anatomies locate it. Between phrases, a
place, a predicate or a conclusion is tied to the phrase it speaks about. At last, denial and doubt run over lists.
Labels and relations mean what they mean in RadGraph (Jain et al., 2021, section 3).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from igcl_lightning.graphs.assertions import PRESENT, Assertion, assertions
from igcl_lightning.graphs.lexicon import Lexicon, Match
from igcl_lightning.graphs.phrases import (
    ADJECTIVES,
    CONCLUSIONS,
    CONTENT,
    HEADS,
    PLACES,
    SAYINGS,
    STATES,
    Phrase,
    split_phrases,
)

RULES_VERSION = 3
"""Raised with every change of these rules: part of the parser's version."""


ANATOMY = Assertion("ANAT-DP")


AFTERTHOUGHTS = frozenset({"severity", "size", "texture", "extent", "temporal", "stability", "measure"})
"""Modifiers that may follow what they say it of."""

_ALONE = frozenset({"finding", "appearance", "device"})
"""Observations that state something without another word."""


class SentenceGraph(NamedTuple):
    """What one sentence states: entities as (first, last word, label, hedge), relations as (head, type, tail)."""

    entities: tuple[tuple[int, int, str, str], ...]
    relations: tuple[tuple[int, str, int], ...]


def read_sentence(words: Sequence[str], lexicon: Lexicon) -> SentenceGraph:
    """Return what the sentence of these words (lower case) states."""
    matches = lexicon.match(words)
    items = [match for match in matches if match.role in CONTENT]
    if not items:
        return SentenceGraph((), ())
    phrases, joined = split_phrases(words, matches)
    relations = _Relations(items, phrases, joined)
    said = assertions(items, phrases, matches)
    relations.share_places(said)
    for head, kind, tail in sorted(relations.pairs, reverse=True):
        if kind == "modify":
            said[head] = said[tail]
    said = [ANATOMY if anatomy else assertion for anatomy, assertion in zip(relations.anatomy, said, strict=True)]
    return _keep_statements(items, said, relations)


class _Relations:
    """The relations of a sentence, built phrase by phrase.

    Attributes:
        pairs: (head, type, tail) by item index.
        anatomy: whether each item is an anatomy; the "size" of "moderate size effusion" is none.
    """

    def __init__(self, items: Sequence[Match], phrases: Sequence[Phrase], joined: set[int]) -> None:
        self.items, self.phrases, self.joined = items, phrases, joined
        self.pairs: set[tuple[int, str, int]] = set()
        self.anatomy = [item.role == "anatomy" for item in items]
        for phrase in phrases:
            self._relate_inside(phrase)
        for previous, phrase, after in zip([None, *phrases], phrases, [*phrases[1:], None], strict=False):
            self._tie(phrase, previous, after)

    def _add(self, heads: Sequence[int], relation: str, tails: Sequence[int]) -> None:
        for head in heads:
            for tail in tails:
                if head != tail:
                    self.pairs.add((head, relation, tail))

    def _relate_inside(self, phrase: Phrase) -> None:
        """Tie the qualifiers and anatomies of a phrase to its observations, or the qualifiers to its anatomy."""
        qualifiers: list[int] = []
        anatomies: list[int] = []
        for index in phrase.items:
            if self.anatomy[index]:
                anatomies.append(index)
            elif self.items[index].kind in HEADS:
                self._relate_observation(index, qualifiers, anatomies)
                if phrase.observations[-1:] == [index - 1] and index not in self.joined:
                    self._relate_neighbours(index - 1, index)
                phrase.observations.append(index)
                qualifiers, anatomies = [], []
            else:
                qualifiers.append(index)
        places = self._group(anatomies)
        if phrase.observations:
            self._add(qualifiers, "modify", phrase.observations[-1:])
            self._add(phrase.observations[-1:], "located_at", places)
            return
        phrase.places, phrase.states = places, self._states(qualifiers)
        self._locate_states(phrase.states, places)

    def _relate_observation(self, index: int, qualifiers: list[int], anatomies: list[int]) -> None:
        """Tie what stands before an observation to it; a property there ("moderate size") is a qualifier."""
        properties = [place for place in anatomies if self.items[place].kind == "property"]
        for place in properties:
            self.anatomy[place] = False
        self._add([*qualifiers, *properties], "modify", [index])
        self._add([index], "located_at", self._group([place for place in anatomies if place not in properties]))

    def _relate_neighbours(self, first: int, second: int) -> None:
        """Tie two observations without a word between them: the tip of a tube, the changes that a finding makes."""
        if self.items[second].kind == "part":
            self._add([second], "modify", [first])
        elif self.items[second].kind == "generic":
            self._add([first], "modify", [second])

    def _locate_states(self, states: Sequence[int], places: Sequence[int]) -> None:
        """Say a state of an anatomy; a size or severity is none of a mere side ("more marked on the right")."""
        for state in states if places else ():
            item = self.items[state]
            lasting = item.kind in STATES or item.kind in {"stability", "temporal"}
            self._add([state], "located_at", [p for p in places if lasting or self.items[p].kind not in ADJECTIVES])

    def _group(self, anatomies: Sequence[int]) -> list[int]:
        """Tie the words of an anatomy to its head and return the heads.

        The head of "right lower lobe" is its last noun; adjectives after it have a head of their own ("lower lobe
        airspace" opacity), as has each part of a list of adjectives ("right and left basilar"). A property belongs to
        the anatomy, not the other way round ("heart size").
        """
        if len(anatomies) < 2:
            return list(anatomies)
        kinds = {index: self.items[index].kind for index in anatomies}
        bearers = [index for index in anatomies if kinds[index] != "property"] or list(anatomies)
        nouns = [index for index in bearers if kinds[index] not in ADJECTIVES]
        adjectives = [index for index in bearers if not nouns or index > nouns[-1]]
        sides = [index for index in adjectives[:-1] if kinds[index] == "side" and kinds[adjectives[-1]] != "side"]
        listed = [left for left, right in pairwise(adjectives) if right in self.joined and left not in sides]
        heads = nouns[-1:] + listed + adjectives[-1:]
        for index in anatomies:
            later = (head for head in heads if head >= index)
            self._add([index], "modify", [next(later, heads[0])])
        return heads

    def _states(self, qualifiers: Sequence[int]) -> list[int]:
        """Tie modifiers to the state right after them ("mildly enlarged") and return what is left."""
        states = []
        for index in qualifiers:
            state = next((later for later in qualifiers if later > index and self._is_state(later)), index)
            if self._is_state(index) or state == index or not self.joined.isdisjoint(range(index + 1, state + 1)):
                states.append(index)
            else:
                self._add([index], "modify", [state])
        return states

    def _is_state(self, index: int) -> bool:
        return self.items[index].kind in STATES

    def _tie(self, phrase: Phrase, previous: Phrase | None, after: Phrase | None) -> None:
        """Tie a phrase to the one that it speaks about."""
        phrase.root = phrase
        if previous is None:
            return
        if self._is_conclusion(phrase, previous, after):
            phrase.follows = f"{'possibly' if phrase.doubt == 'possible' else 'probably'} suggests"
        if phrase.follows in {"list", "beside"}:
            self._tie_list(phrase, previous, after)
        elif phrase.follows == "with":
            self._tie_part(phrase, previous)
        elif phrase.follows in SAYINGS:
            phrase.speaks_of = self._spoken_of(phrase, previous)
        elif phrase.follows == "break" and self._is_afterthought(phrase, STATES):
            phrase.speaks_of = previous.root
        if phrase.speaks_of is None:
            return
        if phrase.follows in CONCLUSIONS:
            self._conclude(phrase, phrase.speaks_of)
            return
        if phrase.follows in PLACES or phrase.states or phrase.speaks_of.observations:
            phrase.root = phrase.speaks_of.root
        if self._measures(phrase) and phrase.speaks_of.places:
            self._tie_measure(phrase, phrase.speaks_of)
        elif phrase.follows in PLACES:
            self._tie_place(phrase, phrase.speaks_of)
        else:
            self._tie_predicate(phrase, phrase.speaks_of)

    def _is_conclusion(self, phrase: Phrase, previous: Phrase, after: Phrase | None) -> bool:
        """Say whether a doubtful phrase explains an appearance before it ("opacity, likely atelectasis")."""
        looks = previous.root.observations if previous.root else []
        lists = phrase.follows == "beside" or (phrase.follows == "list" and phrase.choice and not phrase.either)
        doubt = phrase.doubt or (after is not None and after.versus)
        explains = bool(doubt and phrase.observations) and not self._looks(phrase.observations)
        return lists and explains and self._looks(looks[-1:])

    def _looks(self, observations: Sequence[int]) -> bool:
        return any(self.items[index].kind == "appearance" for index in observations)

    def _conclude(self, phrase: Phrase, source: Phrase) -> None:
        """Tie a conclusion to its premise; a bare "findings" is none."""
        premise = source.observations[-1:] or source.states[-1:]
        if not premise:
            self._add(phrase.observations, "located_at", source.places)
        tied = {end for head, relation, tail in self.pairs if relation != "suggestive_of" for end in (head, tail)}
        bare = [index for index in premise if self.items[index].kind == "mention" and index not in tied]
        self._add([index for index in premise if index not in bare], "suggestive_of", phrase.observations)

    def _tie_part(self, phrase: Phrase, whole: Phrase) -> None:
        """Tie a part to its device ("catheter with its tip in the ...")."""
        if self._is_part(phrase):
            self._add(phrase.observations[:1], "modify", whole.observations[-1:])

    def _is_part(self, phrase: Phrase) -> bool:
        return bool(phrase.observations) and self.items[phrase.observations[0]].kind == "part"

    def _spoken_of(self, phrase: Phrase, previous: Phrase) -> Phrase | None:
        """Return what a place locates, the subject of a predicate or the premise of a conclusion."""
        if phrase.follows in PLACES:
            said_of = previous.speaks_of is not None and not previous.observations and not previous.places
            of_part = previous.follows == "of" and previous.root is not None and self._is_part(previous.root)
            if _seen(previous.root) and (said_of or of_part or (phrase.said and not previous.states)):
                return previous.root
            place_again = previous.follows in PLACES and not previous.observations and not previous.states
            return previous.speaks_of if place_again and phrase.follows != "of" else previous
        if phrase.follows == "predicate":
            return previous.root
        return previous if previous.states and not _seen(previous.root) else previous.root

    def _tie_list(self, phrase: Phrase, previous: Phrase, after: Phrase | None) -> None:
        """Go on with the place, predicate or conclusion before ("in the right lung and the left base").

        A state goes on too, in both directions: "normal heart and mediastinum", "heart and mediastinum normal".
        """
        if previous.follows in CONCLUSIONS and phrase.listed and phrase.observations:
            phrase.follows, phrase.speaks_of = previous.follows, previous.speaks_of
            return
        if after is not None and after.follows == "predicate" and not phrase.states:
            return
        if self._is_afterthought(phrase, AFTERTHOUGHTS):
            phrase.speaks_of = previous.root
        elif self._is_place_afterthought(phrase, previous):
            phrase.follows, phrase.speaks_of = "place", previous.root
        elif self._comes_after_its_place(phrase, previous):
            phrase.follows, phrase.speaks_of = "predicate", previous
        elif phrase.follows == "beside":
            return
        elif self._goes_on(phrase, previous, after):
            phrase.follows, phrase.speaks_of = previous.follows, previous.speaks_of
        elif phrase.places and not phrase.states and previous.places and previous.states:
            if previous.states[0] < previous.places[0]:
                phrase.states = previous.states
                self._locate_states(phrase.states, phrase.places)
        elif self._looks(phrase.observations) and phrase.listed and not phrase.choice and not phrase.opens:
            self._add(self._normal_before_places(previous), "modify", phrase.observations[-1:])
        elif phrase.places and phrase.states and phrase.states[-1] > phrase.places[-1]:
            for each in self._with_coordinates(phrase):
                if not each.states:
                    self._locate_states(phrase.states, each.places)

    def _goes_on(self, phrase: Phrase, previous: Phrase, after: Phrase | None) -> bool:
        """Say whether a listed phrase is of the same kind as the place, predicate or conclusion before it."""
        if previous.speaks_of is None:
            return False
        if previous.follows in PLACES:
            return bool(phrase.places) and not phrase.states
        if phrase.observations and previous.observations:
            return not phrase.states and (after is None or after.follows not in PLACES)
        return bool(phrase.states and previous.states) and not phrase.places

    def _is_afterthought(self, phrase: Phrase, kinds: frozenset[str]) -> bool:
        """Say whether a phrase only tells the state of what went before ("nodule, stable", "enlarged but clear")."""
        return not phrase.opens and all(self.items[index].kind in kinds for index in phrase.items)

    def _normal_before_places(self, phrase: Phrase) -> list[int]:
        """Return the states of health that a phrase begins with ("normal heart size and vascular markings")."""
        begins = bool(phrase.places) and not phrase.observations
        return [i for i in phrase.states if begins and i < phrase.places[0] and self.items[i].kind == "normal"]

    def _comes_after_its_place(self, phrase: Phrase, previous: Phrase) -> bool:
        """Say whether a sentence begins with where it is ("in the left base , opacity is seen")."""
        begins = previous is self.phrases[0] and previous.follows == "place" and not previous.observations
        return begins and not previous.states and phrase.choice and not phrase.either and bool(phrase.observations)

    def _is_place_afterthought(self, phrase: Phrase, previous: Phrase) -> bool:
        """Say whether a phrase only tells where what went before is ("effusions, left greater than right")."""
        if phrase.opens or phrase.observations or phrase.states or not phrase.places or not _seen(previous.root):
            return False
        placed = {head for head, relation, _ in self.pairs if relation == "located_at"}
        sides = all(self.items[index].kind in ADJECTIVES for index in phrase.items)
        return phrase.choice and (sides or previous.root.observations[-1] not in placed)

    def _measures(self, phrase: Phrase) -> bool:
        """Say whether a phrase holds nothing but a measure and its state ("of normal size")."""
        kinds = {self.items[place].kind for place in phrase.items if self.anatomy[place]}
        return bool(phrase.states) and bool(kinds) and kinds <= {"property", "outline"}

    def _tie_measure(self, phrase: Phrase, subject: Phrase) -> None:
        """Tie "of normal size" to the anatomies that have it."""
        self.pairs -= {(state, "located_at", place) for state in phrase.states for place in phrase.places}
        for each in self._with_coordinates(subject):
            self._add(phrase.places, "modify", each.places)
            self._add(phrase.states, "located_at", each.places)

    def _tie_place(self, phrase: Phrase, located: Phrase) -> None:
        """Tie "in the left lung", "of the aorta" or "of the opacity" to what stands before it."""
        if phrase.observations:
            if located.observations and self.items[located.observations[-1]].kind in {"generic", "part"}:
                self._add(located.observations[-1:], "modify", phrase.observations[:1])
            elif not located.observations and not located.places and located.speaks_of is None:
                self._add(located.states, "modify", phrase.observations[:1])
        elif located.observations:
            self._add(located.observations[-1:], "located_at", phrase.places)
        elif located.places:
            self._add(located.places, "modify", phrase.places)
        elif located.speaks_of is None:
            self._locate_states(located.states, phrase.places)

    def _tie_predicate(self, phrase: Phrase, subject: Phrase) -> None:
        """Tie "is enlarged", "are unchanged" or "shows an opacity" to each of its subjects."""
        direct = phrase.observations if not phrase.foreign else []
        if subject.observations:
            self._tie_part(phrase, subject)
        for each in self._with_coordinates(subject):
            if each.observations:
                self._add(phrase.states, "modify", each.observations[-1:])
                self._add(each.observations[-1:], "located_at", phrase.places)
            else:
                self._locate_states(phrase.states, each.places)
                self._add(direct, "located_at", each.places)

    def _with_coordinates(self, subject: Phrase) -> Iterator[Phrase]:
        """Yield a subject and the phrases of its sort that are listed before it ("heart and mediastinum")."""
        yield subject
        at = self.phrases.index(subject)
        while at > 0 and self.phrases[at].follows == "list" and not self.phrases[at].said:
            at -= 1
            previous = self.phrases[at]
            unlike = bool(previous.observations) != bool(subject.observations)
            if unlike or previous.follows in SAYINGS or (previous.places and previous.states):
                return
            yield previous

    def share_places(self, said: Sequence[Assertion]) -> None:
        """Give the place of one alternative to the others, and of an observation to a mere sign listed after it.

        "Scarring or atelectasis in the left base", "left basilar atelectasis versus infiltrate", "no pleural effusion
        or thickening".
        """
        for previous, phrase in pairwise(self.phrases):
            if not (phrase.listed and phrase.observations and previous.observations) or phrase.foreign:
                continue
            first, second = previous.observations[-1], phrase.observations[0]
            alternatives = phrase.either and "OBS-DA" not in {said[first].label, said[second].label}
            if alternatives or (self.items[second].kind == "sign" and not phrase.opens):
                self._share(first, second)
            if alternatives:
                self._share(second, first)

    def _share(self, giver: int, taker: int) -> None:
        places = {end: [t for h, r, t in self.pairs if h == end and r == "located_at"] for end in (giver, taker)}
        if not places[taker]:
            self._add([taker], "located_at", places[giver])


def _seen(phrase: Phrase | None) -> bool:
    return phrase is not None and bool(phrase.observations)


def _keep_statements(items: Sequence[Match], said: Sequence[Assertion], relations: _Relations) -> SentenceGraph:
    """Return the graph without words that state nothing: anatomy of no observation, qualifiers of nothing."""
    tied = {index for head, _, tail in relations.pairs for index in (head, tail)}
    placed = {index for head, relation, tail in relations.pairs if relation != "modify" for index in (head, tail)}

    def states(index: int) -> bool:
        kind = items[index].kind
        denied = said[index] != PRESENT and kind in {"generic", "sign"}
        return kind in _ALONE or denied or index in (tied if kind in {"generic", "mention"} else placed)

    kept = {index for index, anatomy in enumerate(relations.anatomy) if not anatomy and states(index)}
    kept |= {tail for head, relation, tail in relations.pairs if relation == "located_at" and head in kept}
    words = [{head, tail} for head, relation, tail in relations.pairs if relation == "modify"]
    while more := {index for pair in words if pair & kept for index in pair - kept}:
        kept |= more
    pairs = [(head, relation, tail) for head, relation, tail in relations.pairs if head in kept and tail in kept]
    order = {index: position for position, index in enumerate(sorted(kept))}
    return SentenceGraph(
        entities=tuple((items[index].start, items[index].end, *said[index]) for index in order),
        relations=tuple(sorted((order[head], relation, order[tail]) for head, relation, tail in pairs)),
    )
