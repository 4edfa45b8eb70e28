"""What makes two report graphs the same, and how much of what they state they share."""

from __future__ import annotations

from collections.abc import Iterator

from igcl_lightning.graphs.schema import ReportGraph, stable_hash
from igcl_lightning.graphs.statements import Statement, statements


def graph_key(graph: ReportGraph) -> int | None:
    """Return a stable 63-bit hash of what a graph states, or None for a graph that states nothing.

    Graphs with the same key mean the same, whatever the order of their sentences, their synonyms, or how often they say
    it. The key of a graph changes with the lexicon's names and synonyms, so a manifest names the parser's version.
    """
    said = sorted({str(statement) for statement in statements(graph)})
    return stable_hash("\n".join(said)) if said else None


def stated_facts(graph: ReportGraph) -> Iterator[str]:
    """Yield what a graph states in parts, from general to particular, so that two graphs share what they agree on.

    Of each observation: that it is there; each modifier; each place together with what else tells its place; each
    conclusion; and the whole statement, which tells "small left effusion, large right effusion" from its mirror image.
    """
    for statement in statements(graph):
        yield from _facts(statement)


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
