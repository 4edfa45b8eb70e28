"""The rules of the report parser: from the words of one sentence to its entities and relations.

A sentence is read in four steps. Terms of the lexicon without an unknown word between them form *phrases* ("small right
pleural effusion"); the words between two phrases determine how the second *follows* the first ("is", "in the",
"consistent with"). Inside a phrase, qualifiers modify the observation and anatomies locate it. Between phrases, a
place, a predicate or a conclusion is related to its subject. Finally, denial and doubt are applied across lists. Labels
and relations have the meaning of RadGraph (Jain et al., 2021, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from igcl_lightning.graphs.answers import plain_words
from igcl_lightning.graphs.assertions import PRESENT, Assertion, assertions
from igcl_lightning.graphs.lexicon import Lexicon, Match
from igcl_lightning.graphs.phrases import split_phrases
from igcl_lightning.graphs.relations import SentenceRelations
from igcl_lightning.graphs.run_on import run_ons
from igcl_lightning.graphs.schema import Entity, Relation, ReportGraph, join_graphs

RULES_VERSION = 4  # part of the parser's version; increment it with every change of these rules

ANATOMY = Assertion("ANAT-DP")

Pair = tuple[int, str, int]
"""Head, type, tail."""

_ALONE = frozenset({"finding", "appearance", "device", "procedure"})
"""Observations that are statements without another word."""

_TOGETHER = frozenset({"generic", "mention"})  # observations that are statements together with any other entity
_DENIED = frozenset({"generic", "sign"})  # observations that are statements when doubted or denied ("no abnormality")


def read_sentence(words: Sequence[str], lexicon: Lexicon) -> ReportGraph:
    """Return the graph of a sentence from its words."""
    matches = lexicon.match(plain_words(words, lexicon))
    if starts := run_ons(matches):
        parts = pairwise([0, *starts, len(words)])
        return join_graphs(read_sentence(words[start:end], lexicon) for start, end in parts)
    items = [match for match in matches if not match.link]
    phrases, joined = split_phrases(words, matches)
    relations = SentenceRelations(items, phrases, joined)
    said = assertions(items, phrases, matches)
    relations.share_places(said)
    pairs = sorted(relations.pairs)
    for head, kind, tail in reversed(pairs):
        if kind == "modify":
            said[head] = said[tail]
    for index, anatomy in enumerate(relations.anatomy):
        if anatomy:
            said[index] = ANATOMY
    kept = sorted(_stating(items, said, pairs))
    order = {index: position for position, index in enumerate(kept)}
    entities = []
    for index in kept:
        start, end = items[index].start, items[index].end
        entities.append(Entity(" ".join(words[start : end + 1]), said[index].label, start, end, said[index].hedge))
    edges = [Relation(order[h], kind, order[t]) for h, kind, t in pairs if h in order and t in order]
    return ReportGraph(" ".join(words), tuple(entities), tuple(edges))


def _stating(items: Sequence[Match], said: Sequence[Assertion], pairs: Sequence[Pair]) -> set[int]:
    """Return the entities of statements, without anatomy and qualifiers that belong to no observation."""
    modified = [(head, tail) for head, relation, tail in pairs if relation == "modify"]
    placed = {end for head, relation, tail in pairs if relation != "modify" for end in (head, tail)}
    tied = placed.union(*modified)
    kept = {
        index
        for index, item in enumerate(items)
        if said[index] is not ANATOMY and _states(index, item.kind, said[index], placed, tied)
    }
    kept.update(tail for head, relation, tail in pairs if relation == "located_at" and head in kept)
    size = -1
    while modified and size < len(kept):
        size = len(kept)
        for head, tail in modified:
            if (head in kept) != (tail in kept):
                kept.add(head)
                kept.add(tail)
    return kept


def _states(index: int, kind: str, said: Assertion, placed: set[int], tied: set[int]) -> bool:
    """Return whether an observation is a statement, alone or with the entities it is related to."""
    if kind in _ALONE or (said is not PRESENT and kind in _DENIED):
        return True
    return index in (tied if kind in _TOGETHER else placed)
