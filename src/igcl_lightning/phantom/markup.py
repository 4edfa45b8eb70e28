"""Sentences with their exact graph, both read from one marked-up template.

The header of `phrases/known.tsv` explains the marks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from igcl_lightning.graphs.schema import Entity, Relation

CACHED_TEMPLATES = 65_536
"""Number of filled templates that are kept: reports repeat their sentences."""

_LABELS = {
    "A": ("ANAT-DP", ""),
    "+": ("OBS-DP", ""),
    "%": ("OBS-U", "probable"),
    "?": ("OBS-U", "possible"),
    "-": ("OBS-DA", ""),
}
_RELATIONS = {">": "modify", "@": "located_at", "~": "suggestive_of"}
_PART = re.compile(r"\[(?P<words>[^\[\]:]+):(?P<label>[A+%?-])(?P<relations>[^\]]*)\]|(?P<plain>\S+)")
_RELATION = re.compile(r"([>@~])([^\s>@~]+)")
_AN = re.compile(r"\ba (?=\[?[aeio])")


@dataclass(frozen=True, slots=True)
class Sentence:
    """Words and the graph over them; entity spans and relations count from the start of the sentence."""

    words: tuple[str, ...]
    entities: tuple[Entity, ...]
    relations: tuple[Relation, ...]


@lru_cache(CACHED_TEMPLATES)
def read_sentence(template: str) -> Sentence:
    """Read a filled template as a sentence of a report, with "an" before vowels and a capital first letter."""
    return capitalize(read_template(_AN.sub("an ", template)))


@lru_cache(CACHED_TEMPLATES)
def read_template(template: str) -> Sentence:
    """Read a filled template.

    Raises:
        ValueError: a bracket that is not part of a mark, or a relation to a word that is not an entity.
    """
    words: list[str] = []
    entities: list[Entity] = []
    marks: list[str] = []
    for name, label, relations, plain in _PART.findall(template):
        if "[" in plain or "]" in plain:
            raise ValueError(f"template {template!r}: {plain!r} is not a mark such as [word:+]")
        start = len(words)
        words.extend(name.split(" ") if name else (plain,))
        if name:
            certainty, hedge = _LABELS[label]
            entities.append(Entity(name, certainty, start, len(words) - 1, hedge))
            marks.append(relations)
    ends = [entity.end for entity in entities]
    pairs = [
        (head, _RELATIONS[sign], _nearest(words, ends, head, name, template))
        for head, mark in enumerate(marks)
        for sign, name in _RELATION.findall(mark)
    ]
    return Sentence(tuple(words), tuple(entities), tuple(Relation(*pair) for pair in sorted(pairs)))


def _nearest(words: Sequence[str], ends: Sequence[int], head: int, name: str, template: str) -> int:
    """Return the entity nearest to entity `head` whose last word is `name`; the later one in a tie."""
    places = [place for place, end in enumerate(ends) if words[end] == name and place != head]
    if not places:
        raise ValueError(f"template {template!r}: {words[ends[head]]!r} refers to {name!r}, which is not an entity")
    return min(reversed(places), key=lambda place: abs(ends[place] - ends[head]))


def join(sentences: Sequence[Sentence]) -> Sentence:
    """Concatenate `sentences`; no relation crosses from one to another."""
    words: list[str] = []
    entities: list[Entity] = []
    relations: list[Relation] = []
    for sentence in sentences:
        word, entity = len(words), len(entities)
        words.extend(sentence.words)
        entities.extend(replace(e, start=e.start + word, end=e.end + word) for e in sentence.entities)
        relations.extend(Relation(r.head + entity, r.type, r.tail + entity) for r in sentence.relations)
    return Sentence(tuple(words), tuple(entities), tuple(relations))


def capitalize(sentence: Sentence) -> Sentence:
    """Return `sentence` with a capital first letter, also in its first entity."""
    first, *rest = sentence.words
    entities = sentence.entities
    if entities and entities[0].start == 0:
        tokens = entities[0].tokens
        entities = (replace(entities[0], tokens=tokens[0].upper() + tokens[1:]), *entities[1:])
    return replace(sentence, words=(first[0].upper() + first[1:], *rest), entities=entities)


def prose(sentences: Sequence[Sentence]) -> str:
    """Return `sentences` as plain text."""
    text = " ".join(" ".join(sentence.words) for sentence in sentences)
    return text.replace(" .", ".").replace(" ,", ",")
