"""Sentences with their exact graphs, both from one marked-up template.

The header of `phrases/known.tsv` explains the marks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from igcl_lightning.graphs.schema import Entity, Relation, ReportGraph

CACHED_TEMPLATES = 65_536  # number of cached templates: reports repeat their sentences

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


@lru_cache(CACHED_TEMPLATES)
def read_sentence(template: str) -> ReportGraph:
    """Convert a filled template to a sentence of a report, with "an" before vowels and a capital first letter."""
    return capitalize(read_template(_AN.sub("an ", template)))


@lru_cache(CACHED_TEMPLATES)
def read_template(template: str) -> ReportGraph:
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
    return ReportGraph(" ".join(words), tuple(entities), tuple(Relation(*pair) for pair in sorted(pairs)))


def _nearest(words: Sequence[str], ends: Sequence[int], head: int, name: str, template: str) -> int:
    """Return the entity nearest to entity `head` whose last word is `name`; the later one in a tie."""
    places = [place for place, end in enumerate(ends) if words[end] == name and place != head]
    if not places:
        raise ValueError(f"template {template!r}: {words[ends[head]]!r} refers to {name!r}, which is not an entity")
    return min(reversed(places), key=lambda place: abs(ends[place] - ends[head]))


def capitalize(sentence: ReportGraph) -> ReportGraph:
    """Return `sentence` with a capital first letter, also in its first entity."""
    entities = sentence.entities
    if entities and entities[0].start == 0:
        entities = (replace(entities[0], tokens=_capital(entities[0].tokens)), *entities[1:])
    return replace(sentence, text=_capital(sentence.text), entities=entities)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def prose(sentences: Sequence[ReportGraph]) -> str:
    """Return `sentences` as plain text."""
    return " ".join(sentence.text for sentence in sentences).replace(" .", ".").replace(" ,", ",")
