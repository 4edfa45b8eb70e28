"""The rules of the report parser: from the words of one sentence to its entities and relations.

A sentence is read in four steps. Terms of the lexicon without an unknown word between them form *phrases* ("small right
pleural effusion"); the words between two phrases determine how the second *follows* the first ("is", "in the",
"consistent with"). Inside a phrase, qualifiers modify the observation and anatomies locate it. Between phrases, a
place, a predicate or a conclusion is related to its subject. Finally, denial and doubt are applied across lists. Labels
and relations have the meaning of RadGraph (Jain et al., 2021, section 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

from igcl_lightning.graphs.answers import plain_words
from igcl_lightning.graphs.assertions import ABSENT, ELSEWHERE, PRESENT, SEEN, Assertion, assertions
from igcl_lightning.graphs.lexicon import Lexicon, Match
from igcl_lightning.graphs.phrases import split_phrases
from igcl_lightning.graphs.relations import SentenceRelations
from igcl_lightning.graphs.run_on import run_ons
from igcl_lightning.graphs.schema import Entity, Relation, ReportGraph, join_graphs

RULES_VERSION = 6  # part of the parser's version; increment it with every change of these rules

ANATOMY = Assertion("ANAT-DP")

Pair = tuple[int, str, int]
"""Head, type, tail."""

_ALONE = frozenset({"finding", "appearance", "device", "procedure"})
"""Observations that are statements without another word."""

_TOGETHER = frozenset({"generic", "mention"})  # observations that are statements together with any other entity
_AMOUNTS = frozenset({"severity", "size"})
_AGAIN = SEEN | {"is apparent", "large", "persistent", "present", "stable", "unchanged"}
"""Words that may stand for a finding on the other side ("gone on the left, still present on the right")."""
_TWICE = frozenset(
    {"finding", "appearance", "sign", "device"}
)  # observations that a report may name once for two sides
_GRADES = frozenset({"extent", "severity", "size", "temporal", "texture"})  # what the sides of a finding may differ in
_DENIED = frozenset({"generic", "sign"})  # observations that are statements when doubted or denied ("no abnormality")


def read_sentence(words: Sequence[str], lexicon: Lexicon) -> ReportGraph:
    """Return the graph of a sentence from its words."""
    matches = lexicon.match(plain_words(words, lexicon))
    if starts := run_ons(matches):
        parts = pairwise([0, *starts, len(words)])
        return join_graphs(read_sentence(words[start:end], lexicon) for start, end in parts)
    matches, repeated = _repeat(matches)
    items = [match for match in matches if not match.link]
    phrases, joined = split_phrases(words, matches)
    relations = SentenceRelations(items, phrases, joined)
    said = assertions(items, phrases, matches)
    relations.share_places(said)
    gone = _left_out(said, relations.pairs, relations.anatomy)
    pairs = sorted(relations.pairs)
    if gone:
        pairs = [pair for pair in pairs if pair[0] not in gone and pair[2] not in gone]
    for head, kind, tail in reversed(pairs):
        if kind == "modify":
            said[head] = said[tail]
    for index, anatomy in enumerate(relations.anatomy):
        if anatomy:
            said[index] = ANATOMY
    kept = sorted(_stating(items, said, pairs) - gone)
    if repeated:
        items = [repeated.get(item, item) for item in items]
        kept.sort(key=lambda index: items[index].start)
    order = {index: position for position, index in enumerate(kept)}
    entities = []
    for index in kept:
        start, end = items[index].start, items[index].end
        entities.append(Entity(" ".join(words[start : end + 1]), said[index].label, start, end, said[index].hedge))
    edges = [Relation(order[h], kind, order[t]) for h, kind, t in pairs if h in order and t in order]
    if repeated:
        edges.sort(key=lambda edge: edge.head)
    return ReportGraph(" ".join(words), tuple(entities), tuple(edges))


def _repeat(matches: list[Match]) -> tuple[list[Match], dict[Match, Match]]:
    """Repeat a finding that is named once and meant twice.

    For two sides with qualifiers of their own ("large right and small left effusions") it is repeated at the word that
    joins the sides, and for a size or verb alone ("none on the left, but a small one on the right") at that word.

    Returns the terms, and for each repeated one the term whose words it has.
    """
    sided = "side" in [match.kind for match in matches]
    for at in range(1, len(matches) - 1) if sided else ():
        if matches[at].link == "list" and matches[at - 1].kind == "side":
            meant, joint = _shared_by_sides(matches, at), at
        elif matches[at].kind in _AMOUNTS and matches[at - 1].name == "a":
            meant, joint = _meant_again(matches, at), at + 1
        elif matches[at].name in _AGAIN and _contrasted(matches, at):
            meant, joint = _meant_again(matches, at), at + (not matches[at].link)
        else:
            continue
        word = matches[at].end
        if repeated := {replace(each, start=word, end=word): each for each in meant}:
            return [*matches[:joint], *repeated, *matches[joint:]], repeated
    return matches, {}


def _contrasted(matches: list[Match], at: int) -> bool:
    """Return whether a denial precedes a list word before `at` ("none on the right, moderate on the left")."""
    before = [match for match in matches[max(at - 2, 0) : at] if match.link != "inside"]
    return before[-1:] != [] and before[-1].link == "list" and any(match.role == "negation" for match in matches[:at])


def _meant_again(matches: list[Match], at: int) -> list[Match]:
    """Return the finding before the word at `at` that is meant for another side ("a small one on the right")."""
    after = [match for match in matches[at + 1 : at + 4] if match.link != "the"]
    if len(after) < 2 or after[0].link != "place" or after[0].start > matches[at].end + 2 or after[1].kind != "side":
        return []
    return [match for match in matches[:at] if match.kind == "finding"][-1:]


def _shared_by_sides(matches: list[Match], at: int) -> list[Match]:
    """Return the finding, with its anatomy, after the second of two sides that the list word at `at` joins, if any."""
    if at < 2 or at > len(matches) - 4 or matches[at - 2].kind not in _GRADES:
        return []
    first = at + 1 + (matches[at + 1].name == "a")
    side = next((n for n in range(first, len(matches)) if matches[n].kind not in _GRADES), at)
    last = next((n for n in range(side + 1, len(matches)) if matches[n].role != "anatomy"), at)
    graded = side > first and matches[side].kind == "side"
    together = all(two.start <= one.end + 2 for one, two in pairwise(matches[at - 1 : last + 1]))
    return matches[side + 1 : last + 1] if graded and together and matches[last].kind in _TWICE else []


def _left_out(said: Sequence[Assertion], pairs: Iterable[Pair], anatomy: Sequence[bool]) -> set[int]:
    """Return observations of another time, person or study, and denied qualifiers of what is seen ("not increased")."""
    if ABSENT not in said and ELSEWHERE not in said:
        return set()
    gone = {index for index, assertion in enumerate(said) if assertion is ELSEWHERE and not anatomy[index]}
    denied = ((head, tail) for head, kind, tail in pairs if kind == "modify" and said[head] is ABSENT)
    return gone.union(head for head, tail in denied if said[tail] is not ABSENT and not anatomy[tail])


def _stating(items: Sequence[Match], said: Sequence[Assertion], pairs: Sequence[Pair]) -> set[int]:
    """Return the entities of statements, without anatomy and qualifiers that belong to no observation."""
    modified = [(head, tail) for head, relation, tail in pairs if relation == "modify"]
    placed = {end for head, relation, tail in pairs if relation != "modify" for end in (head, tail)}
    tied = placed.union(*modified)
    kept = {
        index
        for index, item in enumerate(items)
        if said[index] is not ANATOMY
        and (
            item.kind in _ALONE
            or (said[index] is not PRESENT and item.kind in _DENIED)
            or index in (tied if item.kind in _TOGETHER else placed)
        )
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
