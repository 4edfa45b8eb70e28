"""Relations inside a phrase: qualifiers of observations, words of an anatomy, states of an anatomy."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from igcl_lightning.graphs.lexicon import Match
from igcl_lightning.graphs.phrases import ADJECTIVES, HEADS, STATES, Phrase


class PhraseRelations:
    """The relations inside the phrases of a sentence.

    Attributes:
        pairs: (head, type, tail) by item index.
        anatomy: whether each item is an anatomy, unlike "size" in "moderate size effusion".
    """

    def __init__(self, items: Sequence[Match], phrases: Sequence[Phrase], joined: set[int]) -> None:
        self.items, self.phrases, self.joined = items, phrases, joined
        self.pairs: set[tuple[int, str, int]] = set()
        self.anatomy = [item.role == "anatomy" for item in items]
        for phrase in phrases:
            self._relate_inside(phrase)

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
        """Relate preceding items to an observation; a property there ("moderate size") is a qualifier."""
        properties = [place for place in anatomies if self.items[place].kind == "property"]
        for place in properties:
            self.anatomy[place] = False
        self._add([*qualifiers, *properties], "modify", [index])
        self._add([index], "located_at", self._group([place for place in anatomies if place not in properties]))

    def _relate_neighbours(self, first: int, second: int) -> None:
        """Relate two adjacent observations: the tip of a tube, the changes of a finding."""
        if self.items[second].kind == "part":
            self._add([second], "modify", [first])
        elif self.items[second].kind == "generic":
            self._add([first], "modify", [second])

    def _locate_states(self, states: Sequence[int], places: Sequence[int]) -> None:
        """Relate states to an anatomy; a size or severity does not describe a side ("more marked on the right")."""
        for state in states if places else ():
            item = self.items[state]
            lasting = item.kind in STATES or item.kind in {"stability", "temporal"}
            self._add([state], "located_at", [p for p in places if lasting or self.items[p].kind not in ADJECTIVES])

    def _group(self, anatomies: Sequence[int]) -> list[int]:
        """Relate the words of an anatomy to its heads and return those.

        The head of "right lower lobe" is its last noun; adjectives after it have their own head ("lower lobe airspace"
        opacity), and so has each part of a list of adjectives ("right and left basilar"). A property modifies the
        anatomy ("heart size").
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
        """Relate modifiers to the state after them ("mildly enlarged") and return the other qualifiers.

        A severity modifies the change or texture after it ("slightly decreased", "markedly atelectatic").
        """
        states = []
        for index in qualifiers:
            state = next((later for later in qualifiers if later > index and self._is_state(later)), index)
            if self._is_state(index) or not self.joined.isdisjoint(range(index + 1, state + 1)):
                states.append(index)
            elif state != index or self._grades(index, qualifiers):
                self._add([index], "modify", [state if state != index else index + 1])
            else:
                states.append(index)
        return states

    def _grades(self, index: int, qualifiers: Sequence[int]) -> bool:
        grades = self.items[index].kind == "severity" and index + 1 in qualifiers
        return grades and self.items[index + 1].kind in {"temporal", "texture"} and index + 1 not in self.joined

    def _is_state(self, index: int) -> bool:
        return self.items[index].kind in STATES
