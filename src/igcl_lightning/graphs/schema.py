"""The vocabulary of report graphs: entities, relations and the graph that holds them.

Labels and relation types are those of RadGraph (Jain et al., NeurIPS Datasets and Benchmarks 2021). Their order here is
the only place where they are numbered: tensors, stores and checkpoints use the index in these tuples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

ENTITY_LABELS: tuple[str, ...] = ("ANAT-DP", "OBS-DP", "OBS-U", "OBS-DA")
"""Anatomy, and observation that is definitely present, uncertain, definitely absent: the labels of RadGraph v1."""

XL_LABELS: dict[str, str] = {"ANAT-U": "ANAT-DP", "ANAT-DA": "ANAT-DP", "ANAT-M": "ANAT-DP", "OBS-M": "OBS-DP"}
"""Labels that RadGraph-XL adds (uncertain or absent anatomy, measurements), each with the label that models see."""

HEDGES: tuple[str, ...] = ("", "unlikely", "possible", "probable")
"""Strength of belief in an uncertain observation; "" if the report does not state it."""

RELATION_TYPES: tuple[str, ...] = ("located_at", "modify", "suggestive_of")

CONNECTOR = len(RELATION_TYPES)  # type of the edges that join disconnected components; parsers and stores do not use it

NUM_EDGE_TYPES = len(RELATION_TYPES) + 1
"""Relations and the connector; inverse relations are numbered after them, type + NUM_EDGE_TYPES."""

LABEL_ID: dict[str, int] = {label: index for index, label in enumerate((*ENTITY_LABELS, *XL_LABELS))}
NODE_TYPE: tuple[int, ...] = tuple(LABEL_ID[XL_LABELS.get(label, label)] for label in LABEL_ID)
"""Index in `ENTITY_LABELS` for each label id, with RadGraph-XL's labels mapped to those of v1."""

HEDGE_ID: dict[str, int] = {hedge: index for index, hedge in enumerate(HEDGES)}
RELATION_ID: dict[str, int] = {relation: index for index, relation in enumerate(RELATION_TYPES)}


@dataclass(frozen=True, slots=True)
class Entity:
    """A span of report words that names an anatomy or an observation.

    Attributes:
        tokens: words of the span, joined by single spaces, as written in the report.
        label: one of `ENTITY_LABELS` or `XL_LABELS`.
        start: index of the first word in `ReportGraph.words`.
        end: index of the last word, inclusive.
        hedge: one of `HEDGES`; empty in RadGraph files.

    Raises:
        ValueError: the label or hedge is unknown, or the span is invalid.
    """

    tokens: str
    label: str
    start: int
    end: int
    hedge: str = ""

    def __post_init__(self) -> None:
        if self.label not in LABEL_ID:
            raise ValueError(f"entity {self.tokens!r}: unknown label {self.label!r}, expected one of {tuple(LABEL_ID)}")
        if self.hedge not in HEDGE_ID:
            raise ValueError(f"entity {self.tokens!r}: unknown hedge {self.hedge!r}, expected one of {HEDGES}")
        if not 0 <= self.start <= self.end:
            raise ValueError(f"entity {self.tokens!r}: bad span {self.start}..{self.end}")

    @property
    def name(self) -> str:
        """The words in lower case: two entities of one name and label mean the same."""
        return self.tokens.lower()


@dataclass(frozen=True, slots=True)
class Relation:
    """A directed, typed edge between two entities.

    Attributes:
        head: index of the head in `ReportGraph.entities`.
        type: one of `RELATION_TYPES`.
        tail: index of the tail in `ReportGraph.entities`.

    Raises:
        ValueError: the type is unknown, or an index is negative.
    """

    head: int
    type: str
    tail: int

    def __post_init__(self) -> None:
        if self.type not in RELATION_ID:
            raise ValueError(f"unknown relation {self.type!r}, expected one of {RELATION_TYPES}")
        if self.head < 0 or self.tail < 0:
            raise ValueError(f"relation {self.type}: negative entity index {self.head} -> {self.tail}")


@dataclass(frozen=True, slots=True)
class ReportGraph:
    """The knowledge graph of one report: hashable, comparable, without types of other libraries.

    Attributes:
        text: words of the report, joined by single spaces; entity spans index `text.split(" ")`.
        entities: entities in the order of the report.
        relations: relations; two entities may have several.

    Raises:
        ValueError: an entity lies outside the text, its tokens differ from the text's words, or a relation names an
            entity that does not exist.
    """

    text: str
    entities: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()

    def __post_init__(self) -> None:
        words = self.words
        for entity in self.entities:
            if " ".join(words[entity.start : entity.end + 1]) != entity.tokens:
                raise ValueError(f"entity {entity.tokens!r} is not at words {entity.start}..{entity.end}")
        count = len(self.entities)
        for relation in self.relations:
            if relation.head >= count or relation.tail >= count:
                raise ValueError(f"{relation} names an entity outside 0..{count - 1}")

    def __hash__(self) -> int:
        return hash(self.text)  # fast: a text keeps its hash

    @property
    def words(self) -> list[str]:
        """Words of the text, which entity spans index."""
        return self.text.split(" ") if self.text else []


def join_graphs(graphs: Iterable[ReportGraph]) -> ReportGraph:
    """Return the graph of several texts one after the other, none of them empty."""
    texts: list[str] = []
    entities: list[Entity] = []
    relations: list[Relation] = []
    words = 0
    for graph in graphs:
        if first := len(entities):
            for relation in graph.relations:
                relations.append(Relation(first + relation.head, relation.type, first + relation.tail))
        else:
            relations.extend(graph.relations)
        if words:
            for each in graph.entities:
                entities.append(Entity(each.tokens, each.label, each.start + words, each.end + words, each.hedge))
        else:
            entities.extend(graph.entities)
        texts.append(graph.text)
        words += graph.text.count(" ") + 1
    return ReportGraph(" ".join(texts), tuple(entities), tuple(relations))


def without_first_word(graph: ReportGraph) -> ReportGraph:
    """Return a graph without the first word of its text, which is part of no entity."""
    moved = (Entity(each.tokens, each.label, each.start - 1, each.end - 1, each.hedge) for each in graph.entities)
    return ReportGraph(graph.text.partition(" ")[2], tuple(moved), graph.relations)


def stable_hash(text: str) -> int:
    """Return a non-negative 63-bit hash of `text`, the same in every process and on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
