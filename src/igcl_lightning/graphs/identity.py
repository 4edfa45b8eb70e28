"""Identity of report graphs: a key for the content of a graph, and facts that graphs share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache, lru_cache

from igcl_lightning.graphs.lexicon import PARAPHRASES, packaged_text, rows
from igcl_lightning.graphs.schema import ReportGraph, stable_hash
from igcl_lightning.graphs.statements import Meanings, Statement, statements

MAX_FACTS = 128
"""Facts kept per graph in a batch, the lowest hashes. Open-i: 27 on average, at most 103."""

NO_FACT = -1  # padding of a graph's list of facts


_PLEURAL = frozenset({"effusion", "pneumothorax"})  # in the pleura, whether the report says so or not
_DISEASES = frozenset({"finding", "appearance"})  # denied of the lungs, whether the report names them or not
_OF_LUNGS = frozenset({"atelectasis", "consolidation", "edema", "emphysema", "pneumonia"})  # likewise in the lungs
_OF_THE_LUNG = frozenset({"apex", "base", "lobe", "zone"})
_OF_BONES = frozenset({"dislocation", "fracture", "sternotomy"})
_OTHER_FLUID = frozenset({"pericardial", "pericardium", "joint", "knee", "shoulder", "hip", "elbow", "ankle"})


def graph_identity(graph: ReportGraph) -> tuple[int | None, list[int]]:
    """Return the key of a graph (see `graph_key`) and the 63-bit hashes of its `stated_facts`, ascending."""
    return _merged([_stated(graph)])


def joined_identity(sentences: Iterable[ReportGraph]) -> tuple[int | None, list[int]]:
    """Return the `graph_identity` of the graph that `join_graphs` makes of sentences; those of many reports are cached.

    No relation leaves its sentence, so a report states what its sentences state.
    """
    return _merged([_cached(sentence) for sentence in sentences])


def _merged(stated: list[tuple[frozenset[str], frozenset[int]]]) -> tuple[int | None, list[int]]:
    texts: list[str] = sorted(frozenset().union(*(texts for texts, _ in stated)))
    key = stable_hash("\n".join(texts)) if texts else None
    return key, sorted(frozenset().union(*(facts for _, facts in stated)))


def _stated(graph: ReportGraph) -> tuple[frozenset[str], frozenset[int]]:
    """Return the statements of a graph as text, and the hashes of their facts."""
    stated = plain_statements(graph)
    facts = frozenset(stable_hash(fact) for statement in stated for fact in _facts(statement))
    return frozenset(map(str, stated)), facts


_cached = lru_cache(16_384)(_stated)


def graph_key(graph: ReportGraph) -> int | None:
    """Return a stable 63-bit hash of the content of a graph, or None for a graph that states nothing.

    Graphs with the same key mean the same, regardless of the order of sentences, synonyms and repetitions. Keys change
    with the names and synonyms of the lexicon, so the manifest of a store records the parser's version.
    """
    return graph_identity(graph)[0]


def stated_facts(graph: ReportGraph) -> Iterator[str]:
    """Yield the facts of a graph, from general to particular; two graphs share the facts they agree on.

    Facts of an observation: its presence; each modifier; each place; each conclusion; and the whole statement, which
    distinguishes "small left effusion, large right effusion" from its mirror image.
    """
    for statement in plain_statements(graph):
        yield from _facts(statement)


def plain_statements(graph: ReportGraph) -> list[Statement]:
    """Return the statements of a graph with paraphrases merged: "the heart is enlarged" is cardiomegaly."""
    return [_plain(statement) for statement in statements(graph)]


def _plain(statement: Statement) -> Statement:
    modifiers = _renamed(statement.modifiers)
    name, places = _plain_places(_renamed(statement.name), _told_places(statement))
    if name <= _OF_BONES or "degenerative" in modifiers:
        places.discard("bone")
    return replace(
        statement,
        name=name,
        modifiers=modifiers,
        places=frozenset(places),
        conclusions=_renamed(statement.conclusions),
    )


def _told_places(statement: Statement) -> set[str]:
    """Return the places of a statement without those that say nothing more."""
    places = set(statement.places)
    if statement.assertion == "OBS-DA" and statement.kind in _DISEASES and "lung" in places:
        places -= {"bilateral", "lung"}
    if {"left", "right"} <= places:
        places = places - {"left", "right"} | {"bilateral"}
    if places & {"left", "right", "bilateral"}:
        places.discard("side")
    if places & _OF_THE_LUNG:
        places.discard("lung")
    if "heart" in places:
        places.discard("size")
    return places


def _plain_places(name: Meanings, places: set[str]) -> tuple[Meanings, set[str]]:
    """Return name and places of a statement as most reports give them."""
    if name == {"enlargement"} and places == {"heart"}:
        name, places = frozenset({"cardiomegaly"}), set()
    elif name == {"cardiomegaly"}:
        places.discard("heart")
    elif len(name) == 1 and name <= _OF_LUNGS and (not places or "lung" in places) and places <= {"bilateral", "lung"}:
        places = {"lung"}
    elif name & _PLEURAL and not places & _OTHER_FLUID:
        places = places - {"cavity", "space"} | {"pleura"}
    return name, places


@lru_cache(65_536)
def _renamed(meanings: Meanings) -> Meanings:
    names = _paraphrases()
    return frozenset(names.get(meaning, meaning) for meaning in meanings)


@cache
def _paraphrases() -> dict[str, str]:
    """Return the meaning of each name in `paraphrases.tsv`."""
    lines = rows(PARAPHRASES, packaged_text(PARAPHRASES), 2)
    return {name: meaning for _, (meaning, names) in lines for name in names.split("|")}


def _facts(statement: Statement) -> Iterator[str]:
    subject = f"{statement.assertion}|{' '.join(sorted(statement.name))}"
    yield subject
    for modifier in statement.modifiers:
        yield f"{subject}|modify|{modifier}"
    for place in statement.places:
        yield f"{subject}|located_at|{place}"
    for conclusion in statement.conclusions:
        yield f"{subject}|suggestive_of|{conclusion}"
    if statement.modifiers or statement.places:
        yield str(statement)
