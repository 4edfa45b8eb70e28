"""Statements of a report graph, independent of wording.

The same content has many forms: "LLL" or "lower lobe of the left lung", "cardiac" or "heart", one entity or three. A
statement represents everything about one observation as sets of meanings (`Lexicon.meaning`), for labels, keys and
overlaps of graphs. It works on any `ReportGraph`, from the parser or from RadGraph.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from igcl_lightning.graphs.lexicon import load_lexicon
from igcl_lightning.graphs.phrases import ADJECTIVES
from igcl_lightning.graphs.schema import ReportGraph

Meanings = frozenset[str]
_NO_MEANINGS: Meanings = frozenset()


@dataclass(frozen=True, slots=True)
class Statement:
    """One observation with its attributes."""

    entity: int  # index of the observation in `ReportGraph.entities`
    name: Meanings  # meanings of its words
    kind: str  # kind of its last term in the lexicon, "" without any
    label: str  # its label
    hedge: str  # strength of belief if it is uncertain (`schema.HEDGES`)
    modifiers: Meanings  # meanings of its modifiers, direct and indirect
    places: Meanings  # meanings of its location (a conclusion without one has that of its premise)
    conclusions: Meanings  # meanings of the observations it is suggestive of

    @property
    def assertion(self) -> str:
        """Certainty: the label, and whether it is unlikely."""
        return f"{self.label} unlikely" if self.hedge == "unlikely" else self.label

    def __str__(self) -> str:
        parts = (self.name, self.modifiers, self.places, self.conclusions)
        return "|".join((f"{self.label} {self.hedge}".strip(), *(" ".join(sorted(part)) for part in parts)))


def statements(graph: ReportGraph) -> list[Statement]:
    """Return the statements of a graph, one per observation that modifies no other, in the order of the report."""
    edges = _Edges(graph)
    return [edges.statement(index) for index in range(len(graph.entities)) if edges.is_head(index)]


class _Edges:
    """The relations of a graph by their ends."""

    def __init__(self, graph: ReportGraph) -> None:
        self.graph = graph
        self.anatomy = [entity.label.startswith("ANAT") for entity in graph.entities]
        self.modifiers, self.modified = self._ends("modify")
        _, self.places = self._ends("located_at")
        self.premises, self.conclusions = self._ends("suggestive_of")
        self._related = {end for relation in graph.relations for end in (relation.head, relation.tail)}

    def _ends(self, relation_type: str) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
        """Return the heads by tail and the tails by head of the relations of a type."""
        heads: dict[int, list[int]] = defaultdict(list)
        tails: dict[int, list[int]] = defaultdict(list)
        for relation in self.graph.relations:
            if relation.type == relation_type:
                heads[relation.tail].append(relation.head)
                tails[relation.head].append(relation.tail)
        return heads, tails

    def is_head(self, index: int) -> bool:
        """Return whether an entity is an observation that modifies no other observation."""
        return not self.anatomy[index] and all(
            self.anatomy[tail] or tail == index for tail in self.modified.get(index, ())
        )

    def statement(self, index: int) -> Statement:
        """Return the statement of an observation."""
        entity = self.graph.entities[index]
        if index not in self._related:
            name, kind = meaning(entity.name), kind_of(entity.name)
            return Statement(index, name, kind, entity.label, entity.hedge, _NO_MEANINGS, _NO_MEANINGS, _NO_MEANINGS)
        inside = reached([index], self.modifiers)
        targets = self._targets(inside) or self._targets(reached(self.premises.get(index, ()), self.modifiers))
        qualifiers = [each for each in inside if each != index and not self.anatomy[each]]
        return Statement(
            index,
            meaning(entity.name),
            kind_of(entity.name),
            entity.label,
            entity.hedge,
            self._meanings(qualifiers),
            self._meanings({*self._place(targets), *(each for each in inside if self.anatomy[each])}),
            self._meanings(tail for each in inside for tail in self.conclusions.get(each, ())),
        )

    def _targets(self, observations: Iterable[int]) -> list[int]:
        return [place for each in observations for place in self.places.get(each, ()) if self.anatomy[place]]

    def _place(self, targets: list[int]) -> Iterator[int]:
        """Yield places with their modifiers, and only sides and zones of the structures they are part of."""
        yield from (each for each in reached(targets, self.modifiers) if self.anatomy[each])
        for whole in reached(targets, self.modified) - set(targets):
            if self.anatomy[whole]:
                yield whole
                yield from (each for each in self.modifiers[whole] if self.anatomy[each] and self._is_adjective(each))

    def _is_adjective(self, index: int) -> bool:
        return kind_of(self.graph.entities[index].name) in ADJECTIVES

    def _meanings(self, entities: Iterable[int]) -> Meanings:
        found = [meaning(self.graph.entities[index].name) for index in entities]
        return found[0] if len(found) == 1 else _NO_MEANINGS.union(*found) if found else _NO_MEANINGS


def reached(start: Iterable[int], edges: dict[int, list[int]]) -> set[int]:
    """Return the entities reachable along `edges`, the start included."""
    found: set[int] = set()
    ahead = list(start)
    while ahead:
        index = ahead.pop()
        if index not in found:
            found.add(index)
            ahead.extend(edges.get(index, ()))
    return found


@lru_cache(65_536)
def meaning(name: str) -> Meanings:
    """Return the meanings of an entity's words in lower case, with synonyms merged."""
    return load_lexicon().meaning(name.split())


@lru_cache(65_536)
def kind_of(name: str) -> str:
    """Return the kind of the last term in an entity's words, "" without any."""
    return load_lexicon().kind(name.split())
