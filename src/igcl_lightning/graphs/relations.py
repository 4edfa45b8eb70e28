"""Relations of a sentence: inside its phrases, and between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from itertools import pairwise

from igcl_lightning.graphs.assertions import Assertion
from igcl_lightning.graphs.lexicon import Match
from igcl_lightning.graphs.phrases import ADJECTIVES, CONCLUSIONS, EXPLAINS, HEADS, PLACES, SAYINGS, STATES, Phrase

AFTERTHOUGHTS = frozenset({"severity", "size", "texture", "extent", "temporal", "stability", "measure"})
"""Modifiers that may follow what they modify."""


class SentenceRelations:
    """The relations of a sentence: inside its phrases (qualifiers, anatomies, states) and between them."""

    def __init__(self, items: Sequence[Match], phrases: Sequence[Phrase], joined: set[int]) -> None:
        self.phrases, self.joined = phrases, joined
        self.kinds = [item.kind for item in items]
        self.anatomy = [item.role == "anatomy" for item in items]  # unlike "size" in "moderate size effusion"
        self.pairs: set[tuple[int, str, int]] = set()  # (head, type, tail) by item index
        for phrase in phrases:
            self._relate_inside(phrase)
        for previous, phrase, after in zip(phrases, phrases[1:], [*phrases[2:], None], strict=False):
            self._relate(phrase, previous, after)

    def _add(self, heads: Sequence[int], relation: str, tails: Sequence[int]) -> None:
        for head in heads:
            for tail in tails:
                if head != tail:
                    self.pairs.add((head, relation, tail))

    def _relate_inside(self, phrase: Phrase) -> None:
        """Relate the qualifiers and anatomies of a phrase to its observations, or the qualifiers to its anatomy."""
        qualifiers: list[int] = []
        anatomies: list[int] = []
        for index in phrase.items:
            if self.anatomy[index]:
                anatomies.append(index)
            elif self.kinds[index] in HEADS:
                self._relate_observation(index, qualifiers, anatomies)
                if phrase.observations and phrase.observations[-1] == index - 1 and index not in self.joined:
                    if self.kinds[index] == "part":  # the tip of a tube
                        self._add([index], "modify", [index - 1])
                    elif self.kinds[index] == "generic":  # the changes of a finding
                        self._add([index - 1], "modify", [index])
                phrase.observations.append(index)
                qualifiers, anatomies = [], []
            else:
                qualifiers.append(index)
        if phrase.observations:
            if qualifiers or anatomies:
                self._add(qualifiers, "modify", phrase.observations[-1:])
                self._add(phrase.observations[-1:], "located_at", self._group(anatomies))
            return
        places = self._group(anatomies)
        phrase.places = places
        phrase.states = self._states([index for index in qualifiers if self.kinds[index] != "number"])
        self._locate_states(phrase.states, places)

    def _relate_observation(self, index: int, qualifiers: list[int], anatomies: list[int]) -> None:
        """Relate preceding items to an observation; a property among them ("moderate size") is a qualifier."""
        places = []
        for place in anatomies:
            if self.kinds[place] == "property":
                self.anatomy[place] = False
                qualifiers.append(place)
            else:
                places.append(place)
        self._add(qualifiers, "modify", [index])
        if places:
            self._add([index], "located_at", self._group(places))

    def _locate_states(self, states: Sequence[int], places: Sequence[int]) -> None:
        """Relate states to an anatomy; a size or severity does not describe a side ("more marked on the right")."""
        for state in states:
            lasting = self.kinds[state] in STATES | {"stability", "temporal"}
            self._add([state], "located_at", [p for p in places if lasting or self.kinds[p] not in ADJECTIVES])

    def _group(self, anatomies: Sequence[int]) -> list[int]:
        """Relate the words of an anatomy to its heads and return those.

        The head of "right lower lobe" is its last noun; adjectives after it have their own head ("lower lobe airspace"
        opacity), and so has each part of a list of adjectives ("right and left basilar"). A property modifies the
        anatomy ("heart size").
        """
        if len(anatomies) < 2:
            return list(anatomies)
        kinds = self.kinds
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
        """Relate modifiers to the state ("mildly enlarged") or change after them; return the other qualifiers."""
        states = []
        for index in qualifiers:
            state = next((later for later in qualifiers if later > index and self._is_state(later)), index)
            if self._is_state(index) or not self.joined.isdisjoint(range(index + 1, state + 1)):
                states.append(index)
            elif state != index:
                self._add([index], "modify", [state])
            elif self.kinds[index] == "severity" and self._is_graded(index + 1, qualifiers):
                self._add([index], "modify", [index + 1])
            else:
                states.append(index)
        return states

    def _is_graded(self, index: int, qualifiers: Sequence[int]) -> bool:
        return index in qualifiers and self.kinds[index] in {"temporal", "texture"} and index not in self.joined

    def _is_state(self, index: int) -> bool:
        return self.kinds[index] in STATES

    def _relate(self, phrase: Phrase, previous: Phrase, after: Phrase | None) -> None:
        """Relate a phrase to its subject."""
        if self._is_conclusion(phrase, previous, after):
            phrase.follows = f"{'possibly' if phrase.doubt == 'possible' else 'probably'} suggests"
        if self._holds_only(phrase, {"mention"}) and phrase.follows in {"list", "beside"}:
            # "opacity, a finding that represents ..."
            phrase.about = previous if previous.states else previous.root
        elif phrase.follows in {"list", "beside"}:
            self._relate_list(phrase, previous, after)
        elif phrase.follows in {"with", "place"} and self._tells_state(phrase):
            phrase.follows, phrase.subject = "predicate", previous.root
        elif phrase.follows in SAYINGS and not (phrase.denied and phrase.follows in PLACES):
            phrase.subject = self._subject_of(phrase, previous)
        elif phrase.follows == "break" and self._is_afterthought(phrase, STATES):
            phrase.subject = previous.root
        elif phrase.follows == "break" and phrase.said and self._begins_with_qualifiers(previous):
            phrase.follows, phrase.subject = "predicate", previous
        self._relate_part(phrase)
        if phrase.subject is not None:
            self._relate_to_subject(phrase, phrase.subject)

    def _relate_to_subject(self, phrase: Phrase, subject: Phrase) -> None:
        """Relate a conclusion, a place or a predicate to its subject."""
        if phrase.follows in CONCLUSIONS:
            self._conclude(phrase, subject)
            return
        if phrase.follows == EXPLAINS:
            self._add(phrase.observations[-1:], "suggestive_of", subject.observations)
            return
        if phrase.follows in PLACES or phrase.states or subject.observations:
            phrase.about = subject.root
        if self._measures(phrase) and subject.places:
            self._relate_measure(phrase, subject)
        elif phrase.follows in PLACES:
            self._relate_place(phrase, subject)
        else:
            self._relate_predicate(phrase, subject)

    def _is_conclusion(self, phrase: Phrase, previous: Phrase, after: Phrase | None) -> bool:
        """Return whether a doubtful phrase explains an appearance before it ("opacity, likely atelectasis")."""
        looks = previous.root.observations
        lists = phrase.follows == "beside" or (phrase.follows == "list" and phrase.choice and not phrase.either)
        doubt = phrase.doubt or (after is not None and after.versus)
        explains = bool(doubt and phrase.observations) and not self._looks(phrase.observations)
        return lists and explains and self._looks(looks[-1:])

    def _looks(self, observations: Sequence[int]) -> bool:
        return any(self.kinds[index] == "appearance" for index in observations)

    def _conclude(self, phrase: Phrase, source: Phrase) -> None:
        """Relate a conclusion to its premise; unqualified "findings" only give it their place."""
        modified = {tail for _, relation, tail in self.pairs if relation == "modify"}
        premise = source.observations[-1:] or source.states[-1:]
        bare = [index for index in premise if self.kinds[index] == "mention" and index not in modified]
        where = {pair for pair in self.pairs if pair[0] in bare and pair[1] == "located_at"}
        self.pairs -= where
        places = [place for _, _, place in where] if premise else source.places
        self._add(phrase.observations, "located_at", places)
        self._add([index for index in premise if index not in bare], "suggestive_of", phrase.observations)

    def _relate_part(self, phrase: Phrase) -> None:
        """Relate a part to the last device before it ("catheter with its tip in the ...")."""
        if self._is_part(phrase):
            devices = [index for index in range(phrase.observations[0]) if self.kinds[index] == "device"]
            self._add(phrase.observations[:1], "modify", devices[-1:])

    def _begins_with_qualifiers(self, phrase: Phrase) -> bool:
        """Return whether a sentence begins with qualifiers only ("new since the prior study is ...")."""
        return phrase is self.phrases[0] and bool(phrase.states) and not phrase.places

    def _tells_state(self, phrase: Phrase) -> bool:
        """Return whether a phrase is only a state ("not enlarged", "at the upper limits of normal")."""
        return bool(phrase.states) and not phrase.places and all(map(self._is_state, phrase.items[-1:]))

    def _is_part(self, phrase: Phrase) -> bool:
        return bool(phrase.observations) and self.kinds[phrase.observations[0]] == "part"

    def _subject_of(self, phrase: Phrase, previous: Phrase) -> Phrase | None:
        """Return the subject of a place or predicate, or the premise of a conclusion."""
        if phrase.follows in PLACES:
            said_of = previous.subject is not None and not previous.observations and not previous.places
            of_part = previous.follows == "of" and self._is_part(previous.root)
            if previous.root.observations and (said_of or of_part or (phrase.said and not previous.states)):
                return previous.root
            place_again = previous.follows in PLACES and not previous.observations and not previous.states
            return (
                previous.subject
                if place_again and (phrase.follows != "of" or (phrase.listed and not phrase.foreign))
                else previous
            )
        if phrase.follows == "predicate":
            return previous.root
        return previous if previous.states and not previous.root.observations else previous.root

    def _relate_list(self, phrase: Phrase, previous: Phrase, after: Phrase | None) -> None:
        """Relate a listed or adjacent phrase to the phrase that it continues or describes."""
        if previous.follows in CONCLUSIONS and phrase.listed and phrase.observations:
            phrase.follows, phrase.subject = previous.follows, previous.subject
        elif after is not None and after.follows == "predicate" and not phrase.states:
            return
        elif self._is_afterthought(phrase, AFTERTHOUGHTS):
            phrase.subject = previous.root
        elif self._is_place_afterthought(phrase, previous):
            phrase.follows, phrase.subject = "place", previous.root
        elif self._comes_after_its_place(phrase, previous):
            phrase.follows, phrase.subject = "predicate", previous
        elif phrase.follows == "list":
            self._continue(phrase, previous, after)

    def _continue(self, phrase: Phrase, previous: Phrase, after: Phrase | None) -> None:
        """Continue the previous place or predicate ("in the right lung and the left base"), or states both ways."""
        if self._continues(phrase, previous, after):
            phrase.follows, phrase.subject = previous.follows, previous.subject
        elif phrase.said and self._tells_state(phrase):
            phrase.follows, phrase.subject = "predicate", previous.root
        elif phrase.places and not phrase.states and previous.places and previous.states:
            if previous.states[0] < previous.places[0]:
                phrase.states = previous.states
                self._locate_states(phrase.states, phrase.places)
        elif self._looks(phrase.observations) and not phrase.choice and not phrase.opens:
            self._add(self._normal_before_places(previous), "modify", phrase.observations[-1:])
        elif phrase.places and phrase.states and phrase.states[-1] > phrase.places[-1]:
            for each in self._with_coordinates(phrase):
                if not each.states:
                    self._locate_states(phrase.states, each.places)

    def _continues(self, phrase: Phrase, previous: Phrase, after: Phrase | None) -> bool:
        """Return whether a listed phrase is of the same kind as the place, predicate or conclusion before it."""
        if previous.subject is None:
            return False
        if previous.follows in PLACES:
            return bool(phrase.places) and not phrase.states
        if phrase.observations and previous.observations:
            return not phrase.states and (after is None or after.follows not in PLACES)
        return bool(phrase.states and previous.states) and not phrase.places

    def _is_afterthought(self, phrase: Phrase, kinds: frozenset[str]) -> bool:
        """Return whether a phrase only describes the previous one ("nodule, stable", "enlarged but clear")."""
        return not phrase.opens and self._holds_only(phrase, kinds)

    def _holds_only(self, phrase: Phrase, kinds: Set[str]) -> bool:
        return all(self.kinds[index] in kinds for index in phrase.items)

    def _normal_before_places(self, phrase: Phrase) -> list[int]:
        """Return the normal states at the start of a phrase ("normal heart size and vascular markings")."""
        begins = bool(phrase.places) and not phrase.observations
        return [i for i in phrase.states if begins and i < phrase.places[0] and self.kinds[i] == "normal"]

    def _comes_after_its_place(self, phrase: Phrase, previous: Phrase) -> bool:
        """Return whether a sentence begins with the place ("in the left base , opacity is seen")."""
        begins = previous is self.phrases[0] and previous.follows == "place" and not previous.observations
        return begins and not previous.states and phrase.choice and not phrase.either and bool(phrase.observations)

    def _is_place_afterthought(self, phrase: Phrase, previous: Phrase) -> bool:
        """Return whether a phrase only locates the previous one ("effusions, left greater than right")."""
        subject = previous.root.observations
        if phrase.opens or phrase.observations or phrase.states or not phrase.places:
            return False
        placed = {head for head, relation, _ in self.pairs if relation == "located_at"}
        return phrase.choice and bool(subject) and (self._holds_only(phrase, ADJECTIVES) or subject[-1] not in placed)

    def _measures(self, phrase: Phrase) -> bool:
        """Return whether a phrase is only a measure and its state ("of normal size")."""
        kinds = {self.kinds[place] for place in phrase.items if self.anatomy[place]}
        return bool(phrase.states) and bool(kinds) and kinds <= {"property", "outline"}

    def _relate_measure(self, phrase: Phrase, subject: Phrase) -> None:
        """Relate "of normal size" to its anatomies."""
        self.pairs -= {(state, "located_at", place) for state in phrase.states for place in phrase.places}
        for each in self._with_coordinates(subject):
            self._add(phrase.places, "modify", each.places)
            self._add(phrase.states, "located_at", each.places)

    def _relate_place(self, phrase: Phrase, located: Phrase) -> None:
        """Relate "in the left lung", "of the aorta" or "of the opacity" to its subject."""
        if not phrase.observations and not phrase.places:
            grades = [index for index in phrase.states if self.kinds[index] in {"severity", "size"}]
            self._add(grades, "modify", located.observations[-1:] or located.states[-1:])
        elif phrase.observations:
            if located.observations and self.kinds[located.observations[-1]] in {"generic", "part"}:
                self._add(located.observations[-1:], "modify", phrase.observations[:1])
            elif not located.observations and not located.places and located.subject is None:
                self._add(located.states, "modify", phrase.observations[:1])
        elif located.observations:
            self._add(located.observations[-1:], "located_at", phrase.places)
        elif located.places:
            self._add(located.places, "modify", phrase.places)
            if all(self.kinds[place] == "property" for place in located.places):
                located.places = phrase.places
        elif located.subject is None:
            self._locate_states(located.states, phrase.places)

    def _relate_predicate(self, phrase: Phrase, subject: Phrase) -> None:
        """Relate "is enlarged", "are unchanged" or "shows an opacity" to each of its subjects."""
        direct = phrase.observations if not phrase.foreign else []
        if not subject.observations and not subject.places:
            self._add(subject.states, "modify", phrase.observations[-1:])
        for each in self._with_coordinates(subject):
            if each.observations:
                changes = [index for index in direct if self.kinds[index] == "generic"]
                self._add([*phrase.states, *changes], "modify", each.observations[-1:])
                self._add(each.observations[-1:], "located_at", phrase.places)
            else:
                self._locate_states(phrase.states, each.places)
                self._add(direct, "located_at", each.places)

    def _with_coordinates(self, subject: Phrase) -> Iterator[Phrase]:
        """Yield a subject and the similar phrases listed before it ("heart and mediastinum")."""
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
        """Share places between alternatives, and between an observation and a sign listed after it.

        "Scarring or atelectasis in the left base", "left basilar atelectasis versus infiltrate", "no pleural effusion
        or thickening".
        """
        for previous, phrase in pairwise(self.phrases):
            if not (phrase.listed and phrase.observations and previous.observations) or phrase.foreign:
                continue
            first, second = previous.observations[-1], phrase.observations[0]
            alternatives = phrase.either and "OBS-DA" not in {said[first].label, said[second].label}
            if alternatives or (self.kinds[second] == "sign" and not phrase.opens):
                self._share(first, second)
            if alternatives:
                self._share(second, first)

    def _share(self, giver: int, taker: int) -> None:
        places = {end: [t for h, r, t in self.pairs if h == end and r == "located_at"] for end in (giver, taker)}
        if not places[taker]:
            self._add([taker], "located_at", places[giver])
