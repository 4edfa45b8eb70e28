"""Counterfactuals: graphs of the same report except for one edit, which states something else.

An image is scored against its own graph and against such a twin. What a model must look at to tell them apart is the
edited part alone: the words of a "side" twin are those of the report.

- "side": left and right exchanged everywhere (`graphs.sides`).
- "place": what is stated of the upper part of the lungs on one side (upper, apex) is stated of the lower part (lower,
  base) and the other way round.
- "places": the names of two findings that the report states are exchanged, so that each is where the other one was.
- "finding": a finding is called by the name of another one, which the report does not mention.
- "assertion": a statement that was affirmed is denied, or the other way round.

An edit concerns all mentions of what it changes, so that no twin contradicts itself, except for "assertion". Words are
exchanged one for one, so that spans of entities and relations stay; applied twice, an edit gives the graph again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from igcl_lightning.errors import IgclError, suggestion
from igcl_lightning.graphs.schema import Entity, ReportGraph
from igcl_lightning.graphs.sides import exchange_sides
from igcl_lightning.graphs.statements import reached, statements

KINDS = ("side", "place", "places", "finding", "assertion")

TRAINABLE = ("side",)
"""Kinds whose twins cannot be told from the graphs of reports without looking at the image.

Blind control: how often a model scores the own graph above its twin beside a wrong image, on phantoms; .45 to .55 is
fair. Trained with the kind for six epochs: side .51, place .80, places .93, finding .98, assertion .96.
"""

WRITTEN = ("side",)
"""Kinds that can be written into the words of a report; the others edit its graph only."""


def _both_ways(pairs: Mapping[str, str]) -> dict[str, str]:
    """Return words by the words they are exchanged with, in lower case, upper case and capitalised."""
    ways = [(word, other) for pair in pairs.items() for word, other in (pair, pair[::-1])]
    return {form(word): form(other) for word, other in ways for form in (str.lower, str.upper, str.capitalize)}


_ZONES = _both_ways(
    {"upper": "lower", "apex": "base", "apices": "bases", "apical": "basilar", "biapical": "bibasilar"}
    | {"lul": "lll", "rul": "rll"}
)
_LUNG = frozenset(map(str.lower, _ZONES)).union(
    *(
        (
            "left",
            "right",
            "bilateral",
            "bilaterally",
            "both",
            "lung",
            "lungs",
            "lobe",
            "lobes",
            "zone",
            "zones",
            "field",
        ),
        ("fields", "hemithorax", "third", "thirds", "aspect", "region", "lateral", "medial", "anterior", "posterior"),
    ),
)
"""Words of places in the lungs that stay possible when upper and lower are exchanged."""

_SIDE_OF = {"left": "left", "lul": "left", "lll": "left", "right": "right", "rul": "right", "rll": "right"}

_FINDINGS = (
    *(("atelectasis", "atelectases"), ("calcification", "calcifications"), ("consolidation", "consolidations")),
    *(("cyst", "cysts"), ("density", "densities"), ("effusion", "effusions"), ("granuloma", "granulomas")),
    *(("infiltrate", "infiltrates"), ("lesion", "lesions"), ("mass", "masses"), ("nodule", "nodules")),
    *(("opacity", "opacities"), ("pneumonia", "pneumonias"), ("pneumothorax", "pneumothoraces"), ("scar", "scars")),
)
"""Frequent findings with a place, in singular and plural."""

_FINDING_OF = {form: forms[0] for forms in _FINDINGS for form in forms}
_DENIED = {"OBS-DP": "OBS-DA", "OBS-DA": "OBS-DP"}


@dataclass(frozen=True, slots=True)
class Edit:
    """An edit of a graph.

    Attributes:
        words: new words by their index in `ReportGraph.words`.
        labels: new labels by the index of their entity.
    """

    words: tuple[tuple[int, str], ...] = ()
    labels: tuple[tuple[int, str], ...] = ()

    def text(self, text: str) -> str:
        """Return the edited text of the graph."""
        words = text.split(" ")
        for index, word in self.words:
            words[index] = word
        return " ".join(words)

    def graph(self, graph: ReportGraph) -> ReportGraph:
        """Return the edited graph."""
        text, labels = self.text(graph.text), dict(self.labels)
        words = text.split(" ")
        entities = tuple(
            Entity(
                " ".join(words[each.start : each.end + 1]),
                labels.get(index, each.label),
                each.start,
                each.end,
                each.hedge,
            )
            for index, each in enumerate(graph.entities)
        )
        return ReportGraph(text, entities, graph.relations)


def check_kinds(kinds: Sequence[str], sides: Sequence[str] = (), training: bool = True) -> None:
    """Check the kinds of counterfactuals that a model asks for.

    Args:
        kinds: names of kinds.
        sides: sides that the model contrasts.
        training: whether the model is trained with them.

    Raises:
        IgclError: a kind is unknown or not fit for training, or reports are contrasted with a kind that edits only
            graphs.
    """
    option = "model.counterfactual.kinds"
    for kind in kinds:
        if kind not in KINDS:
            raise IgclError(f"{option} {kind!r} is not one of {', '.join(KINDS)}{suggestion(kind, KINDS)}")
        if training and kind not in TRAINABLE:
            why = "its twins are told apart without the image"
            raise IgclError(f"{option} {kind!r} is for evaluation only ({why}); train with {', '.join(TRAINABLE)}")
        if "report" in sides and kind not in WRITTEN:
            raise IgclError(f"{option} {kind!r} cannot be written into a report's text; use side, or contrast graphs")


def edits(graph: ReportGraph, kind: str) -> tuple[Edit, ...]:
    """Return the edits of a kind that make a graph state something else, in a fixed order; often there are none."""
    candidates = [edit for edit in _CANDIDATES[kind](graph) if edit.words or edit.labels]
    stated = _stated(graph) if candidates else frozenset()
    return tuple(edit for edit in candidates if _stated(edit.graph(graph)) != stated)


def _stated(graph: ReportGraph) -> frozenset[str]:
    """Return what a graph states, of which `graph_key` is the hash."""
    return frozenset(map(str, statements(graph)))


def _exchanged_sides(graph: ReportGraph) -> Iterator[Edit]:
    """Yield the edit that exchanges all sides."""
    text = exchange_sides(graph.text)
    if text is not None and text != graph.text:
        pairs = enumerate(zip(graph.words, text.split(" "), strict=True))
        yield Edit(tuple((index, new) for index, (old, new) in pairs if old != new))


def _moved_places(graph: ReportGraph) -> Iterator[Edit]:
    """Yield for each side the edit that exchanges the upper and the lower part of its lung."""
    by_side: dict[frozenset[str], list[Entity]] = {}
    for place in _places(graph):
        words = {word for entity in place for word in entity.name.split()}
        if words <= _LUNG:
            side = frozenset(_SIDE_OF[word] for word in words if word in _SIDE_OF)
            by_side.setdefault(side, []).extend(place)
    yield from (_renamed(graph, entities, _ZONES) for entities in by_side.values())


def _places(graph: ReportGraph) -> list[list[Entity]]:
    """Return the places of a graph: anatomies that are related to each other."""
    places = {index: [index] for index, entity in enumerate(graph.entities) if entity.label.startswith("ANAT")}
    for relation in graph.relations:
        one, other = places.get(relation.head), places.get(relation.tail)
        if one is not None and other is not None and one is not other:
            one.extend(other)
            places.update(dict.fromkeys(other, one))
    distinct = {id(place): place for place in places.values()}
    return [[graph.entities[index] for index in place] for place in distinct.values()]


def _exchanged_findings(graph: ReportGraph) -> Iterator[Edit]:
    """Yield the edits that exchange the names of two findings that are stated."""
    _, stated = _findings(graph)
    for pair in combinations(_FINDINGS, 2):
        if {name for name, _ in pair} <= stated:
            yield _exchanged_names(graph, pair)


def _other_findings(graph: ReportGraph) -> Iterator[Edit]:
    """Yield the edits that call a finding that is stated by the name of one that is not mentioned."""
    mentioned, stated = _findings(graph)
    for pair in combinations(_FINDINGS, 2):
        named = mentioned.intersection(name for name, _ in pair)
        if len(named) == 1 and named <= stated:
            yield _exchanged_names(graph, pair)


def _findings(graph: ReportGraph) -> tuple[set[str], set[str]]:
    """Return the findings that a graph mentions, and those that it states as present or possible."""
    observations = [entity for entity in graph.entities if entity.label.startswith("OBS")]
    named = [
        (_FINDING_OF[word], entity.label)
        for entity in observations
        for word in entity.name.split()
        if word in _FINDING_OF
    ]
    return {name for name, _ in named}, {name for name, label in named if label != "OBS-DA"}


def _exchanged_names(graph: ReportGraph, pair: Sequence[tuple[str, str]]) -> Edit:
    """Return the edit that exchanges the names of two findings throughout."""
    observations = [entity for entity in graph.entities if entity.label.startswith("OBS")]
    return _renamed(graph, observations, _both_ways(dict(zip(*pair, strict=True))))


def _renamed(graph: ReportGraph, entities: Sequence[Entity], names: Mapping[str, str]) -> Edit:
    """Return the edit that replaces words of some entities."""
    words = graph.words
    places = sorted({index for entity in entities for index in range(entity.start, entity.end + 1)})
    return Edit(tuple((index, names[words[index]]) for index in places if words[index] in names))


def _turned_statements(graph: ReportGraph) -> Iterator[Edit]:
    """Yield for each statement the edit that denies it, if it was affirmed, or affirms it, if it was denied."""
    modifiers: dict[int, list[int]] = {}
    for relation in graph.relations:
        if relation.type == "modify":
            modifiers.setdefault(relation.tail, []).append(relation.head)
    for statement in statements(graph):
        if statement.label in _DENIED:
            labels = {index: graph.entities[index].label for index in reached([statement.entity], modifiers)}
            yield Edit(labels=tuple((index, _DENIED[old]) for index, old in sorted(labels.items()) if old in _DENIED))


_CANDIDATES: dict[str, Callable[[ReportGraph], Iterator[Edit]]] = {
    "side": _exchanged_sides,
    "place": _moved_places,
    "places": _exchanged_findings,
    "finding": _other_findings,
    "assertion": _turned_statements,
}
