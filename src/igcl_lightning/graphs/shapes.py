"""A report graph as boxes and arrows for inline SVG: one drawing per component, so that a browser can wrap them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf
from typing import NamedTuple

import networkx as nx
import numpy as np

from igcl_lightning.graphs.drawing import PADDING, measure
from igcl_lightning.graphs.layout import NODE_HEIGHT, lay_out
from igcl_lightning.graphs.schema import Entity, Relation, ReportGraph

EDGE = 1.0
"""Room for the border of the outermost boxes, in points."""


class Box(NamedTuple):
    """Box of an entity, in points from the upper left corner of its drawing."""

    entity: Entity
    left: float
    top: float
    width: float
    text_width: float


class Arrow(NamedTuple):
    """Line of a relation, from the centre of its head to the border of its tail, and its name, centred on `at`."""

    points: Sequence[tuple[float, float]]
    name: str
    at: tuple[float, float]
    text_width: float


class Drawing(NamedTuple):
    """One component of a graph; sizes are points."""

    width: float
    height: float
    boxes: Sequence[Box]
    arrows: Sequence[Arrow]


def drawings(graph: ReportGraph) -> list[Drawing]:
    """Return a drawing of each component, in the order of the report."""
    return [_drawing(part) for part in _components(graph)]


def _components(graph: ReportGraph) -> Iterator[ReportGraph]:
    joined = nx.Graph()
    joined.add_nodes_from(range(len(graph.entities)))
    joined.add_edges_from((relation.head, relation.tail) for relation in graph.relations)
    for nodes in sorted(sorted(part) for part in nx.connected_components(joined)):
        number = {node: index for index, node in enumerate(nodes)}
        relations = (
            Relation(number[each.head], each.type, number[each.tail]) for each in graph.relations if each.head in number
        )
        yield ReportGraph(graph.text, tuple(graph.entities[node] for node in nodes), tuple(relations))


def _drawing(graph: ReportGraph) -> Drawing:
    names, width, name_width = measure(graph)
    layout = lay_out(list(names), width, name_width, inf)
    flip = np.array([1.0, -1.0])  # SVG's y points down
    corner = np.array([EDGE, layout.size[1] + EDGE])
    centre = layout.centre * flip + corner
    half = np.column_stack([width, np.full(len(width), NODE_HEIGHT)]) / 2
    boxes = [
        Box(entity, left, top, room, room - 2 * PADDING)
        for entity, (left, top), room in zip(graph.entities, centre - half, width, strict=True)
    ]
    arrows = []
    for ((head, tail), name), path, room in zip(names.items(), layout.paths, name_width, strict=True):
        points = path * flip + corner
        back = points[-1] - centre[tail]
        tip = centre[tail] + back / np.abs(back / half[tail]).max()
        line = np.vstack([centre[head], points, tip])
        arrows.append(Arrow([(x, y) for x, y in line.tolist()], name, (points[0, 0], points[0, 1]), room))
    return Drawing(layout.size[0] + 2 * EDGE, layout.size[1] + 2 * EDGE, boxes, arrows)
